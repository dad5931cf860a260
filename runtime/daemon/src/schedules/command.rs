//! What people do with schedules.

use hob_journal::Commit;
use hob_model::{Code, Diagnostic, RunId, Timestamp, duration};
use hob_runs::{Begin, Firing, RunError};
use hob_scheduler::overlap::QUEUED_SLOTS_MAX;
use hob_scheduler::{Decision, LiveState};
use serde_json::{Value as Json, json};

use super::limits::BACKFILL;
use super::look::Look;
use super::memory::{Pause, backfill_queue_of, queue_of};
use super::{Firings, Scheduling, Timed};

/// The longest reason for a pause, in characters.
const REASON_CHARS_MAX: usize = 500;

/// A command about a schedule.
#[derive(Clone, Debug, PartialEq)]
pub enum ScheduleCommand {
    /// Starts a run of it now, beside its slots.
    Run,
    /// No slot fires from now on.
    Pause {
        /// Why, for people.
        reason: String,
    },
    /// Ends a pause; what it left out is not caught up.
    Resume,
    /// Runs the slots of a range that were never claimed, one after the other.
    Backfill(Backfill),
}

/// The range of a backfill.
#[derive(Clone, Debug, PartialEq)]
pub struct Backfill {
    /// Slots after this time.
    pub from: Timestamp,
    /// Up to this time; until now when absent.
    pub to: Option<Timestamp>,
    /// Only tells which slots these are.
    pub dry: bool,
}

fn refused(code: Code, text: String) -> Diagnostic {
    Diagnostic::error(code, text)
}

fn from_journal(error: &RunError) -> Diagnostic {
    error.diagnostic()
}

impl Scheduling {
    /// Carries out a command about the schedule `name`.
    ///
    /// # Errors
    /// When there is no such schedule, its state or its declaration forbids it, or the journal cannot be written.
    pub fn command(&self, name: &str, command: ScheduleCommand) -> Result<Json, Diagnostic> {
        let at = self.place_of(name).ok_or_else(|| self.unknown(name))?;
        let (timed, now) = (&self.timed[at], self.launch.runs.now());
        let done = {
            let mut looks = self.looks();
            let look = &mut looks[at];
            match command {
                ScheduleCommand::Run => self.run_now(timed, look, now)?,
                ScheduleCommand::Pause { reason } => self.pause(timed, look, now, &reason)?,
                ScheduleCommand::Resume => self.resume(timed, look, now)?,
                ScheduleCommand::Backfill(range) => self.backfill(timed, look, now, &range)?,
            }
        };
        self.launch.runs.journal().flush().map_err(|error| hob_runs::journal_diagnostic(&error))?;
        self.launch.runs.events_changed();
        self.bell.ring();
        Ok(done)
    }

    fn unknown(&self, name: &str) -> Diagnostic {
        let problem = refused(Code::UnknownName, format!("there is no schedule `{name}`"));
        let names = self.timed.iter().map(|timed| &*timed.schedule.name);
        match hob_model::names::nearest(name, names) {
            Some(near) => problem.hint(format!("did you mean `{near}`?")),
            None => problem.hint("`hob schedule list` names them"),
        }
    }

    fn run_now(&self, timed: &Timed, look: &mut Look, now: Timestamp) -> Result<Json, Diagnostic> {
        let schedule = &timed.schedule;
        let live = self.live_runs(timed).map_err(|error| from_journal(&error))?;
        let new = self.run_of(timed, now, "manual".to_owned());
        let run = new.id;
        let start = |queue: Option<String>| {
            let begin = Begin { queue, beside: vec![] };
            self.launch.runs.start_as(new, begin).map_err(|error| from_journal(&error))
        };
        let queue = Some(queue_of(&schedule.name));
        let queued = match schedule.decide(&live, 0) {
            Decision::Start => {
                let queue = self.ask(timed, run);
                let waits = queue.is_some();
                start(queue).inspect_err(|_| self.launch.admission.withdraw(run))?;
                self.launch.admission.go_on(&self.launch.runs);
                return Ok(
                    json!({ "run": run.to_string(), "status": if waits { "queued" } else { "running" } }),
                );
            }
            Decision::Queue { .. } => start(queue).map(|_| true)?,
            Decision::CancelFirst { cancel, .. } => {
                start(queue)?;
                self.cancel_others(&cancel, look);
                true
            }
            Decision::Skip { because, .. } => {
                let because: Vec<String> = because.iter().take(3).map(ToString::to_string).collect();
                let text = format!("schedule `{}` runs already: {}", schedule.name, because.join(", "));
                return Err(refused(Code::WrongRunState, text)
                    .hint("wait for its end, or cancel it with `hob runs cancel`"));
            }
        };
        if queued {
            look.active().queues.slots.push_back(run);
            look.awaits_ends = true;
        }
        Ok(json!({ "run": run.to_string(), "status": if queued { "queued" } else { "running" } }))
    }

    fn pause(
        &self,
        timed: &Timed,
        look: &mut Look,
        now: Timestamp,
        reason: &str,
    ) -> Result<Json, Diagnostic> {
        if reason.chars().count() > REASON_CHARS_MAX {
            let text = format!("a reason has up to {REASON_CHARS_MAX} characters");
            return Err(refused(Code::Usage, text));
        }
        if look.memory.pause.is_none() {
            look.give_up_ahead();
            look.memory().pause = Some(Pause { at: now, reason: reason.to_owned() });
            self.keep(timed, look);
        }
        Ok(self.view(timed, look, now))
    }

