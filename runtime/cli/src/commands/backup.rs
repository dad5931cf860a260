//! `hob backup status|init|run|list|restore|check|verify`

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hob_daemon::backups::Backups;
use hob_daemon::client::{ClientError, segment};
use hob_daemon::core::directory_of;
use hob_daemon::http::Waiters;
use hob_daemon::node::Purpose;
use hob_daemon::view::run_summary;
use hob_journal::JournalError;
use hob_model::{Code, Diagnostic, RunId, RunStatus, Value, duration, size};
use hob_primitive::Clock;
use hob_runs::Listener;
use hob_terminal::{Cell, Column, Role, Table};
use serde_json::{Map, Value as Json, json};

use super::homelab::{confirmed, declared};
use super::remote;
use super::run::{LEAVE_GRACE, node, parked};
use crate::args::{BackupCommand, DatasetArgs, RestoreArgs};
use crate::context::{Context, Exit, Failure, Outcome, absolute};
use crate::loader;
use crate::watch::Watch;

/// What a process that runs a playbook alone says of homelabs.
const NOBODY: Code = Code::NoDaemon;

/// `hob backup …`
pub(crate) fn dispatch(context: &Context, command: BackupCommand) -> Outcome {
    let mut input = Map::new();
    match command {
        BackupCommand::Status { homelab } => status(context, &homelab),
        BackupCommand::Init(of) => act(context, "init", &of, input),
        BackupCommand::Run(of) => act(context, "run", &of, input),
        BackupCommand::List(of) => act(context, "list", &of, input),
        BackupCommand::Check { of, read } => {
            input.extend(read.map(|read| ("read".to_owned(), read.into())));
            act(context, "check", &of, input)
        }
        BackupCommand::Verify { of, snapshot } => {
            input.extend(snapshot.map(|id| ("snapshot".to_owned(), id.into())));
            act(context, "verify", &of, input)
        }
        BackupCommand::Restore(args) => restore(context, &args),
    }
}

fn restore(context: &Context, args: &RestoreArgs) -> Outcome {
    let to = args.to.as_deref().map(|to| absolute(to).to_string_lossy().into_owned());
    if to.is_none() && !args.dry_run && !args.yes {
        let dataset = &args.of.dataset;
        context
            .say(&format!("what {dataset} has now is replaced; --dry-run shows it, --to restores elsewhere"));
        if !confirmed(context, "restore")? {
            return Ok(Exit::Usage);
        }
    }
    let mut input = Map::new();
    let texts = [("snapshot", args.snapshot.clone()), ("to", to)];
    input.extend(texts.into_iter().filter_map(|(key, text)| Some((key.to_owned(), text?.into()))));
    input.insert("parts".to_owned(), args.parts.clone().into());
    input.insert("plan".to_owned(), args.dry_run.into());
    input.insert("delete".to_owned(), args.delete.into());
    act(context, "restore", &args.of, input)
}

/// Has something done with the backups of a dataset: by the hob that serves, or here.
fn act(context: &Context, act: &str, of: &DatasetArgs, mut input: Map<String, Json>) -> Outcome {
    input.extend(of.from.clone().map(|from| ("from".to_owned(), from.into())));
    let (run, status, told) = match context.open() {
        Ok(journal) => here(context, act, of, Json::Object(input), journal)?,
        Err(JournalError::Locked { .. }) => {
            let client = remote::client(context);
            let path = format!("/api/v1/backups/{}/{act}", segment(&of.dataset));
            let run = remote::run_of(&client.post(&path, &json!({ "input": input }))?)?;
            let (status, told) = remote::rest(context, &client, run)?;
            (run, status, told)
        }
        Err(error) => return Err(error.into()),
    };
    conclude(context, act, &of.dataset, run, status, &told)
}

