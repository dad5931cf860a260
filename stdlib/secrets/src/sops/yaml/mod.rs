//! SOPS files in YAML. The text is read for the places of its scalars and comments and is never written anew: what is
//! not encrypted stays as its owner wrote it.

mod scalar;

use std::collections::HashSet;
use std::ops::Range;

use granit_parser::{Event, Parser, Placement, ScalarStyle, ScanError, Span, StructureStyle, Tag};
use serde_json::{Map, Value as Json};
use zeroize::Zeroizing;

use super::cipher::is_encrypted;
use super::document::{Budget, Child, DEPTH_MAX, Document, Leaf, Node, Spot, duplicate, to_json, too_deep};
use super::value::{Type, Value};
use crate::error::{Error, Result};

/// The most documents of a file.
const DOCUMENTS_MAX: usize = 1_024;
/// How far the metadata is indented, level by level.
const INDENT: usize = 4;
/// The key of the metadata.
const METADATA: &str = "sops";

/// Reads a file.
pub(super) fn parse(text: &str) -> Result<Document> {
    let mut reader = Reader { text, ..Reader::new() };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| malformed(text, &error))?;
        reader.take(event, &span)?;
    }
    if reader.roots.is_empty() {
        return Err(Error::malformed("the file is empty").hint("a YAML file has a map at its top"));
    }
    let (mut metadata, mut metadata_spans) = (None, Vec::new());
    for (number, root) in reader.roots.iter_mut().enumerate() {
        let Some(at) = root.iter().position(|child| child.key.as_deref() == Some(METADATA)) else { continue };
        let child = root.remove(at);
        if number == 0 {
            let Node::Map(children) = &child.node else {
                return Err(Error::malformed("`sops` is no map"));
            };
            metadata = Some(to_json(children));
        }
        metadata_spans.push(reader.metadata_spans[number].clone().unwrap_or(0..0));
    }
    Ok(Document { roots: reader.roots, metadata, metadata_spans })
}

/// How a value is written where another one stood.
pub(super) fn write(value: &Value, spot: Spot) -> Option<Zeroizing<String>> {
    scalar::write(value, spot)
}

/// How an encrypted value is written.
pub(super) fn write_encrypted(text: &str, spot: Spot) -> String {
    // Commas and brackets end a plain scalar only inside of brackets.
    if spot == Spot::Inline || text.is_empty() { format!("\"{text}\"") } else { text.to_owned() }
}

/// The text with the metadata at the end of each of its documents.
pub(super) fn insert_metadata(text: &str, metadata: &Map<String, Json>) -> Result<String> {
    let mut block = String::new();
    write_map(&Map::from_iter([(METADATA.to_owned(), metadata.clone().into())]), 0, &mut block);
    let mut out = String::with_capacity(text.len() + block.len());
    let mut at = 0;
    for end in ends(text)? {
        out.push_str(&text[at..end]);
        if !out.is_empty() && !out.ends_with('\n') {
            out.push('\n');
        }
        out.push_str(&block);
        at = end;
    }
    out.push_str(&text[at..]);
    Ok(out)
}

/// A map in block style, as the `sops` command writes its metadata. Texts that could be taken for something else, such
/// as times, are quoted.
fn write_map(map: &Map<String, Json>, indent: usize, out: &mut String) {
    for (key, value) in map {
        out.push_str(&format!("{:indent$}{key}:", ""));
        write_value(value, indent, out);
    }
}

fn write_value(value: &Json, indent: usize, out: &mut String) {
    match value {
        Json::Object(map) if !map.is_empty() => {
            out.push('\n');
            write_map(map, indent + INDENT, out);
        }
        Json::Array(list) if !list.is_empty() => {
            out.push('\n');
            for item in list {
                // Each item is a map, whose first key stands behind the dash.
                let mut block = String::new();
                let inner = indent + INDENT + 2;
                match item {
                    Json::Object(map) => write_map(map, inner, &mut block),
                    other => write_value(other, inner, &mut block),
                }
                out.push_str(&format!("{:width$}- {}", "", block.trim_start(), width = indent + INDENT));
            }
        }
        Json::String(text) if is_encrypted(text) => out.push_str(&format!(" {text}\n")),
        Json::String(text) => {
            let written = scalar::write(&Value::text(text), Spot::Block { indent });
            out.push_str(&format!(" {}\n", written.expect("metadata is text").as_str()));
        }
        other => out.push_str(&format!(" {other}\n")),
    }
}

