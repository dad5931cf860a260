//! Opening, writing and re-keying a file.

use std::ops::Range;
use std::sync::Arc;

use serde_json::Value as Json;
use zeroize::{Zeroize, Zeroizing};

use super::cipher::{self, DataKey, is_encrypted};
use super::document::{Child, Document, Edits, Node, Visit, joined, to_json, walk};
use super::mac::{Mac, Written};
use super::metadata::Metadata;
use super::value::{Type, Value};
use super::{BINARY_KEY, Format, Policy, VERSION, keys, text_of};
use crate::Plain;
use crate::age::{Keyring, Passphrases};
use crate::error::{Error, Kind, Result};

/// How often the place of a comment is guessed in one file.
const GUESSES_MAX: usize = 100_000;

/// An open file: what it holds, and what it takes to write it again.
pub struct Opened {
    format: Format,
    plain: Plain,
    key: DataKey,
    metadata: Metadata,
    /// The encrypted form of each value, so that those that do not change keep theirs.
    written: Written,
    encrypted: Vec<u8>,
}

/// Opens a file: all of it is verified before anything is given back.
///
/// # Errors
/// When it is malformed, when no identity opens it, and when any part that the format authenticates was changed.
pub fn open(bytes: &[u8], format: Format, keyring: &Keyring) -> Result<Opened> {
    let (bom, text) = text_of(bytes)?;
    let document = format.parse(text)?;
    let map = document.metadata.as_ref().ok_or_else(|| {
        Error::rules("the file is not encrypted: it has no part `sops`")
            .hint("`hob secrets encrypt` encrypts it")
    })?;
    refuse_line_ends_of_windows(text, format)?;
    let metadata = Metadata::read(map)?;
    let key = keys::unwrap(&metadata, keyring)?;
    let (plain, written) = decrypt(text, bom, &document, format, &metadata, &key)?;
    Ok(Opened { format, plain, key, metadata, written, encrypted: bytes.to_vec() })
}

/// Where each line holds a value up to its end.
fn refuse_line_ends_of_windows(text: &str, format: Format) -> Result<()> {
    if format != Format::Dotenv || !text.contains("\r\n") {
        return Ok(());
    }
    Err(Error::unsupported("the file has Windows line ends, which would become part of each value")
        .hint("convert it first: `sed -i 's/\\r$//' FILE`"))
}

/// Encrypts a plain file for the first time. `now` is the time in RFC 3339, to the second.
///
/// # Errors
/// When it is malformed or encrypted already, or the policy names nobody.
pub fn seal(
    plain: &[u8],
    format: Format,
    policy: &Policy,
    now: &str,
    passphrases: &Arc<dyn Passphrases>,
) -> Result<Vec<u8>> {
    let key = DataKey::generate();
    let metadata = Metadata {
        groups: keys::wrap(&key, policy, passphrases)?,
        threshold: policy.threshold,
        selection: policy.selection.clone(),
        mac_only_encrypted: policy.mac_only_encrypted,
        last_modified: now.to_owned(),
        mac: String::new(),
        version: VERSION.to_owned(),
    };
    encrypt(plain, format, metadata, &key, Written::default())
}

impl Opened {
    /// The decrypted file.
    #[must_use]
    pub fn plain(&self) -> &Plain {
        &self.plain
    }

    /// Its format.
    pub(super) fn format(&self) -> Format {
        self.format
    }

    /// The recipients, without those out of scope.
    pub fn recipients(&self) -> impl Iterator<Item = &str> {
        self.metadata.recipients()
    }

    /// The decrypted file as JSON; several documents are a list.
    ///
    /// # Errors
    /// When a binary file is no text.
    pub fn to_json(&self) -> Result<Zeroizing<String>> {
        let mut json = if self.format == Format::Binary {
            let text = std::str::from_utf8(&self.plain)
                .map_err(|_| Error::unsupported("the file is no text, so it cannot be written as JSON"))?;
            Json::Object([(BINARY_KEY.to_owned(), text.into())].into_iter().collect())
        } else {
            let document = self.format.parse(text_of(&self.plain)?.1)?;
            let mut documents: Vec<Json> =
                document.roots.iter().map(|root| Json::Object(to_json(root))).collect();
            if documents.len() == 1 { documents.remove(0) } else { Json::Array(documents) }
        };
        let text = Zeroizing::new(json.to_string());
        wipe(&mut json);
        Ok(text)
    }

