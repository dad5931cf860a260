//! `hob repl`

mod desk;
mod live;
mod look;
mod observe;
mod session;

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

use hob_check::Catalog;
use hob_model::{Position, RunId};
use hob_repl::{Problem, Settings};

use crate::args::ReplArgs;
use crate::assemble;
use crate::context::{Context, Exit, Failure, Outcome};

pub(crate) use look::look;

/// The history of prompts, in the state directory.
const HISTORY_FILE: &str = "repl-history";

/// Everything that scripts can call, shared with the line editor.
static CATALOG: LazyLock<Arc<Catalog>> = LazyLock::new(|| Arc::new(Catalog::new(assemble::registry())));

/// Reads inputs and evaluates them in a session, which is a run.
pub(crate) fn repl(context: &Context, args: &ReplArgs) -> Outcome {
    let (mut desk, inputs) = desk::SessionDesk::begin(context, args)?;
    let run = desk.run();
    if is_interactive() {
        context.say(&format!("session {run}; :help lists what there is, Ctrl-D ends it"));
    }
    let settings = settings(context, "hob", inputs, vec![]);
    let ended = hob_repl::run(&mut desk, &settings);
    desk.end();
    ended.map_err(failure)?;
    Ok(if desk.failed() && !is_interactive() { Exit::Failed } else { Exit::Done })
}

/// Whether a person types.
fn is_interactive() -> bool {
    std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

fn settings(context: &Context, name: &str, inputs: Vec<String>, variables: Vec<String>) -> Settings {
    Settings {
        catalog: Arc::clone(&CATALOG),
        style: context.out,
        interactive: is_interactive(),
        history: history(context),
        name: name.to_owned(),
        inputs,
        variables,
        live: Arc::new(live::Names::new(context.socket())),
    }
}

/// The history file, where the state directory is one that this process may write.
fn history(context: &Context) -> Option<PathBuf> {
    context.state.is_dir().then(|| context.state.join(HISTORY_FILE))
}

fn failure(problem: Problem) -> Failure {
    Failure { diagnostics: problem.diagnostics, sources: problem.sources, exit: Exit::Failed }
}

fn problem(failure: Failure) -> Problem {
    Problem { diagnostics: failure.diagnostics, sources: failure.sources, ends: false }
}

/// The position of the step that the n-th input, from 1, is evaluated in.
fn step(number: u32) -> Position {
    Position::root().step(hob_engine::control::session::INPUT_STEP, number)
}

/// The first characters of a run's id, for prompts.
fn short(run: RunId) -> String {
    run.to_string().chars().take(8).collect()
}
