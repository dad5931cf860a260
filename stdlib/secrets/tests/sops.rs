//! SOPS files: those that the `sops` command wrote, and the reverse of everything.

#![allow(clippy::disallowed_methods, clippy::unwrap_used)] // tests read their fixtures

mod common;

use std::sync::Arc;

use common::{NOW, fixture, keyring, recipient};
use hob_std_secrets::Kind;
use hob_std_secrets::age::{NoPassphrases, Passphrases};
use hob_std_secrets::sops::{self, Format, Policy, Selection};
use serde_json::{Value as Json, json};

fn nobody() -> Arc<dyn Passphrases> {
    Arc::new(NoPassphrases)
}

fn policy(recipients: &[&str]) -> Policy {
    Policy {
        groups: vec![recipients.iter().map(|&recipient| recipient.to_owned()).collect()],
        ..Policy::default()
    }
}

fn open(bytes: &[u8], format: Format) -> sops::Opened {
    match sops::open(bytes, format, &keyring(&["keys.txt"])) {
        Ok(opened) => opened,
        Err(error) => panic!("{error} ({:?})", error.hint),
    }
}

/// The plain file as an independent parser reads it.
fn read_by_others(name: &str, plain: &[u8]) -> Json {
    let text = std::str::from_utf8(plain).unwrap();
    match Format::of_name(name) {
        Format::Yaml => {
            let documents = serde_norway::Deserializer::from_str(text);
            let mut documents: Vec<Json> =
                documents.map(|document| serde::Deserialize::deserialize(document).unwrap()).collect();
            if documents.len() == 1 { documents.remove(0) } else { documents.into() }
        }
        _ => serde_json::from_str(text).unwrap(),
    }
}

const FILES: [&str; 6] =
    ["service.yaml", "several.yaml", "service.json", "service.env", "service.ini", "blob.bin"];

#[test]
fn files_of_the_sops_command_are_opened() {
    for name in FILES {
        let (written, plain) = (fixture(&format!("sops/{name}")), fixture(&format!("plain/{name}")));
        let opened = open(&written, Format::of_name(name));
        match Format::of_name(name) {
            Format::Yaml | Format::Json => {
                let ours: Json = serde_json::from_str(&opened.to_json().unwrap()).unwrap();
                let mut meant = read_by_others(name, &plain);
                if name == "service.yaml" {
                    // YAML 1.1, which `sops` reads, has octal numbers of this form; YAML 1.2 has not.
                    meant["database"]["octal"] = json!(15);
                }
                assert_eq!(ours, meant, "{name}");
            }
            Format::Binary => assert!(**opened.plain() == plain, "{name}"),
            _ => {
                let lines = |bytes: &[u8]| -> Vec<String> {
                    String::from_utf8_lossy(bytes)
                        .lines()
                        .filter(|line| !line.is_empty())
                        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
                        .collect()
                };
                assert_eq!(lines(opened.plain()), lines(&plain), "{name}");
            }
        }
    }
}

#[test]
fn an_empty_text_that_another_writer_encrypted_is_opened() {
    let opened = open(&fixture("sops/rops.json"), Format::Json);
    let found: Json = serde_json::from_str(&opened.to_json().unwrap()).unwrap();
    assert_eq!(found, read_by_others("plain/rops.json", &fixture("plain/rops.json")));
    assert_eq!(found["empty"], "");
}

#[test]
fn scalars_have_the_types_that_the_sops_command_gives_them() {
    // A later version, which also encrypts times as such.
    let theirs = open(&fixture("sops/scalars.yaml"), Format::Yaml);
    let expected = "date: 2024-05-06T00:00:00Z\ntime: 2024-05-06T07:08:09Z\nzone: 2024-05-06T07:08:09.12+02:00\n\
                    spaced: 2024-05-06T07:08:09Z\nsixty: \"12:30:45\"\nbinary: 5\noctal: 15\ngrouped: 1000\n\
                    exponent: 1000.0\npoint: 0.5\neight: 8.0\nnegative: -16\n";
    assert!(
        String::from_utf8_lossy(theirs.plain()).starts_with(expected),
        "{}",
        String::from_utf8_lossy(theirs.plain())
    );
    let plain = fixture("plain/scalars.yaml");
    let ours = sops::seal(&plain, Format::Yaml, &policy(&[&recipient("keys.txt")]), NOW, &nobody()).unwrap();
    let encrypted = |opened: &sops::Opened| {
        let mut json: Json = serde_json::from_str(&opened.to_json().unwrap()).unwrap();
        // It writes readable numbers anew, in another form; that their MAC is accepted shows that they are read alike.
        json.as_object_mut().unwrap().remove("readable_unencrypted");
        json
    };
    assert_eq!(encrypted(&open(&ours, Format::Yaml)), encrypted(&theirs));
}

