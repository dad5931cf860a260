//! How the service manager is reached.

use std::pin::Pin;
use std::time::Duration;

use futures_util::Stream;
use hob_model::Timestamp;

use crate::journal::{JournalEntry, JournalQuery};

/// What a call of the port gives, some time. Dropping it lets go of the call; a job that was begun goes on.
pub type Reply<'a, T> = Pin<Box<dyn Future<Output = Result<T, Fault>> + Send + 'a>>;

/// Changes as they happen, until the connection is lost.
pub type Changes = Pin<Box<dyn Stream<Item = Result<Change, Fault>> + Send>>;

/// Which manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// That of the machine, on the system bus.
    System,
    /// That of the user hob runs as, on the user's bus.
    User,
}

/// Why the manager did not do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// No bus, or no manager on it; nothing was asked.
    NoBus,
    /// The connection was lost after something was asked.
    Lost,
    /// The user may not.
    Denied,
    /// There is no such unit.
    NoSuchUnit,
    /// It is masked.
    Masked,
    /// Its file has errors.
    BadUnitFile,
    /// There is one of that name, or a file in the way.
    Exists,
    /// Units of this kind cannot do that.
    NotApplicable,
    /// Another job is in the way.
    Conflict,
    /// The request is malformed.
    Invalid,
    /// A program that hob asks is missing.
    NoProgram,
    /// Anything else.
    Failed,
}

/// Why the manager did not do it, and in its words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// What kind of failure it is.
    pub kind: FaultKind,
    /// What the other side said.
    pub message: String,
}

impl Fault {
    /// A fault.
    pub fn new(kind: FaultKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

/// The manager itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagerFacts {
    /// `running`, `degraded`, `starting`, `maintenance`, …
    pub state: String,
    /// Its version: `252.38-1~deb12u1`.
    pub version: String,
    /// How many units failed.
    pub failed: u32,
    /// How many jobs wait or run.
    pub jobs: u32,
    /// How many units are loaded.
    pub units: u32,
    /// When it was started, in microseconds since 1970; tells one life of the machine, or of the user's session, from
    /// the next.
    pub started_us: u64,
}

/// A loaded unit, as lists show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its full name.
    pub name: String,
    /// Its description.
    pub description: String,
    /// `loaded`, `not-found`, `masked`, `bad-setting`, `error`.
    pub load: String,
    /// `active`, `inactive`, `failed`, `activating`, `deactivating`, `reloading`, `maintenance`.
    pub active: String,
    /// The state that its type knows: `running`, `exited`, `mounted`, …
    pub sub: String,
    /// The job that waits or runs for it: `start`, `stop`, …
    pub job: Option<String>,
}

/// What is known about one unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its full name, also where an alias was asked for.
    pub name: String,
    /// Its description.
    pub description: String,
    /// As [`Row::load`].
    pub load: String,
    /// Why it could not be loaded.
    pub load_error: Option<String>,
    /// As [`Row::active`].
    pub active: String,
    /// As [`Row::sub`].
    pub sub: String,
    /// `success`, `exit-code`, `signal`, `timeout`, …; none for types that have no result.
    pub result: Option<String>,
    /// The exit code of the main process, or 128 and the number of the signal that ended it.
    pub exit_code: Option<i32>,
    /// The main process.
    pub main_pid: Option<u32>,
    /// The memory that it uses, in bytes, where that is accounted.
    pub memory: Option<u64>,
    /// How many tasks it has.
    pub tasks: Option<u64>,
    /// How often it was restarted automatically.
    pub restarts: Option<u32>,
    /// Since when it is in its active state.
    pub since: Option<Timestamp>,
    /// What tells this activation from others: 32 hexadecimal digits; none for one that never was active.
    pub invocation: Option<String>,
    /// The file that it is made of.
    pub path: Option<String>,
    /// Its drop-in files.
    pub drop_ins: Vec<String>,
    /// `enabled`, `disabled`, `static`, `masked`, `transient`, …; none without a file.
    pub enabled: Option<String>,
    /// Whether its files changed since they were read.
    pub needs_reload: bool,
    /// Whether a job waits or runs for it.
    pub has_job: bool,
    /// Whether its conditions held when it was last started.
    pub conditions_held: bool,
    /// The environment that its file sets: `NAME=value`.
    pub environment: Vec<String>,
    /// Whether it tells the manager how it is: by `Type=notify`, `notify-reload` or `dbus`, or by a watchdog that it feeds.
    pub reports: bool,
    /// For timers.
    pub timer: Option<TimerFacts>,
}