    /// The file with another content: values that did not change keep their encrypted form.
    ///
    /// # Errors
    /// As [`seal`].
    pub fn reseal(&self, plain: &[u8], now: &str) -> Result<Vec<u8>> {
        let metadata = Metadata { last_modified: now.to_owned(), ..self.metadata.clone() };
        encrypt(plain, self.format, metadata, &self.key, self.written.clone())
    }

    /// The file encrypted for the recipients of `policy`; nothing when it is so already. Its rules for what is
    /// encrypted stay. Where somebody loses access, or `rotate` is set, it gets a new data key; else only the wrapped
    /// keys change.
    ///
    /// # Errors
    /// When the file is also encrypted for keys out of scope, which would lose it, or the policy names nobody.
    pub fn rekey(
        &self,
        policy: &Policy,
        rotate: bool,
        now: &str,
        passphrases: &Arc<dyn Passphrases>,
    ) -> Result<Option<Vec<u8>>> {
        if let [kind, ..] = self.metadata.foreign().as_slice() {
            return Err(Error::unsupported(format!(
                "the file is also encrypted for {kind}, which hob does not re-key"
            ))
            .hint("re-key it with the `sops` command, or take that key out first"));
        }
        let current: Vec<Vec<String>> = (self.metadata.groups.iter())
            .map(|group| group.age.iter().map(|key| key.recipient.clone()).collect())
            .collect();
        let threshold = |threshold: Option<usize>, groups: usize| {
            if groups > 1 { threshold.unwrap_or(groups) } else { 0 }
        };
        let same_threshold = threshold(self.metadata.threshold, current.len())
            == threshold(policy.threshold, policy.groups.len());
        if !rotate && same_threshold && same_sets(&current, &policy.groups) {
            return Ok(None);
        }
        let only_added = match (current.as_slice(), policy.groups.as_slice()) {
            ([old], [new]) => old.iter().all(|recipient| new.contains(recipient)),
            _ => false,
        };
        if only_added && !rotate {
            return self.add_recipients(policy, passphrases).map(Some);
        }
        let key = DataKey::generate();
        let metadata = Metadata {
            groups: keys::wrap(&key, policy, passphrases)?,
            threshold: policy.threshold,
            last_modified: now.to_owned(),
            ..self.metadata.clone()
        };
        encrypt(&self.plain, self.format, metadata, &key, Written::default()).map(Some)
    }

    /// The same file with more wrapped keys.
    fn add_recipients(&self, policy: &Policy, passphrases: &Arc<dyn Passphrases>) -> Result<Vec<u8>> {
        let mut metadata = self.metadata.clone();
        let old = std::mem::take(&mut metadata.groups[0].age);
        let mut wrapped = keys::wrap(&self.key, policy, passphrases)?.remove(0);
        for key in &mut wrapped.age {
            if let Some(kept) = old.iter().find(|kept| kept.recipient == key.recipient) {
                key.enc.clone_from(&kept.enc);
            }
        }
        metadata.groups[0] = wrapped;
        let (bom, text) = text_of(&self.encrypted)?;
        let document = self.format.parse(text)?;
        let mut edits = Edits::default();
        document.metadata_spans.iter().for_each(|span| edits.replace(span.clone(), String::new()));
        let out = self.format.insert_metadata(&edits.apply(text), &metadata.write())?;
        finished(out, bom, self.format, &metadata, &self.key)
    }
}

fn same_sets(a: &[Vec<String>], b: &[Vec<String>]) -> bool {
    let sorted = |groups: &[Vec<String>]| -> Vec<Vec<String>> {
        groups
            .iter()
            .cloned()
            .map(|mut group| {
                group.sort();
                group.dedup();
                group
            })
            .collect()
    };
    sorted(a) == sorted(b)
}

fn wipe(json: &mut Json) {
    match json {
        Json::String(text) => text.zeroize(),
        Json::Array(list) => list.iter_mut().for_each(wipe),
        Json::Object(map) => map.values_mut().for_each(wipe),
        _ => {}
    }
}

