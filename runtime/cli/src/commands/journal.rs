//! `hob journal …`

use hob_journal::sqlite::{ExportError, PrunePolicy};
use hob_journal::{JournalError, SqliteJournal};
use hob_model::{Code, Diagnostic, duration, size};
use hob_primitive::Clock;
use hob_runs::journal_diagnostic;
use hob_terminal::human;

use crate::args::{JournalCommand, PruneArgs};
use crate::context::{Context, Exit, Failure, Outcome};

/// `hob journal …`
pub(crate) fn dispatch(context: &Context, command: JournalCommand) -> Outcome {
    match command {
        JournalCommand::Check => check(context),
        JournalCommand::Rebuild => {
            context.open()?.rebuild()?;
            context.say("the projections are made anew from the entries");
            Ok(Exit::Done)
        }
        JournalCommand::Prune(args) => prune(context, &args),
        JournalCommand::Export { run } => export(context, run.as_deref()),
    }
}

fn check(context: &Context) -> Outcome {
    let findings = SqliteJournal::open_read_only(&context.state)?.check()?;
    if context.global.json {
        let list: Vec<_> =
            findings.iter().map(|f| serde_json::json!({ "place": f.place, "problem": f.problem })).collect();
        context.print_json(&serde_json::json!({ "ok": findings.is_empty(), "findings": list }));
    } else if findings.is_empty() {
        context.say("every record is as it was written");
    }
    if findings.is_empty() {
        return Ok(Exit::Done);
    }
    let error = findings.iter().fold(
        Diagnostic::error(
            Code::JournalCorrupt,
            format!("the journal is damaged in {}", human::counted(findings.len() as u64, "place", "places")),
        ),
        |error, finding| error.note(finding.to_string()),
    );
    Err(error.hint("`hob journal rebuild` repairs projections; for the rest restore a backup with `hob state restore`").into())
}

fn prune(context: &Context, args: &PruneArgs) -> Outcome {
    let PruneArgs { older_than, keep, keep_events, max_size } = args;
    if older_than.is_none() && keep.is_none() && keep_events.is_none() && max_size.is_none() {
        return Err(Failure::usage("say what to prune: --older-than, --keep, --keep-events or --max-size"));
    }
    let usage = |error: &dyn std::fmt::Display| Failure::usage(error.to_string());
    let age = older_than.as_deref().map(duration::parse).transpose().map_err(|error| usage(&error))?;
    let bytes = max_size.as_deref().map(size::parse).transpose().map_err(|error| usage(&error))?;
    let now = hob_daemon::clock::SystemClock.now();
    let before = age.and_then(|age| now.checked_sub(age).ok());
    let policy = PrunePolicy {
        ended_before: before,
        runs_max: *keep,
        bytes_max: bytes,
        events_before: before,
        events_max: *keep_events,
    };
    let pruned = context.open()?.prune(&policy)?;
    if context.global.json {
        context.print_json(&serde_json::json!({
            "runs": pruned.runs, "events": pruned.events, "bundles": pruned.bundles,
            "blobs": pruned.blobs, "bytes": pruned.bytes,
        }));
    } else {
        let (runs, events) =
            (human::counted(pruned.runs, "run", "runs"), human::counted(pruned.events, "event", "events"));
        context.say(&format!("removed {runs} and {events}, {} freed", size::format(pruned.bytes)));
    }
    Ok(Exit::Done)
}

fn export(context: &Context, run: Option<&str>) -> Outcome {
    let journal = SqliteJournal::open_read_only(&context.state)?;
    let run = run.map(|prefix| super::runs::find(&journal, prefix)).transpose()?;
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    match journal.export(run, &mut out) {
        Ok(_) => Ok(Exit::Done),
        // The reader went away (`… | head`).
        Err(ExportError::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(Exit::Done),
        Err(ExportError::Output(error)) => {
            Err(Diagnostic::error(Code::StateUnusable, error.to_string()).into())
        }
        Err(ExportError::Journal(error)) => Err(failure(&error)),
    }
}

fn failure(error: &JournalError) -> Failure {
    journal_diagnostic(error).into()
}
