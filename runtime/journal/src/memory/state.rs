//! What the in-memory journal holds: the fold of its log.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use hob_model::{Digest, Entry, Position, RunId, Timestamp, Value, Wait};

use crate::journal::{Commit, JournalError, Slot, Write};
use crate::project::{self, WaitChange, from_micros, to_micros};
use crate::row::{BundleRecord, EventRow, RunFilter, RunRow, SignalRow, WaitRow};

/// One submission. Entries stay in it and are found by their place, so that nothing is copied twice.
#[derive(Debug)]
pub(super) struct Logged {
    pub(super) slot: Option<Slot>,
    pub(super) commit: Commit,
}

impl Logged {
    fn entry(&self, at: usize) -> &Entry {
        match &self.commit.writes[at] {
            Write::Entry(_, entry) => entry,
            _ => unreachable!("only places of entries are kept"),
        }
    }
}

#[derive(Debug, Default)]
struct Run {
    row: Option<RunRow>,
    entries: Vec<(Arc<Logged>, usize)>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    runs: BTreeMap<RunId, Run>,
    waits: BTreeMap<RunId, BTreeMap<Position, Wait>>,
    due: BTreeSet<(i64, RunId, Position)>,
    signals: BTreeMap<(RunId, u64), SignalRow>,
    signal_runs: HashMap<u64, RunId>,
    signals_given: u64,
    events: Vec<EventRow>,
    slots: BTreeMap<(String, Timestamp), RunId>,
    facts: BTreeMap<String, Value>,
    blobs: HashMap<Digest, Bytes>,
    bundles: HashMap<Digest, BundleRecord>,
}

impl State {
    /// Whether each entry of `commit` follows the last one of its run.
    pub(super) fn accepts(&self, commit: &Commit) -> Result<(), JournalError> {
        project::check_commit(commit, |run| {
            Ok(self.runs.get(&run).and_then(|it| it.row.as_ref()).map_or(0, |row| row.entries))
        })
    }

    /// Applies what [`State::accepts`] accepted.
    pub(super) fn apply(&mut self, logged: &Arc<Logged>) {
        if let Some(slot) = &logged.slot {
            self.slots.insert(slot_key(slot), slot.run);
        }
        for (at, write) in logged.commit.writes.iter().enumerate() {
            match write {
                Write::Entry(run, entry) => self.apply_entry(*run, entry, (Arc::clone(logged), at)),
                Write::Blob(digest, bytes) => {
                    self.blobs.entry(*digest).or_insert_with(|| bytes.clone());
                }
                Write::Bundle(bundle) => {
                    self.bundles.entry(bundle.digest).or_insert_with(|| bundle.clone());
                }
                Write::Signal { run, name, payload, at } => {
                    self.signals_given += 1;
                    let id = self.signals_given;
                    let at = from_micros(to_micros(*at));
                    let row = SignalRow { id, run: *run, name: name.clone(), payload: payload.clone(), at };
                    self.signals.insert((*run, id), row);
                    self.signal_runs.insert(id, *run);
                }
                Write::SignalTaken { id } => {
                    if let Some(run) = self.signal_runs.remove(id) {
                        self.signals.remove(&(run, *id));
                    }
                }
                Write::SignalsMoved { from, to } => self.move_signals(*from, *to),
                Write::Event { name, payload, origin, at } => self.events.push(EventRow {
                    id: self.events.len() as u64 + 1,
                    name: name.clone(),
                    payload: payload.clone(),
                    origin: origin.clone(),
                    at: from_micros(to_micros(*at)),
                }),
                Write::Fact { key, value: Some(value) } => {
                    self.facts.insert(key.clone(), value.clone());
                }
                Write::Fact { key, value: None } => {
                    self.facts.remove(key);
                }
            }
        }
    }

    fn apply_entry(&mut self, run: RunId, entry: &Entry, place: (Arc<Logged>, usize)) {
        let it = self.runs.entry(run).or_default();
        project::advance(&mut it.row, run, entry).expect("the order was accepted before");
        it.entries.push(place);
        match project::wait_change(&entry.kind) {
            WaitChange::Nothing => {}
            WaitChange::Opens(position, wait) => {
                self.close_wait(run, position);
                if let Some(due) = project::due_micros(wait) {
                    self.due.insert((due, run, position.clone()));
                }
                self.waits.entry(run).or_default().insert(position.clone(), wait.clone());
            }
            WaitChange::Closes(position) => self.close_wait(run, position),
            WaitChange::ClosesAll => {
                for (position, wait) in self.waits.remove(&run).unwrap_or_default() {
                    if let Some(due) = project::due_micros(&wait) {
                        self.due.remove(&(due, run, position));
                    }
                }
            }
        }
    }

    fn close_wait(&mut self, run: RunId, position: &Position) {
        let Some(open) = self.waits.get_mut(&run) else {
            return;
        };
        if let Some(due) = open.remove(position).as_ref().and_then(project::due_micros) {
            self.due.remove(&(due, run, position.clone()));
        }
        if open.is_empty() {
            self.waits.remove(&run);
        }
    }

    fn move_signals(&mut self, from: RunId, to: RunId) {
        let moved: Vec<_> = self.signals.range((from, 0)..=(from, u64::MAX)).map(|(key, _)| *key).collect();
        for key in moved {
            if let Some(mut row) = self.signals.remove(&key) {
                row.run = to;
                self.signal_runs.insert(row.id, to);
                self.signals.insert((to, row.id), row);
            }
        }
    }

