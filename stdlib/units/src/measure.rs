//! How many units there are, in which state, and which of them failed.

use std::sync::Arc;

use hob_primitive::{BoxFuture, Family, Measured};

use crate::port::{Scope, UnitsPort};
use crate::problem::plain;

/// Failed units that are named.
const FAILED_NAMED_MAX: usize = 100;

/// Measures the manager of the system.
pub(crate) struct UnitMeasures(pub(crate) Arc<dyn UnitsPort>);

impl Measured for UnitMeasures {
    fn name(&self) -> &'static str {
        "units"
    }

    fn measure(self: Arc<Self>) -> BoxFuture<Vec<Family>> {
        Box::pin(async move {
            let rows = self.0.rows(Scope::System).await.map_err(|fault| plain(fault, Scope::System))?;
            let states = rows.iter().map(|row| row.active.clone());
            let all = Family::gauge("hob_units", "Units that systemd has loaded, by their state");
            let all = all.counted("state", states);
            let failed = rows.into_iter().filter(|row| row.active == "failed").take(FAILED_NAMED_MAX);
            Ok(vec![
                all,
                Family::gauge("hob_unit_failed", "1 for each unit that failed")
                    .with(failed.map(|row| ([("unit", row.name)], 1.0))),
            ])
        })
    }
}