#[test]
fn comments_are_opened_where_they_stood() {
    let opened = open(&fixture("sops/service.yaml"), Format::Yaml);
    let text = std::str::from_utf8(opened.plain()).unwrap();
    for expected in [
        "# The credentials of the media stack.\ndatabase:\n    # Rotated every quarter.\n    user: jellyfin\n",
        "    # typed by hand\n    password: \"p4ss: word # 1\"\n",
        "    - nas\n    # the old one\n    - name: attic\n",
        "        - text\n# The end.\n",
    ] {
        assert!(text.contains(expected), "{expected:?} in\n{text}");
    }
}

/// The keys whose values are encrypted.
fn encrypted_keys(text: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(text);
    let lines =
        text.lines().take_while(|line| !line.starts_with("sops:")).filter(|line| line.contains("ENC["));
    lines.map(|line| line.split(':').next().unwrap().trim().to_owned()).collect()
}

#[test]
fn each_rule_encrypts_what_the_sops_command_does() {
    let plain = fixture("plain/rules.yaml");
    for (file, rule, pattern) in [
        ("encrypted-suffix", "encrypted_suffix", "_secret"),
        ("unencrypted-suffix", "unencrypted_suffix", "er"),
        ("encrypted-regex", "encrypted_regex", "^(password|api)$"),
        ("unencrypted-regex", "unencrypted_regex", "^u"),
        ("encrypted-comment", "encrypted_comment_regex", "encrypt:"),
        ("unencrypted-comment", "unencrypted_comment_regex", "encrypt: this"),
        ("mac-only-encrypted", "encrypted_regex", "^password$"),
    ] {
        let theirs = fixture(&format!("sops/{file}.yaml"));
        let opened = open(&theirs, Format::Yaml);
        assert_eq!(String::from_utf8_lossy(opened.plain()), String::from_utf8_lossy(&plain), "{file}");
        let policy = Policy {
            selection: Selection::new(rule, pattern).unwrap(),
            mac_only_encrypted: file == "mac-only-encrypted",
            ..policy(&[&recipient("keys.txt")])
        };
        let ours = sops::seal(&plain, Format::Yaml, &policy, NOW, &nobody()).unwrap();
        assert_eq!(encrypted_keys(&ours), encrypted_keys(&theirs), "{file}");
        assert_eq!(**open(&ours, Format::Yaml).plain(), plain, "{file}");
    }
}

#[test]
fn only_the_mac_of_encrypted_values_leaves_others_free() {
    let replaced = |file: &str, from: &str, to: &str| {
        let text = String::from_utf8(fixture(file)).unwrap();
        assert!(text.contains(from), "{from} in {file}");
        sops::open(text.replacen(from, to, 1).as_bytes(), Format::Yaml, &keyring(&["keys.txt"])).map(|_| ())
    };
    assert!(replaced("sops/mac-only-encrypted.yaml", "user: root", "user: toor").is_ok());
    assert_eq!(
        replaced("sops/encrypted-regex.yaml", "user: root", "user: toor").unwrap_err().kind,
        Kind::Tampered
    );
    // The two kinds of MAC never agree.
    let error =
        replaced("sops/mac-only-encrypted.yaml", "mac_only_encrypted: true", "mac_only_encrypted: false");
    assert_eq!(error.unwrap_err().kind, Kind::Tampered);
}

#[test]
fn key_groups_open_with_as_many_as_they_need() {
    let theirs = fixture("sops/groups.yaml");
    let plain = fixture("plain/rules.yaml");
    let groups = ["keys.txt", "other.txt", "third.txt"];
    let policy = Policy {
        groups: groups.iter().map(|file| vec![recipient(file)]).collect(),
        threshold: Some(2),
        ..Policy::default()
    };
    let ours = sops::seal(&plain, Format::Yaml, &policy, NOW, &nobody()).unwrap();
    for file in [&theirs, &ours] {
        for pair in [["keys.txt", "other.txt"], ["other.txt", "third.txt"], ["third.txt", "keys.txt"]] {
            let opened = sops::open(file, Format::Yaml, &keyring(&pair)).unwrap();
            assert_eq!(**opened.plain(), plain);
        }
        assert_eq!(**sops::open(file, Format::Yaml, &keyring(&groups)).unwrap().plain(), plain);
        let error = sops::open(file, Format::Yaml, &keyring(&["other.txt"])).err().unwrap();
        assert_eq!(error.kind, Kind::NoIdentity);
        assert!(error.message.contains("open 1 of 3 key groups, and 2 are needed"), "{error}");
    }
}

