//! `session()`: a run whose script comes as it is typed.
//!
//! Each input is a signal, and so is durable before anything of it happens. It is evaluated in a step of its own, with
//! the variables of the inputs before it; an error ends the input and not the session. A session that was cut short
//! goes on as each run does: it is evaluated again from its first input, with the outcomes of its effects.

use std::sync::Arc;

use hob_model::{Diagnostic, EntryKind, OpError, Value};
use rhai::{AST, Dynamic, FuncRegistration, Module, NativeCallContext};

use super::recorded::{Thrown, misuse};
use crate::branch::{BranchCx, BranchHandle, branch_of, source_of, within};
use crate::convert::{RhaiResult, to_value};
use crate::diagnose::error_value;
use crate::inputs::Inputs;
use crate::run_cx::{Mode, RunCx, lock};

/// The signal that carries an input: a map with the key `text`. A payload without it ends the session.
pub const INPUT_SIGNAL: &str = "input";
/// The name of the step that an input is evaluated in.
pub const INPUT_STEP: &str = "input";
/// The detail of an input's error that says where it is and how it is explained: [`problem_of`] reads it.
const PROBLEM: &str = "problem";

/// What lives as long as the session is evaluated.
struct Session {
    root: Arc<BranchCx>,
    inputs: Inputs,
}

impl Session {
    /// Evaluates inputs until the session ends, or waits for the next.
    fn go(&mut self, ctx: &NativeCallContext<'_>) -> RhaiResult {
        loop {
            let mut signal: Dynamic = INPUT_SIGNAL.into();
            let input = ctx.call_native_fn_raw("wait_signal", true, &mut [&mut signal])?;
            let text =
                input.read_lock::<rhai::Map>().and_then(|map| map.get("text")?.clone().into_string().ok());
            match text {
                Some(text) => self.input(ctx, &text)?,
                None => return Ok(self.inputs.last()),
            }
        }
    }

    /// Evaluates one input in a step of its own; fails only when the whole evaluation must end.
    fn input(&mut self, ctx: &NativeCallContext<'_>, text: &str) -> Result<(), Thrown> {
        let position = self.root.next_step(INPUT_STEP);
        self.root.check_aim(&position, &source_of(ctx))?;
        let branch = self.root.open_step(position.clone());
        let result = self.evaluate(&branch, text);
        branch.close();
        if branch.compensates() {
            self.root.mark_compensates();
        }
        self.root.check()?;
        let run = &self.root.run;
        let known = lock(&run.records).steps.contains_key(position.as_str());
        if known || run.mode == Mode::Verify {
            return Ok(());
        }
        let result = match result {
            Ok(value) => {
                // What cannot be written down, as a closure, counts as `()` in the record; the session has it.
                let (payload, blob) = RunCx::payload(&to_value(&value).unwrap_or(Value::Unit));
                run.append(vec![], blob.into_iter().collect());
                Ok(payload)
            }
            Err(error) => Err(error),
        };
        lock(&run.records).steps.insert(position.as_str().to_owned(), result.clone());
        run.append(vec![EntryKind::StepEnded { position, result, source: source_of(ctx) }], vec![]);
        Ok(())
    }

    fn evaluate(&mut self, branch: &Arc<BranchCx>, text: &str) -> Result<Dynamic, OpError> {
        let host = &self.root.run.host;
        let tag = Dynamic::from(BranchHandle(Arc::clone(branch)));
        let engine = crate::evaluate::engine_for(host, self.inputs.bundle(), tag);
        let result = self.inputs.evaluate(&engine, &host.registry, text, |scope, program| {
            within(branch, || engine.eval_ast_with_scope(scope, program))
        });
        result.map_err(|failed| with_problem(error_value(&failed.error), &failed.diagnostic))
    }
}

/// The error with what people are told of it.
fn with_problem(error: OpError, diagnostic: &Diagnostic) -> OpError {
    let place = diagnostic.spans.first();
    let number = |get: fn(&hob_model::Span) -> u32| Value::Int(place.map_or(0, |span| i64::from(get(span))));
    let text = |text: &str| Value::from(text);
    let problem = [
        ("code", text(diagnostic.code.as_str())),
        ("message", text(&diagnostic.message)),
        ("hint", diagnostic.hint.as_deref().map_or(Value::Unit, text)),
        ("notes", Value::Array(diagnostic.notes.iter().map(|note| text(note)).collect())),
        ("file", text(place.map_or("", |span| &span.source.file))),
        ("line", number(|span| span.source.line)),
        ("column", number(|span| span.source.column)),
        ("length", number(|span| span.len)),
    ];
    error.detail(PROBLEM, Value::map(problem))
}

/// What people are told of an input's error.
#[must_use]
pub fn problem_of(error: &OpError) -> Diagnostic {
    use hob_model::{Code, Source, Span};
    let problem = error.details.get(PROBLEM).cloned().unwrap_or_default();
    let text = |key: &str| problem.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let number = |key: &str| {
        problem.get(key).and_then(Value::as_int).and_then(|number| u32::try_from(number).ok()).unwrap_or(0)
    };
    let Some(code) = Code::parse(&text("code")) else {
        let mut plain = Diagnostic::error(Code::OperationFailed, error.to_string());
        plain.hint.clone_from(&error.hint);
        return plain;
    };
    let mut diagnostic = Diagnostic::error(code, text("message"));
    diagnostic.hint = problem.get("hint").and_then(Value::as_str).map(str::to_owned);
    if let Some(Value::Array(notes)) = problem.get("notes") {
        diagnostic.notes = notes.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    }
    if number("line") > 0 {
        let source = Source { file: text("file").into(), line: number("line"), column: number("column") };
        diagnostic.spans = vec![Span { len: number("length").max(1), ..Span::point(source) }];
    }
    diagnostic
}

fn session(ctx: NativeCallContext<'_>) -> RhaiResult {
    let root = branch_of(&ctx, "session")?;
    root.check()?;
    let Some(bundle) = root.run.bundle.clone() else {
        return Err(misuse(&ctx, "session", OpError::denied("a run without sources has no session")));
    };
    let inputs = Inputs::new(bundle, AST::empty());
    Session { root, inputs }.go(&ctx)
}

pub(super) fn install(module: &mut Module) {
    FuncRegistration::new("session").set_into_module(module, session);
}
