//! Asking one rule.

use hob_alerts::{Board, Finding, Health};
use hob_engine::Numbers;
use hob_model::{ErrorKind, OpError, Timestamp, Value};
use hob_planner::declaration::ALERT_WHEN;

use super::Alerts;

/// What a rule said.
pub(super) enum Verdict {
    /// It found just this.
    Found(Vec<Finding>),
    /// It could not be judged.
    Not(Health),
}

impl Verdict {
    /// Enters it for the rule `at`.
    pub(super) fn enter(self, board: &mut Board, at: usize, now: Timestamp) {
        match self {
            Self::Found(found) => board.judged(at, found, now),
            Self::Not(health) => board.not_judged(at, health),
        }
    }
}

impl Alerts {
    /// Asks the function of the rule `at`, with what came in if it waits for that. One without a function agrees.
    pub(super) fn ask(&self, at: usize, came: Option<Value>, numbers: &Numbers) -> Verdict {
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
