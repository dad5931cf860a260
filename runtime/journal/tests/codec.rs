//! The stored form of records: pinned, lossless, and safe against damage.

use std::fmt::Write as _;

use expect_test::expect_file;
use hob_journal::codec::{self, CodecError};
use hob_journal::{BundleRecord, Slot};
use hob_model::{Digest, Entry, EntryKind, RunId, RunStarted};
use proptest::prelude::*;

#[path = "common/samples.rs"]
mod samples;

use samples::{a_secret, any_kind, any_time, any_value, any_wait, at, one_of_each, run, started};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Journals of users hold these bytes. When this fails, the format has changed: raise `codec::FORMAT`, keep
/// reading the old one, and only then let the test write the new file.
#[test]
fn the_format_is_pinned() {
    let mut text = format!("format {}\n", codec::FORMAT);
    for (seq, kind) in (0..).zip(one_of_each()) {
        let mut bytes = Vec::new();
        codec::encode_entry(run(1), &Entry { seq, at: at(7), kind: kind.clone() }, &mut bytes);
        let name = format!("{kind:?}");
        let name = name.split([' ', '(']).next().unwrap();
        let _ = writeln!(text, "{name} {}", hex(&bytes));
    }
    let bundle = BundleRecord::new(
        vec![("main.rhai".into(), Digest::of(b"1"))],
        "main.rhai".into(),
        "/srv".into(),
        "hub".into(),
    );
    let mut bytes = Vec::new();
    codec::encode_bundle(&bundle, &mut bytes);
    let _ = writeln!(text, "Bundle {} {}", bundle.digest, hex(&bytes));
    bytes.clear();
    codec::encode_value(&a_secret().into(), &mut bytes);
    let _ = writeln!(text, "Secret {}", hex(&bytes));
    bytes.clear();
    let EntryKind::Started(plain) = started("sample") else { unreachable!("it is a start") };
    let tagged = RunStarted { tags: vec!["media".into()], until: Some("read".into()), ..plain };
    codec::encode_entry(run(1), &Entry { seq: 0, at: at(7), kind: EntryKind::Started(tagged) }, &mut bytes);
    let _ = writeln!(text, "Tagged {}", hex(&bytes));
    bytes.clear();
    let slot = Slot { schedule: "nightly".into(), nominal: at(7), run: run(1) };
    let mut first = Vec::new();
    codec::encode_entry(run(1), &Entry { seq: 0, at: at(7), kind: started("sample") }, &mut first);
    codec::encode_claims([(&slot, &first[..])].into_iter(), &mut bytes);
    let _ = writeln!(text, "Claims {}", hex(&bytes));
    expect_file!["format-4.txt"].assert_eq(&text);
}

/// What the formats before wrote is read by this one: the entries are the same, byte for byte.
#[test]
fn former_formats_are_read() {
    let entries = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    let now = entries(include_str!("format-4.txt"));
    for former in [include_str!("format-1.txt"), include_str!("format-2.txt"), include_str!("format-3.txt")] {
        assert!(entries(former).iter().all(|entry| now.contains(entry)));
    }
}

#[test]
fn an_entry_of_another_run_or_number_is_not_taken() {
    let entry = Entry { seq: 3, at: at(0), kind: one_of_each().remove(1) };
    let mut bytes = Vec::new();
    codec::encode_entry(run(1), &entry, &mut bytes);
    assert_eq!(codec::decode_entry(run(1), 3, &bytes).unwrap(), entry);
    assert!(matches!(codec::decode_entry(run(1), 4, &bytes), Err(CodecError::Checksum)));
    assert!(matches!(codec::decode_entry(run(2), 3, &bytes), Err(CodecError::Checksum)));
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(matches!(codec::decode_entry(run(1), 3, &changed), Err(CodecError::Checksum)), "byte {at}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn entries_come_back_as_they_were(kind in any_kind(), at in any_time(), seq: u64) {
        let entry = Entry { seq, at, kind };
        let mut bytes = Vec::new();
        codec::encode_entry(run(1), &entry, &mut bytes);
        prop_assert_eq!(codec::decode_entry(run(1), seq, &bytes).unwrap(), entry);
    }

    #[test]
    fn claims_come_back_as_they_were(claims in proptest::collection::vec((any::<String>(), any_time(), any::<u128>(), any_kind()), 0..4)) {
        let claims: Vec<(Slot, Entry)> = claims
            .into_iter()
            .map(|(schedule, nominal, bits, kind)| {
                let run = RunId(uuid::Uuid::from_u128(bits));
                (Slot { schedule, nominal, run }, Entry { seq: 0, at: nominal, kind })
            })
            .collect();
        let mut firsts = vec![Vec::new(); claims.len()];
        for ((slot, entry), first) in claims.iter().zip(&mut firsts) {
            codec::encode_entry(slot.run, entry, first);
        }
        let mut bytes = Vec::new();
        codec::encode_claims(claims.iter().map(|(slot, _)| slot).zip(firsts.iter().map(|first| &first[..])), &mut bytes);
        prop_assert_eq!(codec::decode_claims(&bytes).unwrap(), claims);
    }

    #[test]
    fn waits_values_and_bundles_come_back_as_they_were(
        wait in any_wait(), value in any_value(), files: Vec<(String, [u8; 32])>, texts: (String, String, String),
    ) {
        let mut bytes = Vec::new();
        codec::encode_wait(&wait, &mut bytes);
        prop_assert_eq!(codec::decode_wait(&bytes).unwrap(), wait);

        bytes.clear();
        codec::encode_value(&value, &mut bytes);
        prop_assert_eq!(codec::decode_value(&bytes).unwrap(), value);

        bytes.clear();
        let files = files.into_iter().map(|(path, digest)| (path, Digest(digest))).collect();
        let bundle = BundleRecord::new(files, texts.0, texts.1, texts.2);
        codec::encode_bundle(&bundle, &mut bytes);
        prop_assert_eq!(codec::decode_bundle(bundle.digest, &bytes).unwrap(), bundle);
    }
}
