//! Public keys to encrypt for.

use std::sync::Arc;

use age::plugin::RecipientPluginV1;
use age::ssh::ParseRecipientKeyError;

use super::{Asker, Passphrases, one_line};
use crate::error::{Error, Kind, Result};

/// The most recipients of one file.
pub const RECIPIENTS_MAX: usize = 512;

type Key = Box<dyn age::Recipient + Send>;

/// Whether `text` is a recipient that files can be encrypted for.
///
/// # Errors
/// When it is none, with what it is instead where that is known.
pub fn check(text: &str) -> Result<()> {
    if text.parse::<age::plugin::Recipient>().is_ok() {
        return Ok(());
    }
    parse(text, None).map(drop)
}

pub(super) fn parse_all(texts: &[String], passphrases: &Arc<dyn Passphrases>) -> Result<Vec<Key>> {
    if texts.len() > RECIPIENTS_MAX {
        return Err(Error::new(
            Kind::TooLarge,
            format!("{} recipients; one file takes at most {RECIPIENTS_MAX}", texts.len()),
        ));
    }
    texts.iter().map(|text| parse(text, Some(passphrases))).collect()
}

fn parse(text: &str, passphrases: Option<&Arc<dyn Passphrases>>) -> Result<Key> {
    let text = text.trim();
    if let Ok(key) = text.parse::<age::x25519::Recipient>() {
        return Ok(Box::new(key));
    }
    if text.starts_with("ssh-") || text.starts_with("ecdsa-") || text.starts_with("sk-") {
        return ssh(text);
    }
    if let Ok(key) = text.parse::<age::tag::Recipient>() {
        return Ok(Box::new(key));
    }
    if let Ok(key) = text.parse::<age::tagpq::Recipient>() {
        return Ok(Box::new(key));
    }
    if let (Ok(key), Some(passphrases)) = (text.parse::<age::plugin::Recipient>(), passphrases) {
        let asker = Asker(Arc::clone(passphrases));
        let plugin = RecipientPluginV1::new(key.plugin(), std::slice::from_ref(&key), &[], asker);
        return plugin.map(|plugin| Box::new(plugin) as Key).map_err(|error| {
            Error::rules(format!("the recipient {text}: {}", one_line(&error.to_string())))
                .hint(format!("install `age-plugin-{}`", key.plugin()))
        });
    }
    // What looks like a private key is not repeated.
    if text.to_ascii_uppercase().starts_with("AGE-SECRET-KEY") || text.contains("PRIVATE KEY") {
        return Err(Error::rules("a recipient is a private key; write the public key that belongs to it")
            .hint("`age-keygen -y` prints it; the private key has been shown where it should not be: replace it"));
    }
    Err(Error::rules(format!("`{}` is no recipient", crate::shortened(text)))
        .hint("a recipient is `age1…`, `ssh-ed25519 …` or `ssh-rsa …`"))
}

fn ssh(text: &str) -> Result<Key> {
    text.parse::<age::ssh::Recipient>().map(|key| Box::new(key) as Key).map_err(|error| {
        let what = match error {
            ParseRecipientKeyError::Unsupported(kind) => {
                format!("SSH keys of type {kind} cannot be encrypted for")
            }
            ParseRecipientKeyError::RsaModulusTooLarge => "the RSA key is too large".to_owned(),
            ParseRecipientKeyError::RsaModulusTooSmall => "the RSA key is shorter than 2048 bits".to_owned(),
            _ => format!("`{}` is no SSH public key", crate::shortened(text)),
        };
        Error::rules(what).hint("use an ssh-ed25519 or ssh-rsa key, or an age1… recipient")
    })
}
