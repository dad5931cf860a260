//! What was delivered to webhooks: each delivery once, and not too many.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hob_journal::{Commit, Journal, JournalError, Ticket, Write};
use hob_model::{Diagnostic, RunId, Timestamp, Value};
use hob_planner::declaration::Rate;
use http::{HeaderMap, HeaderName};
use tokio::time::Instant;

use super::reply::Refusal;
use crate::hub::{Hub, Order};

/// Headers that name a delivery, so that the same one sent again is known: the draft of the IETF, Standard Webhooks,
/// GitHub, Gitea and Forgejo, GitLab.
const ID_HEADERS: [HeaderName; 6] = [
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("webhook-id"),
    HeaderName::from_static("x-github-delivery"),
    HeaderName::from_static("x-gitea-delivery"),
    HeaderName::from_static("x-forgejo-delivery"),
    HeaderName::from_static("x-gitlab-event-uuid"),
];
/// The longest name of a delivery, in bytes.
const ID_BYTES_MAX: usize = 256;
/// How long a delivery is known.
const KNOWN_FOR: Duration = Duration::from_secs(3 * 24 * 60 * 60);
/// How often those that are older are forgotten.
const FORGET_EVERY: Duration = Duration::from_secs(60 * 60);
/// Before the workflow and the name of a delivery, the name of its fact.
const PREFIX: &str = "delivery/";

/// The name of a delivery, if it has one.
pub(super) fn id(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let Some(value) = ID_HEADERS.iter().find_map(|name| headers.get(name)) else { return Ok(None) };
    match value.to_str() {
        Ok(text) if (1..=ID_BYTES_MAX).contains(&text.len()) => Ok(Some(text.to_owned())),
        _ => Err(Refusal::usage(format!("the name of the delivery is no text of 1 to {ID_BYTES_MAX} bytes"))),
    }
}

/// What became of a delivery.
pub(super) enum Delivered {
    /// It started the run.
    Started(Ticket),
    /// It came before, and started this run then.
    Known(RunId),
}

/// A delivery to a workflow.
pub(super) struct Delivery {
    pub(super) workflow: String,
    pub(super) input: Value,
    pub(super) trigger: String,
    pub(super) id: Option<String>,
}

/// What is remembered of deliveries.
#[derive(Default)]
pub(crate) struct Deliveries {
    /// Held while a named delivery is looked up and started.
    forgotten: Mutex<Option<Timestamp>>,
    buckets: Mutex<HashMap<String, Bucket>>,
}

/// How much room there is for requests: it fills again at the rate.
struct Bucket {
    tokens: f64,
    at: Instant,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Deliveries {
    /// Takes a request of a webhook; with the time after which to come again where it is one too many.
    pub(super) fn take(&self, webhook: &str, rate: Rate) -> Result<(), Duration> {
        let (now, count) = (Instant::now(), f64::from(rate.count));
        let per_second = count / rate.per.as_secs_f64();
        let mut buckets = lock(&self.buckets);
        let full = || Bucket { tokens: count, at: now };
        let bucket = buckets.entry(webhook.to_owned()).or_insert_with(full);
        let since = now.duration_since(bucket.at).as_secs_f64();
        bucket.tokens = (bucket.tokens + since * per_second).min(count);
        bucket.at = now;
        if bucket.tokens >= 1.0 {
            bucket.tokens -= 1.0;
            return Ok(());
        }
        Err(Duration::from_secs_f64(((1.0 - bucket.tokens) / per_second).max(1.0)))
    }

    /// Starts the workflow as the run `run`, unless the same delivery came before.
    ///
    /// The name is written before the run, in the order of the journal: where a crash comes in between, the run that it
    /// names does not exist, and the delivery is taken as new.
    pub(super) fn start(
        &self,
        hub: &dyn Hub,
        run: RunId,
        delivery: Delivery,
    ) -> Result<Delivered, Diagnostic> {
        let Delivery { workflow, input, trigger, id } = delivery;
        let order = Order { workflow: &workflow, input, trigger: &trigger, until: None };
        let Some(id) = id else {
            return Ok(Delivered::Started(hub.start(run, order)?));
        };
        let mut forgotten = lock(&self.forgotten);
        let (journal, now) = (hub.runs().journal(), hub.runs().now());
        let unreadable = |error: JournalError| hob_runs::journal_diagnostic(&error);
        let key = format!("{PREFIX}{workflow}/{id}");
        let known = journal.fact(&key).map_err(unreadable)?;
        let known = known.and_then(|fact| RunId::parse(fact.get("run")?.as_str()?));
        if let Some(known) = known
            && journal.run(known).map_err(unreadable)?.is_some()
        {
            return Ok(Delivered::Known(known));
        }
        let due = forgotten.is_none_or(|last| now.duration_since(last).unsigned_abs() >= FORGET_EVERY);
        if due {
            *forgotten = Some(now);
            forget(&**journal, now).map_err(unreadable)?;
        }
        let value = Value::map([("run", Value::from(run.to_string())), ("at", Value::from(now.to_string()))]);
        journal.submit(Commit::one(Write::Fact { key, value: Some(value) }));
        Ok(Delivered::Started(hub.start(run, order)?))
    }
}

/// Forgets deliveries that are older than they need be known.
fn forget(journal: &dyn Journal, now: Timestamp) -> Result<(), JournalError> {
    let oldest = now.checked_sub(KNOWN_FOR).unwrap_or(Timestamp::MIN);
    let is_old = |fact: &Value| {
        let at = fact.get("at").and_then(Value::as_str).and_then(|at| at.parse::<Timestamp>().ok());
        at.is_none_or(|at| at < oldest)
    };
    let facts = journal.facts(PREFIX)?;
    let old = facts.into_iter().filter(|(_, fact)| is_old(fact));
    let writes: Vec<Write> = old.map(|(key, _)| Write::Fact { key, value: None }).collect();
    if !writes.is_empty() {
        journal.submit(Commit { writes });
    }
    Ok(())
}
