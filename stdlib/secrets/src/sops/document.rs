//! What all formats have in common: a tree of values with the place of each in the text, the walk that SOPS takes
//! through it, and the replacement of pieces of the text, which leaves everything else as its owner wrote it.

use std::ops::Range;

use serde_json::{Map, Value as Json};
use zeroize::Zeroizing;

use super::rules::{Place, Selection};
use super::value::Value;
use crate::error::{Error, Kind, Result};

/// How deep maps and lists may lie in each other.
pub(super) const DEPTH_MAX: usize = 64;
/// The most values of a file.
pub(super) const VALUES_MAX: usize = 200_000;

/// Where a scalar stands, as far as its format needs that to write another one there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spot {
    /// A whole line or a piece of one, with nothing special around it.
    Plain,
    /// In YAML's block style, below a key or dash in this column, with nothing behind it on its line.
    Block {
        /// The column of the key or dash, from 0.
        indent: usize,
    },
    /// In brackets of YAML, or with something behind it on its line.
    Inline,
}

/// A scalar of the text.
#[derive(Clone)]
pub(super) struct Leaf {
    pub(super) value: Value,
    /// Its bytes in the text, with quotes and block headers.
    pub(super) span: Range<usize>,
    pub(super) spot: Spot,
}

/// A part of the tree.
pub(super) enum Node {
    Map(Vec<Child>),
    List(Vec<Child>),
    Leaf(Leaf),
    /// SOPS neither encrypts nor authenticates it.
    Null,
    Comment(Leaf),
}

/// A part with its key; items of lists and comments have none.
pub(super) struct Child {
    pub(super) key: Option<String>,
    pub(super) node: Node,
}

/// A parsed file.
pub(super) struct Document {
    /// One map per document of the file; only YAML has several.
    pub(super) roots: Vec<Vec<Child>>,
    /// The metadata, if there is any.
    pub(super) metadata: Option<Map<String, Json>>,
    /// Where the metadata stands; a YAML file of several documents has it in each.
    pub(super) metadata_spans: Vec<Range<usize>>,
}

/// One leaf as the walk meets it.
pub(super) struct Visit<'a> {
    pub(super) leaf: &'a Leaf,
    pub(super) is_comment: bool,
    /// Whether the rules have it encrypted.
    pub(super) encrypted: bool,
    /// The keys from the root.
    pub(super) path: &'a [String],
}

impl Visit<'_> {
    /// The additional data of its encryption: each key followed by a colon; indexes of lists do not appear.
    pub(super) fn additional_data(&self) -> String {
        joined(self.path)
    }

    /// The keys, for people.
    pub(super) fn name(&self) -> String {
        if self.path.is_empty() { "the top level".to_owned() } else { crate::shortened(&self.path.join(".")) }
    }
}

pub(super) fn joined(path: &[String]) -> String {
    format!("{}:", path.join(":"))
}

/// Meets all scalars and comments in the order of the file.
pub(super) fn walk(
    roots: &[Vec<Child>],
    selection: &Selection,
    visit: &mut dyn FnMut(&Visit<'_>) -> Result<()>,
) -> Result<()> {
    let mut walk = Walk { selection, path: Vec::new(), comments: Vec::new(), visit };
    roots.iter().try_for_each(|root| walk.children(root))
}

struct Walk<'a> {
    selection: &'a Selection,
    path: Vec<String>,
    /// The comments since the last value, of each map or list from the root; empty where no rule reads them.
    comments: Vec<Vec<String>>,
    visit: &'a mut dyn FnMut(&Visit<'_>) -> Result<()>,
}

impl Walk<'_> {
    fn children(&mut self, children: &[Child]) -> Result<()> {
        self.comments.push(Vec::new());
        for child in children {
            if let Node::Comment(leaf) = &child.node {
                if self.selection.reads_comments() {
                    let text = leaf.value.as_str().unwrap_or_default().to_owned();
                    self.comments.last_mut().expect("a level was pushed").push(text);
                }
                self.leaf(leaf, true)?;
                continue;
            }
            if let Some(key) = &child.key {
                self.path.push(key.clone());
            }
            match &child.node {
                Node::Map(children) | Node::List(children) => self.children(children)?,
                Node::Leaf(leaf) => self.leaf(leaf, false)?,
                Node::Null | Node::Comment(_) => {}
            }
            if child.key.is_some() {
                self.path.pop();
            }
            self.comments.last_mut().expect("a level was pushed").clear();
        }
        self.comments.pop();
        Ok(())
    }

    fn leaf(&mut self, leaf: &Leaf, is_comment: bool) -> Result<()> {
        let place = Place { path: &self.path, comments: &self.comments, is_comment };
        let encrypted = self.selection.encrypts(&place);
        (self.visit)(&Visit { leaf, is_comment, encrypted, path: &self.path })
    }
}

/// Pieces of a text to be replaced.
#[derive(Default)]
pub(super) struct Edits(Vec<(Range<usize>, Zeroizing<String>)>);

impl Edits {
    /// Replaces these bytes. No two replacements may touch the same bytes.
    pub(super) fn replace(&mut self, span: Range<usize>, by: impl Into<Zeroizing<String>>) {
        self.0.push((span, by.into()));
    }

    /// The text with all replacements.
    pub(super) fn apply(mut self, text: &str) -> Zeroizing<String> {
        self.0.sort_by_key(|(span, _)| (span.start, span.end));
        let added: usize = self.0.iter().map(|(_, by)| by.len()).sum();
        // Large enough from the beginning: a buffer that grows would leave its old memory behind.
        let mut out = Zeroizing::new(String::with_capacity(text.len() + added));
        let mut at = 0;
        for (span, by) in &self.0 {
            debug_assert!(at <= span.start, "replacements overlap");
            out.push_str(&text[at..span.start]);
            out.push_str(by);
            at = span.end;
        }
        out.push_str(&text[at..]);
        out
    }
}

/// Counts values and depth while a file is read.
#[derive(Default)]
pub(super) struct Budget(usize);

impl Budget {
    /// One more value.
    pub(super) fn value(&mut self) -> Result<()> {
        self.0 += 1;
        if self.0 > VALUES_MAX {
            return Err(Error::new(Kind::TooLarge, format!("the file has more than {VALUES_MAX} values")));
        }
        Ok(())
    }
}

/// The error for a tree that is too deep.
pub(super) fn too_deep() -> Error {
    Error::new(Kind::TooLarge, format!("maps and lists lie more than {DEPTH_MAX} deep in each other"))
}

/// The error for a key that stands twice in a map: readers would disagree about which one counts.
pub(super) fn duplicate(key: &str) -> Error {
    Error::malformed(format!("the key `{}` stands twice in one map", crate::shortened(key)))
        .hint("remove one of them: readers do not agree about which one counts")
}

/// The tree as JSON, without comments.
pub(super) fn to_json(children: &[Child]) -> Map<String, Json> {
    let pairs = children.iter().filter_map(|child| Some((child.key.clone()?, json(&child.node)?)));
    pairs.collect()
}

fn json(node: &Node) -> Option<Json> {
    Some(match node {
        Node::Map(children) => Json::Object(to_json(children)),
        Node::List(children) => children.iter().filter_map(|child| json(&child.node)).collect(),
        Node::Leaf(leaf) => leaf.value.to_json(),
        Node::Null => Json::Null,
        Node::Comment(_) => return None,
    })
}
