//! Numbers for Prometheus.
//!
//! The project counts through the `metrics` facade; this module holds the recorder and counts what runs do.

use std::sync::OnceLock;

use hob_model::{RunEnd, RunId, RunStatus};
use hob_runs::Listener;
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

/// Runs that came to a state, by `status`.
const RUNS_TOTAL: &str = "hob_runs_total";
/// Runs that a thread evaluates now.
const RUNS_ACTIVE: &str = "hob_runs_active";
/// 1 when the homelab was applied and triggers are served.
const READY: &str = "hob_ready";
/// Always 1; the label `version` says which hob this is.
const BUILD_INFO: &str = "hob_build_info";
/// Answers over HTTP, by `status`.
const HTTP_REQUESTS_TOTAL: &str = "hob_http_requests_total";

/// The recorder of this process, installed at the first call; from then on everything that is counted shows up in
/// `/metrics`.
pub fn recorder() -> &'static PrometheusHandle {
    static HANDLE: OnceLock<PrometheusHandle> = OnceLock::new();
    HANDLE.get_or_init(|| {
        let recorder = PrometheusBuilder::new().build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another recorder of metrics is installed; /metrics stays empty");
        }
        metrics::describe_counter!(RUNS_TOTAL, "Runs that came to a state");
        metrics::describe_gauge!(RUNS_ACTIVE, "Runs that are evaluated now");
        metrics::describe_gauge!(READY, "Whether the homelab was applied and triggers are served");
        metrics::describe_gauge!(BUILD_INFO, "Which hob this is");
        metrics::describe_counter!(HTTP_REQUESTS_TOTAL, "Answers over HTTP");
        metrics::describe_counter!(
            "hob_effects_total",
            "Effects that were carried out, by operation and outcome"
        );
        metrics::gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
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

/// The text of `/metrics`.
pub(crate) fn render(active: usize, ready: bool) -> String {
    let handle = recorder();
    #[allow(clippy::cast_precision_loss)] // far below 2^52 runs are evaluated at one time
    metrics::gauge!(RUNS_ACTIVE).set(active as f64);
    metrics::gauge!(READY).set(f64::from(u8::from(ready)));
    handle.run_upkeep();
    handle.render()
}
