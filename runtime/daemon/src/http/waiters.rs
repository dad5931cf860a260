//! Waiting, in async code, for what happens to runs.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hob_model::{Code, Diagnostic, RunEnd, RunId, RunStatus};
use hob_primitive::Progress;
use hob_runs::Listener;
use tokio::sync::{mpsc, oneshot, watch};

/// News that a slow follower may be behind by; what is beyond is not told, since the journal has it.
const NEWS_MAX: usize = 256;

/// Where a run came to rest.
#[derive(Clone, Debug, PartialEq)]
pub enum Settled {
    /// It ended.
    Ended(RunEnd),
    /// It goes on when something happens: `waiting`, `in_doubt`, `paused` or `interrupted`.
    Parked(RunStatus),
    /// It cannot go on, since the journal has stopped.
    Stopped(Diagnostic),
}

/// What a follower of a run hears. It is told after the journal has it, so that whoever hears it reads it there.
#[derive(Clone, Debug)]
pub(crate) enum News {
    /// The journal has more, or the state is another.
    Changed,
    /// A script ended with an error.
    Failed(Diagnostic),
    /// How far a long effect is.
    Progress(String, Progress),
}

/// A listener through which async code waits for runs and events. Hand it to [`hob_runs::Runs`] (or to the listener
/// that it has) and to [`super::serve`].
#[derive(Default)]
pub struct Waiters {
    table: Mutex<Table>,
    events: watch::Sender<()>,
}

#[derive(Default)]
struct Table {
    next: u64,
    settled: HashMap<RunId, Vec<(u64, oneshot::Sender<Settled>)>>,
    followers: HashMap<RunId, Vec<(u64, mpsc::Sender<News>)>>,
}

impl Waiters {
    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to wait for `run`, which need not exist yet: what happens from now on is not missed.
    #[must_use]
    pub fn expect(self: &Arc<Self>, run: RunId) -> Expectation {
        let (sender, receiver) = oneshot::channel();
        let mut table = self.lock();
        table.next += 1;
        let number = table.next;
        table.settled.entry(run).or_default().push((number, sender));
        Expectation { waiters: Arc::clone(self), run, number, receiver }
    }

    /// Begins to follow `run`.
    pub(crate) fn follow(self: &Arc<Self>, run: RunId) -> Follower {
        let (sender, receiver) = mpsc::channel(NEWS_MAX);
        let mut table = self.lock();
        table.next += 1;
        let number = table.next;
        table.followers.entry(run).or_default().push((number, sender));
        Follower { waiters: Arc::clone(self), run, number, receiver }
    }

    /// Changes whenever something was put on the event bus.
    pub(crate) fn events(&self) -> watch::Receiver<()> {
        self.events.subscribe()
    }

    fn settle(&self, run: RunId, settled: &Settled) {
        let waiting = self.lock().settled.remove(&run);
        for (_, sender) in waiting.into_iter().flatten() {
            // Whoever gave up waiting has gone.
            let _ = sender.send(settled.clone());
        }
    }

    fn tell(&self, run: RunId, news: impl FnOnce() -> News) {
        let table = self.lock();
        if let Some(followers) = table.followers.get(&run) {
            let news = news();
            for (_, follower) in followers {
                let _ = follower.try_send(news.clone());
            }
        }
    }
}

impl Listener for Waiters {
    fn changed(&self, run: RunId, status: RunStatus, end: Option<&RunEnd>) {
        match (status, end) {
            (_, Some(end)) => self.settle(run, &Settled::Ended(end.clone())),
            (RunStatus::Queued | RunStatus::Running, None) => {}
            (status, None) => self.settle(run, &Settled::Parked(status)),
        }
        self.tell(run, || News::Changed);
    }

    fn failed(&self, run: RunId, problem: &Diagnostic) {
        // A script's own failure is followed by its end; a journal that has stopped is followed by nothing.
        if matches!(
            problem.code,
            Code::DiskFull | Code::JournalCorrupt | Code::JournalStopped | Code::StateUnusable
        ) {
            self.settle(run, &Settled::Stopped(problem.clone()));
        }
        self.tell(run, || News::Failed(problem.clone()));
    }

    fn emitted(&self) {
        self.events.send_replace(());
    }

    fn log(&self, run: RunId, _level: &str, _message: &str) {
        self.tell(run, || News::Changed);
    }

    fn progress(&self, run: RunId, operation: &str, progress: Progress) {
        self.tell(run, || News::Progress(operation.to_owned(), progress));
    }
}

fn forget<T>(table: &mut HashMap<RunId, Vec<(u64, T)>>, run: RunId, number: u64) {
    if let Some(all) = table.get_mut(&run) {
        all.retain(|(other, _)| *other != number);
        if all.is_empty() {
            table.remove(&run);
        }
    }
}

/// The wait for one run to come to rest.
pub struct Expectation {
    waiters: Arc<Waiters>,
    run: RunId,
    number: u64,
    receiver: oneshot::Receiver<Settled>,
}

impl Expectation {
    /// Where the run came to rest; `None` when it did not within the time.
    pub async fn settled(&mut self, within: Duration) -> Option<Settled> {
        tokio::time::timeout(within, &mut self.receiver).await.ok()?.ok()
    }
}

impl Drop for Expectation {
    fn drop(&mut self) {
        forget(&mut self.waiters.lock().settled, self.run, self.number);
    }
}

/// The news of one run.
pub(crate) struct Follower {
    waiters: Arc<Waiters>,
    run: RunId,
    number: u64,
    receiver: mpsc::Receiver<News>,
}

impl Follower {
    /// The next news. It never ends by itself.
    pub(crate) async fn next(&mut self) -> News {
        match self.receiver.recv().await {
            Some(news) => news,
            None => std::future::pending().await,
        }
    }

    /// News that came already.
    pub(crate) fn queued(&mut self) -> Option<News> {
        self.receiver.try_recv().ok()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        forget(&mut self.waiters.lock().followers, self.run, self.number);
    }
}
