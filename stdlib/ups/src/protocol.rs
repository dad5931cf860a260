//! Lines of the protocol (RFC 9271, section 4).

use hob_model::OpError;

/// What a server says of itself and its supplies fits into so many lines.
pub(crate) const LINES_MAX: usize = 4_096;
/// The longest line that is taken, in bytes.
pub(crate) const LINE_BYTES_MAX: usize = 8_192;

/// The words of a line: between spaces, or in quotes, in which `\` takes what follows as it is.
pub(crate) fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.chars().peekable();
    while let Some(first) = rest.next() {
        if first.is_ascii_whitespace() {
            continue;
        }
        let mut word = String::new();
        if first == '"' {
            while let Some(next) = rest.next().filter(|next| *next != '"') {
                word.extend(if next == '\\' { rest.next() } else { Some(next) });
            }
        } else {
            word.push(first);
            while let Some(next) = rest.next_if(|next| !next.is_ascii_whitespace()) {
                word.push(next);
            }
        }
        words.push(word);
    }
    words
}

/// What an answer `ERR CODE …` means.
pub(crate) fn refused(code: &str, about: &str) -> OpError {
    match code {
        "UNKNOWN-UPS" => OpError::not_found(format!("the server has no supply `{about}`"))
            .hint("`ups::list()` shows those it has"),
        "DATA-STALE" | "DRIVER-NOT-CONNECTED" => {
            OpError::unavailable(format!("the server has not heard of `{about}` for a while ({code})"))
                .hint("look after its driver: `systemctl status nut-driver@NAME` on the server")
        }
        "ACCESS-DENIED" => OpError::denied(format!("the server does not answer this host ({code})"))
            .hint("let it: `LISTEN` in the server's upsd.conf, or its firewall"),
        other => OpError::failed(format!("the server refused to tell of `{about}`: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_the_protocol_quotes_them() {
        let split = |line: &str| words(line).join("|");
        assert_eq!(split(r#"VAR rack ups.status "OL CHRG""#), "VAR|rack|ups.status|OL CHRG");
        assert_eq!(split(r#"VAR rack ups.model "a \"b\" \\ c""#), r#"VAR|rack|ups.model|a "b" \ c"#);
        assert_eq!(split(r#"UPS rack """#), "UPS|rack|");
        // What is cut off is taken as far as it goes.
        assert_eq!(split(r#"VAR rack x "cut\"#), "VAR|rack|x|cut");
        assert_eq!(split("  "), "");
    }

    proptest::proptest! {
        #[test]
        fn any_line_has_words(line in ".{0,64}") {
            let quoted = format!("\"{}\"", line.replace('\\', "\\\\").replace('"', "\\\""));
            proptest::prop_assert_eq!(words(&quoted), vec![line]);
        }
    }
}
