//! Slots that many schedules have at the same instant, made ready before it comes.
//!
//! What a slot needs to be claimed follows from its schedule and its nominal time. Where many are due at one time, each would
//! wait for what is done for those before it; so it is done for all ahead, and at the instant they are claimed with one
//! record. What is ready is kept in memory alone and binds nobody: a look that finds anything else than it was made for
//! decides anew.

use std::time::Duration;

use hob_model::{RunId, Timestamp};
use hob_runs::Ready;
use hob_scheduler::slots::{ON_TIME_SECONDS_MAX, earlier};

use super::look::Look;
use super::{CLAIMED_MAX, Firings, MANY_DUE, Scheduling, Timed};

/// How long before their instant slots are made ready.
const AHEAD: Duration = Duration::from_secs(2);

/// A slot that is ready.
pub(super) struct Ahead {
    ready: Ready,
    due: Timestamp,
    /// When the schedule is to be looked at next, once this slot is claimed.
    wake: Option<Timestamp>,
}

impl Ahead {
    /// Whether at `now` this slot is to be decided, on time, and no other of its schedule.
    fn is_due(&self, now: Timestamp) -> bool {
        let late = now.duration_since(self.due);
        !late.is_negative()
            && late.unsigned_abs() <= Duration::from_secs(ON_TIME_SECONDS_MAX)
            && self.wake.is_none_or(|wake| now < wake)
    }
}

impl Scheduling {
    /// Fires the slot that was made ready, where it is what a look would fire; `false` where it needs that look.
    pub(super) fn fire_ready(
        &self,
        timed: &Timed,
        look: &mut Look,
        now: Timestamp,
        firings: &mut Firings,
    ) -> bool {
        let Some(ahead) = look.take_ahead().filter(|ahead| ahead.is_due(now)) else { return false };
        if Self::is_paused(timed, look) || look.has_queued() || !firings.knows_idle(timed) {
            return false;
        }
        look.fired(ahead.ready.slot().nominal, now);
        look.wake = ahead.wake;
        firings.all.push(ahead.ready);
        true
    }

    /// When to go on for what is due at `wake`: earlier where it is to be made ready, which is done when that has come.
    pub(super) fn make_ready(&self, wake: Timestamp, now: Timestamp) -> Timestamp {
        let mut looks = self.looks();
        let is_due = |look: &&Look| look.wake == Some(wake);
        if looks.iter().filter(is_due).take(MANY_DUE).count() < MANY_DUE {
            return wake;
        }
        let begin = earlier(wake, AHEAD);
        if now < begin {
            return begin;
        }
        // In the order in which the runs begin: those that go on together then write to the same pages.
        let unready = looks.iter().filter(is_due).filter(|look| !look.is_ahead()).take(CLAIMED_MAX);
        let mut ids: Vec<RunId> = unready.map(|_| self.launch.runs.new_id_at(wake)).collect();
        ids.sort_unstable_by(|a, b| b.cmp(a));
        let mut slots = Vec::new();
        for (timed, look) in self.timed.iter().zip(looks.iter_mut()) {
            if look.wake != Some(wake) || look.is_ahead() {
                continue;
            }
            let Some(id) = ids.pop() else { break };
            if let Some(ahead) = self.ahead_of(timed, look, wake, id) {
                slots.push(ahead.ready.slot().clone());
                look.active().ahead = Some(Box::new(ahead));
            }
        }
        if !slots.is_empty()
            && let Err(error) = self.launch.runs.journal().expect_claims(&slots)
        {
            // Who claims them is told as well.
            tracing::error!(%error, "slots cannot be looked up before they are due");
        }
        wake
    }

    /// The slot that is due at `due`, ready for a run with this id; none where more bears on it than its expression.
    fn ahead_of(&self, timed: &Timed, look: &mut Look, due: Timestamp, id: RunId) -> Option<Ahead> {
        let schedule = &timed.schedule;
        let is_limited = |workflow: &str| self.launch.admission.is_limited(workflow);
        let is_plain = !timed.target.shared
            && !timed.target.workflow.as_deref().is_some_and(is_limited)
            && schedule.conflicts.is_empty()
            && schedule.timeout.is_none()
            && schedule.deadline.is_none()
            && look.memory.skipped == 0
            && !look.has_queued()
            && !Self::is_paused(timed, look);
        if !is_plain {
            return None;
        }
        self.read_claimed(timed, look, due).ok()?;
        let found = self.due(timed, look, due).ok()?;
        let [slot] = found.fire[..] else { return None };
        let mut firing = self.firing(timed, look, slot.nominal, None);
        firing.new.id = id;
        (slot.due == due).then(|| Ahead { ready: self.launch.runs.ready(firing), due, wake: found.wake })
    }
}
