//! Desired × observed → a plan: what is declared, in which order it starts, and what there is to do.
//!
//! Pure: no I/O, no clock, no randomness, no async runtime. Functions give `(value, diagnostics)` rather than failing;
//! whoever drives this observes the world, carries plans out and reports back.
//!
//! | module | holds |
//! |---|---|
//! | [`boot`] | [`Boot`]: why a boot took as long as it did |
//! | [`declaration`] | [`Homelab`]: what was declared, typed and checked as a whole |
//! | [`graph`] | [`Graph`]: which service waits for which service and tier, and why |
//! | [`observed`] | [`Observed`]: what a supervisor reports |
//! | [`plan`] | [`Plan`]: the changes from observed to desired, with their causes and their order |
//! | [`mod@progress`] | which services may start now, which are blocked, and by what |
//! | [`restart`] | when a service that ended is started again |
//! | [`room`] | who may have memory of a graphics card |
//! | [`storage`] | whether the file systems that are mounted are those that were declared |

pub mod boot;
pub mod declaration;
pub mod graph;
pub mod observed;
pub mod plan;
pub mod progress;
pub mod restart;
pub mod room;
pub mod storage;

pub use boot::Boot;
pub use declaration::{Homelab, Raw, Service, Surroundings, Tier};
pub use graph::{Graph, Node, Reason};
pub use observed::{Observed, Outdated, ServiceState};
pub use plan::{Action, Change, Goal, Plan, Resource};
pub use progress::{Progress, progress};
pub use restart::{Exit, Restart};
pub use storage::{AUTOMOUNT, MountState, Mounted};
