//! Age files: those that the `age` command wrote, the reverse, and every kind of identity.

#![allow(clippy::disallowed_methods, clippy::unwrap_used)] // tests read their fixtures and start the `age` command

mod common;

use std::process::Command;
use std::sync::Arc;

use age::secrecy::SecretString;
use common::{fixture, keyring, path, recipient};
use hob_std_secrets::Kind;
use hob_std_secrets::age::{
    Keyring, NoPassphrases, Passphrases, check_recipient, generate, open, recipients_of_public, seal,
    seal_with_passphrase,
};

/// Knows one passphrase.
struct Knows(&'static str);

impl Passphrases for Knows {
    fn ask(&self, _what: &str) -> Option<SecretString> {
        Some(SecretString::from(self.0.to_owned()))
    }
}

fn public(name: &str) -> String {
    String::from_utf8(fixture(name)).unwrap().trim().to_owned()
}

fn nobody() -> Arc<dyn Passphrases> {
    Arc::new(NoPassphrases)
}

fn knowing(passphrase: &'static str, files: &[&str]) -> Keyring {
    let mut keyring = Keyring::new(Arc::new(Knows(passphrase)));
    files.iter().for_each(|file| keyring.add(&fixture(file), file).unwrap());
    keyring
}

#[test]
fn files_of_the_age_command_are_opened() {
    let plain = fixture("plain/rules.yaml");
    for (file, keys) in [
        ("binary", "keys.txt"),
        ("armored", "other.txt"),
        ("ed25519", "ssh/id_ed25519"),
        ("rsa", "ssh/id_rsa"),
    ] {
        let opened = open(&fixture(&format!("age/{file}.age")), &keyring(&[keys])).unwrap();
        assert!(*opened == plain, "{file}");
    }
}

#[test]
fn passphrases_open_files_and_identities() {
    let plain = fixture("plain/rules.yaml");
    assert!(*open(&fixture("age/passphrase.age"), &knowing("open sesame", &[])).unwrap() == plain);
    assert!(*open(&fixture("age/binary.age"), &knowing("open sesame", &["age/keys.age"])).unwrap() == plain);
    assert!(*open(&fixture("age/locked.age"), &knowing("open sesame", &["ssh/id_locked"])).unwrap() == plain);

    let wrong = open(&fixture("age/passphrase.age"), &knowing("open poppy", &[])).unwrap_err();
    assert_eq!((wrong.kind, wrong.message.as_str()), (Kind::NoIdentity, "the passphrase is wrong"));
    let wrong = open(&fixture("age/locked.age"), &knowing("open poppy", &["ssh/id_locked"])).unwrap_err();
    assert_eq!(wrong.kind, Kind::NoIdentity);
    let silent = open(&fixture("age/passphrase.age"), &keyring(&[])).unwrap_err();
    assert!(silent.message.contains("there is nobody to ask"), "{silent}");
    let mut keyring = Keyring::new(nobody());
    let silent = keyring.add(&fixture("age/keys.age"), "keys.age").unwrap_err();
    assert_eq!(silent.kind, Kind::NoIdentity);

    let sealed = seal_with_passphrase(&plain, SecretString::from("correct horse".to_owned()), true).unwrap();
    assert!(*open(&sealed, &knowing("correct horse", &[])).unwrap() == plain);
}

#[test]
fn an_ssh_key_is_also_the_age_identity_that_it_converts_to() {
    // What libsodium's crypto_sign_ed25519_sk_to_curve25519 makes of the key, as an age recipient.
    let converted = public("ssh/id_ed25519.age-recipient");
    let keyring = keyring(&["ssh/id_ed25519"]);
    assert_eq!(keyring.publics()[0], converted);
    let sealed = seal(b"for the host", std::slice::from_ref(&converted), false, &nobody()).unwrap();
    assert_eq!(**open(&sealed, &keyring).unwrap(), *b"for the host");
}

#[test]
fn public_keys_have_the_recipients_of_their_private_ones() {
    for line in [public("ssh/id_ed25519.pub"), format!("nas {}", public("ssh/id_ed25519.pub"))] {
        assert_eq!(recipients_of_public(&line), keyring(&["ssh/id_ed25519"]).publics(), "{line}");
    }
    assert_eq!(recipients_of_public(&public("ssh/id_rsa.pub")), keyring(&["ssh/id_rsa"]).publics());
    for text in ["", "# a comment", "ssh-ed25519", "ssh-ed25519 AAAA", "a b ssh-ed25519 AAAA", "hunter2"] {
        assert!(recipients_of_public(text).is_empty(), "{text}");
    }
    let (text, recipient) = generate(common::NOW);
    let mut keyring = Keyring::new(nobody());
    keyring.add(text.as_bytes(), "new").unwrap();
    assert_eq!(keyring.publics(), [recipient]);
}

#[test]
fn the_age_command_opens_what_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let plain = vec![7; 200_000];
    for (keys, recipient) in [
        ("keys.txt", recipient("keys.txt")),
        ("ssh/id_ed25519", public("ssh/id_ed25519.pub")),
        ("ssh/id_rsa", public("ssh/id_rsa.pub")),
    ] {
        // `ssh` and `age` look at who may read a key.
        let identity = directory.path().join("identity");
        std::fs::write(&identity, fixture(keys)).unwrap();
        for armor in [false, true] {
            let sealed = seal(&plain, std::slice::from_ref(&recipient), armor, &nobody()).unwrap();
            let file = directory.path().join("file.age");
            std::fs::write(&file, &sealed).unwrap();
            let output = Command::new("age").arg("-d").arg("-i").arg(&identity).arg(&file).output();
            let output = output.expect("`age` is installed (Debian's package `age`)");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            assert!(output.stdout == plain, "{keys}");
        }
    }
}

