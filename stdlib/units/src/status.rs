//! What is known about units, as scripts see it.

use hob_model::{Timestamp, Value};
use hob_primitive::IntoValue;

use crate::name::kind_of;
use crate::port::{Facts, ManagerFacts, Row, TimerFacts};

/// One line of a list.
#[derive(IntoValue)]
pub(crate) struct Listed {
    name: String,
    r#type: String,
    description: String,
    load: String,
    active: String,
    sub: String,
    job: Option<String>,
}

impl From<Row> for Listed {
    fn from(row: Row) -> Self {
        Self {
            r#type: kind_of(&row.name).to_owned(),
            name: row.name,
            description: row.description,
            load: row.load,
            active: row.active,
            sub: row.sub,
            job: row.job,
        }
    }
}

fn time(at: Option<Timestamp>) -> Option<String> {
    at.map(|at| at.to_string())
}

/// The status of one unit.
pub(crate) fn status(facts: Facts, log: Value) -> Value {
    let timer = facts.timer.clone().map(|timer| timer_value(&facts.name, &facts.active, timer));
    let mut pairs = vec![
        ("type", Value::from(kind_of(&facts.name))),
        ("name", Value::from(facts.name)),
        ("description", Value::from(facts.description)),
        ("load", Value::from(facts.load)),
        ("load_error", Value::from(facts.load_error)),
        ("active", Value::from(facts.active)),
        ("sub", Value::from(facts.sub)),
        ("result", Value::from(facts.result)),
        ("exit_code", Value::from(facts.exit_code)),
        ("main_pid", Value::from(facts.main_pid)),
        ("memory_bytes", Value::from(facts.memory)),
        ("tasks", Value::from(facts.tasks)),
        ("restarts", Value::from(facts.restarts)),
        ("since", Value::from(time(facts.since))),
        ("invocation_id", Value::from(facts.invocation)),
        ("path", Value::from(facts.path)),
        ("drop_ins", Value::from(facts.drop_ins)),
        ("enabled", Value::from(facts.enabled)),
        ("needs_reload", Value::from(facts.needs_reload)),
        ("log", log),
    ];
    pairs.extend(timer.map(|timer| ("timer", timer)));
    Value::map(pairs)
}

/// A timer.
pub(crate) fn timer_value(name: &str, active: &str, timer: TimerFacts) -> Value {
    Value::map([
        ("name", Value::from(name)),
        ("active", Value::from(active)),
        ("unit", Value::from(timer.unit)),
        ("next", Value::from(time(timer.next))),
        ("last", Value::from(time(timer.last))),
        ("when", Value::from(timer.when)),
    ])
}

/// The status of the whole system.
pub(crate) fn system(manager: ManagerFacts, failed: Vec<String>) -> Value {
    let started = i64::try_from(manager.started_us).ok().and_then(|at| Timestamp::from_microsecond(at).ok());
    Value::map([
        ("state", Value::from(manager.state)),
        ("version", Value::from(manager.version)),
        ("units", Value::from(manager.units)),
        ("jobs", Value::from(manager.jobs)),
        ("failed", Value::from(failed)),
        ("since", Value::from(time(started))),
    ])
}
