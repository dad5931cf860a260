//! Downloading a file: whole, checked, and in one step.

use std::path::Path;
use std::time::Duration;

use futures_util::StreamExt as _;
use hob_model::{OpError, Value};
use hob_primitive::{Ctx, Progress};
use http::header::{ACCEPT_ENCODING, CONTENT_RANGE, ETAG, IF_RANGE, LAST_MODIFIED, RANGE};
use http::{HeaderMap, HeaderValue};
use sha2::{Digest as _, Sha256};

use crate::STALL_SECONDS_MAX;
use crate::answer::{declared_length, refused};
use crate::exchange::{Exchange, exchange, failure, or_cancelled, shown};
use crate::options::{DownloadOptions, hex};
use crate::part::{Note, Part, length_of, set_mode, sha256_of};
use crate::port::{Request, SendError, Stage};

/// Progress is told each time so much more has arrived.
const PROGRESS_STEP_BYTES: u64 = 256 << 10;

/// What came of one request.
enum Arrived {
    /// The part is complete; so many bytes were there before.
    Whole { resumed_from: u64, etag: Option<String> },
    /// What was there cannot be continued.
    StartAnew,
}

/// Makes the file at `path` be what `url` gives.
pub(crate) async fn download(
    cx: &Ctx,
    url: &str,
    path: &str,
    options: &DownloadOptions,
) -> Result<Value, OpError> {
    let target = cx.resolve(path);
    let wanted = options.sha256.as_deref().map(checksum).transpose()?;
    let mut request = options.request(cx, url)?;
    if let (Some(wanted), Some(bytes)) = (&wanted, length_of(&target))
        && or_cancelled(cx, sha256_of(&target)).await?? == *wanted
    {
        set_mode(&target, options.mode)?;
        return Ok(outcome(&target, bytes, wanted, None));
    }
    request.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let source = hex(&Sha256::digest(request.url.as_str()));
    let mut part = Part::open(&target, options.resume)?;
    let mut kept = if options.resume { part.resumable(&source).await } else { None };
    loop {
        let resuming = kept.is_some();
        let arrived = arrive(cx, &request, options, &mut part, kept.take(), &source, &target).await?;
        let Arrived::Whole { resumed_from, etag } = arrived else {
            continue;
        };
        let found = or_cancelled(cx, part.checksum()).await??;
        if wanted.as_ref().is_some_and(|wanted| *wanted != found) {
            if resuming && resumed_from > 0 {
                // The server may have mixed up versions: a fresh one decides.
                continue;
            }
            part.discard();
            return Err(mismatch(&request, wanted.as_deref().unwrap_or_default(), &found));
        }
        part.finish(options.mode).await?;
        let bytes = length_of(&target).unwrap_or_default();
        return Ok(outcome(&target, bytes, &found, Some((resumed_from, etag))));
    }
}

/// What a dry run goes on with: a file of which only the place is known, and the checksum if one was asked for.
pub(crate) fn modelled(cx: &Ctx, url: &str, path: &str, options: &DownloadOptions) -> Result<Value, OpError> {
    let wanted = options.sha256.as_deref().map(checksum).transpose()?;
    options.request(cx, url)?;
    Ok(outcome(&cx.resolve(path), 0, wanted.as_deref().unwrap_or_default(), Some((0, None))))
}

/// The SHA-256 that an option gives.
fn checksum(text: &str) -> Result<String, OpError> {
    let text = text.trim().to_ascii_lowercase();
    let text = text.strip_prefix("sha256:").unwrap_or(&text);
    if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(text.to_owned());
    }
    Err(OpError::invalid("option `sha256`: a SHA-256 has 64 hexadecimal digits"))
}

fn mismatch(request: &Request, wanted: &str, found: &str) -> OpError {
    OpError::failed(format!("{}: the file has another checksum than expected", shown(request)))
        .hint("nothing was kept; the file may have been replaced by a newer one, or was tampered with")
        .detail("expected", wanted)
        .detail("found", found)
}

fn outcome(target: &Path, bytes: u64, sha256: &str, fetched: Option<(u64, Option<String>)>) -> Value {
    let changed = fetched.is_some();
    let (resumed_from, etag) = fetched.unwrap_or_default();
    Value::map([
        ("path", Value::from(target.display().to_string())),
        ("bytes", bytes.into()),
        ("sha256", sha256.into()),
        ("changed", changed.into()),
        ("resumed_from", resumed_from.into()),
        ("etag", etag.into()),
    ])
}