/// Does it in this process, which holds the state directory meanwhile.
fn here(
    context: &Context,
    act: &str,
    of: &DatasetArgs,
    input: Json,
    journal: Arc<hob_journal::SqliteJournal>,
) -> Result<(RunId, RunStatus, Json), Failure> {
    let loaded = loader::load_homelab(&of.homelab)?;
    let backups = Backups::of(&declared(context, &loaded)?);
    let input = Value::from_json(input).map_err(|error| Failure::usage(error.to_string()))?;
    let id = RunId::new(hob_daemon::clock::SystemClock.now(), hob_daemon::clock::entropy());
    let watch =
        Watch::new(id, context.err, if context.global.quiet { 0 } else { 1 + context.global.verbose });
    let waiters = Arc::new(Waiters::default());
    let listeners = vec![Arc::clone(&watch) as Arc<dyn Listener>, Arc::clone(&waiters) as Arc<dyn Listener>];
    let node = node(journal, listeners, Purpose::Act)?;
    node.recover(false)?;
    let directory = directory_of(&loaded.bundle).to_path_buf();
    let mut new = backups.run(&node.runs, &loaded.bundle, &directory, (&of.dataset, act), input)?;
    (new.id, new.started.owner) = (id, backups.owner(&of.dataset));
    let guard = super::interrupt::cancel_on_signal(&node, id);
    let served = super::serve::beside(context, &node, waiters);
    node.runs.start(new)?;
    let followed = node.follow(id);
    watch.finish();
    drop((guard, served));
    let status = followed?;
    let row = node.runs.row(id)?;
    if let Some(end) = &row.end {
        backups.note(&node.runs, id, end)?;
    }
    node.close(LEAVE_GRACE);
    Ok((id, status, run_summary(&row)))
}

/// Tells what came of it.
fn conclude(
    context: &Context,
    act: &str,
    dataset: &str,
    run: RunId,
    status: RunStatus,
    told: &Json,
) -> Outcome {
    let shown = if told["output"].is_object() { &told["output"] } else { &told["error"]["details"] };
    if context.global.json {
        context.print_json(&json!({
            "run": told["run"], "status": told["status"], "output": told["output"], "error": told["error"],
        }));
    } else {
        show(context, act, shown);
    }
    match status {
        RunStatus::Succeeded => Ok(Exit::Done),
        RunStatus::Failed => {
            let error = &told["error"];
            let message = error["message"].as_str().unwrap_or("the run failed").to_owned();
            let others = shown["failed"].as_array().into_iter().flatten().skip(1);
            let problem = Diagnostic::error(Code::ScriptFailed, format!("{act} of {dataset}: {message}"));
            let problem = problem.maybe_hint(error["hint"].as_str().map(str::to_owned));
            Err(others.fold(problem, |problem, it| problem.note(text(it, "message"))).into())
        }
        RunStatus::Cancelled => {
            context.say("cancelled");
            Ok(Exit::Failed)
        }
        status => {
            context.say(&parked(run, status));
            Ok(Exit::Waiting)
        }
    }
}

fn text<'j>(json: &'j Json, key: &str) -> &'j str {
    json[key].as_str().unwrap_or_default()
}

