//! `hob runs …`

use std::path::Path;

use hob_daemon::node::Purpose;
use hob_daemon::search::{self, Found, Wanted};
use hob_daemon::view;
use hob_journal::{Journal, JournalError, RunFilter};
use hob_model::{Code, Diagnostic, Position, RunId, RunOwner, RunStatus};
use hob_runs::{Fork, Migration, RunChoice, RunError, Runs};
use hob_terminal::{Cell, Column, Role, Table, human};

use super::history;
use crate::args::{ResolveChoice, RunsCommand};
use crate::context::{Context, Exit, Failure, Outcome};
use crate::{input, loader};

/// How many runs the prompt shows.
const RUNS_NEWEST: usize = 20;

/// `hob runs …`
pub(crate) fn dispatch(context: &Context, command: RunsCommand) -> Outcome {
    match command {
        RunsCommand::List { status, name, kind, since, until, tag, search, limit } => {
            let time = |text: Option<String>| text.map(|text| history::time(&text)).transpose();
            let (since, until) = (time(since)?, time(until)?);
            let status = statuses(&status)?;
            let filter =
                RunFilter { status, name, kind, since, until, limit: Some(limit), ..RunFilter::default() };
            list(context, filter, &Wanted { text: search, tags: tag })
        }
        RunsCommand::Show { run, position: None } => show(context, &run),
        RunsCommand::Show { run, position: Some(position) } => {
            history::show_position(context, &run, &parse_position(&position)?)
        }
        RunsCommand::Diff { a, b } => history::diff(context, &a, &b),
        RunsCommand::Export { run } => history::export(context, &run),
        RunsCommand::Import { file } => history::import(context, &file),
        RunsCommand::Check => check(context),
        RunsCommand::Migrate { run, to } => migrate(context, &run, &to),
        RunsCommand::Resume { run } => decide(context, &run, &Decision::Resume),
        RunsCommand::Retry { run, from_start } => decide(context, &run, &Decision::Retry { from_start }),
        RunsCommand::Fork { run, at, set, input } => {
            decide(context, &run, &Decision::Fork(fork(at, &set, input)?))
        }
        RunsCommand::Cancel { run, reason } => decide(context, &run, &Decision::Cancel(reason)),
        RunsCommand::Signal { run, name, payload } => {
            decide(context, &run, &Decision::Signal(name, input::json("the payload", &payload)?))
        }
        RunsCommand::Approve { run, position, deny, comment } => {
            let position = position.map(|text| parse_position(&text)).transpose()?;
            decide(context, &run, &Decision::Approve { position, yes: !deny, comment })
        }
        RunsCommand::Resolve { run, position, choice } => {
            decide(context, &run, &Decision::Resolve(parse_position(&position)?, parse_choice(&choice)?))
        }
    }
}

/// The newest runs; of a schedule or a workflow with this name, or the one run whose id begins like this.
pub(crate) fn newest(context: &Context, of: Option<&str>) -> Result<(), Failure> {
    let filter = RunFilter { name: of.map(str::to_owned), limit: Some(RUNS_NEWEST), ..RunFilter::default() };
    match of {
        Some(of) if context.read()?.runs(&filter)?.is_empty() => show(context, of).map(drop),
        _ => list(context, filter, &Wanted::default()).map(drop),
    }
}

/// What a person decides about a run.
pub(crate) enum Decision {
    /// Go on.
    Resume,
    /// Continue from the failed effect, or start anew.
    Retry {
        /// Start anew.
        from_start: bool,
    },
    /// Make another run of it.
    Fork(Fork),
    /// End it.
    Cancel(String),
    /// Send a signal.
    Signal(String, hob_model::Value),
    /// Answer an approval.
    Approve {
        /// Which, when there are several.
        position: Option<Position>,
        /// Yes or no.
        yes: bool,
        /// For people.
        comment: String,
    },
    /// Settle a doubt.
    Resolve(Position, RunChoice),
}

