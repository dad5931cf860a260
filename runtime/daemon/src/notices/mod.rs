//! What people are told: messages that channels did not take at once, approvals that are wanted, and what goes wrong.
//!
//! All of it begins with an event, so nothing is lost with the process: how far events were looked at is a fact, and each
//! event is claimed once, as a slot. A message is delivered by a run of its own (`deliver.rhai`), which waits as runs wait.
//! Where no channel is declared, and where none takes it for good, a line at login says so.
//!
//! | module | holds |
//! |---|---|
//! | `text` | what events are for people |
//! | [`channels`] | the declared channels, as the primitive `notify` sees them |
//! | [`links`] | signed links that answer approvals |
//! | `login` | the lines at login |

pub mod channels;
pub mod links;
mod login;
mod text;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hob_engine::Bundle;
use hob_journal::{Commit, EventRow};
use hob_model::event::{APPROVAL_ASKED, MESSAGE_HELD};
use hob_model::{Digest, OnDoubt, RunEntry, RunOwner, RunStarted, RunStatus, Timestamp, Value};
use hob_runs::{Begin, Firing, NewRun, RunError, Runs};
use serde_json::{Value as Json, json};

use channels::KeptChannels;
use login::Login;
use text::Notice;

use crate::alerts::{ALERT_BROKEN, ALERT_FIRING};
use crate::bell::Bell;
use crate::cursor::Cursor;

/// Events that are looked at.
const NAMES: [&str; 9] = [
    MESSAGE_HELD,
    APPROVAL_ASKED,
    "run.failed",
    "run.in_doubt",
    "run.paused",
    "schedule.missed",
    "service.down",
    ALERT_FIRING,
    ALERT_BROKEN,
];
/// Events that are read at one time.
const EVENTS_AT_ONCE: usize = 100;
/// How long it rests between two looks, however much happens.
const REST: Duration = Duration::from_millis(250);
/// How long it waits at most until it looks again.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Of one kind of notice about one thing, one is told in this time; all of them are events.
const SAME_SECONDS: i64 = 60;

/// The fact that says up to which event notices were looked for.
const CURSOR: &str = "notices/cursor";
/// The name of the runs that deliver messages.
const RUN_NAME: &str = "notify";
/// What they run.
const SCRIPT: (&str, &str) = ("notify.rhai", include_str!("deliver.rhai"));

/// Tells people.
pub(crate) struct Notices {
    runs: Runs,
    channels: Arc<KeptChannels>,
    bundle: Arc<Bundle>,
    /// What secrets and relative paths belong to.
    directory: String,
    login: Login,
    cursor: Mutex<Cursor>,
    bell: Bell,
}

impl Notices {
    pub(crate) fn new(runs: Runs, channels: Arc<KeptChannels>, directory: String, login: PathBuf) -> Self {
        let host = rustix::system::uname();
        let host = host.nodename().to_string_lossy().into_owned();
        let bundle = Bundle::of_text(SCRIPT.0, SCRIPT.1, "hob", &host);
        Self {
            login: Login::new(login),
            runs,
            channels,
            bundle: Arc::new(bundle),
            directory,
            cursor: Mutex::new(Cursor::new(CURSOR)),
            bell: Bell::default(),
        }
    }

    /// Remembers how far events were looked at; the first time, what happened before is nobody's concern.
    pub(crate) fn begin(&self) -> Result<(), RunError> {
        lock(&self.cursor).begin(&**self.runs.journal())?;
        self.login.write(&self.lines());
        Ok(())
    }

    /// Something may have happened.
    pub(crate) fn ring(&self) {
        self.bell.ring();
    }

    /// As [`Notices::ring`], if a run in this state may be what is told of.
    pub(crate) fn run_changed(&self, status: RunStatus) {
        if matches!(status, RunStatus::Failed | RunStatus::InDoubt | RunStatus::Paused | RunStatus::Waiting) {
            self.ring();
        }
    }

    /// The thread ends.
    pub(crate) fn stop(&self) {
        self.bell.stop();
    }

    /// Looks at events until it is stopped.
    pub(crate) fn serve(&self) {
        loop {
            self.bell.mute();
            if let Err(error) = self.round() {
                tracing::error!(%error, "notices cannot be given now");
            }
            if self.bell.wait(REST, LOOK_AGAIN) {
                return;
            }
        }
    }

    /// Looks at the events that came since the last look.
    pub(crate) fn round(&self) -> Result<(), RunError> {
        let mut cursor = lock(&self.cursor);
        loop {
            let (events, seen) = self.runs.journal().events_named(&NAMES, cursor.seen, EVENTS_AT_ONCE)?;
            for event in &events {
                self.serve_one(event)?;
            }
            cursor.seen = seen;
            if let Some(record) = cursor.due(!events.is_empty()) {
                self.runs.journal().submit(Commit::one(record));
            }
            if events.len() < EVENTS_AT_ONCE {
                return Ok(());
            }
        }
    }