#[test]
fn what_is_written_is_opened_again() {
    for name in FILES {
        let (plain, format) = (fixture(&format!("plain/{name}")), Format::of_name(name));
        let sealed = sops::seal(&plain, format, &policy(&[&recipient("keys.txt")]), NOW, &nobody()).unwrap();
        for secret in ["p4ss", "s3cr3t", "jellyfin", "bGluZSBvbmU=", "everyone has"] {
            assert!(!String::from_utf8_lossy(&sealed).contains(secret), "{secret} in {name}");
        }
        let opened = open(&sealed, format);
        if matches!(format, Format::Yaml | Format::Json) {
            let ours: Json = serde_json::from_str(&opened.to_json().unwrap()).unwrap();
            let theirs: Json =
                serde_json::from_str(&open(&fixture(&format!("sops/{name}")), format).to_json().unwrap())
                    .unwrap();
            assert_eq!(ours, theirs, "{name}");
        } else {
            assert!(**opened.plain() == plain, "{name}");
        }
        let stranger = sops::open(&sealed, format, &keyring(&["other.txt"])).err().unwrap();
        assert_eq!(stranger.kind, Kind::NoIdentity, "{name}");
        let again = sops::seal(&sealed, format, &policy(&[&recipient("keys.txt")]), NOW, &nobody());
        if format != Format::Binary {
            assert_eq!(again.unwrap_err().kind, Kind::Unsupported, "{name}: encrypted twice");
        }
    }
}

#[test]
fn an_edit_changes_what_was_edited_and_nothing_else() {
    for name in ["service.yaml", "service.json", "service.env", "service.ini"] {
        let (theirs, format) = (fixture(&format!("sops/{name}")), Format::of_name(name));
        let opened = open(&theirs, format);
        let before = String::from_utf8(opened.plain().to_vec()).unwrap();
        let (from, to) = match name {
            "service.yaml" => ("user: jellyfin", "user: plex"),
            "service.json" => ("\"nas\"", "\"attic\""),
            "service.env" => ("DB_USER=jellyfin", "DB_USER=plex"),
            _ => ("= admin", "= root"),
        };
        assert!(before.contains(from), "{before}");
        let after = before.replacen(from, to, 1);
        let edited = opened.reseal(after.as_bytes(), NOW).unwrap();
        assert_eq!(String::from_utf8_lossy(open(&edited, format).plain()), after, "{name}");
        let values = |file: &[u8]| -> Vec<String> {
            let text = String::from_utf8_lossy(file).into_owned();
            text.split("ENC[").skip(1).map(|rest| rest.split(']').next().unwrap().to_owned()).collect()
        };
        let (old, new) = (values(&theirs), values(&edited));
        assert_eq!(old.len(), new.len(), "{name}");
        // The value that was changed, and the MAC.
        assert_eq!(old.iter().filter(|value| !new.contains(value)).count(), 2, "{name}");
        let unchanged = opened.reseal(before.as_bytes(), NOW).unwrap();
        let kept = values(&unchanged);
        assert_eq!(old.iter().filter(|value| !kept.contains(value)).count(), 1, "{name}: the MAC alone");
    }
}

#[test]
fn rekeying_gives_and_takes_access() {
    let (mine, other) = (recipient("keys.txt"), recipient("other.txt"));
    for name in FILES {
        let (plain, format) = (fixture(&format!("plain/{name}")), Format::of_name(name));
        let sealed = sops::seal(&plain, format, &policy(&[&mine]), NOW, &nobody()).unwrap();
        let opened = open(&sealed, format);
        assert!(
            opened.rekey(&policy(&[&mine]), false, NOW, &nobody()).unwrap().is_none(),
            "{name}: nothing to do"
        );

        let both = opened.rekey(&policy(&[&other, &mine]), false, NOW, &nobody()).unwrap().unwrap();
        let added = sops::open(&both, format, &keyring(&["other.txt"])).unwrap();
        assert!(**added.plain() == **opened.plain(), "{name}");
        let first_value = |file: &[u8]| {
            String::from_utf8_lossy(file).split("ENC[").nth(1).unwrap().split(']').next().unwrap().to_owned()
        };
        assert_eq!(first_value(&both), first_value(&sealed), "{name}: adding keeps the values");

        let taken = added.rekey(&policy(&[&other]), false, NOW, &nobody()).unwrap().unwrap();
        assert_eq!(
            sops::open(&taken, format, &keyring(&["keys.txt"])).err().unwrap().kind,
            Kind::NoIdentity,
            "{name}"
        );
        assert!(
            **sops::open(&taken, format, &keyring(&["other.txt"])).unwrap().plain() == **opened.plain(),
            "{name}"
        );
        assert_ne!(first_value(&taken), first_value(&sealed), "{name}: the old data key is worth nothing");

        let rotated = opened.rekey(&policy(&[&mine]), true, NOW, &nobody()).unwrap().unwrap();
        assert_ne!(first_value(&rotated), first_value(&sealed), "{name}");
        assert!(**open(&rotated, format).plain() == **opened.plain(), "{name}");
    }
}