    fn resume(&self, timed: &Timed, look: &mut Look, now: Timestamp) -> Result<Json, Diagnostic> {
        if timed.schedule.paused {
            let text = format!("schedule `{}` is declared with `paused: true`", timed.schedule.name);
            return Err(refused(Code::WrongRunState, text).hint("remove that from its declaration"));
        }
        if look.memory.pause.is_some() {
            look.memory().resume(now);
            look.give_up_ahead();
            self.keep(timed, look);
            look.wake = Some(now);
        }
        Ok(self.view(timed, look, now))
    }

    fn keep(&self, timed: &Timed, look: &Look) {
        self.launch.runs.journal().submit(Commit::one(look.memory.write(timed)));
    }

    fn backfill(
        &self,
        timed: &Timed,
        look: &mut Look,
        now: Timestamp,
        range: &Backfill,
    ) -> Result<Json, Diagnostic> {
        let schedule = &timed.schedule;
        let to = range.to.unwrap_or(now);
        if to > now || range.from >= to {
            let text = format!("the range from {} to {to} is empty or ends in the future", range.from);
            return Err(refused(Code::Usage, text).hint("a backfill runs slots that have come"));
        }
        let room = QUEUED_SLOTS_MAX.saturating_sub(look.queued(|queues| queues.backfill.len()));
        let slots = schedule.slots(range.from, to, room + 1);
        if slots.len() > room {
            let text = format!("the range has more than {room} slots, which is all that can wait now");
            return Err(refused(Code::Usage, text).hint("backfill it in parts, with `--to`"));
        }
        if !range.dry && !Self::is_paused(timed, look) {
            // What is due by itself is decided first: a claim settles all older slots.
            let mut firings = Firings::default();
            self.look_at(timed, look, now, &mut firings).map_err(|error| from_journal(&error))?;
            let claimed = self.claim(firings.all).map_err(|error| from_journal(&error))?;
            claimed.into_iter().for_each(|claimed| self.launch.runs.begin_claimed(claimed));
        }
        look.forget();
        let (mut runs, mut known) = (Vec::new(), 0_usize);
        for slot in slots {
            let nominal = slot.nominal;
            if range.dry {
                runs.push(json!({ "nominal": nominal.to_string() }));
                continue;
            }
            let new = self.run_of(timed, nominal, format!("{BACKFILL}{nominal}"));
            let run = new.id;
            let begin = Begin { queue: Some(backfill_queue_of(&schedule.name)), beside: vec![] };
            let firing = Firing { schedule: schedule.name.to_string(), nominal, new, begin };
            let claimed = self.launch.runs.start_slot(firing);
            if claimed.map_err(|error| from_journal(&error))? {
                look.active().queues.backfill.push_back(run);
                runs.push(json!({ "nominal": nominal.to_string(), "run": run.to_string() }));
            } else {
                known += 1;
            }
        }
        look.wake = Some(now);
        Ok(json!({ "schedule": &*schedule.name, "slots": runs, "claimed_before": known, "dry": range.dry }))
    }

    /// All schedules, as `hob schedule list --json` prints them.
    #[must_use]
    pub fn list(&self) -> Json {
        let now = self.launch.runs.now();
        self.timed.iter().zip(self.looks().iter()).map(|(timed, look)| self.view(timed, look, now)).collect()
    }

    fn view(&self, timed: &Timed, look: &Look, now: Timestamp) -> Json {
        let schedule = &timed.schedule;
        let zone = &schedule.local_time.zone;
        let shown = |at: Timestamp| at.to_zoned(zone.clone()).strftime("%Y-%m-%dT%H:%M:%S%.f%:z").to_string();
        let paused = Self::is_paused(timed, look);
        let next = schedule.next(now).filter(|_| !paused).map(shown);
        let last = self.launch.runs.journal().slots(&schedule.name, 1).unwrap_or_default();
        let running = self.live_rows(timed).unwrap_or_default();
        let running: Vec<RunId> =
            running.iter().filter(|row| self.state_of(row) != LiveState::Queued).map(|row| row.run).collect();
        let pause = look.memory.pause.as_ref();
        json!({
            "name": &*schedule.name,
            "when": schedule.when.to_string(),
            "timezone": zone.iana_name(),
            "next": next,
            "last": last.first().map(|slot| shown(slot.nominal)),
            "paused": paused,
            "paused_at": pause.map(|pause| pause.at.to_string()),
            "pause_reason": pause.map(|pause| pause.reason.as_str()).filter(|reason| !reason.is_empty()),
            "running": running.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "queued": look.queued(|queues| queues.slots.len() + queues.backfill.len()),
            "skipped_in_row": look.memory.skipped,
            "jitter": Some(schedule.jitter_offset()).filter(|by| !by.is_zero()).map(duration::format),
        })
    }
}

impl Backfill {
    /// The range between two texts in RFC 3339.
    ///
    /// # Errors
    /// When one of them is no time.
    pub fn between(from: &str, to: Option<&str>, dry: bool) -> Result<Self, Diagnostic> {
        let time = |name: &str, text: &str| {
            text.parse().map_err(|_| {
                let text = format!(
                    "`{name}`: `{text}` is no time with an offset, such as 2027-01-01T08:00:00+01:00"
                );
                refused(Code::Usage, text)
            })
        };
        let to = to.map(|to| time("to", to)).transpose()?;
        Ok(Self { from: time("from", from)?, to, dry })
    }
}
