//! Services: what runs, watched, and what outlives hob itself.
//!
//! One trait, [`Supervisor`], is behind all of them. Processes are kept here: each leads a session of its own, writes into
//! a file, and carries in its environment who it is. So a hob that comes back after a crash finds what it had started,
//! watches it on, and never starts it twice. Other kinds come from primitives, as [`ServiceKind`]s.
//!
//! | module | holds |
//! |---|---|
//! | [`port`] | [`Supervisor`]: the trait, and what crosses it |
//! | [`kinds`] | [`ServiceKind`]: what a primitive offers; [`Supervisors`]: all of them |
//! | [`life`], [`probe()`] | what supervisors share: waiting for an end, looking at an address |
//! | [`graphics`] | [`Graphics`]: the cards that services share |
//! | [`secrets`] | [`secrets::Delivery`]: how services get secrets |
//! | [`ready`] | [`await_ready`]: waiting for a gate |
//! | [`storage`] | [`FileSystems`]: what is mounted, and whether it answers |
//! | [`live`] | [`live::Live`]: processes of this machine |
//! | [`fake`] | [`fake::Fake`]: processes that tests script |

pub mod fake;
pub mod graphics;
pub mod kinds;
pub mod life;
pub mod live;
pub mod port;
mod probe;
pub mod ready;
pub mod secrets;
pub mod storage;

pub use graphics::Graphics;
pub use kinds::{ServiceKind, Supervisors};
pub use life::{Life, Lives};
pub use port::{
    Declared, Images, Instance, LogChunk, LogFrom, LogPosition, Look, OnChange, OnExit, Running, Spec,
    Standing, Started, Stopped, Supervisor,
};
pub use probe::{LOCALHOST, probe};
pub use ready::{NotReady, await_ready};
pub use storage::FileSystems;
