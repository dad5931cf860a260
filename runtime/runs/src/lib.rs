//! The life of runs: starting, waking, cancelling, settling, forking, migrating.
//!
//! [`Runs`] drives every run of a process over one journal. It knows no async runtime: threads come from a
//! [`Spawner`], time from the host's clock, and whoever owns it calls [`Runs::fire_due`] when
//! [`Runs::next_due`] has come.
//!
//! ```text
//! start ─▶ queued ─▶ running ─▶ succeeded │ failed │ cancelled
//!                     │   ▲ ▲        retry ──┘
//!                     ▼   │ └── resolve ── in_doubt
//!            waiting ─┘ wake
//! ```

mod clock;
mod command;
mod drive;
mod error;
mod fork;
mod manager;
mod migrate;
mod recover;
mod standing;
mod threads;
mod turns;
mod wake;

pub use command::RunChoice;
pub use error::RunError;
pub use error::journal_diagnostic;
pub use fork::Fork;
pub use manager::{ADOPTED_BUNDLE, Listener, NewRun, NoListener, Parts, Runs, WeakRuns};
pub use migrate::{Migration, Retold};
pub use recover::Recovered;
pub use standing::Standing;
pub use threads::{InlineSpawner, ScriptThreads, Spawner};
pub use turns::{Begin, Claimed, Firing, Ready};
pub use wake::event_value;
