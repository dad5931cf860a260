//! What has no safe form: the one file of this crate with unsafe code.
//!
//! Leases tell whether anybody has a file open, and hold up who comes while it is taken away; priorities of I/O keep the
//! mover behind everybody else; writing begins before it is waited for; what memory holds of a file is asked. No library has
//! safe wrappers of these.
#![allow(unsafe_code)] // See above; the tests of the live adapter try each of them.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use crate::tier::{IoPriority, Lease};

/// `ioprio_set(2)`: of a thread; 0 is the caller.
const IOPRIO_WHO_PROCESS: libc::c_int = 1;

/// `ioprio_set(2)`: where the class stands in a priority.
const IOPRIO_CLASS_SHIFT: u32 = 13;

/// `fcntl(2)`: which signal tells of who comes (`include/uapi/asm-generic/fcntl.h`).
const F_SETSIG: libc::c_int = 10;

/// Asks for a lease on a file (`F_SETLEASE`): `alone`, that nobody else has it open, otherwise that nobody writes.
pub(super) fn lease(fd: BorrowedFd<'_>, alone: bool) -> Lease {
    let kind = if alone { libc::F_WRLCK } else { libc::F_RDLCK };
    // Who comes is told of by a signal, and SIGIO, the usual one, would end the process: SIGURG is passed over.
    // SAFETY: both commands take an int and touch no memory of ours; the descriptor is open as long as it is borrowed.
    let set = unsafe {
        libc::fcntl(fd.as_raw_fd(), F_SETSIG, libc::SIGURG);
        libc::fcntl(fd.as_raw_fd(), libc::F_SETLEASE, kind)
    };
    match set {
        0 => Lease::Held,
        _ if std::io::Error::last_os_error().kind() == std::io::ErrorKind::WouldBlock => Lease::Busy,
        _ => Lease::Unknown,
    }
}

/// Whether somebody waits for the lease `alone`, or the other one, to be given back (`F_GETLEASE`).
pub(super) fn is_wanted(fd: BorrowedFd<'_>, alone: bool) -> bool {
    let held = if alone { libc::F_WRLCK } else { libc::F_RDLCK };
    // SAFETY: the command takes nothing; the descriptor is open as long as it is borrowed.
    unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETLEASE) != held }
}

/// Sets how eagerly disks serve the calling thread.
pub(super) fn prioritise(priority: IoPriority) {
    // Classes of `ioprio_set(2)`: 2 best effort, of which 7 is the last and 4 the usual one; 3 idle.
    let (class, level) = match priority {
        IoPriority::Idle => (3, 0),
        IoPriority::Low => (2, 7),
        IoPriority::Normal => (2, 4),
    };
    let value: libc::c_int = class << IOPRIO_CLASS_SHIFT | level;
    // SAFETY: the call takes three ints and touches no memory. Where it is refused, the disk serves as before.
    unsafe { libc::syscall(libc::SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, value) };
}

/// Begins to write to the disk what memory holds of a file (`sync_file_range(2)`), without waiting for it.
pub(super) fn begin_writing(fd: BorrowedFd<'_>) {
    // SAFETY: the call takes numbers and touches no memory. It promises nothing: what must be there is synced later.
    unsafe { libc::sync_file_range(fd.as_raw_fd(), 0, 0, libc::SYNC_FILE_RANGE_WRITE) };
}

/// Whether memory holds the most of a part of a file (`mincore(2)`), or the kernel does not tell.
pub(super) fn is_in_memory(fd: BorrowedFd<'_>, offset: u64, bytes: usize) -> bool {
    let Ok(offset) = libc::off_t::try_from(offset) else { return true };
    let mut pages = vec![0_u8; bytes.div_ceil(rustix::param::page_size())];
    // SAFETY: the mapping is new and nobody reads through it, so that it does not matter when the file becomes shorter; there
    // is a byte for each of its pages; it is gone before this returns.
    let told = unsafe {
        let part =
            libc::mmap(ptr::null_mut(), bytes, libc::PROT_READ, libc::MAP_SHARED, fd.as_raw_fd(), offset);
        if part == libc::MAP_FAILED {
            return true;
        }
        let told = libc::mincore(part, bytes, pages.as_mut_ptr());
        libc::munmap(part, bytes);
        told
    };
    told != 0 || pages.iter().filter(|page| **page & 1 == 1).count() * 2 > pages.len()
}
