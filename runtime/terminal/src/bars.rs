//! Progress for people at a terminal.

use std::fmt::Write as _;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use crate::progress::{Clock, Count, End, Progress, Task, Unit};
use crate::{Role, Style, human, text};

/// How often a spinner turns and a clock moves on when nothing else happens, in milliseconds.
const TICK_MILLISECONDS: u64 = 100;

/// Speed and remaining time are not shown before this many seconds.
const ESTIMATE_SECONDS_MIN: u64 = 2;

/// How wide a label may be.
const LABEL_COLUMNS_MAX: usize = 40;

/// Draws bars and spinners, and one line for what has ended.
pub struct Bars {
    all: MultiProgress,
    style: Style,
    clock: Clock,
    tick: Option<Duration>,
}

impl Bars {
    /// Draws to standard error, if that is a terminal; else nothing is shown. Elapsed times are those of `clock`.
    #[must_use]
    pub fn stderr(style: Style, clock: Clock) -> Self {
        let tick = Some(Duration::from_millis(TICK_MILLISECONDS));
        Self { tick, ..Self::on(ProgressDrawTarget::stderr(), style, clock) }
    }

    /// Draws to `target` whenever the work reports something, and at no other time.
    #[must_use]
    pub fn on(target: ProgressDrawTarget, style: Style, clock: Clock) -> Self {
        Self { all: MultiProgress::with_draw_target(target), style, clock, tick: None }
    }
}

/// What a bar looks like: a spinner as long as nobody knows how much there is to do.
fn layout(
    unit: Unit,
    total: Option<u64>,
    elapsed: impl Fn() -> Duration + Clone + Send + Sync + 'static,
) -> ProgressStyle {
    const VALID: &str = "the template is well-formed";
    let template = match (unit, total) {
        (Unit::Step, _) => "{spinner} {prefix}  {elapsed}  {wide_msg}",
        (_, None) => "{spinner} {prefix}  {amount}  {elapsed}  {wide_msg}",
        (_, Some(_)) => "{spinner} {prefix}  {bar:24}  {amount}{estimate}  {wide_msg}",
    };
    let amount = move |state: &ProgressState, out: &mut dyn std::fmt::Write| {
        // What cannot be written to a string in memory is not worth an error.
        let _ = out.write_str(&Count { unit, done: state.pos(), total: state.len() }.describe());
    };
    let estimate = {
        let elapsed = elapsed.clone();
        move |state: &ProgressState, out: &mut dyn std::fmt::Write| {
            let _ = out.write_str(&estimate(unit, state.pos(), state.len(), elapsed()));
        }
    };
    let elapsed = move |_: &ProgressState, out: &mut dyn std::fmt::Write| {
        let _ = out.write_str(&human::seconds(elapsed().as_secs(), 2));
    };
    ProgressStyle::with_template(template)
        .expect(VALID)
        .progress_chars("━╸─")
        .with_key("amount", amount)
        .with_key("estimate", estimate)
        .with_key("elapsed", elapsed)
}

/// `, 5.2M/s, 13 s left`, from the average speed so far; nothing as long as that would be a wild guess.
fn estimate(unit: Unit, done: u64, total: Option<u64>, elapsed: Duration) -> String {
    if elapsed.as_secs() < ESTIMATE_SECONDS_MIN || done == 0 {
        return String::new();
    }
    let millis = elapsed.as_millis();
    let fit = |number: u128| u64::try_from(number).unwrap_or(u64::MAX);
    let mut out = String::new();
    let per_second = fit(u128::from(done) * 1000 / millis);
    if per_second > 0 {
        let _ = write!(out, ", {}/s", unit.amount(per_second));
    }
    let remaining = total.unwrap_or(done).saturating_sub(done);
    if remaining > 0 {
        let left = fit(u128::from(remaining) * millis / u128::from(done) / 1000);
        let _ = write!(out, ", {} left", human::seconds(left, 2));
    }
    out
}

impl Progress for Bars {
    fn start(&self, label: &str, unit: Unit, total: Option<u64>) -> Box<dyn Task> {
        let started = (self.clock)();
        let label = text::truncate(&text::one_line(label), LABEL_COLUMNS_MAX).into_owned();
        let bar = self.all.add(ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden()));
        bar.set_prefix(self.style.paint(Role::Name, &label).to_string());
        if let Some(tick) = self.tick {
            bar.enable_steady_tick(tick);
        }
        let (all, style, clock) = (self.all.clone(), self.style, self.clock.clone());
        let task = BarTask { all, bar, style, clock, unit, label, started };
        task.lay_out(total);
        Box::new(task)
    }

    fn suspend(&self, write: &mut dyn FnMut()) {
        self.all.suspend(write);
    }
}

struct BarTask {
    all: MultiProgress,
    bar: ProgressBar,
    style: Style,
    clock: Clock,
    unit: Unit,
    label: String,
    started: Duration,
}

impl BarTask {
    fn lay_out(&self, total: Option<u64>) {
        let (clock, started) = (self.clock.clone(), self.started);
        self.bar.set_style(layout(self.unit, total, move || clock().saturating_sub(started)));
    }
}

impl Task for BarTask {
    fn advance(&self, by: u64) {
        self.bar.inc(by);
    }

    fn set_total(&self, total: u64) {
        self.bar.set_length(total);
        self.lay_out(Some(total));
    }

    fn message(&self, text: &str) {
        self.bar.set_message(text::one_line(text).into_owned());
    }

    fn finish(self: Box<Self>, end: End) {
        let (role, sign) = match end {
            End::Done => (Role::Success, "✓"),
            End::Skipped => (Role::Muted, "-"),
            End::Failed => (Role::Error, "✗"),
        };
        let elapsed = human::duration((self.clock)().saturating_sub(self.started));
        let facts = match (self.unit, self.bar.position()) {
            (Unit::Step, _) | (_, 0) => elapsed,
            (unit, done) => format!("{} in {elapsed}", unit.amount(done)),
        };
        let facts = self.style.paint(Role::Muted, facts);
        let (sign, label) = (self.style.paint(role, sign), self.style.paint(Role::Name, &self.label));
        self.bar.finish_and_clear();
        // A terminal that is gone must not stop the work.
        let _ = self.all.println(format!("{sign} {label}  {facts}"));
    }
}
