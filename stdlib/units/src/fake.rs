//! A service manager in memory: unit files, jobs, transient units, a journal; with faults on demand.
//!
//! It knows the programs `true`, `false`, `echo` and `sleep`, and passes the same cases as the live adapter.

mod file;
mod machine;
mod view;

use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use futures_util::stream;
use tokio::sync::{broadcast, watch};

use crate::journal::{JournalEntry, JournalQuery};
use crate::port::{
    Change, Changes, Content, Edit, Facts, Fault, FaultKind, Link, ManagerFacts, Reply, Row, Scope,
    Transient, UnitFile, UnitLife, UnitsPort, Verb, is_up,
};
use machine::Machine;

/// How many changes may wait to be listened to.
const CHANGES_MAX: usize = 1024;

/// What goes wrong with one call.
#[derive(Clone, Debug)]
pub enum Mishap {
    /// The manager never hears of it.
    Before(Fault),
    /// The manager does it, and its answer is lost.
    After(Fault),
}

/// The calls that go wrong: by the name of the port's method.
#[derive(Default)]
struct Mishaps {
    once: Vec<(&'static str, Mishap)>,
    always: Vec<(&'static str, Fault)>,
}

/// A manager in memory.
pub struct Fake {
    machine: Mutex<Machine>,
    mishaps: Mutex<Mishaps>,
    calls: Mutex<Vec<String>>,
    /// Counts what happened, for those who wait.
    moved: watch::Sender<u64>,
    changes: broadcast::Sender<Change>,
}

impl Default for Fake {
    fn default() -> Self {
        Self::new()
    }
}

impl Fake {
    /// A machine that has just come up, without units.
    #[must_use]
    pub fn new() -> Self {
        let changes = broadcast::Sender::new(CHANGES_MAX);
        Self {
            machine: Mutex::new(Machine::new(changes.clone())),
            mishaps: Mutex::default(),
            calls: Mutex::default(),
            moved: watch::Sender::new(0),
            changes,
        }
    }

    /// Lets the next call of a method go wrong.
    ///
    /// # Panics
    /// Never, unless another thread panicked in a call.
    pub fn once(&self, method: &'static str, mishap: Mishap) {
        self.mishaps.lock().expect("no code panics while holding this lock").once.push((method, mishap));
    }

    /// Lets all calls of a method go wrong.
    ///
    /// # Panics
    /// Never, unless another thread panicked in a call.
    pub fn always(&self, method: &'static str, fault: Fault) {
        self.mishaps.lock().expect("no code panics while holding this lock").always.push((method, fault));
    }

    /// The methods that were called since the last look.
    ///
    /// # Panics
    /// Never, unless another thread panicked in a call.
    #[must_use]
    pub fn take_calls(&self) -> Vec<String> {
        std::mem::take(&mut *self.calls.lock().expect("no code panics while holding this lock"))
    }

    /// How often a unit was started.
    #[must_use]
    pub fn starts(&self, unit: &str) -> u32 {
        self.machine().starts(unit)
    }

    fn machine(&self) -> MutexGuard<'_, Machine> {
        self.machine.lock().expect("no code panics while holding this lock")
    }

    fn mishap(&self, method: &str) -> Option<Mishap> {
        let mut mishaps = self.mishaps.lock().expect("no code panics while holding this lock");
        if let Some((_, fault)) = mishaps.always.iter().find(|(at, _)| *at == method) {
            return Some(Mishap::Before(fault.clone()));
        }
        let at = mishaps.once.iter().position(|(at, _)| *at == method)?;
        Some(mishaps.once.remove(at).1)
    }

    /// Does something with the machine, and what a mishap makes of it.
    async fn does<T>(
        &self,
        method: &str,
        what: impl FnOnce(&mut Machine) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        self.calls.lock().expect("no code panics while holding this lock").push(method.to_owned());
        let mishap = self.mishap(method);
        if let Some(Mishap::Before(fault)) = mishap {
            return Err(fault);
        }
        let result = what(&mut self.machine());
        self.moved.send_modify(|count| *count += 1);
        match mishap {
            Some(Mishap::After(fault)) => Err(fault),
            _ => result,
        }
    }

    /// Waits until `what` gives something.
    async fn until<T>(&self, mut what: impl FnMut(&mut Machine) -> Option<T>) -> T {
        let mut moved = self.moved.subscribe();
        loop {
            if let Some(it) = what(&mut self.machine()) {
                return it;
            }
            // The sender is ours: it does not close while this runs.
            drop(moved.changed().await);
        }
    }

    /// Waits for the end of a job.
    async fn job_end(&self, job: u64) -> String {
        self.until(|machine| machine.job_result(job)).await
    }
}

impl UnitsPort for Fake {
    fn manager(&self, _: Scope) -> Reply<'_, ManagerFacts> {
        Box::pin(self.does("manager", |machine| Ok(machine.manager())))
    }

