//! What a thread waits for that looks at something again and again.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Wakes a thread when there may be something to look at, and tells it when to end.
#[derive(Default)]
pub(crate) struct Bell {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    rung: bool,
    stopping: bool,
}

impl Bell {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something may have happened.
    pub(crate) fn ring(&self) {
        let mut state = self.state();
        if !state.rung {
            state.rung = true;
            self.changed.notify_all();
        }
    }

    /// The thread is to end.
    pub(crate) fn stop(&self) {
        self.state().stopping = true;
        self.changed.notify_all();
    }

    /// From now on it counts as not rung: what rings it during a look is looked at by the next one.
    pub(crate) fn mute(&self) {
        self.state().rung = false;
    }

    /// Rests for `rest`, however often it is rung, and then until it is rung or `longest` is over. Whether to end.
    pub(crate) fn wait(&self, rest: Duration, longest: Duration) -> bool {
        self.wait_until(rest, |state| state.stopping)
            || self.wait_until(longest, |state| state.rung || state.stopping)
    }

    fn wait_until(&self, longest: Duration, enough: impl Fn(&State) -> bool) -> bool {
        let waited = self.changed.wait_timeout_while(self.state(), longest, |state| !enough(state));
        waited.unwrap_or_else(PoisonError::into_inner).0.stopping
    }
}
