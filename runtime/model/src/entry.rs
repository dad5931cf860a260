//! What a run's journal records.
//!
//! Entries are append-only and numbered per run. The state of an effect is the fold of its entries:
//!
//! | entries at one position | the effect is |
//! |---|---|
//! | `Intent` | pending while its process lives; unknown after a crash |
//! | `Outcome` | done; served on every replay |
//! | `Wait` | waited for |
//! | `Doubt` | in doubt, until `Resolved` |
//! | `Outcome`, `Reopened` | to be done again (`runs retry`) |

use std::fmt;

use bytes::Bytes;

use crate::run::named;
use crate::{
    Digest, EffectClass, OpError, Position, RunEnd, RunId, RunStarted, RunStatus, Source, Timestamp, Value,
};

/// An encoded value up to this size stands in the entry itself; a larger one becomes a blob.
pub const PAYLOAD_INLINE_BYTES_MAX: usize = 2048;

/// An encoded [`Value`]: inline when small, by content address when large. Two payloads are equal exactly when
/// their values are.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Payload {
    /// The encoded value.
    Inline(Bytes),
    /// The address and length in bytes of the encoded value.
    Blob(Digest, u64),
}

impl Payload {
    /// The payload of `value`, and the blob to be stored with it when it is large.
    #[must_use]
    pub fn of(value: &Value) -> (Self, Option<Bytes>) {
        Self::of_encoded(Bytes::from(value.encode()))
    }

    /// As [`Payload::of`], for a value that is already encoded.
    #[must_use]
    pub fn of_encoded(bytes: Bytes) -> (Self, Option<Bytes>) {
        if bytes.len() <= PAYLOAD_INLINE_BYTES_MAX {
            (Self::Inline(bytes), None)
        } else {
            (Self::Blob(Digest::of(&bytes), bytes.len() as u64), Some(bytes))
        }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Inline(bytes) => match Value::decode(bytes) {
                Ok(value) => write!(f, "{value:?}"),
                Err(error) => write!(f, "<{error}>"),
            },
            Self::Blob(digest, len) => write!(f, "<blob {} of {len} bytes>", digest.short()),
        }
    }
}

named! {
    /// How an effect stands, as `runs show` prints it.
    EntryStatus {
        /// An intent without an outcome, or a wait.
        Pending = "pending",
        /// It has a value.
        Succeeded = "succeeded",
        /// It has an error.
        Failed = "failed",
        /// Its outcome is unknown.
        InDoubt = "in_doubt",
        /// It was cancelled.
        Cancelled = "cancelled",
        /// Its branch lost a race or was cancelled while the outcome was unknown.
        Abandoned = "abandoned",
        /// A person skipped it.
        Skipped = "skipped",
    }
}

/// What a branch waits for.
#[derive(Clone, Debug, PartialEq)]
pub enum Wait {
    /// A time.
    Until(Timestamp),
    /// A signal sent to this run.
    Signal {
        /// Its name.
        name: String,
        /// When to give up.
        deadline: Option<Timestamp>,
    },
    /// An event on the bus.
    Event {
        /// The pattern its name must match.
        pattern: String,
        /// Fields of the payload that must be equal.
        filter: Value,
        /// Only events recorded after this one count.
        after: u64,
        /// When to give up.
        deadline: Option<Timestamp>,
    },
    /// A person's yes or no.
    Approval {
        /// The question.
        prompt: String,
        /// When to give up.
        deadline: Option<Timestamp>,
    },
    /// The end of another run.
    Run(RunId),
}

impl Wait {
    /// When a clock alone ends this wait.
    #[must_use]
    pub fn due(&self) -> Option<Timestamp> {
        match self {
            Self::Until(at) => Some(*at),
            Self::Signal { deadline, .. }
            | Self::Event { deadline, .. }
            | Self::Approval { deadline, .. } => *deadline,
            Self::Run(_) => None,
        }
    }

    /// The word for people and for the index of waits.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Until(_) => "time",
            Self::Signal { .. } => "signal",
            Self::Event { .. } => "event",
            Self::Approval { .. } => "approval",
            Self::Run(_) => "run",
        }
    }

    /// What the index of waits finds it by: the signal's name, the event's pattern, the run's id.
    #[must_use]
    pub fn key(&self) -> String {
        match self {
            Self::Until(_) | Self::Approval { .. } => String::new(),
            Self::Signal { name, .. } => name.clone(),
            Self::Event { pattern, .. } => pattern.clone(),
            Self::Run(run) => run.to_string(),
        }
    }
}

/// How a branch of `parallel` or `race` ended.
#[derive(Clone, Debug, PartialEq)]
pub enum BranchEnd {
    /// With a value.
    Value(Payload),
    /// With an error.
    Error(OpError),
    /// It was cancelled by a sibling or with its run.
    Cancelled,
}

/// A person's (or a policy's) word on an effect in doubt.
#[derive(Clone, Debug, PartialEq)]
pub enum Resolution {
    /// Do it again.
    Retry,
    /// Go on with `()`.
    Skip,
    /// Go on with this value.
    Result(Payload),
    /// Go on with an error of kind `failed`.
    Fail,
}

