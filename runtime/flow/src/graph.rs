//! A graph, as it was declared.

use std::collections::BTreeMap;

use hob_model::{Value, names};

/// The most nodes of one graph.
pub const NODES_MAX: usize = 1_000;
/// The most edges of one graph.
pub const EDGES_MAX: usize = 10_000;
/// The longest name of a node, in bytes.
pub const NODE_NAME_BYTES_MAX: usize = 64;
/// The most items in one batch.
pub const BATCH_ITEMS_MAX: usize = 10_000;
/// The output of a node that has no others.
pub const MAIN: &str = "main";
/// The output that takes the items for which a node failed.
pub const ERROR: &str = "error";
/// The output that takes what no other one takes.
pub const ELSE: &str = "*";

/// How a merge joins what comes along its edges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merge {
    /// One after the other, in the order of the edges.
    Append,
    /// The first with the first, the second with the second: their maps become one.
    Position,
    /// Those whose maps have the same value under this key: their maps become one.
    Key(String),
    /// One item: the array of what came along each edge.
    All,
    /// What came along the first edge along which anything came.
    First,
}

/// What a node does with items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// Its function takes one at a time.
    Each,
    /// Its function takes all at once, as an array.
    All,
    /// Its function takes so many at a time, as an array.
    Batch(usize),
    /// Its function names the output for an item.
    Choose,
    /// Its function says `true` or `false`, which are its outputs.
    Branch,
    /// It joins what comes along its edges, and has no function.
    Merge(Merge),
}

/// A node.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// What it does with items.
    pub kind: NodeKind,
    /// Items go through it as they are.
    pub disabled: bool,
    /// What it gives instead of working.
    pub pinned: Option<Vec<Value>>,
    /// For people.
    pub note: Option<String>,
    /// How it is tried again: the options of `retry`.
    pub retry: Option<Value>,
    /// An item for which it fails goes to the output `error`, and the others go on.
    pub goes_on: bool,
}

/// An edge: from an output of a node to another node, by their places in the graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edge {
    /// From which node.
    pub from: usize,
    /// Which of its outputs.
    pub output: String,
    /// To which node.
    pub to: usize,
    /// It leads back to where the items came from: a loop.
    pub back: bool,
}

/// A sound graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Graph {
    /// Its nodes, as declared.
    pub nodes: Vec<Node>,
    /// Its edges, as declared.
    pub edges: Vec<Edge>,
}

/// A mistake, and its cure where one is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// What is wrong.
    pub message: String,
    /// What to write instead.
    pub hint: Option<String>,
}

/// Reads a graph and keeps what is wrong with it.
#[derive(Default)]
struct Reader {
    mistakes: Vec<Mistake>,
}

impl Graph {
    /// Reads what was declared: `{ nodes: [{ name, kind, … }], edges: [{ from, to }], on_error: [{ node, options }] }`.
    /// Without a graph there is at least one mistake.
    #[must_use]
    pub fn read(declared: &Value) -> (Option<Self>, Vec<Mistake>) {
        let mut reader = Reader::default();
        let list = |key: &str| match declared.get(key) {
            Some(Value::Array(items)) => items.as_slice(),
            _ => &[],
        };
        let mut nodes: Vec<Node> = Vec::new();
        for item in list("nodes") {
            let node = reader.node(item);
            if nodes.iter().any(|known| known.name == node.name) {
                reader.report(format!("the node `{}` is there twice", node.name), None);
            }
            nodes.push(node);
        }
        for item in list("on_error") {
            reader.on_error(item, &mut nodes);
        }
        let mut edges: Vec<Edge> = Vec::new();
        for item in list("edges") {
            if let Some(edge) = reader.edge(item, &nodes) {
                if edges.contains(&edge) {
                    let (from, to) = (&nodes[edge.from].name, &nodes[edge.to].name);
                    reader.report(format!("the edge from `{from}` to `{to}` is there twice"), None);
                }
                edges.push(edge);
            }
        }
        if nodes.is_empty() {
            reader
                .report("it has no nodes".to_owned(), Some("add one with .node(name, function)".to_owned()));
        }
        if nodes.len() > NODES_MAX || edges.len() > EDGES_MAX {
            let text = format!("a graph has up to {NODES_MAX} nodes and {EDGES_MAX} edges");
            reader.report(text, None);
            return (None, reader.mistakes);
        }
        let mut graph = Self { nodes, edges };
        graph.mark_back_edges();
        reader.check_entries(&graph);
        (reader.mistakes.is_empty().then_some(graph), reader.mistakes)
    }

    /// The places of the edges that leave a node.
    pub fn leaving(&self, node: usize) -> impl Iterator<Item = usize> {
        self.edges.iter().enumerate().filter(move |(_, edge)| edge.from == node).map(|(at, _)| at)
    }

