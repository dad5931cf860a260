//! What starts workflows: times and webhooks. Events are the bus's business (`bus`).

use std::collections::BTreeMap;
use std::sync::Arc;

use hob_journal::Ticket;
use hob_model::{Code, Diagnostic, RunId};
use hob_planner::Homelab;
use hob_planner::declaration::{Respond as Declared, ScheduleDeclaration, Trigger, Webhook, Workflow};

use crate::hub::{Order, Respond, WebhookMatch};
use crate::schedules::{Launch, Target, Timed};

/// Everything of a homelab that fires at times: its schedules, which are taken out of it since there may be many, and
/// workflows with times among their triggers.
#[must_use]
pub fn timed(homelab: &mut Homelab) -> Vec<Timed> {
    let mut last: Option<Arc<Target>> = None;
    let timed = |ScheduleDeclaration { schedule, policy, .. }| {
        let known = last.take().filter(|last| Arc::ptr_eq(&last.policy, &policy));
        let target = known.unwrap_or_else(|| Arc::new(Target { workflow: None, shared: false, policy }));
        last = Some(Arc::clone(&target));
        Timed { schedule, target }
    };
    let mut timed: Vec<Timed> = std::mem::take(&mut homelab.schedules).into_iter().map(timed).collect();
    for workflow in &homelab.workflows {
        let times = workflow.triggers.iter().filter_map(|trigger| match trigger {
            Trigger::Time(when) => Some(when.clone()),
            _ => None,
        });
        let target = Arc::new(Target {
            workflow: Some(workflow.name.as_str().into()),
            shared: times.clone().count() > 1,
            policy: Arc::new(workflow.policy.clone()),
        });
        timed.extend((1..).zip(times).map(|(n, when)| Timed {
            schedule: hob_scheduler::Schedule::new(
                format!("workflow/{}/{n}", workflow.name),
                when,
                homelab.timezone.clone(),
            ),
            target: Arc::clone(&target),
        }));
    }
    timed.shrink_to_fit();
    timed
}

/// A trigger, for people.
pub(crate) fn describe(trigger: &Trigger) -> String {
    match trigger {
        Trigger::Time(when) => when.to_string(),
        Trigger::Event { pattern, .. } => format!("event {pattern}"),
        Trigger::Webhook(hook) => format!("{} {}", hook.method, hook.path),
        Trigger::Subscription(wanted) => format!("{} {}", wanted.kind, wanted.of),
        Trigger::Watch(watch) => format!("files {}", watch.pattern),
        Trigger::Manual => "manual".to_owned(),
    }
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
        id: format!("{} {}", hook.method, hook.path),
        rate: hook.rate,
        body_bytes_max: hook.body_bytes_max,
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
pub fn start(launch: &Launch, homelab: &Homelab, run: RunId, order: Order<'_>) -> Result<Ticket, Diagnostic> {
    let name = order.workflow;
    let Some(workflow) = homelab.workflows.iter().find(|workflow| workflow.name == name) else {
        let near = hob_model::names::nearest(name, homelab.workflows.iter().map(|w| w.name.as_str()));
        let error = Diagnostic::error(Code::UnknownName, format!("there is no workflow `{name}`"));
        return Err(match near {
            Some(near) => error.hint(format!("did you mean `{near}`?")),
            None => error,
        });
    };
    let mut new = launch.new_run("workflow", name, &workflow.policy, order.input, order.trigger.to_owned());
    new.id = run;
    if let (Some(graph), Some(node)) = (&workflow.graph, order.until) {
        let names = || graph.nodes.iter().map(|node| node.name.as_str());
        if !names().any(|known| known == node) {
            let near = hob_model::names::nearest(node, names()).unwrap_or_default();
            let error = Diagnostic::error(Code::UnknownName, format!("`{name}` has no node `{node}`"));
            return Err(if near.is_empty() { error } else { error.hint(format!("did you mean `{near}`?")) });
        }
    }
    new.started.until = order.until.map(str::to_owned);
    launch.start(new, vec![]).map_err(|error| error.diagnostic())
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
