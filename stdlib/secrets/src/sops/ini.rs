//! SOPS files in INI: sections of `key = value` lines, comments, and the metadata as a section `sops`.
//!
//! The `sops` command reads INI with a library that knows many dialects (`gopkg.in/ini.v1`). Here is what it writes
//! and what people write; the rest (a value over several lines, keys without values, text behind a value that may or
//! may not be a comment) is refused instead of being guessed.

use std::collections::HashSet;

use serde_json::{Map, Value as Json};
use zeroize::Zeroizing;

use super::document::{Budget, Child, Document, Leaf, Node, Spot, duplicate};
use super::metadata::{flatten, unflatten};
use super::value::{Type, Value};
use crate::error::{Error, Result};

/// The section of the metadata.
const METADATA: &str = "sops";
/// The section of keys that stand above all sections.
const DEFAULT_SECTION: &str = "DEFAULT";

/// Reads a file.
pub(super) fn parse(text: &str) -> Result<Document> {
    let mut reader = Reader::default();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        reader.line(text, at, line)?;
        at += line.len();
    }
    let mut document = reader.finish(text.len())?;
    // The empty line above the metadata was written with it.
    for span in &mut document.metadata_spans {
        span.start -= usize::from(text[..span.start].ends_with("\n\n"));
    }
    Ok(document)
}

#[derive(Default)]
struct Reader {
    sections: Vec<(String, Vec<Child>)>,
    keys: HashSet<String>,
    /// Lines of a comment that belongs to what comes next.
    comment: Option<(usize, usize)>,
    comment_text: Zeroizing<String>,
    budget: Budget,
    metadata: Option<Vec<(String, String)>>,
    /// Where the section of the metadata begins, while it is read, and where it was.
    metadata_start: Option<usize>,
    metadata_span: Option<(usize, usize)>,
}

impl Reader {
    fn line(&mut self, text: &str, start: usize, line: &str) -> Result<()> {
        let content = line.trim();
        let wrong = |what: &str| Error::malformed(what).at(text, start);
        if content.is_empty() {
            return Ok(());
        }
        self.budget.value()?;
        let content_start = start + (line.len() - line.trim_start().len());
        if content.starts_with(['#', ';']) {
            if self.metadata_start.is_none() {
                self.comment_line(content, content_start);
            }
            return Ok(());
        }
        if let Some(rest) = content.strip_prefix('[') {
            let name =
                rest.strip_suffix(']').ok_or_else(|| wrong("the name of a section does not end with `]`"))?;
            return self.section(text, start, name.trim());
        }
        if content.ends_with('\\') {
            return Err(Error::unsupported("a line that goes on in the next one")
                .at(text, start)
                .hint("write the value on one line"));
        }
        let (key, _) = content
            .split_once(['=', ':'])
            .ok_or_else(|| wrong("a line is neither a section, nor key = value"))?;
        let key = key.trim_end();
        if key.is_empty() || key.starts_with(['"', '`']) {
            return Err(wrong("a line has no key, or one in quotes"));
        }
        let after = content_start + content.find(['=', ':']).expect("it was split there") + 1;
        let raw_line = &text[after..start + line.len()];
        let raw = raw_line.trim();
        let raw_start = after + (raw_line.len() - raw_line.trim_start().len());
        if let Some(pairs) = self.metadata.as_mut().filter(|_| self.metadata_start.is_some()) {
            pairs.push((key.to_owned(), raw.replace("\\n", "\n")));
            return Ok(());
        }
        let value = read(raw).map_err(|what| {
            Error::unsupported(what).at(text, raw_start).hint("put the value in `backquotes`")
        })?;
        if self.sections.is_empty() {
            self.sections.push((DEFAULT_SECTION.to_owned(), Vec::new()));
        }
        if !self.keys.insert(key.to_owned()) {
            return Err(duplicate(key).at(text, start));
        }
        let leaf = Leaf { value, span: raw_start..raw_start + raw.len(), spot: Spot::Plain };
        let comment = self.take_comment();
        let children = &mut self.sections.last_mut().expect("there is a section").1;
        // The comment above a key comes behind it, as in the `sops` command.
        children.push(Child { key: Some(key.to_owned()), node: Node::Leaf(leaf) });
        children.extend(comment);
        Ok(())
    }