    fn rows(&self, _: Scope) -> Reply<'_, Vec<Row>> {
        Box::pin(self.does("rows", |machine| Ok(machine.rows())))
    }

    fn files(&self, _: Scope) -> Reply<'_, Vec<String>> {
        Box::pin(self.does("files", |machine| Ok(machine.files())))
    }

    fn facts(&self, _: Scope, unit: &str) -> Reply<'_, Facts> {
        let unit = unit.to_owned();
        Box::pin(self.does("facts", move |machine| Ok(machine.facts(&unit))))
    }

    fn lives(&self, _: Scope, units: Vec<String>) -> Reply<'_, Vec<Option<UnitLife>>> {
        let life = |facts: Facts| is_up(&facts.active).then(|| UnitLife::from(facts));
        Box::pin(
            self.does("lives", move |machine| {
                Ok(units.iter().map(|unit| life(machine.facts(unit))).collect())
            }),
        )
    }

    fn related(&self, _: Scope, unit: &str, property: &str) -> Reply<'_, Vec<String>> {
        let (unit, property) = (unit.to_owned(), property.to_owned());
        Box::pin(self.does("related", move |machine| Ok(machine.related(&unit, &property))))
    }

    fn job(&self, _: Scope, verb: Verb, unit: &str) -> Reply<'_, String> {
        let unit = unit.to_owned();
        Box::pin(async move {
            let job = self.does("job", |machine| machine.begin(verb, &unit)).await?;
            Ok(self.job_end(job).await)
        })
    }

    fn settle(&self, _: Scope, unit: &str) -> Reply<'_, ()> {
        let unit = unit.to_owned();
        Box::pin(async move {
            self.does("settle", |_| Ok(())).await?;
            self.until(|machine| (!machine.facts(&unit).has_job).then_some(())).await;
            Ok(())
        })
    }

    fn ended(&self, _: Scope, unit: &str) -> Reply<'_, Facts> {
        let unit = unit.to_owned();
        Box::pin(async move {
            self.does("ended", |_| Ok(())).await?;
            let at_rest = |facts: &Facts| match facts.active.as_str() {
                "inactive" | "failed" => true,
                "active" => facts.sub == "exited",
                _ => false,
            };
            Ok(self.until(|machine| Some(machine.facts(&unit)).filter(at_rest)).await)
        })
    }

    fn run(&self, _: Scope, transient: Transient) -> Reply<'_, String> {
        Box::pin(async move {
            let job = self.does("run", |machine| machine.transient(transient)).await?;
            Ok(self.job_end(job).await)
        })
    }

    fn forget(&self, _: Scope, unit: &str) -> Reply<'_, ()> {
        let unit = unit.to_owned();
        Box::pin(self.does("forget", move |machine| {
            machine.stop(&unit);
            machine.reset_failed(Some(&unit));
            Ok(())
        }))
    }

    fn link(&self, _: Scope, link: Link, unit: &str, _: bool) -> Reply<'_, bool> {
        let unit = unit.to_owned();
        Box::pin(self.does("link", move |machine| machine.link(link, &unit)))
    }

    fn daemon_reload(&self, _: Scope) -> Reply<'_, ()> {
        Box::pin(self.does("daemon_reload", |machine| {
            machine.reload();
            Ok(())
        }))
    }

    fn reset_failed(&self, _: Scope, unit: Option<&str>) -> Reply<'_, ()> {
        let unit = unit.map(str::to_owned);
        Box::pin(self.does("reset_failed", move |machine| {
            machine.reset_failed(unit.as_deref());
            Ok(())
        }))
    }

    fn read(&self, path: &str) -> Reply<'_, String> {
        let path = path.to_owned();
        Box::pin(self.does("read", move |machine| {
            machine.read(&path).ok_or_else(|| Fault::new(FaultKind::NoSuchUnit, format!("{path}: not found")))
        }))
    }

    fn unit_file(&self, _: Scope, file: &UnitFile) -> Reply<'_, Option<Content>> {
        let file = file.clone();
        Box::pin(self.does("unit_file", move |machine| machine.unit_file(&file)))
    }

    fn edits(&self, _: Scope, unit: &str) -> Reply<'_, Vec<Edit>> {
        let unit = unit.to_owned();
        Box::pin(self.does("edits", move |machine| Ok(machine.edits(&unit))))
    }

    fn verify(&self, _: Scope, file: &UnitFile, text: &str) -> Reply<'_, Vec<String>> {
        let (file, text) = (file.clone(), text.to_owned());
        Box::pin(self.does("verify", move |_| Ok(file::problems(&file, &text))))
    }

    fn write(&self, _: Scope, file: &UnitFile, text: &str) -> Reply<'_, String> {
        let (file, text) = (file.clone(), text.to_owned());
        Box::pin(self.does("write", move |machine| machine.write(&file, &text)))
    }

    fn remove(&self, _: Scope, file: &UnitFile) -> Reply<'_, bool> {
        let file = file.clone();
        Box::pin(self.does("remove", move |machine| machine.remove(&file)))
    }

    fn journal(
        &self,
        _: Scope,
        query: JournalQuery,
        follow: Option<Duration>,
    ) -> Reply<'_, Vec<JournalEntry>> {
        Box::pin(async move {
            let from = self.does("journal", |machine| Ok(machine.logged())).await?;
            let Some(span) = follow else { return Ok(self.machine().journal(&query, 0)) };
            let wanted = usize::try_from(query.lines).unwrap_or(usize::MAX);
            let enough = self.until(|machine| {
                Some(machine.journal(&query, from)).filter(|entries| entries.len() >= wanted)
            });
            let found = tokio::time::timeout(span, enough).await;
            Ok(found.unwrap_or_else(|_| self.machine().journal(&query, from)))
        })
    }

    fn changes(&self, _: Scope) -> Reply<'_, Changes> {
        Box::pin(async move {
            let receiver = self.does("changes", |_| Ok(self.changes.subscribe())).await?;
            let changes: Changes = Box::pin(stream::unfold(receiver, |mut receiver| async {
                match receiver.recv().await {
                    Ok(change) => Some((Ok(change), receiver)),
                    Err(error) => Some((Err(Fault::new(FaultKind::Lost, error.to_string())), receiver)),
                }
            }));
            Ok(changes)
        })
    }
}
