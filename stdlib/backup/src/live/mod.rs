//! The adapter: repositories in directories and on servers, and this machine.
#![allow(clippy::disallowed_methods)] // This is the adapter: what it does is I/O.

mod local;
mod rclone;
mod rest;
mod s3;

use std::sync::Arc;
use std::time::{Duration, Instant};

use hob_model::OpError;
use rustix::process::{Pid, test_kill_process};

use crate::location::Location;
use crate::port::{Backups, Login, Owner, Store};

/// Where the kernel says which boot this is.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// This machine, and the repositories it reaches.
#[derive(Debug)]
pub struct Live {
    begun: Instant,
}

impl Default for Live {
    fn default() -> Self {
        Self::new()
    }
}

impl Live {
    /// The adapter.
    #[must_use]
    pub fn new() -> Self {
        Self { begun: Instant::now() }
    }
}

impl Backups for Live {
    fn open(&self, location: &Location, login: Login) -> Result<Arc<dyn Store>, OpError> {
        Ok(match location {
            Location::Local(path) => Arc::new(local::Local::new(path.clone())),
            Location::Rest(url) => Arc::new(rest::Rest::new(url.clone(), login)?),
            Location::S3(address) => Arc::new(s3::S3::new(address.clone(), login)?),
            Location::Rclone(remote) => Arc::new(rclone::Rclone::start(remote)?),
        })
    }

    fn owner(&self) -> Owner {
        let (uid, gid) = (rustix::process::getuid(), rustix::process::getgid());
        let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid.as_raw())).ok().flatten();
        Owner {
            hostname: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            username: user.map(|user| user.name).unwrap_or_default(),
            uid: uid.as_raw(),
            gid: gid.as_raw(),
            pid: std::process::id(),
        }
    }

    fn is_running(&self, pid: u32) -> bool {
        let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return false };
        // One that may not be signalled runs.
        !matches!(test_kill_process(pid), Err(rustix::io::Errno::SRCH))
    }

    fn boot(&self) -> Result<String, OpError> {
        let read = std::fs::read_to_string(BOOT_ID).map_err(|error| OpError::io(&error, BOOT_ID))?;
        Ok(read.trim().to_owned())
    }

    fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }
}
