//! The vault: opens secrets by name where they are handed to the world, keeps what it has opened in memory that is wiped,
//! and finds it again in what comes back.

#![allow(clippy::disallowed_methods)] // Part of the adapter: it reads the environment for identities.

mod arena;
mod find;
mod form;
pub(crate) mod part;
mod search;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};

use hob_model::{OpError, Secret, SecretForm, SecretPart, SecretRef, Value};
use hob_primitive::{Opened, Vault};
use zeroize::Zeroizing;

use crate::age::{self, Keyring, NoPassphrases, Passphrases};
use crate::error::{Error, Kind};
use crate::live::{self, Places, Stamp};
use crate::sops;
use arena::{Arena, Slot};
use part::Document;
use search::Searcher;

pub(crate) use find::format_of;
pub use find::{Place, USUAL_SOURCES};

/// How many bytes of a digest a version shows, in hexadecimal digits.
const VERSION_DIGITS: usize = 16;

/// The live vault: files on disk, identities in their usual places.
#[derive(Default)]
pub struct LiveVault(Mutex<State>);

#[derive(Default)]
struct State {
    /// What homelabs declare of where their secrets are, by directory.
    declared: BTreeMap<PathBuf, Vec<PathBuf>>,
    keyring: Option<Keyring>,
    files: HashMap<PathBuf, File>,
    arena: Arena,
    searcher: Searcher,
}

/// An opened file.
struct File {
    stamp: Stamp,
    values: HashMap<String, Entry>,
}

struct Entry {
    version: String,
    slot: Slot,
    /// Whether it is encrypted in the file; a SOPS file may hold other values too.
    encrypted: bool,
}

/// A value as it is read from a file.
struct FileValue {
    /// Its key in a SOPS file.
    key: String,
    version: String,
    value: Opened,
    encrypted: bool,
}

/// A secret, without its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Its current version.
    pub version: String,
    /// Where it is.
    pub place: Place,
}

/// Keeps this process from being written to a core dump and from being looked into by others of the same user; where the
/// system does not allow that, it is as ever. Programs that it starts are as ever, too.
pub fn guard_process() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    });
}

fn version_of(encrypted: &[u8]) -> String {
    blake3::hash(encrypted).to_hex()[..VERSION_DIGITS].to_owned()
}

/// The value of a file that is one secret: a single line loses its end, as in `$(cat FILE)`.
fn without_line_end(value: &[u8]) -> &[u8] {
    match value.strip_suffix(b"\n") {
        Some(line) if !line.contains(&b'\n') => line.strip_suffix(b"\r").unwrap_or(line),
        _ => value,
    }
}

impl State {
    fn sources(&self, place: &Path) -> Vec<PathBuf> {
        match self.declared.get(place) {
            Some(sources) => sources.clone(),
            // What `HOB_SECRETS` names is a file or the directory of secrets itself.
            None if find::format_of(place).is_some() => vec![place.to_path_buf()],
            None => {
                let usual = USUAL_SOURCES.map(|name| place.join(name));
                let there: Vec<PathBuf> = usual.into_iter().filter(|source| source.exists()).collect();
                if there.is_empty() { vec![place.to_path_buf()] } else { there }
            }
        }
    }

    /// Opens a file that has changed since, or was not opened yet.
    fn load(&mut self, file: &Path) -> Result<&File, Error> {
        let stamp = live::stamp(file)?;
        if self.files.get(file).is_none_or(|known| known.stamp != stamp) {
            let content = live::read(file)?;
            let values = match self.open(file, &content) {
                // The key may have come since.
                Err(error) if error.kind == Kind::NoIdentity => {
                    self.keyring = None;
                    self.open(file, &content)?
                }
                other => other?,
            };
            if let Some(old) = self.files.remove(file) {
                old.values.values().for_each(|entry| self.arena.wipe(entry.slot));
            }
            let values = values.into_iter().map(|it| {
                let (version, encrypted) = (it.version, it.encrypted);
                (it.key, Entry { version, slot: self.arena.put(&it.value), encrypted })
            });
            let values = values.collect();
            self.files.insert(file.to_path_buf(), File { stamp, values });
        }
        Ok(&self.files[file])
    }

