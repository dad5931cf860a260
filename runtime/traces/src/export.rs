//! Sends the traces of runs that have ended, on a thread of its own: no run waits for a collector.
#![allow(clippy::disallowed_methods)] // The variables are those of OpenTelemetry, whose library reads them as well; and a thread pauses.

use std::env;
use std::sync::mpsc::{self, Receiver, SyncSender, TrySendError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hob_journal::{Journal, JournalError};
use hob_model::{Code, Diagnostic, EntryKind, RunEnd, RunId, RunStatus};
use hob_runs::Listener;
use opentelemetry::KeyValue;
use opentelemetry_otlp::SpanExporter;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkError;
use opentelemetry_sdk::trace::{SpanData, SpanExporter as _};

use crate::spans::{Ancestry, SPANS_MAX, spans};

/// The variables that name a collector (<https://opentelemetry.io/docs/specs/otel/protocol/exporter/>).
const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"];

/// Runs that wait to be sent. Of more the traces are dropped; their journal stays.
const WAITING_MAX: usize = 1_000;

/// The most entries of a run that are looked at: an effect has a few.
const ENTRIES_MAX: usize = 4 * SPANS_MAX;

/// How many runs up the parents of a run are looked for.
const DEPTH_MAX: usize = 100;

/// The pause before a second attempt.
const PAUSE: Duration = Duration::from_secs(2);

/// How long the last traces may take when the process ends.
const FLUSH: Duration = Duration::from_secs(3);

/// Whether the environment names a collector.
#[must_use]
pub fn is_wanted() -> bool {
    let set = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
    let disabled = env::var("OTEL_SDK_DISABLED").is_ok_and(|value| value.eq_ignore_ascii_case("true"));
    !disabled && ENDPOINTS.iter().any(|name| set(name))
}

/// Hears which runs end, and has their traces sent.
pub struct Traces {
    queue: Mutex<Option<SyncSender<RunId>>>,
    done: Mutex<Receiver<()>>,
}

impl Traces {
    /// Sends to the collector that the environment names.
    ///
    /// # Errors
    /// When the environment makes no sense, or the system gives no thread.
    pub fn start(journal: Arc<dyn Journal>) -> Result<Self, Diagnostic> {
        let refuse = |why: String| {
            Diagnostic::error(Code::Usage, format!("traces cannot be sent: {why}"))
                .hint("the variables OTEL_EXPORTER_OTLP_* say where to; unset them to send none")
        };
        let exporter = SpanExporter::builder().with_http().build();
        let mut exporter = exporter.map_err(|error| refuse(error.to_string()))?;
        let name = env::var("OTEL_SERVICE_NAME").unwrap_or_else(|_| "hob".to_owned());
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        exporter.set_resource(&Resource::builder().with_service_name(name).with_attribute(version).build());
        let (queue, waiting) = mpsc::sync_channel(WAITING_MAX);
        let (over, done) = mpsc::channel();
        let sender = Sender { journal, exporter };
        let send = move || {
            sender.serve(&waiting);
            let _ = over.send(());
        };
        let thread = std::thread::Builder::new().name("hob-traces".into()).spawn(send);
        thread.map_err(|error| refuse(error.to_string()))?;
        Ok(Self { queue: Mutex::new(Some(queue)), done: Mutex::new(done) })
    }

    /// Sends what waits, but not for long: the process ends.
    pub fn flush(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = done.recv_timeout(FLUSH);
    }
}

impl Listener for Traces {
    fn changed(&self, run: RunId, status: RunStatus, _: Option<&RunEnd>) {
        if !status.ended() {
            return;
        }
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Err(TrySendError::Full(run))) = queue.as_ref().map(|queue| queue.try_send(run)) {
            tracing::debug!(%run, "its trace is dropped: too many wait");
        }
    }
}

/// What works on the thread.
struct Sender {
    journal: Arc<dyn Journal>,
    exporter: SpanExporter,
}

impl Sender {
    fn serve(&self, waiting: &Receiver<RunId>) {
        let mut is_down = false;
        for run in waiting {
            let batch = match self.spans(run) {
                Ok(Some(batch)) => batch,
                Ok(None) => continue,
                Err(error) => {
                    tracing::warn!(%run, %error, "its trace cannot be read");
                    continue;
                }
            };
            // While the collector is down each trace has one attempt, and people are told once.
            let sent = self.send(&batch).or_else(|error| match is_down {
                true => Err(error),
                false => {
                    std::thread::sleep(PAUSE);
                    self.send(&batch)
                }
            });
            match sent {
                Ok(()) => is_down = false,
                Err(error) if !is_down => {
                    tracing::warn!(%error, "the collector takes no traces; those of runs are dropped until it does");
                    is_down = true;
                }
                Err(_) => {}
            }
        }
    }

    fn send(&self, batch: &[SpanData]) -> Result<(), OTelSdkError> {
        // The client blocks: there is nothing to wait for.
        futures_executor::block_on(self.exporter.export(batch.to_vec()))
    }

    fn spans(&self, run: RunId) -> Result<Option<Vec<SpanData>>, JournalError> {
        let Some(row) = self.journal.run(run)? else { return Ok(None) };
        let entries = self.journal.entries(run, 0, ENTRIES_MAX)?;
        let parent = match entries.first().map(|entry| &entry.kind) {
            Some(EntryKind::Started(started)) => started.parent.clone(),
            _ => None,
        };
        let mut root = run;
        let mut above = row.parent;
        for _ in 0..DEPTH_MAX {
            let Some(run) = above else { break };
            root = run;
            above = self.journal.run(run)?.and_then(|row| row.parent);
        }
        Ok(Some(spans(&row, &entries, &Ancestry { root, parent })))
    }
}
