//! What comes from outside: time, signals, people. The same hand acts between the jobs of a process and in the midst
//! of them.

use std::sync::Arc;

use hob_engine::Turns;
use hob_journal::{RunFilter, RunRow};
use hob_model::{EntryKind, Position, RunEnd, RunId, RunOwner, RunStatus, Value, Wait};
use hob_primitive::Clock;
use hob_runs::{Fork, RunChoice, Runs};

use super::sim::Sim;
use super::world::answer;

/// How often people intervene in one simulation, at most: it has to end.
const INTERVENTIONS_MAX: u32 = 6;
/// The longest way that a stray look at the clock moves it, in minutes.
const STRAY_MINUTES_MAX: i64 = 3;

/// One thing that can be done now.
#[derive(Debug)]
enum Choice {
    Job(usize),
    Signal(RunId, String),
    Approve(RunId, Position),
    Emit(String),
    Resolve(RunId, Position),
    NextDue,
    StrayTime,
    Resume(RunId),
    Cancel(RunId),
    Retry(RunId),
    Fork(RunId),
}

/// What an answer to `name` carries.
fn payload(name: &str) -> Value {
    Value::Int(answer(name))
}

/// Does one of the things that can be done now; `false` when there is none. `inside`: a run is being evaluated by
/// this very thread.
pub(super) fn one(sim: &Arc<Sim>, inside: bool) -> bool {
    let Some(runs) = sim.lock().runs.clone() else { return false };
    let mut choices = Vec::new();
    for at in 0..sim.spawner.len() {
        choices.push(Choice::Job(at));
    }
    let needed = waits(sim, &runs, &mut choices, inside);
    let rows = runs.journal().runs(&RunFilter::default()).unwrap_or_default();
    for row in &rows {
        people(sim, row, &mut choices);
    }
    let quiet = choices.is_empty();
    if !quiet || inside {
        voluntary(sim, &rows, &mut choices);
    }
    let _ = needed;
    if choices.is_empty() {
        return false;
    }
    let at = sim.lock().rng.usize(..choices.len());
    perform(sim, &runs, choices.swap_remove(at));
    true
}

/// What ends the open waits. Time goes on only when nothing else can, unless time limits are part of the game.
fn waits(sim: &Sim, runs: &Runs, choices: &mut Vec<Choice>, inside: bool) -> usize {
    let open = runs.journal().waits(None, None, usize::MAX).unwrap_or_default();
    let before = choices.len();
    for row in &open {
        match &row.wait {
            Wait::Signal { name, .. } => choices.push(Choice::Signal(row.run, name.clone())),
            Wait::Approval { .. } => choices.push(Choice::Approve(row.run, row.position.clone())),
            Wait::Event { pattern, .. } => choices.push(Choice::Emit(pattern.clone())),
            Wait::Until(_) | Wait::Run(_) => {}
        }
    }
    let tame = sim.lock().plan.tame;
    let timed = open.iter().any(|row| row.wait.due().is_some());
    if timed && (choices.len() == before || !tame) && !(inside && tame) {
        choices.push(Choice::NextDue);
    }
    choices.len() - before
}

/// What people must do, or else a run stays where it is.
fn people(sim: &Sim, row: &RunRow, choices: &mut Vec<Choice>) {
    match row.status {
        RunStatus::InDoubt => {
            let doubts = sim.lock().witness.runs.get(&row.run).map(super::model::RunModel::doubts);
            choices.extend(doubts.into_iter().flatten().map(|at| Choice::Resolve(row.run, at)));
        }
        RunStatus::Interrupted => choices.push(Choice::Resume(row.run)),
        // A fork that was given another value need not fit what it shares; nobody wants it then.
        RunStatus::Paused if sim.lock().witness.runs.get(&row.run).is_some_and(|run| run.overridden) => {
            choices.push(Choice::Cancel(row.run));
        }
        _ => {}
    }
}

