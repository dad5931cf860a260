//! Age files: the base of everything else. The format and its keys come from the crate `age`; here are the limits, the
//! errors for people, and which keys are at hand.
//!
//! Format: <https://age-encryption.org/v1>.

mod identity;
mod plugin;
mod recipient;
mod ssh;

use std::io::{Read, Write};
use std::sync::Arc;
use std::time::Duration;

use age::armor::{ArmoredReader, ArmoredWriter, Format};
pub use age::secrecy::{ExposeSecret, SecretString};
use age::{DecryptError, Decryptor, EncryptError, Encryptor};
use zeroize::Zeroizing;

use crate::error::{Error, Kind, Result};
use crate::{PLAIN_BYTES_MAX, Plain};

pub(crate) use identity::IDENTITY_FILE_BYTES_MAX;
pub use identity::Keyring;
pub use recipient::{RECIPIENTS_MAX, check as check_recipient};

/// How an armored file begins.
const ARMOR_BEGIN: &[u8] = b"-----BEGIN AGE ENCRYPTED FILE-----";
/// How a binary file begins.
const MAGIC: &[u8] = b"age-encryption.org/";
/// The hardest passphrase work that is done, as a power of two: about 1 GiB of memory and seconds of work.
pub const WORK_FACTOR_LOG2_MAX: u8 = 20;
/// The passphrase work of files written here, as a power of two: that of the `age` command.
pub const WORK_FACTOR_LOG2: u8 = 18;

/// Where passphrases come from: a person at a terminal, a file, or nowhere.
pub trait Passphrases: Send + Sync {
    /// The passphrase for `what`, or nothing when nobody can be asked.
    fn ask(&self, what: &str) -> Option<SecretString>;
    /// A message of a plugin, such as "touch your key".
    fn tell(&self, _message: &str) {}
    /// How long plugins may take for one file: more where a person has to enter a PIN or to touch a key.
    fn plugin_time(&self) -> Duration {
        Duration::from_secs(plugin::ALONE_SECONDS_MAX)
    }
}

/// Nobody to ask.
pub struct NoPassphrases;

impl Passphrases for NoPassphrases {
    fn ask(&self, _what: &str) -> Option<SecretString> {
        None
    }
}

/// What the crate `age` asks through.
#[derive(Clone)]
pub(crate) struct Asker(pub(crate) Arc<dyn Passphrases>);

impl age::Callbacks for Asker {
    fn display_message(&self, message: &str) {
        self.0.tell(message);
    }

    fn confirm(&self, _message: &str, _yes: &str, _no: Option<&str>) -> Option<bool> {
        None
    }

    fn request_public_string(&self, _description: &str) -> Option<String> {
        None
    }

    fn request_passphrase(&self, description: &str) -> Option<SecretString> {
        self.0.ask(description)
    }
}

/// A new identity, as the text of a file that `age-keygen` would write, and its recipient. `now` is the time in RFC 3339.
#[must_use]
pub fn generate(now: &str) -> (Zeroizing<String>, String) {
    let key = age::x25519::Identity::generate();
    let (public, secret) = (key.to_public().to_string(), key.to_string());
    let text = format!("# created: {now}\n# public key: {public}\n{}\n", secret.expose_secret());
    (Zeroizing::new(text), public)
}

/// The recipients of an SSH public key, as in a `.pub` file or behind the name of its host as `ssh-keyscan` prints it:
/// the age recipient that an Ed25519 key converts to, and the key itself. Nothing for any other text.
#[must_use]
pub fn recipients_of_public(text: &str) -> Vec<String> {
    let named = text.split_whitespace().take(2).position(|part| part.starts_with("ssh-"));
    let mut parts = text.split_whitespace().skip(named.unwrap_or(0));
    let (Some(kind), Some(body)) = (parts.next(), parts.next()) else { return Vec::new() };
    let public = format!("{kind} {body}");
    if !kind.starts_with("ssh-") || check_recipient(&public).is_err() {
        return Vec::new();
    }
    ssh::recipient(&public).into_iter().chain([public]).collect()
}

