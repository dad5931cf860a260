//! `session()`: a run whose script comes as it is typed.
//!
//! Each input is a signal, and so is durable before anything of it happens. It is evaluated in a step of its own, with
//! the variables of the inputs before it; an error ends the input and not the session. A session that was cut short
//! goes on as each run does: it is evaluated again from its first input, with the outcomes of its effects.

use std::collections::BTreeMap;
use std::sync::Arc;

use hob_model::{Diagnostic, EntryKind, OpError, Value};
use rhai::{AST, Dynamic, EvalAltResult, FuncRegistration, Module, NativeCallContext, Scope};

use super::recorded::{Thrown, misuse};
use crate::branch::{BranchCx, BranchHandle, branch_of, source_of, within};
use crate::bundle::Bundle;
use crate::convert::{RhaiResult, to_value};
use crate::diagnose::{Scripts, error_value, eval_error};
use crate::run_cx::{Mode, RunCx, lock};

/// The signal that carries an input: a map with the key `text`. A payload without it ends the session.
pub const INPUT_SIGNAL: &str = "input";
/// The name of the step that an input is evaluated in.
pub const INPUT_STEP: &str = "input";
/// The variable that holds the value of the last input that had one.
pub const LAST: &str = "last";
/// The detail of an input's error that says where it is and how it is explained: [`problem_of`] reads it.
const PROBLEM: &str = "problem";

/// What lives as long as the session is evaluated.
struct Session {
    root: Arc<BranchCx>,
    bundle: Arc<Bundle>,
    scope: Scope<'static>,
    /// The functions and closures of all inputs.
    functions: AST,
    /// The inputs, by the name they have as a source.
    texts: BTreeMap<String, Arc<str>>,
}

/// The name that the n-th input, from 1, has as a source.
#[must_use]
pub fn input_name(number: usize) -> String {
    format!("input {number}")
}

impl Session {
    /// Evaluates inputs until the session ends, or waits for the next.
    fn go(&mut self, ctx: &NativeCallContext<'_>) -> RhaiResult {
        for number in 1.. {
            let mut signal: Dynamic = INPUT_SIGNAL.into();
            let input = ctx.call_native_fn_raw("wait_signal", true, &mut [&mut signal])?;
            let text =
                input.read_lock::<rhai::Map>().and_then(|map| map.get("text")?.clone().into_string().ok());
            match text {
                Some(text) => self.input(ctx, number, &text)?,
                None => break,
            }
        }
        Ok(self.scope.get_value(LAST).unwrap_or_default())
    }

    /// Evaluates one input in a step of its own; fails only when the whole evaluation must end.
    fn input(&mut self, ctx: &NativeCallContext<'_>, number: usize, text: &str) -> Result<(), Thrown> {
        let position = self.root.next_step(INPUT_STEP);
        self.root.check_aim(&position, &source_of(ctx))?;
        let branch = self.root.open_step(position.clone());
        let result = self.evaluate(&branch, number, text);
        branch.close();
        if branch.compensates() {
            self.root.mark_compensates();
        }
        self.root.check()?;
        let run = &self.root.run;
        let known = lock(&run.records).steps.contains_key(position.as_str());
        if let Ok(value) = &result
            && !value.is_unit()
        {
            self.scope.set_value(LAST, value.clone());
        }
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

    fn evaluate(&mut self, branch: &Arc<BranchCx>, number: usize, text: &str) -> Result<Dynamic, OpError> {
        let name = input_name(number);
        self.texts.insert(name.clone(), text.into());
        let host = &self.root.run.host;
        let tag = Dynamic::from(BranchHandle(Arc::clone(branch)));
        let engine = crate::evaluate::engine_for(host, &self.bundle, tag);
        let result: Result<Dynamic, Box<EvalAltResult>> = match engine.compile_with_scope(&self.scope, text) {
            Err(error) => Err(error.into()),
            Ok(mut ast) => {
                ast.set_source(&name);
                let mut program = self.functions.merge(&ast);
                program.set_source(&name);
                self.functions = self.functions.merge(&ast.clone_functions_only());
                within(branch, || engine.eval_ast_with_scope(&mut self.scope, &program))
            }
        };
        result.map_err(|error| {
            let text = |file: &str| self.texts.get(file).cloned().or_else(|| self.bundle.text(file));
            let scripts = Scripts { root: &name, text: &text, engine: &engine, registry: &host.registry };
            with_problem(error_value(&error), &eval_error(&error, &scripts))
        })
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
    let mut scope = Scope::new();
    scope.push_dynamic(LAST, Dynamic::UNIT);
    let functions = AST::empty();
    Session { root, bundle, scope, functions, texts: BTreeMap::new() }.go(&ctx)
}

pub(super) fn install(module: &mut Module) {
    FuncRegistration::new("session").set_into_module(module, session);
}
