//! The primitive `storage`: moves files between fast and large disks, reads again what was moved, cleans up, and tells how
//! full disks are.
//!
//! | module | holds |
//! |---|---|
//! | `migrate`, `scrub`, `cleanup`, `usage`, [`directories`], `smart`, `mount_units` | the operations |
//! | `file_system` | what file systems know of themselves: snapshots and errors, one file each |
//! | `acl` | what new files in a directory may be: pure |
//! | `due`, `forecast` | what cleanup removes, and when a disk will be full: pure |
//! | [`mover`] | how files move without ever being at risk |
//! | [`tier`] | the trait to the file systems |
//! | `disk` | what a disk tells of itself: pure |
//! | [`tools`] | the trait to programs that know disks and file systems |
//! | [`measure`] | numbers for `/metrics` |
//! | [`live`] | the adapter for this machine |
//! | [`fault`] | tiers that stop at a chosen step |

mod acl;
mod cleanup;
pub mod directories;
mod disk;
mod due;
pub mod fault;
mod file_system;
mod forecast;
pub mod live;
pub mod measure;
mod migrate;
mod mount_units;
pub mod mover;
mod roots;
mod scrub;
mod smart;
pub mod tier;
pub mod tools;
mod usage;
mod watch;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use directories::Directories;
use hob_model::Value;
use hob_primitive::{Ctx, Measured, Primitive};
use measure::{ASK_DISKS_EVERY, DiskMeasures, Movers};
use tier::{IoPriority, Tiers};
use tools::Tools;

/// Files that a result names.
const NAMED_MAX: usize = 1000;

/// How long a file system may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The primitive with all its operations.
#[must_use]
pub fn primitive() -> Primitive {
    let mut whole = migrate::primitive();
    let parts = [
        scrub::primitive(),
        cleanup::primitive(),
        usage::primitive(),
        directories::primitive(),
        smart::primitive(),
        mount_units::primitive(),
        file_system::primitive(),
    ];
    for part in parts {
        whole.operations.extend(part.operations);
    }
    whole
}

/// The time of a context, as files have it.
fn now(cx: &Ctx) -> tier::Time {
    let now = cx.now();
    tier::Time { seconds: now.as_second(), nanos: u32::try_from(now.subsec_nanosecond()).unwrap_or_default() }
}

/// What is said of files, each by its path and a reason; the first of many.
fn reasons<'l>(files: impl Iterator<Item = (&'l Path, &'l str)>) -> Value {
    let said = |(path, reason): (&Path, &str)| {
        Value::map([
            ("path", Value::from(path.to_string_lossy().into_owned())),
            ("reason", Value::from(reason)),
        ])
    };
    Value::Array(files.take(NAMED_MAX).map(said).collect())
}

/// Does `work` while the disks serve it with this priority, on a thread of its own, because the priority is a thread's.
fn at_priority<T: Send>(tiers: &dyn Tiers, priority: IoPriority, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let working = scope.spawn(|| {
            tiers.prioritise(priority);
            work()
        });
        working.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Plugs in the file systems of this machine.
pub fn install(ports: &mut hob_primitive::Ports) {
    let live = Arc::new(live::Live::new());
    ports.insert::<dyn Directories>(Arc::clone(&live) as Arc<dyn Directories>);
    let tools: Arc<dyn Tools> = Arc::new(live::LiveTools::default());
    let movers = Arc::new(Movers::new(Arc::clone(&live) as Arc<dyn Tiers>));
    let disks = DiskMeasures::new(Arc::clone(&tools), Arc::clone(&live) as Arc<dyn Tiers>, ASK_DISKS_EVERY);
    ports.add::<dyn Measured>(Arc::clone(&movers) as Arc<dyn Measured>);
    ports.add::<dyn Measured>(Arc::new(disks));
    ports.insert::<Movers>(movers);
    ports.insert::<dyn Tiers>(live);
    ports.insert::<dyn Tools>(tools);
}
