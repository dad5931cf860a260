//! Asking one rule.

use hob_alerts::Labels;
use hob_alerts::{Board, Finding, Health};
use hob_engine::{Declarations, Judge, Numbers};
use hob_journal::EventRow;
use hob_model::pattern::{fits, wildcard};
use hob_model::{ErrorKind, OpError, Timestamp, Value};
use hob_planner::declaration::{ALERT_WHEN, Alert, Heard, labels_by};
use hob_runs::event_value;

/// What a rule said.
pub(crate) enum Verdict {
    /// It found just this.
    Found(Vec<Finding>),
    /// It could not be judged.
    Not(Health),
}

impl Verdict {
    /// Enters it for the rule `at`.
    pub(crate) fn enter(self, board: &mut Board, at: usize, now: Timestamp) {
        match self {
            Self::Found(found) => board.judged(at, found, now),
            Self::Not(health) => board.not_judged(at, health),
        }
    }
}

/// The rules, and what asks them.
#[derive(Clone, Copy)]
pub(crate) struct Rules<'r> {
    pub(crate) alerts: &'r [Alert],
    pub(crate) declared: &'r Declarations,
    pub(crate) judge: &'r Judge,
}

/// What came of an event that a rule waits for.
pub(crate) struct Came {
    labels: Labels,
    resolves: bool,
    verdict: Option<Verdict>,
}

impl Came {
    /// Enters it for the rule `at`.
    pub(crate) fn enter(self, board: &mut Board, at: usize, now: Timestamp) {
        if self.resolves {
            board.resolved(at, &self.labels, now);
        }
        match self.verdict {
            Some(Verdict::Found(found)) => {
                for mut finding in found {
                    finding.labels.extend(self.labels.clone());
                    board.heard(at, finding, now);
                }
            }
            Some(Verdict::Not(health)) => board.not_judged(at, health),
            None => {}
        }
    }
}

fn is_among(patterns: &[(String, Value)], event: &EventRow) -> bool {
    patterns.iter().any(|(name, filter)| wildcard(name, &event.name) && fits(filter, &event.payload))
}

impl Rules<'_> {
    /// What an event says to the rule `at`, which waits for events.
    pub(crate) fn hear(
        &self,
        at: usize,
        heard: &Heard,
        event: &EventRow,
        numbers: impl Fn() -> Numbers,
    ) -> Came {
        // One without a function has nothing measured.
        let verdict = is_among(&heard.on, event).then(|| match heard.when {
            true => self.ask(at, Some(event_value(event)), &numbers()),
            false => Verdict::Found(vec![Finding::default()]),
        });
        let labels = labels_by(&heard.by, &event.payload);
        Came { labels, resolves: is_among(&heard.resolve_on, event), verdict }
    }

    /// Asks the function of the rule `at`, with what came in if it waits for that. One without a function agrees.
    pub(crate) fn ask(&self, at: usize, came: Option<Value>, numbers: &Numbers) -> Verdict {
        let name = &self.alerts[at].rule.name;
        let declared = self.declared.find("alert", name);
        let asked = declared.and_then(|declared| self.judge.ask(declared, ALERT_WHEN, came, numbers));
        let found = match asked {
            Some(Ok(value)) => Finding::read(&value),
            None => Ok(vec![Finding::default()]),
            Some(Err(error)) if error.kind == ErrorKind::Unavailable => {
                return Verdict::Not(Health::Blind(error.message));
            }
            Some(Err(error)) => Err(told(&error)),
        };
        found.map_or_else(|why| Verdict::Not(Health::Broken(why)), Verdict::Found)
    }
}

fn told(error: &OpError) -> String {
    match &error.hint {
        Some(hint) => format!("{}; {hint}", error.message),
        None => error.message.clone(),
    }
}
