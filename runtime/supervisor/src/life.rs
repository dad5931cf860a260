//! Waiting for the end of a service.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hob_planner::Exit;

use crate::port::{Instance, OnExit};

/// How many ends are remembered for those that ask late.
const ENDED_MAX: usize = 10_000;

/// One life of a service, for those who wait for its end.
#[derive(Default)]
pub struct Life {
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Default)]
struct State {
    exit: Option<Exit>,
    then: Vec<OnExit>,
}

impl Life {
    /// Waits for the end, but not past `timeout`.
    pub fn wait(&self, timeout: Duration) -> Option<Exit> {
        let state = lock(&self.state);
        let waited = self.ended.wait_timeout_while(state, timeout, |state| state.exit.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.exit
    }

    /// Calls `then` at the end, or now.
    pub fn on_exit(&self, then: OnExit) {
        let mut state = lock(&self.state);
        match state.exit {
            None => state.then.push(then),
            Some(exit) => {
                drop(state);
                then(exit);
            }
        }
    }

    /// It has ended; those who wait are told.
    pub fn end(&self, exit: Exit) {
        let mut state = lock(&self.state);
        state.exit = Some(exit);
        let then = std::mem::take(&mut state.then);
        drop(state);
        self.ended.notify_all();
        then.into_iter().for_each(|then| then(exit));
    }

    /// Whether it has.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        lock(&self.state).exit.is_some()
    }
}

/// Lives that somebody waits for.
#[derive(Default)]
pub struct Lives(Mutex<HashMap<Instance, Arc<Life>>>);

impl Lives {
    /// The life that is meant, and whether it is new: then it is for the caller to learn how it ends.
    pub fn of(&self, instance: &Instance) -> (Arc<Life>, bool) {
        let mut all = lock(&self.0);
        if let Some(life) = all.get(instance) {
            return (Arc::clone(life), false);
        }
        if all.len() >= ENDED_MAX {
            all.retain(|_, life| !life.has_ended());
        }
        let life = Arc::new(Life::default());
        all.insert(instance.clone(), Arc::clone(&life));
        (life, true)
    }

    /// Those that have not ended.
    #[must_use]
    pub fn open(&self) -> Vec<Instance> {
        let all = lock(&self.0);
        all.iter().filter(|(_, life)| !life.has_ended()).map(|(instance, _)| instance.clone()).collect()
    }

    /// Ends a life, if somebody waits for it and it has not ended yet.
    pub fn end(&self, instance: &Instance, exit: Exit) {
        let life = lock(&self.0).get(instance).cloned();
        if let Some(life) = life.filter(|life| !life.has_ended()) {
            life.end(exit);
        }
    }
}

/// Locks a mutex whose data is whole at every moment, so that a panic elsewhere does not matter.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