/// The plain file, and the encrypted form of each of its values.
fn decrypt(
    text: &str,
    bom: bool,
    document: &Document,
    format: Format,
    metadata: &Metadata,
    key: &DataKey,
) -> Result<(Plain, Written)> {
    let (mut edits, mut written, mut mac) = (Edits::default(), Written::default(), Mac::new(metadata));
    let (mut meant, mut content) = (Checksum::default(), None);
    let mut comments = Comments { document, places: None, guesses: 0 };
    walk(&document.roots, &metadata.selection, &mut |visit| {
        let value = if visit.encrypted {
            open_value(text, key, visit, &mut comments)?
        } else {
            visit.leaf.value.clone()
        };
        mac.take(visit, &value);
        if value.kind != Type::Comment {
            meant.take(visit, &value);
        }
        // Some writers encrypt an empty text, too.
        if visit.encrypted && !visit.leaf.value.is_empty() {
            if let Some(encrypted) = visit.leaf.value.as_str() {
                written.note(&visit.additional_data(), &value, key, encrypted);
            }
            if format != Format::Binary {
                let (span, plain) = in_plain(text, format, visit, &value)?;
                edits.replace(span, plain);
            }
        }
        if format == Format::Binary && visit.path == [BINARY_KEY] {
            content = Some(value.plain);
        }
        Ok(())
    })?;
    mac.verify(metadata, key)?;
    if format == Format::Binary {
        let content = content.ok_or_else(|| Error::malformed("a binary file has no `data`"))?;
        return Ok((content, written));
    }
    document.metadata_spans.iter().for_each(|span| edits.replace(span.clone(), String::new()));
    let out = edits.apply(text);
    // Reading it again shows that what was written is what was meant.
    let read = format.parse(&out)?;
    let mut found = Checksum::default();
    walk(&read.roots, &Default::default(), &mut |visit| {
        if !visit.is_comment {
            found.take(visit, &visit.leaf.value);
        }
        Ok(())
    })?;
    if found.0.finalize() != meant.0.finalize() {
        return Err(Error::unsupported(
            "a decrypted value cannot be written into this file so that it reads back the same",
        ));
    }
    let mut plain = Zeroizing::new(Vec::with_capacity(out.len() + 3));
    if bom {
        plain.extend_from_slice("\u{feff}".as_bytes());
    }
    plain.extend_from_slice(out.as_bytes());
    Ok((plain, written))
}

/// How a decrypted value is written, and instead of what.
pub(super) fn in_plain(
    text: &str,
    format: Format,
    visit: &Visit<'_>,
    value: &Value,
) -> Result<(Range<usize>, Zeroizing<String>)> {
    let span = visit.leaf.span.clone();
    let written = format.write(value, visit.leaf).ok_or_else(|| {
        Error::unsupported(format!("a value of {} cannot be written in this format", visit.name()))
            .at(text, span.start)
    })?;
    if value.kind != Type::Comment || visit.is_comment {
        return Ok((span, written));
    }
    // The `sops` command writes a comment of a list as an item of it: the dash becomes the mark of a comment.
    let before = text[..span.start].trim_end_matches(' ');
    match before.strip_suffix('-') {
        Some(before) if format == Format::Yaml => {
            Ok((before.len()..span.end, Zeroizing::new(format!("#{}", *written))))
        }
        _ => Err(Error::unsupported("a comment stands where a value should").at(text, span.start)),
    }
}

/// A hash over places and values, to compare two readings.
#[derive(Default)]
struct Checksum(blake3::Hasher);

impl Checksum {
    fn take(&mut self, visit: &Visit<'_>, value: &Value) {
        let bytes = value.mac_bytes();
        self.0.update(visit.additional_data().as_bytes());
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(&bytes);
    }
}

/// Where comments may have been when they were encrypted: writers do not agree about which map a comment belongs to.
struct Comments<'a> {
    document: &'a Document,
    places: Option<Vec<String>>,
    guesses: usize,
}

impl Comments<'_> {
    fn open(&mut self, encrypted: &str, key: &DataKey, expected: &str) -> Result<Value> {
        let first = cipher::open(encrypted, key, expected);
        let Err(problem) = first else { return first };
        let places = self.places.get_or_insert_with(|| {
            let mut places = vec![joined(&[])];
            let mut path = Vec::new();
            self.document.roots.iter().for_each(|root| containers(root, &mut path, &mut places));
            places.dedup();
            places
        });
        for place in places.iter() {
            self.guesses += 1;
            if self.guesses > GUESSES_MAX {
                break;
            }
            if let Ok(value) = cipher::open(encrypted, key, place) {
                return Ok(value);
            }
        }
        Err(problem)
    }
}

fn containers(children: &[Child], path: &mut Vec<String>, out: &mut Vec<String>) {
    for child in children {
        let (Node::Map(inner) | Node::List(inner)) = &child.node else { continue };
        path.extend(child.key.clone());
        out.push(joined(path));
        containers(inner, path, out);
        if child.key.is_some() {
            path.pop();
        }
    }
}

