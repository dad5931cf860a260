//! The trait through which services are reached, whatever they are, and what crosses it.

use std::fmt;
use std::time::Duration;

use hob_model::{Digest, OpError, Timestamp};
use hob_planner::declaration::{Body, Gate, ReloadSignal, successor};
use hob_planner::plan::FieldChange;
use hob_planner::{Exit, Service};

use crate::secrets::Delivered;

/// The variable that names the service to its processes.
pub const SERVICE_VARIABLE: &str = "HOB_SERVICE";

/// The variable that names the state directory of the hob that a process belongs to. Commands of hob that a service
/// calls use the same directory by it.
pub const STATE_VARIABLE: &str = "HOB_STATE";

/// The variable that holds the key of the effect that started a process.
pub const EFFECT_VARIABLE: &str = "HOB_EFFECT";

/// The variable that holds the digest of what a process was started with.
pub const SPEC_VARIABLE: &str = "HOB_SPEC";

/// What is to run.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// The name of the service.
    pub name: String,
    /// What it is.
    pub body: Body,
    /// The id of the image that it is made from, where that is not the one that its name stands for now.
    pub image: Option<String>,
    /// The secrets that it is handed.
    pub delivered: Delivered,
    /// The devices that stand for [`hob_planner::declaration::GPU_DEVICE`] in its declaration.
    pub devices: Vec<String>,
    /// Whether it runs beside the service, to take its place later: it has a name of its own until then, and others do not
    /// reach it by that of the service.
    pub beside: bool,
}

impl Spec {
    /// A service that is handed no secrets.
    #[must_use]
    pub fn new(name: impl Into<String>, body: Body) -> Self {
        let (image, delivered, devices) = (None, Delivered::default(), Vec::new());
        Self { name: name.into(), body, image, delivered, devices, beside: false }
    }

    /// The name that it runs under.
    #[must_use]
    pub fn known_as(&self) -> String {
        if self.beside { successor(&self.name) } else { self.name.clone() }
    }
}

impl From<&Service> for Spec {
    fn from(service: &Service) -> Self {
        Self::new(&service.name, service.body.clone())
    }
}

/// What tells one life of a service from every other there ever was, in the words of its supervisor: a container and when
/// it was started, a process with its boot, an invocation of a unit.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Instance(pub String);

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A service that runs.
///
/// The caller journals it, and gives it back to a supervisor that opens after a crash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Running {
    /// The name of the service.
    pub name: String,
    /// Which life of it.
    pub instance: Instance,
    /// Its main process, where that is known.
    pub pid: Option<u32>,
    /// The key of the effect that started it; empty where somebody else did.
    pub key: String,
    /// The digest of what it was started with; `None` where it does not say.
    pub digest: Option<Digest>,
    /// When it was started.
    pub started: Timestamp,
}

/// A declared service, as [`Supervisor::survey`] compares it.
#[derive(Clone, Debug, PartialEq)]
pub struct Declared {
    /// What it is.
    pub spec: Spec,
    /// The life of it that hob recorded last, if it did.
    pub recorded: Option<Instance>,
}

/// A service that runs, as far as a plan compares it.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// The name of the service.
    pub name: String,
    /// The digest of what it was started with; `None` where it does not say.
    pub digest: Option<Digest>,
    /// In which fields it is not what it was started with, where that is what is declared; or why that cannot be told.
    pub drift: Result<Vec<FieldChange>, OpError>,
    /// Its images; none for those that have no images.
    pub images: Images,
}

impl From<Running> for Standing {
    fn from(running: Running) -> Self {
        Self { name: running.name, digest: running.digest, drift: Ok(Vec::new()), images: Images::default() }
    }
}

/// What [`Supervisor::start`] did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// What runs.
    pub running: Running,
    /// Whether it ran already, started by the same effect.
    pub adopted: bool,
}

/// What [`Supervisor::stop`] found and did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// It did not run.
    NotRunning,
    /// It ended when it was asked to.
    Terminated(Exit),
    /// It, or something it had started, took SIGKILL.
    Killed(Exit),
}

