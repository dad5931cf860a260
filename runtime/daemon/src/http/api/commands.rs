//! What people do with runs: resume, retry, fork, cancel, signal, approve, resolve.

use axum::response::Response;
use hob_model::{Position, RunId, RunOwner, Value};
use hob_runs::{Fork, RunChoice};
use serde_json::json;

use super::runs::row_now;
use crate::http::query::{Args, value_of};
use crate::http::reply::Refusal;
use crate::http::route::{Call, ok};
use crate::hub::Hub;
use crate::view::run_view;

type Reply = Result<Response, Refusal>;

/// The longest text for people, in bytes.
const COMMENT_BYTES_MAX: usize = 4096;

/// Carries out a command about the run of the path, and answers with the run as it is then.
async fn act(
    call: &Call,
    command: impl FnOnce(&dyn Hub, RunId) -> Result<(), Refusal> + Send + 'static,
) -> Reply {
    let acted = call.with_run(move |hub, run| {
        command(hub, run)?;
        Ok(run_view(&row_now(hub.runs(), run)?))
    });
    Ok(ok(&acted.await?))
}

fn comment(args: &Args, name: &str) -> Result<String, Refusal> {
    let text = args.text(name).unwrap_or_default();
    if text.len() > COMMENT_BYTES_MAX {
        return Err(Refusal::usage(format!("`{name}` is longer than {COMMENT_BYTES_MAX} bytes")));
    }
    Ok(text.to_owned())
}

fn position(text: &str) -> Result<Position, Refusal> {
    Position::parse(text).map_err(|error| {
        Refusal::usage(error.to_string()).hint("a position is `3`, `3.left/1` or `step:fetch/2`")
    })
}

pub(super) async fn resume(call: Call) -> Reply {
    act(&call, |hub, run| Ok(hub.runs().resume(run)?)).await
}

pub(super) async fn retry(call: Call) -> Reply {
    if call.args.flag("from_start") != Some(true) {
        return act(&call, |hub, run| hub.runs().retry(run).map(drop).map_err(Refusal::from)).await;
    }
    let again = call.with_run(|hub, run| {
        // A fork from the root shares nothing; where nothing was recorded there is nothing to leave out.
        let entries = hub.runs().records(run)?;
        let acted = entries.branches().any(|(_, log)| log.last() > 0) || !entries.steps.is_empty();
        let fork = Fork { at: acted.then(Position::root), ..Fork::default() };
        let new = hub.runs().fork(run, &fork, RunOwner::Daemon)?;
        Ok(run_view(&row_now(hub.runs(), new)?))
    });
    Ok(ok(&again.await?))
}

pub(super) async fn fork(call: Call) -> Reply {
    let at = call.args.text("at").map(position).transpose()?;
    let set = call.args.map("set").into_iter().flatten();
    let set =
        set.map(|(at, json)| Ok((position(at)?, value_of(at, json)?))).collect::<Result<_, Refusal>>()?;
    // Null stands for "as it was": the input of a run is a map or a trigger's argument.
    let input = call.args.value("input")?.filter(|input| *input != Value::Unit);
    let fork = Fork { at, set, input };
    let new = call.with_run(move |hub, run| Ok(hub.runs().fork(run, &fork, RunOwner::Daemon)?)).await?;
    Ok(ok(&json!({ "run": new.to_string() })))
}

pub(super) async fn cancel(call: Call) -> Reply {
    let reason = match comment(&call.args, "reason")? {
        reason if reason.is_empty() => call.peer.name(),
        reason => format!("{}: {reason}", call.peer.name()),
    };
    act(&call, move |hub, run| Ok(hub.runs().cancel(run, &reason)?)).await
}

pub(super) async fn interrupt(call: Call) -> Reply {
    let kept = comment(&call.args, "kept")?;
    act(&call, move |hub, run| Ok(hub.runs().interrupt(run, &kept).map(drop)?)).await
}

pub(super) async fn signal(call: Call) -> Reply {
    let name = comment(&call.args, "name")?;
    let payload = call.args.value("payload")?.unwrap_or(Value::Unit);
    act(&call, move |hub, run| Ok(hub.runs().signal(run, &name, payload)?)).await
}

pub(super) async fn approve(call: Call) -> Reply {
    let at = call.args.text("position").map(position).transpose()?;
    let yes = call.args.flag("deny") != Some(true);
    let comment = comment(&call.args, "comment")?;
    act(&call, move |hub, run| Ok(hub.runs().approve(run, at.as_ref(), yes, &comment)?)).await
}

pub(super) async fn resolve(call: Call) -> Reply {
    let at = position(call.args.text("position").unwrap_or_default())?;
    let result = call.args.value("result")?;
    let choice = match (call.args.text("choice").unwrap_or_default(), result) {
        ("retry", None) => RunChoice::Retry,
        ("skip", None) => RunChoice::Skip,
        ("result", Some(value)) => RunChoice::Result(value),
        ("result", None) => return Err(Refusal::usage("`result` is missing: what the effect gave")),
        ("retry" | "skip", Some(_)) => {
            return Err(Refusal::usage("`result` goes with the choice `result` only"));
        }
        _ => return Err(Refusal::usage("`choice` must be retry, skip or result")),
    };
    let by = call.peer.name();
    act(&call, move |hub, run| Ok(hub.runs().resolve(run, &at, choice, &by, |key| hub.living(key))?)).await
}
