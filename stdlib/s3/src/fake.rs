//! Servers in memory.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hob_model::{Digest, OpError, Timestamp};
use url::Url;

use crate::address::check_key;
use crate::port::{About, Bucket, Connection, Listing, Object, Objects, Page, Right, Source};
use crate::problem::refused;

/// As many entries as servers tell at once.
const PAGE: usize = 1000;

/// As much as is read from a source at once.
const PART_BYTES: u64 = 16 << 20;

type Stored = BTreeMap<String, (Object, Bytes)>;

/// Servers in memory: one for each host, without logins.
#[derive(Clone, Debug, Default)]
pub struct Fake(Arc<Mutex<BTreeMap<(Url, String), Stored>>>);

impl Fake {
    /// No buckets.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl Objects for Fake {
    fn open(&self, to: Connection) -> Result<Arc<dyn Bucket>, OpError> {
        let (name, login) = (to.address.to_string(), to.login.map(|login| login.access_key));
        Ok(Arc::new(FakeBucket {
            fake: self.clone(),
            name,
            at: (to.address.endpoint, to.address.bucket),
            login,
        }))
    }
}

#[derive(Debug)]
struct FakeBucket {
    fake: Fake,
    name: String,
    at: (Url, String),
    login: Option<String>,
}

impl FakeBucket {
    fn all(&self) -> MutexGuard<'_, BTreeMap<(Url, String), Stored>> {
        self.fake.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Works on the objects of the bucket.
    fn with<T>(&self, work: impl FnOnce(&mut Stored) -> Result<T, OpError>) -> Result<T, OpError> {
        let absent =
            "<Error><Code>NoSuchBucket</Code><Message>The specified bucket does not exist</Message></Error>";
        work(self.all().get_mut(&self.at).ok_or_else(|| refused(&self.name, 404, absent))?)
    }
}

impl Bucket for FakeBucket {
    fn buckets(&self) -> Result<Vec<(String, Option<Timestamp>)>, OpError> {
        let all = self.all();
        Ok(all.keys().filter(|(host, _)| *host == self.at.0).map(|(_, name)| (name.clone(), None)).collect())
    }

    fn create(&self) -> Result<bool, OpError> {
        Ok(self.all().insert(self.at.clone(), Stored::new()).is_none())
    }

    fn delete(&self) -> Result<bool, OpError> {
        let mut all = self.all();
        match all.get(&self.at) {
            None => Ok(false),
            Some(objects) if !objects.is_empty() => {
                let body = "<Error><Code>BucketNotEmpty</Code><Message>It is not empty</Message></Error>";
                Err(refused(&self.name, 409, body))
            }
            Some(_) => Ok(all.remove(&self.at).is_some()),
        }
    }

    fn put(&self, key: &str, content: &mut dyn Source, about: &About) -> Result<Object, OpError> {
        check_key(key)?;
        let (mut whole, bytes) = (BytesMut::new(), content.bytes());
        loop {
            let from = whole.len() as u64;
            whole.extend_from_slice(&content.read(from..bytes.min(from + PART_BYTES))?);
            if whole.len() as u64 >= bytes {
                break;
            }
        }
        let object = Object {
            key: key.to_owned(),
            bytes,
            etag: Digest::of(&whole).to_string(),
            modified: None,
            storage_class: about.storage_class.clone().unwrap_or_default(),
            content_type: about.content_type.clone().unwrap_or_default(),
            metadata: about.metadata.clone(),
        };
        self.with(|objects| {
            objects.insert(key.to_owned(), (object.clone(), whole.freeze()));
            Ok(object)
        })
    }

    fn head(&self, key: &str) -> Result<Option<Object>, OpError> {
        check_key(key)?;
        Ok(self.all().get(&self.at).and_then(|objects| objects.get(key)).map(|it| it.0.clone()))
    }

    fn get(&self, key: &str, range: Option<Range<u64>>, etag: Option<&str>) -> Result<Bytes, OpError> {
        check_key(key)?;
        let named = format!("{}: {key}", self.name);
        self.with(|objects| {
            let (object, mut content) = objects.get(key).cloned().ok_or_else(|| refused(&named, 404, ""))?;
            if etag.is_some_and(|etag| etag != object.etag) {
                return Err(refused(&named, 412, ""));
            }
            match range {
                None => Ok(content),
                Some(range) if range.end <= object.bytes => Source::read(&mut content, range),
                Some(_) => Err(OpError::failed(format!("{named} is shorter than expected"))),
            }
        })
    }

    fn list(&self, listing: &Listing<'_>) -> Result<Page, OpError> {
        self.with(|objects| {
            let mut page = Page::default();
            let begun = objects.values().filter(|(it, _)| it.key.starts_with(listing.prefix));
            let limit = listing.limit.unwrap_or(PAGE).min(PAGE);
            for (object, _) in
                begun.filter(|(it, _)| listing.after.is_none_or(|after| it.key.as_str() > after))
            {
                if page.objects.len() + page.prefixes.len() == limit {
                    page.next = page.objects.last().map(|it| it.key.clone());
                    break;
                }
                let deeper = listing.delimiter.and_then(|delimiter| {
                    let at = object.key[listing.prefix.len()..].find(delimiter)?;
                    Some(object.key[..listing.prefix.len() + at + delimiter.len()].to_owned())
                });
                match deeper {
                    Some(prefix) if page.prefixes.last() == Some(&prefix) => {}
                    Some(prefix) => page.prefixes.push(prefix),
                    None => {
                        let bare =
                            Object { content_type: String::new(), metadata: Vec::new(), ..object.clone() };
                        page.objects.push(bare);
                    }
                }
            }
            Ok(page)
        })
    }

    fn remove(&self, keys: &[String]) -> Result<(), OpError> {
        keys.iter().try_for_each(|key| check_key(key))?;
        self.with(|objects| {
            objects.retain(|key, _| !keys.contains(key));
            Ok(())
        })
    }

    fn presign(&self, key: &str, right: Right, lasting: Duration, now: Timestamp) -> Result<Url, OpError> {
        check_key(key)?;
        let Some(login) = &self.login else {
            return Err(OpError::invalid(format!(
                "{}: only who has a login can give addresses away",
                self.name
            )));
        };
        let mut url = self.at.0.clone();
        url.set_path(&format!("{}/{key}", self.at.1));
        let ends = now.checked_add(lasting).unwrap_or(now);
        url.query_pairs_mut().append_pair("login", login).append_pair("ends", &ends.to_string());
        url.query_pairs_mut().append_pair("right", &format!("{right:?}"));
        Ok(url)
    }
}
