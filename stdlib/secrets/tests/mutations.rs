//! Whatever is changed in a part that SOPS authenticates is refused, and nothing of the file is given.
//!
//! The mutations are made from a fixed seed, so that a failure can be repeated; `HOB_LONG` makes all of them.

#![allow(clippy::disallowed_methods, clippy::unwrap_used)] // tests read their fixtures and the environment

mod common;

use common::{fixture, keyring, long};
use hob_std_secrets::age::{self, Keyring};
use hob_std_secrets::sops::{self, Format};

/// How many mutations of each file are tried, unless all are wanted.
const TRIED: usize = 500;
/// How many mutations of each format the long tests make at least.
const MUTATIONS_LONG: usize = 5_000;
/// How many kinds of another character are put in the place of each.
const REPLACEMENTS: [char; 7] = ['A', 'b', '7', '=', '+', 'é', ' '];

fn refused(text: &str, format: Format, keys: &Keyring, what: &str, original: &[u8]) {
    if let Ok(opened) = sops::open(text.as_bytes(), format, keys) {
        // A change that means the same, such as a space at the end of a line, may be read as what it means.
        assert!(**opened.plain() == *original, "{what} was read as something else");
        assert!(what.starts_with("same:"), "{what} was not refused");
    }
}

/// The bytes of the text whose change must be noticed: all of each encrypted value, and the time beside the MAC.
fn authenticated(text: &str) -> Vec<usize> {
    let mut bytes = Vec::new();
    let mut from = 0;
    while let Some(begin) = text[from..].find("ENC[") {
        let (begin, end) = (from + begin, from + begin + text[from + begin..].find(']').unwrap() + 1);
        if !text[begin..end].ends_with("type:comment]") {
            bytes.extend(begin + "ENC[AES256_GCM,".len()..end - 1);
        }
        from = end;
    }
    let time = text.find("lastmodified").unwrap();
    let digits = time + text[time..].find("20").unwrap();
    bytes.extend(digits..digits + "2026-11-21T06:00:00Z".len());
    bytes
}

#[test]
fn each_changed_character_of_an_encrypted_value_is_noticed() {
    let keys = keyring(&["keys.txt"]);
    for name in
        ["service.yaml", "service.json", "service.env", "service.ini", "blob.bin", "mac-only-encrypted.yaml"]
    {
        let format = Format::of_name(name);
        let text = String::from_utf8(fixture(&format!("sops/{name}"))).unwrap();
        let plain = sops::open(text.as_bytes(), format, &keys).unwrap().plain().to_vec();
        let places = authenticated(&text);
        let all = places.len() * REPLACEMENTS.len();
        // A step that shares no factor with the count meets all of them, in an order that looks random.
        let step = if long() { 1 } else { 7_919 };
        let mut tried = 0;
        for number in 0..if long() { all } else { TRIED.min(all) } {
            let mutation = number * step % all;
            let (at, by) =
                (places[mutation / REPLACEMENTS.len()], REPLACEMENTS[mutation % REPLACEMENTS.len()]);
            if text[at..].starts_with(by) {
                continue;
            }
            let changed = format!("{}{by}{}", &text[..at], &text[at + 1..]);
            refused(&changed, format, &keys, &format!("{name}: `{by}` at {at}"), &plain);
            let cut = format!("{}{}", &text[..at], &text[at + 1..]);
            refused(&cut, format, &keys, &format!("{name}: without the character at {at}"), &plain);
            tried += 2;
        }
        assert!(!long() || tried >= MUTATIONS_LONG, "{name}: {tried} mutations");
    }
}

/// Opens a changed age file: it is refused, or it is the same file in another spelling.
fn age_refused(changed: &[u8], plain: &[u8], keys: &Keyring, what: &str) {
    if let Ok(opened) = age::open(changed, keys) {
        assert!(*opened == *plain, "{what} was read as something else");
        let text = String::from_utf8_lossy(changed);
        assert!(text.starts_with("-----BEGIN"), "{what} was not refused");
    }
}

#[test]
fn each_changed_byte_of_an_age_file_is_noticed() {
    let keys = keyring(&["keys.txt"]);
    for name in ["binary.age", "armored.age"] {
        let file = fixture(&format!("age/{name}"));
        let plain = age::open(&file, &keys).unwrap();
        let all = file.len() * 255;
        let (count, step) = if long() { (all.min(MUTATIONS_LONG * 4), 7_919) } else { (TRIED, 7_919) };
        for number in 0..count {
            let mutation = number * step % all;
            let (at, by) = (mutation / 255, u8::try_from(mutation % 255).unwrap() + 1);
            let mut changed = file.clone();
            changed[at] ^= by;
            age_refused(&changed, &plain, &keys, &format!("{name}: byte {at} changed by {by:#x}"));
        }
        for at in (0..file.len()).step_by(if long() { 1 } else { 11 }) {
            let without = [&file[..at], &file[at + 1..]].concat();
            age_refused(&without, &plain, &keys, &format!("{name}: without byte {at}"));
            age_refused(&file[..at], &plain, &keys, &format!("{name}: cut off after {at} bytes"));
        }
        assert!(!long() || count >= MUTATIONS_LONG);
    }
}

