//! Listening to what primitives can tell of: container engines, service managers.

use std::sync::Arc;
use std::time::Duration;

use hob_engine::Bundle;
use hob_model::OpError;
use hob_planner::Homelab;
use hob_planner::declaration::{Subscription, Trigger};
use hob_primitive::{EventSink, EventSource, Ports, Subscribing, Wanted};
use hob_runs::Runs;
use tokio::task::JoinSet;

use crate::core::directory_of;
use crate::performer::AsyncCore;

/// The pause before a source that was lost, or is not there yet, is listened to again: it doubles up to the second.
const AGAIN_AFTER_MIN: Duration = Duration::from_millis(250);
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(120);
/// A connection that held so long was a good one: the next pause is short again.
const HELD_LONG: Duration = Duration::from_secs(60);

/// Listens to sources until it is dropped.
pub(crate) struct Listening(#[expect(dead_code, reason = "its tasks end when it is dropped")] JoinSet<()>);

impl Listening {
    /// Listens to those sources that this homelab, or a run that sleeps, has a use for: what nobody ever asks for
    /// need not be on the bus.
    pub(crate) fn begin(core: &AsyncCore, runs: &Runs, homelab: &Homelab, bundle: &Bundle) -> Self {
        let mut tasks = JoinSet::new();
        for source in runs.host().ports.sources() {
            if is_wanted(source.prefix(), runs, homelab, bundle) {
                tasks.spawn_on(listen(Arc::clone(source), runs.clone()), core.runtime().handle());
            }
        }
        for source in subscribed(&runs.host().ports, homelab, bundle).into_iter().filter_map(Result::ok) {
            tasks.spawn_on(listen(source, runs.clone()), core.runtime().handle());
        }
        Self(tasks)
    }
}

/// The sources of what triggers subscribe to, each once; what is wrong with a trigger, with its workflow.
pub(crate) fn subscribed(
    ports: &Ports,
    homelab: &Homelab,
    bundle: &Bundle,
) -> Vec<Result<Arc<dyn EventSource>, (String, OpError)>> {
    let all = ports.all::<dyn Subscribing>();
    // Another machine with the same homelab hears the same messages.
    let owner = format!("{}/{}", bundle.record.host, homelab.name);
    let mut sources = Vec::new();
    let mut known: Vec<&Subscription> = Vec::new();
    for workflow in &homelab.workflows {
        for trigger in &workflow.triggers {
            let Trigger::Subscription(wanted) = trigger else { continue };
            if known.iter().any(|other| (&other.kind, other.event()) == (&wanted.kind, wanted.event())) {
                continue;
            }
            known.push(wanted);
            let asked = Wanted {
                of: &wanted.of,
                options: &wanted.options,
                directory: directory_of(bundle),
                owner: &owner,
            };
            let found = all.iter().find(|it| it.trigger() == wanted.kind);
            let missing = || OpError::unavailable(format!("this hob has no adapter for `{}`", wanted.kind));
            let source = found.ok_or_else(missing).and_then(|it| it.source(&asked));
            sources.push(source.map_err(|error| (workflow.name.clone(), error)));
        }
    }
    sources
}

/// Whether a trigger, a wait or a script asks for events of this family. A script may make the name of an event as it
/// goes, but hardly without naming its family.
fn is_wanted(prefix: &str, runs: &Runs, homelab: &Homelab, bundle: &Bundle) -> bool {
    let triggers = homelab.workflows.iter().flat_map(|workflow| &workflow.triggers);
    let mut patterns = triggers.filter_map(|trigger| match trigger {
        Trigger::Event { pattern, .. } => Some(pattern.as_str()),
        _ => None,
    });
    let waits = runs.journal().waits(Some("event"), None, usize::MAX).unwrap_or_default();
    patterns.any(|pattern| may_match(pattern, prefix))
        || waits.iter().any(|row| may_match(&row.wait.key(), prefix))
        || bundle.files().any(|(_, text)| text.contains(prefix))
}

/// Whether a pattern can match a name that begins with `prefix`.
fn may_match(pattern: &str, prefix: &str) -> bool {
    match pattern.find('*') {
        Some(at) => prefix.starts_with(&pattern[..at]) || pattern.starts_with(prefix),
        None => pattern.starts_with(prefix),
    }
}

async fn listen(source: Arc<dyn EventSource>, runs: Runs) {
    let mut pause = AGAIN_AFTER_MIN;
    loop {
        let begun = tokio::time::Instant::now();
        let bus = runs.clone();
        let origin = source.prefix().trim_end_matches('.');
        let sink = EventSink::new(move |name, payload| {
            // It waits for the disk, as whoever hears of the event may act at once.
            match tokio::task::block_in_place(|| bus.emit(name, payload, origin)) {
                Ok(()) => true,
                Err(error) => {
                    tracing::error!(%error, name, "an event cannot be recorded");
                    false
                }
            }
        });
        match Arc::clone(&source).listen(sink).await {
            Ok(()) => return,
            Err(error) => tracing::info!(source = origin, %error, "its events cannot be heard now"),
        }
        if begun.elapsed() >= HELD_LONG {
            pause = AGAIN_AFTER_MIN;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(AGAIN_AFTER_MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use hob_journal::{Journal, MemoryJournal};
    use hob_model::Value;
    use hob_primitive::{BoxFuture, Registry};

    use super::*;
    use crate::node::{Node, NodeParts, Purpose};

    #[test]
    fn a_source_is_listened_to_only_where_a_pattern_can_match() {
        let table = [
            ("*", true),
            ("container.*", true),
            ("container.died", true),
            ("cont*", true),
            ("container.d*", true),
            ("unit.*", false),
            ("run.failed", false),
            ("containers", false),
        ];
        for (pattern, wanted) in table {
            assert_eq!(may_match(pattern, "container."), wanted, "{pattern}");
        }
    }

    /// Tells of one event each time it is listened to; the first connection is lost after it.
    #[derive(Default)]
    struct Flaky(AtomicUsize);

    impl EventSource for Flaky {
        fn prefix(&self) -> &'static str {
            "flaky."
        }

        fn listen(self: Arc<Self>, sink: EventSink) -> BoxFuture<()> {
            Box::pin(async move {
                let before = self.0.fetch_add(1, Ordering::SeqCst);
                assert!(sink.emit("flaky.seen", Value::from(i64::try_from(before).unwrap())));
                if before == 0 { Err(OpError::unavailable("the connection was lost")) } else { Ok(()) }
            })
        }
    }

    #[test]
    fn a_lost_source_is_listened_to_again_and_its_events_are_on_the_bus() {
        let journal = Arc::new(MemoryJournal::new());
        let core = AsyncCore::default();
        let node = Node::new(NodeParts {
            journal: Arc::clone(&journal) as Arc<dyn Journal>,
            registry: Arc::new(Registry::new(Vec::new()).unwrap()),
            ports: Ports::default(),
            core: core.clone(),
            listeners: Vec::new(),
            purpose: Purpose::Act,
        })
        .unwrap();
        let ended = core.runtime().spawn(listen(Arc::new(Flaky::default()), node.runs.clone()));
        core.runtime().block_on(ended).unwrap();
        let events = journal.events(0, 10).unwrap();
        let seen: Vec<_> =
            events.iter().map(|it| (it.name.as_str(), it.payload.as_int(), &*it.origin)).collect();
        assert_eq!(seen, [("flaky.seen", Some(0), "flaky"), ("flaky.seen", Some(1), "flaky")]);
    }
}
