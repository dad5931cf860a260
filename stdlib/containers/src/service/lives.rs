//! Learning how containers end: from the engine's events, and by looking where events may have been missed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use bollard::models::{ContainerInspectResponse, EventMessage};
use futures_util::StreamExt;
use hob_planner::Exit;
use hob_supervisor::{Instance, Life, Lives, OnChange};
use tokio::runtime::Handle;

use crate::life::{id, is_running};
use crate::port::{ContainersPort, Engine};

/// The pause before the engine is asked for its events again.
const AGAIN: Duration = Duration::from_millis(200);

/// The longest such pause.
const AGAIN_MAX: Duration = Duration::from_secs(10);

/// How often all containers are looked at although no event asks for it: an engine may lose one.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// How many containers are looked at, at one time.
const LOOKS_AT_ONCE: usize = 8;

/// A life of a container: which one, and when it was started.
pub(super) fn instance(found: &ContainerInspectResponse) -> Instance {
    let started = found.state.as_ref().and_then(|state| state.started_at.as_deref()).unwrap_or_default();
    Instance(format!("{} {started}", id(found)))
}

/// The id of the container that an instance is a life of.
pub(super) fn id_of(instance: &Instance) -> &str {
    instance.0.split(' ').next().unwrap_or_default()
}

/// How it ended, as the engine says.
pub(super) fn exit_of(code: Option<i64>) -> Exit {
    code.map_or(Exit::Unknown, Exit::of_code)
}

/// The lives of containers that somebody waits for.
pub(super) struct Watched {
    port: Arc<dyn ContainersPort>,
    lives: Lives,
    listening: AtomicBool,
    on_change: Mutex<Option<Arc<OnChange>>>,
}

/// What events are called that tell of a change of a container that goes on.
const CHANGES: [&str; 4] = ["connect", "disconnect", "rename", "update"];

impl Watched {
    pub(super) fn new(port: Arc<dyn ContainersPort>) -> Self {
        Self { port, lives: Lives::default(), listening: AtomicBool::new(false), on_change: Mutex::default() }
    }

    /// The life that is meant. The first call has the engine's events listened to.
    pub(super) fn of(self: &Arc<Self>, runtime: &Handle, instance: &Instance) -> Arc<Life> {
        if !self.listening.swap(true, Ordering::SeqCst) {
            runtime.spawn(listen(Arc::downgrade(self)));
        }
        let (life, is_new) = self.lives.of(instance);
        if is_new {
            // It may have ended before anybody listened.
            let (watched, instance) = (Arc::downgrade(self), instance.clone());
            runtime.spawn(async move {
                if let Some(watched) = watched.upgrade() {
                    watched.look_at(&instance).await;
                }
            });
        }
        life
    }

    /// Has `then` called when somebody may have changed one of them.
    pub(super) fn on_change(&self, then: OnChange) {
        *self.on_change.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(then));
    }

    /// Ends a life that is known to be over.
    pub(super) fn end(&self, instance: &Instance, exit: Exit) {
        self.lives.end(instance, exit);
    }

    /// Looks at all of them, and tells of ends only when all were looked at: who starts one again must not take another for
    /// alive whose end was found a moment later.
    async fn look_at_all(&self) {
        let looks = futures_util::stream::iter(self.lives.open())
            .map(|instance| async move { (self.end_of(&instance).await, instance) })
            .buffer_unordered(LOOKS_AT_ONCE)
            .collect::<Vec<_>>()
            .await;
        for (exit, instance) in looks {
            if let Some(exit) = exit {
                self.end(&instance, exit);
            }
        }
    }

    async fn look_at(&self, instance: &Instance) {
        if let Some(exit) = self.end_of(instance).await {
            self.end(instance, exit);
        }
    }

    /// How the life that is meant has ended; nothing while it goes on.
    async fn end_of(&self, instance: &Instance) -> Option<Exit> {
        let engine = self.port.engine(None, &[]).await.ok()?;
        match engine.inspect(id_of(instance)).await {
            Ok(found) if self::instance(&found) == *instance && is_running(&found) => None,
            Ok(found) if self::instance(&found) == *instance => {
                Some(exit_of(found.state.and_then(|state| state.exit_code)))
            }
            // It was started again, and how the life before ended nobody wrote down.
            Ok(_) => Some(Exit::Unknown),
            Err(cause) if cause.is_absent() => Some(Exit::Unknown),
            // An engine that does not answer is no container that ended.
            Err(_) => None,
        }
    }

    /// Whether an event is about one of them. That of a network names the container where engines agree on nothing.
    fn concerns(&self, event: &EventMessage) -> bool {
        let Some(actor) = &event.actor else { return false };
        let attributes = actor.attributes.iter().flatten().map(|(_, value)| value);
        let named: Vec<&String> = actor.id.iter().chain(attributes).collect();
        self.lives.open().iter().any(|instance| named.iter().any(|name| *name == id_of(instance)))
    }

    async fn take(&self, event: &EventMessage) {
        if event.action.as_deref().is_some_and(|action| CHANGES.contains(&action)) && self.concerns(event) {
            let then = self.on_change.lock().unwrap_or_else(PoisonError::into_inner).clone();
            return then.into_iter().for_each(|then| then());
        }
        if !matches!(event.action.as_deref(), Some("die" | "died" | "remove" | "destroy")) {
            return;
        }
        let Some(id) = event.actor.as_ref().and_then(|actor| actor.id.as_deref()) else { return };
        for instance in self.lives.open().iter().filter(|instance| id_of(instance) == id) {
            self.look_at(instance).await;
        }
    }
}

/// Listens to the engine as long as there is somebody to tell.
async fn listen(watched: Weak<Watched>) {
    let mut pause = AGAIN;
    loop {
        let Some(port) = watched.upgrade().map(|watched| Arc::clone(&watched.port)) else { return };
        if let Ok(engine) = port.engine(None, &[]).await
            && listen_to(&watched, &*engine).await
        {
            pause = AGAIN;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(AGAIN_MAX);
    }
}

/// Listens until the connection is lost; whether anything was heard.
async fn listen_to(watched: &Weak<Watched>, engine: &dyn Engine) -> bool {
    let mut events = engine.events();
    let mut heard = false;
    // What ended while nobody listened; later on, what no event told of.
    let mut look = tokio::time::interval(LOOK_EVERY);
    loop {
        tokio::select! {
            event = events.next() => {
                let (Some(Ok(event)), Some(watched)) = (event, watched.upgrade()) else { return heard };
                heard = true;
                watched.take(&event).await;
            }
            _ = look.tick() => {
                let Some(watched) = watched.upgrade() else { return heard };
                watched.look_at_all().await;
            }
        }
    }
}
