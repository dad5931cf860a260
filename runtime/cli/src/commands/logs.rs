//! `hob logs RUN|SERVICE`

use std::time::Duration;

use hob_daemon::keeper::Logs;
use hob_journal::Journal;
use hob_model::{EntryKind, RunId};

use crate::args::LogsArgs;
use crate::assemble;
use crate::context::{Context, Exit, Failure, Outcome};

/// How often `--follow` looks for new lines.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(200);
/// Entries that are read at one time.
const ENTRIES_AT_ONCE: usize = 10_000;

/// The log of a run, or the output of a service.
pub(crate) fn logs(context: &Context, args: &LogsArgs) -> Outcome {
    let journal = context.read()?;
    match super::runs::find(&*journal, &args.target) {
        Ok(run) => run_log(context, &*journal, run, args),
        Err(_) => service_log(context, &*journal, args),
    }
}

fn run_log(context: &Context, journal: &dyn Journal, run: RunId, args: &LogsArgs) -> Outcome {
    let mut from = 0;
    let mut lines = read(context, journal, run, &mut from)?;
    lines.drain(..lines.len().saturating_sub(args.lines));
    lines.iter().for_each(|line| context.print_line(line));
    if !args.follow {
        return Ok(Exit::Done);
    }
    while journal.run(run)?.is_some_and(|row| !row.status.ended()) {
        std::thread::sleep(FOLLOW_INTERVAL);
        read(context, journal, run, &mut from)?.iter().for_each(|line| context.print_line(line));
    }
    Ok(Exit::Done)
}

fn read(
    context: &Context,
    journal: &dyn Journal,
    run: RunId,
    from: &mut u64,
) -> Result<Vec<String>, Failure> {
    let mut lines = Vec::new();
    loop {
        let entries = journal.entries(run, *from, ENTRIES_AT_ONCE)?;
        let Some(last) = entries.last() else { return Ok(lines) };
        *from = last.seq + 1;
        for entry in &entries {
            if let EntryKind::Log { level, message, source, .. } = &entry.kind {
                lines.push(if context.global.json {
                    serde_json::json!({ "at": entry.at.to_string(), "level": level, "message": message, "source": source.to_string() }).to_string()
                } else {
                    format!("{} {level:>5} {}", entry.at, hob_terminal::text::sanitize(message))
                });
            }
        }
    }
}

/// Supervised services write to files below the state directory.
fn service_log(context: &Context, journal: &dyn Journal, args: &LogsArgs) -> Outcome {
    let Some(mut log) = Logs::open(journal, &assemble::ports(), &context.state, &args.target)? else {
        return Err(Failure::usage(format!("there is neither a run nor a service `{}`", args.target)));
    };
    log.last(args.lines)?.iter().for_each(|line| context.print_line(line));
    if !args.follow {
        return Ok(Exit::Done);
    }
    loop {
        std::thread::sleep(FOLLOW_INTERVAL);
        log.more()?.iter().for_each(|line| context.print_line(line));
    }
}