/// What people may do, a few times.
fn voluntary(sim: &Sim, rows: &[RunRow], choices: &mut Vec<Choice>) {
    let mut state = sim.lock();
    if !state.plan.faulty {
        return;
    }
    if state.rng.u8(..6) == 0 {
        let signals = state.plan.signals.clone();
        let early = state.rng.choice(&signals).cloned();
        let to = state.rng.choice(rows).map(|row| row.run);
        if let (Some(name), Some(run)) = (early, to) {
            choices.push(Choice::Signal(run, name));
        }
        if !state.plan.tame {
            choices.push(Choice::StrayTime);
        }
    }
    if state.interventions >= INTERVENTIONS_MAX || state.rng.u8(..4) != 0 {
        return;
    }
    let Some(row) = state.rng.choice(rows).cloned() else { return };
    let choice = match (&row.end, state.plan.tame) {
        (Some(RunEnd::Failed(error)), false) if error.position.is_some() => Choice::Retry(row.run),
        (_, false) if !row.status.ended() && state.rng.bool() => Choice::Cancel(row.run),
        _ if state.rng.bool() => Choice::Fork(row.run),
        _ => return,
    };
    state.interventions += 1;
    choices.push(choice);
}

fn perform(sim: &Arc<Sim>, runs: &Runs, choice: Choice) {
    sim.lock().witness.tell(|| format!("{choice:?}"));
    // What a run refuses, it refuses: the witness judges by what comes of it.
    match choice {
        Choice::Job(at) => {
            sim.spawner.run(at);
        }
        Choice::Signal(run, name) => {
            let payload = payload(&name);
            drop(runs.signal(run, &name, payload));
        }
        Choice::Approve(run, at) => drop(runs.approve(run, Some(&at), answer(at.as_str()) > 30, "")),
        Choice::Emit(name) => drop(runs.emit(&name, payload(&name), "simulator")),
        Choice::Resolve(run, at) => resolve(sim, runs, run, &at),
        Choice::NextDue => {
            if let Ok(Some(due)) = runs.next_due() {
                sim.move_clock(due);
            }
            drop(runs.fire_due());
        }
        Choice::StrayTime => {
            let minutes = sim.lock().rng.i64(0..STRAY_MINUTES_MAX);
            sim.move_clock(sim.now() + std::time::Duration::from_secs(60 * minutes.unsigned_abs()));
            drop(runs.fire_due());
        }
        Choice::Resume(run) => drop(runs.resume(run)),
        Choice::Cancel(run) => drop(runs.cancel(run, "simulator")),
        Choice::Retry(run) => drop(runs.retry(run)),
        Choice::Fork(run) => fork(sim, runs, run),
    }
    sim.turns.pass();
}

/// A person settles a doubt. In a tame world the way that leads to the same value: by looking what happened.
fn resolve(sim: &Sim, runs: &Runs, run: RunId, at: &Position) {
    let choice = {
        let mut state = sim.lock();
        let label = state
            .witness
            .acts
            .iter()
            .find(|act| act.run == run && act.position == *at)
            .map(|a| a.label.clone());
        match (label, state.rng.u8(..3)) {
            (Some(label), 0) => RunChoice::Result(Value::Int(answer(&label))),
            (Some(label), 1) if state.plan.tame => RunChoice::Result(Value::Int(answer(&label))),
            (_, 1) if !state.plan.tame => RunChoice::Skip,
            _ => RunChoice::Retry,
        }
    };
    drop(runs.resolve(run, at, choice, "simulator", |_| vec![]));
}

/// A new run from a random place of another one.
fn fork(sim: &Sim, runs: &Runs, run: RunId) {
    let entries = runs.journal().entries(run, 0, usize::MAX).unwrap_or_default();
    let effects: Vec<(Position, bool)> = entries
        .iter()
        .filter_map(|entry| match &entry.kind {
            EntryKind::Outcome { position, result, class, .. } => {
                Some((position.clone(), result.is_ok() && class.acts()))
            }
            EntryKind::Wait { position, .. } => Some((position.clone(), false)),
            _ => None,
        })
        .collect();
    let fork = {
        let mut state = sim.lock();
        let at = state.rng.choice(&effects).map(|(at, _)| at.clone());
        let pinned = state.rng.choice(&effects).filter(|(_, pinnable)| *pinnable).map(|(at, _)| at.clone());
        let set = match pinned {
            Some(at) if !state.plan.tame && state.rng.bool() => vec![(at, Value::Int(7))],
            _ => vec![],
        };
        Fork { at, set, input: None }
    };
    drop(runs.fork(run, &fork, RunOwner::Daemon));
}