/// The run whose id begins with `prefix`.
pub(crate) fn find(journal: &dyn Journal, prefix: &str) -> Result<RunId, Failure> {
    if let Some(run) = RunId::parse(prefix) {
        return match journal.run(run)? {
            Some(row) => Ok(row.run),
            None => Err(RunError::NotFound(prefix.to_owned()).into()),
        };
    }
    let found = journal.runs_by_prefix(prefix, 6)?;
    match found.as_slice() {
        [] => Err(RunError::NotFound(prefix.to_owned()).into()),
        [run] => Ok(*run),
        _ => Err(RunError::Ambiguous { prefix: prefix.to_owned(), found }.into()),
    }
}

fn parse_position(text: &str) -> Result<Position, Failure> {
    Position::parse(text).map_err(|error| Failure::usage(error.to_string()))
}

fn parse_choice(choice: &ResolveChoice) -> Result<RunChoice, Failure> {
    match &choice.result {
        Some(json) => Ok(RunChoice::Result(input::json("--result", json)?)),
        None if choice.skip => Ok(RunChoice::Skip),
        None => Ok(RunChoice::Retry),
    }
}

fn fork(at: Option<String>, set: &[String], input: Option<String>) -> Result<Fork, Failure> {
    let read = |text: &String| {
        let (position, json) =
            text.split_once('=').ok_or_else(|| Failure::usage(format!("--set `{text}` has no `=`")))?;
        Ok((parse_position(position)?, input::json("--set", json)?))
    };
    let set: Vec<_> = set.iter().map(read).collect::<Result<_, Failure>>()?;
    let at = at
        .map(|text| parse_position(&text))
        .transpose()?
        .or_else(|| set.first().map(|(position, _)| position.clone()));
    if at.is_none() && input.is_none() {
        return Err(Failure::usage("say where to fork: --at POSITION, or what to change: --set, --input"));
    }
    Ok(Fork { at, set, input: input.map(|text| input::json("--input", &text)).transpose()? })
}

/// The colour of a state.
fn role(status: RunStatus) -> Role {
    match status {
        RunStatus::Succeeded => Role::Success,
        RunStatus::Failed => Role::Error,
        RunStatus::InDoubt | RunStatus::Paused | RunStatus::Interrupted => Role::Warning,
        RunStatus::Queued | RunStatus::Running | RunStatus::Waiting => Role::Name,
        RunStatus::Cancelled => Role::Muted,
    }
}

fn statuses(texts: &[String]) -> Result<Vec<RunStatus>, Failure> {
    let parse = |text: &String| {
        RunStatus::parse(text).ok_or_else(|| {
            let known: Vec<&str> = RunStatus::ALL.iter().map(|status| status.as_str()).collect();
            Failure::usage(format!("--status `{text}` is none of {}", known.join(", ")))
        })
    };
    texts.iter().map(parse).collect()
}

fn list(context: &Context, filter: RunFilter, wanted: &Wanted) -> Outcome {
    let journal = context.read()?;
    let Found { found: rows, stopped_at } = search::runs(&*journal, filter, wanted)?;
    if let Some(last) = stopped_at {
        let most = search::SEARCHED_RUNS_MAX;
        context.say(&format!(
            "looked into {most} runs, down to {last}; narrow it with --since, --name or --kind"
        ));
    }
    if context.global.json {
        context.print_json(&rows.iter().map(view::run_view).collect());
        return Ok(Exit::Done);
    }
    let now = hob_primitive::Clock::now(&hob_daemon::clock::SystemClock);
    let mut table = Table::new([
        Column::new("RUN"),
        Column::new("NAME"),
        Column::new("KIND"),
        Column::new("STATUS"),
        Column::number("ENTRIES"),
        Column::new("UPDATED"),
    ]);
    for row in &rows {
        let plain = |text: String| Cell::from(text);
        table.row([
            plain(row.run.to_string()),
            plain(row.name.clone()),
            plain(row.kind.clone()),
            Cell::new(role(row.status), row.status.as_str()),
            plain(row.entries.to_string()),
            plain(human::relative(row.updated, now)),
        ]);
    }
    if table.is_empty() {
        context.say("no runs");
    } else {
        context.print_line(table.render(context.out).trim_end());
    }
    Ok(Exit::Done)
}

