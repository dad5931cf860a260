//! Which nodes may work now, and where what they make goes.
//!
//! A node works once something has come along all its edges that do not lead back, also nothing at all; along an edge
//! that leads back it works with what came. So branches go on beside each other, a node with several edges joins them,
//! and loops end when nothing goes back any more. The order is that of the declaration, and the same each time.
//!
//! A node that follows one other alone ([`Graph::follows`]) waits for nothing else: [`after`] gives it to whoever let that
//! other one work, and [`Progress::bring`] catches up with what was done there.

use std::collections::{BTreeMap, VecDeque};

use hob_model::Value;

use crate::graph::{ELSE, ERROR, Graph, MAIN, NodeKind};
use crate::merge::merge;

/// How often nodes work in one run: a loop without an end is found by then.
pub const EXECUTIONS_MAX: usize = 10_000;
/// The most items that go along one edge at a time.
pub const ITEMS_MAX: usize = 100_000;

/// Why a graph cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlowError {
    /// Its nodes worked too often.
    TooOften,
    /// Too many items came to this node.
    TooMany(String),
    /// What is said to be done was not to be done.
    Unknown(String),
}

impl std::fmt::Display for FlowError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooOften => write!(f, "its nodes worked {EXECUTIONS_MAX} times: a loop does not end"),
            Self::TooMany(node) => write!(f, "more than {ITEMS_MAX} items came to the node `{node}` at once"),
            Self::Unknown(node) => write!(f, "the node `{node}` was not to work"),
        }
    }
}

/// A node that is to work now.
#[derive(Clone, Debug, PartialEq)]
pub struct Work {
    /// Its place in the graph.
    pub node: usize,
    /// What its function is called with, one call for each.
    pub items: Vec<Value>,
}

/// What came of one call.
#[derive(Clone, Debug, PartialEq)]
pub enum Made {
    /// Its value.
    Value(Value),
    /// It failed with this error.
    Error(Value),
}

/// Where a graph stands.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// What came along edges and waits there, by their places.
    arrived: BTreeMap<usize, Vec<Value>>,
    /// What is under way.
    working: BTreeMap<usize, Work>,
    /// What left the graph, by node.
    results: BTreeMap<usize, Vec<Value>>,
    executions: usize,
    begins: BTreeMap<usize, Vec<Value>>,
}

impl Progress {
    /// A graph begins with these items.
    #[must_use]
    pub fn begin(graph: &Graph, items: Vec<Value>) -> Self {
        let begins = graph.entries().into_iter().map(|node| (node, items.clone())).collect();
        Self { begins, ..Self::default() }
    }

    /// The nodes that are to work now; none when the graph has come to its end. What was handed out before must be
    /// [settled](Progress::settle) first.
    ///
    /// # Errors
    /// When nodes worked too often or with too much.
    pub fn ready(&mut self, graph: &Graph) -> Result<Vec<Work>, FlowError> {
        let mut found = Vec::new();
        // What needs no work, as nothing came, or it is disabled, is passed on at once, and may make others ready.
        while let Some((node, inputs)) = self.next(graph) {
            found.extend(self.work(graph, node, inputs)?);
        }
        Ok(found)
    }

    /// Has a node work with what came along its edges; none where there is nothing to do, and that is passed on.
    fn work(
        &mut self,
        graph: &Graph,
        node: usize,
        inputs: Vec<Vec<Value>>,
    ) -> Result<Option<Work>, FlowError> {
        let of = &graph.nodes[node];
        let items = match &of.kind {
            NodeKind::Merge(mode) if !inputs.iter().all(Vec::is_empty) => merge(mode, inputs),
            _ => inputs.into_iter().flatten().collect::<Vec<_>>(),
        };
        if items.len() > ITEMS_MAX {
            return Err(FlowError::TooMany(of.name.clone()));
        }
        if items.is_empty() {
            self.pass_on(graph, node, |_| Vec::new());
            return Ok(None);
        }
        self.executions += 1;
        if self.executions > EXECUTIONS_MAX {
            return Err(FlowError::TooOften);
        }
        let pinned = of.pinned.clone().or_else(|| of.disabled.then(|| items.clone()));
        if let Some(pinned) = pinned {
            self.pass_on(graph, node, |output| if output == ERROR { vec![] } else { pinned.clone() });
            return Ok(None);
        }
        let work = Work { node, items: calls(&of.kind, items) };
        self.working.insert(node, work.clone());
        Ok(Some(work))
    }

