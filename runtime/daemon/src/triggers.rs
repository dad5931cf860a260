//! What starts workflows: events and webhooks. Times are the schedules' business.

use std::collections::BTreeMap;

use hob_engine::permission::wildcard;
use hob_journal::{EventRow, Ticket};
use hob_model::{Code, Diagnostic, RunId, Timestamp, Value};
use hob_planner::Homelab;
use hob_planner::declaration::{Respond as Declared, RunPolicy, Trigger, Webhook, Workflow};
use hob_runs::RunError;

use crate::hub::{Respond, WebhookMatch};
use crate::schedules::{Launch, Timed};

/// Events that are compared with triggers at one time.
const EVENTS_AT_ONCE: usize = 1_000;

/// The fact that says up to which event triggers were served.
const CURSOR: &str = "triggers/cursor";

/// Everything of a homelab that fires at times: its schedules, and workflows with times among their triggers.
#[must_use]
pub fn timed(homelab: &Homelab) -> Vec<Timed> {
    let schedules = homelab.schedules.iter().map(|declared| Timed {
        schedule: declared.schedule.clone(),
        target: ("schedule".to_owned(), declared.schedule.name.clone()),
        policy: declared.policy.clone(),
    });
    let workflows = homelab.workflows.iter().flat_map(|workflow| {
        let times = workflow.triggers.iter().filter_map(|trigger| match trigger {
            Trigger::Time(when) => Some(when.clone()),
            _ => None,
        });
        (1..).zip(times).map(|(n, when)| Timed {
            schedule: hob_scheduler::Schedule::new(
                format!("workflow/{}/{n}", workflow.name),
                when,
                homelab.timezone.clone(),
            ),
            target: ("workflow".to_owned(), workflow.name.clone()),
            policy: workflow.policy.clone(),
        })
    });
    schedules.chain(workflows).collect()
}

/// The webhook that fits a request: literal segments must be equal, `:name` takes any one.
#[must_use]
pub fn webhook(homelab: &Homelab, method: &str, path: &str) -> Option<WebhookMatch> {
    homelab.workflows.iter().find_map(|workflow| {
        workflow.triggers.iter().find_map(|trigger| match trigger {
            Trigger::Webhook(hook) if hook.method == method => {
                params(&hook.path, path).map(|params| fits(workflow, hook, params))
            }
            _ => None,
        })
    })
}

fn fits(workflow: &Workflow, hook: &Webhook, params: BTreeMap<String, String>) -> WebhookMatch {
    WebhookMatch {
        workflow: workflow.name.clone(),
        params,
        respond: match hook.respond {
            Declared::Accepted => Respond::Accepted,
            Declared::Last => Respond::Last,
        },
        secret: hook.secret.clone(),
    }
}

fn params(pattern: &str, path: &str) -> Option<BTreeMap<String, String>> {
    let (mut pattern, mut path) = (pattern.trim_matches('/').split('/'), path.trim_matches('/').split('/'));
    let mut params = BTreeMap::new();
    loop {
        match (pattern.next(), path.next()) {
            (None, None) => return Some(params),
            (Some(wanted), Some(given)) => match wanted.strip_prefix(':') {
                Some(name) if !given.is_empty() => drop(params.insert(name.to_owned(), given.to_owned())),
                _ if wanted == given => {}
                _ => return None,
            },
            _ => return None,
        }
    }
}

/// Starts a declared workflow as the run `run`; the ticket says when that is durable.
///
/// # Errors
/// When there is none of this name, or the journal cannot take it.
pub fn start(
    launch: &Launch,
    homelab: &Homelab,
    run: RunId,
    name: &str,
    input: Value,
    trigger: &str,
) -> Result<Ticket, Diagnostic> {
    let Some(workflow) = homelab.workflows.iter().find(|workflow| workflow.name == name) else {
        let near = hob_model::names::nearest(name, homelab.workflows.iter().map(|w| w.name.as_str()));
        let error = Diagnostic::error(Code::UnknownName, format!("there is no workflow `{name}`"));
        return Err(match near {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error,
        });
    };
    let mut new = launch.new_run("workflow", name, &workflow.policy, input, trigger.to_owned());
    new.id = run;
    launch.runs.start(new).map_err(|error| error.diagnostic())
}

