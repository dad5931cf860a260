//! What looks like a secret in a text that is not encrypted: a name that says so, with a text beside it.

use std::sync::LazyLock;

use regex::Regex;

/// Names whose values are secrets, in lower case; a name that holds one of them is taken for a secret.
pub(crate) const SECRET_NAMES: [&str; 10] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "api_key",
    "apikey",
    "private_key",
    "privatekey",
    "credential",
];

/// `NAME: "text"`, `NAME = "text"` and `"NAME": "text"`.
static ASSIGNED: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"([A-Za-z_][A-Za-z0-9_-]*)["']?\s*[:=]\s*["']([^"'\n]+)["']"#).expect("the pattern is one")
});

/// Whether a name says that its value is a secret; that of a file or an address is none.
#[must_use]
pub(crate) fn says_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    let other = ["_file", "_path", "_url", "_name"].iter().any(|ending| name.ends_with(ending));
    !other && SECRET_NAMES.iter().any(|secret| name.contains(secret))
}

/// The lines, from 1, and names of what looks like a secret in a script or a configuration. The values are not told.
#[must_use]
pub fn lookalikes(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.contains("-----BEGIN") && line.contains("PRIVATE KEY-----") {
            found.push((number + 1, "a private key".to_owned()));
        }
        if line.contains("AGE-SECRET-KEY-1") {
            found.push((number + 1, "an age identity".to_owned()));
        }
        for assigned in ASSIGNED.captures_iter(line) {
            let (name, value) = (&assigned[1], &assigned[2]);
            // A path, a placeholder, a text that is put together, and an encrypted one are none.
            let is_plain =
                !value.starts_with(['/', '@', '.']) && !value.contains("${") && !value.starts_with("ENC[");
            if says_secret(name) && is_plain {
                found.push((number + 1, format!("`{name}`")));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_secret_is_named_by_its_line() {
        let text = "let a = 1;\nenv: #{ DB_PASSWORD: \"hunter2\", TOKEN_FILE: \"/run/x\" }\napi_key = secret(\"x\")\n\
                    token: `${x}`\n\"apiKey\": \"abc\"\n# AGE-SECRET-KEY-1QQ\n";
        let found: Vec<(usize, String)> = lookalikes(text);
        let expected = [(2, "`DB_PASSWORD`"), (5, "`apiKey`"), (6, "an age identity")];
        assert_eq!(found, expected.map(|(line, what)| (line, what.to_owned())));
    }
}
