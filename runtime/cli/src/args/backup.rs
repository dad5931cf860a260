//! Arguments of `hob backup`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

/// A dataset or service, and where its homelab is.
#[derive(Debug, Args)]
pub(crate) struct DatasetArgs {
    /// The dataset or service
    pub dataset: String,
    /// Only at this repository, as it is declared
    #[arg(long, value_name = "REPOSITORY")]
    pub from: Option<String>,
    /// The directory with homelab.rhai, where no hob serves it
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub homelab: PathBuf,
}

/// `hob backup …`
#[derive(Debug, Subcommand)]
pub(crate) enum BackupCommand {
    /// Show for each dataset and service the last good backup, its age and size, and what verified it
    Status {
        /// The directory with homelab.rhai, where no hob serves it
        #[arg(long, value_name = "DIR", default_value = ".")]
        homelab: PathBuf,
    },
    /// Make the repositories of a dataset or service where there are none
    Init(DatasetArgs),
    /// Back up a dataset or service now
    Run(DatasetArgs),
    /// List the snapshots of a dataset or service
    List(DatasetArgs),
    /// Bring back a dataset or service, or parts of it, in place or elsewhere
    Restore(RestoreArgs),
    /// Look whether the repositories hold all that their snapshots refer to
    Check {
        #[command(flatten)]
        of: DatasetArgs,
        /// How much of the content is read, too: all, 5%, 3/12
        #[arg(long, value_name = "PART")]
        read: Option<String>,
    },
    /// Restore the last snapshot into a scratch place, and prove what came back
    Verify {
        #[command(flatten)]
        of: DatasetArgs,
        /// This snapshot: its id, or the beginning of it
        #[arg(long, value_name = "ID")]
        snapshot: Option<String>,
    },
}

/// `hob backup restore`
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    #[command(flatten)]
    pub of: DatasetArgs,
    /// This snapshot: its id, or the beginning of it [default: the last whole one]
    #[arg(long, value_name = "ID")]
    pub snapshot: Option<String>,
    /// Into this directory [default: where it is]
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
    /// Only this part: albums/2024, a pattern: '*.jpg', or a dump: gitea.dump
    #[arg(long = "part", value_name = "PATH")]
    pub parts: Vec<String>,
    /// Only tell what would change
    #[arg(long)]
    pub dry_run: bool,
    /// Remove what the snapshot does not have
    #[arg(long)]
    pub delete: bool,
    /// Do not ask before anything is replaced
    #[arg(long)]
    pub yes: bool,
}
