//! Trying a channel and those it falls back to, and what a failure means.

use std::sync::Arc;
use std::time::Duration;

use hob_model::{ErrorKind, OnDoubt, OpError, Secret, SecretPart, Timestamp};
use hob_primitive::{Channels, Ctx};
use hob_std_http::HttpPort;
use hob_std_http::port::{Reply, Stage};
use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};

use crate::address::Service;
use crate::channel::Channel;
use crate::message::{Action, Attachment, Message, Priority};
use crate::pace::Paces;
use crate::port::NotifyPort;
use crate::request::{Letter, request};
use crate::{AGAIN_SECONDS_MAX, AGAIN_SECONDS_MIN, ATTEMPT_SECONDS_MAX, FALLBACKS_MAX, mail};

/// How much of an answer is shown.
const EXCERPT_CHARS_MAX: usize = 300;

/// Doublings of the pause that are counted; by then it is the longest.
const DOUBLINGS_MAX: u32 = 10;

/// Where a message is to go.
pub(crate) enum To {
    /// A declared channel.
    Name(String),
    /// An address.
    Address(Secret),
}

impl To {
    /// A text without `://` names a channel.
    pub(crate) fn read(to: Secret) -> Self {
        match to.parts() {
            [SecretPart::Text(name)] if !name.contains("://") => Self::Name(name.clone()),
            _ => Self::Address(to),
        }
    }
}

/// What came of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Delivered {
    /// A channel took it.
    Sent(String),
    /// It is to be delivered later.
    Later { until: Timestamp, why: String },
}

/// Why a channel did not take a message.
struct Refusal {
    error: OpError,
    /// Whether it may take it later, and what the server asks to wait.
    passing: Option<Option<Duration>>,
    /// Whether it is certain that it did not take it.
    certain: bool,
}

/// A message that is to be delivered.
pub(crate) struct Order<'a> {
    pub(crate) message: &'a Message,
    /// The same whenever it is sent again.
    pub(crate) key: &'a str,
    /// How often it was tried before.
    pub(crate) earlier: u32,
}

/// Delivers a message now, by the channel or the first of those it falls back to that takes it.
pub(crate) async fn deliver(cx: &Ctx, to: &To, order: &Order<'_>) -> Result<Delivered, OpError> {
    let mut tried: Vec<String> = Vec::new();
    let (mut failures, mut again) = (Vec::new(), None);
    let mut next = match to {
        To::Name(name) => Some(name.clone()),
        To::Address(_) => None,
    };
    loop {
        let (name, channel) = match (&next, to) {
            (Some(name), _) => match declared(cx, name) {
                Ok(channel) => (name.clone(), channel),
                Err(error) if tried.is_empty() => return Err(error),
                Err(error) => {
                    failures.push((name.clone(), error));
                    break;
                }
            },
            (None, To::Address(url)) => (String::new(), Channel::address(cx, url)?),
            (None, To::Name(_)) => break,
        };
        let mut message = order.message.clone();
        channel.complete(&mut message);
        let paced = paced(cx, &name, &channel, &message, order.key)?;
        if let (Some((until, why)), []) = (&paced, &*tried) {
            // What its own channel holds back is held back: another channel is for failures.
            return Ok(Delivered::Later { until: *until, why: why.clone() });
        }
        let handed = match paced {
            None => in_time(hand_over(cx, &channel, message, order.key)).await,
            Some((until, why)) => Err(Refusal {
                error: OpError::unavailable(why),
                passing: Some(Duration::try_from(until.duration_since(cx.now())).ok()),
                certain: true,
            }),
        };
        match handed {
            Ok(()) => return Ok(Delivered::Sent(name)),
            Err(Refusal { error, .. }) if error.kind == ErrorKind::Cancelled => return Err(error),
            Err(Refusal { error, certain: false, .. }) if cx.on_doubt() != OnDoubt::Retry => {
                return Err(error
                    .retryable(false)
                    .hint("it may have arrived; `on_doubt: \"retry\"` sends it again"));
            }
            Err(refusal) => {
                if let Some(wait) = refusal.passing {
                    let pause = pause(order.earlier, wait);
                    again = Some(again.map_or(pause, |known: Duration| known.min(pause)));
                }
                failures.push((name.clone(), refusal.error));
            }
        }
        tried.push(name);
        next = channel.fallback.filter(|name| !tried.contains(name) && tried.len() < FALLBACKS_MAX);
        if next.is_none() {
            break;
        }
    }
    match again {
        Some(pause) => {
            let until = cx.now().checked_add(pause).unwrap_or(Timestamp::MAX);
            Ok(Delivered::Later { until, why: told(failures).message })
        }
        None => Err(told(failures)),
    }
}

