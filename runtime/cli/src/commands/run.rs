//! `hob run` and `hob eval`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hob_daemon::clock::SystemClock;
use hob_daemon::http::Waiters;
use hob_daemon::node::{Node, NodeParts, Purpose};
use hob_daemon::performer::AsyncCore;
use hob_daemon::playbook::Playbook;
use hob_engine::Permissions;
use hob_journal::{Journal, JournalError, MemoryJournal};
use hob_model::{Code, Diagnostic, OnDoubt, RunEnd, RunId, RunOwner, RunStatus, Value};
use hob_primitive::Clock;
use hob_runs::{Listener, Runs};

use crate::args::{EvalArgs, PermissionArgs, RunArgs};
use crate::context::{Context, Exit, Failure, Outcome, cwd};
use crate::loader::{self, Loaded};
use crate::watch::Watch;
use crate::{assemble, input};

/// How long a process that was told to end waits for effects under way to come to their outcome.
pub(crate) const LEAVE_GRACE: Duration = Duration::from_secs(5);

/// `hob run`
pub(crate) fn run(context: &Context, args: &RunArgs) -> Outcome {
    let value = input::run_input(args)?;
    let on_doubt = input::on_doubt(&args.on_doubt)?;
    if !is_script(&args.target) {
        return run_workflow(context, args, &value);
    }
    if args.until.is_some() {
        let hint = "put the part in a function, or make it a workflow";
        return Err(Diagnostic::error(Code::Usage, "--until is for workflows; a script is run to its end")
            .hint(hint)
            .into());
    }
    let loaded = loader::load(&args.target)?;
    let name = Path::new(&args.target)
        .file_stem()
        .map_or_else(|| "stdin".to_owned(), |stem| stem.to_string_lossy().into_owned());
    let playbook = playbook(&loaded, name, value, on_doubt, &args.permissions, args.detach)?;
    start(context, &playbook, args.dry_run, args.detach)
}

/// `hob eval`
pub(crate) fn eval(context: &Context, args: &EvalArgs) -> Outcome {
    let mut loaded = loader::check("eval.rhai", &args.expression, &cwd().to_string_lossy())?;
    // The person who typed the expression is the caller.
    loaded.trusted = true;
    let playbook = playbook(
        &loaded,
        "eval".to_owned(),
        Value::Map(Default::default()),
        OnDoubt::Ask,
        &args.permissions,
        false,
    )?;
    start(context, &playbook, args.dry_run, false)
}

/// Whether the target names a script and not a workflow.
fn is_script(target: &str) -> bool {
    target == "-" || target.ends_with(".rhai") || target.contains('/') || Path::new(target).is_file()
}

pub(super) fn playbook(
    loaded: &Loaded,
    name: String,
    input: Value,
    on_doubt: OnDoubt,
    permissions: &PermissionArgs,
    detach: bool,
) -> Result<Playbook, Failure> {
    let mut permitted = Permissions {
        allow: input::permissions("--allow", &permissions.allow)?,
        deny: input::permissions("--deny", &permissions.deny)?,
        trusted: loaded.trusted,
    };
    loaded.settings.narrow(&loaded.bundle.record.root, &mut permitted);
    Ok(Playbook {
        name,
        bundle: Arc::clone(&loaded.bundle),
        input,
        owner: if detach { RunOwner::Daemon } else { RunOwner::Foreground },
        cwd: cwd().to_string_lossy().into_owned(),
        env: input::environment(permissions)?,
        allow: permitted.allow,
        deny: permitted.deny,
        trusted: permitted.trusted,
        on_doubt,
    })
}

/// Runs a playbook: here, or by the process that holds the state directory.
pub(super) fn start(context: &Context, playbook: &Playbook, dry: bool, detach: bool) -> Outcome {
    if dry {
        return here(context, playbook, Arc::new(MemoryJournal::default()), Purpose::Rehearse);
    }
    match context.open() {
        Ok(journal) if detach => {
            let node = node(journal, vec![], Purpose::Look)?;
            let id = playbook.record(&node.runs)?;
            context.print_line(&id.to_string());
            context.say("recorded; it begins when `hob up` serves this state directory");
            Ok(Exit::Done)
        }
        Ok(journal) => here(context, playbook, journal, Purpose::Act),
        Err(JournalError::Locked { .. }) => super::remote::playbook(context, playbook, detach),
        Err(error) => Err(error.into()),
    }
}

/// A node over `journal` with everything this binary can do.
///
/// # Errors
/// When the system gives no thread.
pub(crate) fn node(
    journal: Arc<dyn Journal>,
    listeners: Vec<Arc<dyn Listener>>,
    purpose: Purpose,
) -> Result<Node, Failure> {
    let parts = NodeParts {
        journal,
        registry: assemble::registry(),
        ports: assemble::ports(),
        core: AsyncCore::default(),
        listeners,
        purpose,
    };
    Node::new(parts).map_err(|error| {
        Diagnostic::error(Code::StateUnusable, format!("no thread can be started: {error}")).into()
    })
}

