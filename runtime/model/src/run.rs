//! Runs: one durable execution each.

use std::fmt;

use uuid::Uuid;

use crate::{Digest, OnDoubt, OpError, Position, Timestamp, Value};

/// The identity of a run: a UUIDv7, so that ids sort by time.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RunId(pub Uuid);

impl RunId {
    /// The id of a run that starts at `at`, made of 10 random bytes. Of two that start in the same millisecond the
    /// later one sorts later: the microseconds take the place of 12 random bits (RFC 9562, section 6.2, method 3).
    #[must_use]
    pub fn new(at: Timestamp, mut random: [u8; 10]) -> Self {
        let millis = u64::try_from(at.as_millisecond()).unwrap_or(0);
        let micros = u16::try_from(at.as_microsecond().rem_euclid(1_000)).expect("it is below 1,000");
        // A thousandth is a little more than four of the 4,096 steps.
        let [high, low] = (micros * 4).to_be_bytes();
        (random[0], random[1]) = (high, low);
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }

    /// The id of a run that the effect at `position` of this run starts: the parent's time and a hash, so that
    /// asking twice names the same child.
    #[must_use]
    pub fn child(&self, position: &Position) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("hob child run id v1");
        hasher.update(self.0.as_bytes()).update(position.as_str().as_bytes());
        let mut random = [0; 10];
        random.copy_from_slice(&hasher.finalize().as_bytes()[..10]);
        let millis =
            u64::from_be_bytes(std::array::from_fn(|i| if i < 2 { 0 } else { self.0.as_bytes()[i - 2] }));
        Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }

    /// The idempotency key of the effect at `position`: 32 hexadecimal digits.
    #[must_use]
    pub fn effect_key(&self, position: &Position) -> String {
        let mut hasher = blake3::Hasher::new_derive_key("hob effect key v1");
        hasher.update(self.0.as_bytes()).update(position.as_str().as_bytes());
        hasher.finalize().to_hex()[..32].to_owned()
    }

    /// Reads the text form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Uuid::parse_str(text.trim()).ok().map(Self)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The text form used in JSON, the journal and on screen.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// Reads the text form.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)* _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result { f.pad(self.as_str()) }
        }
    };
}
pub(crate) use named;

named! {
    /// Where a run stands.
    RunStatus {
        /// It has not begun.
        Queued = "queued",
        /// A thread evaluates it now.
        Running = "running",
        /// It waits for a time, a signal, an event, an approval or another run.
        Waiting = "waiting",
        /// An effect's outcome is unknown and a person must decide.
        InDoubt = "in_doubt",
        /// A replayed call differed from its record; nothing more is done until a person decides.
        Paused = "paused",
        /// The process that ran it in the foreground is gone.
        Interrupted = "interrupted",
        /// It ended with a value.
        Succeeded = "succeeded",
        /// It ended with an error.
        Failed = "failed",
        /// It was cancelled.
        Cancelled = "cancelled",
    }
}

impl RunStatus {
    /// Whether the run has ended.
    #[must_use]
    pub fn ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// The states in which a run still has a future.
    #[must_use]
    pub fn live() -> Vec<Self> {
        Self::ALL.iter().copied().filter(|status| !status.ended()).collect()
    }
}

named! {
    /// Who goes on with a run after its process ended.
    RunOwner {
        /// A person at a terminal: the run is `interrupted` when the process dies.
        Foreground = "foreground",
        /// The daemon: it goes on by itself.
        Daemon = "daemon",
    }
}

/// What a run executes, never by the name of a function: anonymous names differ between processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunEntry {
    /// The top level of a script: its path within the bundle.
    Playbook(String),
    /// The closure of a declaration in the bundle's homelab: kind (`workflow`, `schedule`, …) and name.
    Declared {
        /// `workflow`, `schedule`, …; with the path of an option behind a dot where that holds the function:
        /// `service.update.before`.
        kind: String,
        /// The declaration's name.
        name: String,
    },
    /// A body written in Rust: `apply`, `reconcile`, ….
    Native(String),
}

