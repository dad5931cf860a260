//! The vault: secrets by name, in each form in which the world writes them.

#![allow(clippy::disallowed_methods, clippy::unwrap_used)] // tests make the files that they read

mod common;

use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::keyring;
use hob_model::{Secret, SecretForm, SecretPart, SecretRef, Value};
use hob_primitive::Vault;
use hob_std_secrets::age::{self, NoPassphrases, Passphrases};
use hob_std_secrets::rotate::{Rotation, Sealing, Stage};
use hob_std_secrets::sops::{self, Format, Policy};
use hob_std_secrets::{LiveVault, live};
use proptest::prelude::*;

const TOKEN: &str = "s3cret \"tok\\en\" /+&=";

fn nobody() -> Arc<dyn Passphrases> {
    Arc::new(NoPassphrases)
}

fn recipients() -> Vec<String> {
    keyring(&["keys.txt"]).publics().to_vec()
}

fn write_age(file: &Path, value: &[u8]) {
    live::make_directory(file.parent().unwrap()).unwrap();
    live::write(file, &age::seal(value, &recipients(), false, &nobody()).unwrap(), true).unwrap();
}

fn write_sops(file: &Path, plain: &str) {
    let policy = Policy { groups: vec![recipients()], ..Policy::default() };
    let format = Format::of_name(&file.to_string_lossy());
    let sealed = sops::seal(plain.as_bytes(), format, &policy, "2026-11-21T06:00:00Z", &nobody()).unwrap();
    live::write(file, &sealed, true).unwrap();
}

/// A directory with an age file and a SOPS file, and what opens them.
fn store() -> (tempfile::TempDir, LiveVault) {
    let dir = tempfile::tempdir().unwrap();
    write_age(&dir.path().join("secrets/token.age"), TOKEN.as_bytes());
    write_age(&dir.path().join("secrets/media/one-line.age"), b"first and last\n");
    write_sops(
        &dir.path().join("secrets/app.yaml"),
        "db:\n  password: correct horse\n  port: 5432\nshort: abc\n",
    );
    (dir, LiveVault::with_keyring(keyring(&["keys.txt"])))
}

fn opened(vault: &LiveVault, place: &Path, name: &str) -> Vec<u8> {
    let secret = Secret::named(name);
    vault.open(place, secret.single().unwrap()).unwrap().to_vec()
}

#[test]
fn secrets_are_found_by_name() {
    let (dir, vault) = store();
    let listed = vault.list(dir.path()).unwrap();
    let names: Vec<&str> = listed.iter().map(|one| one.name.as_str()).collect();
    assert_eq!(names, ["app/db/password", "app/db/port", "app/short", "media/one-line", "token"]);
    for one in &listed {
        assert_eq!(
            vault.version(dir.path(), &one.name).unwrap().as_ref(),
            Some(&one.version),
            "{}",
            one.name
        );
    }
    assert_eq!(opened(&vault, dir.path(), "token"), TOKEN.as_bytes());
    assert_eq!(opened(&vault, dir.path(), "media/one-line"), b"first and last");
    assert_eq!(opened(&vault, dir.path(), "app/db/password"), b"correct horse");
    assert_eq!(opened(&vault, dir.path(), "app/db/port"), b"5432");
    for (name, kind) in [("nobody", "not_found"), ("../secrets/token", "not_found"), ("app/db", "not_found")]
    {
        let error = vault.open(dir.path(), Secret::named(name).single().unwrap()).unwrap_err();
        assert_eq!(error.kind.as_str(), kind, "{name}: {error}");
    }
    // Other places are where the homelab says.
    let elsewhere = Path::new("/srv/lab");
    vault.declare(elsewhere, &[dir.path().join("secrets/app.yaml")]);
    assert_eq!(opened(&vault, elsewhere, "db/password"), b"correct horse");
}

#[test]
fn without_a_key_the_error_says_what_is_missing_and_nothing_else() {
    let (dir, _) = store();
    let stranger = LiveVault::with_keyring(keyring(&["other.txt"]));
    let error = stranger.open(dir.path(), Secret::named("token").single().unwrap()).unwrap_err();
    assert_eq!(error.kind.as_str(), "denied");
    assert!(error.message.contains("secret `token`"), "{error}");
}

