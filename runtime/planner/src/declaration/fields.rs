//! A service as fields: what plans compare, digest and show.

use std::collections::BTreeMap;

use hob_model::{Digest, Value, duration};

use super::{Gate, Process, Service};

/// The fields of which a change takes a new process; a change of any other one is only noted.
pub(crate) const PROCESS_FIELDS: [&str; 4] = ["command", "env", "user", "workdir"];

impl Process {
    /// The fields that make the process what it is.
    fn fields(&self) -> BTreeMap<String, Value> {
        let env = self.env.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str())));
        BTreeMap::from([
            ("command".to_owned(), Value::from(self.command.clone())),
            ("env".to_owned(), Value::Map(env.collect())),
            ("user".to_owned(), Value::from(self.user.clone())),
            ("workdir".to_owned(), Value::from(self.workdir.to_string_lossy().into_owned())),
        ])
    }

    /// What its processes carry, so that a running one tells what it was started with.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest::of(&Value::Map(self.fields()).encode())
    }
}

impl Service {
    /// The digest of what has to be started anew when it changes.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.process.digest()
    }

    /// All that was declared of it, as a map; `()` for what was not given.
    #[must_use]
    pub fn fields(&self) -> Value {
        let mut fields = self.process.fields();
        let exposure = self.exposure;
        fields.extend(
            [
                ("tier", Value::from(self.tier.clone())),
                ("host", Value::from(self.host.clone())),
                ("port", Value::from(self.port.map(u32::from))),
                ("needs", Value::from(self.needs.clone())),
                ("wants", Value::from(self.wants.clone())),
                ("ready", Value::from(self.ready.gate.to_string())),
                ("ready_timeout", Value::from(duration::format(self.ready.timeout))),
                ("restart", Value::from(self.restart.policy.as_str())),
                ("restart_backoff", Value::from(duration::format(self.restart.backoff))),
                ("restart_max", Value::from(duration::format(self.restart.backoff_max))),
                ("stop_timeout", Value::from(duration::format(self.stop_timeout))),
                ("stop_on_exit", Value::from(self.stop_on_exit)),
                ("public", Value::from(exposure.public)),
                ("bypass_auth", Value::from(exposure.bypass_auth)),
                ("tailscale_funnel", Value::from(exposure.tailscale_funnel)),
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
            Self::Completed => f.write_str("completed()"),
        }
    }
}
