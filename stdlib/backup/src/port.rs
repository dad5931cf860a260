//! What backups reach the world through: the files of a repository, and this machine.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hob_model::OpError;
use hob_primitive::Opened;

use crate::location::Location;

/// The folders of a repository, as restic's design document names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Area {
    /// The one file `config`.
    Config,
    /// Keys, encrypted with passwords.
    Keys,
    /// Locks of programs that are at work.
    Locks,
    /// Snapshots.
    Snapshots,
    /// Where in the packs what is.
    Index,
    /// Packs.
    Data,
}

impl Area {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Config, Self::Keys, Self::Locks, Self::Snapshots, Self::Index, Self::Data];

    /// The name of the folder.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Keys => "keys",
            Self::Locks => "locks",
            Self::Snapshots => "snapshots",
            Self::Index => "index",
            Self::Data => "data",
        }
    }
}

/// The files of one repository. They are written once and never changed; their names are the SHA-256 of their content.
///
/// Errors name the file, and say what to do.
pub trait Store: Send + Sync + fmt::Debug {
    /// Makes the folders that are missing.
    ///
    /// # Errors
    /// When it cannot.
    fn create(&self) -> Result<(), OpError>;

    /// The files of `area` with their sizes in bytes; none where there is no such folder.
    ///
    /// # Errors
    /// When it cannot be read.
    fn list(&self, area: Area) -> Result<Vec<(String, u64)>, OpError>;

    /// A file, or `range` of its bytes. The name of the one in [`Area::Config`] is passed over.
    ///
    /// # Errors
    /// `not_found` when there is no such file, `failed` when it is shorter than `range`.
    fn read(&self, area: Area, name: &str, range: Option<Range<u64>>) -> Result<Bytes, OpError>;

    /// Writes a file: durable, and whole or not at all.
    ///
    /// # Errors
    /// When it cannot.
    fn write(&self, area: Area, name: &str, content: &[Bytes]) -> Result<(), OpError>;

    /// Removes a file. One that is not there is removed.
    ///
    /// # Errors
    /// When it cannot.
    fn remove(&self, area: Area, name: &str) -> Result<(), OpError>;
}

/// What a server asks for.
#[derive(Default)]
pub struct Login {
    /// The user; the access key of S3.
    pub user: Option<String>,
    /// The user's password, or the secret key of S3; wiped when dropped.
    pub secret: Option<Opened>,
    /// The region of S3, where the address does not tell.
    pub region: Option<String>,
}

/// A process, as a lock names its owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The machine.
    pub hostname: String,
    /// The user.
    pub username: String,
    /// The user's number.
    pub uid: u32,
    /// The group's number.
    pub gid: u32,
    /// The process.
    pub pid: u32,
}

/// Repositories, and what backups need to know of this machine.
pub trait Backups: Send + Sync {
    /// The files of the repository at `location`. It need not exist.
    ///
    /// # Errors
    /// When it cannot be reached.
    fn open(&self, location: &Location, login: Login) -> Result<Arc<dyn Store>, OpError>;

    /// This process.
    fn owner(&self) -> Owner;

    /// Whether a process of this machine runs.
    fn is_running(&self, pid: u32) -> bool;

    /// Which boot of this machine this is: another one each time.
    ///
    /// # Errors
    /// When the system does not say.
    fn boot(&self) -> Result<String, OpError>;

    /// How long this process runs, whatever the clock says.
    fn elapsed(&self) -> Duration;
}