/// What an entry says.
#[derive(Clone, Debug, PartialEq)]
pub enum EntryKind {
    /// The run exists. Always the entry 0.
    Started(RunStarted),
    /// A `keyed` or `once` effect is about to act.
    Intent {
        /// Where.
        position: Position,
        /// Full name of the operation.
        operation: String,
        /// The class in force for this call.
        class: EffectClass,
        /// The arguments, as an array.
        args: Payload,
        /// The idempotency key; a fork keeps the key of the run it came from.
        key: String,
        /// What the operation noted about the world before acting, for its probe.
        noted: Payload,
        /// The line of the script.
        source: Source,
    },
    /// The outcome of an effect or of a wait.
    Outcome {
        /// Where.
        position: Position,
        /// Full name of the operation.
        operation: String,
        /// The class in force for this call.
        class: EffectClass,
        /// The arguments; `None` after an intent or a wait, which has them.
        args: Option<Payload>,
        /// What came of it.
        result: Result<Payload, OpError>,
        /// The line of the script.
        source: Source,
    },
    /// A branch waits.
    Wait {
        /// Where.
        position: Position,
        /// `sleep`, `wait_signal`, ….
        operation: String,
        /// The arguments.
        args: Payload,
        /// For what.
        wait: Wait,
        /// The line of the script.
        source: Source,
    },
    /// A wait is given up: its branch was cancelled or lost a race.
    Withdrawn {
        /// Where.
        position: Position,
    },
    /// An effect of a cancelled branch whose outcome stays unknown.
    Abandoned {
        /// Where.
        position: Position,
    },
    /// An `undo` (or, when `always`, a `finally`) is registered.
    Compensation {
        /// Where.
        position: Position,
        /// The call that registered it: `undo`, `finally`, or an operation with the option `undo`.
        operation: String,
        /// Whether it runs on success too.
        always: bool,
        /// The line of the script.
        source: Source,
    },
    /// A branch came to its end and is not evaluated again.
    BranchEnded {
        /// The branch: its last segment is `N.LABEL`.
        position: Position,
        /// How.
        end: BranchEnd,
        /// Whether it registered compensations, so that it must be evaluated to find them again.
        compensates: bool,
    },
    /// A step came to its end; its value is compared on replay.
    StepEnded {
        /// The step: its last segment is `step:NAME`.
        position: Position,
        /// Its value or error.
        result: Result<Payload, OpError>,
        /// The line of the script.
        source: Source,
    },
    /// A line of the log.
    Log {
        /// The branch.
        branch: Position,
        /// The number of the line in its branch, from 1.
        number: u32,
        /// `debug`, `info`, `warn` or `error`.
        level: String,
        /// The text.
        message: String,
        /// The line of the script.
        source: Source,
    },
    /// The outcome is unknown and a person must decide.
    Doubt {
        /// Where.
        position: Position,
    },
    /// The doubt is settled.
    Resolved {
        /// Where.
        position: Position,
        /// How.
        resolution: Resolution,
        /// Who or what decided.
        by: String,
    },
    /// `runs retry`: the recorded failure at `position` no longer counts.
    Reopened {
        /// Where.
        position: Position,
        /// The number of the new attempt, from 2.
        attempt: u32,
    },
    /// A fork gives another value to the effect or step at `position`.
    Overridden {
        /// Where.
        position: Position,
        /// The value.
        value: Payload,
    },
    /// Somebody asked to cancel the run.
    CancelRequested {
        /// Who, and why.
        reason: String,
    },
    /// A replayed call differed from its record.
    Paused {
        /// Where.
        position: Position,
        /// Both calls and both lines, for people.
        message: String,
    },
    /// No thread evaluates the run any more: each of its branches waits (`waiting`), or a person must decide
    /// (`in_doubt`). Any later entry means that it goes on.
    Suspended {
        /// `waiting` or `in_doubt`.
        status: RunStatus,
    },
    /// A paused or interrupted run goes on.
    Resumed,
    /// The process that ran it in the foreground is gone.
    Interrupted,
    /// The run moved to another bundle.
    Migrated {
        /// The new bundle.
        bundle: Digest,
    },
    /// What the closure that the run executes captured when it was declared; told once per bundle, where it captured
    /// anything.
    Captured {
        /// The bundle that declares it.
        bundle: Digest,
        /// A digest of the captured values.
        values: Digest,
    },
    /// The run ended.
    Ended {
        /// How.
        end: RunEnd,
        /// The effect whose error ended it, for `runs retry`.
        failed_at: Option<Position>,
        /// Whether compensations ran.
        compensated: bool,
    },
}

/// One record of a run's journal.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The number within its run, from 0, without gaps.
    pub seq: u64,
    /// When it was recorded, to the microsecond.
    pub at: Timestamp,
    /// What it says.
    pub kind: EntryKind,
}

impl EntryKind {
    /// The position it speaks of, if it speaks of one.
    #[must_use]
    pub fn position(&self) -> Option<&Position> {
        match self {
            Self::Intent { position, .. }
            | Self::Outcome { position, .. }
            | Self::Wait { position, .. }
            | Self::Withdrawn { position }
            | Self::Abandoned { position }
            | Self::Compensation { position, .. }
            | Self::BranchEnded { position, .. }
            | Self::StepEnded { position, .. }
            | Self::Doubt { position }
            | Self::Resolved { position, .. }
            | Self::Reopened { position, .. }
            | Self::Overridden { position, .. }
            | Self::Paused { position, .. } => Some(position),
            Self::Started(_)
            | Self::Log { .. }
            | Self::CancelRequested { .. }
            | Self::Suspended { .. }
            | Self::Resumed
            | Self::Interrupted
            | Self::Migrated { .. }
            | Self::Captured { .. }
            | Self::Ended { .. } => None,
        }
    }
}