/// Whether this looks like an age file, armored or binary.
#[must_use]
pub fn is_age(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC) || bytes.trim_ascii_start().starts_with(ARMOR_BEGIN)
}

/// Whether this is an armored age file.
#[must_use]
pub fn is_armored(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().starts_with(ARMOR_BEGIN)
}

/// Decrypts an age file, armored or binary.
///
/// # Errors
/// When it is damaged or was changed, when no identity opens it, when it is larger than [`PLAIN_BYTES_MAX`].
pub fn open(bytes: &[u8], keyring: &Keyring) -> Result<Plain> {
    open_named(bytes, keyring, "the file")
}

/// As [`open`]; `what` names the file to whom is asked for its passphrase.
pub(crate) fn open_named(bytes: &[u8], keyring: &Keyring, what: &str) -> Result<Plain> {
    let decryptor =
        Decryptor::new_buffered(ArmoredReader::new(bytes)).map_err(|error| cannot_open(&error))?;
    let stream = if decryptor.is_scrypt() {
        let passphrase = keyring.passphrases().ask(what).ok_or_else(|| {
            Error::new(
                Kind::NoIdentity,
                format!("{what} is encrypted with a passphrase, and there is nobody to ask"),
            )
            .hint("run this at a terminal, or name a file that holds the passphrase with --passphrase-file")
        })?;
        let mut identity = age::scrypt::Identity::new(passphrase);
        identity.set_max_work_factor(WORK_FACTOR_LOG2_MAX);
        decryptor.decrypt(std::iter::once(&identity as &dyn age::Identity)).map_err(|error| match error {
            DecryptError::DecryptionFailed | DecryptError::NoMatchingKeys => {
                Error::new(Kind::NoIdentity, "the passphrase is wrong")
            }
            other => cannot_open(&other),
        })?
    } else {
        let opened = match keyring.has_plugins() {
            true => with_plugins(keyring.passphrases(), || decryptor.decrypt(keyring.identities()))?,
            false => decryptor.decrypt(keyring.identities()),
        };
        opened.map_err(|error| match error {
            DecryptError::NoMatchingKeys => keyring.none_opens(what),
            DecryptError::Io(_) if keyring.has_plugins() => {
                Error::new(Kind::NoIdentity, "a plugin ended before it answered, or the file ends too early")
            }
            other => cannot_open(&other),
        })?
    };
    let mut plain = Zeroizing::new(Vec::with_capacity(bytes.len().min(PLAIN_BYTES_MAX)));
    let read = stream.take(PLAIN_BYTES_MAX as u64 + 1).read_to_end(&mut plain);
    // The stream is authenticated in pieces: what came before a bad piece is dropped with the buffer.
    read.map_err(|_| {
        Error::tampered("the age file is damaged or was changed: a part of it cannot be verified")
    })?;
    if plain.len() > PLAIN_BYTES_MAX {
        return Err(crate::too_large("the decrypted file", PLAIN_BYTES_MAX));
    }
    Ok(plain)
}

/// The decrypted file as JSON: `{"data": TEXT}`.
///
/// # Errors
/// When it is no text.
pub fn to_json(plain: &[u8]) -> Result<Zeroizing<String>> {
    let text = std::str::from_utf8(plain)
        .map_err(|_| Error::unsupported("the file is no text, so it cannot be written as JSON"))?;
    let quoted = crate::sops::json_text(text);
    let mut json = Zeroizing::new(String::with_capacity(quoted.len() + 16));
    json.push_str("{\"data\":");
    json.push_str(&quoted);
    json.push('}');
    Ok(json)
}

/// Encrypts for `recipients`.
///
/// # Errors
/// When there is none or too many, when one is no recipient, when a plugin fails.
pub fn seal(
    plain: &[u8],
    recipients: &[String],
    armor: bool,
    passphrases: &Arc<dyn Passphrases>,
) -> Result<Vec<u8>> {
    let keys = recipient::parse_all(recipients, passphrases)?;
    let encryptor = Encryptor::with_recipients(keys.iter().map(|key| key.as_ref() as &dyn age::Recipient));
    let encryptor = encryptor.map_err(|error| cannot_seal(&error))?;
    match recipients.iter().any(|text| text.parse::<age::plugin::Recipient>().is_ok()) {
        true => with_plugins(passphrases, || write(encryptor, plain, armor))?,
        false => write(encryptor, plain, armor),
    }
}

