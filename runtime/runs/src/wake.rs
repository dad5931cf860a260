//! Waking: times that come, signals, approvals, events, ends of other runs.

use hob_engine::permission::wildcard;
use hob_engine::wait_outcome;
use hob_journal::{Commit, EventRow, WaitRow, Write};
use hob_model::{Entry, OpError, Position, RunId, Timestamp, Value, Wait};

use crate::drive::result_of;
use crate::error::RunError;
use crate::manager::Runs;

/// Waits that are ended by one look at the clock.
const DUE_AT_ONCE: usize = 1_000;
/// Events and waits that are compared at one time.
const EVENTS_AT_ONCE: usize = 1_000;
const WAITS_AT_ONCE: usize = 100_000;

impl Runs {
    /// When the earliest wait that a clock ends is due.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn next_due(&self) -> Result<Option<Timestamp>, RunError> {
        Ok(self.journal().next_due()?)
    }

    /// Whether a clock alone will wake the run.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn wakes_by_clock(&self, run: RunId) -> Result<bool, RunError> {
        let waits = self.journal().waits(None, Some(run), WAITS_AT_ONCE)?;
        for row in waits {
            let wakes = match &row.wait {
                // A child's end wakes it; the child decides.
                Wait::Run(child) => self.is_active(*child) || self.wakes_by_clock(*child)?,
                wait => wait.due().is_some(),
            };
            if wakes {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Ends the waits whose time has come; how many there were.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub fn fire_due(&self) -> Result<usize, RunError> {
        let mut fired = 0;
        loop {
            let due = self.journal().due(self.now(), DUE_AT_ONCE)?;
            for row in &due {
                let result = match &row.wait {
                    Wait::Until(_) | Wait::Run(_) => Ok(Value::Unit),
                    Wait::Signal { name, .. } => Err(gave_up(&format!("no signal `{name}` came"))),
                    Wait::Event { pattern, .. } => Err(gave_up(&format!("no event `{pattern}` came"))),
                    Wait::Approval { prompt, .. } => Err(gave_up(&format!("nobody answered `{prompt}`"))),
                };
                fired +=
                    usize::from(self.fulfil(row.run, &row.position, operation_of(&row.wait), result, vec![]));
            }
            if due.len() < DUE_AT_ONCE {
                return Ok(fired);
            }
        }
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
        let state = self.state();
        let open = self.journal().wait_at(run, position);
        if !matches!(open, Ok(Some(_))) {
            return false;
        }
        if let Some(active) = state.active.get(&run) {
            if let Some(cx) = &active.cx {
                return cx.deliver(position, operation, result, beside);
            } else {
                // The pass is about to load its records: what is written now is among them.
                self.append_outside(run, position, operation, result, beside);
            }
            return true;
        }
        self.append_outside(run, position, operation, result, beside);
        drop(state);
        self.wake(run);
        true
    }

    fn append_outside(
        &self,
        run: RunId,
        position: &Position,
        operation: &str,
        result: Result<Value, OpError>,
        beside: Vec<Write>,
    ) {
        let result = result.map_err(|mut error| {
            operation.clone_into(&mut error.operation);
            error.position = Some(position.clone());
            error
        });
        let (kind, _, blob) = wait_outcome(position, operation, result);
        let Ok(Some(row)) = self.journal().run(run) else {
            return;
        };
        let entry = Entry { seq: row.entries, at: self.now(), kind };
        let writes = beside.into_iter().chain(blob).chain([Write::Entry(run, entry)]).collect::<Commit>();
        self.journal().submit(writes);
    }

    /// Has a run evaluated unless it is parked by a person's business.
    fn wake(&self, run: RunId) {
        use hob_model::RunStatus::{Interrupted, Paused};
        match self.journal().run(run) {
            Ok(Some(row)) if !matches!(row.status, Interrupted | Paused) && !row.status.ended() => {
                self.schedule(run)
            }
            _ => {}
        }
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
    /// When the journal has stopped.
    pub fn emit(&self, name: &str, payload: Value, origin: &str) -> Result<(), RunError> {
        let event =
            Write::Event { name: name.to_owned(), payload, origin: origin.to_owned(), at: self.now() };
        let ticket = self.journal().submit(Commit::one(event));
        self.journal().wait(ticket)?;
        self.events_changed();
        Ok(())
    }

    /// Compares new events with the waits for events.
    pub(crate) fn events_changed(&self) {
        let after = self.state().event_cursor;
        let Ok(events) = self.journal().events(after, EVENTS_AT_ONCE) else {
            return;
        };
        let Some(last) = events.last().map(|event| event.id) else {
            return;
        };
        {
            let mut state = self.state();
            state.event_cursor = state.event_cursor.max(last);
        }
        self.0.listener.emitted();
        let Ok(waits) = self.journal().waits(Some("event"), None, WAITS_AT_ONCE) else {
            return;
        };
        for row in waits {
            if let Some(event) = events.iter().find(|event| matches(&row.wait, event)) {
                self.fulfil(row.run, &row.position, "wait_for", Ok(event_value(event)), vec![]);
            }
        }
        if events.len() == EVENTS_AT_ONCE {
            self.events_changed();
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

fn gave_up(what: &str) -> OpError {
    OpError::timeout(format!("{what} in time")).retryable(false)
}

fn matches(wait: &Wait, event: &EventRow) -> bool {
    let Wait::Event { pattern, filter, after, .. } = wait else {
        return false;
    };
    event.id > *after && wildcard(pattern, &event.name) && holds(filter, &event.payload)
}

/// Whether each field of `filter` is equal in `payload`.
pub(crate) fn holds(filter: &Value, payload: &Value) -> bool {
    match filter {
        Value::Map(fields) => fields.iter().all(|(key, value)| payload.get(key) == Some(value)),
        _ => true,
    }
}

fn event_value(event: &EventRow) -> Value {
    Value::map([
        ("name", Value::from(event.name.as_str())),
        ("payload", event.payload.clone()),
        ("at", Value::from(event.at.to_string())),
        ("origin", Value::from(event.origin.as_str())),
    ])
}
