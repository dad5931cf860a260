//! What can be known about scripts without running them.
//!
//! ```text
//! sources ─▶ parsed ─▶ walk (names, calls, order) ─▶ findings ─▶ allow ─▶ Checked ─▶ report (JSON, SARIF)
//!               │         └─▶ graph ─▶ reach (effects, permissions, secrets)
//!            catalog: the one table of what scripts can call, for checks, completion and help
//! ```
//!
//! | module | holds |
//! |---|---|
//! | [`catalog`] | everything that scripts can call, made of the operations' declarations |
//! | [`complete`] | what may stand at a place of a script, for the prompt and for editors |
//! | [`definitions`] | the catalog as `.d.rhai` |
//! | [`help`] | the pages of operations, primitives and functions |
//! | [`comments`] | where comments and texts are |
//! | `walk`, `calls`, `names`, `order` | the checks |
//! | [`reach`] | the effects, permissions and secrets that a script can come to |
//! | `allow` | `// hob-allow: CODE` |
//! | [`report`] | findings as JSON and SARIF |
//!
//! Nothing here does I/O: sources come from a [`hob_engine::Loader`]. Findings are [`hob_model::Diagnostic`]s, whose
//! codes `hob explain` knows.

mod allow;
mod calls;
pub mod catalog;
mod check;
pub mod comments;
pub mod complete;
pub mod definitions;
pub mod help;
mod literal;
mod names;
mod order;
mod parsed;
pub mod reach;
pub mod report;
mod walk;

pub use catalog::Catalog;
pub use check::{Checked, FINDINGS_MAX, Request, check};
pub use reach::{Reach, ReachedEffect};
