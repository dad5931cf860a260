//! The commands about runs.

use std::path::PathBuf;

use clap::builder::RangedU64ValueParser;
use clap::{Args, Subcommand};

use super::COUNT_MAX;

/// `hob runs …`
#[derive(Debug, Subcommand)]
pub(crate) enum RunsCommand {
    /// List runs, newest first
    List {
        /// Only runs in this state (may be repeated)
        #[arg(long)]
        status: Vec<String>,
        /// Only runs of this name
        #[arg(long)]
        name: Option<String>,
        /// Only runs of this kind: playbook, workflow, schedule, apply
        #[arg(long)]
        kind: Option<String>,
        /// Only runs that were started at this time or later: RFC 3339, or how long ago, as in 24h
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// Only runs that were started before this time
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
        /// Only runs with this tag (may be repeated: with each of them)
        #[arg(long)]
        tag: Vec<String>,
        /// Only runs with this text in their name, trigger, input, output, error, calls or log
        #[arg(long, value_name = "TEXT")]
        search: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 50, value_parser = RangedU64ValueParser::<usize>::new().range(1..=COUNT_MAX))]
        limit: usize,
    },
    /// Show a run with its entries
    Show {
        /// The run's id, or its beginning
        run: String,
        /// Show one position alone: its input, output, duration and log, and those of what it groups
        position: Option<String>,
    },
    /// Show where two runs differ; ends with 1 when they do
    Diff {
        /// The id of the one, or its beginning
        a: String,
        /// The id of the other
        b: String,
    },
    /// Print a run as a file, to keep it as a test of the homelab
    Export {
        /// The run's id, or its beginning
        run: String,
    },
    /// Put an exported run that had ended into this journal
    Import {
        /// The file
        file: PathBuf,
    },
    /// Go on with an interrupted, paused or restored run
    Resume {
        /// The run's id, or its beginning
        run: String,
    },
    /// Continue a failed run from the effect that failed
    Retry {
        /// The run's id, or its beginning
        run: String,
        /// Start a new run with the same input instead
        #[arg(long)]
        from_start: bool,
    },
    /// Make a new run that shares the past of this one
    Fork {
        /// The run's id, or its beginning
        run: String,
        /// The first position that is not shared
        #[arg(long, value_name = "POSITION")]
        at: Option<String>,
        /// Another value for an effect or step: POSITION=JSON (may be repeated)
        #[arg(long, value_name = "POSITION=JSON")]
        set: Vec<String>,
        /// Another input, as JSON
        #[arg(long, value_name = "JSON")]
        input: Option<String>,
    },
    /// End a run; a second cancel ends the effect that is under way, too
    Cancel {
        /// The run's id, or its beginning
        run: String,
        /// Why, for people
        #[arg(long, default_value = "", hide_default_value = true)]
        reason: String,
    },
    /// Send a signal to a run
    Signal {
        /// The run's id, or its beginning
        run: String,
        /// The signal's name
        name: String,
        /// What it carries, as JSON
        #[arg(default_value = "null")]
        payload: String,
    },
    /// Answer an approval
    Approve {
        /// The run's id, or its beginning
        run: String,
        /// Which approval, when there are several
        position: Option<String>,
        /// Say no
        #[arg(long)]
        deny: bool,
        /// For people
        #[arg(long, default_value = "", hide_default_value = true)]
        comment: String,
    },
    /// Settle an effect whose outcome is unknown
    Resolve {
        /// The run's id, or its beginning
        run: String,
        /// Where the effect stands
        position: String,
        /// How.
        #[command(flatten)]
        choice: ResolveChoice,
    },
    /// Move a run to the sources in a directory, if each recorded call matches there
    Migrate {
        /// The run's id, or its beginning
        run: String,
        /// The directory
        #[arg(long, value_name = "DIR")]
        to: PathBuf,
    },
    /// Replay all live runs on this hob, without acting
    Check,
}

/// How an effect in doubt is settled.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct ResolveChoice {
    /// Do it again
    #[arg(long)]
    pub retry: bool,
    /// Go on with `()`
    #[arg(long)]
    pub skip: bool,
    /// Go on with this value
    #[arg(long, value_name = "JSON")]
    pub result: Option<String>,
}

/// `hob replay`
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// The run's id, or its beginning
    pub run: String,
    /// Where to stop [default: the end of the record]
    #[arg(long, value_name = "POSITION")]
    pub at: Option<String>,
}
