//! What is on disk: identities in their places, files replaced as a whole, a desk that leaves nothing behind.

#![allow(clippy::disallowed_methods, clippy::unwrap_used)] // tests look at real files

mod common;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{fixture, recipient};
use hob_std_secrets::Kind;
use hob_std_secrets::age::{NoPassphrases, Passphrases, open};
use hob_std_secrets::live::{Desk, Places, above, is_open_to_others, memory_directories, write};

fn nobody() -> Arc<dyn Passphrases> {
    Arc::new(NoPassphrases)
}

fn put(file: PathBuf, content: &[u8]) -> PathBuf {
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(&file, content).unwrap();
    file
}

#[test]
fn identities_are_found_in_their_usual_places() {
    let keys = fixture("keys.txt");
    let text = String::from_utf8(keys.clone()).unwrap();
    let secret = text.lines().last().unwrap().to_owned();
    for place in [
        "SOPS_AGE_KEY",
        "SOPS_AGE_KEY_FILE",
        "SOPS_AGE_SSH_PRIVATE_KEY_FILE",
        "credential",
        "home/.config/sops/age/keys.txt",
        "xdg/sops/age/keys.txt",
        "home/.ssh/id_ed25519",
        "root/etc/ssh/ssh_host_ed25519_key",
    ] {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let mut variables: Vec<(&str, String)> = Vec::new();
        match place {
            "SOPS_AGE_KEY" => variables.push((place, secret.clone())),
            "SOPS_AGE_KEY_FILE" | "SOPS_AGE_SSH_PRIVATE_KEY_FILE" => {
                variables.push((place, put(at("key"), &keys).display().to_string()));
            }
            "credential" => {
                put(at("credentials/age-identity"), &keys);
                variables.push(("CREDENTIALS_DIRECTORY", at("credentials").display().to_string()));
            }
            file => drop(put(at(file), &keys)),
        }
        if place.starts_with("xdg") {
            variables.push(("XDG_CONFIG_HOME", at("xdg").display().to_string()));
        }
        let variable =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
        let places = Places { variable: &variable, home: Some(at("home")), root: at("root") };
        let keyring = places.usual(&nobody());
        assert_eq!(keyring.publics(), [recipient("keys.txt")], "{place}");
        assert!(open(&fixture("age/binary.age"), &keyring).is_ok(), "{place}");
    }
}

#[test]
fn where_no_identity_is_found_the_error_tells_where_it_looked() {
    let directory = tempfile::tempdir().unwrap();
    put(directory.path().join("home/.ssh/id_rsa"), b"hunter2");
    let variable = |name: &str| (name == "SOPS_AGE_KEY_FILE").then(|| "/nowhere/keys.txt".to_owned());
    let places = Places {
        variable: &variable,
        home: Some(directory.path().join("home")),
        root: directory.path().join("root"),
    };
    let error = open(&fixture("age/binary.age"), &places.usual(&nobody())).unwrap_err();
    assert_eq!(
        (error.kind, error.message.as_str()),
        (Kind::NoIdentity, "there is no identity to open the file with")
    );
    let hint = error.hint.unwrap();
    for part in [
        "SOPS_AGE_KEY_FILE names /nowhere/keys.txt",
        "id_rsa is no identity",
        "looked in SOPS_AGE_KEY,",
        "ssh_host_ed25519_key",
    ] {
        assert!(hint.contains(part), "{part} in {hint}");
    }
    assert!(!hint.contains("hunter2"));
    assert!(Places::named(&["/nowhere".into()], &nobody()).is_err());
}

#[test]
fn files_are_replaced_as_a_whole_with_their_modes() {
    let directory = tempfile::tempdir().unwrap();
    let mode = |file: &Path| fs::metadata(file).unwrap().mode() & 0o777;
    let file = directory.path().join("a");
    write(&file, b"one", false).unwrap();
    assert_eq!((fs::read(&file).unwrap().as_slice(), mode(&file)), (b"one".as_slice(), 0o600));
    fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
    write(&file, b"two", false).unwrap();
    assert_eq!((fs::read(&file).unwrap().as_slice(), mode(&file)), (b"two".as_slice(), 0o644));
    assert!(is_open_to_others(&file));
    write(&file, b"three", true).unwrap();
    assert_eq!(mode(&file), 0o600, "what is secret is narrowed");
    let link = directory.path().join("link");
    std::os::unix::fs::symlink("a", &link).unwrap();
    write(&link, b"four", false).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(fs::read(&file).unwrap(), b"four");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "nothing is left behind");
    assert_eq!(write(&directory.path().join("none/a"), b"", false).unwrap_err().kind, Kind::Io);
}

#[test]
fn a_desk_is_private_lies_in_memory_and_vanishes() {
    let places = memory_directories(None);
    // A directory that a killed process left: no process has this number.
    let leftover = PathBuf::from(format!("/dev/shm/hob-edit-{}-test", u32::MAX));
    fs::create_dir_all(&leftover).unwrap();
    let desk = Desk::lay_out(b"hunter2", Path::new("some/db.yaml"), &places).unwrap();
    let file = desk.file().to_owned();
    let directory = file.parent().unwrap().to_owned();
    assert_eq!(file.file_name().unwrap(), "db.yaml");
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(&directory).unwrap().mode() & 0o777, 0o700);
    fs::write(&file, "changed").unwrap();
    assert_eq!(desk.content().unwrap().as_slice(), b"changed");
    drop(desk);
    assert!(!directory.exists() && !leftover.exists());
    let disk = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let refused = Desk::lay_out(b"hunter2", Path::new("a"), &[disk.path().to_owned()]).err().unwrap();
    assert!(refused.message.contains("a plain text is not written to disk"), "{refused}");
}

#[test]
fn rules_are_looked_for_upwards() {
    let directory = tempfile::tempdir().unwrap();
    let rules = put(directory.path().join("a/.sops.yaml"), b"");
    fs::create_dir_all(directory.path().join("a/b/c")).unwrap();
    assert_eq!(above(&directory.path().join("a/b/c/file"), ".sops.yaml"), Some(rules));
    assert_eq!(above(&directory.path().join("x/file"), ".sops.yaml"), None);
}