impl RunEntry {
    /// The kind as one word: `playbook`, `workflow`, `schedule`, `apply`, ….
    #[must_use]
    pub fn kind(&self) -> &str {
        match self {
            Self::Playbook(_) => "playbook",
            Self::Declared { kind, .. } => kind,
            Self::Native(name) => name,
        }
    }
}

/// The first record of a run: all that it was started with.
#[derive(Clone, Debug, PartialEq)]
pub struct RunStarted {
    /// What people call it: the file's or the declaration's name.
    pub name: String,
    /// What it executes.
    pub entry: RunEntry,
    /// The bundle it is pinned to; none for native runs.
    pub bundle: Option<Digest>,
    /// The constant `input` or the closure's argument.
    pub input: Value,
    /// Who goes on with it.
    pub owner: RunOwner,
    /// The run and position that started it by `invoke`, or the run it continues by `carry`, or was forked from.
    pub parent: Option<(RunId, Position)>,
    /// The caller's working directory, for relative paths.
    pub cwd: String,
    /// The environment variables that `--env` handed over.
    pub env: Vec<(String, String)>,
    /// Permissions that narrow the run; empty allows all that the origin may.
    pub allow: Vec<String>,
    /// Permissions taken away.
    pub deny: Vec<String>,
    /// Whether anything beyond computing is permitted without `allow`.
    pub trusted: bool,
    /// What to do with `once` effects in doubt.
    pub on_doubt: OnDoubt,
    /// The trigger: schedule slot, webhook delivery, event, person.
    pub trigger: String,
    /// What it is found by, beside its name.
    pub tags: Vec<String>,
    /// The node or step after which it ends, and whose value it gives; it goes to its end when absent.
    pub until: Option<String>,
}

impl RunStarted {
    /// A run of the daemon that may do all that hob may, in `/`, with no input; what else it differs in is said by
    /// struct update.
    #[must_use]
    pub fn trusted(name: impl Into<String>, entry: RunEntry) -> Self {
        Self {
            name: name.into(),
            entry,
            bundle: None,
            input: Value::Unit,
            owner: RunOwner::Daemon,
            parent: None,
            cwd: "/".to_owned(),
            env: Vec::new(),
            allow: Vec::new(),
            deny: Vec::new(),
            trusted: true,
            on_doubt: OnDoubt::Ask,
            trigger: String::new(),
            tags: Vec::new(),
            until: None,
        }
    }
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq)]
pub enum RunEnd {
    /// With this value.
    Succeeded(Value),
    /// With this error.
    Failed(OpError),
    /// By a cancel.
    Cancelled,
    /// By `carry`: its successor goes on.
    Carried(RunId),
}

impl RunEnd {
    /// The status a run has after this end.
    #[must_use]
    pub fn status(&self) -> RunStatus {
        match self {
            Self::Succeeded(_) | Self::Carried(_) => RunStatus::Succeeded,
            Self::Failed(_) => RunStatus::Failed,
            Self::Cancelled => RunStatus::Cancelled,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_the_microsecond() {
        let id = |micros: i64, random: u8| {
            RunId::new(Timestamp::from_microsecond(1_800_000_000_123_000 + micros).unwrap(), [random; 10])
        };
        assert!(id(0, 255) < id(1, 0) && id(998, 255) < id(999, 0) && id(999, 255) < id(1_000, 0));
    }

    #[test]
    fn children_are_named_by_time_and_position() {
        let at = Timestamp::from_millisecond(1_800_000_000_123).unwrap();
        let run = RunId::new(at, [7; 10]);
        let (a, b) = (run.child(&Position::root().effect(1)), run.child(&Position::root().effect(2)));
        assert_ne!(a, b);
        assert_eq!(a, run.child(&Position::root().effect(1)));
        assert_eq!(a.0.as_bytes()[..6], run.0.as_bytes()[..6]);
        assert_eq!(RunId::parse(&run.to_string()), Some(run));
    }
}
