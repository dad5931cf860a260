//! Whatever is encrypted is what is decrypted again, for any content.

#![allow(clippy::unwrap_used)] // helpers of tests

mod common;

use std::sync::Arc;

use common::{NOW, keyring, recipient};
use hob_std_secrets::age::{NoPassphrases, Passphrases};
use hob_std_secrets::sops::{self, Format, Policy};
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

fn tree() -> impl Strategy<Value = Map<String, Json>> {
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

fn seal_and_open(plain: &[u8], format: Format) -> Result<sops::Opened, TestCaseError> {
    let nobody: Arc<dyn Passphrases> = Arc::new(NoPassphrases);
    let policy = Policy { groups: vec![vec![recipient("keys.txt")]], ..Policy::default() };
    let sealed = sops::seal(plain, format, &policy, NOW, &nobody)
        .map_err(|error| TestCaseError::fail(format!("{error}: {}", String::from_utf8_lossy(plain))))?;
    sops::open(&sealed, format, &keyring(&["keys.txt"]))
        .map_err(|error| TestCaseError::fail(format!("{error}: {}", String::from_utf8_lossy(&sealed))))
}

/// Floats that are whole numbers come back as numbers of the same size.
fn same(a: &Json, b: &Json) -> bool {
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn json(tree in tree(), pretty in any::<bool>()) {
        let tree = Json::Object(tree);
        let plain = if pretty { format!("{tree:#}") } else { tree.to_string() };
        let opened = seal_and_open(plain.as_bytes(), Format::Json)?;
        let found: Json = serde_json::from_str(&opened.to_json().unwrap()).unwrap();
        prop_assert!(same(&tree, &found), "{tree} and {found}");
    }

    #[test]
    fn yaml(tree in tree()) {
        let tree = Json::Object(tree);
        let plain = serde_norway::to_string(&tree).unwrap();
        // The independent writer leaves times plain, and writes some texts so that they are read as something else.
        let back: Json = serde_norway::from_str(&plain).unwrap();
        prop_assume!(same(&tree, &back));
        let nobody: Arc<dyn Passphrases> = Arc::new(NoPassphrases);
        let policy = Policy { groups: vec![vec![recipient("keys.txt")]], ..Policy::default() };
        // What this reader takes for no text as a key, or the other writer wrote ambiguously, is refused and not lost.
        let Ok(sealed) = sops::seal(plain.as_bytes(), Format::Yaml, &policy, NOW, &nobody) else { return Ok(()) };
        let opened = sops::open(&sealed, Format::Yaml, &keyring(&["keys.txt"]))
            .map_err(|error| TestCaseError::fail(format!("{error}: {plain}")))?;
        let written: Json = serde_norway::from_str(std::str::from_utf8(opened.plain()).unwrap())
            .map_err(|error| TestCaseError::fail(format!("{error}: {}", String::from_utf8_lossy(opened.plain()))))?;
        let ours: Json = serde_json::from_str(&opened.to_json().unwrap()).unwrap();
        // A date is a time to SOPS, whatever another reader takes it for.
        if !plain.contains("2026-11-21") && !plain.contains("1_000") {
            prop_assert!(same(&ours, &written), "{ours} and {written} from {plain}");
            prop_assert!(same(&tree, &ours), "{tree} and {ours} from {plain}");
        }
    }

    #[test]
    fn dotenv(pairs in prop::collection::hash_map("[A-Z][A-Z0-9_]{0,8}", "[^\n\r]{0,24}", 1..6)) {
        let plain: String = pairs.iter().map(|(key, value)| format!("{key}={value}\n")).collect();
        prop_assume!(pairs.values().all(|value| !value.starts_with("ENC[")));
        let opened = seal_and_open(plain.as_bytes(), Format::Dotenv)?;
        prop_assert_eq!(String::from_utf8_lossy(opened.plain()), plain);
    }

    #[test]
    fn ini(pairs in prop::collection::hash_map("[a-z][a-z0-9_]{0,8}", "([!-~&&[^#;\"'`\\\\]][ -~&&[^#;\"'`\\\\]]{0,12}[!-~&&[^#;\"'`\\\\]])?", 1..6)) {
        let lines: String = pairs.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
        prop_assume!(pairs.values().all(|value| !value.starts_with("ENC[")));
        let plain = format!("[section]\n{lines}");
        let opened = seal_and_open(plain.as_bytes(), Format::Ini)?;
        prop_assert_eq!(String::from_utf8_lossy(opened.plain()), plain);
    }

    #[test]
    fn binary(plain in prop::collection::vec(any::<u8>(), 1..300)) {
        let opened = seal_and_open(&plain, Format::Binary)?;
        prop_assert!(**opened.plain() == plain);
    }

    #[test]
    fn no_input_makes_a_reader_panic(text in any::<String>(), yaml in "[a-c:\\-# \n\t'\"|>{}\\[\\],&*!?%@]{0,40}") {
        let keys = keyring(&[]);
        for (_, format) in Format::ALL {
            for text in [&text, &yaml] {
                prop_assert!(sops::open(text.as_bytes(), format, &keys).is_err());
                let _ = sops::lint(text.as_bytes(), format);
            }
        }
        let _ = sops::Config::parse(&text);
    }
}
