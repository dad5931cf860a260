//! What goes wrong on demand.

use std::sync::Mutex;

use crate::port::EngineError;

const NO_PANIC: &str = "no code panics while holding this lock";

/// When a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strikes {
    /// Before the engine does anything.
    Before,
    /// After the engine has done it: the answer is lost.
    After,
}

#[derive(Debug)]
struct Planned {
    method: &'static str,
    when: Strikes,
    error: EngineError,
}

/// hob dies at a call: from then on nothing reaches the engine.
#[derive(Debug)]
struct Crash {
    calls_left: usize,
    when: Strikes,
    error: EngineError,
}

/// The faults of an engine, and a list of its calls.
#[derive(Debug, Default)]
pub struct Faults {
    planned: Mutex<Vec<Planned>>,
    crash: Mutex<Option<Crash>>,
    calls: Mutex<Vec<String>>,
}

impl Faults {
    /// Makes the next call of `method` (`"create"`, `"start"`, …, or `"engine"`) fail.
    ///
    /// # Panics
    /// Never, unless a call panicked.
    pub fn fail(&self, method: &'static str, when: Strikes, error: EngineError) {
        self.planned.lock().expect(NO_PANIC).push(Planned { method, when, error });
    }

    /// Lets `calls` calls through; the next one fails, and so does every one after it until [`Faults::revive`]: as if hob
    /// had been killed there.
    ///
    /// # Panics
    /// Never, unless a call panicked.
    pub fn crash_at(&self, calls: usize, when: Strikes, error: EngineError) {
        *self.crash.lock().expect(NO_PANIC) = Some(Crash { calls_left: calls, when, error });
    }

    /// Lets calls through again.
    ///
    /// # Panics
    /// Never, unless a call panicked.
    pub fn revive(&self) {
        *self.crash.lock().expect(NO_PANIC) = None;
    }

    /// The methods that were called since the last look.
    ///
    /// # Panics
    /// Never, unless a call panicked.
    #[must_use]
    pub fn take_calls(&self) -> Vec<String> {
        std::mem::take(&mut *self.calls.lock().expect(NO_PANIC))
    }

    /// Carries out a call, with the faults before and after it.
    pub(super) fn around<T>(
        &self,
        method: &'static str,
        act: impl FnOnce() -> Result<T, EngineError>,
    ) -> Result<T, EngineError> {
        self.calls.lock().expect(NO_PANIC).push(method.to_owned());
        self.strike(method, Strikes::Before)?;
        let crash = self.crash();
        if let Some((Strikes::Before, error)) = crash {
            return Err(error);
        }
        let done = act();
        if let Some((_, error)) = crash {
            return Err(error);
        }
        self.strike(method, Strikes::After)?;
        done
    }

    fn strike(&self, method: &str, when: Strikes) -> Result<(), EngineError> {
        let mut planned = self.planned.lock().expect(NO_PANIC);
        match planned.iter().position(|fault| fault.method == method && fault.when == when) {
            Some(at) => Err(planned.remove(at).error),
            None => Ok(()),
        }
    }

    /// Whether this call dies: before it, or after it.
    fn crash(&self) -> Option<(Strikes, EngineError)> {
        let mut crash = self.crash.lock().expect(NO_PANIC);
        let planned = crash.as_mut()?;
        if planned.calls_left > 0 {
            planned.calls_left -= 1;
            return None;
        }
        // What comes later does not even reach the engine.
        let when = std::mem::replace(&mut planned.when, Strikes::Before);
        Some((when, planned.error.clone()))
    }
}
