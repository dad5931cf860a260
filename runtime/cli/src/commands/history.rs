//! `hob runs show RUN POSITION`, `diff`, `export` and `import`: what runs did.

#![allow(clippy::disallowed_methods)] // the rim: exported runs are read here

use std::io::Read;
use std::path::Path;
use std::time::Duration;

use hob_daemon::case::{self, CASE_BYTES_MAX, Case};
use hob_daemon::{compare, view};
use hob_journal::{Journal, RunRow};
use hob_model::{Code, Diagnostic, Position, Timestamp, duration};
use hob_primitive::Clock;
use hob_runs::RunError;
use hob_terminal::Role;
use serde_json::Value as Json;

use super::runs::{find, result_of};
use crate::context::{Context, Exit, Failure, Outcome};

/// A time: in RFC 3339, or how long ago.
pub(super) fn time(text: &str) -> Result<Timestamp, Failure> {
    let ago = |text| {
        let ago = duration::parse(text).ok()?;
        hob_daemon::clock::SystemClock.now().checked_sub(ago).ok()
    };
    text.parse().ok().or_else(|| ago(text)).ok_or_else(|| {
        Failure::usage(format!(
            "`{text}` is no time such as 2027-01-01T08:00:00+01:00, and no duration such as 24h"
        ))
    })
}

/// A run and everything about it.
pub(super) fn detail(journal: &dyn Journal, prefix: &str) -> Result<(RunRow, Json), Failure> {
    let run = find(journal, prefix)?;
    let row = journal.run(run)?.ok_or_else(|| Failure::from(RunError::NotFound(prefix.to_owned())))?;
    let entries = journal.entries(run, 0, usize::MAX)?;
    let detail = view::run_detail(&row, &entries, |digest| journal.blob(digest).ok().flatten());
    Ok((row, detail))
}

/// The full name of an entry's operation.
pub(super) fn operation(entry: &Json) -> String {
    let text = |key: &str| entry[key].as_str().unwrap_or_default();
    match text("primitive") {
        "" => text("operation").to_owned(),
        primitive => format!("{primitive}::{}", text("operation")),
    }
}

/// How long an entry took, for people.
fn took(entry: &Json) -> String {
    match entry["duration_ms"].as_f64() {
        Some(ms) if ms < 1_000.0 => format!("{ms:.1} ms"),
        Some(ms) => duration::format(Duration::from_millis(ms as u64)),
        None => String::new(),
    }
}

/// Shows what stands at a position and inside of it.
pub(super) fn show_position(context: &Context, prefix: &str, position: &Position) -> Outcome {
    let journal = context.read()?;
    let (row, detail) = detail(&*journal, prefix)?;
    let within = |text: &Json| {
        Position::parse(text.as_str().unwrap_or_default()).is_ok_and(|it| it.is_within(position))
    };
    let all = |key: &str, place: &str| -> Vec<Json> {
        let items = detail[key].as_array().into_iter().flatten();
        items.filter(|item| within(&item[place])).cloned().collect()
    };
    let (entries, logs) = (all("entries", "position"), all("logs", "branch"));
    if entries.is_empty() {
        let problem =
            Diagnostic::error(Code::UnknownName, format!("run {} has nothing at {position}", row.run));
        return Err(problem.hint(format!("`hob runs show {prefix}` lists its positions")).into());
    }
    if context.global.json {
        context
            .print_json(&serde_json::json!({ "run": row.run.to_string(), "entries": entries, "logs": logs }));
        return Ok(Exit::Done);
    }
    for entry in &entries {
        let text = |key: &str| entry[key].as_str().unwrap_or_default();
        context.print_line(&format!(
            "{} {}  {}  {}  {}",
            context.out.paint(Role::Name, text("position")),
            operation(entry),
            text("status"),
            took(entry),
            text("source"),
        ));
        if !entry["args"].is_null() {
            context.print_line(&format!("  input   {}", entry["args"]));
        }
        let result = result_of(entry);
        if !result.is_empty() {
            context.print_line(&format!("  output  {result}"));
        }
    }
    for line in &logs {
        let text = |key: &str| line[key].as_str().unwrap_or_default();
        context.print_line(&format!("  {} {} {}", text("at"), text("level"), text("message")));
    }
    Ok(Exit::Done)
}

/// Shows where two runs differ.
pub(super) fn diff(context: &Context, a: &str, b: &str) -> Outcome {
    let journal = context.read()?;
    let (a, b) = (detail(&*journal, a)?.1, detail(&*journal, b)?.1);
    let found = compare::compare(&a, &b);
    let entries = found["entries"].as_array().map(Vec::as_slice).unwrap_or_default();
    let run = found["run"].as_object();
    let differs = !entries.is_empty() || run.is_some_and(|run| !run.is_empty());
    if context.global.json {
        context.print_json(&found);
        return Ok(if differs { Exit::Failed } else { Exit::Done });
    }
    let line = |sign: &str, role: Role, text: &str| {
        context.print_line(&context.out.paint(role, &format!("{sign} {text}")).to_string());
    };
    let both = |what: &str, a: &str, b: &str| {
        context.print_line(what);
        for (sign, role, text) in [("-", Role::Error, a), ("+", Role::Success, b)] {
            if !text.is_empty() {
                line(sign, role, text);
            }
        }
    };
    for (key, values) in run.into_iter().flatten() {
        both(key, &values["a"].to_string(), &values["b"].to_string());
    }
    let told = |entry: &Json| match entry.is_null() {
        true => String::new(),
        false => format!(
            "{}{}  {}  {}",
            operation(entry),
            entry["args"],
            entry["status"].as_str().unwrap_or_default(),
            result_of(entry)
        ),
    };
    for entry in entries {
        both(entry["position"].as_str().unwrap_or_default(), &told(&entry["a"]), &told(&entry["b"]));
    }
    context.say(&format!("the same at {} positions, different at {}", found["same"], entries.len()));
    Ok(if differs { Exit::Failed } else { Exit::Done })
}

/// Prints a run as a file.
pub(super) fn export(context: &Context, prefix: &str) -> Outcome {
    let journal = context.read()?;
    let run = find(&*journal, prefix)?;
    context.print_line(&format!("{:#}", case::export(&*journal, run)?));
    Ok(Exit::Done)
}

/// Reads an exported run.
pub(super) fn read_case(path: &Path) -> Result<Case, Failure> {
    let unreadable = |error: std::io::Error| {
        let text = format!("{} cannot be read: {error}", path.display());
        Failure::from(Diagnostic::error(Code::UnreadableScript, text))
    };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(CASE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > CASE_BYTES_MAX {
        let text = format!("{} has more than {CASE_BYTES_MAX} bytes", path.display());
        return Err(Diagnostic::error(Code::Usage, text).into());
    }
    let of = |problem: Diagnostic| {
        Failure::from(Diagnostic { message: format!("{}: {}", path.display(), problem.message), ..problem })
    };
    let json = serde_json::from_slice(&bytes)
        .map_err(|error| of(Diagnostic::error(Code::Usage, format!("it is no JSON: {error}"))))?;
    Case::read(&json).map_err(of)
}

/// Puts an exported run into this journal.
pub(super) fn import(context: &Context, path: &Path) -> Outcome {
    let case = read_case(path)?;
    case.import(&*context.open()?, &crate::assemble::registry())?;
    context.print_line(&case.run.to_string());
    Ok(Exit::Done)
}
