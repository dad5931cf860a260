//! What may stand at a place of a script: for the prompt, and for editors. It works on scripts that do not parse.

use std::collections::BTreeSet;

use hob_engine::diagnose::Tokens;
use rhai::Token;

use crate::catalog::Catalog;
use crate::comments::{Kind as StretchKind, stretches};

/// The most items that one completion offers.
pub const ITEMS_MAX: usize = 500;

/// Words of the language that may begin a statement or a value.
const WORDS: [&str; 24] = [
    "let", "const", "if", "else", "for", "in", "while", "loop", "do", "until", "switch", "fn", "private",
    "return", "throw", "try", "catch", "break", "continue", "import", "export", "true", "false", "this",
];

/// What an item is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A variable or a parameter.
    Variable,
    /// A primitive, a part of one, or an imported module.
    Module,
    /// An operation.
    Operation,
    /// A function of the language or of the script.
    Function,
    /// A key of an option map.
    Option,
    /// A text that an option may have.
    Value,
    /// Something that exists: a container, a unit.
    Live,
    /// A word of the language.
    Word,
}

/// Something that may stand there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The text itself.
    pub text: String,
    /// What it is.
    pub kind: Kind,
    /// A signature, a type or a class; may be empty.
    pub detail: String,
    /// One sentence, or Markdown; may be empty.
    pub doc: String,
}

/// Something that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// How it is, in a few words; may be empty.
    pub about: String,
}

/// What is known beside the script.
pub trait Surroundings {
    /// Variables that exist beside those of the script.
    fn variables(&self) -> Vec<String> {
        Vec::new()
    }

    /// What exists of a kind, see [`live_kind`].
    fn live(&self, _kind: &str) -> Vec<Named> {
        Vec::new()
    }
}

/// Nothing is known beside the script.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Surroundings for Alone {}

/// What may stand at a place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Completion {
    /// Where the text begins that an item takes the place of, in bytes.
    pub start: usize,
    /// What fits, the best first.
    pub items: Vec<Item>,
}

/// A call that is being written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The path of what is called: `files::write`.
    pub path: String,
    /// The number of the argument at the place, from 0.
    pub argument: usize,
}

/// An open bracket before the place.
struct Open {
    bracket: u8,
    /// What is called, or is a map of options.
    call: Option<Call>,
    /// Of a map: the key whose value is being written, and the keys before it.
    key: Option<String>,
    keys: BTreeSet<String>,
    /// Where the present part begins.
    part: usize,
}

/// A script up to a place.
struct Before<'a> {
    text: &'a str,
    open: Vec<Open>,
    /// Where the text begins that the place is in.
    in_text: Option<usize>,
    in_comment: bool,
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// The path that ends at `end`: `containers::images`.
fn path_before(text: &str, end: usize) -> &str {
    let bytes = text.as_bytes();
    let mut start = end;
    while start > 0 {
        match bytes[start - 1] {
            byte if is_word(byte) => start -= 1,
            b':' if start > 1 && bytes[start - 2] == b':' => start -= 2,
            _ => break,
        }
    }
    &text[start..end]
}

impl<'a> Before<'a> {
    fn new(script: &'a str, at: usize) -> Self {
        let text = &script[..at];
        let mut this = Self { text, open: Vec::new(), in_text: None, in_comment: false };
        let mut from = 0;
        for stretch in stretches(text) {
            this.code(from, stretch.start);
            from = stretch.end;
            if stretch.end == text.len() {
                match stretch.kind {
                    StretchKind::Comment => this.in_comment = !text[stretch.start..].ends_with("*/"),
                    StretchKind::Text => {
                        let quote = &text[stretch.start..=stretch.start];
                        let ends =
                            text.len() > stretch.start + 1 && (text.ends_with(quote) || text.ends_with("${"));
                        this.in_text = (!ends && quote != "}").then_some(stretch.start);
                    }
                }
            }
        }
        this.code(from, text.len());
        this
    }

