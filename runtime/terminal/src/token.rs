//! How far a token of a script reaches: positions are points, underlines are not.

/// The operators of Rhai with more than one character, longest first.
const OPERATORS: [&str; 36] = [
    "<<=", ">>=", "**=", "..=", "===", "!==", "??", "?.", "?[", "==", "!=", "<=", ">=", "&&", "||", "+=",
    "-=", "*=", "/=", "%=", "|=", "&=", "^=", "<<", ">>", "**", "..", "::", "=>", "->", "<-", ":=", "~>",
    "#{", "//", "/*",
];

/// The length in bytes of the token at the beginning of `rest`, which is the rest of one line; 0 when there is none.
///
/// A name takes the path that follows it (`files::write`); a text that does not end on its line takes the line.
pub(crate) fn len(rest: &str) -> usize {
    let Some(first) = rest.chars().next() else {
        return 0;
    };
    match first {
        '"' | '`' | '\'' => text_len(rest, first),
        '#' if rest.trim_start_matches('#').starts_with('"') => raw_text_len(rest),
        c if c.is_ascii_digit() => number_len(rest),
        c if is_name(c) => path_len(rest),
        c => OPERATORS.iter().find(|op| rest.starts_with(**op)).map_or(c.len_utf8(), |op| op.len()),
    }
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn name_len(rest: &str) -> usize {
    rest.find(|c| !is_name(c)).unwrap_or(rest.len())
}

fn path_len(rest: &str) -> usize {
    let mut end = name_len(rest);
    while let Some(next) = rest[end..].strip_prefix("::").map(name_len).filter(|len| *len > 0) {
        end += 2 + next;
    }
    end
}

fn number_len(rest: &str) -> usize {
    let digits = name_len(rest);
    let fraction = rest[digits..]
        .strip_prefix('.')
        .filter(|after| after.starts_with(|c: char| c.is_ascii_digit()))
        .map_or(0, |after| 1 + name_len(after));
    let end = digits + fraction;
    // `1e-7`: the sign belongs to the number, which a hexadecimal `0x1e-7` does not have.
    let signed = rest[..end].ends_with(['e', 'E']) && !rest.starts_with("0x");
    match rest[end..].strip_prefix(['+', '-']) {
        Some(exponent) if signed => end + 1 + name_len(exponent),
        _ => end,
    }
}

fn text_len(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + c.len_utf8(),
            _ => {}
        }
    }
    rest.trim_end().len()
}

/// `#"…"#`, with any number of `#`.
fn raw_text_len(rest: &str) -> usize {
    let hashes = rest.len() - rest.trim_start_matches('#').len();
    let close = format!("\"{}", &rest[..hashes]);
    let body = hashes + 1;
    rest[body..].find(&close).map_or(rest.trim_end().len(), |at| body + at + close.len())
}

#[cfg(test)]
mod tests {
    use super::len;

    #[test]
    fn tokens() {
        for (text, token) in [
            ("contaners::list()", "contaners::list"),
            ("größe + 1", "größe"),
            ("x.y", "x"),
            ("a:: b", "a"),
            ("a::", "a"),
            ("\"a \\\" b\" + c", "\"a \\\" b\""),
            ("\"open  ", "\"open"),
            ("`a${b}` c", "`a${b}`"),
            ("'\\'' x", "'\\''"),
            ("##\"a\"# b\"## c", "##\"a\"# b\"##"),
            ("#{ a: 1 }", "#{"),
            ("1_000.5e-3 - 2", "1_000.5e-3"),
            ("1..2", "1"),
            ("0x1e-7", "0x1e"),
            ("12.foo()", "12"),
            ("..=", "..="),
            ("|| 1", "||"),
            ("(x)", "("),
            ("→", "→"),
            (" x", " "),
            ("", ""),
        ] {
            assert_eq!(&text[..len(text)], token, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_token_ends_within_the_line(line in "[ -~äß→\"`'#:.]{0,20}") {
            let len = len(&line);
            proptest::prop_assert!(line.is_char_boundary(len));
            proptest::prop_assert!(line.is_empty() == (len == 0));
        }
    }
}
