//! Bad input: a clear error, at its place, without a secret in it.

#![allow(clippy::disallowed_methods, clippy::unwrap_used)] // tests read their fixtures

mod common;

use std::sync::Arc;

use common::{NOW, fixture, keyring, recipient};
use hob_std_secrets::age::{NoPassphrases, Passphrases};
use hob_std_secrets::sops::{self, Config, Format, Policy, Selection};
use hob_std_secrets::{Error, Kind};

/// A value that stands in each of the inputs and in none of the errors.
const CANARY: &str = "hunter2-canary";

fn seal(plain: &str, format: Format) -> Result<Vec<u8>, Error> {
    let nobody: Arc<dyn Passphrases> = Arc::new(NoPassphrases);
    let policy = Policy { groups: vec![vec![recipient("keys.txt")]], ..Policy::default() };
    let sealed = sops::seal(plain.as_bytes(), format, &policy, NOW, &nobody);
    if let Err(error) = &sealed {
        assert!(!format!("{error:?}").contains(CANARY), "{error:?}");
    }
    sealed
}

#[test]
fn plain_files_that_cannot_be_encrypted_say_where_and_why() {
    let deep = "{\"a\":".repeat(100) + "1" + &"}".repeat(100);
    for (format, plain, kind, place, expected) in [
        (
            Format::Yaml,
            "a: &x hunter2-canary\nb: *x\n",
            Kind::Unsupported,
            Some((1, 7)),
            "anchors are not supported",
        ),
        (Format::Yaml, "a: !!binary aGk=\n", Kind::Unsupported, None, "tags other than !!str"),
        (Format::Yaml, "<<: {a: 1}\n", Kind::Unsupported, Some((1, 1)), "merge keys are not supported"),
        (Format::Yaml, "1: hunter2-canary\n", Kind::Unsupported, Some((1, 1)), "a key is no text"),
        (Format::Yaml, "? [a]\n: b\n", Kind::Unsupported, None, "a key is a map or a list"),
        (
            Format::Yaml,
            "- hunter2-canary\n",
            Kind::Unsupported,
            Some((1, 1)),
            "the top of the file is no map",
        ),
        (Format::Yaml, "hunter2-canary\n", Kind::Unsupported, Some((1, 1)), "the top of the file is no map"),
        (Format::Yaml, "{a: hunter2-canary}\n", Kind::Unsupported, None, "no map in block style"),
        (
            Format::Yaml,
            "a: 1\na: hunter2-canary\n",
            Kind::Malformed,
            Some((2, 1)),
            "the key `a` stands twice",
        ),
        (Format::Yaml, "a: \"hunter2-canary\n", Kind::Malformed, None, "this is no YAML"),
        (
            Format::Yaml,
            "a: 99999999999999999999\n",
            Kind::Unsupported,
            Some((1, 4)),
            "an integer does not fit 64 bits",
        ),
        (Format::Yaml, "", Kind::Malformed, None, "the file is empty"),
        (
            Format::Yaml,
            "sops: {}\na: 1\n",
            Kind::Unsupported,
            None,
            "encrypted already, or uses the reserved name",
        ),
        (Format::Json, "[1]", Kind::Malformed, Some((1, 1)), "expected a map in braces"),
        (Format::Json, "{\"a\": hunter2-canary}", Kind::Malformed, Some((1, 7)), "expected a value"),
        (Format::Json, "{\"a\": 1} x", Kind::Malformed, Some((1, 10)), "expected the end of the file"),
        (Format::Json, "{\"a\": 1, \"a\": 2}", Kind::Malformed, Some((1, 10)), "the key `a` stands twice"),
        (Format::Json, "{\"a\": \"\\x\"}", Kind::Malformed, Some((1, 7)), "wrong escape"),
        (Format::Json, "{\"a\": \"hunter2-canary", Kind::Malformed, None, "expected a text that ends"),
        (Format::Json, "{\"a\": 01}", Kind::Malformed, None, "this is no JSON"),
        (Format::Json, &deep, Kind::TooLarge, None, "more than 64 deep"),
        (
            Format::Dotenv,
            "A=1\nhunter2-canary\n",
            Kind::Malformed,
            Some((2, 1)),
            "neither NAME=value nor a comment",
        ),
        (
            Format::Dotenv,
            "A=1\nA=hunter2-canary\n",
            Kind::Malformed,
            Some((2, 1)),
            "the key `A` stands twice",
        ),
        (Format::Dotenv, "A=hunter2-canary\r\n", Kind::Unsupported, None, "Windows line ends"),
        (Format::Ini, "[a\nk = hunter2-canary\n", Kind::Malformed, Some((1, 1)), "does not end with `]`"),
        (
            Format::Ini,
            "[a]\nhunter2-canary\n",
            Kind::Malformed,
            Some((2, 1)),
            "neither a section, nor key = value",
        ),
        (
            Format::Ini,
            "[a]\nk = hunter2-canary # x\n",
            Kind::Unsupported,
            Some((2, 5)),
            "which begin a comment",
        ),
        (
            Format::Ini,
            "[a]\nk = hunter2-canary \\\n",
            Kind::Unsupported,
            Some((2, 1)),
            "goes on in the next one",
        ),
    ] {
        let error = seal(plain, format).expect_err(plain);
        assert_eq!((error.kind, error.message.contains(expected)), (kind, true), "{plain:?}: {error:?}");
        if place.is_some() {
            assert_eq!(error.place, place, "{plain:?}: {error}");
        }
    }
}

