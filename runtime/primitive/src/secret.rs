//! Secrets on their way to the world: arguments that take them, and the port that opens them.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use hob_model::{OpError, Secret, SecretPart, SecretRef, Value};
use zeroize::{Zeroize, Zeroizing};

use crate::{Ctx, FromValue, Mismatch};

/// The opened value of a secret; wiped when dropped.
pub type Opened = Zeroizing<Vec<u8>>;

/// Who keeps the values of secrets.
pub trait Vault: Send + Sync {
    /// The value of a secret of those that belong to `place`: the directory of a run, or what the environment of the run
    /// names in its stead.
    ///
    /// # Errors
    /// When there is no such secret, or nothing at hand opens it.
    fn open(&self, place: &Path, reference: &SecretRef) -> Result<Opened, OpError>;

    /// The value with each secret in it that this process has opened as a reference, in whatever form it is known.
    fn seal(&self, value: Value) -> Value;

    /// The text with the name of each such secret in its place; `None` where there is none.
    fn conceal(&self, text: &str) -> Option<String>;

    /// Says where the secrets of `place` are: files and directories, absolute. Until then they are where they usually are.
    fn declare(&self, place: &Path, sources: &[std::path::PathBuf]) {
        let _ = (place, sources);
    }

    /// The current version of a secret; `None` where there is none of that name.
    ///
    /// # Errors
    /// When it cannot be looked at.
    fn version(&self, place: &Path, name: &str) -> Result<Option<String>, OpError>;
}

/// Who filters what this process tells people.
static FILTER: OnceLock<Arc<dyn Vault>> = OnceLock::new();

/// Has what this process tells people (its log, answers of its API) searched for the secrets of `vault`. The first one
/// counts: there is one in a process.
pub fn filter_sinks(vault: Arc<dyn Vault>) {
    let _ = FILTER.set(vault);
}

/// A text for people without the secrets that this process has opened: the net below what records and shows them by name
/// in the first place.
#[must_use]
pub fn filtered(text: String) -> String {
    FILTER.get().and_then(|vault| vault.conceal(&text)).unwrap_or(text)
}

/// The variable, of the environment that is handed to a run, that names the secrets of the run.
pub const SECRETS_VARIABLE: &str = "HOB_SECRETS";

/// A text that may be a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretText(pub Secret);

impl FromValue for SecretText {
    const KIND: &'static str = "string or secret";
    const TAKES_SECRETS: bool = true;

    fn from_value(value: Value) -> Result<Self, Mismatch> {
        match value {
            Value::String(text) => Ok(Self(SecretPart::Text(text).into())),
            Value::Secret(secret) => Ok(Self(secret)),
            other => Err(Mismatch::of::<Self>(&other)),
        }
    }
}

/// Bytes that may be a secret, given as a text, a blob or a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretContent(pub Secret);

impl FromValue for SecretContent {
    const KIND: &'static str = "string, blob or secret";
    const TAKES_SECRETS: bool = true;

    fn from_value(value: Value) -> Result<Self, Mismatch> {
        match value {
            Value::Blob(bytes) => Ok(Self(SecretPart::Bytes(bytes).into())),
            Value::String(text) => Ok(Self(SecretPart::Text(text).into())),
            Value::Secret(secret) => Ok(Self(secret)),
            other => Err(Mismatch::of::<Self>(&other)),
        }
    }
}

/// Anything with secrets in it.
#[derive(Clone, Debug, PartialEq)]
pub struct SecretValue(pub Value);

impl FromValue for SecretValue {
    const KIND: &'static str = "any";
    const TAKES_SECRETS: bool = true;

    fn from_value(value: Value) -> Result<Self, Mismatch> {
        Ok(Self(value))
    }
}

/// The value of an expression, where `open` gives those of the secrets in it.
///
/// # Errors
/// Those of `open`.
pub fn open_with(
    secret: &Secret,
    mut open: impl FnMut(&SecretRef) -> Result<Opened, OpError>,
) -> Result<Opened, OpError> {
    let mut opened = Vec::with_capacity(secret.parts().len());
    for part in secret.parts() {
        opened.push(match part {
            SecretPart::Text(text) => Zeroizing::new(text.clone().into_bytes()),
            SecretPart::Bytes(bytes) => Zeroizing::new(bytes.clone()),
            SecretPart::Reference(reference) => open(reference)?,
        });
    }
    // Sized once: a buffer that grows would leave its old memory behind.
    let mut all = Zeroizing::new(Vec::with_capacity(opened.iter().map(|part| part.len()).sum()));
    opened.iter().for_each(|part| all.extend_from_slice(part));
    Ok(all)
}

/// A value whose secrets are open; its texts are wiped when it is dropped.
pub struct OpenValue(Value);

impl std::ops::Deref for OpenValue {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.0
    }
}

impl Drop for OpenValue {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Blob(bytes) => bytes.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Map(items) => items.values_mut().for_each(wipe),
        _ => {}
    }
}

impl Ctx {
    /// The value of an expression, for those who hand it to the world.
    ///
    /// # Errors
    /// When the run may not open a secret of it (`secrets.get:NAME`), there is none of that name, or nothing at hand opens
    /// it.
    pub fn open(&self, secret: &Secret) -> Result<Opened, OpError> {
        open_with(secret, |reference| {
            self.permit(&format!("secrets.get:{}", reference.name))?;
            self.vault()?.open(&self.secrets_place(), reference)
        })
    }

    /// As [`Ctx::open`], where it must be a text.
    ///
    /// # Errors
    /// As [`Ctx::open`], and when it is none.
    pub fn open_text(&self, secret: &Secret) -> Result<Zeroizing<String>, OpError> {
        let opened = self.open(secret)?;
        let text = std::str::from_utf8(&opened)
            .map_err(|_| OpError::invalid(format!("{secret} is no text, and a text belongs here")))?;
        Ok(Zeroizing::new(text.to_owned()))
    }

    /// The value with the secrets in it open; a secret that is no text becomes a blob.
    ///
    /// # Errors
    /// As [`Ctx::open`].
    pub fn open_value(&self, value: &Value) -> Result<OpenValue, OpError> {
        let mut open = OpenValue(value.clone());
        self.open_in(&mut open.0)?;
        Ok(open)
    }

    fn open_in(&self, value: &mut Value) -> Result<(), OpError> {
        match value {
            Value::Secret(secret) => {
                let opened = self.open(secret)?;
                *value = match std::str::from_utf8(&opened) {
                    Ok(text) => Value::from(text),
                    Err(_) => Value::Blob(opened.to_vec()),
                };
                Ok(())
            }
            Value::Array(items) => items.iter_mut().try_for_each(|item| self.open_in(item)),
            Value::Map(items) => items.values_mut().try_for_each(|item| self.open_in(item)),
            _ => Ok(()),
        }
    }

    /// Who keeps secrets.
    ///
    /// # Errors
    /// When this binary was put together without secrets.
    pub fn vault(&self) -> Result<Arc<dyn Vault>, OpError> {
        self.port::<dyn Vault>()
    }

    /// What the secrets of this run belong to.
    #[must_use]
    pub fn secrets_place(&self) -> std::path::PathBuf {
        self.env(SECRETS_VARIABLE).map_or_else(|| self.cwd().to_path_buf(), |path| self.resolve(path))
    }
}

/// A map of texts that may be secrets.
pub type SecretTexts = BTreeMap<String, SecretText>;
