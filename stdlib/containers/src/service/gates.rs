//! Looking whether a container is ready.

use std::time::Duration;

use bollard::models;
use futures_util::StreamExt;
use hob_model::OpError;
use hob_planner::declaration::Gate;
use hob_supervisor::{LOCALHOST, Look, probe};

use super::place::Place;
use crate::life::{self, told};
use crate::port::Engine;

/// How much of what a check wrote is told, in characters.
const SAID_CHARS_MAX: usize = 200;

/// Looks at what only the container itself can tell.
pub(super) async fn look_inside(
    engine: &dyn Engine,
    name: &str,
    gate: &Gate,
    timeout: Duration,
) -> Result<Look, OpError> {
    let words = match gate {
        Gate::Exec { command } => command.clone(),
        Gate::Healthy => health_check(engine, name).await?,
        Gate::File { path } => vec!["test".to_owned(), "-e".to_owned(), path.display().to_string()],
        _ => return Ok(Look::Passed),
    };
    let late = || Look::NotYet(format!("{} takes too long", words.first().map_or("", String::as_str)));
    tokio::time::timeout(timeout, exec(engine, name, &words)).await.unwrap_or_else(|_| Ok(late()))
}

/// Runs a check in a container: it holds when it ends with code 0.
async fn exec(engine: &dyn Engine, name: &str, words: &[String]) -> Result<Look, OpError> {
    let program = words.first().map_or("", String::as_str);
    let config = models::ExecConfig {
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        cmd: Some(words.to_vec()),
        ..Default::default()
    };
    let exec = match engine.exec(name, config).await {
        Ok(exec) => exec,
        Err(cause) => return Ok(Look::NotYet(format!("{program}: {}", cause.message))),
    };
    let mut said = String::new();
    let mut output = engine.exec_start(&exec, None);
    while let Some(chunk) = output.next().await {
        let Ok(chunk) = chunk else { break };
        if said.len() < SAID_CHARS_MAX {
            said.push_str(&String::from_utf8_lossy(&chunk.bytes));
        }
    }
    let code = told(engine, name, engine.exec_code(&exec).await)?;
    Ok(match code {
        Some(0) => Look::Passed,
        code => {
            let said: String = said.trim().chars().take(SAID_CHARS_MAX).collect();
            let code = code.map_or("no exit code".to_owned(), |code| format!("exit code {code}"));
            Look::NotYet(format!("{program}: {code}{}{said}", if said.is_empty() { "" } else { ": " }))
        }
    })
}

/// The check of its health that the image, or the service, has.
async fn health_check(engine: &dyn Engine, name: &str) -> Result<Vec<String>, OpError> {
    let found = life::existing(engine, name).await?;
    let test =
        found.config.and_then(|config| config.healthcheck).and_then(|check| check.test).unwrap_or_default();
    match test.split_first() {
        Some((kind, [command])) if kind == "CMD-SHELL" => {
            Ok(vec!["/bin/sh".to_owned(), "-c".to_owned(), command.clone()])
        }
        Some((kind, words)) if kind == "CMD" && !words.is_empty() => Ok(words.to_vec()),
        _ => Err(OpError::invalid(format!("the image of {name} has no health check"))
            .hint("declare `healthcheck: #{ test: […] }`, or use another gate")),
    }
}

/// Looks at a port of a container: at its own address, or through the port of this machine that leads to it.
pub(super) fn look_at_port(place: &Place, gate: &Gate, timeout: Duration) -> Option<Look> {
    let (Gate::Tcp { port } | Gate::Http { port, .. }) = gate else { return None };
    // Without the rights of root, the networks of containers are out of reach.
    let by_address = rustix::process::geteuid().is_root() && !place.addresses.is_empty();
    match (by_address, place.published.get(port)) {
        (true, _) => probe(&place.addresses, gate, timeout),
        (false, Some(published)) => {
            let mut gate = gate.clone();
            if let Gate::Tcp { port } | Gate::Http { port, .. } = &mut gate {
                *port = *published;
            }
            probe(&LOCALHOST, &gate, timeout)
        }
        (false, None) => {
            Some(Look::NotYet(format!("port {port} is neither published nor has it an address")))
        }
    }
}
