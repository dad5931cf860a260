//! Changes in the world that nobody asked for.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use hob_model::{OpError, Value};

use crate::BoxFuture;

/// Something outside that tells of changes: a container engine, a service manager. The daemon listens to it while a
/// workflow waits for events of its family, and again, after a pause, when the connection was lost.
pub trait EventSource: Send + Sync {
    /// What the names of its events begin with: `container.`.
    fn prefix(&self) -> &'static str;

    /// Tells `sink` of changes until the connection is lost, with the reason, or nobody listens any more, with `()`.
    ///
    /// What happened while nobody listened is not told; a source that can tell the state of things does so when it
    /// begins only if its events say that they describe a state.
    fn listen(self: Arc<Self>, sink: EventSink) -> BoxFuture<()>;
}

/// Something outside that tells only of what it is asked for: a message broker, a power supply. A workflow asks with a
/// trigger of its name: `on: mqtt("frigate/#", #{ … })`, and hears events whose payload has `of`, and `broker` where it names
/// one, as it asked.
pub trait Subscribing: Send + Sync {
    /// The name of the trigger.
    fn trigger(&self) -> &'static str;

    /// The source of what is wanted. Nothing is connected before it is listened to.
    ///
    /// # Errors
    /// `invalid`, with what is wrong with the trigger.
    fn source(&self, wanted: &Wanted<'_>) -> Result<Arc<dyn EventSource>, OpError>;
}

/// What a trigger asks for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// What is to be heard: a filter of topics.
    pub of: &'a str,
    /// The trigger's options.
    pub options: &'a BTreeMap<String, Value>,
    /// Where relative paths start.
    pub directory: &'a Path,
    /// Who asks: the same at each start, another one on another machine.
    pub owner: &'a str,
}

type Take = dyn Fn(&str, Value) -> bool + Send + Sync;

/// Takes events: their names and what they carry.
#[derive(Clone)]
pub struct EventSink(Arc<Take>);

impl EventSink {
    /// A sink that hands each event to `take`, which says whether it wants more.
    pub fn new(take: impl Fn(&str, Value) -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(take))
    }

    /// Tells that `name` happened; `false` when nobody listens any more.
    #[must_use = "a source ends when nobody listens"]
    pub fn emit(&self, name: &str, payload: Value) -> bool {
        (self.0)(name, payload)
    }
}

impl std::fmt::Debug for EventSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("EventSink")
    }
}
