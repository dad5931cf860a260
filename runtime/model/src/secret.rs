//! Secrets as expressions: what the engine, the journal and plans know of a secret is its name, never its value.

use std::fmt;

use minicbor::data::Type;
use minicbor::{Decoder, Encoder};

use crate::value::ValueError;

/// The most parts of one expression; more come of a loop that has gone wrong.
pub const SECRET_PARTS_MAX: usize = 10_000;

/// How the value of a secret is written where it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretForm {
    /// As it is.
    #[default]
    Plain,
    /// In base64, without the characters at both ends that its neighbours share (RFC 4648).
    Base64 {
        /// How many bytes before it stand in the same group of three: 0, 1 or 2.
        before: u8,
        /// Whether it is the alphabet for addresses (section 5).
        url: bool,
    },
    /// In hexadecimal digits.
    Hex {
        /// Whether they are `A` to `F`.
        upper: bool,
    },
    /// Percent-encoded (RFC 3986).
    Url,
    /// Escaped as in a JSON text (RFC 8259).
    Json,
    /// A part of it, where it is a document itself.
    Part {
        /// `json` or `yaml`.
        format: String,
        /// Which part (RFC 6901).
        pointer: String,
    },
}

impl SecretForm {
    /// The form that its `Display` writes.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "plain" => Self::Plain,
            "hex" => Self::Hex { upper: false },
            "HEX" => Self::Hex { upper: true },
            "url" => Self::Url,
            "escaped" => Self::Json,
            other => match other.split_once(':')? {
                (alphabet @ ("base64" | "base64url"), before @ ("0" | "1" | "2")) => {
                    Self::Base64 { before: before.parse().ok()?, url: alphabet == "base64url" }
                }
                (format @ ("json" | "yaml"), pointer) => {
                    Self::Part { format: format.to_owned(), pointer: pointer.to_owned() }
                }
                _ => return None,
            },
        })
    }
}

impl fmt::Display for SecretForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain => f.write_str("plain"),
            Self::Base64 { before, url: false } => write!(f, "base64:{before}"),
            Self::Base64 { before, url: true } => write!(f, "base64url:{before}"),
            Self::Hex { upper: false } => f.write_str("hex"),
            Self::Hex { upper: true } => f.write_str("HEX"),
            Self::Url => f.write_str("url"),
            Self::Json => f.write_str("escaped"),
            Self::Part { format, pointer } => write!(f, "{format}:{pointer}"),
        }
    }
}

/// A secret by name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SecretRef {
    /// Its name in the homelab.
    pub name: String,
    /// Which version of it: a digest of its encrypted form. The current one when absent.
    pub version: Option<String>,
    /// How it is written.
    pub form: SecretForm,
}

/// A part of an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretPart {
    /// A text that is no secret.
    Text(String),
    /// Bytes that are no secret, and no text.
    Bytes(Vec<u8>),
    /// A secret.
    Reference(SecretRef),
}

/// An expression over secrets: its value is that of its parts, one after the other. It holds none of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Secret(Vec<SecretPart>);