fn items(json: &Json) -> &[Json] {
    json.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn bytes(json: &Json) -> String {
    json.as_u64().map_or_else(|| "-".to_owned(), size::format)
}

/// The beginning of an id, as people write it.
fn short(id: &str) -> String {
    id.chars().take(8).collect()
}

/// A time without what is below a second.
fn second(time: &str) -> String {
    time.split_once('.').map_or_else(|| time.to_owned(), |(whole, _)| format!("{whole}Z"))
}

fn show(context: &Context, act: &str, told: &Json) {
    match act {
        "list" if told["done"].is_array() => list(context, told),
        "restore" if told.is_object() && told.get("created").is_some() => restored(context, told),
        "restore" => {}
        act => items(&told["done"]).iter().for_each(|it| context.print_line(&line(act, it))),
    }
}

/// What was done at one repository.
fn line(act: &str, it: &Json) -> String {
    let place = text(it, "repository");
    let what = match act {
        "init" if it["created"] == true => "made".to_owned(),
        "init" => "was there already".to_owned(),
        "run" => format!(
            "snapshot {} of {} files, {} ({} new)",
            short(text(it, "snapshot")),
            it["files"],
            bytes(&it["bytes"]),
            bytes(&it["bytes_added"])
        ),
        "check" => format!("{} snapshots are whole, content read: {}", it["snapshots"], text(it, "read")),
        _ => format!(
            "snapshot {} of {} was restored and is whole: {} files, {}",
            short(text(it, "snapshot")),
            second(text(it, "time")),
            it["files"],
            bytes(&it["bytes"])
        ),
    };
    format!("{place}: {what}")
}

fn restored(context: &Context, told: &Json) {
    let planned = told["planned"] == true;
    for (key, sign) in [("create", "+"), ("replace", "~"), ("remove", "-")].iter().filter(|_| planned) {
        for path in items(&told["paths"][key]) {
            context.print_line(&format!("{sign} {}", path.as_str().unwrap_or_default()));
        }
    }
    context.print_line(&format!(
        "{}{} from {} ({}): {} created, {} replaced, {} removed, {} unchanged",
        if planned { "plan for " } else { "" },
        text(told, "to"),
        text(told, "repository"),
        second(text(told, "time")),
        told["created"],
        told["replaced"],
        told["removed"],
        told["unchanged"]
    ));
}

fn list(context: &Context, told: &Json) {
    let mut table = Table::new(["SNAPSHOT", "TIME", "HOST", "FILES", "SIZE", "REPOSITORY"].map(Column::new));
    for place in items(&told["done"]) {
        for it in items(&place["snapshots"]) {
            let whole = it["complete"] == true;
            let id = short(text(it, "id"));
            let id =
                if whole { Cell::from(id) } else { Cell::new(Role::Warning, format!("{id} incomplete")) };
            let files = it["files"].as_u64().map_or_else(|| "-".to_owned(), |files| files.to_string());
            let rest = [second(text(it, "time")), text(it, "host").to_owned(), files, bytes(&it["bytes"])]
                .map(Cell::from);
            table.row([id].into_iter().chain(rest).chain([Cell::from(text(place, "repository").to_owned())]));
        }
    }
    match table.is_empty() {
        true if items(&told["failed"]).is_empty() => context.say("there are no snapshots"),
        true => {}
        false => context.print_line(table.render(context.out).trim_end()),
    }
}

/// `hob backup status`: as the hob that serves knows it, or the journal.
fn status(context: &Context, homelab: &Path) -> Outcome {
    let all = match remote::client(context).get("/api/v1/backups") {
        Err(ClientError::NoDaemon(_)) => known(context, homelab)?,
        Err(error) if error.diagnostic().code == NOBODY => known(context, homelab)?,
        other => other?,
    };
    let places =
        || items(&all).iter().flat_map(|it| items(&it["repositories"]).iter().map(move |at| (it, at)));
    let is_good = places().all(|(_, at)| at["state"] == "good");
    let exit = if is_good { Exit::Done } else { Exit::Failed };
    if context.global.json {
        context.print_json(&all);
        return Ok(exit);
    }
    if items(&all).is_empty() {
        context.say("the homelab declares no dataset or service with backups");
        return Ok(exit);
    }
    let columns = ["DATASET", "STATE", "LAST", "AGE", "SIZE", "CHECKED", "VERIFIED", "REPOSITORY"];
    let mut table = Table::new(columns.map(Column::new));
    for (it, at) in places() {
        let role = match text(at, "state") {
            "good" => Role::Success,
            "failing" => Role::Error,
            _ => Role::Warning,
        };
        let age = at["age_seconds"].as_f64().map(|age| duration::format(Duration::from_secs(age as u64)));
        let rest = [
            short(text(&at["backup"], "snapshot")),
            age.unwrap_or_default(),
            at["backup"]["bytes"].as_u64().map(size::format).unwrap_or_default(),
            second(text(&at["check"], "at")),
            second(text(&at["verify"], "at")),
            text(at, "repository").to_owned(),
        ];
        let dash = |text: String| Cell::from(if text.is_empty() { "-".to_owned() } else { text });
        let first =
            [Cell::from(text(it, "dataset").to_owned()), Cell::new(role, text(at, "state").to_owned())];
        table.row(first.into_iter().chain(rest.map(dash)));
    }
    context.print_line(table.render(context.out).trim_end());
    for (it, at) in places() {
        for (act, failure) in at["failed"].as_object().into_iter().flatten() {
            let (dataset, place) = (text(it, "dataset"), text(at, "repository"));
            let (when, run) = (second(text(failure, "at")), text(failure, "run"));
            let why = text(failure, "message");
            context.complain(&format!(
                "{act} of {dataset} at {place} failed at {when}: {why} (hob runs show {run})"
            ));
        }
    }
    Ok(exit)
}

/// What the journal knows of what the homelab declares, while nobody serves it.
fn known(context: &Context, homelab: &Path) -> Result<Json, Failure> {
    let loaded = loader::load_homelab(homelab)?;
    let backups = Backups::of(&declared(context, &loaded)?);
    Ok(backups.list(&*context.read()?, hob_daemon::clock::SystemClock.now())?)
}
