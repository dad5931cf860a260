//! Inputs as scripts.

use hob_check::Catalog;
use hob_check::comments::{Kind, stretches};
use hob_engine::diagnose::Tokens;
use rhai::Token;

/// Whether a script may be meant to go on in the next line: a bracket, a text or a comment is open.
#[must_use]
pub fn is_open(text: &str) -> bool {
    let (mut depth, mut at, mut unfinished) = (0_i64, 0, false);
    let brackets = |code: &str| -> i64 {
        let of = |byte: u8| match byte {
            b'(' | b'[' | b'{' => 1,
            b')' | b']' | b'}' => -1,
            _ => 0,
        };
        code.bytes().map(of).sum()
    };
    for stretch in stretches(text) {
        depth += brackets(&text[at..stretch.start]);
        at = stretch.end;
        let shown = &text[stretch.start..stretch.end];
        if stretch.kind == Kind::Text {
            // Between `${` and `}` stands code.
            depth += i64::from(shown.ends_with("${")) - i64::from(shown.starts_with('}'));
        }
        unfinished = stretch.end == text.len()
            && match stretch.kind {
                Kind::Comment => shown.starts_with("/*") && !shown.ends_with("*/"),
                // Texts in other quotes end with their line. A `}` goes on with a text in back quotes.
                Kind::Text => shown.starts_with(['`', '}']) && (shown.len() < 2 || !shown.ends_with('`')),
            };
    }
    depth += brackets(&text[at..]);
    unfinished || depth > 0
}

/// The names that an input declares: variables, and functions.
#[must_use]
pub fn declared(catalog: &Catalog, text: &str) -> (Vec<String>, Vec<String>) {
    let (mut variables, mut functions) = (Vec::new(), Vec::new());
    let tokens = Tokens::of(catalog.engine(), text);
    let all: Vec<&Token> = tokens.iter().map(|lexeme| lexeme.token).collect();
    let mut depth = 0_usize;
    for (at, token) in all.iter().enumerate() {
        let name = match all.get(at + 1) {
            Some(Token::Identifier(name)) => Some(name.to_string()),
            _ => None,
        };
        match (token, name) {
            (Token::LeftBrace | Token::MapStart, _) => depth += 1,
            (Token::RightBrace, _) => depth = depth.saturating_sub(1),
            (Token::Let | Token::Const, Some(name)) if depth == 0 => variables.push(name),
            (Token::Fn, Some(name)) if depth == 0 => functions.push(name),
            _ => {}
        }
    }
    (variables, functions)
}

/// The inputs as a playbook: each on lines of its own. Where one uses `last`, that becomes a variable.
#[must_use]
pub fn playbook(catalog: &Catalog, inputs: &[String]) -> String {
    let uses_last = |text: &String| {
        let tokens = Tokens::of(catalog.engine(), text);
        tokens.iter().any(|lexeme| matches!(lexeme.token, Token::Identifier(name) if name.as_str() == "last"))
    };
    let keeps_last = inputs.iter().any(uses_last);
    let mut out = String::new();
    if keeps_last {
        out.push_str("let last = ();\n");
    }
    for (at, input) in inputs.iter().enumerate() {
        let text = input.trim();
        let bare = text.trim_end_matches(';');
        let is_value = catalog.engine().compile_expression(bare).is_ok() && !text.ends_with(';');
        let is_end = at + 1 == inputs.len();
        match (keeps_last && is_value, is_end || text.ends_with(';')) {
            (true, false) => out.push_str(&format!("last = {bare};\n")),
            (_, true) => out.push_str(&format!("{text}\n")),
            (false, false) => out.push_str(&format!("{text};\n")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::is_open;

    #[test]
    fn open_brackets_texts_and_comments_want_more() {
        for (text, open) in [
            ("1 + 1", false),
            ("fn f() {", true),
            ("fn f() {\n  1\n}", false),
            ("print(\"{\")", false),
            ("let m = #{ a: [1, 2", true),
            ("`one\ntwo", true),
            ("`one ${ 1 } two`", false),
            ("`one ${ #{ a: 1 }.a } two`", false),
            ("`one ${ ", true),
            ("/* on", true),
            ("// on {", false),
            ("1)", false),
        ] {
            assert_eq!(is_open(text), open, "{text}");
        }
    }
}