    /// Takes in a stretch of code.
    fn code(&mut self, from: usize, to: usize) {
        for at in from..to {
            match self.text.as_bytes()[at] {
                b'(' => {
                    let path = path_before(self.text, at);
                    let call = (!path.is_empty())
                        .then(|| Call { path: path.trim_start_matches(':').to_owned(), argument: 0 });
                    self.push(b'(', call, at);
                }
                b'{' if self.text[..at].ends_with('#') => {
                    let call = self
                        .open
                        .last()
                        .filter(|open| open.bracket == b'(')
                        .and_then(|open| open.call.clone());
                    self.push(b'#', call, at);
                }
                bracket @ (b'[' | b'{') => self.push(bracket, None, at),
                b')' | b']' | b'}' => {
                    self.open.pop();
                }
                b',' => {
                    if let Some(open) = self.open.last_mut() {
                        open.part = at + 1;
                        open.key = None;
                        if let Some(call) = open.call.as_mut().filter(|_| open.bracket == b'(') {
                            call.argument += 1;
                        }
                    }
                }
                b':' if !self.text[..at].ends_with(':') && !self.text[at..].starts_with("::") => {
                    if let Some(open) =
                        self.open.last_mut().filter(|open| open.bracket == b'#' && open.key.is_none())
                    {
                        let key = self.text[open.part..at].trim().trim_matches('"').to_owned();
                        open.keys.insert(key.clone());
                        open.key = Some(key);
                    }
                }
                b';' => {
                    // A statement ended inside of brackets that were never closed: what stands before is broken.
                    while self.open.last().is_some_and(|open| open.bracket != b'{') {
                        self.open.pop();
                    }
                }
                _ => {}
            }
        }
    }

    fn push(&mut self, bracket: u8, call: Option<Call>, at: usize) {
        self.open.push(Open { bracket, call, key: None, keys: BTreeSet::new(), part: at + 1 });
    }
}

/// The innermost call that is being written at `at`, a byte of the script.
#[must_use]
pub fn call_at(script: &str, at: usize) -> Option<Call> {
    let before = Before::new(script, floor(script, at));
    if before.in_comment {
        return None;
    }
    before.open.into_iter().rev().find(|open| open.bracket == b'(').and_then(|open| open.call)
}

fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

/// What may stand at `at`, a byte of the script.
#[must_use]
pub fn complete(catalog: &Catalog, script: &str, at: usize, surroundings: &dyn Surroundings) -> Completion {
    let at = floor(script, at);
    let before = Before::new(script, at);
    if before.in_comment {
        return Completion { start: at, items: vec![] };
    }
    let mut found = match before.in_text {
        Some(start) => {
            let written = &script[start + 1..at];
            let items = texts(catalog, &before, surroundings);
            Completion { start: start + 1, items: fitting(items, written) }
        }
        None => code(catalog, script, at, &before, surroundings),
    };
    found.items.truncate(ITEMS_MAX);
    found
}

/// The texts that fit where a text is being written.
fn texts(catalog: &Catalog, before: &Before<'_>, surroundings: &dyn Surroundings) -> Vec<Item> {
    let Some(open) = before.open.last() else { return vec![] };
    let Some(call) = &open.call else { return vec![] };
    if let Some(key) = &open.key {
        let option = catalog.options(&call.path).into_iter().find(|option| option.key == key);
        let choices = option.map_or(&[][..], |option| option.choices);
        return choices.iter().map(|choice| item(*choice, Kind::Value, key, "")).collect();
    }
    let found = live_kind(call).map(|kind| surroundings.live(kind)).unwrap_or_default();
    found.into_iter().map(|it| item(it.name, Kind::Live, &it.about, "")).collect()
}

/// The kind of what the argument at the place names, if that is something that exists: named as its primitive,
/// `containers`, `containers::images`, `units`, `services`; or `workflows`.
#[must_use]
pub fn live_kind(call: &Call) -> Option<&str> {
    match (call.argument, call.path.rsplit_once("::")) {
        (0, Some((namespace, _))) => Some(namespace),
        (0, None) if call.path == "invoke" => Some("workflows"),
        _ => None,
    }
}

fn code(
    catalog: &Catalog,
    script: &str,
    at: usize,
    before: &Before<'_>,
    surroundings: &dyn Surroundings,
) -> Completion {
    let path = path_before(script, at).trim_start_matches(':');
    let written = path.rsplit("::").next().unwrap_or(path);
    let start = at - written.len();
    if let Some((namespace, _)) = path.rsplit_once("::") {
        return Completion { start, items: fitting(members(catalog, namespace), written) };
    }
    let ahead = script[..start].trim_end();
    if ahead.ends_with('.') && !ahead.ends_with("..") {
        return Completion { start, items: fitting(methods(catalog), written) };
    }
    let in_map = before.open.last().filter(|open| open.bracket == b'#');
    if let Some(open) = in_map.filter(|open| open.key.is_none())
        && let Some(call) = &open.call
    {
        let options =
            catalog.options(&call.path).into_iter().filter(|option| !open.keys.contains(option.key));
        let items = options.map(|option| item(option.key, Kind::Option, option.kind, option.doc)).collect();
        return Completion { start, items: fitting(items, written) };
    }
    let mut items = Vec::new();
    if let Some((call, key)) = in_map.and_then(|open| Some((open.call.as_ref()?, open.key.as_ref()?))) {
        let option = catalog.options(&call.path).into_iter().find(|option| option.key == key);
        let choices = option.map_or(&[][..], |option| option.choices);
        items.extend(choices.iter().map(|choice| item(format!("\"{choice}\""), Kind::Value, key, "")));
    }
    items.extend(anything(catalog, script, surroundings));
    Completion { start, items: fitting(items, written) }
}

