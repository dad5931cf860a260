//! How fast secrets are opened, beside the command `age`.
//!
//! `cargo bench -p hob-std-secrets --bench opening` prints medians of a few rounds: 1,000 age files opened by name through
//! the vault, with the identity open and a new vault each time; one SOPS file of 5,000 values; where `age` is installed,
//! the same 1,000 files with one process each; and where `tests/long` has installed `rops`, the same SOPS file with it.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::disallowed_methods)] // a program that measures

use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hob_model::Secret;
use hob_primitive::Vault;
use hob_std_secrets::age::{self, Keyring, NoPassphrases, Passphrases};
use hob_std_secrets::sops::{self, Format, Policy};
use hob_std_secrets::{LiveVault, live};

const SECRETS: usize = 1_000;
const VALUES: usize = 5_000;
const ROUNDS: usize = 9;

fn main() {
    let nobody: Arc<dyn Passphrases> = Arc::new(NoPassphrases);
    let (key, public) = age::generate("2026-11-21T06:00:00Z");
    let keyring = || {
        let mut keyring = Keyring::new(Arc::clone(&nobody));
        keyring.add(key.as_bytes(), "the key of the benchmark").unwrap();
        keyring
    };
    let recipients = vec![public];
    let dir = tempfile::tempdir().unwrap();
    live::make_directory(&dir.path().join("secrets")).unwrap();
    for number in 0..SECRETS {
        let sealed = age::seal(format!("value {number}").as_bytes(), &recipients, false, &nobody).unwrap();
        std::fs::write(dir.path().join(format!("secrets/s{number}.age")), sealed).unwrap();
    }
    let lines: String = (0..VALUES)
        .map(|n| {
            format!("group{}:\n", n / 10).repeat(usize::from(n % 10 == 0))
                + &format!("    key{n}: value number {n}\n")
        })
        .collect();
    let policy = Policy { groups: vec![recipients], ..Policy::default() };
    let sealed =
        sops::seal(lines.as_bytes(), Format::Yaml, &policy, "2026-11-21T06:00:00Z", &nobody).unwrap();

    println!("medians of {ROUNDS} rounds");
    let by_name = median(|| {
        let vault = LiveVault::with_keyring(keyring());
        for number in 0..SECRETS {
            let secret = Secret::named(format!("s{number}"));
            let opened = vault.open(dir.path(), secret.single().unwrap()).unwrap();
            assert!(opened.starts_with(b"value"));
        }
    });
    println!("{SECRETS} age files by name      {by_name:9.1?}   (goal 1 s)");
    let keys = keyring();
    let one_file = median(|| assert!(sops::open(&sealed, Format::Yaml, &keys).is_ok()));
    println!("one file of {VALUES} values     {one_file:9.1?}   (goal 100 ms)");
    let vault = LiveVault::with_keyring(keyring());
    std::fs::write(dir.path().join("secrets/big.yaml"), &sealed).unwrap();
    for number in (0..VALUES).step_by(5) {
        let secret = Secret::named(format!("big/group{}/key{number}", number / 10));
        vault.open(dir.path(), secret.single().unwrap()).unwrap();
    }
    let text = "a line of a program that says what it does, again and again\n".repeat(1 << 14);
    let search = median(|| assert!(vault.conceal(&text).is_none()));
    println!("searching 1 MiB for 1,000    {search:9.1?}");
    beside_age(dir.path(), &key);
    beside_rops(&dir.path().join("secrets/big.yaml"), &key);
}

/// The command `age`, one process for each file, as scripts call it.
fn beside_age(dir: &Path, key: &str) {
    let identity = dir.join("key.txt");
    live::write(&identity, key.as_bytes(), true).unwrap();
    if Command::new("age").arg("--version").output().is_err() {
        return println!("age is not installed");
    }
    let begun = Instant::now();
    for number in 0..SECRETS {
        let file = dir.join(format!("secrets/s{number}.age"));
        let output = Command::new("age").arg("-d").arg("-i").arg(&identity).arg(file).output().unwrap();
        assert!(output.status.success());
    }
    println!("{SECRETS} times the command age  {:9.1?}", begun.elapsed());
}

/// The command `rops`, a process with the key in its environment.
fn beside_rops(file: &Path, key: &str) {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/readers/rops/bin/rops");
    if !program.is_file() {
        return println!("rops is not installed (tests/long does that)");
    }
    let key = key.lines().last().unwrap();
    let opened = median(|| {
        // It takes no file where its input is no terminal.
        let input = std::fs::File::open(file).unwrap();
        let mut command = Command::new(&program);
        let command = command.args(["decrypt", "--format", "yaml"]).env("ROPS_AGE", key).stdin(input);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    });
    println!("the same file, command rops  {opened:9.1?}");
}

fn median(mut round: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            round();
            begun.elapsed()
        })
        .collect();
    times.sort_unstable();
    times[ROUNDS / 2]
}
