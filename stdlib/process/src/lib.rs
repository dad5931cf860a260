//! The primitive `process`: runs programs, and looks at the ones that run.
//!
//! | module | holds |
//! |---|---|
//! | `api` | the operations |
//! | [`command`] | what is to be run, as data, and how scripts write it |
//! | [`outcome`] | what came of it, and what a script gets |
//! | [`port`] | the trait to the world |
//! | [`live`] | the adapter for Linux |
//! | [`fake`] | an adapter with scripted programs, for tests |

mod api;
pub mod command;
pub mod fake;
pub mod live;
pub mod outcome;
pub mod port;

pub use api::primitive;
pub use port::ProcessPort;
