//! The primitive `services`: the homelab's own services, as the keeper of this hob sees them.

pub mod api;
pub mod fake;

use std::sync::Arc;

use hob_primitive::{Ports, Services};

pub use api::primitive;
pub use fake::FakeServices;

/// Plugs in a homelab without services. A process that keeps some puts its keeper in its place.
pub fn install(ports: &mut Ports) {
    ports.insert::<dyn Services>(Arc::new(FakeServices::default()));
}
