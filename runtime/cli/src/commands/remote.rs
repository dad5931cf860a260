//! Commands that another process carries out: the one that holds the state directory.

use std::time::Duration;

use hob_daemon::client::Client;
use hob_daemon::playbook::Playbook;
use hob_daemon::sent;
use hob_engine::Bundle;
use hob_model::{Code, Diagnostic, RunId, RunStatus, Value};
use hob_runs::RunChoice;
use serde_json::{Value as Json, json};

use super::runs::Decision;
use crate::context::{Context, Exit, Failure, Outcome};

/// How long one look at a followed run waits for it to come to rest.
const FOLLOW_WAIT: &str = "10s";
/// The pause between looks at a run that sleeps.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(100);

/// The process that holds the state directory, reached over its socket.
pub(crate) fn client(context: &Context) -> Client {
    Client::new(context.socket())
}

fn as_json(value: &Value) -> Result<Json, Failure> {
    value.to_json().map_err(|error| Failure::usage(error.to_string()))
}

/// Has a playbook started there, and follows it unless `detach`.
pub(crate) fn playbook(context: &Context, playbook: &Playbook, detach: bool) -> Outcome {
    let client = client(context);
    let started = client.post("/api/v1/runs", &json!({ "playbook": playbook.to_json()? }))?;
    follow(context, &client, &started, detach)
}

/// Has a workflow started there, and follows it unless `detach`.
pub(crate) fn workflow(
    context: &Context,
    name: &str,
    input: &Value,
    until: Option<&str>,
    detach: bool,
) -> Outcome {
    let client = client(context);
    let order = json!({ "workflow": name, "input": as_json(input)?, "until": until });
    let started = client.post("/api/v1/runs", &order)?;
    follow(context, &client, &started, detach)
}

/// The run that an answer names.
pub(crate) fn run_of(json: &Json) -> Result<RunId, Failure> {
    json["run"]
        .as_str()
        .and_then(RunId::parse)
        .ok_or_else(|| Diagnostic::error(Code::NoDaemon, format!("the answer names no run: {json}")).into())
}

/// Follows a run as long as it goes on by itself. Ctrl-C detaches: the run is the other process's.
fn follow(context: &Context, client: &Client, started: &Json, detach: bool) -> Outcome {
    let run = run_of(started)?;
    if detach {
        context.print_line(&run.to_string());
        return Ok(Exit::Done);
    }
    let (status, detail) = rest(context, client, run)?;
    conclude(context, run, status, &detail)
}

/// Waits until a run has come to rest there; its status and all of it.
///
/// # Errors
/// When the other process does not answer.
pub(super) fn rest(context: &Context, client: &Client, run: RunId) -> Result<(RunStatus, Json), Failure> {
    context.say(&format!("run {run} (Ctrl-C detaches)"));
    loop {
        let detail = client.get(&format!("/api/v1/runs/{run}?wait={FOLLOW_WAIT}"))?;
        let status = detail["status"].as_str().and_then(RunStatus::parse);
        let status = status.ok_or_else(|| Failure::usage(format!("the answer has no status: {detail}")))?;
        if detail["goes_on"] != true {
            return Ok((status, detail));
        }
        std::thread::sleep(FOLLOW_INTERVAL);
    }
}

fn conclude(context: &Context, run: RunId, status: RunStatus, detail: &Json) -> Outcome {
    if context.global.json {
        context.print_json(&json!({
            "run": detail["run"], "status": detail["status"], "output": detail["output"], "error": detail["error"],
        }));
    } else if status == RunStatus::Succeeded {
        super::run::print_value(context, &Value::from_json(detail["output"].clone()).unwrap_or_default())?;
    }
    match status {
        RunStatus::Succeeded => Ok(Exit::Done),
        RunStatus::Failed => {
            let error = &detail["error"];
            let message = error["message"].as_str().unwrap_or("the run failed").to_owned();
            let hint = error["hint"].as_str().map(str::to_owned);
            Err(Diagnostic::error(Code::ScriptFailed, message).maybe_hint(hint).into())
        }
        RunStatus::Cancelled => {
            context.say("cancelled");
            Ok(Exit::Failed)
        }
        status => {
            context.say(&super::run::parked(run, status));
            Ok(Exit::Waiting)
        }
    }
}

/// Has a decision about a run carried out there.
pub(crate) fn decide(context: &Context, prefix: &str, decision: &Decision) -> Outcome {
    let client = client(context);
    let journal = context.read()?;
    let run = super::runs::find(&*journal, prefix)?;
    let (verb, body) = match decision {
        Decision::Resume => ("resume", json!({})),
        Decision::Retry { from_start } => ("retry", json!({ "from_start": from_start })),
        Decision::Fork(fork) => {
            let set: serde_json::Map<String, Json> = fork
                .set
                .iter()
                .map(|(position, value)| Ok((position.to_string(), as_json(value)?)))
                .collect::<Result<_, Failure>>()?;
            let input = fork.input.as_ref().map(as_json).transpose()?;
            ("fork", json!({ "at": fork.at.as_ref().map(ToString::to_string), "set": set, "input": input }))
        }
        Decision::Cancel(reason) => ("cancel", json!({ "reason": reason })),
        Decision::Signal(name, payload) => ("signal", json!({ "name": name, "payload": as_json(payload)? })),
        Decision::Approve { position, yes, comment } => (
            "approve",
            json!({ "position": position.as_ref().map(ToString::to_string), "deny": !yes, "comment": comment }),
        ),
        Decision::Resolve(position, choice) => {
            let body = match choice {
                RunChoice::Retry => json!({ "position": position.to_string(), "choice": "retry" }),
                RunChoice::Skip => json!({ "position": position.to_string(), "choice": "skip" }),
                RunChoice::Result(value) => {
                    json!({ "position": position.to_string(), "choice": "result", "result": as_json(value)? })
                }
            };
            ("resolve", body)
        }
    };
    let answer = client.post(&format!("/api/v1/runs/{run}/{verb}"), &body)?;
    if context.global.json {
        context.print_json(&answer);
    } else if matches!(decision, Decision::Fork(_) | Decision::Retry { from_start: true }) {
        context.print_line(answer["run"].as_str().unwrap_or_default());
    }
    Ok(Exit::Done)
}

/// Has a run moved to other sources there; the verdict.
///
/// # Errors
/// When it is refused.
pub(crate) fn migrate(context: &Context, run: RunId, bundle: &Bundle) -> Result<Json, Failure> {
    let sources = json!({ "sources": sent::to_json(bundle) });
    Ok(client(context).post(&format!("/api/v1/runs/{run}/migrate"), &sources)?)
}

/// Puts an event on the bus there.
///
/// # Errors
/// When it is refused.
pub(crate) fn emit(context: &Context, name: &str, payload: &Value) -> Result<(), Failure> {
    client(context).post("/api/v1/events", &json!({ "name": name, "payload": as_json(payload)? }))?;
    Ok(())
}
