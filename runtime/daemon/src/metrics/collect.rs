//! Asks what can be measured, at a bounded price: however often it is scraped, and whatever hangs.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use hob_model::OpError;
use hob_primitive::{Family, Measured};
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

/// What was measured is told again for this time.
const MEASURE_AGAIN: Duration = Duration::from_secs(5);
/// A source that takes longer is told as down; its measurement goes on, and no second one begins beside it.
const PATIENCE: Duration = Duration::from_secs(2);

/// Which sources told something.
pub(super) const SOURCE_UP: &str = "hob_source_up";

type Measuring = JoinHandle<Result<Vec<Family>, OpError>>;

/// The sources of a process and what they last told.
pub(crate) struct Collector {
    sources: Vec<Source>,
    again: Duration,
    patience: Duration,
}

struct Source {
    measured: Arc<dyn Measured>,
    // Held while it is measured, so that scrapes at the same time wait for one measurement.
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    at: Option<Instant>,
    families: Option<Arc<Vec<Family>>>,
    running: Option<Measuring>,
}

impl Collector {
    pub(crate) fn new(sources: Vec<Arc<dyn Measured>>) -> Self {
        Self::with(sources, MEASURE_AGAIN, PATIENCE)
    }

    fn with(sources: Vec<Arc<dyn Measured>>, again: Duration, patience: Duration) -> Self {
        let source = |measured| Source { measured, seen: Mutex::default() };
        Self { sources: sources.into_iter().map(source).collect(), again, patience }
    }

    /// What all sources tell, and which of them told.
    pub(crate) async fn collect(&self) -> (Vec<Arc<Vec<Family>>>, Family) {
        let asked = self.sources.iter().map(|source| source.families(self.again, self.patience));
        let told = join_all(asked).await;
        let up = self.sources.iter().zip(&told).map(|(source, told)| {
            ([("source", source.measured.name().to_owned())], f64::from(told.is_some()))
        });
        let up = Family::gauge(SOURCE_UP, "Whether a source of numbers could be measured").with(up);
        (told.into_iter().flatten().collect(), up)
    }
}

impl Source {
    async fn families(&self, again: Duration, patience: Duration) -> Option<Arc<Vec<Family>>> {
        let mut seen = self.seen.lock().await;
        if seen.at.is_some_and(|at| at.elapsed() < again) {
            return seen.families.clone();
        }
        let measure = || tokio::spawn(Arc::clone(&self.measured).measure());
        let mut running = seen.running.take().unwrap_or_else(measure);
        seen.families = match timeout(patience, &mut running).await {
            Ok(Ok(Ok(families))) => Some(Arc::new(families)),
            Ok(Ok(Err(error))) => {
                tracing::debug!(source = self.measured.name(), %error, "not measured");
                None
            }
            Ok(Err(panic)) => {
                tracing::warn!(source = self.measured.name(), error = %panic, "measuring failed");
                None
            }
            Err(_) => {
                seen.running = Some(running);
                None
            }
        };
        seen.at = Some(Instant::now());
        seen.families.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use hob_primitive::BoxFuture;

    use super::*;

    /// Hangs until it is let go, and counts how often it is asked.
    #[derive(Default)]
    struct Door {
        asked: AtomicUsize,
        open: tokio::sync::Notify,
        hangs: bool,
    }

    impl Measured for Door {
        fn name(&self) -> &'static str {
            "door"
        }
        fn measure(self: Arc<Self>) -> BoxFuture<Vec<Family>> {
            Box::pin(async move {
                self.asked.fetch_add(1, Ordering::SeqCst);
                if self.hangs {
                    self.open.notified().await;
                }
                Ok(vec![Family::gauge("hob_door", "A door").one(1.0)])
            })
        }
    }

    #[tokio::test]
    async fn however_often_it_is_scraped_it_is_measured_now_and_then() {
        let door = Arc::new(Door::default());
        let source = || vec![Arc::clone(&door) as Arc<dyn Measured>];
        let collector = Collector::with(source(), Duration::MAX, PATIENCE);
        for _ in 0..100 {
            let (told, up) = collector.collect().await;
            assert_eq!((told.len(), up.samples[0].value), (1, 1.0));
        }
        assert_eq!(door.asked.load(Ordering::SeqCst), 1);
        let collector = Collector::with(source(), Duration::ZERO, PATIENCE);
        let _ = (collector.collect().await, collector.collect().await);
        assert_eq!(door.asked.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn what_hangs_is_down_and_is_not_asked_twice() {
        let door = Arc::new(Door { hangs: true, ..Door::default() });
        let source = Arc::clone(&door) as Arc<dyn Measured>;
        let mut collector = Collector::with(vec![source], Duration::ZERO, Duration::from_millis(1));
        for _ in 0..10 {
            let (told, up) = collector.collect().await;
            assert_eq!((told.len(), up.samples[0].value), (0, 0.0));
        }
        assert_eq!(door.asked.load(Ordering::SeqCst), 1);
        door.open.notify_one();
        collector.patience = PATIENCE;
        assert_eq!(collector.collect().await.0.len(), 1);
    }
}
