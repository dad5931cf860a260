//! All primitives that scripts can call, as one list.
//!
//! The list is generated from the folders of `stdlib/`:
//!
//! ```text
//! cargo run -p hob-stdlib --example generate
//! ```
//!
//! A folder is in it as soon as its `lib.rs` has `pub fn install(ports: &mut Ports)`, which plugs in its live adapters.
//! It also has `pub fn primitive() -> Primitive`, or `pub fn primitives() -> Vec<Primitive>` when it holds several. A test
//! fails while the list is stale.

mod list;

use hob_primitive::{Ports, Primitive, Registry};

/// All primitives.
///
/// ```
/// let primitives = hob_stdlib::primitives();
/// assert!(primitives.iter().any(|primitive| primitive.name == "json"));
/// ```
#[must_use]
pub fn primitives() -> Vec<Primitive> {
    list::primitives()
}

/// Plugs in the live adapters of all primitives. Cheap: nothing is connected or opened.
pub fn install(ports: &mut Ports) {
    list::install(ports);
}

/// The live adapters of all primitives.
#[must_use]
pub fn live_ports() -> Ports {
    let mut ports = Ports::default();
    install(&mut ports);
    ports
}

/// The operations of all primitives.
///
/// # Panics
/// When a declaration is incomplete or doubled, which a test of this crate finds first.
#[must_use]
pub fn registry() -> Registry {
    Registry::new(primitives()).expect("a test registers all primitives")
}