    /// The values of a file.
    fn open(&mut self, file: &Path, content: &[u8]) -> Result<Vec<FileValue>, Error> {
        guard_process();
        let keyring = self.keyring.get_or_insert_with(usual_keyring);
        let Some(format) = find::format_of(file) else {
            let plain = age::open(content, keyring)?;
            let value = Zeroizing::new(without_line_end(&plain).to_vec());
            let version = version_of(content);
            return Ok(vec![FileValue { key: String::new(), version, value, encrypted: true }]);
        };
        let opened = sops::open(content, format, keyring)?;
        let json = opened.to_json()?;
        let plain =
            Document(serde_json::from_str(&json).map_err(|_| Error::malformed("the file is no tree"))?);
        let tree = sops::tree(content, format)?.unwrap_or_default();
        let encrypted: HashMap<String, Zeroizing<String>> = find::leaves(&tree).into_iter().collect();
        let values = find::leaves(&plain.0).into_iter().map(|(key, value)| {
            let written = encrypted.get(&key).map_or("", |text| text.as_str());
            let (version, encrypted) = (version_of(written.as_bytes()), sops::is_encrypted(written));
            FileValue { key, version, value: Zeroizing::new(value.as_bytes().to_vec()), encrypted }
        });
        Ok(values.collect())
    }

    fn find(&self, place: &Path, name: &str) -> Result<Place, OpError> {
        let sources = self.sources(place);
        find::find(&sources, name).ok_or_else(|| not_found(name, &sources))
    }

    /// The value of a reference: the version that it names while that is kept, else the current one.
    fn value(&mut self, place: &Path, reference: &SecretRef) -> Result<Opened, OpError> {
        let found = self.find(place, &reference.name)?;
        let key = found.key.clone().unwrap_or_default();
        let failed = |error: Error| op_error(error, &reference.name);
        let current = self.load(&found.file).map_err(failed)?;
        let entry = current.values.get(&key);
        let wanted = reference.version.as_deref();
        let is_current = entry.is_some_and(|entry| wanted.is_none_or(|wanted| entry.version == wanted));
        let mut from = found.file.clone();
        if !is_current {
            let previous = live::previous(&found.file);
            let is_kept = live::is_file(&previous)
                && self.load(&previous).is_ok_and(|file| {
                    file.values.get(&key).is_some_and(|entry| Some(entry.version.as_str()) == wanted)
                });
            if is_kept {
                from = previous;
            }
        }
        let entry = self.files.get(&from).and_then(|file| file.values.get(&key));
        let entry = entry.ok_or_else(|| not_found(&reference.name, &self.sources(place)))?;
        let value = self.arena.get(entry.slot);
        if entry.encrypted {
            let whole = SecretRef {
                name: reference.name.clone(),
                version: Some(entry.version.clone()),
                form: SecretForm::Plain,
            };
            self.searcher.add(&whole, &value);
        }
        let written = form::written(&value, &reference.form)?;
        if matches!(reference.form, SecretForm::Part { .. }) {
            self.searcher.add(reference, &written);
        }
        Ok(written)
    }
}

fn usual_keyring() -> Keyring {
    let variable = |name: &str| std::env::var(name).ok();
    let places = Places { variable: &variable, home: std::env::home_dir(), root: PathBuf::from("/") };
    let nobody: Arc<dyn Passphrases> = Arc::new(NoPassphrases);
    places.usual(&nobody)
}

fn not_found(name: &str, sources: &[PathBuf]) -> OpError {
    let sources: Vec<String> = sources.iter().map(|source| source.display().to_string()).collect();
    OpError::not_found(format!("there is no secret `{name}`"))
        .hint(format!("looked in {}; `hob secrets list` names those that there are", sources.join(", ")))
}

/// As scripts see it.
pub(crate) fn op_error(error: Error, name: &str) -> OpError {
    let message = format!("secret `{name}`: {error}");
    let made = match error.kind {
        Kind::NoIdentity => OpError::denied(message),
        Kind::Io if error.message.contains("no such file") => OpError::not_found(message),
        Kind::Io => OpError::unavailable(message),
        Kind::Rules | Kind::Unsupported => OpError::invalid(message),
        Kind::Tampered | Kind::Malformed | Kind::TooLarge => OpError::failed(message),
    };
    made.retryable(false).maybe_hint(error.hint)
}

impl LiveVault {
    /// An empty one: nothing is read before a secret is asked for.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// With these identities and no others.
    #[must_use]
    pub fn with_keyring(keyring: Keyring) -> Self {
        Self(Mutex::new(State { keyring: Some(keyring), ..State::default() }))
    }

    /// Lets `act` use the identities of this process, which are looked for when they are first needed.
    pub(crate) fn with_identities<T>(&self, act: impl FnOnce(&Keyring) -> T) -> T {
        guard_process();
        act(self.state().keyring.get_or_insert_with(usual_keyring))
    }