/// The workflows that wait for events, with their patterns.
fn waiting_for_events(homelab: &Homelab) -> Vec<(&Workflow, &str)> {
    let triggers =
        homelab.workflows.iter().flat_map(|it| it.triggers.iter().map(move |trigger| (it, trigger)));
    let patterns = triggers.filter_map(|(workflow, trigger)| match trigger {
        Trigger::Event { pattern } => Some((workflow, pattern.as_str())),
        _ => None,
    });
    patterns.collect()
}

/// Where no workflow waits for events, forgets how far they were looked at: whoever declares one later begins with what
/// happens from then on, and nothing is recorded at each event until then.
///
/// # Errors
/// When the journal cannot be read.
pub fn begin_events(launch: &Launch, homelab: &Homelab) -> Result<(), RunError> {
    let journal = launch.runs.journal();
    if waiting_for_events(homelab).is_empty() && journal.fact(CURSOR)?.is_some() {
        let forget = hob_journal::Write::Fact { key: CURSOR.to_owned(), value: None };
        journal.submit(hob_journal::Commit::one(forget));
    }
    Ok(())
}

/// Starts the workflows that wait for events that came since the last look: at least once the event is looked at, at
/// most once it starts each of them.
///
/// # Errors
/// When the journal cannot be read or written.
pub fn serve_events(launch: &Launch, homelab: &Homelab) -> Result<(), RunError> {
    let journal = launch.runs.journal();
    let waiting = waiting_for_events(homelab);
    if waiting.is_empty() {
        return Ok(());
    }
    let mut cursor = match journal.fact(CURSOR)? {
        Some(fact) => fact.as_int().and_then(|n| u64::try_from(n).ok()).unwrap_or(0),
        // A homelab that is served for the first time begins with what happens from now on.
        None => journal.last_event()?,
    };
    loop {
        let events = journal.events(cursor, EVENTS_AT_ONCE)?;
        let Some(last) = events.last() else { break };
        cursor = last.id;
        for event in &events {
            for (workflow, pattern) in &waiting {
                if wildcard(pattern, &event.name) {
                    start_for(launch, workflow, &workflow.policy, event)?;
                }
            }
        }
    }
    let value = Some(Value::from(cursor));
    journal.submit(hob_journal::Commit::one(hob_journal::Write::Fact { key: CURSOR.to_owned(), value }));
    Ok(())
}

fn start_for(
    launch: &Launch,
    workflow: &Workflow,
    policy: &RunPolicy,
    event: &EventRow,
) -> Result<(), RunError> {
    // An event that a workflow's own run raised must not start it again without end.
    let own = event.payload.get("name").and_then(Value::as_str) == Some(&workflow.name)
        && event.name.starts_with("run.");
    if own {
        return Ok(());
    }
    let input = Value::map([
        ("name", Value::from(event.name.as_str())),
        ("payload", event.payload.clone()),
        ("at", Value::from(event.at.to_string())),
        ("origin", Value::from(event.origin.as_str())),
    ]);
    let new = launch.new_run("workflow", &workflow.name, policy, input, format!("event:{}", event.id));
    // The number of the event stands in for the time: the pair can be claimed once.
    let number =
        Timestamp::from_microsecond(i64::try_from(event.id).unwrap_or(i64::MAX)).unwrap_or(Timestamp::MAX);
    launch.runs.start_slot(&format!("event/{}", workflow.name), number, new)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::params;

    #[test]
    fn paths_with_parameters() {
        assert_eq!(params("/media/:kind", "/media/film").unwrap()["kind"], "film");
        assert!(params("/media/:kind", "/media").is_none());
        assert!(params("/media", "/media/film").is_none());
        assert!(params("/media", "/media/").is_some());
    }
}
