//! One encrypted value: `ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]`.
//!
//! AES-256-GCM with the path of the value as additional data. The `sops` command writes nonces of 32 bytes; other
//! lengths that a writer may have used are read.

use aes_gcm::aead::generic_array::typenum::{U12, U16, U24, U32, Unsigned};
use aes_gcm::aead::generic_array::{ArrayLength, GenericArray};
use aes_gcm::aead::{AeadInPlace, KeyInit};
use aes_gcm::{AesGcm, aes::Aes256};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::value::{Type, Value};
use crate::error::{Error, Result};

/// How long the data key of a file is.
pub(super) const KEY_BYTES: usize = 32;
/// How long the nonces are that are written.
const NONCE_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
const BEGIN: &str = "ENC[AES256_GCM,data:";

/// The key that all values of a file are encrypted with; wiped when dropped.
#[derive(Clone)]
pub(super) struct DataKey(Zeroizing<[u8; KEY_BYTES]>);

impl DataKey {
    /// A new one.
    ///
    /// # Panics
    /// When the system gives no randomness, without which nothing may be encrypted.
    #[must_use]
    pub(super) fn generate() -> Self {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        random(key.as_mut());
        Self(key)
    }

    /// The key of these bytes.
    ///
    /// # Errors
    /// When they are not [`KEY_BYTES`].
    pub(super) fn new(bytes: &[u8]) -> Result<Self> {
        let mut key = Zeroizing::new([0; KEY_BYTES]);
        if bytes.len() != KEY_BYTES {
            return Err(Error::malformed(format!(
                "the data key has {} bytes instead of {KEY_BYTES}",
                bytes.len()
            )));
        }
        key.copy_from_slice(bytes);
        Ok(Self(key))
    }

    /// Its bytes.
    #[must_use]
    pub(super) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

/// Fills `bytes` from the system's randomness.
pub(super) fn random(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the system gives randomness");
}

/// Whether `text` has the form of an encrypted value.
#[must_use]
pub(super) fn is_encrypted(text: &str) -> bool {
    text.starts_with(BEGIN) && text.ends_with(']')
}

/// Encrypts a value that stands at `path` (its keys, each followed by `:`).
#[must_use]
pub(super) fn seal(value: &Value, key: &DataKey, path: &str) -> String {
    if value.is_empty() {
        return String::new();
    }
    let mut nonce = [0; NONCE_BYTES];
    random(&mut nonce);
    // The buffer holds the plain text until it is encrypted in place.
    let mut data = value.plain.clone();
    let cipher = AesGcm::<Aes256, U32>::new(key.bytes().into());
    let tag = cipher
        .encrypt_in_place_detached(GenericArray::from_slice(&nonce), path.as_bytes(), &mut data)
        .expect("a value is shorter than 64 GiB");
    format!(
        "{BEGIN}{},iv:{},tag:{},type:{}]",
        STANDARD.encode(&*data),
        STANDARD.encode(nonce),
        STANDARD.encode(tag),
        value.kind.name()
    )
}

/// Decrypts a value that stands at `path`.
///
/// # Errors
/// When it has not the form of a value, or was changed, moved or encrypted with another key.
pub(super) fn open(text: &str, key: &DataKey, path: &str) -> Result<Value> {
    let parts =
        parse(text).ok_or_else(|| Error::malformed("an encrypted value is damaged: it is not `ENC[…]`"))?;
    let kind = Type::parse(parts.kind).ok_or_else(|| {
        Error::unsupported(format!(
            "an encrypted value is of the unknown type `{}`",
            crate::shortened(parts.kind)
        ))
    })?;
    let mut data = Zeroizing::new(parts.data);
    let opened = match parts.nonce.len() {
        12 => open_with::<U12>(key, &parts.nonce, path, &mut data, &parts.tag),
        16 => open_with::<U16>(key, &parts.nonce, path, &mut data, &parts.tag),
        24 => open_with::<U24>(key, &parts.nonce, path, &mut data, &parts.tag),
        32 => open_with::<U32>(key, &parts.nonce, path, &mut data, &parts.tag),
        other => return Err(Error::unsupported(format!("an encrypted value has a nonce of {other} bytes"))),
    };
    if !opened {
        return Err(Error::tampered("an encrypted value was changed, or moved here from another key"));
    }
    Value::checked(kind, data)
}

fn open_with<N: ArrayLength<u8> + Unsigned>(
    key: &DataKey,
    nonce: &[u8],
    path: &str,
    data: &mut [u8],
    tag: &[u8; TAG_BYTES],
) -> bool {
    let cipher = AesGcm::<Aes256, N>::new(key.bytes().into());
    let (nonce, tag) = (GenericArray::from_slice(nonce), GenericArray::from_slice(tag));
    cipher.decrypt_in_place_detached(nonce, path.as_bytes(), data, tag).is_ok()
}

struct Parts<'a> {
    data: Vec<u8>,
    nonce: Vec<u8>,
    tag: [u8; TAG_BYTES],
    kind: &'a str,
}

fn parse(text: &str) -> Option<Parts<'_>> {
    let rest = text.strip_prefix(BEGIN)?.strip_suffix(']')?;
    let (data, rest) = rest.split_once(",iv:")?;
    let (nonce, rest) = rest.split_once(",tag:")?;
    let (tag, kind) = rest.split_once(",type:")?;
    let decode = |text: &str| STANDARD.decode(text).ok();
    Some(Parts { data: decode(data)?, nonce: decode(nonce)?, tag: decode(tag)?.try_into().ok()?, kind })
}
