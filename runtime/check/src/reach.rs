//! What a script can come to: effects, the permissions they need, and secrets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hob_model::{EffectClass, Source, Span};
use hob_primitive::Operation;

/// A function of a file; the name of the file's top level is empty, with the closures that are written there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) file: String,
    pub(crate) function: String,
}

impl Key {
    pub(crate) fn top(file: &str) -> Self {
        Self { file: file.to_owned(), function: String::new() }
    }
}

/// A call of an operation as it is written.
pub(crate) struct Use {
    pub(crate) operation: Arc<Operation>,
    pub(crate) needs: Vec<String>,
    pub(crate) source: Source,
    /// Whether the call says that it may be repeated, or which class it has.
    pub(crate) classed: bool,
}

/// What a function does and calls.
#[derive(Default)]
pub(crate) struct Node {
    pub(crate) uses: Vec<Use>,
    pub(crate) calls: BTreeSet<Key>,
    pub(crate) secrets: BTreeSet<String>,
}

/// Which function calls which.
#[derive(Default)]
pub(crate) struct Graph {
    nodes: BTreeMap<Key, Node>,
    /// Calls of functions from inside of `retry`.
    pub(crate) retried: Vec<(Key, Span)>,
}

impl Graph {
    pub(crate) fn node(&mut self, key: &Key) -> &mut Node {
        self.nodes.entry(key.clone()).or_default()
    }

    /// The functions that `from` can come to, itself included.
    fn from<'a>(&'a self, from: &'a Key) -> impl Iterator<Item = &'a Node> {
        let mut seen = BTreeSet::new();
        let mut queue = vec![from];
        while let Some(key) = queue.pop() {
            if seen.insert(key)
                && let Some(node) = self.nodes.get(key)
            {
                queue.extend(&node.calls);
            }
        }
        seen.into_iter().filter_map(|key| self.nodes.get(key))
    }

    /// The first effect that `from` comes to and that must not be repeated.
    pub(crate) fn once<'a>(&'a self, from: &'a Key) -> Option<&'a Use> {
        self.from(from).flat_map(|node| &node.uses).find(|it| is_once(&it.operation, it.classed))
    }

    /// All that the file `root` can come to.
    pub(crate) fn reach(&self, root: &str) -> Reach {
        let mut reach = Reach::default();
        let top = Key::top(root);
        for node in self.from(&top) {
            reach.secrets.extend(node.secrets.iter().cloned());
            for it in &node.uses {
                let name = it.operation.name;
                let effect = reach.effects.entry(name).or_insert_with(|| ReachedEffect {
                    class: it.operation.class,
                    needs: BTreeSet::new(),
                    places: Vec::new(),
                });
                effect.needs.extend(it.needs.iter().cloned());
                effect.places.push(it.source.clone());
            }
        }
        for effect in reach.effects.values_mut() {
            effect.places.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
        }
        reach
    }
}

/// Whether a call has an effect that nobody may repeat.
pub(crate) fn is_once(operation: &Operation, classed: bool) -> bool {
    operation.class == EffectClass::Once && !classed
}

/// An operation that a script can come to.
#[derive(Clone, Debug, PartialEq)]
pub struct ReachedEffect {
    /// Its class, unless a call says otherwise.
    pub class: EffectClass,
    /// The permissions that its calls need; `*` where an argument is known only when it runs.
    pub needs: BTreeSet<String>,
    /// The calls, by place.
    pub places: Vec<Source>,
}

/// What a script can come to. Functions that nothing calls are left out; calls through variables are not followed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reach {
    /// The operations that observe or act, by name.
    pub effects: BTreeMap<&'static str, ReachedEffect>,
    /// The secrets that are named; `*` for one whose name is known only when it runs.
    pub secrets: BTreeSet<String>,
}

impl Reach {
    /// The permissions that all of it needs.
    #[must_use]
    pub fn permissions(&self) -> BTreeSet<&str> {
        self.effects.values().flat_map(|effect| &effect.needs).map(String::as_str).collect()
    }
}
