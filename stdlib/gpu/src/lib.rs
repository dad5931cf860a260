//! The primitive `gpu`: graphics cards, what they do, and what a container is given to use them.
//!
//! | module | holds |
//! |---|---|
//! | `api`, `lease` | the operations |
//! | [`survey`] | what cards and users there are |
//! | [`value`] | cards and processes as scripts see them |
//! | [`rules`] | what the generations of NVIDIA's cards can do |
//! | [`cdi`] | specifications of the Container Device Interface |
//! | `access` | which devices a container needs |
//! | [`share`] | the cards as services share them |
//! | [`measure`] | numbers for `/metrics` |
//! | [`port`] | the trait to the world |
//! | [`live`] | NVML, the kernel's `/sys` and `/proc` |
//! | [`fake`] | cards in memory, for tests |

mod access;
mod api;
pub mod cdi;
pub mod fake;
mod lease;
pub mod live;
pub mod measure;
pub mod port;
pub mod rules;
pub mod share;
pub mod survey;
pub mod value;

use std::sync::Arc;

use hob_primitive::{Measured, Ports};
use hob_supervisor::Graphics;
pub use port::GpuPort;

/// The most cards of a machine that are looked at.
pub const CARDS_MAX: usize = 64;

/// The longest specification of the Container Device Interface that is read, 4 MiB.
pub const CDI_BYTES_MAX: u64 = 4 << 20;

/// The primitive with all its operations.
#[must_use]
pub fn primitive() -> hob_primitive::Primitive {
    let mut whole = api::primitive();
    whole.operations.extend(lease::primitive().operations);
    whole
}

/// Plugs in the cards of this machine. NVIDIA's library is loaded at the first look.
pub fn install(ports: &mut Ports) {
    let live: Arc<dyn GpuPort> = Arc::new(live::LiveGpu::new());
    ports.add::<dyn Measured>(Arc::new(measure::GpuMeasures(Arc::clone(&live))));
    ports.insert::<dyn Graphics>(Arc::new(share::SharedCards(Arc::clone(&live))));
    ports.insert::<dyn hob_supervisor::graphics::Leases>(Arc::new(lease::Nobody));
    ports.insert::<dyn GpuPort>(live);
}
