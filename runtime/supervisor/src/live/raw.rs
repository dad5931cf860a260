//! What has no safe form: the one file of this crate with unsafe code.
//!
//! A service leads a session of its own, so that no terminal reaches it and its group can be signalled as one, inherits one
//! file, and hears all signals. Nothing of that can be said through the standard library, nor can supplementary groups.
#![allow(unsafe_code)] // See above; tests/supervisor tries each of them.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::signal::{SigHandler, Signal, signal};
use rustix::io::FdFlags;
use rustix::process::{Gid, Uid};

use super::account::Account;

/// Makes the program lead a new session, hear all signals, inherit `kept`, and run as `account`.
pub(super) fn in_own_session(command: &mut Command, kept: Option<File>, account: Option<&Account>) {
    let account = account.map(|it| {
        let groups: Vec<Gid> = it.groups.iter().map(|gid| Gid::from_raw(*gid)).collect();
        (Uid::from_raw(it.uid), Gid::from_raw(it.gid), groups)
    });
    let in_child = move || {
        rustix::process::setsid()?;
        // What whoever started hob passes over (`nohup`: SIGHUP), every program below does, and a shell cannot trap it.
        for each in Signal::iterator() {
            // SAFETY: no handler is left behind, since there is none; SIGKILL and SIGSTOP refuse.
            let _ = unsafe { signal(each, SigHandler::SigDfl) };
        }
        if let Some(kept) = &kept {
            // Only here: in hob itself the file would slip into every program that is started at the same time.
            rustix::io::fcntl_setfd(kept, FdFlags::empty())?;
        }
        if let Some((uid, gid, groups)) = &account {
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
