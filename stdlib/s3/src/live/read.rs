//! Looking: lists, objects, buckets.

use std::ops::Range;

use bytes::Bytes;
use hob_model::{OpError, Timestamp};
use instant_xml::FromXml;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_MATCH, LAST_MODIFIED, RANGE};
use reqwest::{Method, StatusCode};
use rusty_s3::S3Action;
use rusty_s3::actions::ListObjectsV2;

use super::{Ask, LiveBucket, SIGNED_FOR, body, refusal, sign};
use crate::port::{Listing, Object, Page};
use crate::problem::refused;

/// Notes beside an object have names that begin so.
pub(super) const METADATA: &str = "x-amz-meta-";

/// The header that names how an object is stored.
pub(super) const STORAGE_CLASS: &str = "x-amz-storage-class";

pub(super) fn head(it: &LiveBucket, key: &str) -> Result<Option<Object>, OpError> {
    let about = it.named(key);
    let url = |at: &Timestamp| it.bucket.head_object(it.login.as_ref(), key).sign_with_time(SIGNED_FOR, at);
    let asked =
        Ask { method: Method::HEAD, url: &url, headers: Vec::new(), body: Bytes::new(), about: &about };
    let answer = it.ask(&asked)?;
    match answer.status() {
        StatusCode::NOT_FOUND => return Ok(None),
        status if status.is_success() => {}
        _ => return Err(refusal(&about, answer)),
    }
    let headers = answer.headers();
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let metadata = headers.iter().filter_map(|(name, value)| {
        Some((name.as_str().strip_prefix(METADATA)?.to_owned(), value.to_str().ok()?.to_owned()))
    });
    let modified = jiff::fmt::rfc2822::parse(text(LAST_MODIFIED.as_str())).ok();
    Ok(Some(Object {
        key: key.to_owned(),
        // Not the length of this body, which is none.
        bytes: text(CONTENT_LENGTH.as_str()).parse().unwrap_or_default(),
        etag: bare(text(ETAG.as_str())),
        modified: modified.map(|time| time.timestamp()),
        storage_class: text(STORAGE_CLASS).to_owned(),
        content_type: text(CONTENT_TYPE.as_str()).to_owned(),
        metadata: metadata.collect(),
    }))
}

/// The version of a content without its quotes, which servers send or not.
pub(super) fn bare(etag: &str) -> String {
    etag.trim_matches('"').to_owned()
}

pub(super) fn get(
    it: &LiveBucket,
    key: &str,
    range: Option<Range<u64>>,
    etag: Option<&str>,
) -> Result<Bytes, OpError> {
    if range.as_ref().is_some_and(Range::is_empty) {
        return Ok(Bytes::new());
    }
    let about = it.named(key);
    let url = |at: &Timestamp| it.bucket.get_object(it.login.as_ref(), key).sign_with_time(SIGNED_FOR, at);
    let mut headers = Vec::new();
    if let Some(range) = &range {
        headers.push((RANGE.to_string(), format!("bytes={}-{}", range.start, range.end - 1)));
    }
    if let Some(etag) = etag {
        headers.push((IF_MATCH.to_string(), format!("\"{etag}\"")));
    }
    let asked = Ask { method: Method::GET, url: &url, headers, body: Bytes::new(), about: &about };
    let short = || OpError::failed(format!("{about} is shorter than expected"));
    let answer = it.ask(&asked)?;
    match answer.status() {
        StatusCode::RANGE_NOT_SATISFIABLE => return Err(short()),
        status if status.is_success() => {}
        _ => return Err(refusal(&about, answer)),
    }
    // Not every server looks at the condition.
    let found = answer.headers().get(ETAG).and_then(|etag| etag.to_str().ok()).map(bare);
    if etag.zip(found.as_deref()).is_some_and(|(wanted, found)| wanted != found) {
        return Err(refused(&about, StatusCode::PRECONDITION_FAILED.as_u16(), ""));
    }
    let partial = answer.status() == StatusCode::PARTIAL_CONTENT;
    let content = body(&about, answer)?;
    let Some(range) = range else { return Ok(content) };
    // A server may pass over a range and send all.
    let from = if partial { 0 } else { range.start };
    let bounds = usize::try_from(from).ok().zip(usize::try_from(from + range.end - range.start).ok());
    match bounds {
        Some((start, end)) if end <= content.len() => Ok(content.slice(start..end)),
        _ => Err(short()),
    }
}

