//! The primitive `units`: services, timers and targets of systemd, on the system's and the user's bus.
//!
//! | module | holds |
//! |---|---|
//! | `reading`, `control`, `unit_files`, `transient`, `logging` | the operations |
//! | `job`, `transient_unit` | waiting for what systemd does, and finding it again after a crash |
//! | `name`, `properties`, [`journal`], `status` | what scripts write and see |
//! | `problem` | what a refusal means to a person |
//! | `source` | changes of units as events |
//! | [`port`] | the trait to the world |
//! | [`live`] | the adapter for systemd |
//! | [`fake`] | a manager in memory, with faults on demand |

mod control;
pub mod fake;
mod job;
pub mod journal;
pub mod live;
mod logging;
mod measure;
mod name;
pub mod port;
mod problem;
mod properties;
mod reading;
pub mod service;
mod source;
mod status;
mod transient;
mod transient_unit;
mod unit_files;
mod values;

use std::sync::Arc;

use hob_primitive::{Ports, Primitive};
pub use name::{NAME_BYTES_MAX, UnitName};
pub use port::UnitsPort;
pub use source::UnitEvents;
pub use transient_unit::{EFFECT_VARIABLE, KEPT};

/// The primitive with all its operations.
#[must_use]
pub fn primitive() -> Primitive {
    let mut whole = reading::primitive();
    let parts = [control::primitive(), unit_files::primitive(), transient::primitive(), logging::primitive()];
    whole.operations.extend(parts.into_iter().flat_map(|part| part.operations));
    whole
}

/// Plugs in the systemd of this machine, and that of the user where there is one.
pub fn install(ports: &mut Ports) {
    let live = Arc::new(live::Live::new());
    ports.insert::<dyn UnitsPort>(Arc::clone(&live) as Arc<dyn UnitsPort>);
    let units = service::Units::new(Arc::clone(&live) as Arc<dyn UnitsPort>);
    ports.add::<dyn hob_supervisor::ServiceKind>(Arc::new(units));
    ports.add_source(Arc::new(UnitEvents::new(Arc::clone(&live) as Arc<dyn UnitsPort>, port::Scope::System)));
    let measures = measure::UnitMeasures(Arc::clone(&live) as Arc<dyn UnitsPort>);
    ports.add::<dyn hob_primitive::Measured>(Arc::new(measures));
    if live.has_user() {
        ports.add_source(Arc::new(UnitEvents::new(live, port::Scope::User)));
    }
}
