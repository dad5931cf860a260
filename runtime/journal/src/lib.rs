//! The journal: the append-only record of every run, and what is derived from it.
//!
//! [`Journal`] is the trait that the engine, the daemon and the simulator are written against. Two adapters
//! implement it and pass one suite: SQLite on disk, and memory with fault injection.
//!
//! Writes are *submitted* in order and become durable in order: whatever a crash leaves is a prefix of what
//! was submitted. [`Journal::wait`] is the only place where somebody waits for the disk.

pub mod codec;
mod journal;
pub mod json;
pub mod memory;
pub mod project;
mod row;
pub mod sqlite;

pub use journal::{Commit, Journal, JournalError, Slot, Ticket, WRITE_BYTES_MAX, Write, release};
pub use memory::MemoryJournal;
pub use row::{BundleRecord, EventRow, RunFilter, RunRow, SignalRow, WaitRow};
pub use sqlite::SqliteJournal;