fn open_value(text: &str, key: &DataKey, visit: &Visit<'_>, comments: &mut Comments<'_>) -> Result<Value> {
    let value = &visit.leaf.value;
    let place = visit.additional_data();
    let named = |error: Error| {
        let message = format!("{} ({})", error.message, visit.name());
        Error { message, ..error }.at(text, visit.leaf.span.start)
    };
    let encrypted = value.as_str().filter(|text| is_encrypted(text));
    match (encrypted, visit.is_comment) {
        (Some(encrypted), true) => comments.open(encrypted, key, &place).map_err(named),
        (Some(encrypted), false) => cipher::open(encrypted, key, &place).map_err(named),
        // A comment in plain stands outside of what the format protects.
        (None, true) => Ok(value.clone()),
        (None, false) if value.kind == Type::Text && value.is_empty() => Ok(value.clone()),
        (None, false) => Err(named(Error::tampered("a value that should be encrypted is not"))),
    }
}

/// A plain file encrypted with a data key whose wrapped forms are in `metadata`.
fn encrypt(
    plain: &[u8],
    format: Format,
    mut metadata: Metadata,
    key: &DataKey,
    mut written: Written,
) -> Result<Vec<u8>> {
    if plain.len() > crate::PLAIN_BYTES_MAX {
        return Err(crate::too_large("the file", crate::PLAIN_BYTES_MAX));
    }
    if format == Format::Binary {
        return encrypt_binary(plain, metadata, key, written);
    }
    let (bom, text) = text_of(plain)?;
    refuse_line_ends_of_windows(text, format)?;
    let document = format.parse(text)?;
    if document.metadata.is_some() || !document.metadata_spans.is_empty() {
        return Err(Error::unsupported("the file is encrypted already, or uses the reserved name `sops`")
            .hint("`hob secrets edit` changes an encrypted file"));
    }
    let (mut edits, mut mac) = (Edits::default(), Mac::new(&metadata));
    walk(&document.roots, &metadata.selection, &mut |visit| {
        let value = &visit.leaf.value;
        mac.take(visit, value);
        if visit.encrypted && !value.is_empty() {
            if value.as_str().is_some_and(is_encrypted) {
                return Err(Error::unsupported(format!("a value of {} is encrypted already", visit.name()))
                    .at(text, visit.leaf.span.start));
            }
            let place = visit.additional_data();
            let encrypted =
                written.take(&place, value, key).unwrap_or_else(|| cipher::seal(value, key, &place));
            edits.replace(visit.leaf.span.clone(), format.write_encrypted(&encrypted, visit.leaf));
        }
        Ok(())
    })?;
    metadata.mac = mac.seal(&metadata.last_modified, key);
    let out = format.insert_metadata(&edits.apply(text), &metadata.write())?;
    finished(out, bom, format, &metadata, key)
}

fn encrypt_binary(
    plain: &[u8],
    mut metadata: Metadata,
    key: &DataKey,
    mut written: Written,
) -> Result<Vec<u8>> {
    let value = Value::text(plain);
    let path = [BINARY_KEY.to_owned()];
    let encrypted = written
        .take(&joined(&path), &value, key)
        .unwrap_or_else(|| cipher::seal(&value, key, &joined(&path)));
    let leaf = super::document::Leaf { value, span: 0..0, spot: super::document::Spot::Plain };
    let mut mac = Mac::new(&metadata);
    mac.take(&Visit { leaf: &leaf, is_comment: false, encrypted: true, path: &path }, &leaf.value);
    metadata.mac = mac.seal(&metadata.last_modified, key);
    let text = format!("{{\n\t\"{BINARY_KEY}\": \"{encrypted}\"\n}}\n");
    let out = Format::Binary.insert_metadata(&text, &metadata.write())?;
    finished(out, false, Format::Binary, &metadata, key)
}

/// The encrypted file, after it was read back and verified: nothing is written that cannot be opened again.
fn finished(text: String, bom: bool, format: Format, metadata: &Metadata, key: &DataKey) -> Result<Vec<u8>> {
    let document = format.parse(&text)?;
    let found = document.metadata.as_ref().map(Metadata::read).transpose()?;
    let same =
        found.as_ref().is_some_and(|found| found.groups == metadata.groups && found.mac == metadata.mac);
    if !same {
        return Err(Error::new(
            Kind::Unsupported,
            "the encrypted file would not read back: this is a mistake of hob's",
        )
        .hint("please report it with the structure of the file, without its values"));
    }
    decrypt(&text, false, &document, format, metadata, key)?;
    let mut out = Vec::with_capacity(text.len() + 3);
    if bom {
        out.extend_from_slice("\u{feff}".as_bytes());
    }
    out.extend_from_slice(text.as_bytes());
    Ok(out)
}
