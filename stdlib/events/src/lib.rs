//! The primitive `events`: the event bus.

pub mod api;
pub mod fake;

use std::sync::Arc;

use hob_primitive::{EventBus, Ports};

pub use api::primitive;
pub use fake::MemoryBus;

/// Plugs in a bus in memory. A process with a journal puts the bus of its journal in its place, so that events last and
/// start workflows.
pub fn install(ports: &mut Ports) {
    ports.insert::<dyn EventBus>(Arc::new(MemoryBus::default()));
}
