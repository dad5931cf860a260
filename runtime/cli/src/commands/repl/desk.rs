//! What the prompt of a session asks.

#![allow(clippy::disallowed_methods)] // the rim: files that a person names, an editor, the time that inputs take

use std::io::{BufRead, Write};
use std::process::Command as Program;
use std::time::{Duration, Instant};

use hob_engine::bundle::SOURCE_BYTES_MAX;
use hob_model::{Code, Diagnostic, RunId, Value};
use hob_repl::command::Command;
use hob_repl::{Desk, Problem};

use super::problem;
use super::session::Session;
use crate::args::{EvalArgs, PlanArgs, ReplArgs};
use crate::commands;
use crate::context::{Context, Failure, absolute};

/// The longest line of standard input, in bytes.
const LINE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The desk of a session.
pub(super) struct SessionDesk<'a> {
    context: &'a Context,
    args: &'a ReplArgs,
    session: Session,
    begun: Instant,
    failed: bool,
}

impl<'a> SessionDesk<'a> {
    pub(super) fn begin(context: &'a Context, args: &'a ReplArgs) -> Result<(Self, Vec<String>), Failure> {
        let (session, inputs) = Session::begin(context, args)?;
        Ok((Self { context, args, session, begun: Instant::now(), failed: false }, inputs))
    }

    pub(super) fn run(&self) -> RunId {
        self.session.run
    }

    /// Whether an input came to nothing.
    pub(super) fn failed(&self) -> bool {
        self.failed
    }

    pub(super) fn end(&mut self) {
        self.session.end();
    }
}

impl Desk for SessionDesk<'_> {
    fn evaluate(&mut self, text: &str) -> Result<Value, Problem> {
        self.session.evaluate(text).inspect_err(|_| self.failed = true)
    }

    fn reset(&mut self) -> Result<(), Problem> {
        self.session.reset(self.args).map_err(problem)
    }

    fn tool(&mut self, command: &Command) -> Result<(), Problem> {
        tool(self.context, command, self.args).map_err(problem)
    }

    fn read(&mut self, path: &str) -> Result<String, Problem> {
        read(path)
    }

    fn write(&mut self, path: &str, text: &str) -> Result<(), Problem> {
        write(path, text)
    }

    fn edit(&mut self, text: &str) -> Result<String, Problem> {
        edit(text)
    }

    fn print(&mut self, text: &str) {
        self.context.print(text);
    }

    fn say(&mut self, text: &str) {
        self.failed |= text.starts_with("error");
        self.context.complain(text);
    }

    fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    fn line(&mut self) -> Option<String> {
        line()
    }
}

/// The tools that need no session.
pub(super) fn tool(context: &Context, command: &Command, args: &ReplArgs) -> Result<(), Failure> {
    match command {
        Command::Help(name) => commands::doc::doc(context, name.as_deref()).map(drop),
        Command::Runs(of) => commands::runs::newest(context, of.as_deref()),
        Command::Plan => {
            commands::homelab::plan(context, &PlanArgs { path: ".".into(), why: None, format: None })
                .map(drop)
        }
        Command::Dry(text) => {
            let eval =
                EvalArgs { expression: text.clone(), dry_run: true, permissions: args.permissions.clone() };
            commands::run::eval(context, &eval).map(drop)
        }
        _ => Err(Failure::usage("this is not available here")),
    }
}

pub(super) fn read(path: &str) -> Result<String, Problem> {
    let failed = |error: String| -> Problem {
        Diagnostic::error(Code::UnreadableScript, format!("`{path}` cannot be read: {error}")).into()
    };
    let file = absolute(std::path::Path::new(path));
    let size = std::fs::metadata(&file).map_err(|error| failed(error.to_string()))?.len();
    if size > SOURCE_BYTES_MAX as u64 {
        return Err(failed(format!("it has {size} bytes; at most {SOURCE_BYTES_MAX} are read")));
    }
    std::fs::read_to_string(&file).map_err(|error| failed(error.to_string()))
}

pub(super) fn write(path: &str, text: &str) -> Result<(), Problem> {
    let failed = |error: std::io::Error| -> Problem {
        let problem = Diagnostic::error(Code::Usage, format!("`{path}` cannot be written: {error}"));
        match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                problem.hint("choose another name, or remove it first").into()
            }
            _ => problem.into(),
        }
    };
    let file = absolute(std::path::Path::new(path));
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).open(file).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}

/// Has `text` edited in `$VISUAL`, `$EDITOR` or `vi`.
pub(super) fn edit(text: &str) -> Result<String, Problem> {
    let failed = |error: String| -> Problem {
        Diagnostic::error(Code::Usage, format!("the editor: {error}"))
            .hint("set EDITOR to the program that you edit with")
            .into()
    };
    let editor = ["VISUAL", "EDITOR"].iter().find_map(|name| std::env::var(name).ok());
    let editor = editor.filter(|editor| !editor.trim().is_empty()).unwrap_or_else(|| "vi".to_owned());
    let words = shlex::split(&editor).unwrap_or_default();
    let (program, arguments) = words.split_first().ok_or_else(|| failed(format!("`{editor}` names none")))?;
    let mut file = tempfile::Builder::new()
        .prefix("hob-")
        .suffix(".rhai")
        .tempfile()
        .map_err(|error| failed(error.to_string()))?;
    file.write_all(text.as_bytes()).map_err(|error| failed(error.to_string()))?;
    let status = Program::new(program).args(arguments).arg(file.path()).status();
    match status {
        Ok(status) if status.success() => {
            std::fs::read_to_string(file.path()).map_err(|error| failed(error.to_string()))
        }
        Ok(status) => Err(failed(format!("`{program}` ended with {status}"))),
        Err(error) => Err(failed(format!("`{program}`: {error}"))),
    }
}

pub(super) fn line() -> Option<String> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes).ok()?;
    let line = String::from_utf8_lossy(&bytes);
    (read > 0).then(|| line.trim_end_matches(['\n', '\r']).to_owned())
}
