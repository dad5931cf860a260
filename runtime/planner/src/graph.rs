//! Which service waits for which, and why.
//!
//! Nodes are services and tiers. A tier stands for "all its services are ready": its services lead to it, and it leads
//! to the services of the tiers after it. So a homelab of many services has few edges, and empty tiers pass on what
//! they wait for.

use std::collections::{BTreeMap, BTreeSet};

use hob_model::{Code, Diagnostic, Level, Source, Span};

use crate::declaration::{Service, Tier};

/// How many circles are reported; each is mended by itself.
const CYCLES_MAX: usize = 20;

/// A service or a tier.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Node {
    /// The readiness of all services of this tier, and of the tiers before it.
    Tier(String),
    /// The readiness of this service.
    Service(String),
}

impl std::fmt::Display for Node {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tier(name) => write!(f, "tier {name}"),
            Self::Service(name) => f.write_str(name),
        }
    }
}

impl Node {
    /// The name of the tier or service.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Tier(name) | Self::Service(name) => name,
        }
    }
}

/// Why one node waits for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// `needs`: it starts when the other is ready, and not at all when the other fails.
    Needs,
    /// `wants`: it starts when the other is ready or has failed.
    Wants,
    /// It belongs to a tier that comes after the other one.
    Tier,
    /// The tier waits for its services.
    Member,
}

/// An edge: `after` waits for `before`. Both are indexes of [`Graph::nodes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// What is waited for.
    pub before: usize,
    /// What waits.
    pub after: usize,
    /// Why.
    pub reason: Reason,
}

/// The order of services and tiers; free of circles.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graph {
    nodes: Vec<Node>,
    index: BTreeMap<Node, usize>,
    edges: Vec<Edge>,
    /// Nodes in an order in which none stands before what it waits for.
    order: Vec<usize>,
    /// Edges by their `after`.
    incoming: Vec<Vec<Edge>>,
}

impl Graph {
    /// The graph of these services and tiers, and the circles that were taken out of it. Names of what is not
    /// declared are passed over.
    ///
    /// A `wants` that closes a circle is dropped with a warning: it orders only where it can. All other circles
    /// are errors.
    #[must_use]
    pub fn new(tiers: &[Tier], services: &[Service]) -> (Self, Vec<Diagnostic>) {
        let mut graph = Self::default();
        let mut sources = Vec::new();
        for tier in tiers {
            sources.push(&tier.source);
            graph.add_node(Node::Tier(tier.name.clone()));
        }
        for service in services {
            sources.push(&service.source);
            graph.add_node(Node::Service(service.name.clone()));
        }
        for tier in tiers {
            for before in &tier.after {
                graph.add_edge(Node::Tier(before.clone()), Node::Tier(tier.name.clone()), Reason::Tier);
            }
        }
        for service in services {
            let node = || Node::Service(service.name.clone());
            for need in &service.needs {
                graph.add_edge(Node::Service(need.clone()), node(), Reason::Needs);
            }
            for want in service.wants.iter().filter(|want| !service.needs.contains(want)) {
                graph.add_edge(Node::Service(want.clone()), node(), Reason::Wants);
            }
            let Some(tier) = tiers.iter().find(|tier| service.tier.as_ref() == Some(&tier.name)) else {
                continue;
            };
            graph.add_edge(node(), Node::Tier(tier.name.clone()), Reason::Member);
            for before in &tier.after {
                graph.add_edge(Node::Tier(before.clone()), node(), Reason::Tier);
            }
        }
        let diagnostics = graph.take_out_cycles(&sources, services);
        (graph, diagnostics)
    }

    fn add_node(&mut self, node: Node) {
        self.index.insert(node.clone(), self.nodes.len());
        self.nodes.push(node);
    }

    fn add_edge(&mut self, before: Node, after: Node, reason: Reason) {
        if let (Some(&before), Some(&after)) = (self.index.get(&before), self.index.get(&after)) {
            self.edges.push(Edge { before, after, reason });
        }
    }

    /// Services and tiers.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// All edges.
    #[must_use]
    pub fn edges(&self) -> &[Edge] {
        &self.edges
    }

    /// The nodes in an order in which none stands before what it waits for; reversed, it is the order to stop in.
    pub fn order(&self) -> impl DoubleEndedIterator<Item = &Node> {
        self.order.iter().map(|at| &self.nodes[*at])
    }