/// The failures of all channels that were tried, in one.
fn told(failures: Vec<(String, OpError)>) -> OpError {
    let text = |(name, error): &(String, OpError)| match name.as_str() {
        "" => error.message.clone(),
        name => format!("channel `{name}`: {}", error.message),
    };
    let texts: Vec<String> = failures.iter().map(text).collect();
    let first = failures.into_iter().next().map(|(_, error)| error);
    let mut error = first.unwrap_or_else(|| OpError::failed("no channel was tried"));
    error.message = texts.join("; ");
    error
}

fn declared(cx: &Ctx, name: &str) -> Result<Channel, OpError> {
    let channels = cx.port::<dyn Channels>().map_err(|_| {
        OpError::unavailable(format!("there is no homelab here that declares the channel `{name}`"))
            .retryable(false)
            .hint("let `hob up` serve it, or write an address: \"ntfys://ntfy.example.net/house\"")
    })?;
    Channel::declared(cx, &channels.channel(name)?)
}

/// When the channel takes the message, if that is not now, and why.
fn paced(
    cx: &Ctx,
    name: &str,
    channel: &Channel,
    message: &Message,
    key: &str,
) -> Result<Option<(Timestamp, String)>, OpError> {
    let now = cx.now();
    let priority = message.priority.unwrap_or(Priority::Default);
    let quiet = channel.quiet.as_ref().and_then(|quiet| quiet.until(now, &channel.zone, priority));
    if let Some(until) = quiet {
        return Ok(Some((until, format!("channel `{name}`: its quiet hours end at {until}"))));
    }
    let Some(rate) = channel.rate else { return Ok(None) };
    let until = cx.port::<Paces>()?.take(name, rate, key, now);
    Ok(until.map(|until| (until, format!("channel `{name}`: its rate is reached until {until}"))))
}

/// The pause before it is tried again: exponential, or what the server asks for.
fn pause(earlier: u32, asked: Option<Duration>) -> Duration {
    let doubled = AGAIN_SECONDS_MIN.saturating_mul(1 << earlier.min(DOUBLINGS_MAX));
    let longest = Duration::from_secs(AGAIN_SECONDS_MAX);
    asked.unwrap_or(Duration::from_secs(doubled)).clamp(Duration::from_secs(1), longest)
}

/// Gives an attempt up that takes too long, so that others have their turn.
async fn in_time(attempt: impl Future<Output = Result<(), Refusal>>) -> Result<(), Refusal> {
    let limit = Duration::from_secs(ATTEMPT_SECONDS_MAX);
    tokio::time::timeout(limit, attempt).await.unwrap_or_else(|_| {
        let error = OpError::timeout(format!("no answer within {ATTEMPT_SECONDS_MAX} s"));
        Err(Refusal { error, passing: Some(None), certain: false })
    })
}

