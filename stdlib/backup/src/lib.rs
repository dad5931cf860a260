//! The primitive `backup`: snapshots of files and of what programs write, in repositories in the format of restic.
//!
//! | module | holds |
//! |---|---|
//! | `snapshot`, `restore`, `keep`, `check` | the operations |
//! | `take` | how a snapshot is made |
//! | `drill` | how one is proved |
//! | `source` | what is read: trees of files, and programs |
//! | `target` | what is written when a snapshot is restored |
//! | `repository` | a repository that is open, locked and guarded |
//! | `guard` | what stands between the library `rustic_core` and the files of a repository |
//! | `lock` | restic's locks |
//! | [`port`], [`live`], [`fake`] | the files of repositories, on disks and servers, and in memory |

mod check;
mod drill;
mod explain;
pub mod fake;
mod feed;
mod guard;
mod keep;
mod life;
pub mod live;
mod location;
mod lock;
pub mod port;
mod read;
mod repository;
mod restore;
mod snapshot;
mod source;
mod take;
mod target;

pub use location::Location;

/// The primitive with all its operations.
#[must_use]
pub fn primitive() -> hob_primitive::Primitive {
    let mut whole = snapshot::primitive();
    for part in [restore::primitive(), feed::primitive(), keep::primitive(), check::primitive()] {
        whole.operations.extend(part.operations);
    }
    whole
}

/// Plugs in the repositories that this machine reaches.
pub fn install(ports: &mut hob_primitive::Ports) {
    ports.insert::<dyn port::Backups>(std::sync::Arc::new(live::Live::new()));
}
