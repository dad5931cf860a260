//! Problems, with the source line and a caret, in the form that `rustc`, `uv` and `ruff` made familiar.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::renderer::DEFAULT_TERM_WIDTH;
use annotate_snippets::{
    Annotation, AnnotationKind, Element, Group, Level as Title, Origin, Renderer, Snippet,
};
use hob_model::{Code, Diagnostic, Level, Source, Span};

use crate::{Role, Style, token};

/// How many places of one problem are shown; a runaway recursion has thousands.
pub const PLACES_SHOWN_MAX: usize = 16;

/// How many codes the last line names.
const CODES_NAMED_MAX: usize = 4;

/// Where the text of scripts comes from.
///
/// Any function from a file's name to its text is one.
pub trait Sources {
    /// The text of `file` as it was read; `None` when it is not known (any more).
    fn source(&self, file: &str) -> Option<Arc<str>>;
}

impl<F: Fn(&str) -> Option<Arc<str>>> Sources for F {
    fn source(&self, file: &str) -> Option<Arc<str>> {
        self(file)
    }
}

/// One problem as text that ends with a newline: message and code, each place with its source line and an underline,
/// the notes, the hint, and the command that explains the code.
///
/// ```
/// use hob_model::{Code, Diagnostic, Source};
/// use hob_terminal::{Style, render};
///
/// let diagnostic = Diagnostic::error(Code::UnknownName, "unknown function `raed`")
///     .at(Source { file: "a.rhai".into(), line: 1, column: 9 })
///     .hint("did you mean `read`?");
/// let sources = |_: &str| Some("let x = raed();".into());
/// assert_eq!(render(&diagnostic, &sources, Style::plain()), "\
/// error[HOB-0102]: unknown function `raed`
///  --> a.rhai:1:9
///   |
/// 1 | let x = raed();
///   |         ^^^^
///   |
/// help: did you mean `read`?
///
/// For more about this, try `hob explain HOB-0102`.
/// ");
/// ```
pub fn render(diagnostic: &Diagnostic, sources: &dyn Sources, style: Style) -> String {
    render_all(std::slice::from_ref(diagnostic), sources, style)
}

/// Several problems, as [`render`] does one, with one last line for all of their codes; empty for none.
pub fn render_all(diagnostics: &[Diagnostic], sources: &dyn Sources, style: Style) -> String {
    let renderer = renderer(style);
    let mut out = String::new();
    for diagnostic in diagnostics {
        out.push_str(&report(diagnostic, sources, &renderer));
        out.push_str("\n\n");
    }
    out.push_str(&pointer(diagnostics, style));
    out
}

fn renderer(style: Style) -> Renderer {
    let width = style.width_columns.map_or(DEFAULT_TERM_WIDTH, usize::from);
    let renderer = Renderer::plain().term_width(width);
    if !style.color {
        return renderer;
    }
    renderer
        .error(Role::Error.style())
        .warning(Role::Warning.style())
        .note(Role::Name.style())
        .help(Role::Hint.style())
        .emphasis(Role::Name.style())
        .line_num(Role::Muted.style())
        .context(Role::Name.style())
}

/// The last line: how to learn more.
fn pointer(diagnostics: &[Diagnostic], style: Style) -> String {
    let mut codes: Vec<Code> = diagnostics.iter().map(|diagnostic| diagnostic.code).collect();
    codes.sort_unstable();
    codes.dedup();
    let what = match codes.len() {
        0 => return String::new(),
        1 => "this",
        _ => "these",
    };
    let commands: Vec<_> =
        codes.iter().take(CODES_NAMED_MAX).map(|code| format!("`hob explain {code}`")).collect();
    let end = if codes.len() > CODES_NAMED_MAX { ", …" } else { "." };
    let line = format!("For more about {what}, try {}{end}", commands.join(", "));
    format!("{}\n", style.paint(Role::Muted, line))
}

fn report(diagnostic: &Diagnostic, sources: &dyn Sources, renderer: &Renderer) -> String {
    let title = match diagnostic.level {
        Level::Error => Title::ERROR,
        Level::Warning => Title::WARNING,
        Level::Note => Title::NOTE,
    };
    let title = title.primary_title(&*diagnostic.message).id(diagnostic.code.as_str());
    let places = Places::of(&diagnostic.spans, sources);
    let elements = places.elements();
    let notes = places.notes.iter().chain(&diagnostic.notes);
    let hint = diagnostic.hint.iter().map(|hint| Group::with_title(Title::HELP.secondary_title(&**hint)));
    if elements.is_empty() {
        // Nothing to draw a frame around: each fact has a line of its own.
        let notes = notes.map(|note| Group::with_title(Title::NOTE.secondary_title(&**note)));
        let facts = std::iter::once(Group::with_title(title)).chain(notes).chain(hint);
        return facts.map(|fact| renderer.render(&[fact])).collect::<Vec<_>>().join("\n");
    }
    let messages = notes.map(|note| Title::NOTE.message(&**note));
    let group = Group::with_title(title).elements(elements).elements(messages);
    let groups: Vec<_> = std::iter::once(group).chain(hint).collect();
    renderer.render(&groups)
}

