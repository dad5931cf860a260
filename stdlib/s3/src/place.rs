//! A bucket, as scripts write it.

use std::sync::Arc;

use hob_model::{OpError, Secret, Value};
use hob_primitive::{Ctx, FromValue, Mismatch, Nested, Options, PathText, SecretText};

use crate::address::Address;
use crate::port::{Bucket, Connection, Login, Objects};

/// How a bucket is written as a map.
#[derive(Clone, Debug, PartialEq, Eq, Options)]
pub(crate) struct PlaceOptions {
    /// Where it is: `https://HOST/BUCKET`.
    bucket: String,
    /// The access key.
    access_key: Option<String>,
    /// The secret key.
    secret_key: Option<SecretText>,
    /// The token of temporary keys.
    session_token: Option<SecretText>,
    /// The region, where the address does not tell.
    region: Option<String>,
    /// Whether the bucket is part of the path (`"path"`) or of the host (`"host"`).
    style: Option<String>,
    /// A file with further certificate authorities (PEM).
    ca: Option<PathText>,
}

/// A bucket: its address, or a map with its address and login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place(PlaceOptions);

impl FromValue for Place {
    const KIND: &'static str = "string or map";
    const TAKES_SECRETS: bool = true;

    fn from_value(value: Value) -> Result<Self, Mismatch> {
        let value = match value {
            Value::String(_) => Value::map([("bucket", value)]),
            Value::Map(_) => value,
            other => return Err(Mismatch::of::<Self>(&other)),
        };
        Nested::read(value).map(Self)
    }
}

/// What a call works on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// A bucket.
    Bucket,
    /// The server, whatever bucket is named.
    Server,
}

impl Place {
    /// The bucket at the other end. Nothing is asked yet.
    ///
    /// # Errors
    /// `invalid` for what is no bucket, and halves of logins.
    pub(crate) fn open(self, cx: &Ctx, reach: Reach) -> Result<Arc<dyn Bucket>, OpError> {
        let place = self.0;
        let address = Address::parse(&place.bucket)?;
        if reach == Reach::Bucket && address.bucket.is_empty() {
            return Err(OpError::invalid(format!("{address} names no bucket"))
                .hint("write it as https://minio.lan:9000/BUCKET"));
        }
        if !address.prefix.is_empty() {
            return Err(OpError::invalid(format!("{address} is more than a bucket"))
                .hint("give keys of objects, and their beginnings, apart"));
        }
        let login = login(cx, place.access_key, place.secret_key, place.session_token)?;
        let is_virtual = match place.style.as_deref() {
            None => None,
            Some("path") => Some(false),
            Some("host") => Some(true),
            Some(other) => {
                return Err(OpError::invalid(format!("`style: \"{other}\"`: expected \"path\" or \"host\"")));
            }
        };
        let ca = place.ca.map(|path| cx.resolve(&path.0));
        cx.port::<dyn Objects>()?.open(Connection { address, region: place.region, is_virtual, ca, login })
    }
}

fn login(
    cx: &Ctx,
    access_key: Option<String>,
    secret_key: Option<SecretText>,
    session_token: Option<SecretText>,
) -> Result<Option<Login>, OpError> {
    let open = |secret: &Secret| cx.open(secret);
    let session_token = session_token.map(|token| open(&token.0)).transpose()?;
    match (access_key, secret_key) {
        (Some(access_key), Some(secret)) => {
            Ok(Some(Login { access_key, secret_key: open(&secret.0)?, session_token }))
        }
        (None, None) => Ok(None),
        (Some(_), None) => Err(OpError::invalid("`access_key` has no `secret_key` beside it")
            .hint("write `secret_key: secrets::get(\"minio\")`")),
        (None, Some(_)) => Err(OpError::invalid("`secret_key` has no `access_key` beside it")),
    }
}