/// Where to read the output of a service from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogFrom {
    /// The beginning of what the present process wrote.
    Start,
    /// The last lines, also of earlier processes.
    Tail {
        /// How many.
        lines: usize,
    },
    /// Where an earlier chunk ended.
    Position(LogPosition),
}

/// A place in the output of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogPosition {
    /// The file: each start of a service has its own.
    pub file: u64,
    /// In bytes.
    pub offset: u64,
}

/// A part of the output of a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogChunk {
    /// Whole lines, without their ends; what is not UTF-8 is replaced.
    pub lines: Vec<String>,
    /// Where the next chunk begins.
    pub next: LogPosition,
    /// Whether there may be more already.
    pub more: bool,
}

/// The images of a service, by their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Images {
    /// What its present container was made from; `None` where there is none.
    pub used: Option<String>,
    /// What the name in its declaration stands for on this machine; `None` where nothing has it yet.
    pub named: Option<String>,
}

impl Images {
    /// Whether its name stands for another image than it is made from.
    #[must_use]
    pub fn differ(&self) -> bool {
        matches!((&self.used, &self.named), (Some(used), Some(named)) if used != named)
    }
}

/// What a look at a gate found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// It holds.
    Passed,
    /// It does not hold yet, and why, for people: `answered 503`.
    NotYet(String),
}

/// What is called when a life of a service has ended.
pub type OnExit = Box<dyn FnOnce(Exit) + Send>;

/// What is called when somebody may have changed something that runs.
pub type OnChange = Box<dyn Fn() + Send + Sync>;

/// Those who run services of one kind. All methods may block; none takes longer than the time it is given and what the
/// other side needs.
pub trait Supervisor: Send + Sync {
    /// Tells what a service is, which may run: for those that find it by no mark of its own.
    fn introduce(&self, spec: &Spec) {
        let _ = spec;
    }

