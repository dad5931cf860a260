//! Changing: objects whole or in parts, removing, buckets.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hob_model::{ErrorKind, OpError, Timestamp};
use md5::{Digest as _, Md5};
use reqwest::blocking::Response;
use reqwest::header::{CONTENT_TYPE, ETAG};
use reqwest::{Method, StatusCode};
use rusty_s3::S3Action;
use rusty_s3::actions::{
    CompleteMultipartUploadResponse, CreateMultipartUpload, DeleteObjectsResponse, ObjectIdentifier,
};
use url::Url;

use super::read::{METADATA, STORAGE_CLASS, bare, head, list};
use super::{Ask, Headers, LiveBucket, SIGNED_FOR, body, refusal};
use crate::port::{About, Listing, Object, Source};
use crate::problem::{code, refused};

/// The least size of a part; what is not larger goes in one request. A part is in memory while it is sent.
const PART_BYTES: u64 = 16 << 20;

/// The most parts of one object.
const PARTS_MAX: u64 = 10_000;

/// The most objects that one request removes.
const REMOVED_MAX: usize = 1000;

/// The header with which a server proves that what arrives is what was sent.
const CONTENT_MD5: &str = "content-md5";

fn digest(content: &[u8]) -> String {
    STANDARD.encode(Md5::digest(content))
}

/// What is said of an object, as headers. They are signed, as all that begin with `x-amz-` must be.
fn headers(about: &About) -> Headers {
    let class = about.storage_class.iter().map(|class| (STORAGE_CLASS.to_owned(), class.clone()));
    let kind = about.content_type.iter().map(|kind| (CONTENT_TYPE.to_string(), kind.clone()));
    let notes = about.metadata.iter().map(|(name, value)| (format!("{METADATA}{name}"), value.clone()));
    class.chain(kind).chain(notes).collect()
}

/// Signs a request with these headers.
fn sign<'a>(mut action: impl S3Action<'a>, headers: &'a Headers, at: &Timestamp) -> Url {
    for (name, value) in headers {
        action.headers_mut().insert(name.as_str(), value.as_str());
    }
    action.sign_with_time(SIGNED_FOR, at)
}

pub(super) fn put(
    it: &LiveBucket,
    key: &str,
    content: &mut dyn Source,
    about: &About,
) -> Result<Object, OpError> {
    let bytes = content.bytes();
    let etag = match bytes {
        0..=PART_BYTES => at_once(it, key, content, about)?,
        _ => Upload::begin(it, key, about)?.finish(content)?,
    };
    Ok(Object { key: key.to_owned(), bytes, etag, ..Object::default() })
}

fn at_once(it: &LiveBucket, key: &str, content: &mut dyn Source, about: &About) -> Result<String, OpError> {
    let whole = content.read(0..content.bytes())?;
    let mut headers = headers(about);
    headers.push((CONTENT_MD5.to_owned(), digest(&whole)));
    let url = |at: &Timestamp| sign(it.bucket.put_object(it.login.as_ref(), key), &headers, at);
    let asked =
        Ask { method: Method::PUT, url: &url, headers: headers.clone(), body: whole, about: &it.named(key) };
    Ok(etag(&it.done(&asked)?))
}

fn etag(answer: &Response) -> String {
    bare(answer.headers().get(ETAG).and_then(|etag| etag.to_str().ok()).unwrap_or_default())
}

/// An object that is written in parts. Nobody sees it until it is complete.
struct Upload<'a> {
    it: &'a LiveBucket,
    key: &'a str,
    named: String,
    id: String,
}

impl<'a> Upload<'a> {
    fn begin(it: &'a LiveBucket, key: &'a str, about: &About) -> Result<Self, OpError> {
        let headers = headers(about);
        let named = it.named(key);
        let url =
            |at: &Timestamp| sign(it.bucket.create_multipart_upload(it.login.as_ref(), key), &headers, at);
        let asked = Ask {
            method: Method::POST,
            url: &url,
            headers: headers.clone(),
            body: Bytes::new(),
            about: &named,
        };
        let answer = body(&named, it.done(&asked)?)?;
        let begun = CreateMultipartUpload::parse_response(&String::from_utf8_lossy(&answer));
        let begun =
            begun.map_err(|error| OpError::failed(format!("{named}: no upload was begun: {error}")))?;
        Ok(Self { it, key, id: begun.upload_id().to_owned(), named })
    }

