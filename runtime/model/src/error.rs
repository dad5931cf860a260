//! Errors of operations, as scripts see them.

use std::fmt;

use crate::{Position, Value};

/// The kinds of failure that a script can tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// What was asked for does not exist.
    NotFound,
    /// It exists already, or somebody else changed it.
    Conflict,
    /// The request itself is wrong.
    Invalid,
    /// Not permitted, by hob's gate or by the other side.
    Denied,
    /// The other side cannot be reached, or says to come back later.
    Unavailable,
    /// It took longer than allowed.
    Timeout,
    /// It was cancelled.
    Cancelled,
    /// Anything else.
    Failed,
}

impl ErrorKind {
    /// All kinds.
    pub const ALL: [Self; 8] = [
        Self::NotFound,
        Self::Conflict,
        Self::Invalid,
        Self::Denied,
        Self::Unavailable,
        Self::Timeout,
        Self::Cancelled,
        Self::Failed,
    ];

    /// The text scripts see as `e.kind`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::Invalid => "invalid",
            Self::Denied => "denied",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }

    /// Reads [`ErrorKind::as_str`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why an operation failed: what `catch (e)` gives to a script and what the journal records.
#[derive(Clone, Debug, PartialEq)]
pub struct OpError {
    /// What kind of failure it is.
    pub kind: ErrorKind,
    /// What happened, in one sentence without a full stop.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// The operation's full name; empty for errors of the script itself.
    pub operation: String,
    /// Whether the same call may succeed later.
    pub retryable: bool,
    /// Whether it is certain that nothing happened in the world (a refused connection, a refused argument).
    pub nothing_happened: bool,
    /// Further facts: an exit code, a status, a path.
    pub details: Value,
    /// The effect that failed; none for errors that no effect raised.
    pub position: Option<Position>,
}

impl OpError {
    /// An error of `kind` with a message.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hint: None,
            operation: String::new(),
            retryable: matches!(kind, ErrorKind::Unavailable | ErrorKind::Timeout),
            nothing_happened: matches!(kind, ErrorKind::Invalid | ErrorKind::Denied),
            details: Value::Unit,
            position: None,
        }
    }

    /// `not_found`
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::NotFound, message)
    }

    /// `conflict`
    pub fn conflict(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Conflict, message)
    }

    /// `invalid`
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    /// `denied`
    pub fn denied(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Denied, message)
    }

    /// `unavailable`, retryable
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    /// `timeout`, retryable
    pub fn timeout(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Timeout, message)
    }

    /// `cancelled`
    pub fn cancelled(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Cancelled, message)
    }

    /// `failed`
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Failed, message)
    }

    /// The error of an I/O call on `what` (a path or an address): kind by the error's own, hint where one helps.
    pub fn io(error: &std::io::Error, what: impl fmt::Display) -> Self {
        use std::io::ErrorKind as Io;
        let (kind, hint) = match error.kind() {
            Io::NotFound => (ErrorKind::NotFound, None),
            Io::AlreadyExists | Io::DirectoryNotEmpty => (ErrorKind::Conflict, None),
            Io::PermissionDenied => (ErrorKind::Denied, Some("hob runs as a user who may not do this")),
            Io::ReadOnlyFilesystem => (
                ErrorKind::Denied,
                Some(
                    "the file system is mounted read-only; the kernel makes it so, too, when a disk fails: `dmesg` tells",
                ),
            ),
            Io::StorageFull => {
                (ErrorKind::Unavailable, Some("the disk is full: free some space and try again"))
            }
            Io::TimedOut => (ErrorKind::Timeout, None),
            Io::ConnectionRefused | Io::ConnectionReset | Io::HostUnreachable | Io::NetworkUnreachable => {
                (ErrorKind::Unavailable, None)
            }
            Io::InvalidInput | Io::NotADirectory | Io::IsADirectory => (ErrorKind::Invalid, None),
            _ => (ErrorKind::Failed, None),
        };
        let mut it = Self::new(kind, format!("{what}: {}", plain_io(error)));
        it.hint = hint.map(str::to_owned);
        it.nothing_happened |= error.kind() == Io::ConnectionRefused;
        it
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// As [`OpError::hint`], where there may be none.
    #[must_use]
    pub fn maybe_hint(mut self, hint: Option<String>) -> Self {
        self.hint = hint;
        self
    }

    /// Adds a fact.
    #[must_use]
    pub fn detail(mut self, key: &str, value: impl Into<Value>) -> Self {
        match &mut self.details {
            Value::Map(map) => drop(map.insert(key.to_owned(), value.into())),
            other => *other = Value::map([(key, value.into())]),
        }
        self
    }

    /// Says whether the same call may succeed later.
    #[must_use]
    pub fn retryable(mut self, retryable: bool) -> Self {
        self.retryable = retryable;
        self
    }

    /// States that nothing happened in the world.
    #[must_use]
    pub fn nothing_happened(mut self) -> Self {
        self.nothing_happened = true;
        self
    }

    /// The map that a script sees as `e`.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let (primitive, operation) = crate::effect::split_operation(&self.operation);
        Value::map([
            ("kind", Value::from(self.kind.as_str())),
            ("message", Value::from(self.message.as_str())),
            ("hint", Value::from(self.hint.clone())),
            ("primitive", Value::from(primitive)),
            ("operation", Value::from(operation)),
            ("retryable", Value::from(self.retryable)),
            ("details", self.details.clone()),
            ("position", Value::from(self.position.as_ref().map(ToString::to_string))),
        ])
    }

    /// The error that a caught map describes; `None` when it is not such a map.
    #[must_use]
    pub fn from_value(value: &Value) -> Option<Self> {
        let text = |key| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let mut it = Self::new(ErrorKind::parse(&text("kind")?)?, text("message")?);
        it.hint = text("hint");
        it.operation = match (text("primitive").unwrap_or_default(), text("operation").unwrap_or_default()) {
            (primitive, operation) if primitive.is_empty() => operation,
            (primitive, operation) => format!("{primitive}::{operation}"),
        };
        it.retryable = matches!(value.get("retryable"), Some(Value::Bool(true)));
        it.details = value.get("details").cloned().unwrap_or_default();
        it.position = text("position").and_then(|p| Position::parse(&p).ok());
        Some(it)
    }
}

/// The message of an I/O error without Rust's "(os error 2)".
fn plain_io(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(at) => text[..at].to_lowercase(),
        None => text,
    }
}

impl fmt::Display for OpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.operation.is_empty() {
            write!(f, "{}: ", self.operation)?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for OpError {}
