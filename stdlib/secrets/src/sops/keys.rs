//! The data key of a file: encrypted for each recipient, or in shares for groups of them.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::cipher::{DataKey, KEY_BYTES};
use super::metadata::{AgeKey, Group, Metadata};
use super::{Policy, shamir};
use crate::Plain;
use crate::age::{Keyring, Passphrases};
use crate::error::{Error, Kind, Result};

/// The longest share of a data key, in bytes.
const SHARE_BYTES_MAX: usize = KEY_BYTES + 1;

/// The data key of a file.
///
/// # Errors
/// When the identities open too few of its groups.
pub(super) fn unwrap(metadata: &Metadata, keyring: &Keyring) -> Result<DataKey> {
    let groups = &metadata.groups;
    if let [group] = groups.as_slice() {
        return DataKey::new(&share(group, keyring)?);
    }
    let needed = metadata.threshold.unwrap_or(groups.len());
    if needed < 2 || needed > groups.len() {
        return Err(Error::malformed(format!(
            "a threshold of {needed} does not fit {} key groups",
            groups.len()
        )));
    }
    let (mut shares, mut problem) = (Vec::new(), None);
    for group in groups {
        match share(group, keyring) {
            Ok(share) => shares.push(share),
            // A changed share is told at once; that an identity is missing, only when too few are left.
            Err(error) if error.kind == Kind::NoIdentity || error.kind == Kind::Unsupported => {
                problem = Some(error)
            }
            Err(error) => return Err(error),
        }
    }
    match problem {
        Some(error) if shares.len() < needed => Err(Error {
            message: format!(
                "the identities at hand open {} of {} key groups, and {needed} are needed: {}",
                shares.len(),
                groups.len(),
                error.message
            ),
            ..error
        }),
        _ => DataKey::new(&shamir::combine(&shares)?),
    }
}

fn share(group: &Group, keyring: &Keyring) -> Result<Plain> {
    if group.age.is_empty() {
        let foreign = Group { age: Vec::new(), foreign: group.foreign.clone() };
        return Err(out_of_scope(&foreign));
    }
    const WHAT: &str = "the data key";
    // That a key is another's is told when there is nothing else to tell: what a plugin said, or a wrong passphrase.
    let anothers = keyring.none_opens(WHAT);
    let weight = |error: &Error| match error.kind {
        Kind::NoIdentity if *error != anothers => 2,
        Kind::NoIdentity => 1,
        _ => 0,
    };
    let mut problem: Option<Error> = None;
    for key in &group.age {
        match crate::age::open_named(key.enc.as_bytes(), keyring, WHAT) {
            Ok(share) if share.len() <= SHARE_BYTES_MAX => return Ok(share),
            Ok(_) => return Err(Error::malformed("the data key is too long")),
            // Another recipient's part may still be whole: what one cannot read, another can.
            Err(error) if problem.as_ref().is_none_or(|before| weight(before) < weight(&error)) => {
                problem = Some(error);
            }
            Err(_) => {}
        }
    }
    Err(problem.expect("there was a key to try"))
}

fn out_of_scope(group: &Group) -> Error {
    let metadata = group.foreign.keys().cloned().collect::<Vec<_>>().join(", ");
    Error::unsupported(format!("the file is encrypted for {metadata} alone, which hob does not open")).hint(
        "add an age recipient with the tool that can open the file: `sops rotate --add-age age1… -i FILE`",
    )
}

/// The groups of a new file, with the data key encrypted for each.
pub(super) fn wrap(key: &DataKey, policy: &Policy, passphrases: &Arc<dyn Passphrases>) -> Result<Vec<Group>> {
    let shares: Vec<Plain> = match policy.groups.len() {
        0 => return Err(no_recipients()),
        1 => vec![Zeroizing::new(key.bytes().to_vec())],
        count => shamir::split(key.bytes(), count, policy.threshold.unwrap_or(count))?,
    };
    let groups = policy.groups.iter().zip(&shares);
    groups.map(|(recipients, share)| wrap_group(share, recipients, passphrases)).collect()
}

fn wrap_group(share: &[u8], recipients: &[String], passphrases: &Arc<dyn Passphrases>) -> Result<Group> {
    if recipients.is_empty() {
        return Err(no_recipients());
    }
    let wrapped = recipients.iter().map(|recipient| {
        let enc = crate::age::seal(share, std::slice::from_ref(recipient), true, passphrases)?;
        let enc = String::from_utf8(enc).expect("armor is ASCII");
        Ok(AgeKey { recipient: recipient.clone(), enc })
    });
    Ok(Group { age: wrapped.collect::<Result<_>>()?, ..Group::default() })
}

fn no_recipients() -> Error {
    Error::rules("there is nobody to encrypt for")
        .hint("name one with --recipient age1…, or write a rule into .sops.yaml")
}