    /// Has a node be under way that another was followed by, somewhere else, since the last look.
    ///
    /// # Errors
    /// When nothing came to it, or as [`Progress::ready`].
    pub fn bring(&mut self, graph: &Graph, node: usize) -> Result<(), FlowError> {
        if self.working.contains_key(&node) {
            return Ok(());
        }
        let unknown = || FlowError::Unknown(name_of(graph, node));
        if self.arrived_along_all(graph, node).is_none() {
            // What it follows had nothing to do, and has not passed on yet what came.
            self.bring(graph, graph.follows(node).ok_or_else(unknown)?)?;
        }
        let edges = self.arrived_along_all(graph, node).ok_or_else(unknown)?;
        let inputs = edges.iter().filter_map(|at| self.arrived.remove(at)).collect();
        self.work(graph, node, inputs).map(drop)
    }

    /// The edges of a node that do not lead back, if something has come along all of them.
    fn arrived_along_all(&self, graph: &Graph, node: usize) -> Option<Vec<usize>> {
        let forward: Vec<usize> = graph.coming(node).filter(|at| !graph.edges[*at].back).collect();
        let all = !forward.is_empty() && forward.iter().all(|at| self.arrived.contains_key(at));
        all.then_some(forward)
    }

    /// The next node that may work, and what came along each of its edges.
    fn next(&mut self, graph: &Graph) -> Option<(usize, Vec<Vec<Value>>)> {
        if let Some((node, items)) = self.begins.pop_first() {
            return Some((node, vec![items]));
        }
        for node in (0..graph.nodes.len()).filter(|node| !self.working.contains_key(node)) {
            let back = graph.coming(node).find(|at| graph.edges[*at].back && self.arrived.contains_key(at));
            if let Some(items) = back.and_then(|at| self.arrived.remove(&at)) {
                return Some((node, vec![items]));
            }
            if let Some(forward) = self.arrived_along_all(graph, node) {
                let inputs = forward.iter().filter_map(|at| self.arrived.remove(at)).collect();
                return Some((node, inputs));
            }
        }
        None
    }

    /// A node has worked: `made` is what came of each of its items.
    ///
    /// # Errors
    /// When it was not to work.
    pub fn settle(&mut self, graph: &Graph, node: usize, made: Vec<Made>) -> Result<(), FlowError> {
        let work = self.working.remove(&node).filter(|work| work.items.len() == made.len());
        let work = work.ok_or_else(|| FlowError::Unknown(name_of(graph, node)))?;
        let kind = &graph.nodes[node].kind;
        let named: Vec<&str> = graph.leaving(node).map(|at| graph.edges[at].output.as_str()).collect();
        // What no edge of a choice is for goes to the one that is for the rest.
        let chosen = |of: &Value| match output_of(of) {
            output if !named.contains(&output.as_str()) && named.contains(&ELSE) => ELSE.to_owned(),
            output => output,
        };
        let mut outputs: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for (item, made) in work.items.into_iter().zip(made) {
            let (output, items) = match (kind, made) {
                (_, Made::Error(error)) => {
                    (ERROR.to_owned(), vec![Value::map([("item", item), ("error", error)])])
                }
                (NodeKind::Choose | NodeKind::Branch, Made::Value(of)) => (chosen(&of), vec![item]),
                (_, Made::Value(Value::Unit)) => continue,
                (NodeKind::Merge(_), Made::Value(value)) => (MAIN.to_owned(), vec![value]),
                (_, Made::Value(Value::Array(items))) => (MAIN.to_owned(), items),
                (_, Made::Value(value)) => (MAIN.to_owned(), vec![value]),
            };
            outputs.entry(output).or_default().extend(items);
        }
        self.pass_on(graph, node, |output| outputs.get(output).cloned().unwrap_or_default());
        // What no edge is for ends here.
        let ends = outputs.into_iter().filter(|(output, _)| !named.contains(&output.as_str()));
        let ended: Vec<Value> = ends.flat_map(|(_, items)| items).collect();
        if !ended.is_empty() && !named.is_empty() {
            self.results.entry(node).or_default().extend(ended);
        }
        Ok(())
    }

