//! Whether a slot may start now: earlier runs of its schedule, and runs that name the same conflict keys.

use crate::schedule::{Overlap, Schedule};

/// How many slots of one schedule may wait their turn; further ones are skipped, and said to be.
pub const QUEUED_SLOTS_MAX: usize = 1_000;

/// After how many skipped slots in a row a schedule counts as missed.
pub const SKIPPED_IN_ROW_MISSED: u32 = 3;

/// What a run that has not ended is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LiveState {
    /// It runs, or waits for something that comes by itself.
    Running,
    /// It waits its turn and has not begun.
    Queued,
    /// It is in doubt or paused, until a person decides.
    Parked,
}

/// A run that has not ended: of the same schedule, or of anything that names conflict keys.
#[derive(Clone, Copy, Debug)]
pub struct LiveRun<'a, Id> {
    /// Its id.
    pub id: Id,
    /// Whether it belongs to the same schedule.
    pub own: bool,
    /// What it is doing.
    pub state: LiveState,
    /// The conflict keys that it names.
    pub conflicts: &'a [String],
}

/// What becomes of a slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision<Id> {
    /// It starts.
    Start,
    /// It waits until these runs have ended.
    Queue {
        /// What it waits for.
        behind: Vec<Id>,
    },
    /// These runs are cancelled; it starts when they have ended.
    CancelFirst {
        /// What is cancelled.
        cancel: Vec<Id>,
        /// What it waits for besides: runs of others with the same conflict keys.
        behind: Vec<Id>,
    },
    /// It does not run; raises `schedule.skipped`.
    Skip {
        /// The runs that keep it from running.
        because: Vec<Id>,
        /// Whether enough were skipped in a row to raise `schedule.missed` as well.
        missed: bool,
    },
}

impl Schedule {
    /// What becomes of a slot that is due, `live` being the runs that have not ended and `skipped_in_row`
    /// the number of slots of this schedule that were skipped since one last ran.
    ///
    /// Parked runs do not count as running, unless they hold a conflict key that this schedule names too. A
    /// conflict makes a slot wait rather than skip it: of two jobs at the same hour, both run.
    pub fn decide<Id: Copy>(&self, live: &[LiveRun<'_, Id>], skipped_in_row: u32) -> Decision<Id> {
        self.decide_by(self.overlap, live, skipped_in_row)
    }

    /// As [`Schedule::decide`], for a slot that was promised a run, such as one that `catch_up: "all"` catches up: it
    /// neither gives way to an earlier run nor ends it, but waits its turn.
    pub fn decide_in_turn<Id: Copy>(&self, live: &[LiveRun<'_, Id>], skipped_in_row: u32) -> Decision<Id> {
        let overlap = match self.overlap {
            Overlap::Allow => Overlap::Allow,
            Overlap::Skip | Overlap::Queue | Overlap::QueueOne | Overlap::CancelOther => Overlap::Queue,
        };
        self.decide_by(overlap, live, skipped_in_row)
    }

    /// Whether a run of this schedule that waits its turn may begin beside `live`, which it is not among.
    pub fn may_begin<Id>(&self, live: &[LiveRun<'_, Id>]) -> bool {
        let shares_key = |run: &LiveRun<'_, Id>| run.conflicts.iter().any(|key| self.conflicts.contains(key));
        let keeps = |run: &&LiveRun<'_, Id>| match run.state {
            LiveState::Queued => false,
            LiveState::Running if run.own && self.overlap != Overlap::Allow => true,
            LiveState::Running | LiveState::Parked => shares_key(run),
        };
        !live.iter().any(|run| keeps(&run))
    }

    fn decide_by<Id: Copy>(
        &self,
        overlap: Overlap,
        live: &[LiveRun<'_, Id>],
        skipped_in_row: u32,
    ) -> Decision<Id> {
        let shares_key = |run: &LiveRun<'_, Id>| run.conflicts.iter().any(|key| self.conflicts.contains(key));
        let ids =
            |runs: &mut dyn Iterator<Item = &LiveRun<'_, Id>>| runs.map(|run| run.id).collect::<Vec<_>>();
        let occupies =
            |run: &&LiveRun<'_, Id>| run.own && (run.state != LiveState::Parked || shares_key(run));
        let occupying = ids(&mut live.iter().filter(occupies));
        let holds = |run: &&LiveRun<'_, Id>| run.state != LiveState::Queued && shares_key(run);
        let held_by_others = ids(&mut live.iter().filter(|run| !run.own).filter(holds));
        let queued = live.iter().filter(|run| run.own && run.state == LiveState::Queued).count();
        let skip = |because| {
            let missed = skipped_in_row.saturating_add(1).is_multiple_of(SKIPPED_IN_ROW_MISSED);
            Decision::Skip { because, missed }
        };
        let queue_or_start = |mut behind: Vec<Id>| {
            behind.extend(&held_by_others);
            if behind.is_empty() { Decision::Start } else { Decision::Queue { behind } }
        };
        match overlap {
            Overlap::Skip if !occupying.is_empty() => skip(occupying),
            Overlap::QueueOne if queued >= 1 => skip(occupying),
            Overlap::Queue if queued >= QUEUED_SLOTS_MAX => skip(occupying),
            Overlap::CancelOther if !occupying.is_empty() => {
                Decision::CancelFirst { cancel: occupying, behind: held_by_others }
            }
            Overlap::Allow if queued >= QUEUED_SLOTS_MAX => skip(ids(&mut live.iter().filter(|run| run.own))),
            // Beside each other, but never two that name the same key.
            Overlap::Allow => queue_or_start(ids(&mut live.iter().filter(|run| run.own).filter(holds))),
            Overlap::Skip | Overlap::Queue | Overlap::QueueOne | Overlap::CancelOther => {
                queue_or_start(occupying)
            }
        }
    }
}
