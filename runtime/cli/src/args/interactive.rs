//! Commands for writing and exploring.

use std::path::PathBuf;

use clap::Args;

use super::PermissionArgs;

/// `hob eval`
#[derive(Debug, Args)]
pub(crate) struct EvalArgs {
    /// The expression
    pub expression: String,
    /// Observe, and print what would be done
    #[arg(long)]
    pub dry_run: bool,
    /// What the expression may do.
    #[command(flatten)]
    pub permissions: PermissionArgs,
}

/// `hob repl`
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ReplArgs {
    /// Go on with a session that was cut short
    #[arg(long, value_name = "RUN")]
    pub resume: Option<String>,
    /// What the session may do.
    #[command(flatten)]
    pub permissions: PermissionArgs,
}

/// `hob man`
#[derive(Debug, Args)]
pub(crate) struct ManArgs {
    /// The directory, made if it is not there: ~/.local/share/man/man1
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
}

/// `hob check`
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// Directories with homelab.rhai, or scripts; `-` is standard input [default: .]
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,
    /// How findings are printed; --json is the same as --format json
    #[arg(long, value_enum, default_value_t)]
    pub format: CheckFormat,
    /// Fail on warnings too
    #[arg(long)]
    pub strict: bool,
}

/// How findings are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum CheckFormat {
    /// For people, with the source line and a caret
    #[default]
    Text,
    /// Findings, what each script can come to, and next fire times
    Json,
    /// SARIF 2.1.0, for code hosts and editors
    Sarif,
}