fn show(context: &Context, prefix: &str) -> Outcome {
    let journal = context.read()?;
    let (row, mut detail) = history::detail(&*journal, prefix)?;
    view::name_living(&mut detail, crate::assemble::living);
    if context.global.json {
        context.print_json(&detail);
        return Ok(Exit::Done);
    }
    let text = |key: &str| detail[key].as_str().unwrap_or_default().to_owned();
    context.print_line(&format!(
        "{}  {}  {}\ncreated {}, updated {}",
        context.out.paint(Role::Name, &text("run")),
        text("name"),
        context.out.paint(role(row.status), row.status.as_str()),
        text("created"),
        text("updated"),
    ));
    let mut table =
        Table::new(["SEQ", "POSITION", "OPERATION", "CLASS", "STATUS", "SOURCE", "RESULT"].map(Column::new));
    for entry in detail["entries"].as_array().into_iter().flatten() {
        let text = |key: &str| entry[key].as_str().unwrap_or_default().to_owned();
        let operation = history::operation(entry);
        let result = result_of(entry);
        table.row([
            entry["seq"].to_string(),
            text("position"),
            operation,
            text("class"),
            text("status"),
            text("source"),
            result,
        ]);
    }
    if !table.is_empty() {
        context.print_line(&format!("\n{}", table.render(context.out).trim_end()));
    }
    for (key, role) in [("output", Role::Success), ("error", Role::Error)] {
        if !detail[key].is_null() {
            context.print_line(&format!("\n{} {}", context.out.paint(role, key), detail[key]));
        }
    }
    Ok(Exit::Done)
}