    /// The places of the edges that come to a node.
    pub fn coming(&self, node: usize) -> impl Iterator<Item = usize> {
        self.edges.iter().enumerate().filter(move |(_, edge)| edge.to == node).map(|(at, _)| at)
    }

    /// The node that this one follows alone: all its edges come from there and none of them leads back, so that it waits for
    /// nothing else.
    #[must_use]
    pub fn follows(&self, node: usize) -> Option<usize> {
        let mut coming = self.coming(node).map(|at| &self.edges[at]);
        let first = coming.next().filter(|edge| !edge.back)?.from;
        coming.all(|edge| edge.from == first && !edge.back).then_some(first)
    }

    /// The part that leads to the node `name`, at which it ends: partial execution. None when there is no such node.
    #[must_use]
    pub fn up_to(&self, name: &str) -> Option<Self> {
        let end = self.nodes.iter().position(|node| node.name == name)?;
        let (mut leads, mut open) = (vec![false; self.nodes.len()], vec![end]);
        while let Some(node) = open.pop() {
            if !std::mem::replace(&mut leads[node], true) {
                // What leads back comes along where it lies between nodes that are needed anyway.
                let forward = self.coming(node).filter(|at| !self.edges[*at].back);
                open.extend(forward.map(|at| self.edges[at].from));
            }
        }
        let kept: Vec<usize> = (0..self.nodes.len()).filter(|node| leads[*node]).collect();
        let place = |node: usize| kept.binary_search(&node).ok();
        let nodes = kept.iter().map(|node| self.nodes[*node].clone()).collect();
        let edges = self.edges.iter().filter(|edge| edge.from != end);
        let edges = edges
            .filter_map(|edge| Some(Edge { from: place(edge.from)?, to: place(edge.to)?, ..edge.clone() }));
        Some(Self { nodes, edges: edges.collect() })
    }

    /// The nodes at which the graph begins.
    #[must_use]
    pub fn entries(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|node| self.coming(*node).all(|at| self.edges[at].back)).collect()
    }

    /// An edge to a node through which its items came leads back. Nodes are walked in the order of their declaration,
    /// so that what is declared first is the beginning of a loop.
    fn mark_back_edges(&mut self) {
        #[derive(Clone, Copy, PartialEq)]
        enum Mark {
            New,
            Open,
            Done,
        }
        let mut marks = vec![Mark::New; self.nodes.len()];
        for start in 0..self.nodes.len() {
            if marks[start] != Mark::New {
                continue;
            }
            marks[start] = Mark::Open;
            let mut path = vec![(start, self.leaving(start).collect::<Vec<_>>().into_iter())];
            while let Some((node, edges)) = path.last_mut() {
                let Some(at) = edges.next() else {
                    marks[*node] = Mark::Done;
                    path.pop();
                    continue;
                };
                let to = self.edges[at].to;
                match marks[to] {
                    Mark::Open => self.edges[at].back = true,
                    Mark::Done => {}
                    Mark::New => {
                        marks[to] = Mark::Open;
                        path.push((to, self.leaving(to).collect::<Vec<_>>().into_iter()));
                    }
                }
            }
        }
    }
}

impl Reader {
    fn report(&mut self, message: String, hint: Option<String>) {
        self.mistakes.push(Mistake { message, hint });
    }

    fn node(&mut self, item: &Value) -> Node {
        let text = |key: &str| item.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let name = text("name");
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_ ".contains(c);
        if name.is_empty() || name.len() > NODE_NAME_BYTES_MAX || !name.chars().all(plain) {
            let hint = format!("use up to {NODE_NAME_BYTES_MAX} letters, digits, blanks, `-` and `_`");
            self.report(format!("`{name}` is no name of a node"), Some(hint));
        }
        let kind = match text("kind").as_str() {
            "all" => NodeKind::All,
            "choose" => NodeKind::Choose,
            "branch" => NodeKind::Branch,
            "batch" => self.batch(&name, item),
            "merge" => NodeKind::Merge(self.merge(&name, item)),
            _ => NodeKind::Each,
        };
        let mut node =
            Node { name, kind, disabled: false, pinned: None, note: None, retry: None, goes_on: false };
        if let Some(Value::Map(options)) = item.get("options") {
            self.options(&mut node, options);
        }
        node
    }

    fn batch(&mut self, name: &str, item: &Value) -> NodeKind {
        let size = item.get("size").and_then(Value::as_int).and_then(|size| usize::try_from(size).ok());
        match size.filter(|size| (1..=BATCH_ITEMS_MAX).contains(size)) {
            Some(size) => NodeKind::Batch(size),
            None => {
                let text = format!("node `{name}`: a batch has 1 to {BATCH_ITEMS_MAX} items");
                self.report(text, None);
                NodeKind::All
            }
        }
    }

