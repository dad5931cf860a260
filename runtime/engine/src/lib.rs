//! The Rhai host: it evaluates scripts so that each of their effects passes one gate.
//!
//! Data flows one way through these modules:
//!
//! ```text
//! bundle ─▶ evaluate ─▶ branch ─▶ gate / control ─▶ run_cx ─▶ journal
//!              ▲                      │
//!           records ◀── entries       └─▶ host (performer, ports)
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`bundle`] | the immutable sources that a run is pinned to |
//! | [`declare`] | what `homelab.rhai` evaluates to |
//! | [`evaluate`](mod@evaluate) | one pass over a run: from the top, with its records |
//! | [`branch`] | one branch of a run: its counters and its place |
//! | `gate` | the one way from a script into the world |
//! | [`control`] | `parallel`, `race`, `retry`, `step`, `sleep`, … |
//! | [`records`] | what the journal knows about a run, for replay |
//! | [`run_cx`] | the context that the branches of a run share |
//! | [`latch`] | what makes sure that nothing happens past an end |
//! | [`inspect`](mod@inspect), [`explore`] | time travel: the variables of a run at a position, and expressions over them |
//! | [`inputs`] | what is typed one after the other, in a session or an old run |
//! | [`numbers`] | what the functions of alerts see, and how they are asked |
//! | `program` | scripts of hob's own, by which flows and datasets are done |
//! | `secret` | secrets in scripts: handles, and their marks in texts |
//! | [`host`] | what the engine needs from its process |
//! | [`language`], [`diagnose`] | the dialect, and its errors for people |
//!
//! Nothing here knows an async runtime, reads a clock, or does I/O.

pub mod branch;
pub mod bundle;
pub mod compensate;
pub mod control;
pub mod convert;
mod dataset;
pub mod declare;
pub mod diagnose;
pub mod evaluate;
pub mod explore;
mod flow;
mod gate;
pub mod handle;
mod history;
pub mod host;
mod include;
pub mod inputs;
pub mod inspect;
pub mod language;
pub mod latch;
mod library;
pub mod numbers;
pub mod permission;
mod program;
pub mod progress;
pub mod records;
pub mod request;
pub mod run_cx;
mod secret;

pub use bundle::{Bundle, Loader};
pub use declare::{Declarations, Declared, Place};
pub use evaluate::{Evaluated, SCRIPT_STACK_BYTES, call_declared, declarations, evaluate, parsing_engine};
pub use history::History;
pub use host::{Host, InlinePerformer, NoObserver, Observer, Performer, Turns};
pub use numbers::{Judge, Numbers};
pub use permission::{Base, Permissions};
pub use records::Records;
pub use run_cx::{Mode, RunCx, wait_outcome};