/// Requests the file, or the rest of it, and writes it to the part.
async fn arrive(
    cx: &Ctx,
    request: &Request,
    options: &DownloadOptions,
    part: &mut Part,
    kept: Option<(u64, Note)>,
    source: &str,
    target: &Path,
) -> Result<Arrived, OpError> {
    let mut asked = request.clone();
    if let Some((length, note)) = &kept {
        let range = HeaderValue::from_str(&format!("bytes={length}-")).expect("digits are a header");
        asked.headers.insert(RANGE, range);
        // A damaged note means a fresh start.
        let Ok(validator) = HeaderValue::from_str(&note.validator) else {
            return Ok(Arrived::StartAnew);
        };
        asked.headers.insert(IF_RANGE, validator);
    }
    let answer =
        or_stalled(exchange(cx, asked, options.redirects)).await.unwrap_or_else(|| Err(stalled(request)))?;
    let (status, headers) = (answer.reply.status, answer.reply.headers.clone());
    let already = match (status, &kept) {
        (206, Some((length, _))) if range_start(&headers) == Some(*length) => *length,
        (206 | 416, Some(_)) => return Ok(Arrived::StartAnew),
        (200, _) => 0,
        (400.., _) => return Err(refused(cx, request, answer).await),
        _ => {
            return Err(OpError::failed(format!("{} answered {status} instead of a file", shown(request)))
                .detail("status", i64::from(status)));
        }
    };
    if already == 0 {
        part.restart(&Note { source: source.to_owned(), validator: validator(&headers) }).await?;
    } else {
        part.append().await?;
    }
    let total = declared_length(&headers).map(|length| length + already);
    let amount = Amount { done: already, total };
    let received = receive(cx, request, options.limit.0, part, answer, amount, target).await;
    // Also after a failure: until all is written the part stays locked, and the next attempt would find it taken.
    part.settle().await?;
    received?;
    let etag = headers.get(ETAG).and_then(|etag| etag.to_str().ok()).map(str::to_owned);
    Ok(Arrived::Whole { resumed_from: already, etag })
}

/// How much has arrived, of how much.
struct Amount {
    done: u64,
    total: Option<u64>,
}

/// Writes a body to the part while it arrives.
async fn receive(
    cx: &Ctx,
    request: &Request,
    limit: u64,
    part: &mut Part,
    answer: Exchange,
    mut amount: Amount,
    target: &Path,
) -> Result<(), OpError> {
    let too_long = |part: &mut Part| {
        part.discard();
        OpError::failed(format!("{}: the file is longer than {limit} bytes", shown(request)))
            .hint("raise `limit`")
    };
    if amount.total.is_some_and(|total| total > limit) {
        return Err(too_long(part));
    }
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let tell = |amount: &Amount| {
        let message = format!("downloading {name}");
        cx.progress(Progress { message, done: amount.done, total: amount.total, bytes: true });
    };
    let (mut body, mut told) = (answer.reply.body, amount.done);
    tell(&amount);
    loop {
        let next = or_cancelled(cx, or_stalled(body.next())).await?.ok_or_else(|| stalled(request))?;
        let Some(chunk) = next else { break };
        let chunk = chunk.map_err(|error| failure(request, &error))?;
        amount.done += chunk.len() as u64;
        if amount.done > limit {
            return Err(too_long(part));
        }
        part.write(&chunk).await?;
        if amount.done - told >= PROGRESS_STEP_BYTES {
            told = amount.done;
            tell(&amount);
        }
    }
    tell(&amount);
    match amount.total {
        Some(total) if total != amount.done => {
            let why = format!("{} of {total} bytes arrived", amount.done);
            Err(failure(request, &SendError::new(Stage::Body, why)))
        }
        _ => Ok(()),
    }
}

/// What `work` gives, unless it stands still.
async fn or_stalled<T>(work: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(Duration::from_secs(STALL_SECONDS_MAX), work).await.ok()
}

fn stalled(request: &Request) -> OpError {
    let message = format!("nothing arrived for {STALL_SECONDS_MAX} s");
    failure(request, &SendError { stage: Stage::Body, message, timed_out: true })
}

/// What `If-Range` takes: a strong entity tag, else the date (RFC 9110, section 13.1.5).
fn validator(headers: &HeaderMap) -> String {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let etag = text(ETAG).filter(|etag| etag.starts_with('"'));
    etag.or_else(|| text(LAST_MODIFIED)).unwrap_or_default().to_owned()
}

/// Where a partial answer starts: `bytes 100-199/200`.
fn range_start(headers: &HeaderMap) -> Option<u64> {
    let range = headers.get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")?;
    range.split('-').next()?.trim().parse().ok()
}
