//! Arguments of commands about schedules, events and flows.

use std::path::PathBuf;

use clap::builder::RangedU64ValueParser;
use clap::{Subcommand, ValueEnum};

use super::COUNT_MAX;

/// `hob schedule …`
#[derive(Debug, Subcommand)]
pub(crate) enum ScheduleCommand {
    /// List the schedules of the homelab that is served
    List,
    /// Start a run of a schedule now, beside its slots
    Run {
        /// The schedule
        schedule: String,
    },
    /// Have no slot of a schedule fire from now on
    Pause {
        /// The schedule
        schedule: String,
        /// Why, for people
        #[arg(long, value_name = "TEXT", default_value = "")]
        reason: String,
    },
    /// End a pause; what it left out is not caught up
    Resume {
        /// The schedule
        schedule: String,
    },
    /// Run the slots of a range that were never claimed, one after the other
    Backfill {
        /// The schedule
        schedule: String,
        /// Slots after this time, RFC 3339
        #[arg(long, value_name = "TIME")]
        from: String,
        /// Up to this time [default: now]
        #[arg(long, value_name = "TIME")]
        to: Option<String>,
        /// Only tell which slots these are
        #[arg(long)]
        dry_run: bool,
    },
    /// Print the next fire times of an expression
    Next {
        /// A crontab line, an OnCalendar expression, `every("5m")`, `at("…")`
        expression: String,
        /// The time zone [default: the system's]
        #[arg(long, value_name = "ZONE")]
        tz: Option<String>,
        /// After this time, RFC 3339 [default: now]
        #[arg(long, value_name = "TIME")]
        from: Option<String>,
        /// How many
        #[arg(long, default_value_t = 5, value_parser = RangedU64ValueParser::<usize>::new().range(1..=COUNT_MAX))]
        count: usize,
        /// A local time that does not exist: run_after or skip
        #[arg(long, value_name = "POLICY")]
        gap: Option<String>,
        /// A local time that exists twice: first or both
        #[arg(long, value_name = "POLICY")]
        overlap_hour: Option<String>,
    },
}

/// `hob events …`
#[derive(Debug, Subcommand)]
pub(crate) enum EventsCommand {
    /// List recorded events
    List {
        /// Only events whose name matches: unit.*
        pattern: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Print events as they come
    Tail {
        /// Only events whose name matches: unit.*
        pattern: Option<String>,
    },
    /// Put an event on the bus
    Emit {
        /// Its name
        name: String,
        /// What it carries, as JSON
        #[arg(default_value = "null")]
        payload: String,
    },
}

/// `hob flow …`
#[derive(Debug, Subcommand)]
pub(crate) enum FlowCommand {
    /// Draw the graph of a flow
    Graph {
        /// The flow
        name: String,
        /// The homelab: its directory, or its homelab.rhai
        #[arg(default_value = ".")]
        path: PathBuf,
        /// In which language
        #[arg(long, value_enum, default_value_t)]
        format: GraphFormat,
    },
}

/// How graphs are drawn.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum GraphFormat {
    /// A Mermaid flowchart
    #[default]
    Mermaid,
    /// A digraph for Graphviz
    Dot,
}
