//! The identities at hand: private keys of age and SSH, also behind a passphrase, and those of plugins.

use std::sync::Arc;

use age::plugin::IdentityPluginV1;
use zeroize::Zeroizing;

use super::{Asker, Passphrases, ssh};
use crate::error::{Error, Kind, Result};

/// The most identities that are held at once.
const IDENTITIES_MAX: usize = 1_024;
/// The largest file of identities, in bytes.
pub(crate) const IDENTITY_FILE_BYTES_MAX: usize = 1024 * 1024;

type Key = Box<dyn age::Identity + Send + Sync>;

/// The private keys at hand, and whom to ask for passphrases.
pub struct Keyring {
    keys: Vec<Key>,
    /// Those of plugins, which may ask a person for something: they are tried when no other key opens a file.
    plugins: Vec<Key>,
    publics: Vec<String>,
    looked: Vec<String>,
    problems: Vec<String>,
    passphrases: Arc<dyn Passphrases>,
}

impl Keyring {
    /// An empty one.
    #[must_use]
    pub fn new(passphrases: Arc<dyn Passphrases>) -> Self {
        Self {
            keys: Vec::new(),
            plugins: Vec::new(),
            publics: Vec::new(),
            looked: Vec::new(),
            problems: Vec::new(),
            passphrases,
        }
    }

    /// Whom to ask.
    #[must_use]
    pub fn passphrases(&self) -> &Arc<dyn Passphrases> {
        &self.passphrases
    }

