//! Why a command about a run is refused.

use hob_journal::JournalError;
use hob_model::{Code, Diagnostic, RunId, RunStatus};

/// Why a command about a run is refused.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The journal cannot do it.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// There is no such run.
    #[error("there is no run `{0}`")]
    NotFound(String),
    /// Several runs have an id that starts so.
    #[error("several runs have an id that begins with `{prefix}`")]
    Ambiguous {
        /// What was given.
        prefix: String,
        /// Some of the runs.
        found: Vec<RunId>,
    },
    /// The command does not fit the state of the run.
    #[error("run {run} is {status}: {why}")]
    State {
        /// The run.
        run: RunId,
        /// Its state.
        status: RunStatus,
        /// Why that does not fit, and what does.
        why: &'static str,
    },
    /// There is no such position, or nothing fitting at it.
    #[error("run {run} has nothing{} that {wanted}", place(.position))]
    Position {
        /// The run.
        run: RunId,
        /// What was given; empty for any.
        position: String,
        /// What is needed there.
        wanted: &'static str,
    },
    /// The sources of the run cannot be read.
    #[error("{0}")]
    Bundle(String),
    /// A child process of an effect in doubt still lives.
    #[error("{0}")]
    StillRunning(String),
    /// Another reason.
    #[error("{0}")]
    Refused(String),
}

impl RunError {
    /// The problem for people.
    #[must_use]
    pub fn diagnostic(&self) -> Diagnostic {
        let text = self.to_string();
        match self {
            Self::Journal(error) => journal_diagnostic(error),
            Self::NotFound(_) => {
                Diagnostic::error(Code::NoSuchRun, text).hint("`hob runs list` shows all runs")
            }
            Self::Ambiguous { found, .. } => {
                let some: Vec<String> = found.iter().take(5).map(ToString::to_string).collect();
                Diagnostic::error(Code::NoSuchRun, text)
                    .hint("give more of the id")
                    .note(format!("for example {}", some.join(", ")))
            }
            Self::State { .. } | Self::StillRunning(_) | Self::Refused(_) => {
                Diagnostic::error(Code::WrongRunState, text)
            }
            Self::Position { run, .. } => Diagnostic::error(Code::NoSuchPosition, text)
                .hint(format!("`hob runs show {run}` lists the positions")),
            Self::Bundle(_) => Diagnostic::error(Code::JournalCorrupt, text),
        }
    }
}

/// Where something is missing.
fn place(position: &str) -> String {
    if position.is_empty() { String::new() } else { format!(" at position `{position}`") }
}

/// A problem of the journal for people.
#[must_use]
pub fn journal_diagnostic(error: &JournalError) -> Diagnostic {
    let text = error.to_string();
    match error {
        JournalError::Locked { .. } => Diagnostic::error(Code::StateLocked, text)
            .hint("end that process, or use another directory with --state"),
        JournalError::Unusable { .. } => Diagnostic::error(Code::StateUnusable, text)
            .hint("check the directory's owner, mode and free space, or use another with --state"),
        JournalError::Corrupt(_) | JournalError::Order { .. } => {
            Diagnostic::error(Code::JournalCorrupt, text)
                .hint("`hob journal check` says what is damaged; `hob state restore` brings a backup back")
        }
        JournalError::TooNew { .. } => {
            Diagnostic::error(Code::JournalTooNew, text).hint("use the hob that wrote it, or a newer one")
        }
        JournalError::Reserve { .. } => {
            Diagnostic::error(Code::DiskFull, text).hint("free some space on that disk")
        }
        _ => Diagnostic::error(Code::JournalStopped, text)
            .hint("nothing acted after it; free the disk or mend the file system, then start hob again"),
    }
}
