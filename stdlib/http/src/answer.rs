//! What a script gets: status, headers and body; and which status is which error.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::StreamExt as _;
use hob_model::{OpError, Timestamp, Value};
use hob_primitive::Ctx;
use http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, RETRY_AFTER, SET_COOKIE};
use http::{HeaderMap, HeaderValue, StatusCode};
use url::Url;

use crate::EXCERPT_CHARS_MAX;
use crate::exchange::{Exchange, failure, kind_of, or_cancelled, shown, shown_url};
use crate::options::Decode;
use crate::port::Request;

/// Secrets shorter than this are not searched for: they would blot out half of any text.
const SECRET_CHARS_MIN: usize = 4;

/// How an answer is read.
pub(crate) struct Reading {
    /// When the request was sent.
    pub(crate) started: Timestamp,
    /// The longest body, in bytes.
    pub(crate) limit: u64,
    /// Whether a status of 400 and above is an error.
    pub(crate) check: bool,
    /// As what the body is given.
    pub(crate) decode: Decode,
}

/// The answer as the map that scripts get.
pub(crate) async fn answer(
    cx: &Ctx,
    request: &Request,
    exchange: Exchange,
    reading: Reading,
) -> Result<Value, OpError> {
    let Exchange { reply, url } = exchange;
    let (status, headers) = (reply.status, reply.headers.clone());
    if reading.check && status >= 400 {
        return Err(refused(cx, request, Exchange { reply, url }).await);
    }
    let body = collect(cx, request, Exchange { reply, url: url.clone() }, reading.limit).await?;
    let elapsed = reading.started.duration_until(cx.now());
    let decoded = decoded(&headers, &body, reading.decode).ok_or_else(|| {
        OpError::invalid(format!("{}: the body is no text", shown(request)))
            .hint("leave `decode` out to get a blob")
    })?;
    let elapsed_ms = i64::try_from(elapsed.as_millis().max(0)).unwrap_or(i64::MAX);
    Ok(response(status, &headers, decoded, &url, elapsed_ms))
}

fn response(status: u16, headers: &HeaderMap, body: Value, url: &Url, elapsed_ms: i64) -> Value {
    Value::map([
        ("status", Value::from(i64::from(status))),
        ("headers", header_map(headers)),
        ("body", body),
        ("url", url.as_str().into()),
        ("elapsed_ms", Value::Int(elapsed_ms)),
    ])
}

/// What a dry run goes on with: the server is content and says nothing.
pub(crate) fn modelled(request: &Request, decode: Decode) -> Value {
    let body = match decode {
        Decode::Blob => Value::Blob(Vec::new()),
        Decode::Auto | Decode::Text => Value::from(""),
    };
    response(StatusCode::OK.as_u16(), &HeaderMap::new(), body, &request.url, 0)
}

