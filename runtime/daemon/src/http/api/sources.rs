//! Runs and sources: bundles that callers bring along, and replays that check runs against them.

use std::sync::Arc;

use axum::response::Response;
use hob_engine::{Bundle, SCRIPT_STACK_BYTES};
use hob_model::{Code, Diagnostic, RunId};
use hob_primitive::Registry;
use hob_runs::Migration;
use http::StatusCode;
use serde_json::{Map, Value as Json, json};

use crate::http::access::Peer;
use crate::http::reply::Refusal;
use crate::http::route::{Call, ok};
use crate::sent;

type Reply = Result<Response, Refusal>;

/// Sources decide what is done on this machine. A token is for commands; code comes from the owner of the socket.
pub(super) fn only_over_the_socket(peer: Peer) -> Result<(), Refusal> {
    match peer {
        Peer::Socket(_) => Ok(()),
        Peer::Tcp(_) => Err(Refusal::access(StatusCode::FORBIDDEN, "sources are taken over the socket only")
            .hint("start a declared workflow instead, or run the command on this machine")),
    }
}

/// The bundle that a caller sent.
fn bundle(sources: &Map<String, Json>, registry: &Registry) -> Result<Arc<Bundle>, Refusal> {
    // Parsing goes as deep as the script does.
    let read = on_script_stack(|| sent::read(sources, registry))?;
    Ok(Arc::new(read.map_err(sent::in_one)?))
}

/// Does `work` on a thread with the stack that scripts need, and waits for it.
pub(super) fn on_script_stack<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, Refusal> {
    let thread = std::thread::Builder::new().name("hob-check".to_owned()).stack_size(SCRIPT_STACK_BYTES);
    std::thread::scope(|scope| {
        let started = thread.spawn_scoped(scope, work).map_err(|error| {
            let problem = Diagnostic::error(Code::LimitReached, format!("no thread can be had: {error}"));
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, problem)
        })?;
        started.join().map_err(|panic| std::panic::resume_unwind(panic))
    })
}

fn verdict(run: RunId, migration: &Migration) -> Json {
    match migration {
        Migration::Fits => json!({ "run": run.to_string(), "fits": true }),
        Migration::Differs(difference) => json!({
            "run": run.to_string(),
            "fits": false,
            "position": difference.position.as_str(),
            "message": difference.message,
        }),
    }
}

pub(super) async fn migrate(call: Call) -> Reply {
    only_over_the_socket(call.peer)?;
    let sources = call.args.map("sources").cloned().unwrap_or_default();
    let migrated = call.with_run(move |hub, run| {
        let bundle = bundle(&sources, &hub.runs().host().registry)?;
        let migration = on_script_stack(|| hub.runs().migrate(run, &bundle))??;
        Ok(verdict(run, &migration))
    });
    Ok(ok(&migrated.await?))
}

pub(super) async fn check(call: Call) -> Reply {
    let checked = call.with_run(|hub, run| {
        let migration = on_script_stack(|| hub.runs().verify(run, None))??;
        Ok(verdict(run, &migration))
    });
    Ok(ok(&checked.await?))
}

pub(super) async fn check_all(call: Call) -> Reply {
    let checked = call.app.blocking_long(|hub| {
        let all = on_script_stack(|| hub.runs().check_live())??;
        Ok(all.iter().map(|(run, migration)| verdict(*run, migration)).collect::<Json>())
    });
    Ok(ok(&checked.await?))
}
