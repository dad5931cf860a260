//! Evaluating: one pass over a run's script, from the top, with its records.

use std::sync::Arc;

use hob_journal::JournalError;
use hob_model::{Diagnostic, EntryKind, OpError, Position, RunEnd, RunEntry, RunStatus, Value};
use hob_primitive::Registry;
use rhai::{Dynamic, Engine, EvalAltResult, Module, ModuleResolver, Scope, Shared};

use crate::branch::{BranchCx, BranchHandle, DeclaringHandle, within};
use crate::bundle::{Bundle, module_file};
use crate::compensate::{Closure, Compensated, run_all};
use crate::convert::{captures_digest, to_dynamic, to_value};
use crate::declare::{Declarations, Declared, Declaring};
use crate::host::Host;
use crate::language::{Limits, new_engine};
use crate::latch::{Halt, Latch, on_fresh_flag};
use crate::progress::{effect_reached, on_progress};
use crate::run_cx::{Difference, Mode, RunCx, lock};

/// The stack of a thread that evaluates scripts, in bytes: recursion must meet hob's limit before the guard page.
pub const SCRIPT_STACK_BYTES: usize = 16 * 1024 * 1024;

/// What one pass over a run came to.
#[derive(Debug)]
pub enum Evaluated {
    /// The script ended with this value.
    Succeeded(Value),
    /// The script ended with this error.
    Failed {
        /// What scripts and the journal see.
        error: OpError,
        /// What people see: with places and the call trace.
        diagnostic: Diagnostic,
        /// Whether compensations ran, so that the run cannot be continued any more.
        compensated: bool,
    },
    /// Each branch waits (`waiting`), or a person must decide (`in_doubt`).
    Suspended(RunStatus),
    /// A replayed call differs from its record.
    Paused(Difference),
    /// A cancel was asked for and taken.
    Cancelled {
        /// Whether compensations ran.
        compensated: bool,
    },
    /// `carry` was called.
    Carried {
        /// The successor's input.
        state: Value,
        /// Whether it keeps the bundle.
        pin: bool,
    },
    /// The journal cannot be written any more: nothing more was done.
    Stopped(JournalError),
    /// The process is about to end: the run goes on when hob starts again.
    Left,
    /// A verifying pass met no difference; with the end, where the script came to it before the end of the records.
    Verified(Option<RunEnd>),
}

/// An engine that parses scripts, for collecting bundles and for checks.
///
/// It knows every name: under strict variables an unknown namespace does not compile.
#[must_use]
pub fn parsing_engine(registry: &Registry) -> Engine {
    let mut engine = new_engine(&Limits::default());
    crate::library::Library::new(registry).add_to(&mut engine);
    engine
}

/// An engine with all names, for evaluating scripts of `bundle`.
pub(crate) fn engine_for(host: &Host, bundle: &Arc<Bundle>, tag: Dynamic) -> Engine {
    let mut engine = new_engine(&Limits::default());
    host.library.add_to(&mut engine);
    engine.set_default_tag(tag);
    engine.set_module_resolver(BundleResolver(Arc::clone(bundle)));
    engine.on_progress(on_progress);
    engine.on_print(crate::control::print);
    engine.on_debug(|text, _, _| crate::control::print(text));
    engine
}

/// Finds imported modules in the bundle. A module is evaluated once per process; nothing in it acts or observes.
struct BundleResolver(Arc<Bundle>);

impl ModuleResolver for BundleResolver {
    fn resolve(
        &self,
        engine: &Engine,
        source: Option<&str>,
        path: &str,
        at: rhai::Position,
    ) -> Result<Shared<Module>, Box<EvalAltResult>> {
        let file = module_file(source.unwrap_or_default(), path);
        if let Some(module) = crate::run_cx::lock(&self.0.modules).get(&file) {
            return Ok(Shared::clone(module));
        }
        let not_found = || Box::new(EvalAltResult::ErrorModuleNotFound(path.to_owned(), at));
        let program = self.0.program(engine, &file, &[]).map_err(|_| not_found())?;
        let mut global = engine.new_global_runtime_state();
        let declares = global.tag.is::<DeclaringHandle>();
        if !declares {
            global.tag = Dynamic::from(DeclaringHandle(Declaring::refusing(Arc::clone(&self.0))));
        }
        global.source = Some(file.as_str().into());
        let module = Module::eval_ast_as_new_raw(engine, &mut Scope::new(), &mut global, &program)
            .map_err(|error| Box::new(EvalAltResult::ErrorInModule(file.clone(), error, at)))?;
        let module: Shared<Module> = module.into();
        crate::run_cx::lock(&self.0.modules).insert(file, Shared::clone(&module));
        Ok(module)
    }
}

