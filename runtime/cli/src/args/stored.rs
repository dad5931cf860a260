//! Arguments of commands about the journal and the state directory.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// `hob journal prune`
#[derive(Debug, Args)]
pub(crate) struct PruneArgs {
    /// Runs that ended, and events that were recorded, longer ago: 90d
    #[arg(long, value_name = "DURATION")]
    pub older_than: Option<String>,
    /// Keep at most so many ended runs
    #[arg(long, value_name = "COUNT")]
    pub keep: Option<u64>,
    /// Keep at most so many events
    #[arg(long, value_name = "COUNT")]
    pub keep_events: Option<u64>,
    /// Keep the journal below this size: 2G
    #[arg(long, value_name = "SIZE")]
    pub max_size: Option<String>,
}

/// `hob journal …`
#[derive(Debug, Subcommand)]
pub(crate) enum JournalCommand {
    /// Verify every record
    Check,
    /// Make the projections anew from the entries
    Rebuild,
    /// Remove old runs
    Prune(PruneArgs),
    /// Print entries as JSON lines
    Export {
        /// Only this run
        run: Option<String>,
    },
}

/// `hob state …`
#[derive(Debug, Subcommand)]
pub(crate) enum StateCommand {
    /// Copy the state to a new directory, consistently, also while hob serves
    Backup {
        /// The directory
        to: PathBuf,
    },
    /// Bring a copy back into an empty state directory; its live runs are held until resumed
    Restore {
        /// The directory
        from: PathBuf,
    },
}
