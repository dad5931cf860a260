//! How objects are reached.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hob_model::{OpError, Timestamp};
use hob_primitive::Opened;
use url::Url;

use crate::address::Address;

/// Who asks.
pub struct Login {
    /// The access key.
    pub access_key: String,
    /// The secret key, wiped when dropped.
    pub secret_key: Opened,
    /// The token of temporary keys.
    pub session_token: Option<Opened>,
}

/// A bucket, and how its server is spoken to.
pub struct Connection {
    /// Where it is.
    pub address: Address,
    /// The region, where it is another one than the address tells.
    pub region: Option<String>,
    /// Whether the bucket is part of the host; `None` for what is usual with that server.
    pub is_virtual: Option<bool>,
    /// A file with further certificate authorities (PEM).
    pub ca: Option<PathBuf>,
    /// Whose objects; `None` for what is public.
    pub login: Option<Login>,
}

/// Servers with objects.
pub trait Objects: Send + Sync {
    /// The bucket at the other end. It need not exist: nothing is asked yet.
    ///
    /// # Errors
    /// `invalid` when there can be none.
    fn open(&self, to: Connection) -> Result<Arc<dyn Bucket>, OpError>;
}

/// What is known of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// Its size.
    pub bytes: u64,
    /// The version of its content, as the server tells it apart.
    pub etag: String,
    /// When it was written.
    pub modified: Option<Timestamp>,
    /// How the server stores it; empty for the usual way.
    pub storage_class: String,
    /// What it is, as a MIME type; lists do not tell.
    pub content_type: String,
    /// What who wrote it noted beside it, by lower-case name; lists do not tell.
    pub metadata: Vec<(String, String)>,
}

/// A part of a list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Objects, by key.
    pub objects: Vec<Object>,
    /// Beginnings of keys, up to the delimiter, of what was not listed one by one.
    pub prefixes: Vec<String>,
    /// Where the list goes on.
    pub next: Option<String>,
}

/// What is listed.
#[derive(Clone, Debug, Default)]
pub struct Listing<'l> {
    /// The beginning of the keys.
    pub prefix: &'l str,
    /// What follows it up to this is told as one.
    pub delimiter: Option<&'l str>,
    /// The most entries; servers give a thousand at most.
    pub limit: Option<usize>,
    /// Where it goes on: [`Page::next`].
    pub after: Option<&'l str>,
}

/// What is said of an object when it is written.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// What it is, as a MIME type.
    pub content_type: Option<String>,
    /// How the server stores it.
    pub storage_class: Option<String>,
    /// Notes beside it, by lower-case name.
    pub metadata: Vec<(String, String)>,
}

/// The content of an object that is to be written. It may be read again.
pub trait Source {
    /// How much there is, in bytes.
    fn bytes(&self) -> u64;

    /// A part of it.
    ///
    /// # Errors
    /// When it cannot be read any more, or the writing is to end.
    fn read(&mut self, range: Range<u64>) -> Result<Bytes, OpError>;
}

impl Source for Bytes {
    fn bytes(&self) -> u64 {
        self.len() as u64
    }

    fn read(&mut self, range: Range<u64>) -> Result<Bytes, OpError> {
        let at = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX).min(self.len());
        Ok(self.slice(at(range.start)..at(range.end)))
    }
}

/// What an address that is given away allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// To get the object.
    Get,
    /// To write it.
    Put,
}

/// A bucket and its objects. Errors name the bucket, and say what to do.
pub trait Bucket: Send + Sync + fmt::Debug {
    /// The buckets of the server that the login may see, with the times when they were made.
    ///
    /// # Errors
    /// When they cannot be listed.
    fn buckets(&self) -> Result<Vec<(String, Option<Timestamp>)>, OpError>;

    /// Makes the bucket, unless it is there; whether it was made.
    ///
    /// # Errors
    /// When it cannot, or somebody else has one of that name.
    fn create(&self) -> Result<bool, OpError>;

    /// Removes the empty bucket; whether it was there.
    ///
    /// # Errors
    /// `conflict` while it has objects.
    fn delete(&self) -> Result<bool, OpError>;

    /// Writes an object: whole, or not at all.
    ///
    /// # Errors
    /// When it cannot, or the content cannot be read.
    fn put(&self, key: &str, content: &mut dyn Source, about: &About) -> Result<Object, OpError>;

    /// What is known of an object; `None` where there is none.
    ///
    /// # Errors
    /// When the server does not tell.
    fn head(&self, key: &str) -> Result<Option<Object>, OpError>;

    /// The content of an object, or `range` of it, and with `etag` only that version of it.
    ///
    /// # Errors
    /// `not_found`, `conflict` when it is another version, `failed` when it is shorter than `range`.
    fn get(&self, key: &str, range: Option<Range<u64>>, etag: Option<&str>) -> Result<Bytes, OpError>;

    /// A part of the list of objects.
    ///
    /// # Errors
    /// When it cannot be listed.
    fn list(&self, listing: &Listing<'_>) -> Result<Page, OpError>;

    /// Removes objects. What is not there is removed.
    ///
    /// # Errors
    /// When one of them cannot be removed.
    fn remove(&self, keys: &[String]) -> Result<(), OpError>;

    /// An address that anybody may use for a while from `now` on.
    ///
    /// # Errors
    /// Without a login.
    fn presign(&self, key: &str, right: Right, lasting: Duration, now: Timestamp) -> Result<Url, OpError>;

    /// All objects with this beginning of their keys, by key.
    ///
    /// # Errors
    /// As [`Bucket::list`].
    fn list_all(&self, prefix: &str) -> Result<Vec<Object>, OpError> {
        let (mut all, mut next) = (Vec::new(), None);
        loop {
            let page = self.list(&Listing { prefix, after: next.as_deref(), ..Listing::default() })?;
            all.extend(page.objects);
            next = page.next;
            if next.is_none() {
                return Ok(all);
            }
        }
    }
}