/// The declarations of the bundle's homelab, evaluated once per process.
///
/// # Errors
/// When the script does not parse or throws.
pub fn declarations(host: &Host, bundle: &Arc<Bundle>) -> Result<Arc<Declarations>, Diagnostic> {
    let evaluate = || {
        let declaring = Declaring::collecting(Arc::clone(bundle));
        let engine = engine_for(host, bundle, Dynamic::from(DeclaringHandle(Arc::clone(&declaring))));
        let program = bundle.program(&engine, &bundle.record.root, &[])?;
        effect_reached();
        on_fresh_flag(|| engine.run_ast(&program))
            .map_err(|error| diagnosed(&error, bundle, &engine, host))?;
        let declared = declaring.take();
        declared
            .map(Arc::new)
            .map_err(|error| Diagnostic::error(hob_model::Code::BadDeclaration, error.message))
    };
    bundle.declared.get_or_init(evaluate).clone()
}

/// Calls a function that a declaration holds at `path`, as a part of no run: it computes, and neither acts nor observes.
/// None where there is no such function.
///
/// # Errors
/// What it throws.
#[must_use]
pub fn call_declared(
    host: &Host,
    bundle: &Arc<Bundle>,
    declared: &Declared,
    path: &str,
    args: &[Value],
) -> Option<Result<Value, OpError>> {
    let function = declared.function(path)?;
    let tag = || Dynamic::from(DeclaringHandle(Declaring::refusing(Arc::clone(bundle))));
    let engine = engine_for(host, bundle, tag());
    let args: Vec<Dynamic> = args.iter().cloned().map(to_dynamic).collect();
    effect_reached();
    let called = on_fresh_flag(|| function.call(&engine, tag(), &args));
    Some(called.map_err(|error| crate::diagnose::error_value(&error)).and_then(|value| to_value(&value)))
}

/// Evaluates `run` once: until it ends, suspends, or must not go on.
///
/// The calling thread needs a stack of [`SCRIPT_STACK_BYTES`].
pub fn evaluate(run: &Arc<RunCx>) -> Evaluated {
    evaluate_with(run, |_| ())
}

/// As [`evaluate`], with an engine that `prepare` has changed.
pub(crate) fn evaluate_with(run: &Arc<RunCx>, prepare: impl FnOnce(&mut Engine)) -> Evaluated {
    let Some(bundle) = run.bundle.clone() else {
        let error = OpError::failed("a run without a bundle has no script to evaluate");
        return failed(error, hob_model::Code::ScriptFailed);
    };
    let root = BranchCx::root(run);
    let mut engine = engine_for(&run.host, &bundle, Dynamic::from(BranchHandle(Arc::clone(&root))));
    prepare(&mut engine);
    let flow = match crate::flow::of(run, &bundle) {
        Ok(flow) => flow,
        Err(error) => return failed(error, hob_model::Code::BadDeclaration),
    };
    if let Some(flow) = &flow {
        flow.install(&mut engine);
    }
    let entry = || match &flow {
        Some(_) => Ok(crate::flow::Running::evaluate(&bundle, &engine)?),
        None => evaluate_entry(run, &bundle, &engine, &root),
    };
    let result = on_fresh_flag(|| within(&root, entry));
    // A function turned into text by the very last expression is noticed here, where no operation follows.
    let result = match crate::language::interruption() {
        Some(token) => Err(Box::new(EvalAltResult::ErrorTerminated(token, rhai::Position::NONE)).into()),
        None => result,
    };
    let evaluated = conclude(run, &bundle, &engine, &root, result);
    // An unsettled stop outranks whatever the script made of it.
    match run.stopped() {
        Some(error) => Evaluated::Stopped(error),
        None => evaluated,
    }
}