    /// Sends all parts and puts them together; what fails leaves nothing behind that costs room.
    fn finish(self, content: &mut dyn Source) -> Result<String, OpError> {
        let done = self.parts(content).and_then(|etags| self.complete(&etags, content.bytes()));
        if done.is_err() {
            self.abort();
        }
        done
    }

    fn parts(&self, content: &mut dyn Source) -> Result<Vec<String>, OpError> {
        let bytes = content.bytes();
        let size = PART_BYTES.max(bytes.div_ceil(PARTS_MAX));
        let parts = (1_u16..).zip(0..bytes.div_ceil(size));
        parts
            .map(|(number, part)| self.part(number, content.read(part * size..bytes.min((part + 1) * size))?))
            .collect()
    }

    fn part(&self, number: u16, content: Bytes) -> Result<String, OpError> {
        let Self { it, key, named, id } = self;
        let headers = vec![(CONTENT_MD5.to_owned(), digest(&content))];
        let url =
            |at: &Timestamp| sign(it.bucket.upload_part(it.login.as_ref(), key, number, id), &headers, at);
        let asked =
            Ask { method: Method::PUT, url: &url, headers: headers.clone(), body: content, about: named };
        Ok(etag(&it.done(&asked)?))
    }

    fn complete(&self, etags: &[String], bytes: u64) -> Result<String, OpError> {
        let Self { it, key, named, id } = self;
        let action = || {
            let etags = etags.iter().map(String::as_str);
            it.bucket.complete_multipart_upload(it.login.as_ref(), key, id, etags)
        };
        let url = |at: &Timestamp| action().sign_with_time(SIGNED_FOR, at);
        let body_text = Bytes::from(action().body());
        let asked =
            Ask { method: Method::POST, url: &url, headers: Vec::new(), body: body_text, about: named };
        let answer = match it.done(&asked) {
            // The answer to a first attempt may have been lost: then the upload is over, and the object there.
            Err(error) if error.kind == ErrorKind::NotFound => {
                return match head(it, key)? {
                    Some(object) if object.bytes == bytes => Ok(object.etag),
                    _ => Err(error),
                };
            }
            other => body(named, other?)?,
        };
        // A server may begin to answer before it knows whether it succeeds.
        let text = String::from_utf8_lossy(&answer);
        let done = CompleteMultipartUploadResponse::parse(&text);
        done.map(|done| bare(done.etag())).map_err(|_| refused(named, 200, &text))
    }

    fn abort(&self) {
        let Self { it, key, named, id } = self;
        let url = |at: &Timestamp| {
            it.bucket.abort_multipart_upload(it.login.as_ref(), key, id).sign_with_time(SIGNED_FOR, at)
        };
        // Why it failed is what people are told; and the server's own rules remove what stays.
        let asked =
            Ask { method: Method::DELETE, url: &url, headers: Vec::new(), body: Bytes::new(), about: named };
        let _ = it.ask(&asked);
    }
}

pub(super) fn remove(it: &LiveBucket, keys: &[String]) -> Result<(), OpError> {
    if let [key] = keys {
        let url =
            |at: &Timestamp| it.bucket.delete_object(it.login.as_ref(), key).sign_with_time(SIGNED_FOR, at);
        let about = it.named(key);
        let asked =
            Ask { method: Method::DELETE, url: &url, headers: Vec::new(), body: Bytes::new(), about: &about };
        let answer = it.ask(&asked)?;
        let gone = answer.status().is_success() || answer.status() == StatusCode::NOT_FOUND;
        return if gone { Ok(()) } else { Err(refusal(&about, answer)) };
    }
    for keys in keys.chunks(REMOVED_MAX) {
        many(it, keys)?;
    }
    Ok(())
}

