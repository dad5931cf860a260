//! Waking: times that come, signals, approvals, events, ends of other runs.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry::{Occupied, Vacant};

use hob_engine::wait_outcome;
use hob_journal::{Commit, EventRow, RunRow, WaitRow, Write};
use hob_model::pattern::{fits, wildcard};
use hob_model::{Entry, EntryKind, OpError, Position, RunId, RunStatus, Timestamp, Value, Wait};

use crate::drive::result_of;
use crate::error::RunError;
use crate::manager::{Runs, State, TakenUp};

/// Waits that are ended at one time: nothing starts meanwhile, for a millisecond or two.
const DUE_AT_ONCE: usize = 100;
/// Events and waits that are compared at one time.
const EVENTS_AT_ONCE: usize = 1_000;
pub(crate) const WAITS_AT_ONCE: usize = 100_000;

impl Runs {
    /// When the earliest wait that a clock ends is due.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn next_due(&self) -> Result<Option<Timestamp>, RunError> {
        Ok([self.journal().next_due()?, self.next_shortened()].into_iter().flatten().min())
    }

    /// Ends the waits whose time has come; how many there were.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn fire_due(&self) -> Result<usize, RunError> {
        let mut fired = self.fire_shortened()?;
        loop {
            let (found, ended) = self.fire_some()?;
            fired += ended;
            if found < DUE_AT_ONCE {
                return Ok(fired);
            }
        }
    }

    /// Ends some of the waits whose time has come, those of runs at rest in one commit; how many were found and ended.
    fn fire_some(&self) -> Result<(usize, usize), RunError> {
        let mut state = self.state();
        // Read under the lock, as in `fulfil`: each of these waits is open, and stays so until this is over.
        let due = self.journal().due(self.now(), DUE_AT_ONCE)?;
        let mut writes = Vec::with_capacity(due.len());
        // Ordered, so that the same journal wakes its runs in the same order.
        let mut woken: BTreeMap<RunId, RunRow> = BTreeMap::new();
        let mut busy = Vec::new();
        for row in &due {
            if state.active.contains_key(&row.run) {
                busy.push(row);
                continue;
            }
            let known = match woken.entry(row.run) {
                Occupied(known) => known.into_mut(),
                Vacant(place) => match self.journal().run(row.run)? {
                    Some(run) => place.insert(run),
                    None => continue,
                },
            };
            let outcome = outside_outcome(&row.position, operation_of(&row.wait), time_came(&row.wait));
            writes.extend(outcome.1);
            writes.push(Write::Entry(row.run, Entry { seq: known.entries, at: self.now(), kind: outcome.0 }));
            known.entries += 1;
        }
        if !writes.is_empty() {
            self.journal().submit(Commit { writes });
        }
        let taken_up: Vec<_> = woken.values().filter_map(|row| self.wake(&mut state, row)).collect();
        drop(state);
        self.set_out(taken_up);
        let mut ended = due.len() - busy.len();
        for row in busy {
            let (operation, result) = (operation_of(&row.wait), time_came(&row.wait));
            ended += usize::from(self.fulfil(row.run, &row.position, operation, result, vec![]));
        }
        Ok((due.len(), ended))
    }

    /// Ends the wait at a position, once: `false` when there is none open any more.
    pub(crate) fn fulfil(
        &self,
        run: RunId,
        position: &Position,
        operation: &str,
        result: Result<Value, OpError>,
        beside: Vec<Write>,
    ) -> bool {
        // The lock makes "is it open?" and "it is over" one step, and keeps a pass from departing in between.
        let mut state = self.state();
        let open = self.journal().wait_at(run, position);
        if !matches!(open, Ok(Some(_))) {
            return false;
        }
        if let Some(active) = state.active.get_mut(&run) {
            if let Some(cx) = &active.cx {
                return cx.deliver(position, operation, result, beside);
            } else {
                // The pass loads its records, or loads them once more when it has.
                active.outside += 1;
                let _ = self.append_outside(run, position, operation, result, beside);
            }
            return true;
        }
        let row = self.append_outside(run, position, operation, result, beside);
        let taken_up = row.and_then(|row| self.wake(&mut state, &row));
        drop(state);
        self.set_out(taken_up);
        true
    }

    /// Appends the end of a wait to a run that is not evaluated now; the run as it was before.
    fn append_outside(
        &self,
        run: RunId,
        position: &Position,
        operation: &str,
        result: Result<Value, OpError>,
        beside: Vec<Write>,
    ) -> Option<RunRow> {
        let (kind, blob) = outside_outcome(position, operation, result);
        let row = self.journal().run(run).ok()??;
        let entry = Entry { seq: row.entries, at: self.now(), kind };
        let writes = beside.into_iter().chain(blob).chain([Write::Entry(run, entry)]).collect::<Commit>();
        self.journal().submit(writes);
        Some(row)
    }

    /// Takes up a run whose wait has ended, unless it is parked by a person's business or another process's.
    fn wake(&self, state: &mut State, row: &RunRow) -> Option<TakenUp> {
        let parked = matches!(row.status, RunStatus::Interrupted | RunStatus::Paused) || row.status.ended();
        if parked || !state.serves(row.run) { None } else { self.take_up(state, row.run, None) }
    }

    /// A branch came to wait: what it waits for may be there already.
    pub(crate) fn waiting(&self, run: RunId, position: &Position, wait: &Wait) {
        match wait {
            Wait::Until(_) | Wait::Approval { .. } => {}
            Wait::Signal { name, .. } => self.take_signal(run, position, name),
            Wait::Event { .. } => {
                let row = WaitRow { run, position: position.clone(), wait: wait.clone() };
                self.compare_with_past(&row);
            }
            Wait::Run(child) => {
                if let Ok(Some(row)) = self.journal().run(*child) {
                    match &row.end {
                        Some(end) => drop(self.fulfil(run, position, "invoke", result_of(end), vec![])),
                        None => self.schedule(*child),
                    }
                }
            }
        }
        if wait.due().is_some() {
            self.0.listener.timer();
        }
    }

    /// Hands the oldest kept signal of that name to the wait.
    fn take_signal(&self, run: RunId, position: &Position, name: &str) {
        let Ok(signals) = self.journal().signals(run) else {
            return;
        };
        if let Some(signal) = signals.into_iter().find(|signal| signal.name == name) {
            let taken = vec![Write::SignalTaken { id: signal.id }];
            self.fulfil(run, position, "wait_signal", Ok(signal.payload), taken);
        }
    }

    /// Sends a signal to a run. It is kept until the run waits for it.
    ///
    /// # Errors
    /// When there is no such run, or it has ended.
    pub fn signal(&self, run: RunId, name: &str, payload: Value) -> Result<(), RunError> {
        let row = self.row(run)?;
        if row.status.ended() {
            return Err(RunError::State {
                run,
                status: row.status,
                why: "a run that has ended takes no signals",
            });
        }
        self.adopt(run);
        let at = self.now();
        let ticket =
            self.journal().submit(Commit::one(Write::Signal { run, name: name.to_owned(), payload, at }));
        self.journal().wait(ticket)?;
        for row in self.journal().waits(Some("signal"), Some(run), WAITS_AT_ONCE)? {
            if row.wait.key() == name {
                self.take_signal(run, &row.position, name);
                break;
            }
        }
        Ok(())
    }

    /// Puts an event on the bus, durably.
    ///
    /// # Errors
    /// When its name or its payload is none (see [`hob_model::event`]), or the journal has stopped.
    pub fn emit(&self, name: &str, payload: Value, origin: &str) -> Result<(), RunError> {
        hob_model::event::check(name, &payload).map_err(|error| RunError::Refused(error.to_string()))?;
        let event =
            Write::Event { name: name.to_owned(), payload, origin: origin.to_owned(), at: self.now() };
        let ticket = self.journal().submit(Commit::one(event));
        self.journal().wait(ticket)?;
        self.events_changed();
        Ok(())
    }

    /// Has new events compared with the waits for events. One thread at a time does so, for all that came meanwhile:
    /// each end of a run is an event. For whoever wrote events to the journal itself; [`Runs::emit`] calls it.
    pub fn events_changed(&self) {
        {
            let mut state = self.state();
            if let Some(again) = &mut state.comparing {
                *again = true;
                return;
            }
            state.comparing = Some(false);
        }
        let turn = Comparing(self);
        self.compare_events();
        drop(turn);
    }

    /// As [`Runs::events_changed`], on another thread: for whoever holds what those may want who hear of events.
    pub fn events_changed_soon(&self) {
        let runs = self.clone();
        self.0.spawner.spawn(Box::new(move || runs.events_changed()));
    }

    fn compare_events(&self) {
        loop {
            let after = self.state().event_cursor;
            let Ok(newest) = self.journal().last_event() else { return };
            let Ok(waits) = self.journal().waits(Some("event"), None, WAITS_AT_ONCE) else { return };
            // A wait that comes later looks back by itself, so where there is none nothing is read.
            let nobody = waits.is_empty();
            let events = if nobody { Ok(vec![]) } else { self.journal().events(after, EVENTS_AT_ONCE) };
            let Ok(events) = events else { return };
            let more = events.len() == EVENTS_AT_ONCE;
            let seen = events.last().filter(|_| more).map_or(newest, |event| event.id);
            {
                let mut state = self.state();
                if seen <= state.event_cursor {
                    return;
                }
                state.event_cursor = seen;
            }
            self.0.listener.emitted();
            for row in waits {
                if let Some(event) = events.iter().find(|event| matches(&row.wait, event)) {
                    self.fulfil(row.run, &row.position, "wait_for", Ok(event_value(event)), vec![]);
                }
            }
            if !more {
                return;
            }
        }
    }

    /// Compares a new wait with the events since the previous effect of its branch.
    pub(crate) fn compare_with_past(&self, row: &WaitRow) {
        let Wait::Event { mut after, .. } = row.wait.clone() else {
            return;
        };
        while let Ok(events) = self.journal().events(after, EVENTS_AT_ONCE) {
            let Some(last) = events.last() else { return };
            if let Some(event) = events.iter().find(|event| matches(&row.wait, event)) {
                self.fulfil(row.run, &row.position, "wait_for", Ok(event_value(event)), vec![]);
                return;
            }
            after = last.id;
        }
    }
}

