//! Random content for encrypted files.

use proptest::prelude::*;
use serde_json::{Map, Value as Json};

/// Texts with everything that a format could trip over.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,24}",
        "[a-z:#\\[\\]{},&*!|>'\"%@` \\\\-]{0,12}",
        "([a-z ]{0,8}\n){0,4}",
        any::<String>().prop_map(|text| text.chars().take(24).collect()),
        prop::sample::select(vec![
            "yes",
            "null",
            "~",
            "0x1F",
            "1e3",
            "2026-11-21",
            ".inf",
            "-",
            "---",
            "...",
            "<<",
            "#",
            "ENC",
            "12:30:45",
            "0o7",
            "1_000"
        ])
        .prop_map(str::to_owned),
    ]
    // What looks like an encrypted value cannot be encrypted.
    .prop_filter("not encrypted already", |text| !text.starts_with("ENC["))
}

fn scalar() -> impl Strategy<Value = Json> {
    prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        (-1e15..1e15f64).prop_map(Json::from),
        text().prop_map(Json::from),
    ]
}

/// A map of whatever there may be.
pub(crate) fn tree() -> impl Strategy<Value = Map<String, Json>> {
    let value = scalar().prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::vec((key(), inner), 0..4)
                .prop_map(|pairs| Json::Object(pairs.into_iter().collect())),
        ]
    });
    prop::collection::vec((key(), value), 1..6).prop_map(|pairs| pairs.into_iter().collect())
}

fn key() -> impl Strategy<Value = String> {
    let named = prop_oneof!["[a-z]{1,6}", "[a-z]{1,4}_unencrypted", text()];
    named.prop_filter("a key of one line that is not reserved", |key| {
        key != "sops"
            && !key.is_empty()
            && key != "<<"
            && !key.contains(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'])
    })
}

/// Floats that are whole numbers come back as numbers of the same size.
pub(crate) fn same(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| same(value, other)))
        }
        (a, b) => a == b,
    }
}