    /// Where a service of this kind sees the files with its secrets; where they are when absent.
    fn secrets_inside(&self) -> Option<&'static str> {
        None
    }

    /// Fetches what a service needs before it can start: its image. Whether that changed anything.
    ///
    /// # Errors
    /// When it cannot be had. What is there already is used without asking anybody.
    fn prepare(&self, spec: &Spec) -> Result<bool, OpError> {
        let _ = spec;
        Ok(false)
    }

    /// Fetches what the name of its image stands for in the registry now, whatever is here. What runs is left as it is.
    ///
    /// # Errors
    /// When it cannot be had, or services of this kind have no images.
    fn refresh(&self, spec: &Spec) -> Result<(), OpError> {
        Err(OpError::invalid(format!("`{}` has no image", spec.name)).nothing_happened())
    }

    /// The images of a service; none for those that have no images.
    ///
    /// # Errors
    /// When they cannot be looked at.
    fn images(&self, spec: &Spec) -> Result<Images, OpError> {
        let _ = spec;
        Ok(Images::default())
    }

    /// Starts a service, or adopts what the same effect has started. Returns as soon as it runs; whether it gets ready is
    /// [`crate::await_ready`]'s to say. What an earlier life of the service left behind is ended first, and what was made
    /// for another declaration of it is made anew.
    ///
    /// # Errors
    /// `conflict` when the service runs, started by another effect, or its name belongs to somebody else. When it cannot be
    /// run, nothing happened.
    fn start(&self, spec: &Spec, key: &str) -> Result<Started, OpError>;

    /// Stops a service and everything that it had started: asks it to end, and kills it after `timeout`.
    ///
    /// # Errors
    /// When it cannot be ended: it hangs in the kernel, or is not ours.
    fn stop(&self, name: &str, timeout: Duration) -> Result<Stopped, OpError>;

    /// Sends a signal to the main process of a service. It goes out; what becomes of it nobody tells.
    ///
    /// # Errors
    /// `not_found` when it does not run; `invalid` where services of this kind take none.
    fn signal(&self, name: &str, signal: ReloadSignal) -> Result<(), OpError> {
        Err(OpError::invalid(format!("`{name}` takes no {}", signal.as_str())).nothing_happened())
    }

    /// Removes what is left of a service that was stopped: its container, never its data.
    ///
    /// # Errors
    /// When it cannot be removed, or is not ours.
    fn remove(&self, name: &str) -> Result<(), OpError> {
        let _ = name;
        Ok(())
    }

    /// Puts what runs beside a service in its place: others reach it by the name of the service from now on, the service is
    /// stopped within `timeout` and removed, and it has its name. Gives what runs then.
    ///
    /// # Errors
    /// `invalid` where no second one of this kind can run beside the first; else what stands in the way. Both may run then.
    fn promote(&self, spec: &Spec, timeout: Duration) -> Result<Running, OpError> {
        let _ = timeout;
        Err(OpError::invalid(format!("no second `{}` can run beside it", spec.name)).nothing_happened())
    }

    /// The services that run, by name, as far as they are marked as this hob's or were introduced.
    ///
    /// # Errors
    /// When they cannot be listed.
    fn observe(&self) -> Result<Vec<Running>, OpError>;

    /// The services that run, compared with what is declared, for a plan. It need not ask about what cannot have changed since
    /// hob made it.
    ///
    /// # Errors
    /// When they cannot be listed.
    fn survey(&self, declared: &[Declared]) -> Result<Vec<Standing>, OpError> {
        let _ = declared;
        Ok(self.observe()?.into_iter().map(Standing::from).collect())
    }

    /// Whether a service is in the network of the present life of another one.
    ///
    /// # Errors
    /// When it cannot be told.
    fn shares_network(&self, running: &Running, lender: &Running) -> Result<bool, OpError> {
        let _ = (running, lender);
        Ok(true)
    }

    /// Waits until a life of a service has ended, but not past `timeout`; `None` when it goes on.
    fn wait_exit(&self, instance: &Instance, timeout: Duration) -> Option<Exit>;

    /// Calls `then` when a life of a service has ended; at once where it has. It is called on a thread that must not be held
    /// up.
    fn on_exit(&self, instance: &Instance, then: OnExit);

    /// Has `then` called whenever somebody may have changed a service that runs, as far as anybody tells of that: a
    /// [`Supervisor::survey`] says what. It is called on a thread that must not be held up. The last one given counts.
    fn on_change(&self, then: OnChange) {
        drop(then);
    }

    /// Reads the output of a service. What was never started has written nothing.
    ///
    /// # Errors
    /// When it cannot be read.
    fn read_log(&self, name: &str, from: LogFrom) -> Result<LogChunk, OpError>;

    /// Drops the oldest output of services that have written much; to be called every few seconds.
    ///
    /// # Errors
    /// When a file cannot be shortened; the others are.
    fn rotate_logs(&self) -> Result<(), OpError> {
        Ok(())
    }

    /// Looks once whether `gate` holds for a service, for at most `timeout`. The gates `alive`, `log` and `completed`
    /// are about its life and its output, and are [`crate::await_ready`]'s to look at: here they hold.
    ///
    /// # Errors
    /// When it cannot be told.
    fn look(&self, spec: &Spec, gate: &Gate, timeout: Duration) -> Result<Look, OpError>;

    /// A clock that never steps: the time since some moment in the past.
    fn now(&self) -> Duration;
}

/// The refusal to signal a service that does not run.
pub(crate) fn not_running(name: &str) -> OpError {
    OpError::not_found(format!("service `{name}` does not run")).nothing_happened()
}

/// The refusal to start a service that runs.
pub(crate) fn conflict(running: &Running) -> OpError {
    let what = running.pid.map_or_else(String::new, |pid| format!(", as process {pid}"));
    OpError::conflict(format!("service `{}` runs already{what}", running.name))
        .hint("stop it first")
        .nothing_happened()
}
