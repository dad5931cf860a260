//! Runs: listing, showing, starting, following.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;
use hob_journal::{Journal, RunFilter, RunRow};
use hob_model::{Entry, RunId, RunStatus, Timestamp, names};
use hob_runs::Runs;
use http::StatusCode;
use serde_json::{Value as Json, json};

use super::sources::{on_script_stack, only_over_the_socket};
use crate::http::app::App;
use crate::http::reply::{Refusal, json_reply};
use crate::http::route::{Call, ok};
use crate::http::stream::{self, Gone, Sink};
use crate::http::waiters::News;
use crate::hub::Order;
use crate::search::{self, Wanted};
use crate::view::{log_view, name_living, problem_json, run_detail, run_summary, run_view};

type Reply = Result<Response, Refusal>;

/// Runs of one answer when no other number is asked for, and the most.
const RUNS_USUAL: u64 = 100;
const RUNS_MAX: u64 = 10_000;
/// Entries that are read from the journal at one time.
const ENTRIES_AT_ONCE: usize = 10_000;
/// The longest wait for a run to come to rest.
const WAIT_MAX: Duration = Duration::from_secs(60);

pub(super) async fn list(call: Call) -> Reply {
    let status = call.args.texts("status").iter().map(|text| status_of(text)).collect::<Result<_, _>>()?;
    let before = call.args.text("before").map(str::to_owned);
    let limit = call.args.count("limit").unwrap_or(RUNS_USUAL).min(RUNS_MAX);
    let mut filter = RunFilter {
        status,
        name: call.args.text("name").map(str::to_owned),
        kind: call.args.text("kind").map(str::to_owned),
        since: time_of(&call, "since")?,
        until: time_of(&call, "until")?,
        limit: usize::try_from(limit).ok(),
        ..RunFilter::default()
    };
    let wanted = Wanted { text: call.args.text("search").map(str::to_owned), tags: call.args.texts("tag") };
    let rows = call.app.blocking(move |hub| {
        filter.before = before.map(|prefix| hub.runs().find(&prefix)).transpose()?;
        let journal = hub.runs().journal();
        Ok(search::runs(&**journal, filter, &wanted)?.found)
    });
    Ok(ok(&rows.await?.iter().map(run_view).collect()))
}

fn time_of(call: &Call, name: &str) -> Result<Option<Timestamp>, Refusal> {
    let wrong = |_| Refusal::usage(format!("`{name}` must be a time such as 2027-01-01T08:00:00+01:00"));
    call.args.text(name).map(|text| text.parse().map_err(wrong)).transpose()
}

fn status_of(text: &str) -> Result<RunStatus, Refusal> {
    RunStatus::parse(text).ok_or_else(|| {
        let known = || RunStatus::ALL.iter().map(|status| status.as_str());
        let refusal = Refusal::usage(format!("there is no status `{text}`"));
        match names::nearest(text, known()) {
            Some(near) => refusal.hint(format!("did you mean `{near}`?")),
            None => refusal.hint(format!("known are {}", known().collect::<Vec<_>>().join(", "))),
        }
    })
}

pub(super) async fn show(call: Call) -> Reply {
    if let Some(wait) = call.args.duration("wait") {
        let run = call.with_run(|_, run| Ok(run)).await?;
        rest(&call.app, run, wait).await?;
    }
    let detail = call.with_run(|hub, run| {
        let journal = hub.runs().journal();
        let standing = hub.runs().standing(run)?;
        let entries = entries(&**journal, run, 0)?;
        let row = now(hub.runs(), standing.row);
        let mut detail = run_detail(&row, &entries, |digest| journal.blob(digest).ok().flatten());
        detail["goes_on"] = standing.goes_on.into();
        name_living(&mut detail, |key| hub.living(key));
        Ok(detail)
    });
    Ok(ok(&detail.await?))
}

/// Returns when the run has come to rest, durably, or after `wait`.
async fn rest(app: &App, run: RunId, wait: Duration) -> Result<(), Refusal> {
    let mut expectation = app.waiters.expect(run);
    let resting = app.blocking(move |hub| {
        let status = hub.runs().row(run)?.status;
        let moving = matches!(status, RunStatus::Queued | RunStatus::Running);
        if !moving {
            hub.runs().journal().flush()?;
        }
        Ok(!moving)
    });
    if !resting.await? {
        tokio::select! {
            _ = expectation.settled(wait.min(WAIT_MAX)) => {}
            () = app.closing.cancelled() => {}
        }
    }
    Ok(())
}

/// The row of a run as it is now: the journal knows that it runs once it has done something.
pub(in crate::http) fn row_now(runs: &Runs, run: RunId) -> Result<RunRow, Refusal> {
    Ok(now(runs, runs.row(run)?))
}

fn now(runs: &Runs, mut row: RunRow) -> RunRow {
    if row.status == RunStatus::Queued && runs.is_active(row.run) {
        row.status = RunStatus::Running;
    }
    row
}

