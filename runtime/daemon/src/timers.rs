//! The thread that ends waits when their time has come.

use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use hob_runs::Runs;

/// How long it sleeps at most before it looks at the clock again: a clock that jumps is noticed by then.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Nothing is woken before.
    begun: bool,
    /// A wake-up was added since the last look.
    stale: bool,
    stopping: bool,
}

/// Says that there may be an earlier wake-up, or that it is over. Cheap to clone.
#[derive(Clone, Default)]
pub struct TimerBell(Arc<Shared>);

impl TimerBell {
    /// Wake-ups may begin.
    pub fn begin(&self) {
        if let Ok(mut state) = self.0.state.lock() {
            state.begun = true;
        }
        self.0.changed.notify_all();
    }

    /// There may be an earlier wake-up.
    pub fn ring(&self) {
        if let Ok(mut state) = self.0.state.lock() {
            state.stale = true;
        }
        self.0.changed.notify_all();
    }

    fn stop(&self) {
        if let Ok(mut state) = self.0.state.lock() {
            state.stopping = true;
        }
        self.0.changed.notify_all();
    }
}

/// The thread; it ends when this is dropped.
pub struct Timers {
    bell: TimerBell,
    thread: Option<JoinHandle<()>>,
}

impl Timers {
    /// Starts the thread, which waits for [`TimerBell::begin`].
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(runs: Runs, bell: TimerBell) -> std::io::Result<Self> {
        let inner = bell.clone();
        let thread =
            std::thread::Builder::new().name("hob-timers".into()).spawn(move || serve(&runs, &inner))?;
        Ok(Self { bell, thread: Some(thread) })
    }
}

impl Drop for Timers {
    fn drop(&mut self) {
        self.bell.stop();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(runs: &Runs, bell: &TimerBell) {
    {
        let Ok(state) = bell.0.state.lock() else { return };
        let waited = bell.0.changed.wait_while(state, |state| !state.begun && !state.stopping);
        if waited.map_or(true, |state| state.stopping) {
            return;
        }
    }
    loop {
        if let Err(error) = runs.fire_due() {
            tracing::error!(%error, "waits cannot be ended");
        }
        let due = runs.next_due().ok().flatten();
        let pause = due.map(|due| Duration::try_from(due.duration_since(runs.now())).unwrap_or_default());
        let Ok(mut state) = bell.0.state.lock() else { return };
        if !state.stale && !state.stopping {
            state = match pause {
                Some(pause) => match bell.0.changed.wait_timeout(state, pause.min(LOOK_AGAIN)) {
                    Ok((state, _)) => state,
                    Err(_) => return,
                },
                None => match bell.0.changed.wait(state) {
                    Ok(state) => state,
                    Err(_) => return,
                },
            };
        }
        state.stale = false;
        if state.stopping {
            return;
        }
    }
}
