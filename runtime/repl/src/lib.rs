//! The prompt of `hob repl`: reading, completing, colouring and showing. What an input does is the business of a
//! [`Desk`]: a session that is a run, here or in a daemon, or an old run that is only looked at.
//!
//! | module | holds |
//! |---|---|
//! | [`shell`] | the loop, and the [`Desk`] that it asks |
//! | [`command`] | `:save FILE`, `help(containers)` and their like |
//! | [`script`] | inputs as scripts: whether one is complete, and what `:save` writes |
//! | `complete`, `highlight`, `hint`, `prompt` | the line editor's parts |

pub mod command;
mod complete;
mod highlight;
mod hint;
mod prompt;
pub mod script;
pub mod shell;

pub use complete::Live;
pub use shell::{Desk, Problem, Settings, run};