/// What stands in a namespace: operations, functions, and parts.
fn members(catalog: &Catalog, namespace: &str) -> Vec<Item> {
    let inside = |path: &str| path.strip_prefix(namespace)?.strip_prefix("::").map(str::to_owned);
    let parts: BTreeSet<String> = catalog
        .namespaces()
        .into_iter()
        .filter_map(|path| inside(path).map(|rest| rest.split("::").next().unwrap_or_default().to_owned()))
        .collect();
    let mut items: Vec<Item> = parts.into_iter().map(|part| item(part, Kind::Module, "", "")).collect();
    for operation in catalog.registry().operations() {
        if let Some(name) = inside(operation.name).filter(|name| !name.contains("::")) {
            let detail = format!("{} [{}]", operation.signature(), operation.class);
            items.push(item(name, Kind::Operation, &detail, operation.summary()));
        }
    }
    for (path, function) in catalog.functions() {
        if let Some(name) = inside(path).filter(|name| !name.contains("::")) {
            items.push(item(name, Kind::Function, &forms(function), &function.doc));
        }
    }
    items
}

/// What can be called on a value.
fn methods(catalog: &Catalog) -> Vec<Item> {
    let takes_a_value = |function: &crate::catalog::Function| function.arities.iter().any(|arity| *arity > 0);
    catalog
        .functions()
        .filter(|(path, function)| !path.contains("::") && takes_a_value(function))
        .map(|(path, function)| item(path, Kind::Function, &forms(function), &function.doc))
        .collect()
}

fn forms(function: &crate::catalog::Function) -> String {
    function.signatures.iter().take(3).cloned().collect::<Vec<_>>().join(" | ")
}

/// What may begin a value: variables, primitives, functions, words.
fn anything(catalog: &Catalog, script: &str, surroundings: &dyn Surroundings) -> Vec<Item> {
    let mut variables: BTreeSet<String> = surroundings.variables().into_iter().collect();
    let mut functions = BTreeSet::new();
    let tokens = Tokens::of(catalog.engine(), script);
    let all: Vec<&Token> = tokens.iter().map(|lexeme| lexeme.token).collect();
    for two in all.windows(2) {
        let Token::Identifier(name) = two[1] else { continue };
        match two[0] {
            Token::Let | Token::Const | Token::For | Token::As | Token::Pipe => {
                variables.insert(name.to_string());
            }
            Token::Fn => {
                functions.insert(name.to_string());
            }
            _ => {}
        }
    }
    let mut items: Vec<Item> = variables.into_iter().map(|name| item(name, Kind::Variable, "", "")).collect();
    items.extend(functions.into_iter().map(|name| item(name, Kind::Function, "", "")));
    for namespace in catalog.namespaces().into_iter().filter(|namespace| !namespace.contains("::")) {
        let primitive = catalog.registry().primitives().iter().find(|primitive| primitive.name == namespace);
        let doc = primitive.map_or("", |primitive| primitive.doc.split("\n\n").next().unwrap_or_default());
        items.push(item(namespace, Kind::Module, "", doc));
    }
    let plain = catalog.functions().filter(|(path, _)| !path.contains("::"));
    items.extend(plain.map(|(path, function)| item(path, Kind::Function, &forms(function), &function.doc)));
    items.extend(WORDS.iter().map(|word| item(*word, Kind::Word, "", "")));
    items
}

fn item(text: impl Into<String>, kind: Kind, detail: &str, doc: &str) -> Item {
    Item { text: text.into(), kind, detail: detail.to_owned(), doc: doc.to_owned() }
}

/// The items that begin with what is written, then those that contain it.
fn fitting(items: Vec<Item>, written: &str) -> Vec<Item> {
    let written = written.to_lowercase();
    let rank = |item: &Item| {
        let text = item.text.trim_start_matches('"').to_lowercase();
        if text.starts_with(&written) {
            Some(0)
        } else if written.len() > 1 && text.contains(&written) {
            Some(1)
        } else {
            None
        }
    };
    let mut ranked: Vec<(u8, Item)> =
        items.into_iter().filter_map(|item| Some((rank(&item)?, item))).collect();
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, item)| item).collect()
}
