//! Processes that exist only in memory: tests say when they end, get ready and write.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use hob_model::{OpError, Timestamp, Value};
use hob_planner::Exit;
use hob_planner::declaration::{Gate, ReloadSignal};
use hob_planner::plan::FieldChange;

use crate::port::{
    Declared, Instance, LogChunk, LogFrom, LogPosition, Look, OnChange, OnExit, Running, Spec, Standing,
    Started, Stopped, Supervisor, conflict, not_running,
};

/// The signals that [`Fake::stop`] reports.
const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

/// A world of processes without processes. Time passes by waiting: a wait that nothing ends moves the clock on.
#[derive(Default)]
pub struct Fake {
    world: Mutex<World>,
}

#[derive(Default)]
struct World {
    now: Duration,
    pids: u32,
    running: BTreeMap<String, Running>,
    exits: BTreeMap<Instance, Exit>,
    callbacks: Vec<(Instance, OnExit)>,
    not_ready: BTreeSet<String>,
    stubborn: BTreeSet<String>,
    refused: BTreeMap<String, OpError>,
    logs: BTreeMap<String, Vec<String>>,
    changed: BTreeMap<String, bool>,
    starts: Vec<String>,
    surveys: u32,
    on_change: Option<Arc<OnChange>>,
}

impl Fake {
    /// Ends the process of a service. Nothing happens where it does not run.
    pub fn exit(&self, name: &str, exit: Exit) {
        let due: Vec<(Instance, OnExit)> = {
            let mut world = self.world();
            let Some(running) = world.running.remove(name) else { return };
            world.exits.insert(running.instance.clone(), exit);
            let callbacks = std::mem::take(&mut world.callbacks);
            let (due, rest) = callbacks.into_iter().partition(|(instance, _)| *instance == running.instance);
            world.callbacks = rest;
            due
        };
        due.into_iter().for_each(|(_, then)| then(exit));
    }

    /// Whether the gates of a service hold when they are looked at; they do unless told otherwise.
    pub fn set_ready(&self, name: &str, ready: bool) {
        let mut world = self.world();
        if ready {
            world.not_ready.remove(name)
        } else {
            world.not_ready.insert(name.to_owned())
        };
    }

    /// Makes a service ignore SIGTERM.
    pub fn set_stubborn(&self, name: &str) {
        self.world().stubborn.insert(name.to_owned());
    }

    /// Makes every start of a service fail with `error`, until it is `None`.
    pub fn refuse_start(&self, name: &str, error: Option<OpError>) {
        let mut world = self.world();
        match error {
            Some(error) => world.refused.insert(name.to_owned(), error),
            None => world.refused.remove(name),
        };
    }

    /// Somebody changes what runs of a service, past hob, and tells of it. A new start undoes that, unless it is to be done
    /// `always`: each life is changed.
    pub fn change(&self, name: &str, always: bool) {
        let told = {
            let mut world = self.world();
            world.changed.insert(name.to_owned(), always);
            world.on_change.clone()
        };
        told.into_iter().for_each(|told| told());
    }

    /// Somebody puts back what was changed of a service.
    pub fn restore(&self, name: &str) {
        self.world().changed.remove(name);
    }

    /// The names of all that was started, in order.
    #[must_use]
    pub fn starts(&self) -> Vec<String> {
        self.world().starts.clone()
    }

    /// How often what runs was compared with what is declared.
    #[must_use]
    pub fn surveys(&self) -> u32 {
        self.world().surveys
    }

    /// Moves the clock on.
    pub fn pass(&self, time: Duration) {
        self.world().now += time;
    }

    /// Makes a service write a line.
    pub fn write_line(&self, name: &str, line: &str) {
        self.world().logs.entry(name.to_owned()).or_default().push(line.to_owned());
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().expect("no code panics while holding this lock")
    }
}