/// What an entry came to, what it waits for, or what is known while its outcome is not.
pub(super) fn result_of(entry: &serde_json::Value) -> String {
    let living = entry["living"].as_array().map(Vec::as_slice).unwrap_or_default();
    if !living.is_empty() {
        let pids: Vec<String> = living.iter().map(ToString::to_string).collect();
        return format!("still running: process {}", pids.join(", "));
    }
    if let (Some(kind), Some(what)) = (entry["wait"]["for"].as_str(), entry["wait"]["what"].as_str()) {
        return format!("waits for {kind} {what}").trim_end().to_owned();
    }
    match if entry["error"].is_null() { &entry["result"] } else { &entry["error"]["message"] } {
        serde_json::Value::Null => String::new(),
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Carries out a decision: here, following the run until it is settled, or by the process that holds the state.
fn decide(context: &Context, prefix: &str, decision: &Decision) -> Outcome {
    let journal = match context.open() {
        Ok(journal) => journal,
        Err(JournalError::Locked { .. }) => return super::remote::decide(context, prefix, decision),
        Err(error) => return Err(error.into()),
    };
    let node = super::run::node(journal, vec![], Purpose::Act)?;
    node.recover(false)?;
    let run = node.runs.find(prefix)?;
    let followed = apply(&node.runs, run, decision)?;
    if followed != run {
        context.print_line(&followed.to_string());
    }
    let _guard = super::interrupt::cancel_on_signal(&node, followed);
    let status = node.follow(followed)?;
    node.close(std::time::Duration::from_secs(5));
    if context.global.json {
        context.print_json(&view::run_summary(&node.runs.row(followed)?));
    } else if !status.ended() {
        context.say(&super::run::parked(followed, status));
    } else {
        context.say(&format!("run {followed} {status}"));
    }
    // The command was carried out; how the run went on is told, and fails only what was to go on.
    let continues = matches!(decision, Decision::Resume | Decision::Retry { .. } | Decision::Fork(_));
    Ok(match status {
        RunStatus::Failed | RunStatus::Cancelled if continues => Exit::Failed,
        status if continues && !status.ended() => Exit::Waiting,
        _ => Exit::Done,
    })
}

/// Carries out a decision on `runs`; gives the run that goes on.
fn apply(runs: &Runs, run: RunId, decision: &Decision) -> Result<RunId, Failure> {
    match decision {
        Decision::Resume => runs.resume(run)?,
        Decision::Retry { from_start: false } => drop(runs.retry(run)?),
        Decision::Retry { from_start: true } => {
            return Ok(runs.fork(run, &Fork::from_start(), RunOwner::Foreground)?);
        }
        Decision::Fork(fork) => return Ok(runs.fork(run, fork, RunOwner::Foreground)?),
        Decision::Cancel(reason) => runs.cancel(run, reason)?,
        Decision::Signal(name, payload) => runs.signal(run, name, payload.clone())?,
        Decision::Approve { position, yes, comment } => {
            runs.approve(run, position.as_ref(), *yes, comment)?
        }
        Decision::Resolve(position, choice) => {
            runs.resolve(run, position, choice.clone(), "cli", crate::assemble::living)?;
        }
    }
    Ok(run)
}

fn migrate(context: &Context, prefix: &str, to: &Path) -> Outcome {
    let reader = context.read()?;
    let run = find(&*reader, prefix)?;
    let row = reader.run(run)?.ok_or_else(|| Failure::from(RunError::NotFound(prefix.to_owned())))?;
    let old = row.bundle.ok_or_else(|| Failure::usage("a run without a script has nothing to migrate"))?;
    let root = reader.bundle(old)?.map(|record| record.root).unwrap_or_default();
    let loaded = loader::load(&to.join(&root).to_string_lossy())?;
    let journal = match context.open() {
        Ok(journal) => journal,
        Err(JournalError::Locked { .. }) => {
            let verdict = super::remote::migrate(context, run, &loaded.bundle)?;
            if verdict["fits"] == serde_json::Value::Bool(true) {
                context.say(&format!("run {run} goes on with the sources in {}", to.display()));
                return Ok(Exit::Done);
            }
            let text = |key: &str| verdict[key].as_str().unwrap_or_default().to_owned();
            let position = Position::parse(&text("position")).unwrap_or_else(|_| Position::root());
            return Err(differs(run, &hob_engine::run_cx::Difference { position, message: text("message") }));
        }
        Err(error) => return Err(error.into()),
    };
    let node = super::run::node(journal, vec![], Purpose::Act)?;
    node.recover(false)?;
    match node.runs.migrate(run, &loaded.bundle)? {
        Migration::Fits => {
            context.say(&format!("run {run} goes on with the sources in {}", to.display()));
            node.close(std::time::Duration::from_secs(5));
            Ok(Exit::Done)
        }
        Migration::Differs(difference) => Err(differs(run, &difference)),
    }
}

fn differs(run: RunId, difference: &hob_engine::run_cx::Difference) -> Failure {
    Diagnostic::error(
        Code::ReplayDiffers,
        format!("run {run} differs at {}: {}", difference.position, difference.message),
    )
    .hint("nothing was changed; the run keeps its sources")
    .into()
}

fn check(context: &Context) -> Outcome {
    let journal = match context.open() {
        Ok(journal) => journal as std::sync::Arc<dyn Journal>,
        Err(JournalError::Locked { .. }) => context.read()?,
        Err(error) => return Err(error.into()),
    };
    let node = super::run::node(journal, vec![], Purpose::Look)?;
    let checked = node.runs.check_live()?;
    let mut failures = Vec::new();
    for (run, migration) in &checked {
        if let Migration::Differs(difference) = migration {
            failures.extend(differs(*run, difference).diagnostics);
        }
    }
    if failures.is_empty() {
        context.say(&format!(
            "{} replay on this hob",
            human::counted(checked.len() as u64, "live run", "live runs")
        ));
        Ok(Exit::Done)
    } else {
        Err(Failure { diagnostics: failures, sources: Default::default(), exit: Exit::Failed })
    }
}
