//! SOPS files in JSON, and binary files, which are JSON with one key.

use std::collections::HashSet;
use std::ops::Range;

use serde_json::{Map, Value as Json};
use zeroize::{Zeroize, Zeroizing};

use super::document::{Budget, Child, DEPTH_MAX, Document, Leaf, Node, Spot, duplicate, to_json, too_deep};
use super::value::{Type, Value, float_text};
use crate::error::{Error, Result};

/// The key of the metadata.
const METADATA: &str = "sops";

/// Reads a file.
pub(super) fn parse(text: &str) -> Result<Document> {
    let mut reader = Reader { text, at: 0, budget: Budget::default() };
    reader.space();
    if reader.peek() != Some(b'{') {
        return Err(reader.wrong("a map in braces").hint("a SOPS file in JSON is a map at its top"));
    }
    let mut members = Vec::new();
    reader.map(1, &mut members)?;
    reader.space();
    if reader.at != text.len() {
        return Err(reader.wrong("the end of the file"));
    }
    let found = members.iter().position(|member| member.child.key.as_deref() == Some(METADATA));
    let (mut metadata, mut metadata_spans) = (None, Vec::new());
    if let Some(at) = found {
        let Node::Map(children) = &members[at].child.node else {
            return Err(Error::malformed("`sops` is no map"));
        };
        metadata = Some(to_json(children));
        // With the comma before it, or else with that behind it.
        let span = match (at.checked_sub(1), members.get(at + 1)) {
            (Some(before), _) => members[before].span.end..members[at].span.end,
            (None, Some(after)) => members[at].span.start..after.span.start,
            (None, None) => members[at].span.clone(),
        };
        metadata_spans.push(span);
        members.remove(at);
    }
    let children = members.into_iter().map(|member| member.child).collect();
    Ok(Document { roots: vec![children], metadata, metadata_spans })
}

/// How a value is written.
pub(super) fn write(value: &Value) -> Option<Zeroizing<String>> {
    let text = value.as_str()?;
    match value.kind {
        Type::Bool => Some(Zeroizing::new(if value.is_true() { "true" } else { "false" }.to_owned())),
        Type::Int => Some(Zeroizing::new(text.to_owned())),
        // JSON has no words for numbers that are none.
        Type::Float if text.parse::<f64>().is_ok_and(f64::is_finite) => Some(Zeroizing::new(text.to_owned())),
        Type::Comment => None,
        _ => Some(quoted(text)),
    }
}

/// A text in quotes.
pub(crate) fn quoted(text: &str) -> Zeroizing<String> {
    // An escape takes at most six bytes; a buffer that grows would leave its old memory behind.
    let mut out = Zeroizing::new(Vec::with_capacity(text.len() * 6 + 2));
    serde_json::to_writer(&mut *out, text).expect("a text is written into memory");
    Zeroizing::new(String::from_utf8(std::mem::take(&mut *out)).expect("JSON is UTF-8"))
}

/// The text with the metadata as its last member.
pub(super) fn insert_metadata(text: &str, metadata: &Map<String, Json>) -> Result<String> {
    let mut reader = Reader { text, at: 0, budget: Budget::default() };
    reader.space();
    let open = reader.at;
    let mut members = Vec::new();
    reader.map(1, &mut members)?;
    let indent = members.first().map_or("\t", |first| {
        let before = &text[open + 1..first.span.start];
        before.rsplit_once('\n').map_or("", |(_, indent)| indent)
    });
    let (line, margin) = if indent.is_empty() { ("", "") } else { ("\n", indent) };
    let mut block = Vec::new();
    if indent.is_empty() {
        serde_json::to_writer(&mut block, metadata).map_err(|error| Error::malformed(error.to_string()))?;
    } else {
        let formatter = serde_json::ser::PrettyFormatter::with_indent(indent.as_bytes());
        let mut writer = serde_json::Serializer::with_formatter(&mut block, formatter);
        serde::Serialize::serialize(metadata, &mut writer)
            .map_err(|error| Error::malformed(error.to_string()))?;
    }
    let block = String::from_utf8(block).expect("JSON is UTF-8").replace('\n', &format!("\n{margin}"));
    let (at, comma) = members.last().map_or((open + 1, ""), |last| (last.span.end, ","));
    let rest =
        if members.is_empty() { format!("{line}{}", text[at..].trim_start()) } else { text[at..].to_owned() };
    Ok(format!("{}{comma}{line}{margin}\"{METADATA}\": {block}{rest}", &text[..at]))
}

/// A member of the map at the top, with its place from the quote of its key to the end of its value.
struct Member {
    child: Child,
    span: Range<usize>,
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    budget: Budget,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn wrong(&self, expected: &str) -> Error {
        Error::malformed(format!("this is no JSON: expected {expected} here")).at(self.text, self.at)
    }

