//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use hob_terminal::ColorChoice;

use crate::commands::secrets::args::SecretsCommand;

mod backup;
mod interactive;
mod runs;
mod stored;
mod timed;
mod told;

pub(crate) use backup::{BackupCommand, DatasetArgs, RestoreArgs};
pub(crate) use interactive::{CheckArgs, CheckFormat, EvalArgs, ManArgs, ReplArgs};
pub(crate) use runs::{ReplayArgs, ResolveChoice, RunsCommand};
pub(crate) use stored::{JournalCommand, PruneArgs, StateCommand};
pub(crate) use timed::{EventsCommand, FlowCommand, GraphFormat, ScheduleCommand};
pub(crate) use told::{AlertsCommand, NotifyCommand, SilenceArgs};

/// The most runs or fire times that are printed at once.
const COUNT_MAX: u64 = 100_000;

/// The household spirit of your homelab.
///
/// hob runs Rhai scripts that declare services, schedules and workflows, and carries them out durably: every effect
/// is journaled, so that a run survives crashes, reboots and edits of its script.
#[derive(Debug, Parser)]
#[command(name = "hob", version, propagate_version = true, max_term_width = 100)]
pub(crate) struct Cli {
    /// Options of every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Global {
    /// The state directory [default: $XDG_STATE_HOME/hob, or /var/lib/hob for root]
    #[arg(long, global = true, env = "HOB_STATE", value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Print one JSON value instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// When to use colours: auto, always or never
    #[arg(long, global = true, value_name = "WHEN", default_value_t)]
    pub color: ColorChoice,
    /// Say more (twice: even more)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Say nothing but errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a playbook, or a workflow of the homelab that is served
    Run(RunArgs),
    /// Evaluate an expression
    Eval(EvalArgs),
    /// Type expressions one after another: a session with completion, help and history
    Repl(ReplArgs),
    /// Check scripts without running them
    Check(CheckArgs),
    /// Play the tests in a homelab's `tests`: scripts with mocks, and recorded runs
    Test(PathArgs),
    /// Show what `apply` would change
    Plan(PlanArgs),
    /// Bring the homelab to its declared state
    Apply(ApplyArgs),
    /// Apply the homelab, then serve it until SIGTERM
    Up(UpArgs),
    /// Stop the homelab's services in order
    Down(PathArgs),
    /// Write a unit of systemd that serves the homelab
    Install(InstallArgs),
    /// Steps that are done once
    #[command(subcommand)]
    Setup(SetupCommand),
    /// Show tiers and services
    Status,
    /// Look into the last boot
    #[command(subcommand)]
    Boot(BootCommand),
    /// Start a service
    Start(ServiceArgs),
    /// Stop a service
    Stop(ServiceArgs),
    /// Restart a service
    Restart(ServiceArgs),
    /// Make services from newer images, if their registries have any; roll back what does not do well
    Update(UpdateArgs),
    /// Leave a service alone from now on
    Hold(HoldArgs),
    /// End a hold
    Release(ServiceArgs),
    /// List runs, look into them, and decide about them
    #[command(subcommand)]
    Runs(RunsCommand),
    /// See the variables of a run as they were at a position
    Replay(ReplayArgs),
    /// Schedules and their fire times
    #[command(subcommand)]
    Schedule(ScheduleCommand),
    /// The event bus
    #[command(subcommand)]
    Events(EventsCommand),
    /// Backups of datasets and services
    #[command(subcommand)]
    Backup(BackupCommand),
    /// What alerts found, and silences
    #[command(subcommand)]
    Alerts(AlertsCommand),
    /// Channels, and what is shown at login
    #[command(subcommand)]
    Notify(NotifyCommand),
    /// Workflows that are graphs
    #[command(subcommand)]
    Flow(FlowCommand),
    /// Show graphics cards and who uses them
    Gpu,
    /// Watch services, graphics cards, disks and runs
    Top,
    /// Print what the hob that serves tells Prometheus
    Metrics(MetricsArgs),
    /// The log of a run or service
    Logs(LogsArgs),
    /// Look after the journal
    #[command(subcommand)]
    Journal(JournalCommand),
    /// Back up and restore the state directory
    #[command(subcommand)]
    State(StateCommand),
    /// Secrets at rest: age files, SOPS files and agenix directories
    #[command(subcommand)]
    Secrets(SecretsCommand),
    /// Documentation of primitives and operations
    Doc(DocArgs),
    /// What a code such as HOB-0301 means
    Explain(ExplainArgs),
    /// Serve an editor: diagnostics, completion, hover and definitions over standard input and output
    Lsp,
    /// Write the man pages into a directory
    Man(ManArgs),
    /// Print what scripts can call as a definition file for editors (.d.rhai)
    Definitions,
    /// Completions for a shell
    Completions(CompletionsArgs),
}

/// What narrows or widens what a script may do.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct PermissionArgs {
    /// Permit only this (may be repeated): files.write:/mnt/media, http:ntfy.sh, process
    #[arg(long, value_name = "PERMISSION")]
    pub allow: Vec<String>,
    /// Never permit this (may be repeated)
    #[arg(long, value_name = "PERMISSION")]
    pub deny: Vec<String>,
    /// Hand this variable of the environment to the run (may be repeated)
    #[arg(long, value_name = "NAME")]
    pub env: Vec<String>,
}

