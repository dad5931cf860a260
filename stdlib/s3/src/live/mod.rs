//! The adapter: requests that `rusty-s3` signs, sent by `reqwest`.
#![allow(clippy::disallowed_methods)] // This is the adapter: what it does is I/O.

mod read;
mod write;

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use hob_model::{ErrorKind, OpError, Timestamp};
use reqwest::blocking::{Client, Response};
use reqwest::header::CONTENT_LENGTH;
use rusty_s3::{Credentials, S3Action, UrlStyle};
use url::Url;

use crate::address::check_key;
use crate::port::{About, Bucket, Connection, Listing, Object, Objects, Page, Right, Source};
use crate::problem::refused;

/// How long a server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a request may take. Parts are of some MiB, and uplinks slow.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(600);

/// How long a signature holds: for the request that it is made for, and clocks that differ a little.
const SIGNED_FOR: Duration = Duration::from_secs(3600);

/// The pauses between attempts.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(2)];

/// The servers that this machine reaches.
#[derive(Debug)]
pub struct Live;

impl Objects for Live {
    fn open(&self, to: Connection) -> Result<Arc<dyn Bucket>, OpError> {
        Ok(Arc::new(LiveBucket::new(to)?))
    }
}

/// A bucket on a server.
struct LiveBucket {
    /// What people call it.
    name: String,
    endpoint: Url,
    bucket: rusty_s3::Bucket,
    login: Option<Credentials>,
    client: Client,
}

impl std::fmt::Debug for LiveBucket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LiveBucket({})", self.name)
    }
}

/// Names and values.
type Headers = Vec<(String, String)>;

/// A request that may be sent again.
struct Ask<'a> {
    method: reqwest::Method,
    /// Where to, signed at this moment.
    url: &'a dyn Fn(&Timestamp) -> Url,
    /// Headers that were signed, and those that need not be.
    headers: Headers,
    body: Bytes,
    /// What it is about, for people.
    about: &'a str,
}

impl LiveBucket {
    fn new(to: Connection) -> Result<Self, OpError> {
        let name = to.address.to_string();
        let is_virtual = to.is_virtual.unwrap_or_else(|| to.address.is_virtual());
        let style = if is_virtual { UrlStyle::VirtualHost } else { UrlStyle::Path };
        let region = to.region.unwrap_or_else(|| to.address.region().to_owned());
        let endpoint = to.address.endpoint;
        let bucket = rusty_s3::Bucket::new(endpoint.clone(), style, to.address.bucket, region);
        let bucket = bucket.map_err(|error| OpError::invalid(format!("{name} is no bucket: {error}")))?;
        let login = to.login.map(|login| {
            let text =
                |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end_matches(['\n', '\r']).to_owned();
            let secret = text(&login.secret_key);
            match login.session_token {
                Some(token) => Credentials::new_with_token(login.access_key, secret, text(&token)),
                None => Credentials::new(login.access_key, secret),
            }
        });
        let mut client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(REQUEST_TIMEOUT)
            // A request is signed for this server, and for none that it names.
            .redirect(reqwest::redirect::Policy::none());
        if let Some(path) = &to.ca {
            let bad = |why: String| OpError::invalid(format!("`ca`: {}: {why}", path.display()));
            let pem = std::fs::read(path).map_err(|error| bad(error.to_string()))?;
            let all = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| bad(error.to_string()))?;
            client = client.tls_certs_merge(all);
        }
        let client = client.build();
        let client =
            client.map_err(|error| OpError::failed(format!("no HTTP client can be made: {error}")))?;
        Ok(Self { name, endpoint, bucket, login, client })
    }

    /// What people call an object.
    fn named(&self, key: &str) -> String {
        format!("{}: {key}", self.name)
    }

    /// Sends a request until it is answered, and not by "later". All of them may be sent twice.
    fn ask(&self, ask: &Ask<'_>) -> Result<Response, OpError> {
        let mut pauses = PAUSES.into_iter();
        loop {
            let mut request = self.client.request(ask.method.clone(), (ask.url)(&Timestamp::now()));
            for (name, value) in &ask.headers {
                request = request.header(name, value);
            }
            if matches!(ask.method, reqwest::Method::PUT | reqwest::Method::POST) {
                request = request.header(CONTENT_LENGTH, ask.body.len());
            }
            let error = match request.body(ask.body.clone()).send() {
                Ok(answer) if !answer.status().is_server_error() && answer.status() != 429 => {
                    return Ok(answer);
                }
                Ok(answer) => refusal(ask.about, answer),
                Err(error) => self.unreachable(&error),
            };
            match pauses.next() {
                Some(pause) => thread::sleep(pause),
                None => return Err(error),
            }
        }
    }

    /// As [`Self::ask`], and anything but success is an error.
    fn done(&self, ask: &Ask<'_>) -> Result<Response, OpError> {
        let answer = self.ask(ask)?;
        if answer.status().is_success() { Ok(answer) } else { Err(refusal(ask.about, answer)) }
    }

    fn unreachable(&self, error: &reqwest::Error) -> OpError {
        let kind = if error.is_timeout() { ErrorKind::Timeout } else { ErrorKind::Unavailable };
        let host = self.endpoint.host_str().unwrap_or_default();
        OpError::new(kind, format!("{host} cannot be reached: {}", innermost(error)))
            .hint("does the server run, and is the address right?")
    }
}

