//! `hob logs RUN|SERVICE…`

use std::time::Duration;

use hob_daemon::keeper::Logs;
use hob_journal::Journal;
use hob_model::{EntryKind, RunId};
use serde_json::json;

use crate::args::LogsArgs;
use crate::assemble;
use crate::context::{Context, Exit, Failure, Outcome};

/// How often `--follow` looks for new lines.
const FOLLOW_INTERVAL: Duration = Duration::from_millis(200);
/// Entries that are read at one time.
const ENTRIES_AT_ONCE: usize = 10_000;

/// The log of a run, or the output of services.
pub(crate) fn logs(context: &Context, args: &LogsArgs) -> Outcome {
    let journal = context.read()?;
    if let [target] = &args.targets[..]
        && let Ok(run) = super::runs::find(&*journal, target)
    {
        return run_log(context, &*journal, run, args);
    }
    service_logs(context, &*journal, args)
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
                    json!({ "at": entry.at.to_string(), "level": level, "message": message, "source": source.to_string() }).to_string()
                } else {
                    format!("{} {level:>5} {}", entry.at, hob_terminal::text::sanitize(message))
                });
            }
        }
    }
}

/// What services wrote; where there are several, each line begins with whose it is.
fn service_logs(context: &Context, journal: &dyn Journal, args: &LogsArgs) -> Outcome {
    let ports = assemble::ports();
    let mut logs = Vec::new();
    for target in &args.targets {
        let found = Logs::open(journal, &ports, &context.state, target)?;
        if found.is_empty() {
            return Err(Failure::usage(format!("there is neither a run nor a service `{target}`")));
        }
        logs.extend(found);
    }
    let width = logs.iter().map(|log| log.service().len()).max().unwrap_or_default();
    let is_one = logs.len() == 1;
    let show = |service: &str, lines: Vec<String>| {
        for line in lines {
            if context.global.json {
                context.print_line(&json!({ "service": service, "line": line }).to_string());
            } else if is_one {
                context.print_line(&line);
            } else {
                context.print_line(&format!("{service:width$} | {line}"));
            }
        }
    };
    for log in &mut logs {
        let lines = log.last(args.lines)?;
        show(log.service(), lines);
    }
    if !args.follow {
        return Ok(Exit::Done);
    }
    loop {
        std::thread::sleep(FOLLOW_INTERVAL);
        for log in &mut logs {
            let lines = log.more()?;
            show(log.service(), lines);
        }
    }
}
