//! Supervised processes: services that are programs which hob starts, watches and stops, and which outlive hob itself.
//!
//! A service leads a session of its own, writes into a file, and carries in its environment who it is. So a hob that
//! comes back after a crash finds what it had started, watches it on, and never starts it twice.
//!
//! | module | holds |
//! |---|---|
//! | [`port`] | [`Supervisor`]: the trait, and what crosses it |
//! | [`ready`] | [`await_ready`]: waiting for a gate |
//! | [`live`] | [`live::Live`]: processes of this machine |
//! | [`fake`] | [`fake::Fake`]: processes that tests script |

pub mod fake;
pub mod live;
pub mod port;
pub mod ready;

pub use port::{
    LogChunk, LogFrom, LogPosition, Look, ProcessId, Running, Spec, Started, Stopped, Supervisor,
};
pub use ready::{NotReady, await_ready};