/// The error of an answer that is none of those awaited.
fn refusal(about: &str, answer: Response) -> OpError {
    let status = answer.status().as_u16();
    refused(about, status, &answer.text().unwrap_or_default())
}

/// The cause of an error, without the address: that is signed.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// The body of an answer.
fn body(about: &str, answer: Response) -> Result<Bytes, OpError> {
    let broken = |error: reqwest::Error| {
        OpError::unavailable(format!("{about}: the answer broke off: {}", innermost(&error)))
    };
    answer.bytes().map_err(broken)
}

/// Signs what `rusty-s3` has no action for.
fn sign(bucket: &LiveBucket, at: &Timestamp, method: rusty_s3::Method, url: Url) -> Url {
    let Some(login) = &bucket.login else { return url };
    let none = std::iter::empty::<(&str, &str)>();
    let (key, secret, token) = (login.key(), login.secret(), login.token());
    let region = bucket.bucket.region();
    rusty_s3::signing::sign(
        at,
        method,
        url,
        key,
        secret,
        token,
        region,
        SIGNED_FOR.as_secs(),
        none.clone(),
        none,
    )
}

impl Bucket for LiveBucket {
    fn buckets(&self) -> Result<Vec<(String, Option<Timestamp>)>, OpError> {
        read::buckets(self)
    }

    fn create(&self) -> Result<bool, OpError> {
        write::create(self)
    }

    fn delete(&self) -> Result<bool, OpError> {
        write::delete(self)
    }

    fn put(&self, key: &str, content: &mut dyn Source, about: &About) -> Result<Object, OpError> {
        check_key(key)?;
        write::put(self, key, content, about)
    }

    fn head(&self, key: &str) -> Result<Option<Object>, OpError> {
        check_key(key)?;
        read::head(self, key)
    }

    fn get(
        &self,
        key: &str,
        range: Option<std::ops::Range<u64>>,
        etag: Option<&str>,
    ) -> Result<Bytes, OpError> {
        check_key(key)?;
        read::get(self, key, range, etag)
    }

    fn list(&self, listing: &Listing<'_>) -> Result<Page, OpError> {
        read::list(self, listing)
    }

    fn remove(&self, keys: &[String]) -> Result<(), OpError> {
        keys.iter().try_for_each(|key| check_key(key))?;
        write::remove(self, keys)
    }

    fn presign(&self, key: &str, right: Right, lasting: Duration, now: Timestamp) -> Result<Url, OpError> {
        check_key(key)?;
        let login = self.login.as_ref().ok_or_else(|| {
            OpError::invalid(format!("{}: only who has a login can give addresses away", self.name))
                .hint("give `access_key` and `secret_key` beside `bucket`")
        })?;
        Ok(match right {
            Right::Get => self.bucket.get_object(Some(login), key).sign_with_time(lasting, &now),
            Right::Put => self.bucket.put_object(Some(login), key).sign_with_time(lasting, &now),
        })
    }
}
