//! The witness: it sees every entry on its way into the journal and every effect on the world, and knows what the
//! rules of durable runs allow next. It shares no code with the engine, so that both cannot be wrong in the same way.

use std::collections::{BTreeMap, HashMap, VecDeque};

use hob_journal::{Commit, Journal, Ticket, Write};
use hob_model::{EffectClass, Entry, EntryKind, Position, RunId};

use super::model::RunModel;

/// One effect that the world saw.
#[derive(Clone, Debug)]
pub(super) struct Act {
    /// Of which run.
    pub(super) run: RunId,
    /// Where in it.
    pub(super) position: Position,
    /// The idempotency key.
    pub(super) key: String,
    /// The argument; its first letter is the class in force.
    pub(super) label: String,
    /// The moment at which the branch last asked whether it may go on.
    pub(super) cleared: u64,
}

impl Act {
    /// The class in force, as the script's author meant it.
    pub(super) fn class(&self) -> EffectClass {
        class_of(&self.label)
    }
}

/// The class in force of an effect with this label.
pub(super) fn class_of(label: &str) -> EffectClass {
    match label.as_bytes().first() {
        Some(b'e') => EffectClass::Ensure,
        Some(b'k') => EffectClass::Keyed,
        Some(b'o') => EffectClass::Once,
        _ => EffectClass::Observe,
    }
}

/// What the witness knows.
#[derive(Default)]
pub(super) struct Witness {
    /// Each run as the journal has it, durable or not.
    pub(super) runs: BTreeMap<RunId, RunModel>,
    /// Each effect, in order; no crash takes any of it back.
    pub(super) acts: Vec<Act>,
    /// How often each key of a `keyed` effect acted.
    pub(super) by_key: HashMap<String, u32>,
    /// What is submitted and not durable.
    pending: VecDeque<(Ticket, RunId, u64)>,
    /// The first rule that was broken.
    pub(super) violation: Option<String>,
    /// The story of the simulation, when it is wanted.
    pub(super) story: Option<Vec<String>>,
}

impl Witness {
    /// Notes a broken rule.
    pub(super) fn broken(&mut self, rule: impl Into<String>) {
        let rule = rule.into();
        self.tell(|| format!("BROKEN {rule}"));
        self.violation.get_or_insert(rule);
    }

    /// Adds a line to the story.
    pub(super) fn tell(&mut self, line: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            story.push(line());
        }
    }

    /// A commit was accepted by the journal.
    pub(super) fn submitted(&mut self, ticket: Ticket, commit: &Commit, moment: u64) {
        let forked = commit.writes.iter().any(|write| {
            matches!(write, Write::Entry(_, Entry { kind: EntryKind::Started(started), .. }) if started.trigger.starts_with("fork:"))
        });
        for write in &commit.writes {
            let Write::Entry(run, entry) = write else { continue };
            self.tell(|| format!("  entry {} {} {}", short(*run), entry.seq, line_of(&entry.kind)));
            let known = self.runs.entry(*run).or_default();
            if entry.seq != known.entries {
                let rule =
                    format!("entry {} of {} does not follow {}", entry.seq, short(*run), known.entries);
                return self.broken(rule);
            }
            let adopted = match &entry.kind {
                EntryKind::Outcome { position, .. } => {
                    known.key_of(position).and_then(|key| self.by_key.get(key)).is_some()
                }
                _ => false,
            };
            let result = known.apply(&entry.kind, moment, adopted);
            self.pending.push_back((ticket, *run, entry.seq + 1));
            if forked {
                // What a fork shares with another run was judged there, and is of the past here.
                known.take_over();
                continue;
            }
            if let Err(rule) = result {
                let rule =
                    format!("run {}: entry {} ({}): {rule}", short(*run), entry.seq, line_of(&entry.kind));
                self.broken(rule);
            }
        }
    }

    /// All commits up to `ticket` are on disk.
    pub(super) fn durable(&mut self, ticket: Ticket) {
        while let Some((submitted, run, entries)) = self.pending.front().copied() {
            if submitted > ticket {
                break;
            }
            self.pending.pop_front();
            if let Some(known) = self.runs.get_mut(&run) {
                known.made_durable(entries);
            }
        }
    }

    /// An effect changes or reads the world, now.
    pub(super) fn act(&mut self, act: Act) {
        self.tell(|| format!("  ACT {} {} {}", short(act.run), act.position, act.label));
        let class = act.class();
        let judged = match self.runs.get_mut(&act.run) {
            Some(run) => run.judge(&act, class),
            None => Err("a run without a first entry acts".to_owned()),
        };
        if let Err(rule) = judged {
            self.broken(format!("run {}: {} at {}: {rule}", short(act.run), act.label, act.position));
        }
        if class == EffectClass::Keyed {
            let count = self.by_key.entry(act.key.clone()).or_insert(0);
            *count += 1;
            let count = *count;
            let licences = self.runs.get(&act.run).map_or(0, |run| run.licences(&act.position));
            if count > 1 + licences {
                self.broken(format!(
                    "a keyed effect was done {count} times: {} at {}",
                    act.label, act.position
                ));
            }
        }
        self.acts.push(act);
    }

    /// A new process takes over `journal`: what was durable must be there, and nothing that was never written.
    pub(super) fn restart(&mut self, journal: &dyn Journal) {
        self.pending.clear();
        let mut old = std::mem::take(&mut self.runs);
        let rows = journal.runs(&hob_journal::RunFilter::default()).unwrap_or_default();
        for row in rows {
            let mut model = RunModel::default();
            for entry in journal.entries(row.run, 0, usize::MAX).unwrap_or_default() {
                let _ = model.apply(&entry.kind, 0, true);
            }
            model.restarted();
            if let Some(before) = old.get_mut(&row.run) {
                model.acts = std::mem::take(&mut before.acts);
            }
            self.runs.insert(row.run, model);
        }
        for (run, before) in &old {
            let now = self.runs.get(run).map_or(0, |model| model.entries);
            if now < before.durable {
                self.broken(format!(
                    "run {}: {} durable entries, {now} after a restart",
                    short(*run),
                    before.durable
                ));
            }
            if now > before.entries {
                self.broken(format!(
                    "run {}: {now} entries after a restart, {} were written",
                    short(*run),
                    before.entries
                ));
            }
        }
        let unknown: Vec<RunId> = self.runs.keys().filter(|run| !old.contains_key(run)).copied().collect();
        if !old.is_empty() && !unknown.is_empty() {
            self.broken(format!("runs that nobody started: {unknown:?}"));
        }
    }
}

/// The last characters of an id: simulated ids differ there.
pub(super) fn short(run: RunId) -> String {
    let text = run.to_string();
    text[text.len() - 4..].to_owned()
}

/// An entry as one line.
pub(super) fn line_of(kind: &EntryKind) -> String {
    let mut text = format!("{kind:?}");
    if let Some(at) = text.find(", source: Source") {
        text.truncate(at);
    }
    text.truncate(text.floor_char_boundary(160));
    text
}
