//! The changes of units as events: `unit.started`, `unit.stopped`, `unit.failed`.

use std::sync::Arc;

use futures_util::StreamExt as _;
use hob_model::Value;
use hob_primitive::{BoxFuture, EventSink, EventSource};

use crate::port::{Change, Scope, UnitsPort};
use crate::problem::plain;

/// Tells when units of one manager start, stop and fail.
pub struct UnitEvents {
    port: Arc<dyn UnitsPort>,
    scope: Scope,
}

impl UnitEvents {
    /// The events of the manager that `port` reaches.
    pub fn new(port: Arc<dyn UnitsPort>, scope: Scope) -> Self {
        Self { port, scope }
    }
}

/// The event that a change is; none for states on the way.
fn event(change: &Change) -> Option<&'static str> {
    match (change.before.as_str(), change.active.as_str()) {
        (_, "failed") => Some("unit.failed"),
        // A reload is no start.
        ("reloading", "active") | ("failed", "inactive") => None,
        (_, "active") => Some("unit.started"),
        (_, "inactive") => Some("unit.stopped"),
        _ => None,
    }
}

impl EventSource for UnitEvents {
    fn prefix(&self) -> &'static str {
        "unit."
    }

    fn listen(self: Arc<Self>, sink: EventSink) -> BoxFuture<()> {
        Box::pin(async move {
            let refused = |fault| plain(fault, self.scope);
            let mut changes = self.port.changes(self.scope).await.map_err(refused)?;
            while let Some(change) = changes.next().await {
                let change = change.map_err(refused)?;
                let Some(name) = event(&change) else { continue };
                let payload = Value::map([
                    ("unit", Value::from(change.unit)),
                    ("active", Value::from(change.active)),
                    ("sub", Value::from(change.sub)),
                    ("before", Value::from(change.before)),
                    ("user", Value::from(self.scope == Scope::User)),
                ]);
                if !sink.emit(name, payload) {
                    return Ok(());
                }
            }
            Ok(())
        })
    }
}
