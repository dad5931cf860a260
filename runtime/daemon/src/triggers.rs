//! What starts workflows: times and webhooks. Events are the bus's business (`bus`).

use std::collections::BTreeMap;
use std::sync::Arc;

use hob_journal::Ticket;
use hob_model::{Code, Diagnostic, RunId};
use hob_planner::Homelab;
use hob_planner::declaration::{Respond as Declared, Trigger, Webhook, Workflow};

use crate::hub::{Order, Respond, WebhookMatch};
use crate::schedules::{Launch, Timed};

/// Everything of a homelab that fires at times: its schedules, which are taken out of it since there may be many, and
/// workflows with times among their triggers.
#[must_use]
pub fn timed(homelab: &mut Homelab) -> Vec<Timed> {
    let declared = std::mem::take(&mut homelab.schedules);
    let mut timed: Vec<Timed> = Vec::with_capacity(declared.len());
    for mut it in declared {
        let mut policy = None;
        // Those that a loop declares differ in little.
        if let Some(last) = timed.last() {
            it.schedule.share(&last.schedule);
            policy = Some(&last.policy).filter(|last| ***last == it.policy).map(Arc::clone);
        }
        let policy = policy.unwrap_or_else(|| Arc::new(it.policy));
        timed.push(Timed { schedule: it.schedule, workflow: None, policy });
    }
    for workflow in &homelab.workflows {
        let policy = Arc::new(workflow.policy.clone());
        let times = workflow.triggers.iter().filter_map(|trigger| match trigger {
            Trigger::Time(when) => Some(when.clone()),
            _ => None,
        });
        timed.extend((1..).zip(times).map(|(n, when)| Timed {
            schedule: hob_scheduler::Schedule::new(
                format!("workflow/{}/{n}", workflow.name),
                when,
                homelab.timezone.clone(),
            ),
            workflow: Some(workflow.name.as_str().into()),
            policy: Arc::clone(&policy),
        }));
    }
    timed
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