/// Where the documents of a text end: before the marker of the next one.
fn ends(text: &str) -> Result<Vec<usize>> {
    let mut ends = Vec::new();
    let mut open = false;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| malformed(text, &error))?;
        let range = range(&span);
        match event {
            Event::DocumentStart(explicit, _) => {
                if open {
                    // Comments between the end of a document and the marker of the next belong to the first.
                    let marker = if explicit {
                        text[..range.end].rfind("---").unwrap_or(range.start)
                    } else {
                        range.start
                    };
                    ends.push(marker);
                }
                open = true;
            }
            Event::DocumentEnd if text[range.clone()].starts_with("...") => {
                ends.push(range.start);
                open = false;
            }
            _ => {}
        }
    }
    if open {
        ends.push(text.len());
    }
    Ok(ends)
}

fn malformed(text: &str, error: &ScanError) -> Error {
    let error_at = error.marker();
    // The parser's own words name syntax, never content.
    let mut problem = Error::malformed(format!("this is no YAML: {}", error.info()));
    problem.place = Some((error_at.line(), error_at.col() + 1));
    let _ = text;
    problem
}

fn range(span: &Span) -> Range<usize> {
    span.byte_range().unwrap_or(0..0)
}

/// A map or list whose end has not come yet.
struct Open {
    /// The key that it stands under.
    key: Option<String>,
    is_map: bool,
    children: Vec<Child>,
    keys: HashSet<String>,
    /// The key whose value comes next, with its place.
    pending: Option<(String, Range<usize>)>,
    /// The column that its keys or dashes stand in.
    column: usize,
    in_brackets: bool,
}

/// Builds the tree from the parser's events.
struct Reader<'a> {
    text: &'a str,
    roots: Vec<Vec<Child>>,
    stack: Vec<Open>,
    /// Comments whose place in the tree is known when the next key, dash or end comes; with their columns.
    comments: Vec<(Leaf, usize)>,
    budget: Budget,
    metadata_spans: Vec<Option<Range<usize>>>,
    /// Where the last key, scalar or end was: the header of a block scalar stands behind it.
    last: usize,
}

impl<'a> Reader<'a> {
    fn new() -> Self {
        Self {
            text: "",
            roots: Vec::new(),
            stack: Vec::new(),
            comments: Vec::new(),
            budget: Budget::default(),
            metadata_spans: Vec::new(),
            last: 0,
        }
    }

    fn take(&mut self, event: Event<'a>, span: &Span) -> Result<()> {
        let place = range(span);
        match event {
            Event::Comment(text, placement) => self.comment(&text, placement, span),
            Event::DocumentStart(..) => {
                if self.roots.len() >= DOCUMENTS_MAX {
                    return Err(self.refuse(format!("more than {DOCUMENTS_MAX} documents"), &place));
                }
                self.last = place.end;
                Ok(())
            }
            Event::MappingStart(style, anchor, tag) => self.start(true, style, anchor, tag.is_some(), span),
            Event::SequenceStart(style, anchor, tag) => self.start(false, style, anchor, tag.is_some(), span),
            Event::MappingEnd | Event::SequenceEnd => self.end(place),
            Event::Scalar(text, style, anchor, tag) => {
                self.no_anchor(anchor, &place)?;
                self.scalar(&text, style, tag.as_deref(), span)
            }
            Event::Alias(_) => Err(self.refuse("aliases are not supported", &place).hint(
                "write the value out: the copy is encrypted under its own key, so it cannot stay an alias",
            )),
            _ => Ok(()),
        }
    }

    fn refuse(&self, what: impl Into<String>, place: &Range<usize>) -> Error {
        Error::unsupported(what).at(self.text, place.start)
    }

    fn no_anchor(&self, anchor: usize, place: &Range<usize>) -> Result<()> {
        if anchor == 0 {
            Ok(())
        } else {
            Err(self.refuse("anchors are not supported", place).hint("write the value out"))
        }
    }

