//! Exceptions: `// hob-allow: HOB-0801, HOB-0804`, at the end of the line or on the line above; `// hob-allow-file:` for
//! a whole file. Errors cannot be excepted: they fail.

use hob_model::{Code, Diagnostic, Level, Source, Span};

use crate::comments::{Kind, stretches};
use crate::parsed::int;

const LINE: &str = "hob-allow:";
const FILE: &str = "hob-allow-file:";

/// One code that a comment excepts.
struct Exception {
    span: Span,
    code: Code,
    /// The line it holds for; none for the whole file.
    line: Option<u32>,
    used: bool,
}

/// Takes out of `findings` what comments of the file except, and adds what is wrong with these comments.
pub(crate) fn apply(file: &str, text: &str, findings: &mut Vec<Diagnostic>) {
    let mut problems = Vec::new();
    let mut exceptions = exceptions(file, text, &mut problems);
    findings.retain(|finding| {
        let Some(span) = finding.spans.first().filter(|span| &*span.source.file == file) else { return true };
        let fits = |exception: &&mut Exception| {
            exception.code == finding.code && exception.line.is_none_or(|line| line == span.source.line)
        };
        match exceptions.iter_mut().find(fits) {
            Some(exception) if finding.level < Level::Error => {
                exception.used = true;
                false
            }
            _ => true,
        }
    });
    let unused = exceptions.into_iter().filter(|exception| !exception.used);
    problems.extend(unused.map(|exception| {
        let message = format!("nothing here is {}", exception.code);
        Diagnostic::warning(Code::BadException, message)
            .span(exception.span)
            .hint("take the exception out; errors are never excepted")
    }));
    findings.append(&mut problems);
}

fn exceptions(file: &str, text: &str, problems: &mut Vec<Diagnostic>) -> Vec<Exception> {
    let mut found = Vec::new();
    for comment in stretches(text).into_iter().filter(|it| it.kind == Kind::Comment) {
        let words = &text[comment.start..comment.end];
        let whole_file = words.find(FILE).map(|at| at + FILE.len());
        let Some(begin) = whole_file.or_else(|| words.find(LINE).map(|at| at + LINE.len())) else { continue };
        let line_start = text[..comment.start].rfind('\n').map_or(0, |at| at + 1);
        let alone = text[line_start..comment.start].trim().is_empty();
        let line = int(text[..comment.start].matches('\n').count() + 1);
        let holds_for = whole_file.is_none().then_some(if alone { line + 1 } else { line });
        // Codes, between commas; what follows is the reason.
        let list =
            words[begin..].split(|c: char| !(c.is_alphanumeric() || matches!(c, '-' | ',' | ' '))).next();
        let mut at = begin;
        for word in list.unwrap_or_default().split_inclusive([',', ' ']) {
            let name = word.trim_end_matches([',', ' ']);
            let column = int(text[line_start..comment.start + at].chars().count() + 1);
            at += word.len();
            if name.is_empty() {
                continue;
            }
            if !name.to_uppercase().starts_with("HOB-") {
                break;
            }
            let source = Source { file: file.into(), line, column };
            let span = Span { len: int(name.chars().count()), ..Span::point(source) };
            match Code::parse(name) {
                Some(code) => found.push(Exception { span, code, line: holds_for, used: false }),
                None => problems.push(
                    Diagnostic::warning(Code::BadException, format!("there is no code `{name}`"))
                        .span(span)
                        .hint("`hob explain` lists all of them"),
                ),
            }
        }
    }
    found
}
