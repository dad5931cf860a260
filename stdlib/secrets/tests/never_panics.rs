//! Every parser is handed what nobody would write: it answers, with a value or an error that holds no secret, and never
//! panics. `HOB_LONG` hands them much more.

#![allow(clippy::disallowed_methods, clippy::unwrap_used)] // tests read their fixtures and the environment

mod common;

use std::sync::Arc;

use common::{fixture, keyring, long};
use hob_model::{SecretForm, Value};
use hob_std_secrets::age::{self, Keyring, NoPassphrases, Passphrases};
use hob_std_secrets::agenix;
use hob_std_secrets::sops::{self, Config, Format, Policy};
use proptest::prelude::*;

const CASES: u32 = 200;
const CASES_LONG: u32 = 20_000;

/// `groups.yaml` is opened with shares of a key, `scalars.yaml` has values of all types.
const NAMES: [&str; 8] = [
    "service.yaml",
    "several.yaml",
    "groups.yaml",
    "scalars.yaml",
    "service.json",
    "service.env",
    "service.ini",
    "blob.bin",
];
/// A configuration in plain.
const HOMELAB: &str = "let token = \"x\"; // api_key = 'y'\nPASSWORD=\"z\"\n-----BEGIN OPENSSH PRIVATE KEY-----\n@TOKEN@ @KEY\n";
const RULES: &str = "let a = \"age1x\"; b = [ a ]; in { \"x.age\".publicKeys = b ++ [ a ]; \"y.age\" = { publicKeys = b; armor = true; }; }";
const CREATION: &str = "creation_rules:\n  - path_regex: a.*\n    age: >-\n      age1a,\n      age1b\n    key_groups:\n      - age: [age1c]\n";

fn config() -> ProptestConfig {
    ProptestConfig { cases: if long() { CASES_LONG } else { CASES }, ..ProptestConfig::default() }
}

fn nobody() -> Arc<dyn Passphrases> {
    Arc::new(NoPassphrases)
}

/// A change of a file: bytes taken out at a place, others put there.
fn change() -> impl Strategy<Value = (prop::sample::Index, usize, Vec<u8>)> {
    let words = prop_oneof![
        any::<Vec<u8>>(),
        prop::sample::select(vec![
            "\n", ":", "- ", "{", "[", "\"", "ENC[", "]", "sops:", "&a", "*a", "\u{feff}", "\r\n", "''"
        ])
        .prop_map(|word| word.as_bytes().to_vec()),
    ];
    (any::<prop::sample::Index>(), 0_usize..40, words)
}

fn changed(file: &[u8], changes: &[(prop::sample::Index, usize, Vec<u8>)]) -> Vec<u8> {
    let mut file = file.to_vec();
    for (at, taken, put) in changes {
        let at = at.index(file.len() + 1);
        let end = (at + taken).min(file.len());
        file.splice(at..end, put.iter().copied());
    }
    file
}

fn all_of_sops(bytes: &[u8], format: Format, keys: &Keyring) {
    let _ = sops::is_sops(bytes, format);
    let _ = sops::lint(bytes, format);
    if let Ok(opened) = sops::open(bytes, format, keys) {
        let _ = opened.to_json();
        let _ = opened.with_value("a/b", "c", "2026-11-21T06:00:00Z");
    }
    let policy = Policy { groups: vec![keys.publics().to_vec()], ..Policy::default() };
    if let Ok(sealed) = sops::seal(bytes, format, &policy, "2026-11-21T06:00:00Z", &nobody()) {
        let again = sops::open(&sealed, format, keys);
        assert!(again.is_ok(), "what was written can be read: {:?}", again.err());
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn sops_files(name in prop::sample::select(&NAMES[..]), changes in prop::collection::vec(change(), 1..4), plain: bool) {
        let (keys, format) = (keyring(&["keys.txt", "third.txt"]), Format::of_name(name));
        let file = match plain && name.starts_with("service") {
            true => fixture(&format!("plain/{name}")),
            false => fixture(&format!("sops/{name}")),
        };
        all_of_sops(&changed(&file, &changes), format, &keys);
    }

    #[test]
    fn anything_as_sops(bytes: Vec<u8>, text in "\\PC{0,60}") {
        let keys = keyring(&["keys.txt"]);
        for (_, format) in Format::ALL {
            let _ = sops::open(&bytes, format, &keys);
            let _ = sops::lint(text.as_bytes(), format);
            let _ = sops::is_sops(text.as_bytes(), format);
        }
    }

    #[test]
    fn age_files(changes in prop::collection::vec(change(), 1..4), armored: bool, bytes: Vec<u8>) {
        let keys = keyring(&["keys.txt"]);
        let file = fixture(if armored { "age/armored.age" } else { "age/binary.age" });
        let _ = age::open(&changed(&file, &changes), &keys);
        let _ = age::open(&bytes, &keys);
        let _ = age::to_json(&bytes);
    }

    #[test]
    fn identities_and_recipients(changes in prop::collection::vec(change(), 1..4), text in "\\PC{0,80}") {
        for file in ["keys.txt", "ssh/id_ed25519", "ssh/id_rsa", "age/keys.age"] {
            let _ = Keyring::new(nobody()).add(&changed(&fixture(file), &changes), "a file");
        }
        let _ = Keyring::new(nobody()).add(text.as_bytes(), "a text");
        let _ = age::check_recipient(&text);
        let _ = age::recipients_of_public(&text);
    }

    #[test]
    fn rules(changes in prop::collection::vec(change(), 1..4), text in "\\PC{0,80}") {
        for rules in [RULES.as_bytes(), text.as_bytes()] {
            let rules = changed(rules, &changes);
            let _ = agenix::parse(&String::from_utf8_lossy(&rules));
            let _ = agenix::unused(&String::from_utf8_lossy(&rules));
        }
        let config = String::from_utf8_lossy(&changed(CREATION.as_bytes(), &changes)).into_owned();
        if let Ok(config) = Config::parse(&config) {
            let _ = config.policy("a/b.yaml");
            let _ = config.unused(["a/b.yaml", text.as_str()], |path| path == "a/b.yaml");
        }
        let _ = Config::parse(&text);
    }

    #[test]
    fn texts_in_plain(changes in prop::collection::vec(change(), 1..4), text in "\\PC{0,80}") {
        for plain in [HOMELAB.as_bytes(), text.as_bytes()] {
            let _ = hob_std_secrets::lookalikes(&String::from_utf8_lossy(&changed(plain, &changes)));
        }
    }

    #[test]
    fn expressions(bytes: Vec<u8>, text in "\\PC{0,40}") {
        let mut tagged = vec![0xd9, 0xa0, 0x02];
        tagged.extend(bytes);
        let _ = Value::decode(&tagged);
        if let Some(form) = SecretForm::parse(&text) {
            prop_assert_eq!(form.to_string(), text);
        }
    }
}