    fn merge(&mut self, name: &str, item: &Value) -> Merge {
        let text = |key: &str| item.get(key).and_then(Value::as_str);
        match (text("mode"), text("key")) {
            (Some("append"), None) => Merge::Append,
            (Some("position"), None) => Merge::Position,
            (Some("all"), None) => Merge::All,
            (Some("first"), None) => Merge::First,
            (Some("key"), Some(key)) => Merge::Key(key.to_owned()),
            (mode, _) => {
                let text = format!("node `{name}`: there is no merge by `{}`", mode.unwrap_or_default());
                let hint = "the modes are append, position, all, first, and key with the name of a field";
                self.report(text, Some(hint.to_owned()));
                Merge::Append
            }
        }
    }

    fn options(&mut self, node: &mut Node, options: &BTreeMap<String, Value>) {
        for (key, value) in options {
            match (key.as_str(), value) {
                ("disabled", Value::Bool(disabled)) => node.disabled = *disabled,
                ("pinned", Value::Array(items)) => node.pinned = Some(items.clone()),
                ("note", Value::String(text)) => node.note = Some(text.clone()),
                ("retry", Value::Map(_)) => node.retry = Some(value.clone()),
                ("then", Value::String(then)) if then == "continue" => node.goes_on = true,
                ("then", Value::String(then)) if then == "fail" => node.goes_on = false,
                ("disabled" | "pinned" | "note" | "retry" | "then", _) => {
                    let text = format!("node `{}`: `{key}` has a wrong value", node.name);
                    let hint = "disabled: true, pinned: [items], note: \"text\", retry: #{ attempts: 3 }, \
                                then: \"continue\" or \"fail\"";
                    self.report(text, Some(hint.to_owned()));
                }
                _ => {
                    let known = ["disabled", "pinned", "note", "retry", "then"];
                    let hint = names::nearest(key, known).map(|near| format!("did you mean `{near}`?"));
                    self.report(format!("node `{}`: there is no option `{key}`", node.name), hint);
                }
            }
        }
    }

    fn on_error(&mut self, item: &Value, nodes: &mut [Node]) {
        let name = item.get("node").and_then(Value::as_str).unwrap_or_default();
        let Some(at) = self.find(name, nodes) else { return };
        if let Some(Value::Map(options)) = item.get("options") {
            self.options(&mut nodes[at], options);
        }
    }

    fn find(&mut self, name: &str, nodes: &[Node]) -> Option<usize> {
        let found = nodes.iter().position(|node| node.name == name);
        if found.is_none() {
            let near = names::nearest(name, nodes.iter().map(|node| node.name.as_str()));
            let hint = near.map(|near| format!("did you mean `{near}`?"));
            self.report(format!("there is no node `{name}`"), hint);
        }
        found
    }

    fn edge(&mut self, item: &Value, nodes: &[Node]) -> Option<Edge> {
        let text = |key: &str| item.get(key).and_then(Value::as_str).unwrap_or_default();
        let (from, output) = match text("from").split_once('.') {
            Some((from, output)) => (from, Some(output)),
            None => (text("from"), None),
        };
        let (from, to) = (self.find(from, nodes), self.find(text("to"), nodes));
        let (from, to) = (from?, to?);
        let kind = &nodes[from].kind;
        let fits = match (kind, output) {
            (NodeKind::Choose, output) => output.is_some_and(|output| !output.is_empty()),
            (NodeKind::Branch, output) => output.is_some_and(|it| ["true", "false", ERROR].contains(&it)),
            (_, output) => output.is_none_or(|output| [MAIN, ERROR].contains(&output)),
        };
        if !fits {
            let name = &nodes[from].name;
            let outputs = match kind {
                NodeKind::Choose => format!("what its function names, such as `{name}.film`, or `{name}.*`"),
                NodeKind::Branch => format!("`{name}.true` and `{name}.false`"),
                _ => format!("`{name}` and `{name}.{ERROR}`"),
            };
            self.report(
                format!("an edge leaves from `{}`", text("from")),
                Some(format!("its outputs are {outputs}")),
            );
        }
        Some(Edge { from, output: output.unwrap_or(MAIN).to_owned(), to, back: false })
    }

    fn check_entries(&mut self, graph: &Graph) {
        for (at, node) in graph.nodes.iter().enumerate() {
            let inputs = graph.coming(at).filter(|edge| !graph.edges[*edge].back).count();
            if matches!(node.kind, NodeKind::Merge(_)) && inputs == 0 {
                self.report(format!("the merge `{}` joins nothing: no edge comes to it", node.name), None);
            }
        }
    }
}
