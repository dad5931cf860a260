//! The controls: what scripts call to structure a run. They are part of the language, not of a primitive.

mod carry;
mod emit;
mod error;
mod group;
mod invoke;
mod log;
mod parallel;
mod recorded;
mod response;
mod retry;
pub mod session;
mod slots;
mod step;
mod undo;
mod wait;

use rhai::Module;

/// Adds all controls to the global module.
pub(crate) fn install(module: &mut Module) {
    carry::install(module);
    emit::install(module);
    error::install(module);
    invoke::install(module);
    parallel::install(module);
    response::install(module);
    retry::install(module);
    session::install(module);
    step::install(module);
    undo::install(module);
    wait::install(module);
}

/// The module `log`.
pub(crate) fn log_module() -> Module {
    log::module()
}

pub(crate) use log::print;

/// The keys of the option maps that controls take: the control, the first argument that may be such a map, counted
/// from 0, and the keys.
pub const CONTROL_OPTIONS: [(&str, usize, &[&str]); 5] = [
    ("retry", 0, &["attempts", "backoff", "max", "on"]),
    ("parallel", 1, &["max", "fail_fast"]),
    ("wait_for", 1, &["where", "timeout"]),
    ("wait_signal", 1, &["timeout"]),
    ("approve", 1, &["timeout", "details", "notify"]),
];

/// The names and one line of help of each control, for `help`, completion and "did you mean".
pub const CONTROLS: [(&str, &str); 22] = [
    ("step(name, fn)", "names a group of effects in history and in the graph"),
    ("parallel(items, |item| …, #{ max, fail_fast })", "runs branches side by side"),
    ("race(list)", "runs branches until the first ends; the others are cancelled"),
    ("retry(#{ attempts, backoff, max, on }, || …)", "tries a block again after errors"),
    ("undo(fn)", "registers what undoes the work so far, should the run fail"),
    ("finally(fn)", "registers what is done at the end of the run, however it ends"),
    ("sleep(duration)", "suspends for a time"),
    ("sleep_until(time)", "suspends until a time"),
    ("wait_for(event, #{ where, timeout })", "suspends until an event"),
    ("wait_signal(name, #{ timeout })", "suspends until a signal, and gives its payload"),
    (
        "approve(prompt, #{ timeout, details, notify })",
        "suspends until a person says yes or no; with `details` gives `#{ approved, comment }`; `notify` names a channel that \
         is told",
    ),
    ("invoke(workflow, input)", "starts another workflow and waits for its value"),
    ("emit(event, payload)", "puts an event on the bus"),
    ("carry(state)", "ends the run and starts its successor"),
    ("run_id()", "the id of this run"),
    ("attempt()", "the number of this attempt, from 1"),
    ("fail(message)", "ends the run with an error"),
    ("error(e)", "anything caught, as an error map"),
    ("log::debug(message)", "writes to the log of the run"),
    ("log::info(message)", "writes to the log of the run"),
    ("log::warn(message)", "writes to the log of the run"),
    ("log::error(message)", "writes to the log of the run"),
];
