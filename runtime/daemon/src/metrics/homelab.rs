//! What the adopted homelab is like: its services, its schedules, and the runs that need a person.

use std::sync::{Arc, Weak};

use hob_journal::RunFilter;
use hob_model::{OpError, RunStatus};
use hob_primitive::{BoxFuture, Family, Measured};
use hob_runs::Runs;

use crate::hub::Hub;

/// Runs of one state that are counted; more are told as so many.
const RUNS_COUNTED_MAX: usize = 10_000;
/// The states that a run leaves only when a person decides.
const STUCK: [RunStatus; 3] = [RunStatus::InDoubt, RunStatus::Paused, RunStatus::Interrupted];

/// Measures the homelab that a process serves.
pub(crate) struct HomelabMeasures(pub(crate) Weak<dyn Hub>);

impl Measured for HomelabMeasures {
    fn name(&self) -> &'static str {
        "homelab"
    }

    fn measure(self: Arc<Self>) -> BoxFuture<Vec<Family>> {
        Box::pin(async move {
            let measured = tokio::task::spawn_blocking(move || {
                let hub = self.0.upgrade().ok_or_else(|| OpError::unavailable("hob is stopping"))?;
                let mut all = hub.measured();
                all.push(stuck(hub.runs())?);
                Ok(all)
            });
            measured.await.map_err(|error| OpError::failed(error.to_string()))?
        })
    }
}

fn stuck(runs: &Runs) -> Result<Family, OpError> {
    let mut family = Family::gauge("hob_runs_stuck", "Runs that go on when a person has decided");
    for status in STUCK {
        let filter =
            RunFilter { status: vec![status], limit: Some(RUNS_COUNTED_MAX), ..RunFilter::default() };
        let found = runs.journal().runs(&filter).map_err(|error| OpError::failed(error.to_string()))?;
        #[allow(clippy::cast_precision_loss)] // at most RUNS_COUNTED_MAX
        family.push(vec![("status", status.as_str().to_owned())], found.len() as f64);
    }
    Ok(family)
}
