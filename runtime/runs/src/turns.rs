//! Turns: runs that are recorded and wait until somebody lets them begin.
//!
//! Whoever starts a run may have it wait its turn: it exists, durably, with the status `queued`, and is not evaluated.
//! That it waits is a fact beside its first entry, written in the same commit, so no crash starts it early or forgets it.

use std::sync::Arc;

use hob_engine::{Bundle, Records};
use hob_journal::{Commit, Slot, Ticket, Write};
use hob_model::{Entry, EntryKind, RunId, RunStatus, Timestamp, Value};

use crate::error::RunError;
use crate::manager::{NewRun, Runs};

/// Before the id of a run, the name of the fact that it waits its turn; the fact's value is what it waits in.
const TURN_PREFIX: &str = "turn/";

/// How a run begins.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Begin {
    /// The queue in which it waits its turn; without one it begins at once.
    pub queue: Option<String>,
    /// What becomes durable together with its first entry.
    pub beside: Vec<Write>,
}

/// A run that is recorded.
struct Begun {
    run: RunId,
    /// What its first pass begins with; none when it waits its turn.
    fresh: Option<(Box<Entry>, Arc<Bundle>)>,
}

/// A run whose slot is claimed, to be begun.
pub struct Claimed(Begun);

/// A slot that fires: the run that it starts, once ever.
pub struct Firing {
    /// Whose slot it is.
    pub schedule: String,
    /// Which one.
    pub nominal: Timestamp,
    /// Its run.
    pub new: NewRun,
    /// How the run begins.
    pub begin: Begin,
}

/// The first entry of a run, once for the journal and once for the first pass. Many of them are moved about together, so
/// they are not kept in place.
struct First {
    writes: Vec<Write>,
    again: Box<Entry>,
}

impl First {
    fn of(run: RunId, entry: Entry) -> Self {
        let again = Box::new(entry.clone());
        Self { writes: vec![Write::Entry(run, entry)], again }
    }

    /// The run begins at `now`.
    fn set_time(&mut self, now: Timestamp) {
        self.again.at = now;
        for write in &mut self.writes {
            if let Write::Entry(_, entry) = write {
                entry.at = now;
            }
        }
    }
}

/// A slot that fires, with all done that need not wait for its time.
pub struct Ready {
    slot: Slot,
    first: First,
    bundle: Arc<Bundle>,
    begin: Begin,
}

impl Ready {
    /// Which slot it is, and for which run.
    #[must_use]
    pub fn slot(&self) -> &Slot {
        &self.slot
    }
}

fn key(run: RunId) -> String {
    format!("{TURN_PREFIX}{run}")
}

impl Runs {
    /// As [`Runs::start`], in the way that `begin` says.
    ///
    /// # Errors
    /// As [`Runs::start`].
    pub fn start_as(&self, new: NewRun, begin: Begin) -> Result<Ticket, RunError> {
        self.journal().may_act()?;
        let (run, entry) = (new.id, self.first_entry(&new));
        let (writes, begun) = self.begin(run, First::of(run, entry), new.bundle, begin);
        if begun.fresh.is_none() {
            self.state().turns.insert(begun.run);
        }
        let ticket = self.journal().submit(Commit { writes });
        self.0.listener.changed(begun.run, RunStatus::Queued, None);
        self.begin_claimed(Claimed(begun));
        Ok(ticket)
    }

    /// Starts the run of a slot, once ever: `false` when the slot was claimed before, and then nothing was written.
    ///
    /// # Errors
    /// As [`Runs::start`].
    pub fn start_slot(&self, firing: Firing) -> Result<bool, RunError> {
        Ok(self.start_slots(vec![firing])? == [true])
    }

    /// Starts the runs of slots as [`Runs::start_slot`], with one wait for the disk for all of them.
    ///
    /// # Errors
    /// As [`Runs::start`]. Then none of them begins before the journal is opened again.
    pub fn start_slots(&self, firings: Vec<Firing>) -> Result<Vec<bool>, RunError> {
        let ready = firings.into_iter().map(|firing| self.ready(firing));
        let claimed = self.claim_slots(ready.collect())?;
        let began = claimed.into_iter().map(|claimed| claimed.map(|claimed| self.begin_claimed(claimed)));
        Ok(began.map(|began| began.is_some()).collect())
    }

    /// Makes a slot ready to be claimed. Nothing is recorded by that.
    #[must_use]
    pub fn ready(&self, Firing { schedule, nominal, new, begin }: Firing) -> Ready {
        let first = First::of(new.id, self.first_entry(&new));
        let slot = Slot { schedule, nominal, run: new.id };
        Ready { slot, first, bundle: new.bundle, begin }
    }

