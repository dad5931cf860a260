//! What a fault means to a person: the kind of error, its cause and its cure.

use hob_model::{ErrorKind, OpError, Value};

use crate::job::Target;
use crate::journal::JournalQuery;
use crate::name::unknown_unit;
use crate::port::{Fault, FaultKind, Scope, UnitFile};

/// How many of the last lines of a unit's log an error carries.
pub(crate) const ERROR_LOG_LINES: u32 = 10;

/// The error for a fault that no unit is to blame for.
pub(crate) fn plain(fault: Fault, scope: Scope) -> OpError {
    let bus = match scope {
        Scope::System => "system",
        Scope::User => "user",
    };
    let said = fault.message;
    match fault.kind {
        FaultKind::NoBus => {
            let hint = match scope {
                Scope::System => "is systemd running here, and /run/dbus/system_bus_socket in reach?",
                Scope::User => {
                    "is the user logged in, or `loginctl enable-linger USER` set, and XDG_RUNTIME_DIR handed to hob?"
                }
            };
            OpError::unavailable(format!("no service manager on the {bus} bus: {said}"))
                .hint(hint)
                .nothing_happened()
        }
        FaultKind::Lost => {
            OpError::unavailable(format!("the {bus} bus was lost in the middle of the call: {said}"))
                .hint("what was asked may go on; look at the unit's status")
        }
        FaultKind::Denied => {
            let hint = match scope {
                Scope::System => "run hob as root, or use the user's own units with #{ user: true }",
                Scope::User => "the file or unit belongs to somebody else",
            };
            OpError::denied(said).hint(hint)
        }
        FaultKind::NoSuchUnit => OpError::not_found(said).nothing_happened(),
        FaultKind::Masked => OpError::conflict(said).hint("units::unmask allows it again").nothing_happened(),
        FaultKind::BadUnitFile => OpError::invalid(said),
        FaultKind::Exists => OpError::conflict(said).nothing_happened(),
        FaultKind::NotApplicable => OpError::invalid(said).retryable(false),
        FaultKind::Conflict => OpError::conflict(said).nothing_happened(),
        FaultKind::Invalid => OpError::invalid(said),
        FaultKind::NoProgram => OpError::unavailable(said)
            .hint("it comes with the package systemd")
            .retryable(false)
            .nothing_happened(),
        FaultKind::Failed => OpError::failed(said),
    }
}

impl Target {
    /// The error for a fault in a call about `unit`: with near names where there is none of that name, and with what
    /// is wrong in its file where that has errors.
    pub(crate) async fn explain(&self, unit: &str, fault: Fault) -> OpError {
        let kind = fault.kind;
        let error = match kind {
            FaultKind::NoSuchUnit => self.no_such(unit).await,
            FaultKind::BadUnitFile => {
                let wrong = self.wrong_in(unit).await;
                let error = plain(fault, self.scope).detail("problems", wrong.clone());
                match wrong.first() {
                    Some(first) => error.hint(first.clone()),
                    None => error,
                }
            }
            _ => plain(fault, self.scope),
        };
        error.detail("unit", unit)
    }

    /// The error for a unit that does not exist.
    pub(crate) async fn no_such(&self, unit: &str) -> OpError {
        let mut known = self.port.files(self.scope).await.unwrap_or_default();
        known.extend(self.port.rows(self.scope).await.unwrap_or_default().into_iter().map(|row| row.name));
        unknown_unit(unit, known.iter().map(String::as_str).filter(|name| *name != unit)).detail("unit", unit)
    }

    /// What is wrong in the file of a unit that could not be loaded.
    async fn wrong_in(&self, unit: &str) -> Vec<String> {
        let Ok(facts) = self.port.facts(self.scope, unit).await else { return Vec::new() };
        let Some(path) = &facts.path else { return Vec::from_iter(facts.load_error) };
        let Ok(text) = self.port.read(path).await else { return Vec::from_iter(facts.load_error) };
        let file = UnitFile { unit: unit.to_owned(), drop_in: None, runtime: false };
        self.port.verify(self.scope, &file, &text).await.unwrap_or_default()
    }

    /// The error for a job that did not end with `done`.
    ///
    /// The results are those of `JobRemoved` in org.freedesktop.systemd1(5).
    pub(crate) async fn job_error(&self, unit: &str, doing: &str, result: &str) -> OpError {
        let facts = self.port.facts(self.scope, unit).await.unwrap_or_default();
        let (kind, why, hint) = match result {
            "canceled" => (
                ErrorKind::Cancelled,
                "was cancelled by another job",
                "somebody asked for the opposite meanwhile",
            ),
            "timeout" => (
                ErrorKind::Timeout,
                "took longer than systemd allows",
                "JobTimeoutSec= in its file says how long it may",
            ),
            "dependency" => (
                ErrorKind::Failed,
                "failed because of a dependency",
                "units::dependencies shows them, units::failed those that failed",
            ),
            "skipped" => (
                ErrorKind::Conflict,
                "does not apply in its present state",
                "it is not running; units::start starts it",
            ),
            "assert" => {
                (ErrorKind::Conflict, "is refused by an assertion in its file", "see Assert… in its file")
            }
            "unsupported" => (
                ErrorKind::Invalid,
                "is not supported on this machine",
                "the kernel or the container lacks what it needs",
            ),
            "invalid" => (
                ErrorKind::Invalid,
                "does not exist for units like this",
                "ExecReload= in its file would say how to reload",
            ),
            _ => (ErrorKind::Failed, "failed", "e.details.log has its last lines"),
        };
        let mut message = format!("{doing} {unit} {why}");
        if let Some(cause) = facts.result.as_deref().filter(|cause| *cause != "success" && result == "failed")
        {
            message = match facts.exit_code {
                Some(code) => format!("{message}: {cause}, exit code {code}"),
                None => format!("{message}: {cause}"),
            };
        }
        let log = self.last_lines(unit, ERROR_LOG_LINES).await;
        OpError::new(kind, message)
            .hint(hint)
            .retryable(false)
            .detail("unit", unit)
            .detail("job_result", result)
            .detail("active", facts.active)
            .detail("sub", facts.sub)
            .detail("result", facts.result)
            .detail("exit_code", facts.exit_code)
            .detail("log", log)
    }

    /// The last lines of its log; none where the journal cannot be read, since they only explain something else.
    pub(crate) async fn last_lines(&self, unit: &str, lines: u32) -> Value {
        if lines == 0 {
            return Value::Array(Vec::new());
        }
        let entries = self.port.journal(self.scope, JournalQuery::tail(unit, lines), None).await;
        let lines: Vec<String> = entries.unwrap_or_default().iter().map(|entry| entry.line()).collect();
        lines.into()
    }
}
