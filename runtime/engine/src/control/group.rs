//! A group of branches: what `parallel` and `race` have in common.
//!
//! The caller's thread evaluates branches, too, so that a pool can never be exhausted by groups inside of groups. A
//! branch that waits gives its thread back; when its wait is fulfilled while siblings still work, it is evaluated
//! again, alone, from its pristine captures and its records.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use hob_model::{BranchEnd, OpError, Value};
use rhai::{Dynamic, FnPtr, NativeCallContext};

use super::recorded::{Control, Thrown};
use super::slots::{Slot, Slots, State};
use super::step::call_in;
use crate::branch::BranchCx;
use crate::convert::{deep_copy, deep_copy_fn, to_value};
use crate::host::BRANCH_THREADS_MAX;
use crate::latch::{Halt, Latch, on_fresh_flag};
use crate::run_cx::{Delivery, Mode, RunCx, lock};

/// One branch to be evaluated.
pub(super) struct Work {
    pub(super) label: String,
    pub(super) function: FnPtr,
    pub(super) args: Vec<Dynamic>,
}

/// The label of a branch, and its value or error.
pub(super) type Ending = (String, Result<Value, OpError>);

/// When a group is over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// When all branches are; `fail_fast` cancels the rest after the first error.
    All { fail_fast: bool },
    /// When the first is; the rest are cancelled.
    First,
}

pub(super) struct Group<'a> {
    control: &'a Control,
    rule: Rule,
    max: usize,
    slots: Mutex<Slots>,
}

impl<'a> Group<'a> {
    pub(super) fn new(control: &'a Control, work: Vec<Work>, rule: Rule, max: usize) -> Self {
        let all: Vec<Slot> = work
            .into_iter()
            .map(|work| Slot {
                position: control.branch.position.branch(control.n, &work.label),
                work,
                latch: Latch::inside(&control.branch.latch),
                state: State::Queued,
                compensates: false,
            })
            .collect();
        let slots = Slots { queue: (0..all.len()).collect(), all, running: 0, first: None, over: false };
        Self { control, rule, max, slots: Mutex::new(slots) }
    }

    fn run_cx(&self) -> &Arc<RunCx> {
        &self.control.branch.run
    }

    /// Evaluates the branches; gives the label and the result of each, for a race only the winner's.
    pub(super) fn run(&self, ctx: &NativeCallContext<'_>) -> Result<Vec<Ending>, Thrown> {
        if let (Rule::First, Some(Ok(winner))) = (self.rule, self.control.outcome()) {
            // The race is over: the others are not looked at again.
            let label = winner.as_str().unwrap_or_default().to_owned();
            lock(&self.slots).queue.retain(|_| false);
            self.serve_winner(&label);
        } else {
            self.serve_ended();
        }
        std::thread::scope(|scope| {
            while let Some(at) = self.next(true) {
                while self.another_helps() {
                    let Some(extra) = self.next(false) else {
                        self.release_helper();
                        break;
                    };
                    let turns = Arc::clone(&self.run_cx().host.turns);
                    let thread = turns.register();
                    let builder = std::thread::Builder::new()
                        .name("hob-branch".into())
                        .stack_size(crate::SCRIPT_STACK_BYTES);
                    let helper = move || {
                        turns.begin(thread);
                        self.evaluate(ctx, extra);
                        while let Some(at) = self.next(false) {
                            self.evaluate(ctx, at);
                        }
                        self.release_helper();
                        turns.end();
                    };
                    if builder.spawn_scoped(scope, helper).is_err() {
                        // No thread to be had: the caller does it.
                        self.run_cx().host.turns.end();
                        self.requeue(extra);
                        self.release_helper();
                        break;
                    }
                }
                self.evaluate(ctx, at);
            }
        });
        self.conclude()
    }

    /// Branches whose end is recorded are not evaluated again, unless their compensations must be found.
    fn serve_ended(&self) {
        let mut slots = lock(&self.slots);
        let mut queue = std::mem::take(&mut slots.queue);
        let records = lock(&self.run_cx().records);
        let served: Vec<_> = queue
            .iter()
            .filter_map(|at| {
                let ended = records.ended.get(slots.all[*at].position.as_str())?;
                if ended.compensates && ended.end == BranchEnd::Cancelled {
                    slots.all[*at].latch.cancel();
                }
                // Time travel into the branch has to evaluate it.
                let looked_into = self.run_cx().aims_into(&slots.all[*at].position);
                (!ended.compensates && !looked_into).then(|| (*at, ended.end.clone()))
            })
            .collect();
        drop(records);
        for (at, end) in served {
            queue.retain(|queued| *queued != at);
            slots.all[at].state = self.state_of(end);
        }
        slots.queue = queue;
        drop(slots);
        self.decide_again();
    }

