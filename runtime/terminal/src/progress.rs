//! What long work says about itself while it lasts.
//!
//! The work holds a [`Progress`] and knows nothing of terminals. [`Bars`](crate::Bars) draws for people, [`Lines`]
//! writes a log, [`Silent`] does nothing.

use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hob_model::size;

use crate::{human, text};

/// How often [`Lines`] says how far the work is, in seconds.
pub const LINES_INTERVAL_SECONDS: u64 = 5;

/// What work is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Nothing: it is under way until it is finished.
    Step,
    /// Things.
    Items,
    /// Bytes.
    Bytes,
}

impl Unit {
    /// An amount of this unit for people; empty for steps.
    #[must_use]
    pub fn amount(self, amount: u64) -> String {
        match self {
            Self::Step => String::new(),
            Self::Items => human::count(amount),
            Self::Bytes => size::format(amount),
        }
    }
}

/// How work ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It is done.
    Done,
    /// There was nothing to do.
    Skipped,
    /// It failed; the error itself is reported elsewhere.
    Failed,
}

impl End {
    /// The word for logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
        }
    }
}

/// Where work reports to.
pub trait Progress: Send + Sync {
    /// Work called `label` begins. `total` is what there is to do, where that is known.
    fn start(&self, label: &str, unit: Unit, total: Option<u64>) -> Box<dyn Task>;

    /// Calls `write`, which writes to the same terminal, while nothing is drawn there.
    fn suspend(&self, write: &mut dyn FnMut());
}

/// Work under way. One that is dropped without [`Task::finish`] vanishes without a word.
pub trait Task: Send + Sync {
    /// `by` more are done.
    fn advance(&self, by: u64);

    /// What there is to do has become known.
    fn set_total(&self, total: u64);

    /// What is done at this moment, in a few words.
    fn message(&self, text: &str);

    /// It ended.
    fn finish(self: Box<Self>, end: End);
}

/// Says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn start(&self, _: &str, _: Unit, _: Option<u64>) -> Box<dyn Task> {
        Box::new(Self)
    }

    fn suspend(&self, write: &mut dyn FnMut()) {
        write();
    }
}

impl Task for Silent {
    fn advance(&self, _: u64) {}

    fn set_total(&self, _: u64) {}

    fn message(&self, _: &str) {}

    fn finish(self: Box<Self>, _: End) {}
}

/// The time since some fixed moment; it never goes back.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// How far work is.
#[derive(Clone, Debug)]
pub(crate) struct Count {
    pub(crate) unit: Unit,
    pub(crate) done: u64,
    pub(crate) total: Option<u64>,
}

impl Count {
    /// `12M of 80M (15%)`, `12M`, or nothing for steps.
    pub(crate) fn describe(&self) -> String {
        let done = self.unit.amount(self.done);
        match self.total.filter(|total| self.unit != Unit::Step && *total > 0) {
            Some(total) => {
                let percent = u128::from(self.done.min(total)) * 100 / u128::from(total);
                format!("{done} of {} ({percent}%)", self.unit.amount(total))
            }
            None => done,
        }
    }
}

/// Writes lines to a log: when work begins, when it ends, and in between every [`LINES_INTERVAL_SECONDS`] at most.
pub struct Lines {
    log: Arc<Log>,
}

struct Log {
    clock: Clock,
    state: Mutex<LogState>,
}

struct LogState {
    writer: Box<dyn Write + Send>,
    /// When a line about work under way may be written again, by the clock.
    next: Duration,
}

impl Lines {
    /// Lines to `writer`, with times of `clock`.
    pub fn new(writer: Box<dyn Write + Send>, clock: Clock) -> Self {
        let next = clock() + Duration::from_secs(LINES_INTERVAL_SECONDS);
        Self { log: Arc::new(Log { clock, state: Mutex::new(LogState { writer, next }) }) }
    }
}

impl Progress for Lines {
    fn start(&self, label: &str, unit: Unit, total: Option<u64>) -> Box<dyn Task> {
        let label = text::one_line(label).into_owned();
        self.log.write(&format!("{label} …"));
        let count = Mutex::new(Count { unit, done: 0, total });
        Box::new(LinesTask { started: (self.log.clock)(), log: self.log.clone(), label, count })
    }

    fn suspend(&self, write: &mut dyn FnMut()) {
        write();
    }
}

impl Log {
    fn write(&self, line: &str) {
        let mut state = locked(&self.state);
        // A log that cannot be written must not stop the work it tells of.
        let _ = writeln!(state.writer, "{line}").and_then(|()| state.writer.flush());
    }

    /// Whether a line about work under way is due; if so, the next one is due an interval later.
    fn due(&self) -> bool {
        let now = (self.clock)();
        let mut state = locked(&self.state);
        let due = now >= state.next;
        if due {
            state.next = now + Duration::from_secs(LINES_INTERVAL_SECONDS);
        }
        due
    }
}

struct LinesTask {
    log: Arc<Log>,
    label: String,
    started: Duration,
    count: Mutex<Count>,
}

impl LinesTask {
    fn line(&self, facts: &[&str]) {
        let elapsed = human::duration((self.log.clock)().saturating_sub(self.started));
        let facts: Vec<&str> =
            facts.iter().copied().filter(|fact| !fact.is_empty()).chain([&*elapsed]).collect();
        self.log.write(&format!("{}: {}", self.label, facts.join(", ")));
    }
}

impl Task for LinesTask {
    fn advance(&self, by: u64) {
        let count = {
            let mut count = locked(&self.count);
            count.done = count.done.saturating_add(by);
            count.clone()
        };
        if self.log.due() {
            self.line(&[&count.describe()]);
        }
    }

    fn set_total(&self, total: u64) {
        locked(&self.count).total = Some(total);
    }

    fn message(&self, text: &str) {
        if self.log.due() {
            let count = locked(&self.count).clone();
            self.line(&[&count.describe(), &text::one_line(text)]);
        }
    }

    fn finish(self: Box<Self>, end: End) {
        let count = locked(&self.count).clone();
        let amount = if count.done > 0 { count.unit.amount(count.done) } else { String::new() };
        self.line(&[end.as_str(), &amount]);
    }
}

/// The state behind `mutex`. A thread that panicked leaves nothing half-done here, so poison is ignored.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