    pub(super) fn claimed(&self, slot: &Slot) -> bool {
        self.slots.contains_key(&slot_key(slot))
    }

    pub(super) fn run(&self, run: RunId) -> Option<RunRow> {
        self.runs.get(&run)?.row.clone()
    }

    pub(super) fn runs(&self, filter: &RunFilter) -> Vec<RunRow> {
        let fits = |row: &&RunRow| {
            (filter.status.is_empty() || filter.status.contains(&row.status))
                && filter.name.as_ref().is_none_or(|name| *name == row.name)
                && filter.kind.as_ref().is_none_or(|kind| *kind == row.kind)
                && filter.owner.is_none_or(|owner| owner == row.owner)
                && filter.since.is_none_or(|since| row.created >= since)
                && filter.until.is_none_or(|until| row.created < until)
                && filter.updated_since.is_none_or(|since| row.updated >= since)
                && filter.before.is_none_or(|before| row.run < before)
        };
        let rows = self.runs.values().rev().filter_map(|it| it.row.as_ref());
        rows.filter(fits).take(filter.limit.unwrap_or(usize::MAX)).cloned().collect()
    }

    pub(super) fn entries(&self, run: RunId, from: u64, limit: usize) -> Vec<Entry> {
        let all = self.runs.get(&run).map_or(&[][..], |it| &it.entries);
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        all.iter().skip(from).take(limit).map(|(logged, at)| logged.entry(*at).clone()).collect()
    }

    pub(super) fn runs_by_prefix(&self, prefix: &str, limit: usize) -> Vec<RunId> {
        let Some((first, last)) = project::prefix_range(prefix) else {
            return Vec::new();
        };
        self.runs.range(first..=last).map(|(run, _)| *run).take(limit).collect()
    }

    pub(super) fn blob(&self, digest: Digest) -> Option<Bytes> {
        self.blobs.get(&digest).cloned()
    }

    pub(super) fn bundle(&self, digest: Digest) -> Option<BundleRecord> {
        self.bundles.get(&digest).cloned()
    }

    pub(super) fn due(&self, now: Timestamp, limit: usize) -> Vec<WaitRow> {
        let now = to_micros(now);
        let due = self.due.iter().take_while(|(due, _, _)| *due <= now).take(limit);
        due.filter_map(|(_, run, position)| self.wait_at(*run, position)).collect()
    }

    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(due, _, _)| from_micros(*due))
    }

    pub(super) fn waits(
        &self,
        run: Option<RunId>,
        limit: usize,
        fits: impl Fn(&Wait) -> bool,
    ) -> Vec<WaitRow> {
        let of_run = run.and_then(|run| self.waits.get(&run).map(|open| (run, open)));
        let of_all = self.waits.iter().filter(|_| run.is_none()).map(|(run, open)| (*run, open));
        of_run
            .into_iter()
            .chain(of_all)
            .flat_map(|(run, open)| open.iter().map(move |(position, wait)| (run, position, wait)))
            .filter(|(_, _, wait)| fits(wait))
            .take(limit)
            .map(|(run, position, wait)| WaitRow { run, position: position.clone(), wait: wait.clone() })
            .collect()
    }

    pub(super) fn wait_at(&self, run: RunId, position: &Position) -> Option<WaitRow> {
        let wait = self.waits.get(&run)?.get(position)?;
        Some(WaitRow { run, position: position.clone(), wait: wait.clone() })
    }

    pub(super) fn signals(&self, run: RunId) -> Vec<SignalRow> {
        self.signals.range((run, 0)..=(run, u64::MAX)).map(|(_, row)| row.clone()).collect()
    }

    pub(super) fn events(&self, after: u64, limit: usize) -> Vec<EventRow> {
        let after = usize::try_from(after).unwrap_or(usize::MAX);
        self.events.iter().skip(after).take(limit).cloned().collect()
    }

    pub(super) fn events_named(&self, names: &[&str], after: u64, limit: usize) -> (Vec<EventRow>, u64) {
        let all = self.events(after, usize::MAX);
        let last = all.last().map_or(after, |event| event.id);
        let found: Vec<EventRow> =
            all.into_iter().filter(|event| names.contains(&&*event.name)).take(limit).collect();
        let seen = found.last().filter(|_| found.len() == limit).map_or(last, |event| event.id);
        (found, seen)
    }

    pub(super) fn last_event(&self) -> u64 {
        self.events.len() as u64
    }

    pub(super) fn slots(&self, schedule: &str, limit: usize) -> Vec<Slot> {
        let range = (schedule.to_owned(), Timestamp::MIN)..=(schedule.to_owned(), Timestamp::MAX);
        let newest = self.slots.range(range).rev().take(limit);
        let slot = |((schedule, nominal), run): (&(String, Timestamp), &RunId)| Slot {
            schedule: schedule.clone(),
            nominal: *nominal,
            run: *run,
        };
        newest.map(slot).collect()
    }

    pub(super) fn fact(&self, key: &str) -> Option<Value> {
        self.facts.get(key).cloned()
    }

    pub(super) fn facts(&self, prefix: &str) -> Vec<(String, Value)> {
        let from = self.facts.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
        from.map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}

fn slot_key(slot: &Slot) -> (String, Timestamp) {
    (slot.schedule.clone(), from_micros(to_micros(slot.nominal)))
}
