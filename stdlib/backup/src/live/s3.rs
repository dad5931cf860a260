//! A repository in a bucket of S3, laid out as restic does it.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use hob_model::OpError;
use hob_std_s3::Address;
use hob_std_s3::live::Live;
use hob_std_s3::port::{About, Bucket, Connection, Objects as _};

use crate::port::{Area, Login, Store};

#[derive(Debug)]
pub(super) struct S3 {
    bucket: Arc<dyn Bucket>,
    prefix: String,
}

impl S3 {
    pub(super) fn new(address: Address, login: Login) -> Result<Self, OpError> {
        let Login { user, secret, region } = login;
        let login = match (user, secret) {
            (Some(access_key), Some(secret_key)) => {
                Some(hob_std_s3::port::Login { access_key, secret_key, session_token: None })
            }
            (None, None) => None,
            _ => {
                return Err(OpError::invalid(format!("s3:{address}: half of its login is missing")).hint(
                    "give the access key as `user` and the secret key as `secret` beside `repository`",
                ));
            }
        };
        let prefix = address.prefix.clone();
        let to = Connection { address, region, is_virtual: None, ca: None, login };
        Ok(Self { bucket: Live.open(to)?, prefix })
    }

    fn key(&self, area: Area, name: &str) -> String {
        match area {
            Area::Config => format!("{}{}", self.prefix, area.as_str()),
            Area::Data => {
                format!("{}{}/{}/{name}", self.prefix, area.as_str(), name.get(..2).unwrap_or("00"))
            }
            _ => format!("{}{}/{name}", self.prefix, area.as_str()),
        }
    }
}

impl Store for S3 {
    fn create(&self) -> Result<(), OpError> {
        self.bucket.create().map(drop)
    }

    fn list(&self, area: Area) -> Result<Vec<(String, u64)>, OpError> {
        if area == Area::Config {
            let there = self.bucket.head(&self.key(area, ""))?;
            return Ok(there.map(|it| (area.as_str().to_owned(), it.bytes)).into_iter().collect());
        }
        let folder = format!("{}{}/", self.prefix, area.as_str());
        let all = match self.bucket.list_all(&folder) {
            Err(error) if error.kind == hob_model::ErrorKind::NotFound => Vec::new(),
            other => other?,
        };
        let name = |key: &str| key.rsplit('/').next().unwrap_or_default().to_owned();
        Ok(all.into_iter().map(|it| (name(&it.key), it.bytes)).filter(|it| !it.0.is_empty()).collect())
    }

    fn read(&self, area: Area, name: &str, range: Option<Range<u64>>) -> Result<Bytes, OpError> {
        self.bucket.get(&self.key(area, name), range, None)
    }

    fn write(&self, area: Area, name: &str, content: &[Bytes]) -> Result<(), OpError> {
        let mut whole = match content {
            [one] => one.clone(),
            many => many.concat().into(),
        };
        self.bucket.put(&self.key(area, name), &mut whole, &About::default()).map(drop)
    }

    fn remove(&self, area: Area, name: &str) -> Result<(), OpError> {
        self.bucket.remove(&[self.key(area, name)])
    }
}
