//! The primitive `random`: chance, drawn once and remembered.

mod api;
mod fake;
mod live;
mod port;

use std::sync::Arc;

pub use api::{BYTES_MAX, CHARACTERS_MAX, primitive};
pub use fake::FakeEntropy;
pub use live::SystemEntropy;
pub use port::Entropy;

/// Plugs in the random numbers of the operating system.
pub fn install(ports: &mut hob_primitive::Ports) {
    ports.insert::<dyn Entropy>(Arc::new(SystemEntropy));
}