/// A place whose line is at hand.
struct Shown {
    file: Arc<str>,
    line: u32,
    bytes: Range<usize>,
    label: String,
    primary: bool,
}

/// The places of a problem, sorted into what can be shown how.
struct Places {
    /// The texts, by file.
    texts: HashMap<Arc<str>, Arc<str>>,
    /// Runs of places of one file that go downwards: each is one snippet, so that the order stays that of the call
    /// trace.
    snippets: Vec<Vec<Shown>>,
    /// The main place, when its line is not at hand.
    origin: Option<Source>,
    /// What can only be said in words.
    notes: Vec<String>,
}

impl Places {
    fn of(spans: &[Span], sources: &dyn Sources) -> Self {
        let mut places =
            Self { texts: HashMap::new(), snippets: Vec::new(), origin: None, notes: Vec::new() };
        let spans = folded(spans);
        for (index, (span, times)) in spans.iter().take(PLACES_SHOWN_MAX).enumerate() {
            places.add(span, *times, index == 0, sources);
        }
        if let Some(hidden) = spans.len().checked_sub(PLACES_SHOWN_MAX).filter(|hidden| *hidden > 0) {
            places.notes.push(format!("{hidden} further places are not shown"));
        }
        places
    }

    fn add(&mut self, span: &Span, times: usize, primary: bool, sources: &dyn Sources) {
        let Source { file, line, .. } = &span.source;
        if !self.texts.contains_key(file) && *line > 0 {
            self.texts.extend(sources.source(file).map(|text| (file.clone(), text)));
        }
        let mut label = span.label.clone();
        if times > 1 {
            label.push_str(&format!(" ({times} times)"));
        }
        let Some(bytes) = self.texts.get(file).filter(|_| *line > 0).map(|text| bytes_of(text, span)) else {
            match (primary, file.is_empty()) {
                (true, false) => self.origin = Some(span.source.clone()),
                (false, false) => {
                    let what = if label.is_empty() { "see also" } else { &label };
                    self.notes.push(format!("{what}: {}", span.source));
                }
                (_, true) => {}
            }
            return;
        };
        let shown = Shown { file: file.clone(), line: *line, bytes, label, primary };
        match self.snippets.last_mut() {
            Some(snippet) if snippet.last().is_some_and(|last| last.file == *file && last.line <= *line) => {
                snippet.push(shown);
            }
            _ => self.snippets.push(vec![shown]),
        }
    }

    fn elements(&self) -> Vec<Element<'_>> {
        let origin = self.origin.iter().map(|source| {
            let origin = Origin::path(&*source.file);
            let origin = if source.line > 0 { origin.line(source.line as usize) } else { origin };
            Element::from(if source.column > 0 { origin.char_column(source.column as usize) } else { origin })
        });
        let snippets = self.snippets.iter().filter_map(|places| {
            let file = &places.first()?.file;
            let snippet = Snippet::source(&**self.texts.get(file)?).path(&**file);
            Some(Element::from(snippet.annotations(places.iter().map(annotation))))
        });
        origin.chain(snippets).collect()
    }
}

fn annotation(place: &Shown) -> Annotation<'_> {
    let kind = if place.primary { AnnotationKind::Primary } else { AnnotationKind::Context };
    let label = Some(&*place.label).filter(|label| !label.is_empty());
    kind.span(place.bytes.clone()).label(label)
}

/// The spans, with neighbours that are the same (the frames of a recursion) counted instead of repeated.
fn folded(spans: &[Span]) -> Vec<(&Span, usize)> {
    let mut out: Vec<(&Span, usize)> = Vec::new();
    for span in spans {
        match out.last_mut() {
            Some((last, times)) if *last == span => *times += 1,
            _ => out.push((span, 1)),
        }
    }
    out
}

/// The bytes of `text` that `span` underlines: its own length where it has one, else the token that begins there; the
/// whole line where no column is known; the end of the text for a place behind it.
fn bytes_of(text: &str, span: &Span) -> Range<usize> {
    let Source { line, column, .. } = span.source;
    let (line, column) = (line as usize, column as usize);
    let before: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let line = text[before..].lines().next().unwrap_or_default();
    if column == 0 {
        let start = before + line.len() - line.trim_start().len();
        return start..start + line.trim().len();
    }
    let start = line.char_indices().nth(column - 1).map_or(line.len(), |(at, _)| at);
    let rest = &line[start..];
    let len = match span.len {
        0 | 1 => token::len(rest),
        chars => rest.char_indices().nth(chars as usize).map_or(rest.len(), |(at, _)| at),
    };
    before + start..before + start + len
}