/// Hands a message to the service of a channel.
async fn hand_over(cx: &Ctx, channel: &Channel, mut message: Message, key: &str) -> Result<(), Refusal> {
    let never = |error: OpError| Refusal { error, passing: None, certain: true };
    let port = cx.port::<dyn NotifyPort>().map_err(never)?;
    add_links(cx, &mut message);
    let attachments: Vec<Attachment> = message.attachments(&*port);
    let letter = Letter { message: &message, attachments: &attachments, key };
    if let Service::Mail { server, from, to } = &channel.service {
        let mail = mail::mail(server, from, to, &letter, cx.now()).map_err(never)?;
        let host = server.host.clone();
        return or_cancelled(cx, port.mail(mail)).await.map_err(never)?.map_err(|error| Refusal {
            error: OpError::unavailable(format!("the mail server {host}: {error}")).retryable(error.passing),
            passing: error.passing.then_some(None),
            certain: error.certain,
        });
    }
    let Some(request) = request(channel, &letter).map_err(never)? else { return Ok(()) };
    let http: Arc<dyn HttpPort> = cx.port::<dyn HttpPort>().map_err(never)?;
    let host = request.url.host_str().unwrap_or_default().to_owned();
    match or_cancelled(cx, http.send(request)).await.map_err(never)? {
        Ok(reply) => answered(cx, &host, reply).await,
        Err(error) => {
            let certain = !matches!(error.stage, Stage::Sent | Stage::Body);
            let passing = !matches!(error.stage, Stage::Setup | Stage::Tls);
            let text = format!("{host}: {error}");
            let told = if error.timed_out { OpError::timeout(text) } else { OpError::unavailable(text) };
            Err(Refusal { error: told.retryable(passing), passing: passing.then_some(None), certain })
        }
    }
}

/// The buttons that answer the approval that the message is about.
fn add_links(cx: &Ctx, message: &mut Message) {
    let Some(approve) = message.approve.take() else { return };
    let channels = cx.port::<dyn Channels>().ok();
    match channels.and_then(|channels| channels.approval_link(&approve.run, &approve.position)) {
        Some(link) => {
            let answer = |label: &str, answer: &str| Action {
                label: label.to_owned(),
                url: format!("{link}?answer={answer}"),
                post: true,
            };
            let asked = [answer("Approve", "approve"), answer("Refuse", "refuse")];
            message.actions = asked.into_iter().chain(std::mem::take(&mut message.actions)).collect();
            message.actions.truncate(crate::ACTIONS_MAX);
        }
        None => message.note(&format!("hob runs approve {} {}", approve.run, approve.position)),
    }
}

async fn or_cancelled<T>(cx: &Ctx, work: impl Future<Output = T>) -> Result<T, OpError> {
    tokio::select! {
        biased;
        () = cx.cancel().cancelled() => Err(OpError::cancelled("the message was given up")),
        done = work => Ok(done),
    }
}

/// What the server's answer means.
async fn answered(cx: &Ctx, host: &str, reply: Reply) -> Result<(), Refusal> {
    let (status, headers) = (reply.status, reply.headers.clone());
    if (200..300).contains(&status) {
        return Ok(());
    }
    let excerpt = excerpt(reply).await;
    let reason = StatusCode::from_u16(status).ok().and_then(|it| it.canonical_reason()).unwrap_or_default();
    let mut text = format!("{host} answered {status} {reason}");
    if !excerpt.is_empty() {
        text = format!("{text}: {excerpt}");
    }
    let kind = match status {
        401 | 403 => ErrorKind::Denied,
        404 | 410 => ErrorKind::NotFound,
        408 | 425 | 429 | 500.. => ErrorKind::Unavailable,
        _ => ErrorKind::Invalid,
    };
    let passing = kind == ErrorKind::Unavailable;
    // A server that fails while it works, and those before it, do not say how far it came.
    let certain = !(status >= 500 && status != 503);
    let asked = headers.get(RETRY_AFTER).and_then(|_| retry_after(&headers, cx.now()));
    let error = OpError::new(kind, text).retryable(passing).detail("status", i64::from(status));
    Err(Refusal { error, passing: passing.then_some(asked), certain })
}

/// The beginning of a body, on one line.
async fn excerpt(reply: Reply) -> String {
    use futures_util::StreamExt as _;
    let mut stream = reply.body;
    let mut body = Vec::new();
    while body.len() < 4 * EXCERPT_CHARS_MAX {
        match stream.next().await {
            Some(Ok(chunk)) => body.extend_from_slice(&chunk),
            _ => break,
        }
    }
    let text = String::from_utf8_lossy(&body);
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(EXCERPT_CHARS_MAX).collect()
}

/// `Retry-After`: seconds or a date (RFC 9110, section 10.2.3).
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Duration::try_from(date.duration_since(now)).ok()
}