#[test]
fn what_was_opened_is_found_in_every_form_and_opened_again_from_it() {
    let (dir, vault) = store();
    let _opened = opened(&vault, dir.path(), "token");
    let hex: String = TOKEN.bytes().map(|byte| format!("{byte:02x}")).collect();
    let url: String = url_encoded(TOKEN);
    let json = serde_json::to_string(TOKEN).unwrap();
    for text in [
        TOKEN.to_owned(),
        format!("Bearer {TOKEN}\n"),
        format!("{TOKEN}{TOKEN}"),
        STANDARD.encode(TOKEN),
        STANDARD.encode(format!("u:{TOKEN}")),
        STANDARD.encode(format!("ada:{TOKEN}!")),
        STANDARD.encode(format!("user:{TOKEN}!!")),
        hex.to_uppercase(),
        hex,
        format!("/?key={url}&x=1"),
        json,
    ] {
        let Value::Secret(secret) = vault.seal(Value::from(text.as_str())) else {
            panic!("nothing was found in {text}");
        };
        assert!(secret.references().all(|it| it.name == "token" && it.version.is_some()), "{secret:?}");
        let again: Vec<u8> = secret
            .parts()
            .iter()
            .flat_map(|part| match part {
                SecretPart::Text(text) => text.clone().into_bytes(),
                SecretPart::Bytes(bytes) => bytes.clone(),
                SecretPart::Reference(reference) => vault.open(dir.path(), reference).unwrap().to_vec(),
            })
            .collect();
        assert_eq!(again, text.as_bytes(), "it is lossless");
        let shown = vault.conceal(&text).unwrap();
        assert!(shown.contains("«secret token»") && !shown.contains("s3cret"), "{shown}");
    }
    let nested = Value::map([
        ("list", Value::from(vec![Value::from(TOKEN.as_bytes().to_vec())])),
        ("n", Value::Int(1)),
    ]);
    assert!(vault.seal(nested).has_secret());
    assert_eq!(vault.seal(Value::from("nothing here")), Value::from("nothing here"));
    assert_eq!(vault.conceal("nothing here"), None);
}

fn url_encoded(text: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(byte).collect()
}

#[test]
fn what_is_short_or_not_encrypted_is_not_searched_for() {
    let (dir, vault) = store();
    let _opened = (opened(&vault, dir.path(), "app/short"), opened(&vault, dir.path(), "app/db/port"));
    assert_eq!(vault.conceal("abc 5432"), None);
}

#[test]
fn a_rotation_goes_on_from_each_step_and_back() {
    let (dir, _) = store();
    let vault = || LiveVault::with_keyring(keyring(&["keys.txt"]));
    let passphrases = nobody();
    let recipients = recipients();
    let keys = keyring(&["keys.txt"]);
    let age = Sealing::Age { recipients: &recipients, armor: false, passphrases: &passphrases };
    let sops = Sealing::Sops { keyring: &keys, now: "2026-11-21T07:00:00Z" };
    for (name, old, sealing) in [("token", TOKEN, &age), ("app/db/password", "correct horse", &sops)] {
        let place = vault().find(dir.path(), name).unwrap();
        let before = vault().version(dir.path(), name).unwrap();
        let reference = SecretRef { name: name.into(), version: before.clone(), form: SecretForm::Plain };
        let value_of = |reference: &SecretRef| vault().open(dir.path(), reference).unwrap().to_vec();
        // Each step is made by a process of its own, which ends after it.
        let rotation = || Rotation::of(place.clone());
        assert_eq!(rotation().stage().unwrap(), Stage::None);
        rotation().keep().unwrap();
        assert_eq!(rotation().stage().unwrap(), Stage::Kept);
        assert_eq!(opened(&vault(), dir.path(), name), old.as_bytes());
        rotation().store("a new value", sealing).unwrap();
        assert_eq!(rotation().stage().unwrap(), Stage::Stored);
        assert_ne!(vault().version(dir.path(), name).unwrap(), before);
        assert_eq!(opened(&vault(), dir.path(), name), b"a new value");
        assert_eq!(value_of(&reference), old.as_bytes(), "the version that is named is kept");
        rotation().undo().unwrap();
        assert_eq!(
            (rotation().stage().unwrap(), opened(&vault(), dir.path(), name)),
            (Stage::None, old.into())
        );
        rotation().keep().unwrap();
        rotation().store("a newer value", sealing).unwrap();
        rotation().finish().unwrap();
        assert_eq!(rotation().stage().unwrap(), Stage::None);
        assert_eq!(value_of(&reference), b"a newer value", "and else the current one");
    }
    assert_eq!(opened(&vault(), dir.path(), "app/short"), b"abc", "the rest of the file is as it was");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn whatever_stands_around_it(before in ".{0,20}", after in ".{0,20}", value in "[ -~]{8,40}") {
        let dir = tempfile::tempdir().unwrap();
        write_age(&dir.path().join("secrets/x.age"), value.as_bytes());
        let vault = LiveVault::with_keyring(keyring(&["keys.txt"]));
        let found = opened(&vault, dir.path(), "x");
        prop_assert_eq!(&found, value.as_bytes());
        let text = format!("{before}{value}{after}");
        let shown = vault.conceal(&text).unwrap();
        prop_assert!(!shown.contains(&value) || before.contains(&value) || after.contains(&value));
        for encoded in [STANDARD.encode(&text), url_encoded(&text)] {
            prop_assert!(vault.conceal(&encoded).is_some(), "{encoded}");
        }
    }
}