fn evaluate_entry(
    run: &RunCx,
    bundle: &Arc<Bundle>,
    engine: &Engine,
    root: &Arc<BranchCx>,
) -> Result<Dynamic, Ended> {
    let input = to_dynamic(run.started.input.clone());
    match &run.started.entry {
        RunEntry::Playbook(path) => {
            let program = bundle.program(engine, path, &["input"])?;
            let mut scope = Scope::new();
            scope.push_constant_dynamic("input", input);
            Ok(engine.eval_ast_with_scope::<Dynamic>(&mut scope, &program)?)
        }
        RunEntry::Declared { kind, name } => {
            let declared = declarations(&run.host, bundle)?;
            // `service.update.before` is the function at `update.before` of a service.
            let (of, path) = kind.split_once('.').unwrap_or((kind, ""));
            let found = declared.find(of, name);
            let body = found.and_then(|found| found.function(path)).ok_or_else(|| {
                OpError::not_found(format!("the bundle declares no {kind} `{name}` with a body"))
            })?;
            compare_captures(root, bundle, body)?;
            Ok(body.call(engine, Dynamic::from(BranchHandle(Arc::clone(root))), &[input])?)
        }
        RunEntry::Native(name) => Err(Ended::Refused(OpError::failed(format!("`{name}` is not a script")))),
    }
}

/// Has what the closure captured recorded, or compares it with the record: the same sources give the same values, or hob
/// has a bug.
fn compare_captures(root: &BranchCx, bundle: &Bundle, body: &Closure) -> Result<(), Box<EvalAltResult>> {
    let run = &root.run;
    let Some(values) = captures_digest(&body.function) else {
        return Ok(());
    };
    let bundle = bundle.digest();
    let recorded = lock(&run.records).captured.filter(|(of, _)| *of == bundle);
    match recorded {
        Some((_, recorded)) if recorded == values => Ok(()),
        Some(_) => {
            let message = "the declaration captured other values than when the run began".to_owned();
            Err(root.differ(&Position::root(), message))
        }
        None => {
            if run.mode == Mode::Live {
                lock(&run.records).captured = Some((bundle, values));
                run.append(vec![EntryKind::Captured { bundle, values }], vec![]);
            }
            Ok(())
        }
    }
}

/// Why the evaluation of a script of `bundle` ended, for people.
fn diagnosed(error: &EvalAltResult, bundle: &Bundle, engine: &Engine, host: &Host) -> Diagnostic {
    let text = |file: &str| bundle.text(file);
    let (root, registry) = (&*bundle.record.root, &*host.registry);
    crate::diagnose::eval_error(error, &crate::diagnose::Scripts { root, text: &text, engine, registry })
}

/// Why an evaluation gave no value.
enum Ended {
    Thrown(Box<EvalAltResult>),
    Diagnosed(Diagnostic),
    Refused(OpError),
}

impl From<Box<EvalAltResult>> for Ended {
    fn from(error: Box<EvalAltResult>) -> Self {
        Self::Thrown(error)
    }
}

impl From<Diagnostic> for Ended {
    fn from(diagnostic: Diagnostic) -> Self {
        Self::Diagnosed(diagnostic)
    }
}

impl From<OpError> for Ended {
    fn from(error: OpError) -> Self {
        Self::Refused(error)
    }
}

/// Makes of the evaluation's result, and of the latch that outranks it, what the pass came to.
fn conclude(
    run: &Arc<RunCx>,
    bundle: &Bundle,
    engine: &Engine,
    root: &Arc<BranchCx>,
    result: Result<Dynamic, Ended>,
) -> Evaluated {
    if let Some(halt) = root.latch.get() {
        return match halt {
            Halt::Cancelled if run.mode == Mode::Verify => Evaluated::Verified(None),
            Halt::Cancelled => compensate(run, engine, Evaluated::Cancelled { compensated: false }),
            Halt::Reached(value) => ended_well(run, engine, value.clone()),
            other => halted(run, other),
        };
    }
    if let Some(difference) = cut_short(run, root) {
        run.differ(difference.clone());
        return Evaluated::Paused(difference);
    }
    let evaluated = match result {
        Ok(value) => match output(&value) {
            Ok(value) => Evaluated::Succeeded(value),
            Err(error) => failed(error, hob_model::Code::NotJournalable),
        },
        Err(Ended::Thrown(error)) => Evaluated::Failed {
            diagnostic: diagnosed(&error, bundle, engine, &run.host),
            error: crate::diagnose::error_value(&error),
            compensated: false,
        },
        Err(Ended::Diagnosed(diagnostic)) => {
            let error = OpError::invalid(diagnostic.message.clone());
            Evaluated::Failed { error, diagnostic, compensated: false }
        }
        Err(Ended::Refused(error)) => failed(error, hob_model::Code::ScriptFailed),
    };
    match evaluated {
        Evaluated::Succeeded(value) => ended_well(run, engine, value),
        Evaluated::Failed { error, .. } if run.mode == Mode::Verify => {
            Evaluated::Verified(Some(RunEnd::Failed(error)))
        }
        evaluated => compensate(run, engine, evaluated),
    }
}

