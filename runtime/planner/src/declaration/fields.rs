//! A service as fields: what plans compare, digest and show.

use hob_model::{Digest, Value, duration};

use super::{Body, Gate, Gpu, Kept, PROCESS, ReloadSignal, SECRETS_FIELD, Service, Update};
use crate::restart::OnDrift;

/// The fields that every service has. A change of one of them is only noted; a change of any other takes a new instance.
const COMMON: [&str; 23] = [
    "kind",
    "tier",
    "host",
    "port",
    "via",
    "needs",
    "wants",
    "ready",
    "ready_timeout",
    "health",
    "restart",
    "restart_backoff",
    "restart_max",
    "drift",
    "stop_timeout",
    "reload",
    "stop_on_exit",
    "critical",
    "public",
    "bypass_auth",
    "tailscale_funnel",
    "update",
    "gpu",
];

/// Whether every service has a field of this name.
pub(crate) fn is_common(field: &str) -> bool {
    COMMON.contains(&field)
}

impl Body {
    /// What a service was, from the fields that were recorded of it; `None` for a process, and where they do not say.
    #[must_use]
    pub fn recorded(fields: &Value) -> Option<Self> {
        let (Value::Map(all), Some(kind)) = (fields, fields.get("kind").and_then(Value::as_str)) else {
            return None;
        };
        let own = all.iter().filter(|(field, _)| !is_common(field) && *field != SECRETS_FIELD);
        let fields = own.map(|(field, value)| (field.clone(), value.clone())).collect();
        (kind != PROCESS).then(|| Self::Kept(Kept { kind: kind.to_owned(), fields, secrets: Vec::new() }))
    }
}

impl Service {
    /// The digest of what has to be started anew when it changes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.body.digest()
    }

    /// All that was declared of it, as a map; `()` for what was not given.
    #[must_use]
    pub fn fields(&self) -> Value {
        let mut fields = self.body.fields();
        let exposure = self.exposure;
        let health = self.health.as_ref().map(|health| {
            Value::map([
                ("check", Value::from(health.gate.to_string())),
                ("interval", Value::from(duration::format(health.interval))),
                ("timeout", Value::from(duration::format(health.timeout))),
                ("retries", Value::from(health.retries)),
                ("restart", Value::from(health.restart)),
            ])
        });
        fields.extend(
            [
                ("kind", Value::from(self.body.kind())),
                ("tier", Value::from(self.tier.clone())),
                ("host", Value::from(self.host.clone())),
                ("port", Value::from(self.port.map(u32::from))),
                ("via", Value::from(self.via.clone())),
                ("needs", Value::from(self.needs.clone())),
                ("wants", Value::from(self.wants.clone())),
                ("ready", Value::from(self.ready.gate.to_string())),
                ("ready_timeout", Value::from(duration::format(self.ready.timeout))),
                ("health", health.unwrap_or(Value::Unit)),
                ("restart", Value::from(self.restart.policy.as_str())),
                ("restart_backoff", Value::from(duration::format(self.restart.backoff))),
                ("restart_max", Value::from(duration::format(self.restart.backoff_max))),
                // What is usual is not recorded: earlier versions did not know of it.
                ("drift", Value::from((self.drift == OnDrift::Report).then_some("report"))),
                ("stop_timeout", Value::from(duration::format(self.stop_timeout))),
                ("reload", Value::from(self.reload.map(ReloadSignal::as_str))),
                ("stop_on_exit", Value::from(self.stop_on_exit)),
                ("critical", Value::from(self.critical)),
                ("public", Value::from(exposure.public)),
                ("bypass_auth", Value::from(exposure.bypass_auth)),
                ("tailscale_funnel", Value::from(exposure.tailscale_funnel)),
                ("update", self.update.as_ref().map_or(Value::Unit, Update::value)),
                ("gpu", self.gpu.as_ref().map_or(Value::Unit, Gpu::value)),
            ]
            .map(|(key, value)| (key.to_owned(), value)),
        );
        Value::Map(fields)
    }
}

impl std::fmt::Display for Gate {
    /// As scripts write it: `http("/health", #{ port: 80 })`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Alive => f.write_str("alive"),
            Self::Tcp { port } => write!(f, "tcp({port})"),
            Self::Http { port, path, status: None } => write!(f, "http({path:?}, #{{ port: {port} }})"),
            Self::Http { port, path, status: Some(status) } => {
                write!(f, "http({path:?}, #{{ port: {port}, status: {status} }})")
            }
            Self::Exec { command } => write!(f, "exec({command:?})"),
            Self::Log { pattern } => write!(f, "log({pattern:?})"),
            Self::File { path } => write!(f, "file({path:?})"),
            Self::Healthy => f.write_str("healthy()"),
            Self::Completed => f.write_str("completed()"),
        }
    }
}