impl Secret {
    /// The secret of this name, in the version that is current when it is opened.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self::reference(SecretRef { name: name.into(), version: None, form: SecretForm::Plain })
    }

    /// This one.
    #[must_use]
    pub fn reference(reference: SecretRef) -> Self {
        Self(vec![SecretPart::Reference(reference)])
    }

    /// Adds a part at the end; texts that follow each other are one, so that the same expression has one form.
    pub fn push(&mut self, part: SecretPart) {
        match (self.0.last_mut(), part) {
            (Some(SecretPart::Text(text)), SecretPart::Text(more)) => text.push_str(&more),
            (Some(SecretPart::Bytes(bytes)), SecretPart::Bytes(more)) => bytes.extend(more),
            (_, SecretPart::Text(text)) if text.is_empty() => {}
            (_, SecretPart::Bytes(bytes)) if bytes.is_empty() => {}
            (_, part) => self.0.push(part),
        }
    }

    /// This expression followed by another.
    #[must_use]
    pub fn then(mut self, other: Self) -> Self {
        other.0.into_iter().for_each(|part| self.push(part));
        self
    }

    /// Its parts.
    #[must_use]
    pub fn parts(&self) -> &[SecretPart] {
        &self.0
    }

    /// The secrets in it.
    pub fn references(&self) -> impl Iterator<Item = &SecretRef> {
        self.0.iter().filter_map(|part| match part {
            SecretPart::Reference(reference) => Some(reference),
            _ => None,
        })
    }

    /// The only part, where that is a secret.
    #[must_use]
    pub fn single(&self) -> Option<&SecretRef> {
        match &self.0[..] {
            [SecretPart::Reference(reference)] => Some(reference),
            _ => None,
        }
    }

    pub(crate) fn encode_into(&self, e: &mut Encoder<&mut Vec<u8>>) {
        const NEVER: &str = "writing to a Vec does not fail";
        e.array(self.0.len() as u64).expect(NEVER);
        for part in &self.0 {
            match part {
                SecretPart::Text(text) => drop(e.str(text).expect(NEVER)),
                SecretPart::Bytes(bytes) => drop(e.bytes(bytes).expect(NEVER)),
                SecretPart::Reference(SecretRef { name, version, form }) => {
                    e.array(3).expect(NEVER).str(name).expect(NEVER);
                    match version {
                        Some(version) => e.str(version).expect(NEVER),
                        None => e.null().expect(NEVER),
                    };
                    e.str(&form.to_string()).expect(NEVER);
                }
            }
        }
    }

    pub(crate) fn decode_from(d: &mut Decoder<'_>) -> Result<Self, ValueError> {
        let len = d.array()?.unwrap_or(0);
        let mut secret = Self::default();
        for _ in 0..len {
            secret.0.push(match d.datatype()? {
                Type::String => SecretPart::Text(d.str()?.to_owned()),
                Type::Bytes => SecretPart::Bytes(d.bytes()?.to_vec()),
                Type::Array => {
                    if d.array()? != Some(3) {
                        return Err(ValueError::Unexpected(Type::Array));
                    }
                    let name = d.str()?.to_owned();
                    let version = match d.datatype()? {
                        Type::Null => d.null().map(|()| None)?,
                        _ => Some(d.str()?.to_owned()),
                    };
                    let form = SecretForm::parse(d.str()?).ok_or(ValueError::Unexpected(Type::String))?;
                    SecretPart::Reference(SecretRef { name, version, form })
                }
                other => return Err(ValueError::Unexpected(other)),
            });
        }
        Ok(secret)
    }
}

impl From<SecretPart> for Secret {
    fn from(part: SecretPart) -> Self {
        let mut secret = Self::default();
        secret.push(part);
        secret
    }
}

impl fmt::Display for Secret {
    /// As people see it: `Bearer «secret token»`. It is never read back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            SecretPart::Text(text) => f.write_str(text),
            SecretPart::Bytes(bytes) => write!(f, "«{} bytes»", bytes.len()),
            SecretPart::Reference(reference) => f.write_str(&concealed(&reference.name)),
        })
    }
}

/// What people see in the place of a secret.
#[must_use]
pub fn concealed(name: &str) -> String {
    format!("«secret {name}»")
}

/// The longest name of a secret, in bytes.
pub const SECRET_NAME_BYTES_MAX: usize = 255;

/// The longest name of a credential of systemd, in bytes.
const CREDENTIAL_BYTES_MAX: usize = 255;

/// Whether this can be the name under which a unit of systemd finds a credential, in all its versions.
#[must_use]
pub fn is_credential(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && name.len() <= CREDENTIAL_BYTES_MAX && name.chars().all(fits)
}

/// Whether this can be the name of a secret: parts between `/` of letters, digits, `-`, `_` and `.`, none of which
/// begins with a dot.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    name.len() <= SECRET_NAME_BYTES_MAX && name.split('/').all(part)
}
