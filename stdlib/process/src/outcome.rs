//! What came of a command, and what a script gets.

use std::collections::VecDeque;
use std::time::Duration;

use hob_model::{OpError, Value};

use crate::command::RunOptions;
use crate::port::signal_name;

/// How many bytes of the end of each stream are kept for error details, also past the limit.
pub const TAIL_BYTES: usize = 4 * 1024;

/// The exit code that shells give to a command that a signal ended, less the signal's number.
const SIGNAL_EXIT_BASE: i32 = 128;

/// The bytes of one output stream: the beginning up to a limit, and the last few of all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Capture {
    head: Vec<u8>,
    tail: VecDeque<u8>,
    bytes_max: u64,
    bytes_seen: u64,
}

impl Capture {
    /// An empty one that keeps the first `bytes_max` bytes.
    #[must_use]
    pub fn new(bytes_max: u64) -> Self {
        Self { bytes_max, ..Self::default() }
    }

    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        let room = self.bytes_max.saturating_sub(self.head.len() as u64);
        let kept = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
        self.head.extend_from_slice(&bytes[..kept]);
        self.bytes_seen += bytes.len() as u64;
        self.tail.extend(&bytes[bytes.len().saturating_sub(TAIL_BYTES)..]);
        let surplus = self.tail.len().saturating_sub(TAIL_BYTES);
        self.tail.drain(..surplus);
    }

    /// Whether there was more than the limit.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.bytes_seen > self.bytes_max
    }

    /// What is kept.
    #[must_use]
    pub fn head(&self) -> &[u8] {
        &self.head
    }

    /// The last [`TAIL_BYTES`] as text.
    #[must_use]
    pub fn tail(&self) -> String {
        let bytes: Vec<u8> = self.tail.iter().copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn into_value(self, binary: bool) -> Value {
        match binary {
            true => Value::Blob(self.head),
            false => Value::String(
                String::from_utf8(self.head)
                    .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()),
            ),
        }
    }
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By itself, with this exit code.
    Exited(i32),
    /// By the signal with this number.
    Signalled(i32),
}

/// Why a command failed that did not do so by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Its time was over.
    TimedOut,
    /// The run was cancelled.
    Cancelled,
    /// It wrote more than it may; it may have ended before that was seen.
    Overflow,
}

/// A command that ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// How.
    pub ending: Ending,
    /// What hob held against it; `None` when nothing.
    pub cut: Option<Cut>,
    /// What it wrote to stdout.
    pub stdout: Capture,
    /// What it wrote to stderr.
    pub stderr: Capture,
    /// How long it ran.
    pub duration: Duration,
    /// The processes of its session that could not be ended, or were left.
    pub left: Vec<u32>,
}

impl Finished {
    /// The exit code; after a signal 128 and its number, as shells have it.
    #[must_use]
    pub fn code(&self) -> i32 {
        match self.ending {
            Ending::Exited(code) => code,
            Ending::Signalled(number) => SIGNAL_EXIT_BASE + number,
        }
    }

    fn signal(&self) -> Option<String> {
        match self.ending {
            Ending::Exited(_) => None,
            Ending::Signalled(number) => Some(signal_name(number)),
        }
    }

    fn duration_ms(&self) -> i64 {
        i64::try_from(self.duration.as_millis()).unwrap_or(i64::MAX)
    }

    /// What a script gets.
    ///
    /// # Errors
    /// When hob ended it, or its exit code is no success and the call checks that.
    pub fn result(self, program: &str, options: &RunOptions) -> Result<Value, OpError> {
        if let Some(cut) = self.cut {
            return Err(self.details(cut_error(cut, program, &self, options)));
        }
        if options.check && !options.success.contains(&i64::from(self.code())) {
            return Err(self.details(self.exit_error(program)));
        }
        let left: Vec<Value> = self.left.iter().map(|pid| Value::from(*pid)).collect();
        let (stdout_truncated, stderr_truncated) = (self.stdout.is_truncated(), self.stderr.is_truncated());
        Ok(Value::map([
            ("code", Value::from(self.code())),
            ("signal", Value::from(self.signal())),
            ("duration_ms", Value::from(self.duration_ms())),
            ("left", Value::Array(left)),
            ("stdout", self.stdout.into_value(options.binary)),
            ("stderr", self.stderr.into_value(options.binary)),
            ("stdout_truncated", Value::from(stdout_truncated)),
            ("stderr_truncated", Value::from(stderr_truncated)),
        ]))
    }

    fn exit_error(&self, program: &str) -> OpError {
        let how = match self.ending {
            Ending::Exited(code) => format!("ended with exit code {code}"),
            Ending::Signalled(number) => format!("was ended by {}", signal_name(number)),
        };
        let (stderr, stdout) = (self.stderr.tail(), self.stdout.tail());
        let said = [&stderr, &stdout].into_iter().find_map(|text| last_line(text));
        let error = match said {
            Some(line) => OpError::failed(format!("{program} {how}: {line}")),
            None => OpError::failed(format!("{program} {how}")),
        };
        error.hint(
            "`check: false` gives the result whatever the exit code, `success: [0, …]` names more good ones",
        )
    }

    fn details(&self, error: OpError) -> OpError {
        let error = error
            .detail("code", self.code())
            .detail("signal", self.signal())
            .detail("duration_ms", self.duration_ms())
            .detail("stdout", self.stdout.tail())
            .detail("stderr", self.stderr.tail());
        match self.left.is_empty() {
            true => error,
            false => error.detail("left", self.left.iter().map(|pid| Value::from(*pid)).collect::<Vec<_>>()),
        }
    }
}

fn cut_error(cut: Cut, program: &str, finished: &Finished, options: &RunOptions) -> OpError {
    let after = hob_model::duration::format(Duration::from_millis(
        u64::try_from(finished.duration_ms()).unwrap_or_default(),
    ));
    match cut {
        Cut::TimedOut => OpError::timeout(format!("{program} was ended after {after}: its time was over"))
            .hint("`timeout` sets how long it may take"),
        Cut::Cancelled => OpError::cancelled(format!("{program} was ended after {after}")),
        Cut::Overflow => OpError::failed(format!(
            "{program} wrote more than {}",
            hob_model::size::format(options.output_limit.0)
        ))
        .hint(
            "raise `output_limit`, let it write to a file, or keep the beginning with `on_overflow: \"cut\"`",
        ),
    }
}

/// The last line with anything in it.
fn last_line(text: &str) -> Option<&str> {
    text.lines().map(str::trim).rfind(|line| !line.is_empty())
}
