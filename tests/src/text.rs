//! Texts without what differs from one run to the next.

use std::path::Path;

use regex::{Captures, Regex};

/// `text` with run ids as `RUN1`, `RUN2` … in the order in which they appear, times as `TIME`, times ago as `AGO`,
/// ports as `PORT`, process ids as `PID` and the directory `home` as `~`.
///
/// # Panics
/// Never: the patterns are constants.
#[must_use]
pub fn stable(text: &str, home: &Path) -> String {
    let pattern = |text: &str| Regex::new(text).expect("a constant pattern");
    let text = text.replace(&*home.to_string_lossy(), "~");
    let mut ids: Vec<String> = Vec::new();
    let id = pattern(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}");
    let text = id.replace_all(&text, |found: &Captures<'_>| {
        let at = ids.iter().position(|id| *id == found[0]).unwrap_or_else(|| {
            ids.push(found[0].to_owned());
            ids.len() - 1
        });
        format!("RUN{}", at + 1)
    });
    let replaced = [
        (r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})", "TIME"),
        (r"just now|\d+ (s|min|h) ago", "AGO"),
        (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
        (r"process \d+", "process PID"),
        (r#""duration_ms":\d+"#, r#""duration_ms":MS"#),
    ];
    replaced
        .iter()
        .fold(text.into_owned(), |text, (from, to)| pattern(from).replace_all(&text, *to).into_owned())
}