/// What `act` gives, unless the plugins that it talks to do not answer.
fn with_plugins<T>(passphrases: &Arc<dyn Passphrases>, act: impl FnOnce() -> T) -> Result<T> {
    let limit = passphrases.plugin_time();
    plugin::limited(limit, act).ok_or_else(|| {
        Error::new(Kind::NoIdentity, format!("a plugin did not answer within {} s and was killed", limit.as_secs()))
            .hint("see whether its device is there; what has to be touched or wants a PIN needs a person: use `hob secrets` at a terminal")
    })
}

/// Encrypts with a passphrase.
///
/// # Errors
/// When memory is short.
pub fn seal_with_passphrase(plain: &[u8], passphrase: SecretString, armor: bool) -> Result<Vec<u8>> {
    let mut recipient = age::scrypt::Recipient::new(passphrase);
    recipient.set_work_factor(WORK_FACTOR_LOG2);
    let encryptor = Encryptor::with_recipients(std::iter::once(&recipient as &dyn age::Recipient));
    write(encryptor.map_err(|error| cannot_seal(&error))?, plain, armor)
}

fn write(encryptor: Encryptor, plain: &[u8], armor: bool) -> Result<Vec<u8>> {
    let format = if armor { Format::AsciiArmor } else { Format::Binary };
    let failed = |error: std::io::Error| Error::new(Kind::Io, format!("encrypting: {error}"));
    let armored = ArmoredWriter::wrap_output(Vec::new(), format).map_err(failed)?;
    let mut writer = encryptor.wrap_output(armored).map_err(failed)?;
    writer.write_all(plain).map_err(failed)?;
    writer.finish().and_then(ArmoredWriter::finish).map_err(failed)
}

fn cannot_open(error: &DecryptError) -> Error {
    match error {
        DecryptError::InvalidHeader | DecryptError::Io(_) => Error::malformed(
            "this is no age file, or its header is damaged",
        )
        .hint("an age file begins with `age-encryption.org/v1` or `-----BEGIN AGE ENCRYPTED FILE-----`"),
        DecryptError::UnknownFormat => Error::unsupported(
            "the file is of an unknown version of the age format, or its header is damaged",
        ),
        DecryptError::InvalidMac => Error::tampered("the header of the age file was changed"),
        DecryptError::ExcessiveWork { required, .. } => Error::new(
            Kind::TooLarge,
            format!(
                "its passphrase takes a work factor of 2^{required}; at most 2^{WORK_FACTOR_LOG2_MAX} is done"
            ),
        ),
        DecryptError::KeyDecryptionFailed => Error::new(
            Kind::NoIdentity,
            "the passphrase of the identity is wrong, or there was nobody to ask for it",
        ),
        DecryptError::DecryptionFailed => {
            Error::tampered("the age file holds a stanza for one of your identities that it cannot open")
        }
        DecryptError::Plugin(_) | DecryptError::PluginResolve(_) => {
            Error::new(Kind::NoIdentity, format!("a plugin failed: {}", one_line(&error.to_string())))
        }
        _ => Error::malformed("the age file cannot be read"),
    }
}

fn cannot_seal(error: &EncryptError) -> Error {
    match error {
        EncryptError::MissingRecipients => Error::rules("there is no recipient to encrypt for")
            .hint("name one with --recipient age1…, or write a rule into .sops.yaml or secrets.nix"),
        // All else is written to memory.
        EncryptError::Io(_) => Error::rules("a plugin ended before it answered"),
        other => Error::rules(format!("these recipients cannot be used: {}", one_line(&other.to_string()))),
    }
}

pub(crate) fn one_line(text: &str) -> String {
    // Marks for names in texts of both directions, which the crate `age` sets.
    let text = text.replace(['\u{2068}', '\u{2069}'], "");
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
