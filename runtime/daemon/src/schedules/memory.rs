//! What is remembered of a schedule over restarts: one fact for each, beside its claimed slots.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use hob_journal::{Commit, Write};
use hob_model::{Digest, RunId, Timestamp, Value};
use hob_runs::RunError;

use super::look::{Look, Queues};
use super::{Launch, Timed};

/// Before the name of a schedule, the name of its fact.
const PREFIX: &str = "schedule/";

/// What is remembered of this many schedules is submitted together.
const WRITES_AT_ONCE: usize = 1_000;

/// The name of the fact of a schedule.
fn key_of(schedule: &str) -> String {
    format!("{PREFIX}{schedule}")
}

/// Where the runs of a schedule wait their turn.
pub(super) fn queue_of(schedule: &str) -> String {
    format!("schedule/{schedule}")
}

/// Where the runs of its backfills wait, behind the others.
pub(super) fn backfill_queue_of(schedule: &str) -> String {
    format!("backfill/{schedule}")
}

/// A person's word that a schedule is not to fire.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Pause {
    pub(super) at: Timestamp,
    pub(super) reason: String,
}

/// What is remembered of a schedule.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Memory {
    /// Since when the present expression is declared, or it was last resumed: what is older is never caught up.
    pub(super) since: Timestamp,
    /// Up to where deadlines were looked at.
    pub(super) deadlines: Timestamp,
    /// Slots that were skipped since one last ran.
    pub(super) skipped: u32,
    pub(super) pause: Option<Pause>,
}

impl Memory {
    fn new(now: Timestamp) -> Self {
        Self { since: now, deadlines: now, skipped: 0, pause: None }
    }

    /// What is remembered, and of which expression.
    fn read(fact: &Value) -> Option<(String, Self)> {
        let time = |value: &Value, key: &str| value.get(key)?.as_str()?.parse().ok();
        let since = time(fact, "since")?;
        let pause = fact.get("paused").and_then(|pause| {
            let reason = pause.get("reason").and_then(Value::as_str).unwrap_or_default();
            Some(Pause { at: time(pause, "at")?, reason: reason.to_owned() })
        });
        let memory = Self {
            since,
            deadlines: time(fact, "deadlines").unwrap_or(since),
            skipped: fact
                .get("skipped")
                .and_then(Value::as_int)
                .and_then(|n| u32::try_from(n).ok())
                .unwrap_or(0),
            pause,
        };
        Some((fact.get("expression")?.as_str()?.to_owned(), memory))
    }

    /// The write that keeps it.
    pub(super) fn write(&self, timed: &Timed) -> Write {
        let pause = self.pause.as_ref().map(|pause| {
            Value::map([
                ("at", Value::from(pause.at.to_string())),
                ("reason", Value::from(pause.reason.as_str())),
            ])
        });
        let value = Value::map([
            ("expression", Value::from(expression_of(timed))),
            ("since", Value::from(self.since.to_string())),
            ("deadlines", Value::from(self.deadlines.to_string())),
            ("skipped", Value::from(i64::from(self.skipped))),
            ("paused", pause.unwrap_or_default()),
        ]);
        Write::Fact { key: key_of(&timed.schedule.name), value: Some(value) }
    }

    /// It is resumed: slots of the pause are not caught up.
    pub(super) fn resume(&mut self, now: Timestamp) {
        self.pause = None;
        self.since = now;
        self.deadlines = now;
        self.skipped = 0;
    }
}

/// The digest of its expression, and whether it is declared as paused: one that is counts as another one, so that what
/// its pause left out is not caught up.
fn expression_of(timed: &Timed) -> String {
    let schedule = &timed.schedule;
    let digest = Digest::of(format!("{}/{}", schedule.when, schedule.local_time.identity()).as_bytes());
    if schedule.paused { format!("paused:{digest}") } else { digest.to_string() }
}

/// Where each of `timed` stands. What is seen for the first time, or with another expression, begins now.
pub(super) fn recall(launch: &Launch, timed: &[Timed]) -> Result<Vec<Look>, RunError> {
    let (journal, now) = (launch.runs.journal(), launch.runs.now());
    let mut looks: Vec<Look> = Vec::with_capacity(timed.len());
    let (mut writes, mut last) = (Vec::new(), None);
    for timed in timed {
        // One at a time: of many, what is remembered together takes more memory than all else.
        let fact = journal.fact(&key_of(&timed.schedule.name))?;
        let memory = match fact.as_ref().and_then(Memory::read) {
            Some((expression, memory)) if expression == expression_of(timed) => memory,
            // A pause that a person ordered holds for the name, whatever it is to do now.
            older => {
                let memory = Memory { pause: older.and_then(|(_, older)| older.pause), ..Memory::new(now) };
                writes.push(memory.write(timed));
                memory
            }
        };
        // Those that were declared together began together.
        let shared = looks.last().map(|last| &last.memory).filter(|last| ***last == memory).cloned();
        looks.push(Look::new(shared.unwrap_or_else(|| Arc::new(memory)), now));
        if writes.len() >= WRITES_AT_ONCE {
            last = Some(journal.submit(Commit { writes: std::mem::take(&mut writes) }));
            journal.rest();
        }
    }
    if !writes.is_empty() {
        last = Some(journal.submit(Commit { writes }));
    }
    if let Some(last) = last {
        // Durable before anything fires: whoever forgets since when begins anew, and catches nothing up.
        journal.wait(last)?;
    }
    journal.rest();
    let mut queues: HashMap<String, Vec<RunId>> = HashMap::new();
    for (run, queue) in launch.runs.queues()? {
        queues.entry(queue).or_default().push(run);
    }
    if queues.is_empty() {
        return Ok(looks);
    }
    for (timed, look) in timed.iter().zip(&mut looks) {
        let mut take = |queue: String| queues.remove(&queue).map(VecDeque::from);
        let slots = take(queue_of(&timed.schedule.name));
        let backfill = take(backfill_queue_of(&timed.schedule.name));
        if slots.is_some() || backfill.is_some() {
            let (slots, backfill) = (slots.unwrap_or_default(), backfill.unwrap_or_default());
            look.active().queues = Queues { slots, backfill };
        }
    }
    Ok(looks)
}
