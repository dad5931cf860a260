//! One run as its entries tell it, and what the rules allow it next.

use std::collections::HashMap;

use hob_model::position::Leaf;
use hob_model::{BranchEnd, EffectClass, EntryKind, Position, Resolution, RunEnd, RunStarted, RunStatus};

use super::places::{branches_around, compensates, side_by_side};
use super::witness::Act;

/// How an effect stands.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Phase {
    /// An intent; `past`: the process that wrote it is gone, so the outcome is unknown.
    Intended {
        past: bool,
    },
    Waiting,
    Doubt,
    Resolved(Resolution),
    Done {
        ok: bool,
    },
    Reopened,
    /// Withdrawn or abandoned.
    GivenUp,
    /// Only a compensation is registered there.
    Registered,
}

#[derive(Clone, Debug)]
pub(super) struct Effect {
    pub(super) phase: Phase,
    class: Option<EffectClass>,
    key: Option<String>,
    /// The number of its last entry.
    seq: u64,
    /// How often a person or a policy said that it be done again.
    licences: u32,
}

#[derive(Clone, Debug)]
struct Compensation {
    position: Position,
    seq: u64,
    always: bool,
    /// It has no outcome: `undo(…)` or `finally(…)`, or the option of an effect under way.
    explicit: bool,
    ended: bool,
}

/// One run.
#[derive(Clone, Debug, Default)]
pub(super) struct RunModel {
    pub(super) started: Option<RunStarted>,
    pub(super) entries: u64,
    pub(super) durable: u64,
    pub(super) effects: HashMap<Position, Effect>,
    /// Effects that are under way, waited for or in doubt.
    open: Vec<Position>,
    open_branches: Vec<Position>,
    /// How the branches that ended did.
    ended_branches: HashMap<Position, bool>,
    /// Outcomes that no disk has yet.
    undurable: Vec<(u64, Position)>,
    compensations: Vec<Compensation>,
    /// How often each effect reached the world: no crash takes that back.
    pub(super) acts: HashMap<(Position, String), u32>,
    pub(super) cancelled: Option<u64>,
    /// A second cancel ends compensations, too.
    killed: bool,
    paused: bool,
    /// Whether a value was given that what follows need not fit.
    pub(super) overridden: bool,
    /// The number of the entry that gave the last value.
    given_at: u64,
    /// Whether the run was seen to go another way because of it.
    differs: bool,
    pub(super) end: Option<RunEnd>,
}

type Judged = Result<(), String>;

impl RunModel {
    /// The key of the intent at a position.
    pub(super) fn key_of(&self, position: &Position) -> Option<&str> {
        self.effects.get(position)?.key.as_deref()
    }

    /// How often somebody said that the effect at a position be done again.
    pub(super) fn licences(&self, position: &Position) -> u32 {
        self.effects.get(position).map_or(0, |effect| effect.licences)
    }

    /// The effects in doubt.
    pub(super) fn doubts(&self) -> Vec<Position> {
        self.open.iter().filter(|at| self.effects[*at].phase == Phase::Doubt).cloned().collect()
    }

    /// Entries before number `entries` are on disk.
    pub(super) fn made_durable(&mut self, entries: u64) {
        self.durable = self.durable.max(entries);
        self.undurable.retain(|(seq, _)| *seq >= entries);
    }

    /// The process is gone.
    pub(super) fn restarted(&mut self) {
        self.durable = self.entries;
        self.undurable.clear();
        self.take_over();
        self.cancelled = self.cancelled.map(|_| 0);
    }

    /// What is recorded is another process's, or another run's: nobody waits for the outcome of its intents.
    pub(super) fn take_over(&mut self) {
        self.pass(&Phase::Intended { past: false });
    }

    /// What is in this phase becomes another's intent.
    fn pass(&mut self, phase: &Phase) {
        for effect in self.effects.values_mut().filter(|it| it.phase == *phase) {
            effect.phase = Phase::Intended { past: true };
        }
    }

