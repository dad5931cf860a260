//! Programs that are read, and written to, while they run: dumps that are larger than memory, and never on a disk.

use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;

use hob_model::{OpError, Secret, Value};

use crate::{Ctx, Services};

/// The kind of services that are containers, as their status has it.
const CONTAINER: &str = "container";

/// Where a program runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Room {
    /// On this machine.
    Host,
    /// In the container of this name.
    Container(String),
}

/// What a program is started with.
pub struct ProgramLine {
    /// The program and its arguments.
    pub words: Vec<String>,
    /// Variables beside those that all programs get there.
    pub env: Vec<(String, Secret)>,
    /// The user of the system that it runs as; hob's own, or the container's, when absent.
    pub user: Option<String>,
    /// Where it starts; in a container where the container says, and in `/` as another user.
    pub cwd: PathBuf,
    /// What it reads; nothing when absent.
    pub stdin: Option<Box<dyn Read + Send>>,
    /// Asked now and then: whether it is to end at once.
    pub is_over: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramEnd {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i64>,
    /// The end of what it complained about.
    pub complaint: String,
}

/// A program that runs: reading gives what it writes. Dropped, it ends with all that it started.
pub trait RunningProgram: Read + Send + Sync {
    /// Waits for its end, once it writes no more.
    ///
    /// # Errors
    /// When nobody can say how it ended.
    fn finish(&mut self) -> Result<ProgramEnd, OpError>;
}

/// The port to programs of this machine.
pub trait HostPrograms: Send + Sync {
    /// Starts one.
    ///
    /// # Errors
    /// `not_found` when there is no such program, or no such secret.
    fn start(&self, cx: &Ctx, line: ProgramLine) -> Result<Box<dyn RunningProgram>, OpError>;
}

/// The port to programs in containers.
pub trait ContainerPrograms: Send + Sync {
    /// Starts one in a container that runs.
    ///
    /// # Errors
    /// `not_found` when there is no such container or secret, `conflict` when it does not run.
    fn start(&self, cx: &Ctx, container: &str, line: ProgramLine)
    -> Result<Box<dyn RunningProgram>, OpError>;
}

impl Room {
    /// Where the programs of a service run: in its container, or on this machine.
    ///
    /// # Errors
    /// As [`Services::status`].
    pub fn of_service(cx: &Ctx, service: &str) -> Result<Self, OpError> {
        let status = cx.port::<dyn Services>()?.status(service)?;
        let is_container = status.get("kind").and_then(Value::as_str) == Some(CONTAINER);
        // A container has the name of its service.
        Ok(if is_container { Self::Container(service.to_owned()) } else { Self::Host })
    }

    /// Starts a program there.
    ///
    /// # Errors
    /// Those of the ports.
    pub fn start(&self, cx: &Ctx, line: ProgramLine) -> Result<Box<dyn RunningProgram>, OpError> {
        match self {
            Self::Host => cx.port::<dyn HostPrograms>()?.start(cx, line),
            Self::Container(name) => cx.port::<dyn ContainerPrograms>()?.start(cx, name, line),
        }
    }
}

impl ProgramEnd {
    /// Whether it did well.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.code == Some(0)
    }

    /// How it ended, for people: `exit code 1`.
    #[must_use]
    pub fn told(&self) -> String {
        self.code.map_or_else(|| "a signal".to_owned(), |code| format!("exit code {code}"))
    }
}