#[test]
fn foreign_keys_are_refused_by_name() {
    for (field, title) in [
        ("pgp", "PGP"),
        ("kms", "AWS KMS"),
        ("gcp_kms", "Google Cloud KMS"),
        ("azure_keyvault", "Azure Key Vault"),
        ("hc_vault_transit_uri", "HashiCorp Vault"),
        ("hckms", "Huawei Cloud KMS"),
    ] {
        let config = Config::parse(&format!("creation_rules:\n  - {field}: [some-key]\n")).unwrap();
        let error = config.policy("a.yaml").unwrap_err();
        assert_eq!(error.kind, Kind::Unsupported);
        assert!(error.message.contains(title), "{error}");
    }
    let text = "a: ENC[AES256_GCM,data:eA==,iv:eA==,tag:eA==,type:str]\nsops:\n    pgp:\n        - fp: AB\n          enc: x\n    lastmodified: \"2026-01-01T00:00:00Z\"\n    mac: x\n    version: 3.9.4\n";
    let error = sops::open(text.as_bytes(), Format::Yaml, &keyring(&["keys.txt"])).err().unwrap();
    assert_eq!(error.kind, Kind::Unsupported);
    assert!(error.message.contains("pgp") && error.hint.is_some(), "{error:?}");
}

#[test]
fn creation_rules_choose_by_path_and_refuse_what_they_do_not_know() {
    let (one, other) = (recipient("keys.txt"), recipient("other.txt"));
    let config = Config::parse(&format!(
        "creation_rules:\n\
         \x20 - path_regex: ^hosts/nas/.*\\.yaml$\n    age: {one},{other}\n    encrypted_regex: ^(password|token)$\n\
         \x20 - path_regex: \\.json$\n    shamir_threshold: 2\n    key_groups:\n      - age: [{one}]\n      - merge: [{{age: [{one}]}}]\n        age: [{other}, {one}]\n\
         \x20 - age: [{other}]\n"
    ))
    .unwrap();
    let nas = config.policy("hosts/nas/db.yaml").unwrap();
    assert_eq!(nas.groups, [[one.clone(), other.clone()]]);
    assert_eq!((nas.selection.name(), nas.selection.pattern()), ("encrypted_regex", "^(password|token)$"));
    let groups = config.policy("x/y.json").unwrap();
    assert_eq!(
        (groups.groups.clone(), groups.threshold),
        (vec![vec![one.clone()], vec![one.clone(), other.clone()]], Some(2))
    );
    let rest = config.policy("anything").unwrap();
    assert_eq!((rest.groups, rest.selection.name()), (vec![vec![other]], "unencrypted_suffix"));

    for (text, expected) in [
        ("creation_rules:\n  - encryted_regex: x\n", "the unknown key `encryted_regex`"),
        ("creation_rules:\n  - age: nobody\n", "`nobody` is no recipient"),
        ("creation_rules:\n  - encrypted_regex: a\n    encrypted_suffix: b\n", "has no age recipient"),
        ("creation_rules:\n  - path_regex: nothing\n", "no rule of .sops.yaml matches `a.yaml`"),
        ("creation_rules:\n  - path_regex: '('\n", "is no regular expression"),
        ("rules: []\n", "has no list `creation_rules`"),
        ("creation_rules: [", "is no YAML"),
    ] {
        let error = Config::parse(text).and_then(|config| config.policy("a.yaml").map(drop)).unwrap_err();
        assert!(error.message.contains(expected), "{text}: {error}");
    }
    assert!(Selection::new("encrypted_regex", "(").is_err());
}

#[test]
fn marks_and_line_ends_of_other_systems() {
    let plain = "\u{feff}a: hunter2-canary\r\nb:\r\n    - 1\r\n";
    let sealed = seal(plain, Format::Yaml).unwrap();
    assert!(sealed.starts_with("\u{feff}".as_bytes()));
    assert_eq!(
        String::from_utf8_lossy(sops::open(&sealed, Format::Yaml, &keyring(&["keys.txt"])).unwrap().plain()),
        plain
    );
    // An encrypted file whose line ends a checkout changed.
    for name in ["service.yaml", "service.env", "service.ini", "service.json"] {
        let text = String::from_utf8(fixture(&format!("sops/{name}"))).unwrap();
        let changed = text.replace("_unencrypted=http://nas:80/?a=b", "_x=").replace('\n', "\r\n");
        let opened = sops::open(changed.as_bytes(), Format::of_name(name), &keyring(&["keys.txt"]));
        if name != "service.env" {
            assert!(opened.is_ok(), "{name}: {:?}", opened.err());
        }
    }
    let wrong = sops::open(b"a: \xff\n", Format::Yaml, &keyring(&[])).err().unwrap();
    assert_eq!(wrong.message, "the file is no UTF-8 text: byte 3 is wrong");
}

#[test]
fn what_is_readable_and_what_looks_like_a_secret_is_listed() {
    let findings = |text: &str, format| sops::lint(text.as_bytes(), format).unwrap();
    let text = String::from_utf8(fixture("sops/mac-only-encrypted.yaml")).unwrap();
    let found = findings(&text, Format::Yaml);
    assert!(found.iter().any(
        |finding| finding.serious && finding.message.starts_with("api.token_secret looks like a secret")
    ));
    assert!(found.iter().any(|finding| finding.message.contains("mac_only_encrypted")));
    let stripped = {
        let value = text.split("password: ").nth(1).unwrap().split('\n').next().unwrap();
        text.replace(value, CANARY)
    };
    let found = findings(&stripped, Format::Yaml);
    assert!(
        found.iter().any(|finding| finding.message == "password should be encrypted and is not"),
        "{found:?}"
    );
    assert!(!format!("{found:?}").contains(CANARY));
    assert!(findings("a: 1\n", Format::Yaml)[0].serious);
}
