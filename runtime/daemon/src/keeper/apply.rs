//! Bringing all services to a goal: once, or while they are kept.

use std::sync::PoisonError;

use hob_model::{Code, Diagnostic};
use hob_planner::{Action, Change, Goal, Plan, ServiceState};
use serde_json::{Value as Json, json};

use super::{Inner, Keeper, asked, native, observe, renew, start, stop};

impl Keeper {
    /// Brings services to a goal once, without keeping them so.
    ///
    /// # Errors
    /// When a service did not come to the state it should.
    pub fn apply(&self, goal: Goal) -> Result<(), Diagnostic> {
        match goal {
            Goal::Up => self.begin()?,
            Goal::Down => {
                native::settle_previous(&self.inner.runs).map_err(|error| error.diagnostic())?;
                start::adopt(&self.inner);
                stop::all(&self.inner, "down", |_| true);
            }
        }
        self.outcome()
    }

    /// Has all that is declared and not held run as declared, while it is kept; gives the plan that was carried out. With a
    /// `basis`, only if what is observed is still what the plan with that basis was made from.
    ///
    /// # Errors
    /// When the world has changed since, or a service did not get ready.
    pub fn bring_up(&self, basis: Option<&str>) -> Result<Json, Diagnostic> {
        let inner = &self.inner;
        let _alone = inner.applying.lock().unwrap_or_else(PoisonError::into_inner);
        let observed = observe::seen(&**inner.runs.journal(), &inner.supervisors, &inner.homelab)?;
        let plan = Plan::new(&inner.homelab, &observed, Goal::Up);
        if basis.is_some_and(|basis| basis != plan.basis.to_string()) {
            let error = Diagnostic::error(
                Code::PlanStale,
                "something has changed since the plan was made; nothing was done",
            );
            return Err(error.hint("ask for the plan again, and apply that"));
        }
        stop::obsolete(inner, &plan, |change| claim(inner, change))?;
        for change in plan.changes.iter().filter(|it| it.action.is_up() && it.action != Action::Update) {
            asked::want(inner, &change.resource.name);
        }
        self.wait_settled();
        renew::planned(inner, &plan);
        self.outcome()?;
        Ok(plan.to_json())
    }

    /// Stops all services in reverse order, also those that are held: it is a person who asks. They stay so until they are
    /// started or brought up. Gives the names of those that ran.
    ///
    /// # Errors
    /// When one cannot be stopped.
    pub fn bring_down(&self) -> Result<Json, Diagnostic> {
        let inner = &self.inner;
        let _alone = inner.applying.lock().unwrap_or_else(PoisonError::into_inner);
        let stopped = stop::all(inner, "down", |_| true);
        match asked::still_there(inner, &stopped) {
            Some(error) => Err(asked::problem(&error)),
            None => Ok(json!({ "stopped": stopped })),
        }
    }

    /// Fails where a service is not as it should be.
    fn outcome(&self) -> Result<(), Diagnostic> {
        let table = self.inner.table();
        let failed: Vec<String> = table
            .services
            .iter()
            .filter(|(_, entry)| matches!(entry.state, ServiceState::Failed | ServiceState::Blocked))
            .map(|(name, entry)| format!("`{name}` {}: {}", entry.state, entry.note))
            .collect();
        if failed.is_empty() {
            return Ok(());
        }
        let error = Diagnostic::error(
            Code::ServiceFailed,
            format!("{} of {} services did not get ready", failed.len(), table.services.len()),
        );
        Err(failed.into_iter().fold(error, Diagnostic::note).hint("`hob logs SERVICE` shows what it wrote"))
    }
}

/// Has nobody else start or stop what is to be stopped; not where somebody does so already.
fn claim(inner: &Inner, change: &Change) -> bool {
    let mut table = inner.table();
    // What is not declared any more nobody keeps.
    let Some(entry) = table.services.get_mut(&change.resource.name) else { return true };
    let is_free = !entry.busy && !entry.image.is_under_way();
    entry.busy |= is_free;
    is_free
}