pub(super) fn list(it: &LiveBucket, listing: &Listing<'_>) -> Result<Page, OpError> {
    let url = |at: &Timestamp| {
        let mut action = it.bucket.list_objects_v2(it.login.as_ref());
        action.with_prefix(listing.prefix);
        if let Some(delimiter) = listing.delimiter {
            action.with_delimiter(delimiter);
        }
        if let Some(limit) = listing.limit {
            action.with_max_keys(limit);
        }
        if let Some(after) = listing.after {
            action.with_continuation_token(after);
        }
        action.sign_with_time(SIGNED_FOR, at)
    };
    let asked =
        Ask { method: Method::GET, url: &url, headers: Vec::new(), body: Bytes::new(), about: &it.name };
    let text = text_of(it, &asked)?;
    let listed = ListObjectsV2::parse_response(&text).map_err(|error| no_list(it, &error.to_string()))?;
    let objects = listed.contents.into_iter().map(|object| Object {
        key: object.key,
        bytes: object.size.unwrap_or_default(),
        etag: bare(&object.etag.unwrap_or_default()),
        modified: object.last_modified.and_then(|time| time.parse().ok()),
        storage_class: object.storage_class.filter(|class| class != "STANDARD").unwrap_or_default(),
        ..Object::default()
    });
    Ok(Page {
        objects: objects.collect(),
        prefixes: listed.common_prefixes.into_iter().map(|it| it.prefix).collect(),
        next: listed.next_continuation_token,
    })
}

fn text_of(it: &LiveBucket, ask: &Ask<'_>) -> Result<String, OpError> {
    let content = body(ask.about, it.done(ask)?)?;
    String::from_utf8(content.into()).map_err(|_| no_list(it, "it is no text"))
}

fn no_list(it: &LiveBucket, why: &str) -> OpError {
    OpError::failed(format!("{}: the server answers with no list: {why}", it.name))
        .hint("is this a server that speaks S3, at the port of its API?")
}

#[derive(FromXml)]
#[xml(rename = "ListAllMyBucketsResult", ns("http://s3.amazonaws.com/doc/2006-03-01/"))]
struct Listed {
    buckets: Option<Buckets>,
}

#[derive(FromXml)]
#[xml(rename = "Buckets", ns("http://s3.amazonaws.com/doc/2006-03-01/"))]
struct Buckets {
    all: Vec<Named>,
}

#[derive(FromXml)]
#[xml(rename = "Bucket", ns("http://s3.amazonaws.com/doc/2006-03-01/"))]
struct Named {
    #[xml(rename = "Name")]
    name: String,
    #[xml(rename = "CreationDate")]
    created: Option<String>,
}

pub(super) fn buckets(it: &LiveBucket) -> Result<Vec<(String, Option<Timestamp>)>, OpError> {
    let url = |at: &Timestamp| sign(it, at, rusty_s3::Method::Get, it.endpoint.clone());
    let about = it.endpoint.as_str();
    let asked = Ask { method: Method::GET, url: &url, headers: Vec::new(), body: Bytes::new(), about };
    let text = text_of(it, &asked)?;
    let listed: Listed = instant_xml::from_str(&text).map_err(|error| no_list(it, &error.to_string()))?;
    let all = listed.buckets.into_iter().flat_map(|buckets| buckets.all);
    Ok(all.map(|it| (it.name, it.created.and_then(|time| time.parse().ok()))).collect())
}