    /// Whether something new may happen at `position` while `open` is.
    fn waits_for(&self, position: &Position, open: &Position) -> bool {
        // A race has its winner while the others are still on their way out.
        let own = open.as_str().strip_prefix(position.as_str()).is_some_and(|rest| rest.starts_with('.'));
        open != position && !own && !side_by_side(position, open)
    }

    /// Whether something may begin at `position`.
    fn may_begin(&self, position: &Position) -> Judged {
        if let Some(open) = self.open.iter().find(|open| self.waits_for(position, open)) {
            return Err(format!("past the latch: {open} is {:?}", self.effects[open].phase));
        }
        let around = |branch: &Position| position.is_within(branch);
        // The branches of a cancelled run stay as they are; its waits are withdrawn.
        let left = |open: &Position| self.cancelled.is_some() && compensates(position) && !compensates(open);
        let holds = |open: &&Position| !around(open) && !left(open) && self.waits_for(position, open);
        if let Some(open) = self.open_branches.iter().find(holds) {
            return Err(format!("past the branch {open}, which has not ended"));
        }
        let ended =
            branches_around(position).into_iter().find(|branch| self.ended_branches.contains_key(branch));
        match ended {
            Some(branch) => Err(format!("inside the branch {branch}, which has ended")),
            None => Ok(()),
        }
    }

    fn begin(&mut self, position: &Position) -> Judged {
        let allowed = self.may_begin(position);
        for branch in branches_around(position) {
            if !self.open_branches.contains(&branch) && !self.ended_branches.contains_key(&branch) {
                self.open_branches.push(branch);
            }
        }
        allowed
    }

    fn set(&mut self, position: &Position, phase: Phase, class: Option<EffectClass>) {
        let open = matches!(phase, Phase::Intended { .. } | Phase::Waiting | Phase::Doubt);
        self.open.retain(|at| at != position);
        if open {
            self.open.push(position.clone());
        }
        let seq = self.entries;
        let fresh = Effect { phase: Phase::Registered, class: None, key: None, seq, licences: 0 };
        let effect = self.effects.entry(position.clone()).or_insert(fresh);
        effect.phase = phase;
        effect.class = class.or(effect.class);
        effect.seq = seq;
    }

    /// Takes in the next entry; `adopted` says whether the world knows the key of the effect.
    pub(super) fn apply(&mut self, kind: &EntryKind, moment: u64, adopted: bool) -> Judged {
        let judged = self.take_in(kind, moment, adopted);
        self.entries += 1;
        judged
    }

    fn take_in(&mut self, kind: &EntryKind, moment: u64, adopted: bool) -> Judged {
        if self.end.is_some() && !matches!(kind, EntryKind::Reopened { .. }) {
            return Err("the run has ended".to_owned());
        }
        match kind {
            EntryKind::Started(started) => self.started = Some(started.clone()),
            EntryKind::CancelRequested { .. } => {
                self.killed = self.cancelled.is_some();
                // Who cancels a paused run wants its compensations.
                self.paused = false;
                self.cancelled = Some(self.cancelled.unwrap_or(moment));
            }
            EntryKind::Paused { .. } => {
                self.paused = true;
                self.differs |= self.overridden;
            }
            EntryKind::Resumed | EntryKind::Migrated { .. } => self.paused = false,
            EntryKind::Intent { position, class, key, .. } => return self.intent(position, *class, key),
            EntryKind::Outcome { position, class, result, .. } => {
                return self.outcome(position, *class, result.is_ok(), adopted);
            }
            EntryKind::Wait { position, .. } => return self.wait(position),
            EntryKind::Withdrawn { position } => return self.give_up(position, &[Phase::Waiting]),
            EntryKind::Abandoned { position } => {
                let again = Phase::Resolved(Resolution::Retry);
                let open =
                    [Phase::Intended { past: true }, Phase::Intended { past: false }, Phase::Doubt, again];
                return self.give_up(position, &open);
            }
            EntryKind::Compensation { position, always, .. } => return self.compensation(position, *always),
            EntryKind::Doubt { position } => return self.doubt(position),
            EntryKind::Resolved { position, resolution, by } => {
                return self.resolved(position, resolution, by);
            }
            EntryKind::Reopened { position, .. } => self.reopened(position),
            EntryKind::Overridden { position, .. } => self.given(position),
            EntryKind::BranchEnded { position, end, .. } => return self.branch_ended(position, end),
            EntryKind::StepEnded { position, .. } => return self.nothing_open_in(position),
            EntryKind::Suspended { status } => return self.suspended(*status),
            EntryKind::Ended { end, .. } => return self.ended(end),
            EntryKind::Log { .. } | EntryKind::Interrupted | EntryKind::Captured { .. } => {}
        }
        Ok(())
    }

