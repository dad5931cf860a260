//! Cards in memory, for tests.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Mutex;

use crate::port::{Card, CdiFile, Fault, GpuPort, GpuProcess, Looking};

/// What a machine has.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    /// Its cards.
    pub cards: Vec<Card>,
    /// Who uses them.
    pub processes: Vec<GpuProcess>,
    /// Its specifications.
    pub cdi_files: Vec<CdiFile>,
    /// Its files.
    pub paths: BTreeSet<PathBuf>,
    /// What each look at the cards says in place of an answer.
    pub fault: Option<Fault>,
}

/// A machine in memory.
#[derive(Debug, Default)]
pub struct FakeGpu(Mutex<Machine>);

impl FakeGpu {
    /// A machine that has what `machine` says.
    #[must_use]
    pub fn new(machine: Machine) -> Self {
        Self(Mutex::new(machine))
    }

    /// Changes it.
    ///
    /// # Panics
    /// When an earlier change panicked.
    pub fn change(&self, change: impl FnOnce(&mut Machine)) {
        change(&mut self.0.lock().expect("no change panics"));
    }

    fn look<T>(&self, look: impl FnOnce(&Machine) -> T) -> Result<T, Fault> {
        let machine = self.0.lock().expect("no change panics");
        match &machine.fault {
            Some(fault) => Err(fault.clone()),
            None => Ok(look(&machine)),
        }
    }
}

impl GpuPort for FakeGpu {
    fn cards(&self) -> Looking<'_, Vec<Card>> {
        Box::pin(async { self.look(|machine| machine.cards.clone()) })
    }

    fn processes(&self) -> Looking<'_, Vec<GpuProcess>> {
        Box::pin(async { self.look(|machine| machine.processes.clone()) })
    }

    fn cdi_files(&self) -> Looking<'_, Vec<CdiFile>> {
        Box::pin(async { self.look(|machine| machine.cdi_files.clone()) })
    }

    fn exist(&self, paths: Vec<PathBuf>) -> Looking<'_, Vec<bool>> {
        Box::pin(async move {
            self.look(|machine| paths.iter().map(|path| machine.paths.contains(path)).collect())
        })
    }
}
