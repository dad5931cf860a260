//! `/hooks/…`: requests that start workflows.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use hmac::{Hmac, Mac};
use hob_journal::Ticket;
use hob_model::{Code, Diagnostic, OpError, RunEnd, RunId, RunStatus, Value, duration};
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderMap, Request, StatusCode};
use percent_encoding::percent_decode_str;
use serde_json::{Value as Json, json};
use sha2::Sha256;

use super::access::{bearer, same_secret};
use super::api::runs::row_now;
use super::app::{App, wrong_method};
use super::body;
use super::deliveries::{self, Delivered, Delivery};
use super::reply::{Refusal, json_reply};
use super::waiters::{Expectation, Settled};
use crate::hub::{Respond, WebhookMatch};
use crate::view::error_json;

/// The largest body of a webhook, in bytes.
const HOOK_BYTES_MAX: usize = 8 * 1024 * 1024;
/// The methods that a webhook may have.
const METHODS: [&str; 5] = ["GET", "POST", "PUT", "PATCH", "DELETE"];

const SIGNATURE: HeaderName = HeaderName::from_static("x-hub-signature-256");
/// On the answer to a delivery that came before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
const TOKEN: HeaderName = HeaderName::from_static("x-hob-token");

pub(super) async fn deliver(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    match answer(&app, request).await {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    }
}

async fn answer(app: &Arc<App>, request: Request<Body>) -> Result<Response, Refusal> {
    if !app.hub.ready() {
        let problem = Diagnostic::error(Code::NoDaemon, "hob is starting: webhooks are not served yet");
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, problem).header(RETRY_AFTER, "1"));
    }
    let (head, body) = request.into_parts();
    let path = head.uri.path().strip_prefix("/hooks").unwrap_or_default().to_owned();
    let hook = find(app, &head, &path)?;
    app.check_room()?;
    let limit = hook.body_bytes_max.and_then(|bytes| usize::try_from(bytes).ok());
    let limit = limit.unwrap_or(HOOK_BYTES_MAX).min(HOOK_BYTES_MAX);
    let body = body::read(body, limit, app.limits.body_read).await?;
    if let Some(secret) = &hook.secret {
        check_secret(&head.headers, &body, secret)?;
    }
    check_rate(app, &hook)?;
    let input = argument(&head, &path, &hook, &body)?;
    let id = deliveries::id(&head.headers)?;
    let trigger = format!("webhook:{} {path}", head.method);
    let delivery = Delivery { workflow: hook.workflow, input, trigger, id };
    match hook.respond {
        Respond::Accepted => accepted(app, delivery).await,
        Respond::Last => last(app, delivery).await,
    }
}

fn check_rate(app: &App, hook: &WebhookMatch) -> Result<(), Refusal> {
    let Some(rate) = hook.rate else { return Ok(()) };
    app.deliveries.take(&hook.id, rate).map_err(|again| {
        let text = format!("`{}` takes {} requests in {}", hook.id, rate.count, duration::format(rate.per));
        let refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, Diagnostic::error(Code::Usage, text));
        refusal.header_text(RETRY_AFTER, &again.as_secs().saturating_add(1).to_string())
    })
}

/// Answers once the run is durable.
async fn accepted(app: &Arc<App>, delivery: Delivery) -> Result<Response, Refusal> {
    let deliveries = Arc::clone(&app.deliveries);
    let started = app.blocking(move |hub| {
        let run = hub.runs().new_id();
        let (run, known) = match deliveries.start(hub, run, delivery)? {
            Delivered::Started(ticket) => {
                hub.runs().journal().wait(ticket)?;
                (run, false)
            }
            Delivered::Known(run) => {
                // It may have come a moment ago, on another connection.
                hub.runs().journal().flush()?;
                (run, true)
            }
        };
        Ok((run, known))
    });
    let (run, known) = started.await?;
    Ok(marked(json_reply(StatusCode::ACCEPTED, &json!({ "run": run.to_string() })), known))
}

