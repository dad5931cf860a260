//! What is asked of several services that were declared as one: it is asked of each.

use std::sync::Arc;

use hob_model::OpError;
use hob_planner::progress::overall;
use hob_planner::{Homelab, Service};
use hob_primitive::{Patience, ServiceRequest};
use serde_json::{Value as Json, json};

use super::Inner;
use super::asked::{carry_out, free_for, want};
use super::hold::Holder;
use super::table::Table;

/// The replicas that a name stands for; none where it is the name of one service, or of nothing.
pub(super) fn of<'h>(homelab: &'h Homelab, name: &str) -> Vec<&'h Service> {
    let replicas = homelab.members(name).into_iter().filter(|it| it.declared() == name && it.name != name);
    replicas.collect()
}

/// Asks each of `replicas` for it, one after the other; the first that does not do well ends it.
///
/// # Errors
/// As [`carry_out`] of one.
pub(super) fn ask_each(
    inner: &Arc<Inner>,
    by: Holder,
    (name, replicas): (&str, &[&Service]),
    request: &ServiceRequest,
    patience: Patience<'_>,
) -> Result<Json, OpError> {
    let names: Vec<String> = replicas.iter().map(|it| it.name.clone()).collect();
    if *request == ServiceRequest::Start {
        free_for(inner, by, &names)?;
        // They start together, as far as they may.
        names.iter().for_each(|name| want(inner, name));
    }
    let order: Vec<&String> = match request {
        ServiceRequest::Stop => names.iter().rev().collect(),
        _ => names.iter().collect(),
    };
    let mut told = Vec::new();
    for name in order {
        let one = carry_out(inner, by, name, request, patience)?;
        let does_well = update_did_well(&one);
        told.push(one);
        if !does_well {
            break;
        }
    }
    Ok(match request {
        ServiceRequest::Stop if matches!(by, Holder::Run(_)) => {
            told.into_iter().rev().flat_map(|it| it.as_array().cloned().unwrap_or_default()).collect()
        }
        ServiceRequest::Update { .. } => {
            let last = told.last().cloned().unwrap_or_default();
            json!({
                "service": name, "image": last["image"], "result": last["result"], "state": last["state"],
                "note": last["note"], "replicas": told,
            })
        }
        _ => view(&inner.table(), name, replicas),
    })
}

/// Whether the next one may be updated, after what came of this one; so it may where this is none of an update.
fn update_did_well(told: &Json) -> bool {
    told["result"].as_str().is_none_or(|result| ["updated", "current", "available"].contains(&result))
}

/// What is told of the service `name`, or of the replicas that it stands for; nothing where there is neither.
pub(super) fn status(inner: &Inner, name: &str) -> Option<Json> {
    let table = inner.table();
    match of(&inner.homelab, name) {
        several if several.is_empty() => inner.homelab.service(name).map(|it| table.view(it)),
        several => Some(view(&table, name, &several)),
    }
}

/// All replicas of a service as one, with each of them.
pub(super) fn view(table: &Table, name: &str, replicas: &[&Service]) -> Json {
    let states: Vec<_> = replicas.iter().map(|it| table.state(&it.name)).collect();
    let state = overall(&states);
    let each: Vec<Json> = replicas.iter().map(|it| table.view(it)).collect();
    let concerned = each.iter().find(|it| it["state"] == state.as_str());
    let first = replicas.first();
    json!({
        "name": name, "tier": first.and_then(|it| it.tier.as_deref()), "kind": first.map(|it| it.body.kind()),
        "state": state.as_str(), "ready": states.iter().all(|state| state.is_ready()),
        "held": each.iter().any(|it| it["held"] == true),
        "note": concerned.map(|it| it["note"].clone()).unwrap_or_default(),
        "image": first.and_then(|it| it.body.image()), "replicas": each,
    })
}
