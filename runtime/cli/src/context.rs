//! What every command needs: the state directory, how to print, how to fail.

use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use hob_daemon::client::ClientError;
use hob_journal::{Journal, JournalError, SqliteJournal};
use hob_model::{Code, Diagnostic};
use hob_runs::{RunError, journal_diagnostic};
use hob_terminal::{Role, Style};

use crate::args::Global;

/// The database in the state directory.
const JOURNAL_FILE: &str = "journal.db";

/// The exit codes of language.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// The script, plan or check failed.
    Failed,
    /// Wrong usage, changes pending, or nobody to ask.
    Usage,
    /// The run waits, is paused or in doubt.
    Waiting,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Done => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Waiting => 3,
        })
    }
}

/// Why a command ended without doing what it should.
#[derive(Debug)]
pub(crate) struct Failure {
    /// What to tell.
    pub diagnostics: Vec<Diagnostic>,
    /// The texts that the diagnostics point into, by file.
    pub sources: BTreeMap<String, Arc<str>>,
    /// How to end.
    pub exit: Exit,
}

impl From<Diagnostic> for Failure {
    fn from(diagnostic: Diagnostic) -> Self {
        let exit = if diagnostic.code == Code::Usage { Exit::Usage } else { Exit::Failed };
        Self { diagnostics: vec![diagnostic], sources: BTreeMap::new(), exit }
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        error.diagnostic().into()
    }
}

impl From<JournalError> for Failure {
    fn from(error: JournalError) -> Self {
        journal_diagnostic(&error).into()
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        error.diagnostic().into()
    }
}

impl Failure {
    /// Wrong usage.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Diagnostic::error(Code::Usage, message).into()
    }
}

/// What a command comes to.
pub(crate) type Outcome = Result<Exit, Failure>;

/// What every command needs.
pub(crate) struct Context {
    /// The global options.
    pub global: Global,
    /// The state directory.
    pub state: PathBuf,
    /// How standard output is written.
    pub out: Style,
    /// How standard error is written.
    pub err: Style,
    /// The journals that this process holds: closed at the end, whoever may still have them.
    opened: Mutex<Vec<Arc<SqliteJournal>>>,
}

impl Context {
    /// Reads the environment, once.
    #[must_use]
    #[allow(clippy::disallowed_methods)] // the rim: the environment is read here and nowhere else
    pub(crate) fn new(global: Global) -> Self {
        let variable = |name: &str| std::env::var(name).ok();
        let style = |terminal: bool| Style {
            color: hob_terminal::color::enabled(global.color, variable, terminal),
            width_columns: terminal.then(width).flatten(),
        };
        let (out, err) = (style(std::io::stdout().is_terminal()), style(std::io::stderr().is_terminal()));
        let state = global.state.clone().unwrap_or_else(|| default_state(variable));
        Self { global, state, out, err, opened: Mutex::default() }
    }

    /// Opens the journal for writing: this process holds the state directory from then on.
    ///
    /// # Errors
    /// [`JournalError::Locked`] when another process does.
    pub(crate) fn open(&self) -> Result<Arc<SqliteJournal>, JournalError> {
        let journal = Arc::new(SqliteJournal::open(&self.state)?);
        if let Ok(mut opened) = self.opened.lock() {
            opened.push(Arc::clone(&journal));
        }
        Ok(journal)
    }

    /// Closes what was opened: threads that are about to end may have it for a moment longer than the command takes.
    pub(crate) fn close(&self) {
        if let Ok(mut opened) = self.opened.lock() {
            opened.drain(..).for_each(|journal| journal.close());
        }
    }

    /// The journal for reading, whoever holds it.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn read(&self) -> Result<Arc<dyn Journal>, Failure> {
        let opened = SqliteJournal::open_read_only(&self.state);
        let journal = opened.map_err(|error| match self.state.join(JOURNAL_FILE).exists() {
            true => Failure::from(error),
            false => Diagnostic::error(Code::StateUnusable, error.to_string())
                .hint("where there is one, name its directory with --state or HOB_STATE")
                .into(),
        })?;
        Ok(Arc::new(journal))
    }

    /// The socket of the process that holds the state directory.
    #[must_use]
    pub(crate) fn socket(&self) -> PathBuf {
        self.state.join("hob.sock")
    }

    /// Prints to standard output: data.
    pub(crate) fn print(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        // A reader that went away (`hob … | head`) is no error of ours.
        let _ = out.write_all(text.as_bytes());
        let _ = out.flush();
    }

    /// Prints a line to standard output.
    pub(crate) fn print_line(&self, text: &str) {
        self.print(&format!("{text}\n"));
    }

    /// Prints JSON to standard output.
    pub(crate) fn print_json(&self, json: &serde_json::Value) {
        let text = if self.out.width_columns.is_some() { format!("{json:#}") } else { json.to_string() };
        self.print_line(&text);
    }

    /// Says something to standard error, unless `--quiet`.
    pub(crate) fn say(&self, text: &str) {
        if !self.global.quiet {
            self.complain(text);
        }
    }

    /// Says something to standard error in any case.
    pub(crate) fn complain(&self, text: &str) {
        let _ = writeln!(std::io::stderr().lock(), "{text}");
    }

    /// A text in the colour of `role`, for standard error.
    #[must_use]
    pub(crate) fn paint(&self, role: Role, text: &str) -> String {
        self.err.paint(role, text).to_string()
    }

    /// Shows why a command failed.
    pub(crate) fn report(&self, failure: &Failure) {
        let sources = |file: &str| failure.sources.get(file).cloned();
        let text = hob_terminal::render_all(&failure.diagnostics, &sources, self.err);
        self.complain(text.trim_end());
    }
}

/// The terminal's width in columns.
fn width() -> Option<u16> {
    let size = rustix::termios::tcgetwinsize(std::io::stderr()).ok()?;
    (size.ws_col > 0).then_some(size.ws_col)
}

/// `/var/lib/hob` for root, else `$XDG_STATE_HOME/hob`, else `~/.local/state/hob`.
fn default_state(variable: impl Fn(&str) -> Option<String>) -> PathBuf {
    let absolute = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    if let Some(xdg) = absolute("XDG_STATE_HOME") {
        return xdg.join("hob");
    }
    if rustix::process::geteuid().is_root() {
        return PathBuf::from("/var/lib/hob");
    }
    absolute("HOME").map_or_else(|| PathBuf::from("/var/lib/hob"), |home| home.join(".local/state/hob"))
}

/// The directory that relative paths start from.
#[must_use]
pub(crate) fn cwd() -> PathBuf {
    std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"))
}

/// The caller's home directory, if it is known.
#[must_use]
#[allow(clippy::disallowed_methods)] // the rim: the caller's environment is read only by name
pub(crate) fn home() -> Option<PathBuf> {
    std::env::var_os("HOME").map(PathBuf::from).filter(|home| home.is_absolute())
}

/// `path` made absolute.
#[must_use]
pub(crate) fn absolute(path: &Path) -> PathBuf {
    cwd().join(path).components().collect()
}