fn ended_well(run: &Arc<RunCx>, engine: &Engine, value: Value) -> Evaluated {
    match run.mode {
        Mode::Verify => Evaluated::Verified(Some(RunEnd::Succeeded(value))),
        _ => compensate(run, engine, Evaluated::Succeeded(value)),
    }
}

/// What a run gives: it is recorded, and goes out as JSON.
fn output(value: &Dynamic) -> Result<Value, OpError> {
    let under =
        |error: OpError| OpError { message: format!("the value of the run: {}", error.message), ..error };
    let value = to_value(value).map_err(under)?;
    match value.to_json() {
        Ok(_) => Ok(value),
        Err(error) => Err(under(OpError::invalid(error.to_string()).hint(
            "look with is_nan(), is_finite() or is_infinite() what a division gave, and give () instead",
        ))),
    }
}

fn failed(error: OpError, code: hob_model::Code) -> Evaluated {
    let mut diagnostic = Diagnostic::error(code, error.message.clone());
    diagnostic.hint.clone_from(&error.hint);
    Evaluated::Failed { error, diagnostic, compensated: false }
}

fn halted(run: &RunCx, halt: &Halt) -> Evaluated {
    match halt {
        Halt::Suspended if !lock(&run.doubts).is_empty() => Evaluated::Suspended(RunStatus::InDoubt),
        Halt::Suspended => Evaluated::Suspended(RunStatus::Waiting),
        Halt::Cancelled => Evaluated::Cancelled { compensated: false },
        Halt::Paused => Evaluated::Paused(run.difference().unwrap_or_else(|| Difference {
            position: Position::root(),
            message: "the replay differs from the record".to_owned(),
        })),
        Halt::Stopped => Evaluated::Stopped(
            run.stopped().unwrap_or_else(|| JournalError::Stopped("a write failed".to_owned())),
        ),
        Halt::Carried { state, pin } => Evaluated::Carried { state: state.clone(), pin: *pin },
        Halt::Reached(value) => Evaluated::Succeeded(value.clone()),
        Halt::Left => Evaluated::Left,
        Halt::EndOfRecord => Evaluated::Verified(None),
    }
}

/// Whether the script ended although the record goes on.
fn cut_short(run: &RunCx, root: &BranchCx) -> Option<Difference> {
    if run.is_cancelled() {
        return None;
    }
    let (n, record) = root.unreached()?;
    let message = format!(
        "the script ended, and the record goes on with {} at {}",
        if record.operation.is_empty() { "an effect" } else { &record.operation },
        record.source
    );
    Some(Difference { position: root.position.effect(n), message })
}

/// Runs the compensations that `evaluated` calls for.
fn compensate(run: &Arc<RunCx>, engine: &Engine, evaluated: Evaluated) -> Evaluated {
    let bad = !matches!(evaluated, Evaluated::Succeeded(_));
    let ran = match run_all(run, engine, bad) {
        (Compensated::Done(count), _) => count > 0,
        (Compensated::Halted, latch) => {
            let halt = latch.as_deref().and_then(Latch::get).cloned().unwrap_or(Halt::Suspended);
            return halted(run, &halt);
        }
    };
    match evaluated {
        Evaluated::Failed { error, diagnostic, .. } => {
            Evaluated::Failed { error, diagnostic, compensated: ran }
        }
        Evaluated::Cancelled { .. } => Evaluated::Cancelled { compensated: ran },
        other => other,
    }
}
