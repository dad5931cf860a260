//! Who else hears of alerts.

use std::sync::Arc;

use crate::BoxFuture;

/// The port to an [Alertmanager](https://prometheus.io/docs/alerting/latest/alertmanager/).
pub trait AlertReceiver: Send + Sync {
    /// Hands alerts, the JSON of its API, to the one at `url`. Dropping the future gives it up.
    fn send(self: Arc<Self>, url: String, alerts: String) -> BoxFuture<()>;
}