/// The whole body, if it is not longer than `limit`.
async fn collect(cx: &Ctx, request: &Request, exchange: Exchange, limit: u64) -> Result<Vec<u8>, OpError> {
    let too_long = || {
        OpError::failed(format!("{}: the body is longer than {limit} bytes", shown(request)))
            .hint("raise `limit`, or write it to a file with http::download")
    };
    if declared_length(&exchange.reply.headers)
        .is_some_and(|length| length > limit && request.method != "HEAD")
    {
        return Err(too_long());
    }
    let mut stream = exchange.reply.body;
    let mut body = Vec::new();
    while let Some(chunk) = or_cancelled(cx, stream.next()).await? {
        let chunk: Bytes = chunk.map_err(|error| failure(request, &error))?;
        if (body.len() + chunk.len()) as u64 > limit {
            return Err(too_long());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// The length that the server announces; for compressed bodies that of the compressed one.
pub(crate) fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The error of a status of 400 and above, with the beginning of the body.
pub(crate) async fn refused(cx: &Ctx, request: &Request, exchange: Exchange) -> OpError {
    let (status, url) = (exchange.reply.status, exchange.url.clone());
    let headers = exchange.reply.headers.clone();
    let mut body = Vec::new();
    let mut stream = exchange.reply.body;
    // A body that breaks off or never ends does not change what the status says.
    while body.len() < 4 * EXCERPT_CHARS_MAX {
        match or_cancelled(cx, stream.next()).await {
            Ok(Some(Ok(chunk))) => body.extend_from_slice(&chunk),
            Err(cancelled) => return cancelled,
            Ok(_) => break,
        }
    }
    let reason =
        StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or_default();
    let text = match decoded(&headers, &body, Decode::Auto) {
        Some(Value::String(text)) => redacted(&text, &request.headers),
        _ => String::from_utf8(body).unwrap_or_else(|error| {
            let valid = error.utf8_error().valid_up_to();
            redacted(&String::from_utf8_lossy(&error.as_bytes()[..valid]), &request.headers)
        }),
    };
    let excerpt: String = text.chars().take(EXCERPT_CHARS_MAX).collect();
    let (kind, retryable) = kind_of(status);
    let what = format!("{} {}", request.method, shown_url(&url));
    let mut error = OpError::new(kind, format!("{what} answered {status} {reason}").trim_end().to_owned())
        .retryable(retryable)
        .detail("status", i64::from(status))
        .detail("body", excerpt);
    // Only for these does the status itself say that the request was turned away before it was carried out.
    error.nothing_happened = matches!(status, 401 | 403 | 404 | 405 | 407 | 413 | 415 | 429);
    if let Some(wait) = headers.get(RETRY_AFTER).and_then(|after| retry_after_ms(after, cx.now())) {
        error = error.detail("retry_after_ms", wait);
    }
    match status {
        401 => error.hint("pass `bearer` or `basic`, or look whether they are still valid"),
        _ => error,
    }
}

/// `Retry-After` in milliseconds from now: seconds or a date (RFC 9110, section 10.2.3).
fn retry_after_ms(header: &HeaderValue, now: Timestamp) -> Option<i64> {
    let text = header.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(i64::from(seconds) * 1000);
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    i64::try_from(now.duration_until(date).as_millis().max(0)).ok()
}

/// `text` without the credentials of the request, should the server repeat them.
fn redacted(text: &str, headers: &HeaderMap) -> String {
    let mut text = text.to_owned();
    for (name, value) in headers {
        let name = name.as_str();
        let secret = *name == AUTHORIZATION
            || ["cookie", "key", "token", "secret", "auth"].iter().any(|word| name.contains(word));
        let Some(value) = value.to_str().ok().filter(|_| secret) else {
            continue;
        };
        for part in [value, value.rsplit(' ').next().unwrap_or_default()] {
            if part.chars().count() >= SECRET_CHARS_MIN {
                text = text.replace(part, "…");
            }
        }
    }
    text
}

/// Headers by lower-case name. Repeated ones are joined by commas, which RFC 9110 allows for all but `set-cookie`.
fn header_map(headers: &HeaderMap) -> Value {
    let text = |value: &HeaderValue| match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => text.to_owned(),
        Err(_) => value.as_bytes().iter().map(|byte| char::from(*byte)).collect(),
    };
    let mut map = BTreeMap::new();
    for name in headers.keys() {
        let values: Vec<String> = headers.get_all(name).iter().map(text).collect();
        let value = if name == SET_COOKIE { Value::from(values) } else { Value::from(values.join(", ")) };
        map.insert(name.as_str().to_owned(), value);
    }
    Value::Map(map)
}

/// The body as asked; `None` when it must be a text and is none.
fn decoded(headers: &HeaderMap, body: &[u8], decode: Decode) -> Option<Value> {
    if decode == Decode::Blob {
        return Some(Value::Blob(body.to_vec()));
    }
    match (text_of(headers, body), decode) {
        (Some(text), _) => Some(Value::String(text)),
        (None, Decode::Text) => None,
        (None, _) => Some(Value::Blob(body.to_vec())),
    }
}

/// The text that a body is, by the charset it declares, UTF-8 without one.
fn text_of(headers: &HeaderMap, body: &[u8]) -> Option<String> {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let charset = kind.split(';').skip(1).find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
    });
    let encoding = charset
        .map_or(Some(encoding_rs::UTF_8), |label| encoding_rs::Encoding::for_label(label.as_bytes()))?;
    let text = encoding.decode_without_bom_handling_and_without_replacement(body)?;
    Some(text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned())
}