    /// What `node` waits for itself, and why.
    pub fn waits_for<'g>(&'g self, node: &Node) -> impl Iterator<Item = (&'g Node, Reason)> + use<'g> {
        let incoming = self.index.get(node).map_or(&[][..], |at| &self.incoming[*at]);
        incoming.iter().map(|edge| (&self.nodes[edge.before], edge.reason))
    }

    /// The services that wait for `node`, over tiers and other services.
    #[must_use]
    pub fn dependents(&self, node: &Node) -> BTreeSet<&str> {
        let mut reached: BTreeSet<usize> = self.index.get(node).copied().into_iter().collect();
        for at in &self.order {
            if self.incoming[*at].iter().any(|edge| reached.contains(&edge.before)) {
                reached.insert(*at);
            }
        }
        let others = reached.into_iter().map(|at| &self.nodes[at]).filter(|other| *other != node);
        others.filter(|other| matches!(other, Node::Service(_))).map(Node::name).collect()
    }

    /// Takes edges out until an order exists, and keeps that order.
    fn take_out_cycles(&mut self, sources: &[&Source], services: &[Service]) -> Vec<Diagnostic> {
        let mut diagnostics = Vec::new();
        loop {
            self.index_edges();
            let Some(cycle) = self.sort() else {
                return diagnostics;
            };
            let first_want = cycle.iter().find(|edge| edge.reason == Reason::Wants).copied();
            if diagnostics.len() < CYCLES_MAX {
                let mut found = self.describe(&cycle, sources, services);
                if let Some(want) = first_want {
                    let (waits, other) = (self.nodes[want.after].name(), self.nodes[want.before].name());
                    found.level = Level::Warning;
                    found = found.note(format!("so that `{waits}` wants `{other}` is passed over"));
                }
                diagnostics.push(found);
            }
            match first_want {
                Some(want) => self.edges.retain(|edge| *edge != want),
                None => self.edges.retain(|edge| !cycle.contains(edge)),
            }
        }
    }

    fn index_edges(&mut self) {
        self.incoming = vec![Vec::new(); self.nodes.len()];
        for edge in &self.edges {
            self.incoming[edge.after].push(*edge);
        }
    }

    /// Sorts topologically (Kahn's algorithm, lowest index first, so that the order is that of the declarations
    /// where it is free); gives a circle where there is one, each edge followed by one that starts where it ends.
    fn sort(&mut self) -> Option<Vec<Edge>> {
        let mut missing: Vec<usize> = self.incoming.iter().map(Vec::len).collect();
        let mut outgoing = vec![Vec::new(); self.nodes.len()];
        for edge in &self.edges {
            outgoing[edge.before].push(edge.after);
        }
        let mut free: BTreeSet<usize> = (0..self.nodes.len()).filter(|at| missing[*at] == 0).collect();
        self.order.clear();
        while let Some(at) = free.pop_first() {
            self.order.push(at);
            for after in &outgoing[at] {
                missing[*after] -= 1;
                if missing[*after] == 0 {
                    free.insert(*after);
                }
            }
        }
        let start = (0..self.nodes.len()).find(|at| missing[*at] > 0)?;
        Some(self.walk_back(start, &missing))
    }

    /// Each node that is left waits for another one that is left: going there again and again ends in a circle.
    fn walk_back(&self, start: usize, missing: &[usize]) -> Vec<Edge> {
        let mut path: Vec<Edge> = Vec::new();
        let mut at = start;
        loop {
            let edge = self.incoming[at].iter().find(|edge| missing[edge.before] > 0);
            let edge = *edge.expect("a node that is left waits for one that is left");
            path.push(edge);
            at = edge.before;
            if let Some(begin) = path.iter().position(|edge| edge.after == at) {
                return path.split_off(begin);
            }
        }
    }

    /// A circle in words: who waits for whom, with the place of each.
    fn describe(&self, cycle: &[Edge], sources: &[&Source], services: &[Service]) -> Diagnostic {
        let only_tiers = cycle.iter().all(|edge| matches!(self.nodes[edge.after], Node::Tier(_)));
        let is_named = |at: usize| only_tiers || matches!(self.nodes[at], Node::Service(_));
        let names: Vec<&str> = cycle
            .iter()
            .filter(|edge| is_named(edge.after))
            .map(|edge| self.nodes[edge.after].name())
            .collect();
        let message = match names[..] {
            [one] => format!("`{one}` waits for itself"),
            [one, other] => format!("`{one}` and `{other}` wait for each other"),
            _ => {
                let rest: Vec<String> = names[1..].iter().map(|name| format!("`{name}`")).collect();
                format!(
                    "`{}` waits for {}, which waits for `{}`",
                    names[0],
                    rest.join(", which waits for "),
                    names[0]
                )
            }
        };
        let mut diagnostic = Diagnostic::error(Code::DependencyCycle, message);
        for edge in cycle.iter().filter(|edge| is_named(edge.after)) {
            let (other, name) = (self.nodes[edge.before].name(), self.nodes[edge.after].name());
            let tier = services.iter().find(|it| it.name == name).and_then(|it| it.tier.as_deref());
            let label = match edge.reason {
                Reason::Needs => format!("needs `{other}`"),
                Reason::Wants => format!("wants `{other}`"),
                _ if only_tiers => format!("comes after `{other}`"),
                _ => format!("is in the tier `{}`, which comes after `{other}`", tier.unwrap_or_default()),
            };
            let label = match (edge.reason, tier) {
                (Reason::Needs | Reason::Wants, Some(tier)) => format!("is in the tier `{tier}` and {label}"),
                _ => label,
            };
            let source = (*sources[edge.after]).clone();
            diagnostic = diagnostic.span(Span { label: format!("`{name}` {label}"), ..Span::point(source) });
        }
        diagnostic.hint("remove one of these edges")
    }
}
