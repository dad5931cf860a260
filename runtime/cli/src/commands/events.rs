//! `hob events …`

use std::time::Duration;

use hob_daemon::node::Purpose;
use hob_journal::{EventRow, JournalError};
use hob_model::pattern::wildcard;
use hob_model::{Code, Diagnostic};
use hob_terminal::{Column, Table, human};

use crate::args::EventsCommand;
use crate::context::{Context, Exit, Failure, Outcome};
use crate::input;

/// How often `tail` looks for new events.
const TAIL_INTERVAL: Duration = Duration::from_millis(200);
/// Events that are read at one time.
const EVENTS_AT_ONCE: usize = 1_000;

/// `hob events …`
pub(crate) fn dispatch(context: &Context, command: EventsCommand) -> Outcome {
    match command {
        EventsCommand::List { pattern, limit } => list(context, pattern.as_deref().unwrap_or("*"), limit),
        EventsCommand::Tail { pattern } => tail(context, pattern.as_deref().unwrap_or("*")),
        EventsCommand::Emit { name, payload } => emit(context, &name, &payload),
    }
}

fn json(event: &EventRow) -> serde_json::Value {
    serde_json::json!({
        "id": event.id, "name": event.name, "at": event.at.to_string(), "origin": event.origin,
        "payload": event.payload.to_json().unwrap_or_default(),
    })
}

fn list(context: &Context, pattern: &str, limit: usize) -> Outcome {
    let journal = context.read()?;
    let mut found: Vec<EventRow> = Vec::new();
    let mut after = 0;
    loop {
        let events = journal.events(after, EVENTS_AT_ONCE)?;
        let Some(last) = events.last() else { break };
        after = last.id;
        found.extend(events.into_iter().filter(|event| wildcard(pattern, &event.name)));
        let surplus = found.len().saturating_sub(limit);
        found.drain(..surplus);
    }
    if context.global.json {
        context.print_json(&found.iter().map(json).collect());
        return Ok(Exit::Done);
    }
    let now = hob_primitive::Clock::now(&hob_daemon::clock::SystemClock);
    let mut table = Table::new([
        Column::number("ID"),
        Column::new("WHEN"),
        Column::new("EVENT"),
        Column::new("ORIGIN"),
        Column::new("PAYLOAD"),
    ]);
    for event in &found {
        let payload = event.payload.to_json().map(|json| json.to_string()).unwrap_or_default();
        table.row([
            event.id.to_string(),
            human::relative(event.at, now),
            event.name.clone(),
            event.origin.clone(),
            payload,
        ]);
    }
    if !table.is_empty() {
        context.print_line(table.render(context.out).trim_end());
    }
    Ok(Exit::Done)
}

fn tail(context: &Context, pattern: &str) -> Outcome {
    let journal = context.read()?;
    let mut after = journal.last_event()?;
    loop {
        for event in journal.events(after, EVENTS_AT_ONCE)? {
            after = event.id;
            if wildcard(pattern, &event.name) {
                context.print_line(&json(&event).to_string());
            }
        }
        std::thread::sleep(TAIL_INTERVAL);
    }
}

fn emit(context: &Context, name: &str, payload: &str) -> Outcome {
    let payload = input::json("the payload", payload)?;
    hob_model::event::check(name, &payload).map_err(|error| {
        let usage = Diagnostic::error(Code::Usage, error.message);
        Failure::from(usage.hint(error.hint.unwrap_or_default()))
    })?;
    match context.open() {
        Ok(journal) => {
            let node = super::run::node(journal, vec![], Purpose::Act)?;
            node.recover(false)?;
            node.runs.emit(name, payload, "cli")?;
            node.close(Duration::ZERO);
        }
        Err(JournalError::Locked { .. }) => super::remote::emit(context, name, &payload)?,
        Err(error) => return Err(error.into()),
    }
    Ok(Exit::Done)
}