/// One life of a unit that is up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnitLife {
    /// As [`Facts::invocation`].
    pub invocation: Option<String>,
    /// As [`Facts::main_pid`].
    pub main_pid: Option<u32>,
    /// As [`Facts::since`].
    pub since: Option<Timestamp>,
}

impl From<Facts> for UnitLife {
    fn from(facts: Facts) -> Self {
        Self { invocation: facts.invocation, main_pid: facts.main_pid, since: facts.since }
    }
}

/// What is known about a timer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimerFacts {
    /// The unit that it starts.
    pub unit: String,
    /// When it fires next.
    pub next: Option<Timestamp>,
    /// When it fired last.
    pub last: Option<Timestamp>,
    /// When it fires, as written: `OnCalendar=*-*-* 10:00:00`.
    pub when: Vec<String>,
}

/// What is done to a unit by a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Start it.
    Start,
    /// Stop it.
    Stop,
    /// Restart it; start it when it is not active.
    Restart,
    /// Restart it if it is active.
    TryRestart,
    /// Let it read its configuration again.
    Reload,
}

impl Verb {
    /// What it is called in messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
            Self::Restart => "restart",
            Self::TryRestart => "try-restart",
            Self::Reload => "reload",
        }
    }
}

/// The active states of units that are up.
const UP: [&str; 3] = ["active", "reloading", "refreshing"];

/// Whether a unit in this active state is up.
#[must_use]
pub fn is_up(active: &str) -> bool {
    UP.contains(&active)
}

/// What is done with the links that make units start, or that keep them from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// Make those that `[Install]` asks for.
    Enable,
    /// Remove them.
    Disable,
    /// Point the name to nowhere.
    Mask,
    /// Undo that.
    Unmask,
}

/// A value of a property of a transient unit, in the type that the manager wants.
#[derive(Clone, Debug, PartialEq)]
pub enum Property {
    /// `s`
    Text(String),
    /// `b`
    Bool(bool),
    /// `i`
    Int(i32),
    /// `u`
    Uint(u32),
    /// `t`
    Number(u64),
    /// `as`
    Texts(Vec<String>),
    /// `a(sasb)`: commands with arguments; nothing in them is expanded.
    Commands(Vec<Vec<String>>),
    /// `a(ss)`: calendar expressions of a timer, with their settings.
    Calendar(Vec<(String, String)>),
    /// `(bas)`: whether only these are meant, or all but these.
    Filter(bool, Vec<String>),
    /// `a(ss)`: paths with what belongs to them.
    Pairs(Vec<(String, String)>),
    /// `a(st)`: paths with amounts.
    Amounts(Vec<(String, u64)>),
    /// `a(ssbt)`: sources, targets, whether the source may be missing, flags of mount(2).
    Binds(Vec<(String, String, bool, u64)>),
    /// `a(sb)`: files, and whether they may be missing.
    Files(Vec<(String, bool)>),
    /// `a(st)`: spans of a timer in microseconds, with their settings.
    Monotonic(Vec<(String, u64)>),
}

/// Properties by name, in the order in which they are set.
pub type Properties = Vec<(String, Property)>;

/// Units without files.
#[derive(Clone, Debug, PartialEq)]
pub struct Transient {
    /// The one that is started.
    pub name: String,
    /// Its properties.
    pub properties: Properties,
    /// One that is made with it: the service of a timer.
    pub beside: Option<(String, Properties)>,
}

/// A file of a unit, or a drop-in for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnitFile {
    /// The unit.
    pub unit: String,
    /// The drop-in, without `.conf`; none for the unit's own file.
    pub drop_in: Option<String>,
    /// Whether it is gone after a reboot.
    pub runtime: bool,
}

/// A file that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Where.
    pub path: String,
    /// What is in it.
    pub text: String,
}