    /// The process may have ended between the end of a branch and what followed from it for the others. One that is
    /// still to be evaluated, for its compensations, has decided all the same.
    fn decide_again(&self) {
        let mut inbox = lock(&self.run_cx().coordination);
        let mut slots = lock(&self.slots);
        let ended = |slot: &Slot| {
            let ended = lock(&self.run_cx().records).ended.get(slot.position.as_str())?.end.clone();
            Some(self.state_of(ended))
        };
        let decided = slots.all.iter().position(|slot| ended(slot).is_some_and(|state| self.decides(&state)));
        if let Some(at) = decided {
            self.decide(&mut slots, at, &mut inbox);
        }
    }

    fn decides(&self, state: &State) -> bool {
        match self.rule {
            Rule::First => matches!(state, State::Ended(_)),
            Rule::All { fail_fast } => fail_fast && matches!(state, State::Ended(Err(_))),
        }
    }

    /// The end of one branch is the end of the group.
    fn decide(&self, slots: &mut Slots, at: usize, inbox: &mut Vec<Delivery>) {
        if self.rule == Rule::First {
            slots.first = Some(at);
            let label = slots.all[at].work.label.clone();
            if self.run_cx().mode != Mode::Verify {
                self.control.record_outcome(&Ok(Value::String(label)), vec![]);
            }
        }
        slots.over = true;
        self.cancel_rest(slots, at, inbox);
    }

    fn state_of(&self, end: BranchEnd) -> State {
        match end {
            BranchEnd::Value(payload) => State::Ended(self.run_cx().load(&payload)),
            BranchEnd::Error(error) => State::Ended(Err(error)),
            BranchEnd::Cancelled => State::Cancelled,
        }
    }

    fn serve_winner(&self, label: &str) {
        let mut slots = lock(&self.slots);
        slots.over = true;
        for at in 0..slots.all.len() {
            let (ended, known) = {
                let (records, position) = (lock(&self.run_cx().records), &slots.all[at].position);
                (records.ended.get(position.as_str()).cloned(), records.knows(position))
            };
            let wins = slots.all[at].work.label == label;
            if wins {
                slots.first = Some(at);
            } else if ended.as_ref().is_none_or(|ended| ended.end == BranchEnd::Cancelled) {
                slots.all[at].latch.cancel();
            }
            match ended {
                Some(ended) if !ended.compensates => slots.all[at].state = self.state_of(ended.end),
                // What the process left of a loser is still to be given up.
                None if !wins && !known => slots.all[at].state = State::Cancelled,
                _ => slots.queue.push_back(at),
            }
        }
    }

    /// The next branch to evaluate. The caller's thread (`patient`) waits for one as long as any may still come.
    fn next(&self, patient: bool) -> Option<usize> {
        let run = self.run_cx();
        let mut coordination = lock(&run.coordination);
        loop {
            self.take_deliveries(&mut coordination);
            self.note_cancel();
            {
                let mut slots = lock(&self.slots);
                if let Some(at) = slots.queue.pop_front() {
                    slots.running += 1;
                    slots.all[at].state = State::Running;
                    return Some(at);
                }
                if slots.running == 0 || !patient {
                    return None;
                }
            }
            if run.host.turns.cooperative() {
                drop(coordination);
                run.host.turns.pass();
                coordination = lock(&run.coordination);
            } else {
                coordination =
                    run.changed.wait(coordination).unwrap_or_else(std::sync::PoisonError::into_inner);
            }
        }
    }

