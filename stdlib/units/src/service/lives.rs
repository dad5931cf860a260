//! Learning how units end: from what systemd tells of changes, and by looking where that may have been missed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::StreamExt as _;
use hob_planner::Exit;
use hob_supervisor::{Instance, Life, Lives};
use tokio::runtime::Handle;

use super::{Unit, exit_of};
use crate::port::{Scope, UnitsPort, is_up};

/// The pause before systemd is asked for its changes again.
const AGAIN: Duration = Duration::from_secs(1);

/// How often all units are looked at although no change was told.
const LOOK_EVERY: Duration = Duration::from_secs(15);

/// The lives of units that somebody waits for.
pub(super) struct Watched {
    port: Arc<dyn UnitsPort>,
    pub(super) lives: Lives,
    listening: AtomicBool,
}

impl Watched {
    pub(super) fn new(port: Arc<dyn UnitsPort>) -> Self {
        Self { port, lives: Lives::default(), listening: AtomicBool::new(false) }
    }

    /// The life that is meant. The first call has systemd's changes listened to.
    pub(super) fn of(self: &Arc<Self>, runtime: &Handle, instance: &Instance) -> Arc<Life> {
        if !self.listening.swap(true, Ordering::SeqCst) {
            for scope in [Scope::System, Scope::User] {
                runtime.spawn(listen(Arc::downgrade(self), scope));
            }
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

    /// Looks whether a unit still lives the life that is meant.
    async fn look_at(&self, instance: &Instance) {
        let Some(unit) = Unit::lived(instance) else { return self.lives.end(instance, Exit::Unknown) };
        let Ok(facts) = self.port.facts(unit.scope, unit.name.as_str()).await else { return };
        let is_same = unit.instance(facts.invocation.as_deref()) == *instance;
        // One that is being stopped has not ended yet.
        let goes_on = is_up(&facts.active) || facts.active == "deactivating";
        match (is_same, goes_on) {
            (true, true) => {}
            (true, false) => self.lives.end(instance, exit_of(&facts)),
            (false, _) => self.lives.end(instance, Exit::Unknown),
        }
    }

    async fn look_at_all(&self, which: impl Fn(&Unit) -> bool) {
        for instance in self.lives.open() {
            if Unit::lived(&instance).is_none_or(|unit| which(&unit)) {
                self.look_at(&instance).await;
            }
        }
    }
}

/// Listens to a manager as long as there is somebody to tell.
async fn listen(watched: Weak<Watched>, scope: Scope) {
    loop {
        let Some(port) = watched.upgrade().map(|watched| Arc::clone(&watched.port)) else { return };
        let has_lives = |watched: &Arc<Watched>| {
            watched.lives.open().iter().filter_map(Unit::lived).any(|unit| unit.scope == scope)
        };
        // A manager that no service names may not even be there.
        if watched.upgrade().is_some_and(|watched| has_lives(&watched))
            && let Ok(mut changes) = port.changes(scope).await
        {
            let mut look = tokio::time::interval(LOOK_EVERY);
            loop {
                tokio::select! {
                    change = changes.next() => {
                        let (Some(Ok(change)), Some(watched)) = (change, watched.upgrade()) else { break };
                        watched.look_at_all(|unit| unit.scope == scope && unit.name.as_str() == change.unit).await;
                    }
                    _ = look.tick() => {
                        let Some(watched) = watched.upgrade() else { return };
                        watched.look_at_all(|unit| unit.scope == scope).await;
                    }
                }
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}
