//! The primitive `files`: reads, writes and moves files so that nobody ever sees half of one.
//!
//! | module | holds |
//! |---|---|
//! | `reading`, `writing`, `tree`, `copying`, `archives` | the operations |
//! | `atomic`, `walk`, `glob`, `hash`, `render`, `pack`, `unpack` | what they are made of |
//! | `problem` | what an I/O error means to a person |
//! | [`port`] | the trait to the world |
//! | [`live`] | the adapter for this machine |
//! | [`fake`] | a file system in memory that can be full, closed or pulled from the wall |

mod archives;
mod atomic;
mod copying;
pub mod fake;
mod glob;
mod hash;
pub mod live;
mod pack;
pub mod port;
mod problem;
mod reading;
mod render;
mod tree;
mod unpack;
mod walk;
mod writing;

use hob_primitive::Primitive;
pub use port::FilesPort;

/// The primitive with all its operations.
#[must_use]
pub fn primitive() -> Primitive {
    let mut whole = reading::primitive();
    for part in [writing::primitive(), tree::primitive(), copying::primitive(), archives::primitive()] {
        whole.operations.extend(part.operations);
    }
    whole
}

/// Plugs in the files of this machine.
pub fn install(ports: &mut hob_primitive::Ports) {
    ports.insert::<dyn FilesPort>(std::sync::Arc::new(live::Live::new()));
}