    /// A value is given: from here the run may go other ways than the one it was forked from.
    fn given(&mut self, position: &Position) {
        self.overridden = true;
        self.given_at = self.entries;
        // It comes again to branches that the original had begun, and to effects that it had given up.
        self.open_branches.retain(|branch| position.is_within(branch));
        self.pass(&Phase::GivenUp);
        self.set(position, Phase::Done { ok: true }, None);
    }

    fn phase(&self, position: &Position) -> Option<&Phase> {
        self.effects.get(position).map(|effect| &effect.phase)
    }

    fn intent(&mut self, position: &Position, class: EffectClass, key: &str) -> Judged {
        let keyed = class == EffectClass::Keyed;
        let allowed = match self.phase(position) {
            None => self.begin(position),
            Some(Phase::Reopened | Phase::Resolved(Resolution::Retry)) => Ok(()),
            Some(Phase::Intended { past: true }) if keyed => Ok(()),
            Some(phase) => Err(format!("an intent where the effect is {phase:?}")),
        };
        self.set(position, Phase::Intended { past: false }, Some(class));
        if let Some(effect) = self.effects.get_mut(position) {
            effect.key = Some(key.to_owned());
        }
        allowed
    }

    fn outcome(&mut self, position: &Position, class: EffectClass, ok: bool, adopted: bool) -> Judged {
        let known = self.effects.get(position).and_then(|effect| effect.class);
        let keyed = known == Some(EffectClass::Keyed);
        let allowed = match self.phase(position) {
            None => self.begin(position),
            Some(Phase::Intended { past: false } | Phase::Waiting | Phase::Reopened | Phase::Registered) => {
                Ok(())
            }
            // The world was asked, or the disk has no room for another intent.
            Some(Phase::Intended { past: true }) if keyed && (adopted || !ok) => Ok(()),
            Some(Phase::Resolved(Resolution::Retry)) if !ok => Ok(()),
            Some(Phase::Intended { past: true }) if keyed => Err("adopted what never happened".to_owned()),
            Some(phase) => Err(format!("an outcome where the effect is {phase:?}")),
        };
        self.set(position, Phase::Done { ok }, Some(class));
        self.undurable.push((self.entries, position.clone()));
        allowed
    }

    fn wait(&mut self, position: &Position) -> Judged {
        let allowed = match self.phase(position) {
            None => self.begin(position),
            Some(Phase::Reopened) => Ok(()),
            Some(phase) => Err(format!("a wait where the effect is {phase:?}")),
        };
        self.set(position, Phase::Waiting, Some(EffectClass::Observe));
        allowed
    }

    fn give_up(&mut self, position: &Position, open: &[Phase]) -> Judged {
        let allowed = match self.phase(position) {
            Some(phase) if open.contains(phase) => Ok(()),
            phase => Err(format!("given up where the effect is {phase:?}")),
        };
        self.set(position, Phase::GivenUp, None);
        allowed
    }

    fn doubt(&mut self, position: &Position) -> Judged {
        let allowed = match self.phase(position) {
            Some(Phase::Intended { past: true } | Phase::Reopened) => Ok(()),
            // A second cancel cut a compensation off, and the process ended before the run did.
            Some(Phase::GivenUp) if self.killed => Ok(()),
            phase => Err(format!("in doubt where the effect is {phase:?}")),
        };
        self.set(position, Phase::Doubt, None);
        allowed
    }