/// Runs a playbook in this process.
fn here(context: &Context, playbook: &Playbook, journal: Arc<dyn Journal>, purpose: Purpose) -> Outcome {
    let id = RunId::new(SystemClock.now(), hob_daemon::clock::entropy());
    let loudness = if context.global.quiet { 0 } else { 1 + context.global.verbose };
    let watch = Watch::new(id, context.err, loudness);
    let waiters = Arc::new(Waiters::default());
    let listeners = vec![Arc::clone(&watch) as Arc<dyn Listener>, Arc::clone(&waiters) as Arc<dyn Listener>];
    let node = node(journal, listeners, purpose)?;
    node.recover(false)?;
    let guard = super::interrupt::cancel_on_signal(&node, id);
    let served = (purpose == Purpose::Act).then(|| super::serve::beside(context, &node, waiters));
    playbook.start(&node.runs, id)?;
    let followed = node.follow(id);
    watch.finish();
    drop((guard, served));
    let status = followed?;
    node.close(LEAVE_GRACE);
    conclude(context, &node.runs, id, status, watch.failures(), playbook)
}

/// Prints what a run came to.
fn conclude(
    context: &Context,
    runs: &Runs,
    id: RunId,
    status: RunStatus,
    diagnostics: Vec<Diagnostic>,
    playbook: &Playbook,
) -> Outcome {
    let row = runs.row(id)?;
    if context.global.json {
        context.print_json(&hob_daemon::view::run_summary(&row));
    }
    match (&row.end, status) {
        (Some(RunEnd::Succeeded(value)), _) => {
            if !context.global.json {
                print_value(context, value)?;
            }
            Ok(Exit::Done)
        }
        (Some(RunEnd::Carried(successor)), _) => {
            context.say(&format!("the run goes on as {successor}"));
            Ok(Exit::Done)
        }
        (Some(RunEnd::Failed(error)), _) => {
            let sources =
                playbook.bundle.files().map(|(path, text)| (path.to_owned(), Arc::clone(text))).collect();
            let diagnostics = if diagnostics.is_empty() {
                vec![Diagnostic::error(Code::OperationFailed, error.to_string())]
            } else {
                diagnostics
            };
            Err(Failure { diagnostics, sources, exit: Exit::Failed })
        }
        (Some(RunEnd::Cancelled), _) => {
            context.say("cancelled");
            Ok(Exit::Failed)
        }
        (None, status) => {
            context.say(&parked(id, status));
            Ok(Exit::Waiting)
        }
    }
}

/// What to do about a run that does not go on by itself.
#[must_use]
pub(crate) fn parked(id: RunId, status: RunStatus) -> String {
    let next = match status {
        RunStatus::Waiting => "it waits; `hob runs show` says for what, `hob runs signal|approve` answers",
        RunStatus::InDoubt => "an effect's outcome is unknown; `hob runs resolve` settles it",
        RunStatus::Paused => "a replay differed; `hob runs migrate` or `hob runs cancel`",
        _ => "`hob runs resume` goes on with it",
    };
    format!("run {id} is {status}: {next}")
}

/// Prints the value of a run: texts as they are, `()` as nothing, other things as a table or tree.
///
/// # Errors
/// When it has no JSON form, as runs of older versions may have given.
pub(crate) fn print_value(context: &Context, value: &Value) -> Result<(), Failure> {
    match value {
        Value::Unit => {}
        Value::String(text) => context.print_line(text),
        Value::Array(_) | Value::Map(_) if context.out.width_columns.is_some() => {
            context.print_line(hob_terminal::records::render(value, context.out).trim_end());
        }
        other => {
            let json = other.to_json().map_err(|error| {
                Diagnostic::error(Code::NotJournalable, format!("the value of the run: {error}"))
            })?;
            context.print_line(&json.to_string());
        }
    }
    Ok(())
}

/// Starts a workflow of the homelab that is served, and follows it.
fn run_workflow(context: &Context, args: &RunArgs, input: &Value) -> Outcome {
    if Path::new(&args.target).is_dir() {
        let what = format!("`{}` is a directory; name a script in it, or a workflow", args.target);
        let hint = format!("`hob up {}` serves the homelab there", args.target);
        return Err(Diagnostic::error(Code::Usage, what).hint(hint).into());
    }
    if args.dry_run {
        return Err(Failure::usage(
            "a workflow is dry-run from its homelab's directory: not available yet; give a script",
        ));
    }
    super::remote::workflow(context, &args.target, input, args.until.as_deref(), args.detach).map_err(
        |mut failure| {
            for problem in failure.diagnostics.iter_mut().filter(|problem| problem.code == Code::NoDaemon) {
                problem.notes.push(format!(
                    "there is no file `{}`, so it was taken for a workflow of the homelab that is served",
                    args.target
                ));
            }
            failure
        },
    )
}
