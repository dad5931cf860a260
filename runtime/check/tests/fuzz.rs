//! Scripts that nobody would write: checking and completing end, and what is said points into the script.
//! `PROPTEST_CASES` asks for more of them.

mod common;

use common::{CATALOG, check_text, on_script_stack};
use hob_check::complete::{Alone, complete};
use proptest::prelude::*;

/// Pieces of scripts.
fn pieces() -> Vec<String> {
    let golden = include_str!("cases/golden.md");
    let scripts = golden.split("```rhai\n").skip(1).filter_map(|part| part.split("```").next());
    let words = [
        "{", "}", "(", ")", "|", "||", "#{", "`", "${", "\"", ";", ",", "::", ".", "=>", "fn", "ä", "😀",
        "\n",
    ];
    scripts.map(str::to_owned).chain(words.map(str::to_owned)).collect()
}

fn script() -> impl Strategy<Value = String> {
    let piece = (proptest::sample::select(pieces()), any::<u8>(), any::<u8>());
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

proptest! {
    #[test]
    fn any_script_is_checked(text in script()) {
        let checked = check_text(&text);
        for span in checked.findings.iter().flat_map(|finding| &finding.spans) {
            let line = text.lines().nth(span.source.line.saturating_sub(1) as usize).unwrap_or("");
            prop_assert!(span.source.line as usize <= text.split('\n').count(), "{:?} in {:?}", span, text);
            prop_assert!(span.source.column as usize <= line.chars().count() + 2, "{:?} in {:?}", span, text);
        }
    }

    #[test]
    fn any_place_is_completed(text in script(), at in any::<proptest::sample::Index>()) {
        let at = at.index(text.len() + 1);
        let shown = text.clone();
        let found = on_script_stack(move || complete(&CATALOG, &text, at, &Alone));
        prop_assert!(found.start <= at && shown.is_char_boundary(found.start));
    }
}
