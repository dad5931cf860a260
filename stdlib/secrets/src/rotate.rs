//! Rotating a secret: a new value takes the place of the old one, which is kept until every consumer has switched.
//!
//! How far a rotation is, the disk alone says: each step replaces or removes one file as a whole, so that after a crash at
//! any step there is a working set, and the next attempt goes on where the last one ended.

pub(crate) mod by_run;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hob_model::{OpError, SecretForm, SecretRef};
use hob_primitive::Vault;
use zeroize::Zeroizing;

use crate::age::{self, Keyring, Passphrases};
use crate::error::{Error, Result};
use crate::vault::{LiveVault, Place, format_of};
use crate::{LiveDelivery, live, sops};

/// The shortest and the longest value that is made, in characters.
pub const LENGTH_CHARS: std::ops::RangeInclusive<usize> = 8..=1_024;
/// What values are made of: what needs no quotes anywhere.
const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// How far a rotation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// There is none.
    None,
    /// The old file is kept, and no new value is stored yet.
    Kept,
    /// The new value is stored: consumers are to switch.
    Stored,
}

/// How the file of a secret is written anew.
pub enum Sealing<'a> {
    /// An age file for these recipients.
    Age {
        /// The recipients.
        recipients: &'a [String],
        /// Whether it is a text.
        armor: bool,
        /// Whom plugins ask.
        passphrases: &'a Arc<dyn Passphrases>,
    },
    /// A SOPS file, for whom it is encrypted already.
    Sops {
        /// What opens it.
        keyring: &'a Keyring,
        /// The time in RFC 3339, to the second.
        now: &'a str,
    },
}

/// The rotation of one secret.
pub struct Rotation {
    place: Place,
    previous: PathBuf,
}

impl Rotation {
    /// Of the secret at this place.
    #[must_use]
    pub fn of(place: Place) -> Self {
        let previous = live::previous(&place.file);
        Self { place, previous }
    }

    /// How far it is.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub fn stage(&self) -> Result<Stage> {
        if !live::is_file(&self.previous) {
            return Ok(Stage::None);
        }
        let same = *live::read(&self.previous)? == *live::read(&self.place.file)?;
        Ok(if same { Stage::Kept } else { Stage::Stored })
    }

    /// Keeps the old file beside the new one.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn keep(&self) -> Result<()> {
        live::write(&self.previous, &live::read(&self.place.file)?, true)
    }

    /// Stores a new value.
    ///
    /// # Errors
    /// When it cannot be encrypted, or the file system refuses; then the file is as it was.
    pub fn store(&self, value: &str, sealing: &Sealing<'_>) -> Result<()> {
        let sealed = match (sealing, &self.place.key) {
            (Sealing::Age { recipients, armor, passphrases }, None) => {
                age::seal(value.as_bytes(), recipients, *armor, passphrases)?
            }
            (Sealing::Sops { keyring, now }, Some(key)) => {
                let format = format_of(&self.place.file)
                    .ok_or_else(|| Error::rules("the name of the file says no format"))?;
                let opened = sops::open(&live::read(&self.place.file)?, format, keyring)?;
                opened.with_value(key, value, now)?
            }
            _ => return Err(Error::rules("an age file holds one secret, a SOPS file several")),
        };
        live::write(&self.place.file, &sealed, false)
    }

    /// Drops the old file: every consumer has switched.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn finish(&self) -> Result<()> {
        live::remove(&self.previous)
    }

    /// Puts the old file back.
    ///
    /// # Errors
    /// When no rotation is under way, or the file system refuses.
    pub fn undo(&self) -> Result<()> {
        if !live::is_file(&self.previous) {
            return Err(Error::rules("no rotation is under way"));
        }
        live::write(&self.place.file, &live::read(&self.previous)?, false)?;
        live::remove(&self.previous)
    }
}

/// Fails while a service has another value of a secret of `directory` than the current one, whether or not a hob keeps it
/// just now.
///
/// # Errors
/// Then; and when a service was handed one and nothing at hand tells which.
pub fn all_have_it(
    delivery: &LiveDelivery,
    vault: &LiveVault,
    directory: &Path,
    name: &str,
) -> std::result::Result<(), OpError> {
    let holders = delivery.holders(&vault.find(directory, name)?);
    if holders.is_empty() {
        return Ok(());
    }
    let reference = SecretRef { name: name.to_owned(), version: None, form: SecretForm::Plain };
    let current = vault.open(directory, &reference)?;
    let behind: Vec<_> = holders.into_iter().filter(|it| it.has_other_than(&current)).collect();
    let Some(first) = behind.first() else { return Ok(()) };
    let services: Vec<_> = behind.iter().map(|it| format!("`{}`", it.service)).collect();
    let services = services.join(", ");
    let message = format!("these services have another value of `{name}` than the current one: {services}");
    Err(OpError::conflict(message).hint(format!(
        "`hob up` hands them the current one; where nothing of a service runs any more, remove what it was handed, such as {}",
        first.directory.display()
    )))
}

/// A new value of so many letters and digits.
///
/// # Errors
/// When the system gives no random bytes, or the length is out of range.
pub fn generate(chars: usize) -> Result<Zeroizing<String>> {
    if !LENGTH_CHARS.contains(&chars) {
        let (least, most) = (LENGTH_CHARS.start(), LENGTH_CHARS.end());
        return Err(Error::rules(format!("{chars} characters: expected {least} to {most}")));
    }
    let mut value = Zeroizing::new(String::with_capacity(chars));
    let mut bytes = Zeroizing::new([0_u8; 64]);
    while value.len() < chars {
        getrandom::fill(&mut *bytes).map_err(|error| {
            Error::new(crate::Kind::Io, format!("the system gives no random bytes: {error}"))
        })?;
        // What is past the last whole multiple would make some characters likelier than others.
        let fair = bytes.iter().filter(|byte| usize::from(**byte) < ALPHABET.len() * 4);
        let room = chars - value.len();
        value.extend(fair.map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()])).take(room));
    }
    Ok(value)
}