    fn comment(&mut self, text: &str, placement: Placement, span: &Span) -> Result<()> {
        self.budget.value()?;
        let place = range(span);
        let value = Value { kind: Type::Comment, plain: Zeroizing::new(text.as_bytes().to_vec()) };
        let leaf = Leaf { value, span: place.start + 1..place.end, spot: Spot::Plain };
        // A comment behind a value belongs to it, and is met before it.
        if placement == Placement::Right
            && let Some(open) = self.stack.last_mut()
            && open.pending.is_none()
            && matches!(open.children.last(), Some(Child { node: Node::Leaf(_) | Node::Null, .. }))
        {
            let at = open.children.len() - 1;
            open.children.insert(at, Child { key: None, node: Node::Comment(leaf) });
        } else {
            self.comments.push((leaf, span.start.col()));
        }
        Ok(())
    }

    /// Gives the waiting comments to the innermost map or list.
    fn settle_comments(&mut self) {
        if let Some(open) = self.stack.last_mut() {
            let comments = self.comments.drain(..);
            open.children.extend(comments.map(|(leaf, _)| Child { key: None, node: Node::Comment(leaf) }));
        }
    }

    fn start(
        &mut self,
        is_map: bool,
        style: StructureStyle,
        anchor: usize,
        tagged: bool,
        span: &Span,
    ) -> Result<()> {
        let place = range(span);
        self.no_anchor(anchor, &place)?;
        if tagged {
            return Err(self.refuse("tags of maps and lists are not supported", &place));
        }
        if self.stack.len() >= DEPTH_MAX {
            return Err(too_deep().at(self.text, place.start));
        }
        let in_brackets = style != StructureStyle::Block;
        if self.stack.is_empty() && (!is_map || in_brackets) {
            return Err(self
                .refuse("the top of the file is no map in block style", &place)
                .hint("write `key: value` lines; what has braces around it can be saved as JSON"));
        }
        let key = self.key_of_value(&place)?;
        self.stack.push(Open {
            key,
            is_map,
            children: Vec::new(),
            keys: HashSet::new(),
            pending: None,
            column: span.start.col(),
            in_brackets,
        });
        self.last = place.end;
        Ok(())
    }

    /// The key that the value which begins now stands under.
    fn key_of_value(&mut self, place: &Range<usize>) -> Result<Option<String>> {
        let Some(open) = self.stack.last_mut() else { return Ok(None) };
        if !open.is_map {
            self.settle_comments();
            return Ok(None);
        }
        match open.pending.take() {
            Some((key, _)) => Ok(Some(key)),
            None => Err(self.refuse("a key is a map or a list", place).hint("keys are texts")),
        }
    }

    fn end(&mut self, place: Range<usize>) -> Result<()> {
        let Some(mut open) = self.stack.pop() else { return Ok(()) };
        let outermost = self.stack.is_empty();
        // Comments that stand as far to the right as the keys here close this map; others belong further out.
        let inner =
            self.comments.iter().take_while(|(_, column)| *column >= open.column || outermost).count();
        let comments = self.comments.drain(..inner);
        open.children.extend(comments.map(|(leaf, _)| Child { key: None, node: Node::Comment(leaf) }));
        let node = if open.is_map { Node::Map(open.children) } else { Node::List(open.children) };
        if open.in_brackets {
            self.last = place.end;
        }
        match self.stack.last_mut() {
            Some(parent) => parent.children.push(Child { key: open.key, node }),
            None => {
                let Node::Map(children) = node else { return Ok(()) };
                self.roots.push(children);
                self.metadata_spans.resize(self.roots.len(), None);
            }
        }
        self.close_metadata();
        Ok(())
    }

