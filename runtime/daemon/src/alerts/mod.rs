//! Alerts of the homelab that is served: asks their functions, hears their events, and records, raises and sends what
//! comes of it.
//!
//! What an alert's life is, is the business of `hob-alerts`. Here it meets the world: numbers are measured when a rule is
//! due, and all that one round came to is recorded with one commit. A message to people is an event in it
//! ([`MESSAGE_HELD`]), so that none is lost and none is sent again after a crash.
//!
//! | module | holds |
//! |---|---|
//! | `judge` | asking one rule |
//! | `hear` | events that rules wait for |
//! | `command` | what people do: list, silence, test |
//! | `receiver` | an Alertmanager, told again and again of what fires |

pub(crate) mod command;
mod hear;
pub(crate) mod judge;
mod receiver;

use std::cell::LazyCell;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hob_alerts::{Board, Changed, Message, News, Severity};
use hob_engine::{Bundle, Declarations, Judge, Numbers};
use hob_journal::{Commit, Write};
use hob_model::event::MESSAGE_HELD;
use hob_model::{Diagnostic, Timestamp, Value};
use hob_planner::Homelab;
use hob_planner::declaration::{Alert, DEFAULT_CHANNEL, Looks};
use hob_runs::{RunError, Runs};
use tokio::time::Instant;

pub use command::SilenceOrder;
use judge::Rules;
use receiver::Receiver;

use crate::bell::Bell;
use crate::cursor::Cursor;
use crate::notices::{self, channels::KeptChannels};
use crate::performer::AsyncCore;

/// What fires.
pub(crate) const ALERT_FIRING: &str = "alert.firing";
/// What no longer does.
const ALERT_RESOLVED: &str = "alert.resolved";
/// A rule that cannot be judged.
pub(crate) const ALERT_BROKEN: &str = "alert.broken";

/// Where everything is recorded.
const FACTS: &str = "alerts/";
/// Up to which event rules were told what they wait for.
const CURSOR: &str = "alerts/cursor";

/// How long it rests between two rounds, however much happens.
const REST: Duration = Duration::from_millis(250);
/// How often it looks while anything is pending, firing or silenced.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// How long it waits otherwise at most.
const IDLE: Duration = Duration::from_secs(60);

/// The alerts of a homelab.
pub(crate) struct Alerts {
    runs: Runs,
    alerts: Vec<Alert>,
    declared: Arc<Declarations>,
    judge: Judge,
    channels: Arc<KeptChannels>,
    /// What messages are told apart by, beside what they say.
    host: String,
    receiver: Option<Receiver>,
    state: Mutex<Kept>,
    bell: Bell,
}

/// What is remembered between two rounds.
struct Kept {
    board: Board,
    /// When each rule that is asked at times is asked next.
    due: Vec<Option<Instant>>,
    /// Up to which event rules were told.
    cursor: Cursor,
}

/// What measures when a rule is due.
pub(crate) type Measure<'a> = &'a dyn Fn(Timestamp) -> Numbers;

/// What is measured when the first rule asks for it, and stands for the others of that round.
type Measured<'a> = LazyCell<Numbers, Box<dyn FnOnce() -> Numbers + 'a>>;

