//! Threads that evaluate scripts.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use hob_engine::SCRIPT_STACK_BYTES;

/// The most threads that evaluate runs at one time; more runs wait in line.
pub(crate) const SCRIPT_THREADS_MAX: usize = 256;
/// A thread without work ends after this time, so that an idle process holds none.
pub(crate) const SCRIPT_THREAD_IDLE: Duration = Duration::from_secs(5);

/// A piece of work: one pass over a run.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// Runs jobs.
pub trait Spawner: Send + Sync {
    /// Runs `job`, soon, on a thread with a stack of [`SCRIPT_STACK_BYTES`].
    fn spawn(&self, job: Job);
}

/// A pool that grows with the work and shrinks when there is none.
#[derive(Clone, Default)]
pub struct ScriptThreads(Arc<Pool>);

#[derive(Default)]
struct Pool {
    state: Mutex<PoolState>,
    work: Condvar,
}

#[derive(Default)]
struct PoolState {
    queue: VecDeque<Job>,
    threads: usize,
    idle: usize,
}

fn lock(pool: &Pool) -> MutexGuard<'_, PoolState> {
    pool.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl Spawner for ScriptThreads {
    fn spawn(&self, job: Job) {
        let mut state = lock(&self.0);
        state.queue.push_back(job);
        let wanted = state.queue.len() > state.idle && state.threads < SCRIPT_THREADS_MAX;
        if wanted {
            state.threads += 1;
        }
        drop(state);
        if wanted {
            let pool = Arc::clone(&self.0);
            let builder =
                std::thread::Builder::new().name("hob-script".into()).stack_size(SCRIPT_STACK_BYTES);
            if let Err(error) = builder.spawn(move || work(&pool)) {
                tracing::error!(%error, "no thread for a script");
                lock(&self.0).threads -= 1;
            }
        } else {
            self.0.work.notify_one();
        }
    }
}

fn work(pool: &Pool) {
    let mut state = lock(pool);
    loop {
        if let Some(job) = state.queue.pop_front() {
            drop(state);
            // A panic is a bug of hob; it must cost one run its pass, not the process its thread.
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)).is_err() {
                tracing::error!("a script thread panicked; the run goes on when hob starts again");
            }
            state = lock(pool);
            continue;
        }
        state.idle += 1;
        let (guard, waited) = pool
            .work
            .wait_timeout_while(state, SCRIPT_THREAD_IDLE, |state| state.queue.is_empty())
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        state = guard;
        state.idle -= 1;
        if waited.timed_out() && state.queue.is_empty() {
            state.threads -= 1;
            return;
        }
    }
}

/// Runs each job at once on the calling thread, or keeps it until [`InlineSpawner::run`]: for tests and simulation.
#[derive(Clone, Default)]
pub struct InlineSpawner(Arc<Mutex<VecDeque<Job>>>);

impl InlineSpawner {
    /// How many jobs wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.lock().map_or(0, |queue| queue.len())
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Runs the job at `index` of those that wait; `false` when there is none.
    pub fn run(&self, index: usize) -> bool {
        let job = self.0.lock().ok().and_then(|mut queue| queue.remove(index));
        job.map(|job| job()).is_some()
    }

    /// Forgets all jobs: the process died.
    pub fn clear(&self) {
        if let Ok(mut queue) = self.0.lock() {
            queue.clear();
        }
    }
}

impl Spawner for InlineSpawner {
    fn spawn(&self, job: Job) {
        if let Ok(mut queue) = self.0.lock() {
            queue.push_back(job);
        }
    }
}
