//! Whatever is encrypted is what is decrypted again, for any content.

#![allow(clippy::unwrap_used)] // helpers of tests

mod common;

use std::sync::Arc;

use common::trees::{same, tree};
use common::{NOW, keyring, recipient};
use hob_std_secrets::age::{NoPassphrases, Passphrases};
use hob_std_secrets::sops::{self, Format, Policy};
use proptest::prelude::*;
use serde_json::Value as Json;

fn seal_and_open(plain: &[u8], format: Format) -> Result<sops::Opened, TestCaseError> {
    let nobody: Arc<dyn Passphrases> = Arc::new(NoPassphrases);
    let policy = Policy { groups: vec![vec![recipient("keys.txt")]], ..Policy::default() };
    let sealed = sops::seal(plain, format, &policy, NOW, &nobody)
        .map_err(|error| TestCaseError::fail(format!("{error}: {}", String::from_utf8_lossy(plain))))?;
    sops::open(&sealed, format, &keyring(&["keys.txt"]))
        .map_err(|error| TestCaseError::fail(format!("{error}: {}", String::from_utf8_lossy(&sealed))))
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
        // YAML 1.1 broke lines at these, and the independent writer still does: another reader sees another text.
        prop_assume!(!plain.contains(['\u{85}', '\u{2028}', '\u{2029}']));
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
