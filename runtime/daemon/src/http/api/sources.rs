//! Runs and sources: bundles that callers bring along, and replays that check runs against them.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::response::Response;
use hob_engine::{Bundle, Loader, SCRIPT_STACK_BYTES};
use hob_model::{Code, Diagnostic, RunId};
use hob_primitive::Registry;
use hob_runs::Migration;
use http::StatusCode;
use serde_json::{Map, Value as Json, json};

use crate::http::access::Peer;
use crate::http::reply::Refusal;
use crate::http::route::{Call, ok};

type Reply = Result<Response, Refusal>;

/// Problems of sources that are told in one answer.
const PROBLEMS_MAX: usize = 20;

/// The files that a caller sent.
struct Sent(BTreeMap<String, String>);

impl Loader for Sent {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let text = self.0.get(path).ok_or("it was not sent along")?;
        Ok(text.as_bytes().to_vec())
    }
}

/// Sources decide what is done on this machine. A token is for commands; code comes from the owner of the socket.
pub(super) fn only_over_the_socket(peer: Peer) -> Result<(), Refusal> {
    match peer {
        Peer::Socket(_) => Ok(()),
        Peer::Tcp(_) => Err(Refusal::access(StatusCode::FORBIDDEN, "sources are taken over the socket only")
            .hint("start a declared workflow instead, or run the command on this machine")),
    }
}

/// Reads `{ root, origin, host, files: { PATH: TEXT } }`.
fn bundle(sources: &Map<String, Json>, registry: &Registry) -> Result<Arc<Bundle>, Refusal> {
    let text = |name: &str| {
        let text = sources.get(name).and_then(Json::as_str).map(str::to_owned);
        text.ok_or_else(|| Refusal::usage(format!("the sources lack `{name}`, a text")))
    };
    let (root, origin, host) = (text("root")?, text("origin")?, text("host")?);
    let files = sources.get("files").and_then(Json::as_object).into_iter().flatten();
    let files = files.map(|(path, text)| {
        let text = text.as_str().ok_or_else(|| Refusal::usage(format!("the file `{path}` is no text")))?;
        Ok((path.clone(), text.to_owned()))
    });
    let sent = Sent(files.collect::<Result<_, Refusal>>()?);
    // Parsing goes as deep as the script does.
    let collected = on_script_stack(move || Bundle::collect(&root, &origin, &host, &sent, registry))?;
    collected.map(Arc::new).map_err(|problems| {
        let mut problems = problems.into_iter();
        let first =
            problems.next().unwrap_or_else(|| Diagnostic::error(Code::Syntax, "the sources are wrong"));
        problems.take(PROBLEMS_MAX).fold(first, |first, next| first.note(next.to_string())).into()
    })
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