/// A file that says what a unit is, and that was changed since the machine started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// Where.
    pub path: String,
    /// When it was changed last.
    pub at: Timestamp,
}

/// The types of services that are active only when they have said so themselves (systemd.service(5)).
pub const REPORTING_TYPES: [&str; 3] = ["notify", "notify-reload", "dbus"];

/// A unit changed its active state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The unit.
    pub unit: String,
    /// The state it had.
    pub before: String,
    /// The state it has.
    pub active: String,
    /// The state that its type knows.
    pub sub: String,
}

/// A service manager, its files and its journal.
pub trait UnitsPort: Send + Sync {
    /// The manager itself.
    fn manager(&self, scope: Scope) -> Reply<'_, ManagerFacts>;
    /// All loaded units.
    fn rows(&self, scope: Scope) -> Reply<'_, Vec<Row>>;
    /// All names that have a unit file.
    fn files(&self, scope: Scope) -> Reply<'_, Vec<String>>;
    /// One unit; it is loaded for that. One that does not exist has the load state `not-found`.
    fn facts(&self, scope: Scope, unit: &str) -> Reply<'_, Facts>;
    /// The lives of units, in the order in which they are named, all asked for at one time; nothing of those that are not up.
    fn lives(&self, scope: Scope, units: Vec<String>) -> Reply<'_, Vec<Option<UnitLife>>>;
    /// The names in one of its properties that list units: `Requires`, `WantedBy`, ….
    fn related(&self, scope: Scope, unit: &str, property: &str) -> Reply<'_, Vec<String>>;
    /// Does it by a job and waits for its end; gives systemd's result of it: `done`, `failed`, `canceled`, ….
    fn job(&self, scope: Scope, verb: Verb, unit: &str) -> Reply<'_, String>;
    /// Waits until no job waits or runs for it.
    fn settle(&self, scope: Scope, unit: &str) -> Reply<'_, ()>;
    /// Waits until it has come to an end: neither working nor about to.
    fn ended(&self, scope: Scope, unit: &str) -> Reply<'_, Facts>;
    /// Makes a transient unit and starts it; gives the result of its job.
    fn run(&self, scope: Scope, transient: Transient) -> Reply<'_, String>;
    /// Stops a transient unit and lets go of it, so that its name is free again.
    fn forget(&self, scope: Scope, unit: &str) -> Reply<'_, ()>;
    /// Makes or removes links; whether that changed anything.
    fn link(&self, scope: Scope, link: Link, unit: &str, runtime: bool) -> Reply<'_, bool>;
    /// Reads all unit files again.
    fn daemon_reload(&self, scope: Scope) -> Reply<'_, ()>;
    /// Forgets that a unit failed, or that any did.
    fn reset_failed(&self, scope: Scope, unit: Option<&str>) -> Reply<'_, ()>;
    /// The text of a file that [`Facts`] names.
    fn read(&self, path: &str) -> Reply<'_, String>;
    /// The text of a unit file, if it is there.
    fn unit_file(&self, scope: Scope, file: &UnitFile) -> Reply<'_, Option<Content>>;
    /// Its own file and its drop-ins, of those that were changed since the machine started. What the manager or its
    /// generators write themselves is not among them.
    fn edits(&self, scope: Scope, unit: &str) -> Reply<'_, Vec<Edit>>;
    /// What is wrong with a unit file that has this text; empty for nothing.
    fn verify(&self, scope: Scope, file: &UnitFile, text: &str) -> Reply<'_, Vec<String>>;
    /// Writes it, whole or not at all; gives its path.
    fn write(&self, scope: Scope, file: &UnitFile, text: &str) -> Reply<'_, String>;
    /// Removes it; whether it was there.
    fn remove(&self, scope: Scope, file: &UnitFile) -> Reply<'_, bool>;
    /// Entries of the journal, oldest first. With `follow`, also those that come until it has passed.
    fn journal(
        &self,
        scope: Scope,
        query: JournalQuery,
        follow: Option<Duration>,
    ) -> Reply<'_, Vec<JournalEntry>>;
    /// Changes of states from now on.
    fn changes(&self, scope: Scope) -> Reply<'_, Changes>;
}
