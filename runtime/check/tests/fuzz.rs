//! Scripts that nobody would write: checking and completing end, and what is said points into the script. They are put
//! together of pieces, made of shipped scripts by damaging them, or are any bytes at all. `HOB_LONG=1` tries many more.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;

use common::{CATALOG, check_text, on_script_stack};
use hob_check::complete::{Alone, complete};
use hob_check::{Checked, Request, check};
use hob_engine::Loader;
use proptest::prelude::*;

/// How many scripts of each kind are tried.
const CASES: u32 = 256;
/// The same with `HOB_LONG`.
const CASES_LONG: u32 = 100_000;

#[allow(clippy::disallowed_methods)] // tests read how long they may take
fn config() -> ProptestConfig {
    let long = std::env::var("HOB_LONG").is_ok_and(|value| !value.is_empty() && value != "0");
    ProptestConfig::with_cases(if long { CASES_LONG } else { CASES })
}

/// Words and marks that change what a script means.
const WORDS: [&str; 24] = [
    "{",
    "}",
    "(",
    ")",
    "|",
    "||",
    "#{",
    "`",
    "${",
    "\"",
    ";",
    ",",
    "::",
    ".",
    "=>",
    "fn",
    "ä",
    "😀",
    "\n",
    "/*",
    "import",
    "switch",
    "\u{0}",
    "999999999999999999999",
];

/// Scripts that are wrong in one way each, and the documentation's, which are right.
static SCRIPTS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let blocks = |text: &str| -> Vec<String> {
        text.split("```rhai\n")
            .skip(1)
            .filter_map(|part| part.split("```").next())
            .map(str::to_owned)
            .collect()
    };
    let mut scripts = blocks(include_str!("cases/golden.md"));
    scripts.extend(CATALOG.registry().operations().flat_map(|operation| blocks(operation.doc)));
    scripts
});

/// Up to five pieces, each cut somewhere or whole.
fn of_pieces() -> impl Strategy<Value = String> {
    let pieces: Vec<String> = SCRIPTS.iter().cloned().chain(WORDS.map(str::to_owned)).collect();
    let piece = (proptest::sample::select(pieces), any::<u8>(), any::<u8>());
    proptest::collection::vec(piece, 1..6).prop_map(|pieces| {
        let cut = |(text, from, len): (String, u8, u8)| -> String {
            let count = text.chars().count().max(1);
            let from = usize::from(from) % count;
            // Half of the pieces stay whole.
            let len = if len < 128 { count } else { usize::from(len) % count + 1 };
            let from = if len == count { 0 } else { from };
            text.chars().skip(from).take(len).collect()
        };
        pieces.into_iter().map(cut).collect()
    })
}

/// One damage of a script, at a place in thousandths of its length.
#[derive(Clone, Debug)]
enum Damage {
    Drop(u16, usize),
    Insert(u16, &'static str),
    Double(u16, usize),
    /// Inside of so many brackets.
    Nest(usize),
}

fn damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        (0..1_000_u16, 1..40_usize).prop_map(|(at, len)| Damage::Drop(at, len)),
        (0..1_000_u16, proptest::sample::select(&WORDS[..])).prop_map(|(at, word)| Damage::Insert(at, word)),
        (0..1_000_u16, 1..200_usize).prop_map(|(at, len)| Damage::Double(at, len)),
        (1..200_usize).prop_map(Damage::Nest),
    ]
}

fn damaged(script: &str, damages: &[Damage]) -> String {
    let mut text: Vec<char> = script.chars().collect();
    for damage in damages {
        let place = |at: &u16| text.len() * usize::from(*at) / 1_000;
        match damage {
            Damage::Drop(at, len) => {
                let from = place(at);
                text.drain(from..text.len().min(from + len));
            }
            Damage::Insert(at, word) => {
                let from = place(at);
                text.splice(from..from, word.chars());
            }
            Damage::Double(at, len) => {
                let from = place(at);
                let piece = text[from..text.len().min(from + len)].to_vec();
                text.splice(from..from, piece);
            }
            Damage::Nest(depth) => {
                text.splice(0..0, std::iter::repeat_n('(', *depth));
                text.extend(std::iter::repeat_n(')', *depth));
            }
        }
    }
    text.into_iter().collect()
}

fn script() -> impl Strategy<Value = String> {
    let whole = proptest::sample::select(SCRIPTS.clone());
    let damaged = (whole, proptest::collection::vec(damage(), 1..5))
        .prop_map(|(script, damages)| damaged(&script, &damages));
    prop_oneof![of_pieces(), damaged]
}

/// One file of any bytes.
struct Bytes(Vec<u8>);

impl Loader for Bytes {
    fn read(&self, _: &str) -> Result<Vec<u8>, String> {
        Ok(self.0.clone())
    }
}

fn check_bytes(bytes: Vec<u8>) -> Checked {
    on_script_stack(move || {
        let request = Request {
            root: "script.rhai",
            loader: &Bytes(bytes),
            cwd: Path::new("/home/me"),
            given: &[],
            functions: &[],
        };
        check(&CATALOG, &request)
    })
}

/// What points past a line's end points at most to what is missing there.
fn points_into(checked: &Checked) -> Result<(), TestCaseError> {
    let texts: BTreeMap<&str, &str> =
        checked.files.iter().map(|(file, text)| (file.as_str(), &**text)).collect();
    for span in checked.findings.iter().flat_map(|finding| &finding.spans) {
        let text = texts.get(&*span.source.file).copied().unwrap_or("");
        let line = text.lines().nth(span.source.line.saturating_sub(1) as usize).unwrap_or("");
        prop_assert!(span.source.line as usize <= text.split('\n').count(), "{:?} in {:?}", span, text);
        prop_assert!(span.source.column as usize <= line.chars().count() + 2, "{:?} in {:?}", span, text);
    }
    Ok(())
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_script_is_checked(text in script()) {
        points_into(&check_text(&text))?;
    }

    #[test]
    fn any_bytes_are_checked(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let readable = std::str::from_utf8(&bytes).is_ok();
        let checked = check_bytes(bytes);
        prop_assert!(readable || !checked.findings.is_empty());
        points_into(&checked)?;
    }

    #[test]
    fn any_place_is_completed(text in script(), at in any::<proptest::sample::Index>()) {
        let at = at.index(text.len() + 1);
        let shown = text.clone();
        let found = on_script_stack(move || complete(&CATALOG, &text, at, &Alone));
        prop_assert!(found.start <= at && shown.is_char_boundary(found.start));
    }
}