    /// The secrets of a place, without opening any.
    ///
    /// # Errors
    /// When they cannot be listed.
    pub fn list(&self, place: &Path) -> Result<Vec<Listed>, OpError> {
        let sources = self.state().sources(place);
        let failed = |error: Error| OpError::unavailable(error.to_string()).retryable(false);
        let mut trees: HashMap<PathBuf, HashMap<String, String>> = HashMap::new();
        let mut all = Vec::new();
        for (name, place) in find::list(&sources).map_err(failed)? {
            let version = match &place.key {
                None => version_of(&live::read(&place.file).map_err(failed)?),
                Some(key) => {
                    let versions = match trees.get(&place.file) {
                        Some(versions) => versions,
                        None => {
                            trees.entry(place.file.clone()).or_insert(versions(&place.file).map_err(failed)?)
                        }
                    };
                    versions.get(key).cloned().unwrap_or_default()
                }
            };
            all.push(Listed { name, version, place });
        }
        Ok(all)
    }

    /// Where a secret is.
    ///
    /// # Errors
    /// When there is none of that name.
    pub fn find(&self, place: &Path, name: &str) -> Result<Place, OpError> {
        self.state().find(place, name)
    }
}

/// The versions of the values of a SOPS file, by key.
fn versions(file: &Path) -> Result<HashMap<String, String>, Error> {
    let content = live::read(file)?;
    let Some(format) = find::format_of(file) else { return Ok(HashMap::new()) };
    let tree = sops::tree(&content, format)?.unwrap_or_default();
    Ok(find::leaves(&tree).into_iter().map(|(key, text)| (key, version_of(text.as_bytes()))).collect())
}

impl Vault for LiveVault {
    fn open(&self, place: &Path, reference: &SecretRef) -> Result<Opened, OpError> {
        self.state().value(place, reference)
    }

    fn seal(&self, value: Value) -> Value {
        let state = self.state();
        if state.searcher.is_empty() { value } else { sealed(&state.searcher, value) }
    }

    fn conceal(&self, text: &str) -> Option<String> {
        let state = self.state();
        if state.searcher.is_empty() {
            return None;
        }
        parts(&state.searcher, text.as_bytes(), text_part).map(|secret| secret.to_string())
    }

    fn declare(&self, place: &Path, sources: &[PathBuf]) {
        self.state().declared.insert(place.to_path_buf(), sources.to_vec());
    }

    fn version(&self, place: &Path, name: &str) -> Result<Option<String>, OpError> {
        let found = match self.state().find(place, name) {
            Ok(found) => found,
            Err(error) if error.kind == hob_model::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let failed = |error: Error| op_error(error, name);
        match &found.key {
            None => Ok(Some(version_of(&live::read(&found.file).map_err(failed)?))),
            Some(key) => Ok(versions(&found.file).map_err(failed)?.remove(key)),
        }
    }
}

/// The value with what is found in it as references.
fn sealed(searcher: &Searcher, value: Value) -> Value {
    match value {
        Value::String(text) => match parts(searcher, text.as_bytes(), text_part) {
            Some(secret) => Value::Secret(secret),
            None => Value::String(text),
        },
        Value::Blob(bytes) => match parts(searcher, &bytes, |bytes| SecretPart::Bytes(bytes.to_vec())) {
            Some(secret) => Value::Secret(secret),
            None => Value::Blob(bytes),
        },
        Value::Array(items) => Value::Array(items.into_iter().map(|item| sealed(searcher, item)).collect()),
        Value::Map(items) => {
            let key = |key: String| match parts(searcher, key.as_bytes(), text_part) {
                Some(secret) => secret.to_string(),
                None => key,
            };
            Value::Map(items.into_iter().map(|(name, item)| (key(name), sealed(searcher, item))).collect())
        }
        other => other,
    }
}

fn text_part(bytes: &[u8]) -> SecretPart {
    SecretPart::Text(String::from_utf8_lossy(bytes).into_owned())
}

fn parts(searcher: &Searcher, bytes: &[u8], literal: impl Fn(&[u8]) -> SecretPart) -> Option<Secret> {
    let found = searcher.find(bytes);
    if found.is_empty() {
        return None;
    }
    let (mut secret, mut at) = (Secret::default(), 0);
    for found in found {
        secret.push(literal(&bytes[at..found.range.start]));
        secret.push(SecretPart::Reference(found.reference.clone()));
        at = found.range.end;
    }
    secret.push(literal(&bytes[at..]));
    Some(secret)
}