    /// Whether another thread may help; if so, it is counted.
    fn another_helps(&self) -> bool {
        let slots = lock(&self.slots);
        // A verifying pass goes one way, so that time travel can count its steps.
        let one_by_one = self.run_cx().mode == Mode::Verify;
        if one_by_one || slots.queue.is_empty() || slots.running >= self.max {
            return false;
        }
        let threads = &self.run_cx().host.branch_threads;
        threads
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| (n < BRANCH_THREADS_MAX).then_some(n + 1))
            .is_ok()
    }

    fn release_helper(&self) {
        self.run_cx().host.branch_threads.fetch_sub(1, Ordering::SeqCst);
    }

    fn requeue(&self, at: usize) {
        let mut slots = lock(&self.slots);
        slots.running -= 1;
        slots.all[at].state = State::Queued;
        slots.queue.push_front(at);
    }

    /// Ends of waits that came meanwhile: their branches are evaluated again.
    fn take_deliveries(&self, inbox: &mut Vec<Delivery>) {
        let mut slots = lock(&self.slots);
        for at in 0..slots.all.len() {
            let slot = &slots.all[at];
            if !matches!(slot.state, State::Suspended) {
                continue;
            }
            let mine: Vec<_> =
                inbox.extract_if(.., |delivery| delivery.position.is_within(&slot.position)).collect();
            if mine.is_empty() {
                continue;
            }
            let mut records = lock(&self.run_cx().records);
            for delivery in mine {
                records.fulfil(&delivery.position, delivery.result);
            }
            drop(records);
            slots.all[at].state = State::Queued;
            slots.all[at].latch = Latch::inside(&self.control.branch.latch);
            slots.queue.push_back(at);
        }
    }

    /// A cancelled run or group has no use for branches that have not begun or that wait.
    fn note_cancel(&self) {
        if !self.control.branch.must_end() || self.run_cx().mode == Mode::Verify {
            return;
        }
        let mut slots = lock(&self.slots);
        // Branches with records are still evaluated: their compensations must be found.
        let records = lock(&self.run_cx().records);
        let fresh: Vec<usize> =
            slots.queue.iter().copied().filter(|at| !records.knows(&slots.all[*at].position)).collect();
        drop(records);
        slots.queue.retain(|at| !fresh.contains(at));
        for at in fresh {
            slots.all[at].state = State::Halted(Halt::Cancelled);
        }
    }

    fn evaluate(&self, ctx: &NativeCallContext<'_>, at: usize) {
        let (branch, function, args) = {
            let slots = lock(&self.slots);
            let slot = &slots.all[at];
            let branch = BranchCx::open(self.run_cx(), slot.position.clone(), Arc::clone(&slot.latch), true);
            (
                branch,
                deep_copy_fn(&slot.work.function),
                slot.work.args.iter().map(deep_copy).collect::<Vec<_>>(),
            )
        };
        let result = on_fresh_flag(|| call_in(ctx, &branch, &function, &args));
        let state = match branch.latch.get().cloned() {
            Some(Halt::Suspended) => State::Suspended,
            Some(Halt::Cancelled) if self.is_over(&branch) => State::Leaving,
            Some(halt) => State::Halted(halt),
            None => self.end(&branch, result),
        };
        branch.close();
        if branch.compensates() {
            self.control.branch.mark_compensates();
        }
        self.settle(at, state, branch.compensates());
    }

    /// Whether the branch was cancelled by its group, and not with the whole run.
    fn is_over(&self, branch: &BranchCx) -> bool {
        // One whose cancel is recorded stands behind the call that the cancel of the run ends at.
        let recorded = lock(&self.run_cx().records).ended.contains_key(branch.position.as_str());
        let over = recorded || lock(&self.slots).over && !self.control.branch.must_end();
        over && branch.latch.is_cancelled()
    }

    /// Records the end of a branch that came to it.
    fn end(&self, branch: &BranchCx, result: crate::convert::RhaiResult) -> State {
        let run = self.run_cx();
        let result =
            result.map_err(|error| crate::diagnose::error_value(&error)).and_then(|value| to_value(&value));
        let known = lock(&run.records).ended.get(branch.position.as_str()).cloned();
        if let Some(ended) = known {
            return self.state_of(ended.end);
        }
        if run.mode == Mode::Verify {
            return State::Ended(result);
        }
        let (end, blob) = match &result {
            Ok(value) => {
                let (payload, blob) = RunCx::payload(value);
                (BranchEnd::Value(payload), blob)
            }
            Err(error) => (BranchEnd::Error(error.clone()), None),
        };
        let entry = run.branch_ended(branch.position.clone(), end, branch.compensates());
        run.append(vec![entry], blob.into_iter().collect());
        State::Ended(result)
    }

    /// Takes in how an evaluation ended, and tells the rest when the group is over by it.
    fn settle(&self, at: usize, state: State, compensates: bool) {
        let run = self.run_cx();
        let mut inbox = lock(&run.coordination);
        let mut slots = lock(&self.slots);
        slots.running -= 1;
        let decides = self.decides(&state);
        slots.all[at].state = state;
        slots.all[at].compensates |= compensates;
        if decides && !slots.over {
            self.decide(&mut slots, at, &mut inbox);
        }
        // A branch may come to wait, or to its end, after the group was decided without it.
        let late = slots.over && !self.control.branch.must_end();
        if matches!(slots.all[at].state, State::Leaving)
            || late && matches!(slots.all[at].state, State::Suspended)
        {
            self.cancel_branch(&mut slots, at, &mut inbox);
        }
        drop(slots);
        drop(inbox);
        run.stop_cancelled_flights();
        run.changed.notify_all();
    }

    fn cancel_rest(&self, slots: &mut Slots, winner: usize, inbox: &mut Vec<Delivery>) {
        let unstarted: Vec<usize> = slots.queue.drain(..).collect();
        for at in 0..slots.all.len() {
            if at == winner {
                if unstarted.contains(&at) {
                    slots.queue.push_back(at);
                }
                continue;
            }
            slots.all[at].latch.cancel();
            if matches!(slots.all[at].state, State::Suspended) {
                self.cancel_branch(slots, at, inbox);
            } else if unstarted.contains(&at) {
                // One with records is evaluated up to their end: its compensations must be found.
                if lock(&self.run_cx().records).knows(&slots.all[at].position) {
                    slots.queue.push_back(at);
                } else {
                    self.cancel_branch(slots, at, inbox);
                }
            }
        }
    }

    /// Records that a branch was cancelled by its group, with what it leaves behind.
    fn cancel_branch(&self, slots: &mut Slots, at: usize, inbox: &mut Vec<Delivery>) {
        let run = self.run_cx();
        slots.all[at].state = State::Cancelled;
        if run.mode == Mode::Verify {
            return;
        }
        let position = slots.all[at].position.clone();
        let mut records = lock(&run.records);
        // A wait that was fulfilled a moment ago is over; nobody takes its end any more.
        for delivery in inbox.extract_if(.., |delivery| delivery.position.is_within(&position)) {
            records.fulfil(&delivery.position, delivery.result);
        }
        if records.ended.contains_key(position.as_str()) {
            return;
        }
        let mut entries = records.give_up(&position);
        drop(records);
        lock(&run.doubts).retain(|doubt| !doubt.is_within(&position));
        let compensates = slots.all[at].compensates;
        entries.push(run.branch_ended(position, BranchEnd::Cancelled, compensates));
        run.append(entries, vec![]);
    }

    /// The run was cancelled: what its waiting branches wait for must not be fulfilled while compensations run.
    fn withdraw<'s>(&self, waiting: impl Iterator<Item = &'s Slot>) {
        let run = self.run_cx();
        if run.mode == Mode::Verify {
            return;
        }
        let mut inbox = lock(&run.coordination);
        for slot in waiting {
            let mut records = lock(&run.records);
            for delivery in inbox.extract_if(.., |delivery| delivery.position.is_within(&slot.position)) {
                records.fulfil(&delivery.position, delivery.result);
            }
            let entries = records.give_up(&slot.position);
            drop(records);
            if !entries.is_empty() {
                run.append(entries, vec![]);
            }
        }
    }

    /// What the group comes to: its results, or the end of the branch it stands in.
    fn conclude(&self) -> Result<Vec<Ending>, Thrown> {
        let mut slots = lock(&self.slots);
        let branch = &self.control.branch;
        let all = std::mem::take(&mut slots.all);
        // A replay of a group that was decided does not know of branches without records: nor does the cancel of the run
        // end the group at these.
        let unheard = |slot: &Slot| slots.over && !lock(&self.run_cx().records).knows(&slot.position);
        // What ends the run goes before what only suspends it.
        if let Some(halt) = all.iter().find_map(|slot| match &slot.state {
            State::Halted(Halt::Cancelled) if unheard(slot) => None,
            State::Halted(halt) => Some(halt.clone()),
            _ => None,
        }) {
            if halt == Halt::Cancelled {
                self.withdraw(all.iter().filter(|slot| matches!(slot.state, State::Suspended)));
            }
            return Err(branch.halt(halt));
        }
        if self.rule == Rule::First {
            let winner = slots.first.and_then(|first| all.into_iter().nth(first));
            return match winner {
                Some(Slot { state: State::Ended(result), work, .. }) => Ok(vec![(work.label, result)]),
                _ => Err(branch.halt(Halt::Suspended)),
            };
        }
        if all.iter().any(|slot| matches!(slot.state, State::Suspended)) {
            return Err(branch.halt(Halt::Suspended));
        }
        let result = |slot: Slot| match slot.state {
            State::Ended(result) => (slot.work.label, result),
            _ => (slot.work.label, Err(cancelled_by_sibling())),
        };
        let mut results: Vec<_> = all.into_iter().map(result).collect();
        // The error that made the others end is the one that is thrown, not the cancellations it caused.
        let fatal = results
            .iter()
            .position(|(_, r)| matches!(r, Err(e) if e.kind != hob_model::ErrorKind::Cancelled));
        if let Some(at) = fatal {
            results.swap(0, at);
        }
        Ok(results)
    }
}

fn cancelled_by_sibling() -> OpError {
    OpError::cancelled("this branch was cancelled because another one failed").retryable(false)
}