    fn serve_one(&self, event: &EventRow) -> Result<(), RunError> {
        match event.name.as_str() {
            MESSAGE_HELD => self.deliver(event, event.payload.clone(), None),
            APPROVAL_ASKED => {
                let channel = event.payload.get("channel").cloned().unwrap_or_default();
                self.deliver(event, self.order(event, channel, text::approval(event)), None)
            }
            _ => self.notice(event),
        }
    }

    /// Tells of something that went wrong.
    fn notice(&self, event: &EventRow) -> Result<(), RunError> {
        if self.is_watched(event)? {
            return Ok(());
        }
        let Some(notice) = text::notice(event) else { return Ok(()) };
        // That a message cannot be delivered is not told by a message.
        let own = event.payload.get("name").and_then(Value::as_str) == Some(RUN_NAME);
        match self.channels.default_name().filter(|_| !own) {
            // Alerts tell their channels themselves, grouped and again.
            Some(_) if event.name == ALERT_FIRING => Ok(()),
            Some(channel) => {
                let about = (!notice.about.is_empty()).then(|| notice.about.clone());
                self.deliver(event, self.order(event, channel.into(), notice.message()), about)
            }
            None => {
                self.keep_line(event, &notice);
                Ok(())
            }
        }
    }

    /// Whether a person watches the run that the event is about.
    fn is_watched(&self, event: &EventRow) -> Result<bool, RunError> {
        let run = event.payload.get("run").and_then(Value::as_str).and_then(hob_model::RunId::parse);
        let row = run.map(|run| self.runs.journal().run(run)).transpose()?.flatten();
        Ok(event.name == "run.failed" && row.is_some_and(|row| row.owner == RunOwner::Foreground))
    }

    /// What a run that delivers a message about the event is given.
    fn order(&self, event: &EventRow, channel: Value, message: Value) -> Value {
        order(channel, message, &format!("{}/{}/{}", self.bundle.record.host, event.id, event.at))
    }

    /// Starts a run that delivers a message, once for the event. Of several events of one name about one thing, the first in
    /// a minute is told.
    fn deliver(&self, event: &EventRow, input: Value, about: Option<String>) -> Result<(), RunError> {
        let (schedule, nominal) = match about {
            Some(about) => {
                let second = event.at.as_second();
                let minute = Timestamp::from_second(second - second.rem_euclid(SAME_SECONDS));
                (format!("notice/{}/{about}", event.name), minute.unwrap_or(event.at))
            }
            None => {
                // The number of the event stands in for the time: it can be claimed once.
                let number = i64::try_from(event.id).unwrap_or(i64::MAX);
                ("notice".to_owned(), Timestamp::from_microsecond(number).unwrap_or(Timestamp::MAX))
            }
        };
        let entry = RunEntry::Playbook(SCRIPT.0.to_owned());
        let (cwd, trigger) = (self.directory.clone(), format!("event:{}", event.id));
        let started = RunStarted { input, cwd, trigger, ..RunStarted::trusted(RUN_NAME, entry) };
        let new = NewRun { id: self.runs.new_id(), started, bundle: Arc::clone(&self.bundle) };
        self.runs.start_slot(Firing { schedule, nominal, new, begin: Begin::default() }).map(drop)
    }

    fn lines(&self) -> Vec<String> {
        login::recall(&**self.runs.journal())
    }

    fn keep_line(&self, event: &EventRow, notice: &Notice) {
        let lines = login::keep(&**self.runs.journal(), event, &notice.line());
        self.login.write(&lines);
    }

    /// The lines that are shown at login, as JSON.
    pub(crate) fn list(&self) -> Json {
        json!({ "file": self.login.path().display().to_string(), "lines": self.lines() })
    }

    /// Forgets them.
    pub(crate) fn clear(&self) -> Json {
        let lines = self.lines();
        login::forget(&**self.runs.journal());
        self.login.write(&[]);
        json!({ "cleared": lines.len() })
    }
}

/// What a run that delivers a message is given. The message has one key, which is made of `whence`, however often it is
/// tried.
pub(crate) fn order(channel: Value, message: Value, whence: &str) -> Value {
    let key = Digest::of(whence.as_bytes()).to_string();
    let key: String = key.chars().filter(char::is_ascii_alphanumeric).take(32).collect();
    Value::map([
        ("channel", channel),
        ("message", message),
        ("key", key.into()),
        ("not_before", Value::Unit),
        ("on_doubt", OnDoubt::Retry.as_str().into()),
    ])
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
