//! Files for services: in memory, one generation after the other, readable by their owner alone.

#![allow(clippy::disallowed_methods, clippy::unwrap_used)] // tests look at what was made

mod common;

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use common::keyring;
use hob_model::{Secret, SecretPart};
use hob_planner::declaration::{SecretUse, SecretValue};
use hob_std_secrets::age::{self, NoPassphrases, Passphrases};
use hob_std_secrets::vault::Place;
use hob_std_secrets::{LiveDelivery, LiveVault, live};
use hob_supervisor::secrets::{Consumer, Delivery};

fn write(dir: &Path, value: &str) {
    let nobody: Arc<dyn Passphrases> = Arc::new(NoPassphrases);
    live::make_directory(&dir.join("secrets")).unwrap();
    let sealed = age::seal(value.as_bytes(), keyring(&["keys.txt"]).publics(), false, &nobody).unwrap();
    live::write(&dir.join("secrets/db.age"), &sealed, true).unwrap();
}

/// A directory in memory, where there is one.
fn memory() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("hob-test-").tempdir_in("/dev/shm").unwrap()
}

fn generations(base: &Path) -> Vec<String> {
    let mut left = vec![base.to_path_buf()];
    let mut found = Vec::new();
    while let Some(path) = left.pop() {
        for entry in std::fs::read_dir(path).unwrap().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("g-") {
                found.push(name);
            } else if entry.file_type().unwrap().is_dir() {
                left.push(entry.path());
            }
        }
    }
    found
}

#[test]
fn a_service_finds_the_old_or_the_new_generation() {
    let (dir, base) = (tempfile::tempdir().unwrap(), memory());
    write(dir.path(), "first value");
    let vault = Arc::new(LiveVault::with_keyring(keyring(&["keys.txt"])));
    let delivery = LiveDelivery::into(vault, vec![dir.path().to_path_buf(), base.path().to_path_buf()]);
    let mut url = Secret::default();
    url.push(SecretPart::Text("postgres://app:".into()));
    let url = url.then(Secret::named("db"));
    let uses = [
        SecretUse {
            variable: "PASSWORD_FILE".into(),
            what: SecretValue::File { name: "db".into(), content: None, owner: Some("65534".into()) },
        },
        SecretUse { variable: "URL".into(), what: SecretValue::Text(url) },
    ];
    let consumer = Consumer {
        place: dir.path(),
        sources: &[],
        state: Path::new("/var/lib/hob"),
        service: "app",
        user: None,
        inside: None,
        uses: &uses,
        kept: true,
    };
    let root = rustix::process::geteuid().is_root();
    if !root {
        return;
    }
    let delivered = delivery.deliver(&consumer).unwrap();
    assert!(delivered.has_secret_variable());
    assert!(!format!("{delivered:?}").contains("first value"));
    let directory = delivered.directory.clone().unwrap();
    assert!(directory.starts_with(base.path()), "the first directory is on a disk: {}", directory.display());
    let file = directory.join("current/db");
    let meta = std::fs::metadata(&file).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.uid()), (0o400, 65_534));
    let variable = |name: &str| {
        let found = delivered.env.iter().find(|it| it.name == name).unwrap();
        String::from_utf8(found.value.to_vec()).unwrap()
    };
    assert_eq!(variable("PASSWORD_FILE"), file.display().to_string());
    assert_eq!(variable("URL"), "postgres://app:first value");
    delivery.settle(consumer.state, "app");
    assert_eq!(generations(base.path()).len(), 1);
    assert!(delivery.stale(&consumer).is_empty());
    // Encrypted anew, it is the same.
    write(dir.path(), "first value");
    assert!(delivery.stale(&consumer).is_empty());
    write(dir.path(), "second value");
    assert_eq!(delivery.stale(&consumer), ["db"]);
    // The old generation stays until the service runs with the new one.
    let old = std::fs::canonicalize(&file).unwrap();
    let _new = delivery.deliver(&consumer).unwrap();
    assert_eq!(std::fs::read_to_string(&old).unwrap(), "first value");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "second value");
    // Until then nobody can tell which one it knows.
    assert_eq!(delivery.stale(&consumer), ["db"]);
    let place = Place { file: dir.path().join("secrets/db.age"), key: None };
    let holders = || delivery.holders(&place).into_iter().map(|it| (it.service.clone(), it));
    assert!(holders().all(|(name, it)| name == "app" && it.has_other_than(b"second value")));
    assert_eq!(holders().count(), 1);
    delivery.settle(consumer.state, "app");
    assert!(!holders().any(|(_, it)| it.has_other_than(b"second value")));
    // Whom hob does not keep, no rotation waits for.
    let _unkept = delivery.deliver(&Consumer { service: "tool", kept: false, ..consumer }).unwrap();
    assert_eq!(holders().count(), 1);
    delivery.remove(consumer.state, "tool");
    assert!(delivery.stale(&consumer).is_empty());
    assert!(!old.exists());
    // A delivery that fails changes nothing.
    std::fs::remove_file(dir.path().join("secrets/db.age")).unwrap();
    assert_eq!(delivery.deliver(&consumer).unwrap_err().kind.as_str(), "not_found");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "second value");
    delivery.remove(consumer.state, "app");
    assert!(generations(base.path()).is_empty());
}

#[test]
fn no_secret_is_written_to_a_disk() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "first value");
    let vault = Arc::new(LiveVault::with_keyring(keyring(&["keys.txt"])));
    if live::lies_in_memory(dir.path()) {
        return;
    }
    let delivery = LiveDelivery::into(vault, vec![dir.path().to_path_buf()]);
    let uses = [SecretUse {
        variable: "F".into(),
        what: SecretValue::File { name: "db".into(), content: None, owner: None },
    }];
    let consumer = Consumer {
        place: dir.path(),
        sources: &[],
        state: Path::new("/s"),
        service: "app",
        user: None,
        inside: None,
        uses: &uses,
        kept: true,
    };
    assert_eq!(delivery.deliver(&consumer).unwrap_err().kind.as_str(), "unavailable");
}
