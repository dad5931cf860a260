//! The prompt inside of an old run: expressions over its variables; nothing acts.

use std::time::Instant;

use hob_daemon::node::Node;
use hob_engine::explore::Explorer;
use hob_model::{RunId, Value};
use hob_repl::command::Command;
use hob_repl::{Desk, Problem};

use super::{desk, failure, is_interactive, problem, settings, short};
use crate::args::ReplArgs;
use crate::context::{Context, Exit, Failure, Outcome};

struct LookDesk<'a> {
    context: &'a Context,
    explorer: Explorer,
    begun: Instant,
}

/// Opens the prompt where `explorer` stands, when a person types.
#[allow(clippy::disallowed_methods)] // the rim: the time that inputs take
pub(crate) fn look(context: &Context, run: RunId, explorer: Explorer, node: &Node) -> Outcome {
    if !is_interactive() {
        return Ok(Exit::Done);
    }
    context.say("nothing acts here; Ctrl-D leaves");
    let variables = explorer.variables();
    let mut desk = LookDesk { context, explorer, begun: Instant::now() };
    let settings = settings(context, &short(run), vec![], variables);
    let ended = hob_repl::run(&mut desk, &settings);
    node.runs.close();
    ended.map_err(failure)?;
    Ok(Exit::Done)
}

impl Desk for LookDesk<'_> {
    fn evaluate(&mut self, text: &str) -> Result<Value, Problem> {
        self.explorer.evaluate(text).map_err(|diagnostic| Problem {
            diagnostics: vec![diagnostic],
            sources: self.explorer.texts().clone(),
            ends: false,
        })
    }
    fn reset(&mut self) -> Result<(), Problem> {
        Err(problem(Failure::usage("an old run stays as it is; Ctrl-D leaves it")))
    }
    fn tool(&mut self, command: &Command) -> Result<(), Problem> {
        match command {
            Command::Help(_) | Command::Runs(_) => {
                desk::tool(self.context, command, &ReplArgs::default()).map_err(problem)
            }
            _ => Err(problem(Failure::usage("nothing is planned or done inside of an old run"))),
        }
    }
    fn read(&mut self, path: &str) -> Result<String, Problem> {
        desk::read(path)
    }
    fn write(&mut self, path: &str, text: &str) -> Result<(), Problem> {
        desk::write(path, text)
    }
    fn edit(&mut self, text: &str) -> Result<String, Problem> {
        desk::edit(text)
    }
    fn print(&mut self, text: &str) {
        self.context.print(text);
    }
    fn say(&mut self, text: &str) {
        self.context.complain(text);
    }
    fn elapsed(&self) -> std::time::Duration {
        self.begun.elapsed()
    }
    fn line(&mut self) -> Option<String> {
        desk::line()
    }
}
