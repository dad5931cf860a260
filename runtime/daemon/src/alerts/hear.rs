//! Events that rules wait for.

use hob_alerts::Finding;
use hob_journal::EventRow;
use hob_model::pattern::{fits, wildcard};
use hob_model::{Timestamp, Value};
use hob_planner::declaration::{Heard, Looks, labels_by};
use hob_runs::{RunError, event_value};

use super::judge::Verdict;
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
                        self.hear_one(at, heard, event, numbers, now);
                    }
                }
            }
            let Some(last) = events.last() else { return Ok(()) };
            lock(&self.state).cursor.seen = last.id;
        }
    }

    fn hear_one(&self, at: usize, heard: &Heard, event: &EventRow, numbers: &Measured<'_>, now: Timestamp) {
        let labels = labels_by(&heard.by, &event.payload);
        if is_among(&heard.resolve_on, event) {
            lock(&self.state).board.resolved(at, &labels, now);
        }
        if !is_among(&heard.on, event) {
            return;
        }
        // One without a function has nothing measured.
        let verdict = match heard.when {
            true => self.ask(at, Some(event_value(event)), numbers),
            false => Verdict::Found(vec![Finding::default()]),
        };
        match verdict {
            Verdict::Found(found) => {
                for mut finding in found {
                    finding.labels.extend(labels.clone());
                    lock(&self.state).board.heard(at, finding, now);
                }
            }
            Verdict::Not(health) => lock(&self.state).board.not_judged(at, health),
        }
    }
}

fn is_among(patterns: &[(String, Value)], event: &EventRow) -> bool {
    patterns.iter().any(|(name, filter)| wildcard(name, &event.name) && fits(filter, &event.payload))
}
