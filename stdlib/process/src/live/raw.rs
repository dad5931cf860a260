//! What has no safe form: the one file of this crate with unsafe code.
//!
//! A program leads a session of its own, so that its whole group can be ended and it asks no terminal. Neither the
//! session, nor the umask, nor supplementary groups can be set through the standard library; and tokio asks its
//! callers to vouch for each descriptor that it is to watch.
#![allow(unsafe_code)] // See above; tests/live.rs tries each of them.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::Command as StdCommand;

use hob_primitive::Mode;
use rustix::process::{Gid, Uid};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::lookup::Identity;

/// Makes the program lead a new session, with this umask and identity.
pub(super) fn in_own_session(command: &mut StdCommand, umask: Option<Mode>, identity: Option<&Identity>) {
    let umask = umask.map(|Mode(bits)| rustix::fs::Mode::from_bits_truncate(bits));
    let identity = identity.map(|it| {
        let groups: Vec<Gid> = it.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
        (Uid::from_raw(it.uid), Gid::from_raw(it.gid), groups)
    });
    let in_child = move || {
        rustix::process::setsid()?;
        if let Some(umask) = umask {
            rustix::process::umask(umask);
        }
        if let Some((uid, gid, groups)) = &identity {
            rustix::thread::set_thread_groups(groups)?;
            rustix::thread::set_thread_res_gid(*gid, *gid, *gid)?;
            rustix::thread::set_thread_res_uid(*uid, *uid, *uid)?;
        }
        Ok(())
    };
    // SAFETY: after fork, `in_child` only makes system calls; it neither allocates nor takes a lock. The child has
    // a single thread, so that what the calls set for a thread they set for the process.
    unsafe { command.pre_exec(in_child) };
}

/// Watches a descriptor for being readable.
pub(super) fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` names the same open descriptor until it is dropped, and only the `AsyncFd` holds it.
    let watched = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) };
    watched.map_err(io::Error::from)
}
