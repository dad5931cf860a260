//! Sending: redirects, credentials, cancelling, and what a failure means.

use std::future::Future;

use hob_model::{ErrorKind, OpError};
use hob_primitive::Ctx;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderName, LOCATION, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method};
use url::Url;

use crate::port::{HttpPort, Reply, Request, SendError, Stage};

/// Headers that may go to another host than the one they were given for. All others may hold a secret
/// (`authorization`, `cookie`, `x-api-key` …) and stay behind.
const HARMLESS_HEADERS: [HeaderName; 9] = [
    http::header::ACCEPT,
    http::header::ACCEPT_ENCODING,
    http::header::ACCEPT_LANGUAGE,
    http::header::CONTENT_ENCODING,
    http::header::CONTENT_TYPE,
    http::header::IF_RANGE,
    http::header::RANGE,
    http::header::USER_AGENT,
    http::header::CACHE_CONTROL,
];

/// How hob names itself.
const USER_AGENT_TEXT: &str = concat!("hob/", env!("CARGO_PKG_VERSION"));

/// An answer and where it came from after redirects.
pub(crate) struct Exchange {
    /// The answer.
    pub(crate) reply: Reply,
    /// The address that gave it.
    pub(crate) url: Url,
}

/// Sends a request and follows its redirects (RFC 9110, section 15.4).
pub(crate) async fn exchange(
    cx: &Ctx,
    mut request: Request,
    redirects_max: u32,
) -> Result<Exchange, OpError> {
    let port = cx.port::<dyn HttpPort>()?;
    if !request.headers.contains_key(USER_AGENT) {
        request.headers.insert(USER_AGENT, HeaderValue::from_static(USER_AGENT_TEXT));
    }
    let mut redirects = 0;
    loop {
        let sent = or_cancelled(cx, port.send(request.clone())).await?;
        let reply = sent.map_err(|error| failure(&request, &error))?;
        let next = match redirect(&request, &reply)? {
            Some(next) if redirects_max > 0 => next,
            _ => {
                return Ok(Exchange { reply, url: request.url });
            }
        };
        redirects += 1;
        if redirects > redirects_max {
            return Err(OpError::failed(format!(
                "{} redirects more than {redirects_max} times",
                shown(&request)
            ))
            .hint("raise `redirects`, or look where it leads with `redirects: 0`"));
        }
        // The script named one host; another one is another permission.
        cx.permit(&format!("http:{}", next.url.host_str().unwrap_or("*")))?;
        request = next;
    }
}

/// What `work` gives, unless the run is told to stop before.
pub(crate) async fn or_cancelled<T>(cx: &Ctx, work: impl Future<Output = T>) -> Result<T, OpError> {
    tokio::select! {
        biased;
        () = cx.cancel().cancelled() => Err(OpError::cancelled("the request was given up")),
        done = work => Ok(done),
    }
}

/// The request that a redirect asks for; none when the answer is no redirect.
fn redirect(request: &Request, reply: &Reply) -> Result<Option<Request>, OpError> {
    if !matches!(reply.status, 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let Some(location) = reply.headers.get(LOCATION) else {
        return Ok(None);
    };
    let refuse =
        || OpError::failed(format!("{} redirects to something that is no web address", shown(request)));
    let location = std::str::from_utf8(location.as_bytes()).map_err(|_| refuse())?;
    let mut url = request.url.join(location).map_err(|_| refuse())?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err(refuse());
    }
    url.set_fragment(None);
    let mut next = request.clone();
    // Neither fails for http and https; credentials in a `Location` are not followed.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    if reply.status == 303 && request.method != Method::HEAD
        || matches!(reply.status, 301 | 302) && request.method == Method::POST
    {
        next.method = Method::GET;
        next.body = bytes::Bytes::new();
        [CONTENT_TYPE, CONTENT_LENGTH, CONTENT_ENCODING]
            .iter()
            .for_each(|name| drop(next.headers.remove(name)));
    }
    if url.origin() != request.url.origin() {
        next.headers = harmless(&next.headers);
        next.route.identity = None;
    }
    next.url = url;
    Ok(Some(next))
}

fn harmless(headers: &HeaderMap) -> HeaderMap {
    let kept = headers.iter().filter(|(name, _)| HARMLESS_HEADERS.contains(name));
    kept.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Method and address, without what may be secret in it.
pub(crate) fn shown(request: &Request) -> String {
    format!("{} {}", request.method, shown_url(&request.url))
}

/// An address without user, password, query and fragment.
pub(crate) fn shown_url(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

/// What a request that got no answer means to the script.
pub(crate) fn failure(request: &Request, error: &SendError) -> OpError {
    let (what, host) = (shown(request), request.url.host_str().unwrap_or_default());
    let timeout = |text: String| {
        if error.timed_out { OpError::timeout(text) } else { OpError::unavailable(text) }
    };
    match error.stage {
        Stage::Setup => OpError::invalid(format!("{what}: {error}")),
        Stage::Resolve => OpError::unavailable(format!("{what}: the host `{host}` is not known: {error}"))
            .hint("is the name right, and does this machine's DNS work?")
            .nothing_happened(),
        Stage::Connect => timeout(format!("{what}: no connection: {error}")).nothing_happened(),
        Stage::Tls => OpError::failed(format!("{what}: the connection is not secure: {error}"))
            .hint(
                "for a certificate of your own authority pass #{ tls: #{ ca: \"/path/ca.pem\" } }; \
                 #{ tls: #{ verify: false } } accepts any",
            )
            .nothing_happened(),
        Stage::Sent => timeout(format!("{what}: no answer: {error}")),
        Stage::Body => timeout(format!("{what}: the answer broke off: {error}")),
    }
    .detail("host", host)
}

/// The kind of error that a status of 400 and above is, and whether it may pass by itself.
pub(crate) fn kind_of(status: u16) -> (ErrorKind, bool) {
    match status {
        400 | 405 | 406 | 411 | 413..=417 | 422 | 431 => (ErrorKind::Invalid, false),
        401..=403 | 407 | 451 => (ErrorKind::Denied, false),
        404 | 410 => (ErrorKind::NotFound, false),
        408 => (ErrorKind::Timeout, true),
        409 | 412 | 423 | 428 => (ErrorKind::Conflict, false),
        425 | 429 | 502..=504 => (ErrorKind::Unavailable, true),
        500 => (ErrorKind::Failed, true),
        _ => (ErrorKind::Failed, false),
    }
}
