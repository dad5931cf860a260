//! Putting the binary together: which operations there are, and what they reach the world through.

use std::sync::{Arc, OnceLock};

use hob_daemon::disks::{DiskEvents, Disks, LocalDisks};
use hob_daemon::metrics::host::HostMeasures;
use hob_primitive::{Measured, Ports, Registry};

/// All operations.
///
/// # Panics
/// When a declaration is incomplete, which a test finds first.
#[must_use]
pub(crate) fn registry() -> Arc<Registry> {
    static REGISTRY: OnceLock<Arc<Registry>> = OnceLock::new();
    let registry =
        || Registry::new(hob_stdlib::primitives()).expect("the standard library's declarations are complete");
    Arc::clone(REGISTRY.get_or_init(|| Arc::new(registry())))
}

/// The live adapters.
#[must_use]
pub(crate) fn ports() -> Ports {
    let mut ports = Ports::default();
    hob_stdlib::install(&mut ports);
    let disks = Arc::new(LocalDisks::default());
    ports.add::<dyn Measured>(Arc::new(HostMeasures::new(Arc::clone(&disks) as Arc<dyn Disks>)));
    ports.add_source(Arc::new(DiskEvents::new(disks)));
    ports
}

/// The processes that live and were started by the effect with this key.
#[must_use]
pub(crate) fn living(key: &str) -> Vec<u32> {
    ports()
        .get::<dyn hob_std_process::ProcessPort>()
        .and_then(|port| port.alive(key).ok())
        .unwrap_or_default()
}