#[test]
fn strangers_and_changes_are_refused() {
    let file = fixture("age/binary.age");
    let stranger = open(&file, &keyring(&["other.txt", "ssh/id_rsa"])).unwrap_err();
    assert_eq!(stranger.kind, Kind::NoIdentity);
    assert_eq!(stranger.message, "none of the 2 identities at hand opens the file");
    let keys = keyring(&["keys.txt"]);
    for at in 0..file.len() {
        for bit in [0x01, 0x80] {
            let mut changed = file.clone();
            changed[at] ^= bit;
            assert!(open(&changed, &keys).is_err(), "byte {at} of {} bit {bit:#x}", file.len());
        }
        assert!(open(&file[..at], &keys).is_err(), "cut off after {at} bytes");
    }
    let longer = [&file[..], b"x"].concat();
    assert!(open(&longer, &keys).is_err());
}

#[test]
fn what_is_no_identity_or_recipient_is_said_without_repeating_it() {
    for (text, expected) in [
        ("AGE-SECRET-KEY-1QQQQSECRET", "line 1 of keys is no identity"),
        ("# comment\n\nhunter2", "line 3 of keys is no identity"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n", "keys is no SSH private key that can be read"),
    ] {
        let error = Keyring::new(nobody()).add(text.as_bytes(), "keys").unwrap_err();
        assert_eq!(error.message, expected);
        assert!(
            !format!("{error:?}").contains("hunter2") && !format!("{error:?}").contains("SECRET-KEY-1QQ")
        );
    }
    let secret = public("keys.txt").lines().last().unwrap().to_owned();
    let error = check_recipient(&secret).unwrap_err();
    assert!(!format!("{error:?}").contains(&secret), "{error:?}");
    for text in ["age1nothing", "ssh-dss AAAA", "", "hunter2"] {
        assert!(check_recipient(text).is_err(), "{text}");
    }
    assert!(check_recipient(&recipient("keys.txt")).is_ok());
    assert_eq!(seal(b"x", &[], false, &nobody()).unwrap_err().kind, Kind::Rules);
    assert!(path("keys.txt").exists());
}