    /// Notes how far the metadata reaches, when it has just ended.
    fn close_metadata(&mut self) {
        let number = self.roots.len();
        if self.stack.len() == 1
            && let Some(Some(span)) = self.metadata_spans.get_mut(number)
            && span.end == usize::MAX
        {
            let line_end = self.text[self.last..].find('\n').map_or(self.text.len(), |at| self.last + at + 1);
            // A block scalar has its line's end with it.
            let ended = self.last > 0 && self.text.as_bytes()[self.last - 1] == b'\n';
            span.end = if ended { self.last } else { line_end };
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, span: &Span) -> Result<()> {
        let place = range(span);
        let is_key = self.stack.last().is_some_and(|open| open.is_map && open.pending.is_none());
        if self.stack.is_empty() {
            // An empty document between markers.
            if text.is_empty() || text == "null" || text == "~" {
                self.roots.push(Vec::new());
                self.metadata_spans.resize(self.roots.len(), None);
                return Ok(());
            }
            return Err(self.refuse("the top of the file is no map", &place).hint("SOPS files are maps"));
        }
        if is_key {
            self.key(text, style, tag.is_some(), place, span.start.col())
        } else {
            self.value(text, style, tag, span)
        }
    }

    fn key(
        &mut self,
        text: &str,
        style: ScalarStyle,
        tagged: bool,
        place: Range<usize>,
        column: usize,
    ) -> Result<()> {
        let is_text = style != ScalarStyle::Plain
            || scalar::resolve(text).is_ok_and(|value| value.is_some_and(|value| value.kind == Type::Text));
        if tagged || !is_text || text == "<<" {
            let what = if text == "<<" { "merge keys are not supported" } else { "a key is no text" };
            return Err(self.refuse(what, &place).hint("write it in quotes"));
        }
        self.settle_comments();
        let number = self.roots.len();
        let at_top = self.stack.len() == 1;
        let open = self.stack.last_mut().expect("a key stands in a map");
        if !open.keys.insert(text.to_owned()) {
            return Err(duplicate(text).at(self.text, place.start));
        }
        if at_top && column != 0 {
            return Err(self
                .refuse("the top of the file is indented", &place)
                .hint("begin its keys in the first column"));
        }
        if at_top && text == METADATA {
            self.metadata_spans.resize(number + 1, None);
            self.metadata_spans[number] = Some(place.start..usize::MAX);
        }
        open.pending = Some((text.to_owned(), place.clone()));
        self.last = place.end;
        Ok(())
    }

    fn value(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, span: &Span) -> Result<()> {
        self.budget.value()?;
        let place = range(span);
        let is_block = matches!(style, ScalarStyle::Literal | ScalarStyle::Folded);
        let key = self.key_of_value(&place)?;
        let untagged = match tag {
            None => true,
            Some(tag) if tag.core_suffix() == Some("str") => false,
            Some(_) => {
                return Err(self
                    .refuse("tags other than !!str are not supported", &place)
                    .hint("remove the tag; quotes make a text of anything"));
            }
        };
        let value = if style == ScalarStyle::Plain && untagged {
            scalar::resolve(text).map_err(|what| self.refuse(what, &place).hint("put it in quotes"))?
        } else {
            Some(Value::text(text))
        };
        let begin = match span.tag_start().and_then(|mark| mark.byte_offset()) {
            Some(tag_start) => tag_start,
            None if is_block => self.header(place.start),
            None => place.start,
        };
        let end = if is_block {
            begin + self.text[begin..place.end].trim_end_matches(['\n', ' ', '\t', '\r']).len()
        } else {
            place.end
        };
        let rest_of_line = self.text[end..].split('\n').next().unwrap_or("");
        let open = self.stack.last().expect("a value stands in a map or a list");
        let spot = if open.in_brackets {
            Spot::Inline
        } else if rest_of_line.trim().is_empty() {
            Spot::Block { indent: open.column }
        } else {
            Spot::Plain
        };
        let node = value.map_or(Node::Null, |value| Node::Leaf(Leaf { value, span: begin..end, spot }));
        self.stack.last_mut().expect("a value stands in a map or a list").children.push(Child { key, node });
        self.last = if is_block { place.end } else { end };
        self.close_metadata();
        Ok(())
    }

    /// Where the header (`|` or `>`) of the block scalar stands whose content begins at `content`.
    fn header(&self, content: usize) -> usize {
        let between = &self.text[self.last.min(content)..content];
        between.find(['|', '>']).map_or(content, |at| self.last.min(content) + at)
    }
}