    fn resolved(&mut self, position: &Position, resolution: &Resolution, by: &str) -> Judged {
        let allowed = match self.phase(position) {
            Some(Phase::Doubt) => Ok(()),
            Some(Phase::Intended { past: true }) if by == "on_doubt" => Ok(()),
            // As in `doubt`: a second cancel cut a compensation off, and the process ended before the run did.
            Some(Phase::GivenUp) if self.killed && by == "on_doubt" => Ok(()),
            phase => Err(format!("settled where the effect is {phase:?}")),
        };
        self.set(position, Phase::Resolved(resolution.clone()), None);
        if let (Resolution::Retry, Some(effect)) = (resolution, self.effects.get_mut(position)) {
            effect.licences += 1;
        }
        allowed
    }

    fn reopened(&mut self, position: &Position) {
        self.end = None;
        self.set(position, Phase::Reopened, None);
        if let Some(effect) = self.effects.get_mut(position) {
            effect.licences += 1;
        }
        for branch in branches_around(position) {
            self.ended_branches.remove(&branch);
            if let Some(Leaf::Branch(n, _)) = branch.leaf() {
                let group = branch.parent().effect(n);
                if self.effects.contains_key(&group) {
                    self.set(&group, Phase::Reopened, None);
                }
            }
        }
    }

    fn compensation(&mut self, position: &Position, always: bool) -> Judged {
        let explicit = !self.effects.contains_key(position);
        let allowed = if explicit { self.begin(position) } else { Ok(()) };
        if explicit {
            self.set(position, Phase::Registered, None);
        }
        // What a compensation registers itself is never due: it runs when all is over.
        if !compensates(position) && !self.compensations.iter().any(|known| known.position == *position) {
            let (position, seq) = (position.clone(), self.entries);
            self.compensations.push(Compensation { position, seq, always, explicit, ended: false });
        }
        allowed
    }

    fn nothing_open_in(&self, branch: &Position) -> Judged {
        match self.open.iter().find(|open| open.is_within(branch)) {
            Some(open) => Err(format!("{open} inside of it is {:?}", self.effects[open].phase)),
            None => Ok(()),
        }
    }

    fn branch_ended(&mut self, position: &Position, end: &BranchEnd) -> Judged {
        if self.ended_branches.contains_key(position) {
            return Err("it has ended before".to_owned());
        }
        let allowed = self.nothing_open_in(position);
        self.open_branches.retain(|branch| !branch.is_within(position));
        self.ended_branches.insert(position.clone(), matches!(end, BranchEnd::Value(_)));
        let of = |it: &Compensation| undo_of(&it.position) == *position;
        if let Some(ours) = self.compensations.iter().position(of) {
            self.compensations[ours].ended = true;
            let seq = self.compensations[ours].seq;
            let all = self.ends_badly();
            let later =
                self.compensations.iter().find(|it| it.seq > seq && (it.always || all) && self.is_due(it));
            if let Some(later) = later {
                return Err(format!("the compensation at {} comes first", later.position));
            }
        }
        allowed
    }

    /// Whether the run is known to end badly, so that all compensations are due. A cancel may have come too late.
    fn ends_badly(&self) -> bool {
        self.compensations.iter().any(|it| it.ended && !it.always)
    }

    /// Whether a compensation has work left.
    fn is_due(&self, compensation: &Compensation) -> bool {
        let stands = match self.phase(&compensation.position) {
            Some(Phase::Done { ok }) => *ok,
            Some(Phase::Resolved(Resolution::Skip | Resolution::Result(_))) => true,
            _ => compensation.explicit && self.is_passed(&compensation.position),
        };
        // On another way it may not come by where the original registered it.
        let lost = self.differs && compensation.seq < self.given_at;
        stands && !compensation.ended && !lost
    }

