//! News of supplies as events, and what was read last as numbers.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hob_model::{OpError, Value};
use hob_primitive::{BoxFuture, EventSink, EventSource, Family, Measured, Subscribing, Wanted};

use crate::address::supply;
use crate::follow::{Follow, News};
use crate::port::{Server, UpsPort};
use crate::reading::{Power, Reading};
use crate::{LOOK_EVERY, SILENT_LOOKS};

/// The event that tells of news.
const CHANGED: &str = "ups.changed";

/// What was read last of each supply that is followed, by its address.
type Latest = Arc<Mutex<BTreeMap<String, Reading>>>;

/// Makes sources of the supplies that triggers `ups("NAME@HOST")` ask for.
pub struct UpsSources {
    port: Arc<dyn UpsPort>,
    look_every: Duration,
    latest: Latest,
}

impl UpsSources {
    /// The sources that `port` reaches.
    pub fn new(port: Arc<dyn UpsPort>) -> Self {
        Self { port, look_every: LOOK_EVERY, latest: Arc::default() }
    }

    /// The same, which look at other times than [`LOOK_EVERY`]: for tests.
    #[must_use]
    pub fn looking_every(self, look_every: Duration) -> Self {
        Self { look_every, ..self }
    }
}

impl Subscribing for UpsSources {
    fn trigger(&self) -> &'static str {
        "ups"
    }

    fn source(&self, wanted: &Wanted<'_>) -> Result<Arc<dyn EventSource>, OpError> {
        let (name, server) = supply(wanted.of)?;
        let (port, latest, look_every) = (Arc::clone(&self.port), Arc::clone(&self.latest), self.look_every);
        Ok(Arc::new(UpsSource { port, latest, look_every, address: wanted.of.to_owned(), name, server }))
    }
}

struct UpsSource {
    port: Arc<dyn UpsPort>,
    latest: Latest,
    look_every: Duration,
    /// As the trigger writes it.
    address: String,
    name: String,
    server: Server,
}

impl UpsSource {
    fn payload(&self, news: &News) -> Value {
        let before = news.before.map_or(Value::Unit, |before| Value::from(before.as_str()));
        let more = [
            ("of", Value::from(self.address.as_str())),
            ("before", before),
            ("critical", Value::Bool(news.is_critical())),
        ];
        Value::map(news.reading.fields(&self.address).into_iter().chain(more))
    }

    fn keep(&self, reading: Reading) {
        lock(&self.latest).insert(self.address.clone(), reading);
    }
}

impl EventSource for UpsSource {
    fn prefix(&self) -> &'static str {
        "ups."
    }

    /// A server that is away is asked again as often as one that is there: who falls silent is news itself.
    fn listen(self: Arc<Self>, sink: EventSink) -> BoxFuture<()> {
        Box::pin(async move {
            let mut follow = Follow::new(self.look_every * SILENT_LOOKS);
            let mut asked = tokio::time::Instant::now();
            loop {
                let news = match self.port.variables(self.server.clone(), self.name.clone()).await {
                    Ok(variables) => {
                        let reading = Reading::of(&variables);
                        self.keep(reading.clone());
                        follow.heard(reading)
                    }
                    // Asking may have taken its time, too.
                    Err(_) => follow.missed(asked.elapsed()),
                };
                asked = tokio::time::Instant::now();
                if let Some(news) = news {
                    self.keep(news.reading.clone());
                    if !sink.emit(CHANGED, self.payload(&news)) {
                        return Ok(());
                    }
                }
                tokio::time::sleep(self.look_every).await;
            }
        })
    }
}

impl Measured for UpsSources {
    fn name(&self) -> &'static str {
        "ups"
    }

    fn measure(self: Arc<Self>) -> BoxFuture<Vec<Family>> {
        Box::pin(async move {
            let latest = lock(&self.latest).clone();
            let family = |name, help, number: fn(&Reading) -> Option<f64>| {
                let samples =
                    latest.iter().filter_map(|(ups, it)| Some(([("ups", ups.clone())], number(it)?)));
                Family::gauge(name, help).with(samples)
            };
            Ok(vec![
                family("hob_ups_known", "Whether a supply is heard of", |it| {
                    truth(it.power != Power::Unknown)
                }),
                family("hob_ups_on_battery", "Whether a supply uses its battery", |it| {
                    truth(matches!(it.power, Power::Battery | Power::Low | Power::Shutdown))
                }),
                family("hob_ups_charge_ratio", "How full the battery of a supply is", |it| it.charge),
                family("hob_ups_runtime_seconds", "For how long the battery of a supply lasts", |it| {
                    it.runtime
                }),
                family("hob_ups_load_ratio", "How much of what a supply can give is taken", |it| it.load),
            ])
        })
    }
}

#[allow(clippy::unnecessary_wraps)] // as a number that is always there
fn truth(it: bool) -> Option<f64> {
    Some(f64::from(u8::from(it)))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