    /// Lines of comment that follow each other are one comment; its first mark is not part of it.
    fn comment_line(&mut self, content: &str, start: usize) {
        let text = content.trim_start_matches(['#', ';']).trim_start();
        match &mut self.comment {
            None => {
                self.comment = Some((start + (content.len() - text.len()), start + content.len()));
                self.comment_text = Zeroizing::new(text.to_owned());
            }
            Some((_, end)) => {
                *end = start + content.len();
                self.comment_text.push('\n');
                self.comment_text.push_str(content);
            }
        }
    }

    fn take_comment(&mut self) -> Option<Child> {
        let (start, end) = self.comment.take()?;
        let plain = Zeroizing::new(std::mem::take(&mut *self.comment_text).into_bytes());
        let leaf = Leaf { value: Value { kind: Type::Comment, plain }, span: start..end, spot: Spot::Plain };
        Some(Child { key: None, node: Node::Comment(leaf) })
    }

    fn section(&mut self, text: &str, start: usize, name: &str) -> Result<()> {
        self.keys.clear();
        if let Some(begun) = self.metadata_start.take() {
            self.metadata_span = Some((begun, start));
        }
        if name == METADATA {
            if self.metadata.replace(Vec::new()).is_some() {
                return Err(duplicate(METADATA).at(text, start));
            }
            self.metadata_start = Some(start);
            return Ok(());
        }
        let comment = self.take_comment();
        self.sections.push((name.to_owned(), comment.into_iter().collect()));
        Ok(())
    }

    fn finish(mut self, length: usize) -> Result<Document> {
        if let Some(begun) = self.metadata_start {
            self.metadata_span = Some((begun, length));
        }
        // A comment that nothing follows belongs to the last section.
        if let Some(comment) = self.take_comment()
            && let Some((_, children)) = self.sections.last_mut()
        {
            children.push(comment);
        }
        let sections = self.sections.into_iter();
        let root =
            sections.map(|(name, children)| Child { key: Some(name), node: Node::Map(children) }).collect();
        Ok(Document {
            roots: vec![root],
            metadata: self.metadata.map(unflatten).transpose()?,
            metadata_spans: self.metadata_span.map(|(start, end)| start..end).into_iter().collect(),
        })
    }
}

/// A value as it stands behind the `=`.
fn read(raw: &str) -> std::result::Result<Value, &'static str> {
    for quote in ["\"\"\"", "`", "\"", "'"] {
        let Some(inner) = raw.strip_prefix(quote) else { continue };
        let Some(inner) = inner.strip_suffix(quote).filter(|_| raw.len() >= 2 * quote.len()) else {
            return Err("a value in quotes does not end on its line");
        };
        if inner.contains(quote) || (quote == "\"" && inner.contains('\\')) {
            return Err("a value has quotes or backslashes inside of quotes");
        }
        return Ok(Value::text(inner));
    }
    if raw.contains(['#', ';']) && !super::cipher::is_encrypted(raw) {
        return Err("a value holds `#` or `;`, which begin a comment");
    }
    Ok(Value::text(raw))
}

/// How a value is written; nothing for what the format cannot hold on a line.
pub(super) fn write(value: &Value) -> Option<Zeroizing<String>> {
    let text = value.as_str()?;
    let text = match value.kind {
        Type::Bool => {
            if value.is_true() {
                "true"
            } else {
                "false"
            }
        }
        _ => text,
    };
    if text.contains(['\n', '\r']) {
        return None;
    }
    let quotes = ["", "`", "\"\"\""];
    let written = quotes.into_iter().map(|quote| Zeroizing::new(format!("{quote}{text}{quote}")));
    // A line that ends with a backslash would go on in the next one.
    let reads_back = |written: &Zeroizing<String>| {
        !written.ends_with('\\')
            && written.trim() == written.as_str()
            && read(written).is_ok_and(|back| back.plain.as_slice() == text.as_bytes())
    };
    written.into_iter().find(reads_back)
}

/// The text with the metadata as its last section.
pub(super) fn insert_metadata(text: &str, metadata: &Map<String, Json>) -> String {
    let mut out = text.trim_end_matches(['\n', '\r']).to_owned();
    if !out.is_empty() {
        out.push_str("\n\n");
    }
    out.push_str(&format!("[{METADATA}]\n"));
    for (key, value) in flatten(metadata) {
        out.push_str(&format!("{key} = {}\n", value.replace('\n', "\\n")));
    }
    out
}