/// Says of an answer that it is the one to a delivery that came before.
fn marked(mut response: Response, known: bool) -> Response {
    if known {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

fn find(app: &App, head: &Parts, path: &str) -> Result<WebhookMatch, Refusal> {
    if let Some(hook) = app.hub.webhook(head.method.as_str(), path) {
        return Ok(hook);
    }
    let others: Vec<&str> =
        METHODS.into_iter().filter(|method| app.hub.webhook(method, path).is_some()).collect();
    if !others.is_empty() {
        return Err(wrong_method(&others.join(", ")));
    }
    let problem = Diagnostic::error(Code::UnknownName, format!("no webhook is declared for `{path}`"));
    Err(Refusal::new(StatusCode::NOT_FOUND, problem))
}

/// Whether the request knows the secret: it is signed with it, or it brings it along.
fn check_secret(headers: &HeaderMap, body: &[u8], secret: &str) -> Result<(), Refusal> {
    let token = bearer(headers).or_else(|| headers.get(TOKEN)?.to_str().ok());
    let known = match (headers.get(SIGNATURE), token) {
        (Some(signature), _) => signed(signature.as_bytes(), body, secret),
        (None, Some(token)) => same_secret(token, secret),
        (None, None) => false,
    };
    if known {
        return Ok(());
    }
    Err(Refusal::access(StatusCode::UNAUTHORIZED, "the webhook's secret is missing or wrong")
        .hint("sign the body (`X-Hub-Signature-256`), or send `Authorization: Bearer` or `X-Hob-Token`"))
}

/// `sha256=` and the HMAC-SHA256 of the body in hexadecimal digits, as GitHub and Gitea send it
/// (<https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries>).
fn signed(signature: &[u8], body: &[u8], secret: &str) -> bool {
    let Some(digits) = signature.strip_prefix(b"sha256=") else {
        return false;
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(body);
    let wanted: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    same_secret(digits.to_ascii_lowercase(), wanted)
}

/// `{ method, path, params, query, headers, body }`
fn argument(head: &Parts, path: &str, hook: &WebhookMatch, body: &Bytes) -> Result<Value, Refusal> {
    let decode = |text: &str| Value::from(percent_decode_str(text).decode_utf8_lossy().into_owned());
    let params = hook.params.iter().map(|(name, value)| (name.clone(), decode(value)));
    Ok(Value::map([
        ("method", Value::from(head.method.as_str())),
        ("path", decode(path)),
        ("params", Value::Map(params.collect())),
        ("query", query(head.uri.query().unwrap_or_default())),
        ("headers", headers(&head.headers, hook.secret.is_some())),
        ("body", decoded(&head.headers, body)?),
    ]))
}

/// A name that comes several times has a list of its values.
fn query(text: &str) -> Value {
    let mut query: BTreeMap<String, Value> = BTreeMap::new();
    for (name, value) in url::form_urlencoded::parse(text.as_bytes()) {
        let value = Value::from(value.into_owned());
        match query.get_mut(&*name) {
            Some(Value::Array(values)) => values.push(value),
            Some(first) => *first = Value::Array(vec![std::mem::take(first), value]),
            None => drop(query.insert(name.into_owned(), value)),
        }
    }
    Value::Map(query)
}

/// By name in lower case; those that came several times with commas between them. What proved a secret is left out:
/// the argument is recorded in the journal, and secrets are not.
fn headers(headers: &HeaderMap, secret: bool) -> Value {
    let told = |name: &&HeaderName| !secret || (**name != AUTHORIZATION && **name != TOKEN);
    let text = |name: &HeaderName| {
        let values = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        Value::from(values.collect::<Vec<_>>().join(", "))
    };
    Value::Map(headers.keys().filter(told).map(|name| (name.to_string(), text(name))).collect())
}

/// The body as a value: JSON decoded, other text as text, anything else as bytes, `()` when there is none.
fn decoded(headers: &HeaderMap, body: &Bytes) -> Result<Value, Refusal> {
    if body.is_empty() {
        return Ok(Value::Unit);
    }
    let media = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if media == "application/json" || media.ends_with("+json") {
        let json: Json = serde_json::from_slice(body)
            .map_err(|error| Refusal::usage(format!("the body says that it is JSON and is not: {error}")))?;
        return Value::from_json(json).map_err(|error| Refusal::usage(format!("the body: {error}")));
    }
    // What is sent without a type, or with the one that curl puts on everything, is JSON when it reads as such.
    let unsaid = media.is_empty() || media == "application/x-www-form-urlencoded";
    let structured =
        body.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|byte| b"{[".contains(byte));
    if unsaid
        && structured
        && let Ok(json) = serde_json::from_slice::<Json>(body)
        && let Ok(value) = Value::from_json(json)
    {
        return Ok(value);
    }
    Ok(match std::str::from_utf8(body) {
        Ok(text) => Value::from(text),
        Err(_) => Value::Blob(body.to_vec()),
    })
}

/// Starts the run and answers with what came of it, if that is known in time.
async fn last(app: &Arc<App>, delivery: Delivery) -> Result<Response, Refusal> {
    let run = app.hub.runs().new_id();
    // Listening before the start misses nothing, and the durable end of a run implies its durable start.
    let mut expectation = app.waiters.expect(run);
    let deliveries = Arc::clone(&app.deliveries);
    let delivered = app.blocking(move |hub| Ok(deliveries.start(hub, run, delivery)?)).await?;
    let ticket = match delivered {
        Delivered::Started(ticket) => ticket,
        Delivered::Known(run) => return known(app, run).await,
    };
    settled(app, run, &mut expectation, ticket).await
}

/// Answers a delivery that came before with what came of its run.
async fn known(app: &Arc<App>, run: RunId) -> Result<Response, Refusal> {
    let mut expectation = app.waiters.expect(run);
    let row = app.blocking(move |hub| {
        hub.runs().journal().flush()?;
        row_now(hub.runs(), run)
    });
    let row = row.await?;
    if let Some(end) = &row.end {
        return Ok(marked(ended(run, end), true));
    }
    let response = match row.status {
        RunStatus::Queued | RunStatus::Running => {
            settled(app, run, &mut expectation, Ticket::default()).await?
        }
        status => goes_on(run, status),
    };
    Ok(marked(response, true))
}

/// What came of a run that was started with `ticket`.
async fn settled(
    app: &Arc<App>,
    run: RunId,
    expectation: &mut Expectation,
    ticket: Ticket,
) -> Result<Response, Refusal> {
    let settled = tokio::select! {
        settled = expectation.settled(app.limits.respond_last) => settled,
        () = app.closing.cancelled() => None,
    };
    match settled {
        Some(Settled::Ended(end)) => Ok(ended(run, &end)),
        Some(Settled::Parked(status)) => Ok(goes_on(run, status)),
        Some(Settled::Stopped(problem)) => Err(problem.into()),
        None => {
            let status = app.blocking(move |hub| {
                hub.runs().journal().wait(ticket)?;
                Ok(row_now(hub.runs(), run)?.status)
            });
            Ok(goes_on(run, status.await?))
        }
    }
}

fn goes_on(run: RunId, status: RunStatus) -> Response {
    json_reply(StatusCode::ACCEPTED, &json!({ "run": run.to_string(), "status": status.as_str() }))
}

fn ended(run: RunId, end: &RunEnd) -> Response {
    let failed = |error: &OpError| {
        let json = json!({ "run": run.to_string(), "error": error_json(error) });
        json_reply(StatusCode::INTERNAL_SERVER_ERROR, &json)
    };
    match end {
        RunEnd::Succeeded(value) => match value.to_json() {
            Ok(json) => json_reply(StatusCode::OK, &json),
            Err(error) => failed(&OpError::failed(format!("the value of the run: {error}"))),
        },
        RunEnd::Failed(error) => failed(error),
        RunEnd::Cancelled => failed(&OpError::cancelled("the run was cancelled")),
        RunEnd::Carried(successor) => goes_on(*successor, RunStatus::Running),
    }
}