fn many(it: &LiveBucket, keys: &[String]) -> Result<(), OpError> {
    let objects: Vec<_> = keys.iter().cloned().map(ObjectIdentifier::new).collect();
    let action = || {
        let mut action = it.bucket.delete_objects(it.login.as_ref(), objects.iter());
        action.set_quiet(true);
        action
    };
    let url = |at: &Timestamp| action().sign_with_time(SIGNED_FOR, at);
    let (text, md5) = action().body_with_md5();
    let headers = vec![(CONTENT_MD5.to_owned(), md5)];
    let asked = Ask { method: Method::POST, url: &url, headers, body: text.into(), about: &it.name };
    let answer = body(&it.name, it.done(&asked)?)?;
    let text = String::from_utf8_lossy(&answer);
    let told = DeleteObjectsResponse::parse(&text)
        .map_err(|error| OpError::failed(format!("{}: nothing says what was removed: {error}", it.name)))?;
    match told.errors.first() {
        Some(error) => {
            let many = told.errors.len();
            let text = format!("{}: {many} of {} objects were not removed", it.name, keys.len());
            Err(OpError::failed(format!("{text}; {}: {} ({})", error.key, error.message, error.code)))
        }
        None => Ok(()),
    }
}

pub(super) fn create(it: &LiveBucket) -> Result<bool, OpError> {
    let url = |at: &Timestamp| it.bucket.head_bucket(it.login.as_ref()).sign_with_time(SIGNED_FOR, at);
    let asked =
        Ask { method: Method::HEAD, url: &url, headers: Vec::new(), body: Bytes::new(), about: &it.name };
    let answer = it.ask(&asked)?;
    match answer.status() {
        StatusCode::NOT_FOUND => {}
        status if status.is_success() => return Ok(false),
        _ => return Err(refusal(&it.name, answer)),
    }
    let Some(login) = &it.login else {
        return Err(OpError::denied(format!("{}: only who has a login can make it", it.name))
            .hint("give `access_key` and `secret_key` beside `bucket`"));
    };
    let region = it.bucket.region();
    // The first region of all is the one that must not be named.
    let text = match region {
        "us-east-1" => String::new(),
        _ => format!(
            "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <LocationConstraint>{region}</LocationConstraint></CreateBucketConfiguration>"
        ),
    };
    let url = |at: &Timestamp| it.bucket.create_bucket(login).sign_with_time(SIGNED_FOR, at);
    let asked =
        Ask { method: Method::PUT, url: &url, headers: Vec::new(), body: text.into(), about: &it.name };
    match it.done(&asked) {
        Ok(_) => Ok(true),
        // Somebody of this house made it in the meantime.
        Err(error) if code(&error) == "BucketAlreadyOwnedByYou" => Ok(false),
        Err(error) => Err(error),
    }
}

pub(super) fn delete(it: &LiveBucket) -> Result<bool, OpError> {
    let Some(login) = &it.login else {
        return Err(OpError::denied(format!("{}: only who has a login can remove it", it.name)));
    };
    // Not every server refuses to remove what has objects in it.
    let first = match list(it, &Listing { limit: Some(1), ..Listing::default() }) {
        Err(error) if error.kind == ErrorKind::NotFound => return Ok(false),
        first => first?,
    };
    if !first.objects.is_empty() {
        let body = "<Error><Code>BucketNotEmpty</Code><Message>There are objects in it</Message></Error>";
        return Err(refused(&it.name, 409, body));
    }
    let url = |at: &Timestamp| it.bucket.delete_bucket(login).sign_with_time(SIGNED_FOR, at);
    let asked =
        Ask { method: Method::DELETE, url: &url, headers: Vec::new(), body: Bytes::new(), about: &it.name };
    match it.done(&asked) {
        Ok(_) => Ok(true),
        Err(error) if error.kind == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