impl Supervisor for Fake {
    fn start(&self, spec: &Spec, key: &str) -> Result<Started, OpError> {
        let mut world = self.world();
        if let Some(error) = world.refused.get(&spec.name) {
            return Err(error.clone());
        }
        if let Some(running) = world.running.get(&spec.name) {
            return match running.key == key {
                true => Ok(Started { running: running.clone(), adopted: true }),
                false => Err(conflict(running)),
            };
        }
        world.pids += 1;
        let instance = Instance(format!("fake {}", world.pids));
        let started = Timestamp::UNIX_EPOCH + world.now;
        let (name, digest, pid) = (spec.name.clone(), Some(spec.body.digest()), Some(world.pids));
        let running = Running { name: name.clone(), instance, pid, key: key.to_owned(), digest, started };
        world.logs.insert(name.clone(), Vec::new());
        world.starts.push(name.clone());
        world.changed.retain(|changed, always| *changed != name || *always);
        world.running.insert(name, running.clone());
        Ok(Started { running, adopted: false })
    }

    fn stop(&self, name: &str, timeout: Duration) -> Result<Stopped, OpError> {
        let (is_running, is_stubborn) = {
            let mut world = self.world();
            let is_stubborn = world.stubborn.contains(name);
            world.now += if is_stubborn { timeout } else { Duration::ZERO };
            (world.running.contains_key(name), is_stubborn)
        };
        let exit = Exit::Signal(if is_stubborn { SIGKILL } else { SIGTERM });
        self.exit(name, exit);
        Ok(match (is_running, is_stubborn) {
            (false, _) => Stopped::NotRunning,
            (true, true) => Stopped::Killed(exit),
            (true, false) => Stopped::Terminated(exit),
        })
    }

    /// It writes the name of the signal as a line.
    fn signal(&self, name: &str, signal: ReloadSignal) -> Result<(), OpError> {
        if !self.world().running.contains_key(name) {
            return Err(not_running(name));
        }
        self.write_line(name, signal.as_str());
        Ok(())
    }

    fn observe(&self) -> Result<Vec<Running>, OpError> {
        Ok(self.world().running.values().cloned().collect())
    }

    fn survey(&self, _: &[Declared]) -> Result<Vec<Standing>, OpError> {
        let mut world = self.world();
        world.surveys += 1;
        let field =
            || FieldChange { field: "color".to_owned(), from: Value::from("red"), to: Value::from("blue") };
        let standing = world.running.values().cloned().map(|running| {
            let drift = world.changed.contains_key(&running.name).then(field).into_iter().collect();
            Standing { drift: Ok(drift), ..Standing::from(running) }
        });
        Ok(standing.collect())
    }

    fn on_change(&self, then: OnChange) {
        self.world().on_change = Some(Arc::new(then));
    }

    fn wait_exit(&self, instance: &Instance, timeout: Duration) -> Option<Exit> {
        let mut world = self.world();
        let is_known = world.running.values().any(|it| it.instance == *instance);
        match world.exits.get(instance) {
            Some(exit) => return Some(*exit),
            None if !is_known => return Some(Exit::Unknown),
            None => world.now += timeout,
        }
        None
    }

    fn on_exit(&self, instance: &Instance, then: OnExit) {
        match self.wait_exit(instance, Duration::ZERO) {
            Some(exit) => then(exit),
            None => self.world().callbacks.push((instance.clone(), then)),
        }
    }

    fn read_log(&self, name: &str, from: LogFrom) -> Result<LogChunk, OpError> {
        let world = self.world();
        let lines = world.logs.get(name).cloned().unwrap_or_default();
        let first = match from {
            LogFrom::Start => 0,
            LogFrom::Tail { lines: count } => lines.len().saturating_sub(count),
            LogFrom::Position(at) => usize::try_from(at.offset).unwrap_or(usize::MAX).min(lines.len()),
        };
        let next = LogPosition { file: 0, offset: lines.len() as u64 };
        Ok(LogChunk { lines: lines[first..].to_vec(), next, more: false })
    }

    fn look(&self, spec: &Spec, _gate: &Gate, _timeout: Duration) -> Result<Look, OpError> {
        Ok(match self.world().not_ready.contains(&spec.name) {
            true => Look::NotYet("it is told not to be".to_owned()),
            false => Look::Passed,
        })
    }

    fn now(&self) -> Duration {
        self.world().now
    }
}
