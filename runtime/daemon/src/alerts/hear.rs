//! Events that rules wait for.

use hob_model::Timestamp;
use hob_planner::declaration::Looks;
use hob_runs::RunError;

use super::{Alerts, Measured, is_heard, lock};

/// Events that are read at one time.
const EVENTS_AT_ONCE: usize = 1_000;
/// What alerts raise themselves.
const OWN: &str = "alert.";

impl Alerts {
    /// Whether a rule waits for events.
    pub(super) fn hears(&self) -> bool {
        self.alerts.iter().any(is_heard)
    }

    /// Tells the rules what they wait for, as far as it happened.
    pub(super) fn hear(&self, numbers: &Measured<'_>, now: Timestamp) -> Result<(), RunError> {
        if !self.hears() {
            return Ok(());
        }
        loop {
            let after = lock(&self.state).cursor.seen;
            let events = self.runs.journal().events(after, EVENTS_AT_ONCE)?;
            for event in events.iter().filter(|event| !event.name.starts_with(OWN)) {
                for (at, alert) in self.alerts.iter().enumerate() {
                    if let Looks::On(heard) = &alert.looks {
                        // The board is not kept from others while a function computes.
                        let came = self.rules().hear(at, heard, event, || (**numbers).clone());
                        came.enter(&mut lock(&self.state).board, at, now);
                    }
                }
            }
            let Some(last) = events.last() else { return Ok(()) };
            lock(&self.state).cursor.seen = last.id;
        }
    }
}