    /// Whether it holds no identity.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn len(&self) -> usize {
        self.keys.len() + self.plugins.len()
    }

    /// Whether plugins may be run.
    pub(super) fn has_plugins(&self) -> bool {
        !self.plugins.is_empty()
    }

    /// The recipients that belong to the identities, as far as they are known without a passphrase or a plugin.
    #[must_use]
    pub fn publics(&self) -> &[String] {
        &self.publics
    }

    /// Notes a place where no identity was found, for the error when none opens a file.
    pub fn looked(&mut self, place: impl Into<String>) {
        self.looked.push(place.into());
    }

    /// Notes why a place could not be used, for the error when none opens a file.
    pub fn problem(&mut self, problem: impl Into<String>) {
        self.problems.push(problem.into());
    }

    pub(super) fn identities(&self) -> impl Iterator<Item = &dyn age::Identity> {
        self.keys.iter().chain(&self.plugins).map(|key| key.as_ref() as &dyn age::Identity)
    }

    /// Takes in the identities of a text: lines of age identities, an SSH private key, or either encrypted with a
    /// passphrase. `origin` names it in errors.
    ///
    /// # Errors
    /// When there is anything else in it. The error names the line and never its content.
    pub fn add(&mut self, text: &[u8], origin: &str) -> Result<()> {
        if text.len() > IDENTITY_FILE_BYTES_MAX {
            return Err(crate::too_large(origin, IDENTITY_FILE_BYTES_MAX));
        }
        let before = self.len();
        if super::is_age(text) {
            let opened = self.open_encrypted(text, origin)?;
            self.add_lines(&opened, origin)?;
        } else if text.trim_ascii_start().starts_with(b"-----BEGIN") {
            self.add_ssh(text, origin)?;
        } else {
            self.add_lines(text, origin)?;
        }
        if self.len() == before {
            self.looked(format!("{origin} (it holds none)"));
        }
        Ok(())
    }

    fn push(&mut self, key: Key, public: Option<String>) -> Result<()> {
        self.has_room()?;
        self.keys.push(key);
        self.publics.extend(public);
        Ok(())
    }

    fn has_room(&self) -> Result<()> {
        if self.len() < IDENTITIES_MAX {
            return Ok(());
        }
        Err(Error::new(Kind::TooLarge, format!("more than {IDENTITIES_MAX} identities")))
    }

    fn add_lines(&mut self, text: &[u8], origin: &str) -> Result<()> {
        let text = std::str::from_utf8(text)
            .map_err(|_| Error::malformed(format!("{origin} is no text, so it holds no identities")))?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if let Ok(key) = line.parse::<age::x25519::Identity>() {
                let public = key.to_public().to_string();
                self.push(Box::new(key), Some(public))?;
            } else if let Ok(key) = line.parse::<age::plugin::Identity>() {
                let asker = Asker(Arc::clone(&self.passphrases));
                match IdentityPluginV1::new(key.plugin(), std::slice::from_ref(&key), asker) {
                    Ok(plugin) => {
                        self.has_room()?;
                        self.plugins.push(Box::new(plugin));
                    }
                    Err(_) => self.problem(format!(
                        "{origin} holds an identity of the plugin `{0}`, and `age-plugin-{0}` is not installed",
                        key.plugin()
                    )),
                }
            } else {
                let what = if line.starts_with("AGE-SECRET-KEY-PQ-1") {
                    "a post-quantum identity, which is not supported yet"
                } else {
                    "no identity"
                };
                return Err(Error::malformed(format!("line {} of {origin} is {what}", number + 1))
                    .hint("an identity is AGE-SECRET-KEY-1…, AGE-PLUGIN-… or an SSH private key"));
            }
        }
        Ok(())
    }

    fn add_ssh(&mut self, text: &[u8], origin: &str) -> Result<()> {
        // One line end, whatever an editor or a secret store made of it: the parsers insist.
        let mut text = Zeroizing::new(text.trim_ascii().to_vec());
        text.push(b'\n');
        let read = age::ssh::Identity::from_buffer(text.as_slice(), Some(origin.to_owned()));
        let key = read.map_err(|_| {
            Error::malformed(format!("{origin} is no SSH private key that can be read"))
                .hint("keys of `ssh-keygen -t ed25519` and `-t rsa` can be used; `ssh-keygen -p -f KEY` renews old files")
        })?;
        let public = age::ssh::Recipient::try_from(key.clone()).ok().map(|public| public.to_string());
        match key {
            age::ssh::Identity::Unencrypted(key) => {
                if let Some(converted) = std::str::from_utf8(&text).ok().and_then(ssh::x25519) {
                    let public = converted.to_public().to_string();
                    self.push(Box::new(converted), Some(public))?;
                }
                self.push(Box::new(age::ssh::Identity::from(key)), public)
            }
            age::ssh::Identity::Encrypted(key) => {
                let asker = Asker(Arc::clone(&self.passphrases));
                let key = age::ssh::Identity::from(key).with_callbacks(asker);
                self.push(Box::new(key), public)
            }
            age::ssh::Identity::Unsupported(_) => {
                Err(Error::unsupported(format!("{origin} is an SSH key of a type that age has no use for"))
                    .hint("use an Ed25519 or RSA key, or make one with `age-keygen`"))
            }
        }
    }

    /// The content of an identity file that is encrypted with a passphrase.
    fn open_encrypted(&self, text: &[u8], origin: &str) -> Result<crate::Plain> {
        let keyring = Self::new(Arc::clone(&self.passphrases));
        super::open_named(text, &keyring, origin)
    }

    /// The error when no identity opens `what`.
    pub(crate) fn none_opens(&self, what: &str) -> Error {
        let message = match self.len() {
            0 => format!("there is no identity to open {what} with"),
            1 => format!("the one identity at hand does not open {what}"),
            count => format!("none of the {count} identities at hand opens {what}"),
        };
        let mut hint = String::new();
        if !self.problems.is_empty() {
            hint = format!("{}; ", self.problems.join("; "));
        }
        if self.is_empty() && !self.looked.is_empty() {
            hint.push_str(&format!("looked in {}; ", self.looked.join(", ")));
        }
        hint.push_str("name one with --identity, or have the file re-keyed for this host");
        Error::new(Kind::NoIdentity, message).hint(hint)
    }
}