    /// Sends what a node made along its edges, or out of the graph where it has none.
    fn pass_on(&mut self, graph: &Graph, node: usize, made: impl Fn(&str) -> Vec<Value>) {
        let leaving: Vec<usize> = graph.leaving(node).collect();
        if leaving.is_empty() {
            let all = [made(MAIN), made(ERROR)].concat();
            self.results.entry(node).or_default().extend(all);
            return;
        }
        let goes_back =
            leaving.iter().any(|at| graph.edges[*at].back && !made(&graph.edges[*at].output).is_empty());
        for at in leaving {
            let items = made(&graph.edges[at].output);
            // Nothing is sent back; and what a loop has nothing for now may come with its next round.
            if items.is_empty() && (graph.edges[at].back || goes_back) {
                continue;
            }
            self.arrived.entry(at).or_default().extend(items);
        }
    }

    /// What left the graph: of one node its items, of several a map of them by name.
    #[must_use]
    pub fn end(&self, graph: &Graph) -> Value {
        let results: Vec<(&str, &Vec<Value>)> =
            self.results.iter().map(|(node, items)| (graph.nodes[*node].name.as_str(), items)).collect();
        if let ([(_, items)], 1) = (results.as_slice(), self.ends(graph)) {
            return Value::Array((*items).clone());
        }
        Value::map(results.into_iter().map(|(name, items)| (name, Value::Array(items.clone()))))
    }

    /// How many nodes have no edge that leaves.
    fn ends(&self, graph: &Graph) -> usize {
        (0..graph.nodes.len()).filter(|node| graph.leaving(*node).next().is_none()).count()
    }
}

/// What may work next, and needs to wait for nothing else, once `work` is done and `made` came of it: the nodes that follow
/// it alone.
///
/// # Errors
/// As [`Progress::ready`] and [`Progress::settle`].
pub fn after(graph: &Graph, work: Work, made: Vec<Made>) -> Result<Vec<Work>, FlowError> {
    let node = work.node;
    let mut progress = Progress { working: BTreeMap::from([(node, work)]), ..Progress::default() };
    progress.settle(graph, node, made)?;
    let (mut found, mut passed) = (Vec::new(), VecDeque::from([node]));
    while let Some(done) = passed.pop_front() {
        for node in (0..graph.nodes.len()).filter(|node| graph.follows(*node) == Some(done)) {
            let Some(edges) = progress.arrived_along_all(graph, node) else { continue };
            let inputs = edges.iter().filter_map(|at| progress.arrived.remove(at)).collect();
            match progress.work(graph, node, inputs)? {
                Some(work) => found.push(work),
                None => passed.push_back(node),
            }
        }
    }
    Ok(found)
}

fn name_of(graph: &Graph, node: usize) -> String {
    graph.nodes.get(node).map_or_else(|| node.to_string(), |node| node.name.clone())
}

/// The calls that a node makes for its items.
fn calls(kind: &NodeKind, items: Vec<Value>) -> Vec<Value> {
    match kind {
        NodeKind::All => vec![Value::Array(items)],
        NodeKind::Batch(size) => items.chunks(*size).map(|items| Value::Array(items.to_vec())).collect(),
        NodeKind::Each | NodeKind::Choose | NodeKind::Branch | NodeKind::Merge(_) => items,
    }
}

/// The output that a function names.
fn output_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Bool(yes) => yes.to_string(),
        Value::Int(number) => number.to_string(),
        _ => ELSE.to_owned(),
    }
}
