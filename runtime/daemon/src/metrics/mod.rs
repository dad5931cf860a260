//! Numbers for Prometheus.
//!
//! What hob does is counted through the `metrics` facade, where it happens. What is like this or that is asked when
//! somebody wants to know: of the homelab, of the machine, and of every primitive that measures something
//! ([`hob_primitive::Measured`]).
//!
//! | module | holds |
//! |---|---|
//! | `collect` | asks the sources, at a bounded price |
//! | `homelab` | services, schedules, runs that need a person |
//! | [`host`] | the machine |
//! | `exposition` | the text format |

mod collect;
mod exposition;
mod homelab;
pub mod host;

use std::sync::{Arc, OnceLock, Weak};

use hob_engine::History;
use hob_model::{RunEnd, RunId, RunStatus, Timestamp};
use hob_primitive::{Family, Measured};
use hob_runs::Listener;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use self::collect::{Collector, SOURCE_UP};
use crate::hub::Hub;

/// Runs that came to a state, by `status`.
const RUNS_TOTAL: &str = "hob_runs_total";
/// Answers over HTTP, by `status`.
const HTTP_REQUESTS_TOTAL: &str = "hob_http_requests_total";
/// Effects that were carried out, by `operation` and `outcome`; the engine counts them.
const EFFECTS_TOTAL: &str = "hob_effects_total";

/// The recorder of this process, installed at the first call; from then on everything that is counted shows up in
/// `/metrics`.
pub fn recorder() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another recorder of metrics is installed; /metrics lacks what it counts");
        }
        metrics::describe_counter!(RUNS_TOTAL, "Runs that came to a state");
        metrics::describe_counter!(HTTP_REQUESTS_TOTAL, "Answers over HTTP");
        metrics::describe_counter!(EFFECTS_TOTAL, "Effects that were carried out, by operation and outcome");
        handle
    })
}

/// Counts the states that runs come to; one of the listeners of [`hob_runs::Runs`].
#[derive(Clone, Copy, Debug, Default)]
pub struct RunMeter;

impl Listener for RunMeter {
    fn changed(&self, _: RunId, status: RunStatus, _: Option<&RunEnd>) {
        metrics::counter!(RUNS_TOTAL, "status" => status.as_str()).increment(1);
    }
}

pub(crate) fn answered(status: http::StatusCode) {
    metrics::counter!(HTTP_REQUESTS_TOTAL, "status" => status.as_u16().to_string()).increment(1);
}

/// All that a process tells. It belongs to its hub, and is gone with it.
pub struct Numbers {
    hub: Weak<dyn Hub>,
    collector: Collector,
    /// What functions of alerts ask for over time.
    history: Arc<History>,
}

impl Numbers {
    /// The numbers of the process behind `hub`.
    pub(crate) fn new(hub: &Arc<dyn Hub>) -> Self {
        let homelab = Arc::new(homelab::HomelabMeasures(Arc::downgrade(hub)));
        let mut sources = vec![homelab as Arc<dyn Measured>];
        sources.extend(hub.runs().host().ports.all::<dyn Measured>());
        Self { hub: Arc::downgrade(hub), collector: Collector::new(sources), history: Arc::default() }
    }

    /// What is measured now; not what was counted.
    pub(crate) async fn measured(&self) -> Vec<Family> {
        let (families, up) = self.collector.collect().await;
        let measured = families.iter().flat_map(|families| families.iter().cloned());
        self.now().into_iter().chain(measured).chain([up]).collect()
    }

    /// The same, as the functions of alerts see it.
    pub(crate) async fn at(&self, now: Timestamp) -> hob_engine::Numbers {
        let families = self.measured().await;
        let up = families.iter().find(|family| family.name == SOURCE_UP).into_iter();
        let down = up.flat_map(|family| &family.samples).filter(|source| source.value == 0.0);
        let down = down.flat_map(|source| source.labels.iter().map(|(_, name)| name.clone())).collect();
        hob_engine::Numbers::new(now, families, down, &self.history)
    }

    /// The text of `/metrics`.
    pub(crate) async fn text(&self) -> String {
        let handle = recorder();
        handle.run_upkeep();
        let mut text = handle.render();
        exposition::write(&mut text, &self.measured().await);
        text
    }

    /// What is known at once.
    fn now(&self) -> Vec<Family> {
        let version = [("version", env!("CARGO_PKG_VERSION").to_owned())];
        let build = Family::gauge("hob_build_info", "Which hob this is").with([(version, 1.0)]);
        let Some(hub) = self.hub.upgrade() else { return vec![build] };
        #[allow(clippy::cast_precision_loss)] // far below 2^53 runs are evaluated at one time
        let active = hub.runs().active() as f64;
        vec![
            build,
            Family::gauge("hob_ready", "Whether the homelab was applied and triggers are served")
                .one(f64::from(hub.ready())),
            Family::gauge("hob_runs_active", "Runs that are evaluated now").one(active),
        ]
    }
}