    /// Whether the branch went on after `position`. Until then a compensation without an outcome may be that of an
    /// effect under way, which nobody can undo without its result.
    fn is_passed(&self, position: &Position) -> bool {
        let Some(Leaf::Effect(n)) = position.leaf() else { return false };
        let next = position.parent().effect(n + 1);
        self.effects.contains_key(&next) || self.ended_branches.get(&position.parent()) == Some(&true)
    }

    fn suspended(&self, status: RunStatus) -> Judged {
        let has = |phase: &Phase| self.open.iter().any(|at| self.effects[at].phase == *phase);
        match status {
            RunStatus::InDoubt if has(&Phase::Doubt) => Ok(()),
            RunStatus::Waiting if has(&Phase::Waiting) && !has(&Phase::Doubt) => Ok(()),
            _ => Err("nothing would ever wake it".to_owned()),
        }
    }

    fn ended(&mut self, end: &RunEnd) -> Judged {
        self.end = Some(end.clone());
        let settled = match (end, self.open.first()) {
            (RunEnd::Succeeded(_) | RunEnd::Failed(_) | RunEnd::Cancelled, Some(open)) => {
                Err(format!("{open} is {:?}", self.effects[open].phase))
            }
            _ => Ok(()),
        };
        let all = matches!(end, RunEnd::Failed(_) | RunEnd::Cancelled);
        let forked = self.started.as_ref().is_some_and(|started| started.trigger.starts_with("fork:"));
        let carried = matches!(end, RunEnd::Carried(_));
        let left = self.compensations.iter().find(|it| (all || it.always) && self.is_due(it));
        match left {
            Some(left) if !forked && !carried && !self.killed => {
                Err(format!("the compensation at {} did not run", left.position))
            }
            _ => settled,
        }
    }

    /// Judges an effect at the moment at which it reaches the world.
    pub(super) fn judge(&mut self, act: &Act, class: EffectClass) -> Judged {
        if self.end.is_some() {
            return Err("the run has ended".to_owned());
        }
        if self.paused {
            return Err("the run is paused".to_owned());
        }
        let cancelled = self.cancelled.is_some_and(|at| at < act.cleared);
        if cancelled && !compensates(&act.position) {
            return Err("the run was cancelled before".to_owned());
        }
        self.may_begin(&act.position)?;
        let effect = self.effects.get(&act.position);
        if let Some(effect) = effect.filter(|effect| matches!(effect.phase, Phase::Done { .. })) {
            return Err(format!("a completed effect is repeated ({:?})", effect.phase));
        }
        if class.needs_intent() {
            match effect {
                Some(Effect { phase: Phase::Intended { past: false }, seq, .. }) if *seq < self.durable => {}
                Some(effect) => return Err(format!("without a durable intent ({:?})", effect.phase)),
                None => return Err("without an intent".to_owned()),
            }
        }
        let licences = effect.map_or(0, |effect| effect.licences);
        // A race around it may have been decided a moment ago.
        let around = |at: &Position| {
            act.position.as_str().strip_prefix(at.as_str()).is_some_and(|rest| rest.starts_with('.'))
        };
        let left = |at: &Position| self.cancelled.is_some() && compensates(&act.position) && !compensates(at);
        let before = |at: &Position| self.waits_for(&act.position, at) && !around(at) && !left(at);
        if class.acts()
            && let Some((_, at)) = self.undurable.iter().find(|(_, at)| before(at))
        {
            return Err(format!("it acts before the outcome of {at} is durable"));
        }
        if self.durable == 0 && class.acts() {
            return Err("its run is not durable".to_owned());
        }
        let count = self.acts.entry((act.position.clone(), act.label.clone())).or_insert(0);
        *count += 1;
        if class == EffectClass::Once && *count > 1 + licences {
            return Err(format!("a once effect is done {count} times with {licences} licences"));
        }
        Ok(())
    }
}

/// The branch in which the compensation registered at `position` runs.
fn undo_of(position: &Position) -> Position {
    match position.leaf() {
        Some(Leaf::Effect(n)) => position.parent().branch(n, "undo"),
        _ => position.branch(1, "undo"),
    }
}