/// The entries of a run from number `from` on.
fn entries(journal: &dyn Journal, run: RunId, from: u64) -> Result<Vec<Entry>, Refusal> {
    let mut all: Vec<Entry> = Vec::new();
    loop {
        let from = all.last().map_or(from, |entry| entry.seq + 1);
        let more = journal.entries(run, from, ENTRIES_AT_ONCE)?;
        let done = more.len() < ENTRIES_AT_ONCE;
        all.extend(more);
        if done {
            return Ok(all);
        }
    }
}

pub(super) async fn start(call: Call) -> Reply {
    let trigger = call.peer.name();
    let app = Arc::clone(&call.app);
    let wait = call.args.duration("wait");
    let run = match (call.args.text("workflow"), call.args.map("playbook")) {
        (Some(workflow), None) => {
            app.check_room()?;
            let (workflow, input) = (workflow.to_owned(), call.args.value("input")?.unwrap_or_default());
            let until = call.args.text("until").map(str::to_owned);
            let started = app.blocking(move |hub| {
                let run = hub.runs().new_id();
                let until = until.as_deref();
                let ticket =
                    hub.start(run, Order { workflow: &workflow, input, trigger: &trigger, until })?;
                hub.runs().journal().wait(ticket)?;
                Ok(run)
            });
            started.await?
        }
        (None, Some(playbook)) => {
            only_over_the_socket(call.peer)?;
            let playbook = Json::Object(playbook.clone());
            app.blocking(move |hub| Ok(on_script_stack(|| hub.start_playbook(&playbook))??)).await?
        }
        _ => return Err(Refusal::usage("name either a `workflow` or a `playbook`")),
    };
    if let Some(wait) = wait {
        rest(&app, run, wait).await?;
        let summary = app.blocking(move |hub| Ok(run_summary(&row_now(hub.runs(), run)?))).await?;
        return Ok(json_reply(StatusCode::ACCEPTED, &summary));
    }
    Ok(ok(&json!({ "run": run.to_string() })))
}

pub(super) async fn logs(call: Call) -> Reply {
    let from = call.args.count("after").map_or(0, |after| after.saturating_add(1));
    let run = call.with_run(|_, run| Ok(run)).await?;
    if call.args.flag("follow") == Some(true) {
        let app = Arc::clone(&call.app);
        return stream::open(&call.app, move |sink| follow(app, sink, run, from));
    }
    let lines = call.app.blocking(move |hub| {
        let entries = entries(&**hub.runs().journal(), run, from)?;
        Ok(entries.iter().filter_map(log_view).collect::<Json>())
    });
    Ok(ok(&lines.await?))
}

/// Writes `log` for each line, `status` for each new state, `problem` for a failure with its places in the script,
/// `progress` for long effects, and `end` at the end of the run.
async fn follow(app: Arc<App>, sink: Sink, run: RunId, mut from: u64) -> Result<(), Gone> {
    let mut follower = app.waiters.follow(run);
    let mut told = None;
    loop {
        let (row, entries) = news_of(&app, run, from).await?;
        for entry in &entries {
            if let Some(line) = log_view(entry) {
                sink.send("log", Some(entry.seq), &line).await?;
            }
        }
        from = entries.last().map_or(from, |last| last.seq + 1);
        if row.status.ended() {
            while let Some(news) = follower.queued() {
                tell(&sink, news).await?;
            }
            return sink.send("end", None, &run_summary(&row)).await;
        }
        if told != Some(row.status) {
            told = Some(row.status);
            sink.send("status", None, &run_view(&row)).await?;
        }
        loop {
            tokio::select! {
                news = follower.next() => {
                    if !tell(&sink, news).await? {
                        break;
                    }
                }
                () = sink.gone() => return Err(Gone),
            }
        }
    }
}

/// Tells a piece of news; `false` when the journal must be read for it.
async fn tell(sink: &Sink, news: News) -> Result<bool, Gone> {
    match news {
        News::Changed => return Ok(false),
        News::Failed(problem) => sink.send("problem", None, &problem_json(&problem)).await?,
        News::Progress(operation, progress) => {
            let (done, total) = (progress.done, progress.total);
            let json = json!({
                "operation": operation,
                "message": progress.message,
                "done": done,
                "total": total,
                "bytes": progress.bytes,
            });
            sink.send("progress", None, &json).await?;
        }
    }
    Ok(true)
}

/// The run as it stands, and its entries from number `from` on. The end of a run is told once it is durable.
async fn news_of(app: &App, run: RunId, from: u64) -> Result<(RunRow, Vec<Entry>), Gone> {
    let read = app.blocking(move |hub| {
        let row = row_now(hub.runs(), run)?;
        let journal = hub.runs().journal();
        if row.status.ended() {
            journal.flush()?;
        }
        Ok((row, entries(&**journal, run, from)?))
    });
    read.await.map_err(|_| Gone)
}