/// `hob run`
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// A script, `-` for standard input, or the name of a workflow
    pub target: String,
    /// A field of `input`: `k=v` is a text, `k:=JSON` any value (may be repeated)
    #[arg(long = "arg", value_name = "K=V")]
    pub args: Vec<String>,
    /// The whole `input`, as JSON
    #[arg(long, value_name = "JSON")]
    pub input: Option<String>,
    /// Observe, and print what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// Return as soon as the run is durable; the daemon goes on with it
    #[arg(long, conflicts_with = "dry_run")]
    pub detach: bool,
    /// End after this node or step of a workflow, and give its value
    #[arg(long, value_name = "NODE", conflicts_with = "dry_run")]
    pub until: Option<String>,
    /// What to do with effects whose outcome a crash left unknown: ask, retry, skip or fail
    #[arg(long, value_name = "POLICY", default_value = "ask")]
    pub on_doubt: String,
    /// What the run may do.
    #[command(flatten)]
    pub permissions: PermissionArgs,
}

/// A homelab's directory or a script.
#[derive(Debug, Args)]
pub(crate) struct PathArgs {
    /// A directory with homelab.rhai, or a script
    #[arg(default_value = ".")]
    pub path: PathBuf,
}

/// `hob plan`
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// A directory with homelab.rhai
    #[arg(default_value = ".")]
    pub path: PathBuf,
    /// Name the file and line that set a value: `postgres.port`
    #[arg(long, value_name = "KEY")]
    pub why: Option<String>,
    /// Draw the plan as a graph instead
    #[arg(long, value_name = "FORMAT", conflicts_with = "why")]
    pub format: Option<GraphFormat>,
}

/// `hob apply`
#[derive(Debug, Args)]
pub(crate) struct ApplyArgs {
    /// A directory with homelab.rhai
    #[arg(default_value = ".")]
    pub path: PathBuf,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// What happens to services when `hob up` ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum OnExit {
    /// They stop, in reverse order.
    Stop,
    /// They go on, and are adopted by the next `hob up`.
    Keep,
}

/// `hob up`
#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// A directory with homelab.rhai
    #[arg(default_value = ".")]
    pub path: PathBuf,
    /// Where the HTTP API and the webhooks listen [default: hob.toml's, or 127.0.0.1:4620]
    #[arg(long, value_name = "ADDR")]
    pub listen: Option<String>,
    /// A name beside localhost by which the API may be called (may be repeated) [default: hob.toml's]
    #[arg(long, value_name = "NAME")]
    pub host: Vec<String>,
    /// How long ended runs and events are kept [default: hob.toml's, or 90d]
    #[arg(long, value_name = "DURATION")]
    pub retain: Option<String>,
    /// What happens to services at the end
    #[arg(long, value_name = "WHAT", default_value = "stop")]
    pub on_exit: OnExit,
}

/// A service.
#[derive(Debug, Args)]
pub(crate) struct ServiceArgs {
    /// Its name
    pub service: String,
}

/// `hob install`
#[derive(Debug, Args)]
pub(crate) struct InstallArgs {
    /// A directory with homelab.rhai
    #[arg(default_value = ".")]
    pub path: PathBuf,
    /// Write a target for each tier, too: active once its services are ready
    #[arg(long)]
    pub targets: bool,
    /// Remove what `hob install` wrote instead
    #[arg(long, conflicts_with_all = ["targets", "dry_run"])]
    pub remove: bool,
    /// Print the units instead
    #[arg(long)]
    pub dry_run: bool,
}

/// `hob setup …`
#[derive(Debug, Subcommand)]
pub(crate) enum SetupCommand {
    /// List the steps, and which are done
    List,
    /// Forget that a step was done: it is done again
    Reset {
        /// The step
        step: String,
    },
}

/// `hob boot …`
#[derive(Debug, Subcommand)]
pub(crate) enum BootCommand {
    /// Show what the last boot waited for, what would make it faster, and what blocked what
    Explain,
}

/// `hob update`
#[derive(Debug, Args)]
pub(crate) struct UpdateArgs {
    /// Its name [default: all that have images, one after the other]
    pub service: Option<String>,
    /// Only fetch the images, and tell what would be updated
    #[arg(long)]
    pub dry_run: bool,
}

/// `hob hold`
#[derive(Debug, Args)]
pub(crate) struct HoldArgs {
    /// Its name
    pub service: String,
    /// For how long: 30m, 2h [default: until released]
    #[arg(long = "for", value_name = "DURATION")]
    pub duration: Option<String>,
    /// Why, for people
    #[arg(long, default_value = "", hide_default_value = true)]
    pub reason: String,
}

/// `hob logs`
#[derive(Debug, Args)]
pub(crate) struct LogsArgs {
    /// A run's id, or names of services
    #[arg(required = true, value_name = "TARGET")]
    pub targets: Vec<String>,
    /// Go on as lines come
    #[arg(short, long)]
    pub follow: bool,
    /// At most so many last lines, of each service
    #[arg(short = 'n', long, default_value_t = 200)]
    pub lines: usize,
}

/// `hob metrics`
#[derive(Debug, Args)]
pub(crate) struct MetricsArgs {
    /// Write it there, for the textfile collector of node_exporter; the name ends with `.prom`
    #[arg(long, value_name = "FILE")]
    pub textfile: Option<PathBuf>,
}

/// `hob doc`
#[derive(Debug, Args)]
pub(crate) struct DocArgs {
    /// A primitive or an operation: files, files::write
    pub name: Option<String>,
}

/// `hob explain`
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The code; all of them when absent
    pub code: Option<String>,
}

/// `hob completions`
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// Which shell
    pub shell: clap_complete::Shell,
}