    /// Takes `byte`, with the space around it, if it comes next.
    fn took(&mut self, byte: u8) -> bool {
        self.space();
        let next = self.peek() == Some(byte);
        if next {
            self.at += 1;
            self.space();
        }
        next
    }

    fn map(&mut self, depth: usize, members: &mut Vec<Member>) -> Result<()> {
        self.deeper(depth)?;
        let mut keys = HashSet::new();
        if !self.took(b'{') {
            return Err(self.wrong("`{`"));
        }
        if self.closed(b'}') {
            return Ok(());
        }
        loop {
            let start = self.at;
            let key = self.string()?;
            let key = std::str::from_utf8(&key).expect("JSON texts are UTF-8").to_owned();
            if !keys.insert(key.clone()) {
                return Err(duplicate(&key).at(self.text, start));
            }
            if !self.took(b':') {
                return Err(self.wrong("`:`"));
            }
            let node = self.node(depth)?;
            members.push(Member { child: Child { key: Some(key), node }, span: start..self.at });
            if !self.took(b',') {
                return if self.closed(b'}') { Ok(()) } else { Err(self.wrong("`,` or `}`")) };
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Child>> {
        self.deeper(depth)?;
        let mut items = Vec::new();
        if !self.took(b'[') {
            return Err(self.wrong("`[`"));
        }
        if self.closed(b']') {
            return Ok(items);
        }
        loop {
            items.push(Child { key: None, node: self.node(depth)? });
            if !self.took(b',') {
                return if self.closed(b']') { Ok(items) } else { Err(self.wrong("`,` or `]`")) };
            }
        }
    }

    fn deeper(&self, depth: usize) -> Result<()> {
        if depth > DEPTH_MAX { Err(too_deep().at(self.text, self.at)) } else { Ok(()) }
    }

    /// Takes a closing bracket, and nothing behind it: a value ends there.
    fn closed(&mut self, byte: u8) -> bool {
        self.space();
        let next = self.peek() == Some(byte);
        self.at += usize::from(next);
        next
    }

    fn node(&mut self, depth: usize) -> Result<Node> {
        self.budget.value()?;
        let start = self.at;
        let value = match self.peek() {
            Some(b'{') => {
                let mut members = Vec::new();
                self.map(depth + 1, &mut members)?;
                return Ok(Node::Map(members.into_iter().map(|member| member.child).collect()));
            }
            Some(b'[') => return Ok(Node::List(self.list(depth + 1)?)),
            Some(b'"') => Value { kind: Type::Text, plain: self.string()? },
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ => {
                let rest = &self.text[self.at..];
                let word = ["true", "false", "null"].into_iter().find(|word| rest.starts_with(word));
                let word = word.ok_or_else(|| self.wrong("a value"))?;
                self.at += word.len();
                match word {
                    "null" => return Ok(Node::Null),
                    "true" => Value::of(Type::Bool, "True"),
                    _ => Value::of(Type::Bool, "False"),
                }
            }
        };
        Ok(Node::Leaf(Leaf { value, span: start..self.at, spot: Spot::Plain }))
    }

    fn string(&mut self) -> Result<crate::Plain> {
        if self.peek() != Some(b'"') {
            return Err(self.wrong("a text in quotes"));
        }
        let start = self.at;
        let bytes = self.text.as_bytes();
        let mut end = start + 1;
        while end < bytes.len() && bytes[end] != b'"' {
            end += if bytes[end] == b'\\' { 2 } else { 1 };
        }
        if end >= bytes.len() {
            return Err(self.wrong("a text that ends"));
        }
        self.at = end + 1;
        let mut text: String = serde_json::from_str(&self.text[start..self.at]).map_err(|_| {
            Error::malformed("this is no JSON: a text has a wrong escape or a raw control character")
                .at(self.text, start)
        })?;
        let plain = Zeroizing::new(text.as_bytes().to_vec());
        text.zeroize();
        Ok(plain)
    }

    fn number(&mut self) -> Result<Value> {
        let start = self.at;
        let length = self.text[start..]
            .bytes()
            .take_while(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'));
        self.at += length.count();
        let text = &self.text[start..self.at];
        let wrong = |what: &str| Error::malformed(what).at(self.text, start);
        let number: serde_json::Number =
            serde_json::from_str(text).map_err(|_| wrong("this is no JSON: a number is wrong"))?;
        match (number.as_i64(), number.as_f64()) {
            // A number with a point or an exponent is a float, whatever its value.
            (Some(number), _) => Ok(Value::of(Type::Int, &number.to_string())),
            (None, Some(number)) if number.is_finite() => Ok(Value::of(Type::Float, &float_text(number))),
            _ => Err(wrong("a number does not fit 64 bits").hint("write it as a text")),
        }
    }
}