/// The turn of the one who compares events; also given up in a panic.
struct Comparing<'a>(&'a Runs);

impl Drop for Comparing<'_> {
    fn drop(&mut self) {
        if self.0.state().comparing.take() == Some(true) {
            // Whoever raised an event is not to serve those of all others.
            self.0.events_changed_soon();
        }
    }
}

/// The control that made a wait.
pub(crate) fn operation_of(wait: &Wait) -> &'static str {
    match wait {
        Wait::Until(_) => "sleep",
        Wait::Signal { .. } => "wait_signal",
        Wait::Event { .. } => "wait_for",
        Wait::Approval { .. } => "approve",
        Wait::Run(_) => "invoke",
    }
}

/// The entry that ends the wait of a run which is not evaluated now, and the blob beside it.
fn outside_outcome(
    position: &Position,
    operation: &str,
    result: Result<Value, OpError>,
) -> (EntryKind, Option<Write>) {
    let result = result.map_err(|mut error| {
        operation.clone_into(&mut error.operation);
        error.position = Some(position.clone());
        error
    });
    let (kind, _, blob) = wait_outcome(position, operation, result);
    (kind, blob)
}

/// What a wait comes to when its time has come.
pub(crate) fn time_came(wait: &Wait) -> Result<Value, OpError> {
    match wait {
        Wait::Until(_) | Wait::Run(_) => Ok(Value::Unit),
        Wait::Signal { name, .. } => Err(gave_up(&format!("no signal `{name}` came"))),
        Wait::Event { pattern, .. } => Err(gave_up(&format!("no event `{pattern}` came"))),
        Wait::Approval { prompt, .. } => Err(gave_up(&format!("nobody answered `{prompt}`"))),
    }
}

fn gave_up(what: &str) -> OpError {
    OpError::timeout(format!("{what} in time")).retryable(false)
}

fn matches(wait: &Wait, event: &EventRow) -> bool {
    let Wait::Event { pattern, filter, after, .. } = wait else {
        return false;
    };
    event.id > *after && wildcard(pattern, &event.name) && fits(filter, &event.payload)
}

/// An event as scripts see it: `name payload at origin`, and beside them what its payload has by other names.
#[must_use]
pub fn event_value(event: &EventRow) -> Value {
    let mut fields = match &event.payload {
        Value::Map(fields) => fields.clone(),
        _ => BTreeMap::new(),
    };
    fields.insert("name".to_owned(), Value::from(event.name.as_str()));
    fields.insert("payload".to_owned(), event.payload.clone());
    fields.insert("at".to_owned(), Value::from(event.at.to_string()));
    fields.insert("origin".to_owned(), Value::from(event.origin.as_str()));
    Value::Map(fields)
}