impl Alerts {
    /// The alerts that `homelab` declares; none where it declares none. What is recorded of them is taken up.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub(crate) fn new(
        runs: Runs,
        homelab: &Homelab,
        bundle: &Arc<Bundle>,
        channels: Arc<KeptChannels>,
        core: &AsyncCore,
    ) -> Result<Option<Self>, Diagnostic> {
        let cursor = Cursor::new(CURSOR);
        if !homelab.alerts.iter().any(is_heard) {
            cursor.forget(&**runs.journal()).map_err(|error| hob_runs::journal_diagnostic(&error))?;
        }
        if homelab.alerts.is_empty() {
            return Ok(None);
        }
        let declared = hob_engine::declarations(runs.host(), bundle)?;
        let mut board = Board::new(homelab.alerts.iter().map(|it| it.rule.clone()).collect());
        let recorded = runs.journal().facts(FACTS).map_err(|error| hob_runs::journal_diagnostic(&error))?;
        for (key, value) in recorded.iter().filter(|(key, _)| key != CURSOR) {
            board.recall(key, value);
        }
        let receiver = homelab.alertmanager.as_deref().and_then(|url| Receiver::new(url, &runs, core));
        let due = homelab.alerts.iter().map(first_due).collect();
        Ok(Some(Self {
            judge: Judge::new(runs.host(), bundle),
            alerts: homelab.alerts.clone(),
            declared,
            channels,
            host: bundle.record.host.clone(),
            receiver,
            state: Mutex::new(Kept { board, due, cursor }),
            bell: Bell::default(),
            runs,
        }))
    }

    fn rules(&self) -> Rules<'_> {
        Rules { alerts: &self.alerts, declared: &self.declared, judge: &self.judge }
    }

    /// Something may have happened.
    pub(crate) fn ring(&self) {
        self.bell.ring();
    }

    /// As [`Alerts::ring`], if an event may be what a rule waits for.
    pub(crate) fn emitted(&self) {
        if self.hears() {
            self.ring();
        }
    }

    /// The thread ends.
    pub(crate) fn stop(&self) {
        self.bell.stop();
    }

    /// Hears what happens from now on, or goes on where an earlier process ended.
    ///
    /// # Errors
    /// When the journal cannot be read or written.
    pub(crate) fn begin(&self) -> Result<(), RunError> {
        if self.hears() {
            lock(&self.state).cursor.begin(&**self.runs.journal())?;
        }
        Ok(())
    }

    /// Looks until it is stopped.
    pub(crate) fn serve(&self, measure: Measure<'_>) {
        loop {
            self.bell.mute();
            let longest = self.round(measure).unwrap_or_else(|error| {
                tracing::error!(%error, "alerts cannot be looked at now");
                LOOK_AGAIN
            });
            if self.bell.wait(REST, longest) {
                return;
            }
        }
    }

    /// One look at everything that is due; when to look again.
    fn round(&self, measure: Measure<'_>) -> Result<Duration, RunError> {
        let now = self.runs.now();
        let numbers: Measured<'_> = LazyCell::new(Box::new(|| measure(now)));
        for at in self.take_due() {
            // The board is not kept from others while a function computes.
            let verdict = self.rules().ask(at, None, &numbers);
            verdict.enter(&mut lock(&self.state).board, at, now);
        }
        self.hear(&numbers, now)?;
        self.settle(now);
        Ok(self.next_look())
    }

    /// The rules that are due now; each is due again after its time.
    fn take_due(&self) -> Vec<usize> {
        let now = Instant::now();
        let mut state = lock(&self.state);
        let mut due = Vec::new();
        for (at, alert) in self.alerts.iter().enumerate() {
            let Looks::Every(every) = alert.looks else { continue };
            if state.due[at].is_some_and(|due| due <= now) {
                state.due[at] = now.checked_add(every);
                due.push(at);
            }
        }
        due
    }

    fn next_look(&self) -> Duration {
        let state = lock(&self.state);
        let quiet = state.board.all().all(|(_, _, instances)| instances.is_empty());
        let longest = if quiet && state.board.silences().next().is_none() { IDLE } else { LOOK_AGAIN };
        let now = Instant::now();
        let next = state.due.iter().flatten().min().map(|due| due.saturating_duration_since(now));
        next.unwrap_or(longest).min(longest)
    }

    /// Has time pass, and records, raises and sends what came of it: all with one commit.
    fn settle(&self, now: Timestamp) {
        let mut state = lock(&self.state);
        state.board.pass(now);
        let messages = state.board.tell(now);
        let (records, news) = state.board.take();
        let mut writes: Vec<Write> =
            records.into_iter().map(|(key, value)| Write::Fact { key, value }).collect();
        let events = news.iter().map(event).chain(self.orders(&messages, now));
        writes.extend(events.map(|event| raise(event, now)));
        let raised = writes.iter().any(|write| matches!(write, Write::Event { .. }));
        writes.extend(state.cursor.due(!writes.is_empty()));
        if let Some(receiver) = &self.receiver {
            receiver.tell(&state.board, now);
        }
        if !writes.is_empty() {
            self.runs.journal().submit(Commit { writes });
        }
        drop(state);
        if raised {
            self.runs.events_changed();
        }
    }

    /// The messages, as events that have them delivered. Without any channel a line at login tells of what fires.
    fn orders<'m>(
        &'m self,
        messages: &'m [Message],
        now: Timestamp,
    ) -> impl Iterator<Item = (&'static str, Value)> {
        let reachable =
            |message: &&Message| message.channel != DEFAULT_CHANNEL || self.channels.default_name().is_some();
        messages.iter().filter(reachable).map(move |message| (MESSAGE_HELD, self.order(message, now)))
    }

    /// What a run that delivers the message is given.
    fn order(&self, message: &Message, now: Timestamp) -> Value {
        let (priority, tag) = match message.severity {
            Some(Severity::Critical) => ("urgent", "rotating_light"),
            Some(Severity::Warning) => ("high", "warning"),
            Some(Severity::Info) => ("default", "information_source"),
            None => ("default", "white_check_mark"),
        };
        let told = Value::map([
            ("title", Value::from(message.title.as_str())),
            ("body", message.body.as_str().into()),
            ("priority", priority.into()),
            ("tags", Value::Array(vec![tag.into()])),
        ]);
        let whence = [&*self.host, &message.channel, &message.group, &now.to_string()].join("/");
        notices::order(Value::from(message.channel.as_str()), told, &whence)
    }
}

/// After a start nothing runs yet: a rule is asked for the first time when its time has passed once.
fn first_due(alert: &Alert) -> Option<Instant> {
    match alert.looks {
        Looks::Every(every) => Instant::now().checked_add(every),
        Looks::On(_) => None,
    }
}

/// Whether a rule waits for events.
fn is_heard(alert: &Alert) -> bool {
    matches!(alert.looks, Looks::On(_))
}

/// Has an event happen.
fn raise((name, payload): (&str, Value), at: Timestamp) -> Write {
    Write::Event { name: name.to_owned(), payload, origin: "hob".to_owned(), at }
}

/// What happened, as an event.
pub(crate) fn event(news: &News) -> (&'static str, Value) {
    match news {
        News::Firing(changed) => (ALERT_FIRING, payload(changed)),
        News::Resolved(changed) => (ALERT_RESOLVED, payload(changed)),
        News::Broken(alert, why) => {
            let fields = [("alert", Value::from(alert.as_str())), ("error", why.as_str().into())];
            (ALERT_BROKEN, Value::map(fields))
        }
    }
}

fn payload(changed: &Changed) -> Value {
    let labels = changed.labels.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str())));
    Value::map([
        ("alert", Value::from(changed.alert.as_str())),
        ("severity", changed.severity.as_str().into()),
        ("group", changed.group.as_str().into()),
        ("labels", Value::map(labels)),
        ("summary", changed.summary.as_str().into()),
        ("value", changed.value.map_or(Value::Unit, Value::Float)),
        ("muted", changed.muted.into()),
    ])
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
