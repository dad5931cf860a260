//! Backups as scripts make them: in memory with faults, in directories, through rclone, and together with restic.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stderr)] // tests look at real files, and start restic

mod cases;
mod faults;
mod kill;
mod restic;
mod tree;
mod weather;
mod world;