/// The whole of each encrypted value, without comments.
fn values(text: &str) -> Vec<std::ops::Range<usize>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(begin) = text[from..].find("ENC[") {
        let begin = from + begin;
        from = begin + text[begin..].find(']').unwrap() + 1;
        // The copies of the metadata in further documents are not read.
        let is_copy = text[..begin].ends_with("mac: ") && text[..begin].matches("mac: ").count() > 1;
        if !text[begin..from].ends_with("type:comment]") && !is_copy {
            found.push(begin..from);
        }
    }
    found
}

#[test]
fn values_do_not_change_their_places() {
    let keys = keyring(&["keys.txt"]);
    for name in ["service.yaml", "several.yaml", "service.json", "service.env", "service.ini"] {
        let format = Format::of_name(name);
        let text = String::from_utf8(fixture(&format!("sops/{name}"))).unwrap();
        let values = values(&text);
        for (number, first) in values.iter().enumerate() {
            for second in &values[number + 1..] {
                let (a, b) = (&text[first.clone()], &text[second.clone()]);
                let swapped =
                    [&text[..first.start], b, &text[first.end..second.start], a, &text[second.end..]]
                        .concat();
                refused(&swapped, format, &keys, &format!("{name}: swapped {first:?} and {second:?}"), b"");
            }
            let emptied = [&text[..first.start], "", &text[first.end..]].concat();
            refused(&emptied, format, &keys, &format!("{name}: emptied {first:?}"), b"");
            let copied = [&text[..first.start], &text[values[0].clone()], &text[first.end..]].concat();
            if number > 0 {
                refused(&copied, format, &keys, &format!("{name}: the first value at {first:?}"), b"");
            }
        }
    }
}

#[test]
fn lines_do_not_vanish_and_keys_do_not_change() {
    let keys = keyring(&["keys.txt"]);
    for name in ["service.yaml", "service.env", "service.ini"] {
        let format = Format::of_name(name);
        let text = String::from_utf8(fixture(&format!("sops/{name}"))).unwrap();
        let lines: Vec<&str> = text.split_inclusive('\n').collect();
        for (number, line) in lines.iter().enumerate() {
            if !line.contains("ENC[") || line.contains("type:comment]") {
                continue;
            }
            let without: String =
                lines.iter().enumerate().filter(|(at, _)| *at != number).map(|(_, line)| *line).collect();
            refused(&without, format, &keys, &format!("{name}: without line {}", number + 1), b"");
            let doubled: String = lines
                .iter()
                .enumerate()
                .flat_map(|(at, line)| vec![*line; 1 + usize::from(at == number)])
                .collect();
            refused(&doubled, format, &keys, &format!("{name}: line {} twice", number + 1), b"");
            let (key, _) = line.split_at(line.find("ENC[").unwrap());
            if key.trim_start_matches([' ', '-']).is_empty() {
                continue;
            }
            let start = line.len() - line.trim_start_matches([' ', '-']).len();
            let renamed = format!("{}x{}", &line[..start], &line[start..]);
            let changed: String = lines
                .iter()
                .enumerate()
                .map(|(at, line)| if at == number { renamed.as_str() } else { *line })
                .collect();
            refused(&changed, format, &keys, &format!("{name}: another key in line {}", number + 1), b"");
        }
    }
}

#[test]
fn readable_values_and_the_order_of_lists_are_covered() {
    let keys = keyring(&["keys.txt"]);
    for (name, from, to) in [
        ("service.yaml", "everyone may read this", "everyone may read that"),
        ("service.yaml", "count: 7", "count: 8"),
        ("service.yaml", "flag: false", "flag: true"),
        ("service.yaml", "- 1.5\n        - text", "- text\n        - 1.5"),
        ("service.yaml", "public_unencrypted: everyone may read this\n", ""),
        ("service.yaml", "unencrypted_suffix: _unencrypted", "unencrypted_suffix: d"),
        ("service.json", "\"n\": 3", "\"n\": 4"),
        ("service.env", "http://nas", "http://sna"),
        ("service.ini", "http://nas", "http://sna"),
    ] {
        let text = String::from_utf8(fixture(&format!("sops/{name}"))).unwrap();
        assert!(text.contains(from), "{from:?} in {name}");
        refused(&text.replacen(from, to, 1), Format::of_name(name), &keys, &format!("{name}: {to}"), b"");
    }
}

#[test]
fn a_file_that_ends_early_is_refused() {
    let keys = keyring(&["keys.txt"]);
    for name in ["service.yaml", "service.json", "service.env", "service.ini", "blob.bin"] {
        let text = String::from_utf8(fixture(&format!("sops/{name}"))).unwrap();
        let end = text.trim_end().len();
        for at in (0..end).step_by(if long() { 1 } else { 37 }) {
            let Some(cut) = text.get(..at) else { continue };
            // The last field of each file is the version, which says nothing that is verified.
            if text[at..].contains("mac") {
                refused(cut, Format::of_name(name), &keys, &format!("{name}: cut off after {at} bytes"), b"");
            }
        }
    }
}