    /// Claims slots for their runs, durably and with one wait for the disk, and leaves it to [`Runs::begin_claimed`] to
    /// have them evaluated; none for a slot that was claimed before. A run that is claimed and not begun begins when the
    /// journal is opened again.
    ///
    /// # Errors
    /// As [`Runs::start`].
    pub fn claim_slots(&self, slots: Vec<Ready>) -> Result<Vec<Option<Claimed>>, RunError> {
        self.journal().may_act()?;
        let now = self.now();
        // In commits of their own: what a claim that is refused brings is not written.
        for sources in slots.iter().filter_map(|slot| self.unknown(&slot.bundle)) {
            self.journal().submit(Commit { writes: sources });
        }
        let mut begins = Vec::with_capacity(slots.len());
        let claims = slots.into_iter().map(|Ready { slot, mut first, bundle, begin }| {
            first.set_time(now);
            let (writes, begun) = self.begin(slot.run, first, bundle, begin);
            begins.push(begun);
            (slot, Commit { writes })
        });
        let claims = claims.collect();
        let waiting = begins.iter().filter(|begun| begun.fresh.is_none()).map(|begun| begun.run);
        self.state().turns.extend(waiting);
        let claimed = self.journal().claim_all(claims);
        let is_claimed = |at: usize| claimed.as_ref().is_ok_and(|claimed| claimed[at]);
        let mut claims = Vec::with_capacity(begins.len());
        for (at, begun) in begins.into_iter().enumerate() {
            if is_claimed(at) {
                self.0.listener.changed(begun.run, RunStatus::Queued, None);
                claims.push(Some(Claimed(begun)));
            } else {
                self.state().turns.remove(&begun.run);
                claims.push(None);
            }
        }
        claimed?;
        Ok(claims)
    }

    /// Has the run of a claimed slot evaluated, unless it waits its turn.
    pub fn begin_claimed(&self, Claimed(Begun { run, fresh }): Claimed) {
        if let Some((entry, bundle)) = fresh {
            self.admit(run, Some((Records::of(vec![*entry]), bundle)));
        }
    }

    fn begin(&self, run: RunId, first: First, bundle: Arc<Bundle>, begin: Begin) -> (Vec<Write>, Begun) {
        let First { mut writes, again } = first;
        if let Some(sources) = self.unknown(&bundle) {
            writes.splice(0..0, sources);
        }
        let fresh = match begin.queue {
            Some(queue) => {
                writes.push(Write::Fact { key: key(run), value: Some(Value::from(queue)) });
                None
            }
            None => Some((again, bundle)),
        };
        writes.extend(begin.beside);
        (writes, Begun { run, fresh })
    }

    /// Whether the run waits its turn.
    #[must_use]
    pub fn waits_turn(&self, run: RunId) -> bool {
        self.state().turns.contains(&run)
    }

    /// The runs that wait their turn, oldest first, each with its queue.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn queues(&self) -> Result<Vec<(RunId, String)>, RunError> {
        let facts = self.journal().facts(TURN_PREFIX)?;
        let read = |(key, value): &(String, Value)| {
            Some((RunId::parse(&key[TURN_PREFIX.len()..])?, value.as_str()?.to_owned()))
        };
        Ok(facts.iter().filter_map(read).collect())
    }

    /// How many runs wait their turn, in any queue.
    #[must_use]
    pub fn turns(&self) -> usize {
        self.state().turns.len()
    }

    /// Lets a run begin that waits its turn; `false` when it does not wait any more. That it began is an entry, whose
    /// time is when.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub fn take_turn(&self, run: RunId) -> Result<bool, RunError> {
        if !self.state().turns.remove(&run) {
            return Ok(false);
        }
        self.append_anyhow(run, vec![EntryKind::Resumed], vec![no_longer(run)])?;
        self.schedule(run);
        Ok(true)
    }

    /// Has a run evaluated that this process serves and that nobody evaluates, as its evaluation came to no end.
    pub fn revive(&self, run: RunId) {
        if self.serves(run) {
            self.schedule(run);
        }
    }

    /// Has a run that was cancelled wait no longer; the write that records it.
    pub(crate) fn leave_queue(&self, run: RunId) -> Vec<Write> {
        if self.state().turns.remove(&run) { vec![no_longer(run)] } else { vec![] }
    }

    /// Finds the runs that wait their turn.
    pub(crate) fn recover_turns(&self) -> Result<(), RunError> {
        let facts = self.journal().facts(TURN_PREFIX)?;
        let runs = facts.iter().filter_map(|(key, _)| RunId::parse(&key[TURN_PREFIX.len()..]));
        self.state().turns.extend(runs);
        Ok(())
    }
}

fn no_longer(run: RunId) -> Write {
    Write::Fact { key: key(run), value: None }
}
