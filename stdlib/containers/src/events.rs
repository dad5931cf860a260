//! What happens to containers, for the event bus.

use std::sync::Arc;

use bollard::models::{EventMessage, EventMessageTypeEnum};
use futures_util::StreamExt;
use hob_model::{OpError, Value};
use hob_primitive::{BoxFuture, EventSink, EventSource};

use crate::body::{LABEL_DECLARED, LABEL_EFFECT};
use crate::port::ContainersPort;
use crate::problem::{Subject, error};

/// Tells of containers of the engine that convention finds: `container.start`, `container.die`, …
///
/// The names are the actions of the Docker Engine API; `exec_create: …` and its like are cut at the colon. The payload is
/// `#{ id, name, image, action, result, exit_code, at, labels }`.
pub struct ContainerEvents {
    port: Arc<dyn ContainersPort>,
}

impl ContainerEvents {
    /// Events of the engine that `port` finds.
    #[must_use]
    pub fn new(port: Arc<dyn ContainersPort>) -> Self {
        Self { port }
    }
}

impl EventSource for ContainerEvents {
    fn prefix(&self) -> &'static str {
        "container."
    }

    fn listen(self: Arc<Self>, sink: EventSink) -> BoxFuture<()> {
        Box::pin(async move {
            let told = |cause| error("its usual sockets", Subject::Engine, &cause);
            let engine = self.port.engine(None, &[]).await.map_err(told)?;
            let mut events = engine.events();
            while let Some(event) = events.next().await {
                let event = event.map_err(|cause| error(&engine.address(), Subject::Engine, &cause))?;
                if event.typ.is_some_and(|of| of != EventMessageTypeEnum::CONTAINER) {
                    continue;
                }
                let (name, payload) = read(event);
                if !sink.emit(&name, payload) {
                    return Ok(());
                }
            }
            Err(OpError::unavailable(format!(
                "the container engine at {} tells of no more events",
                engine.address()
            )))
        })
    }
}

/// An event's name and payload.
fn read(event: EventMessage) -> (String, Value) {
    let actor = event.actor.unwrap_or_default();
    let mut attributes = actor.attributes.unwrap_or_default();
    let action = event.action.unwrap_or_default();
    // `health_status: healthy` carries its result in the name.
    let (action, result) = match action.split_once(':') {
        Some((action, result)) => (action.to_owned(), Some(result.trim().to_owned())),
        None => (action, None),
    };
    let code = attributes.remove("exitCode").or_else(|| attributes.remove("containerExitCode"));
    let at = event.time.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    let mut take = |key: &str| Value::from(attributes.remove(key));
    let (name, image) = (take("name"), take("image"));
    attributes.retain(|key, _| ![LABEL_DECLARED, LABEL_EFFECT].contains(&key.as_str()));
    let labels = attributes.into_iter().map(|(key, value)| (key, Value::from(value)));
    let payload = Value::map([
        ("id", Value::from(actor.id)),
        ("name", name),
        ("image", image),
        ("action", Value::from(action.as_str())),
        ("result", Value::from(result)),
        ("exit_code", Value::from(code.and_then(|code| code.parse::<i64>().ok()))),
        ("at", Value::from(at.map(|at| at.to_string()))),
        ("labels", Value::map(labels)),
    ]);
    (format!("container.{action}"), payload)
}
