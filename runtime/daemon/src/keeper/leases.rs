//! Memory of graphics cards that runs have for themselves. Leases are facts of the journal, and outlive hob; they end with their
//! run.

use std::collections::BTreeMap;
use std::time::Instant;

use hob_journal::{Commit, Write};
use hob_model::{Diagnostic, OpError, RunId, Value};
use hob_planner::declaration::Gpu;
use hob_planner::room::{Card, Claim, Refusal, Standing, Verdict, Wanted};
use hob_primitive::Patience;
use hob_supervisor::graphics::{Lease, Leases, RUNS, Seen};

use super::asked::LOOK_AGAIN;
use super::cards::CURE;
use super::hold::write;
use super::table::Table;
use super::{Inner, KeptServices};

const PREFIX: &str = "lease/";

/// Leases, and who wants one, by their ids: the run, and which of its calls.
#[derive(Clone, Debug, Default)]
pub(super) struct Ledger {
    held: BTreeMap<String, Held>,
    asked: BTreeMap<String, Asked>,
}

#[derive(Clone, Debug)]
struct Held {
    run: RunId,
    lease: Lease,
    priority: i64,
}

#[derive(Clone, Debug)]
struct Asked {
    gpu: Gpu,
    /// What it waits for, for people.
    note: String,
    /// Why it cannot be.
    refused: Option<Refusal>,
}

/// For people: whose it is.
pub(super) fn told(id: &str) -> String {
    format!("the run {}", id.split('/').next().unwrap_or(id))
}

impl Ledger {
    /// Whether somebody wants a lease.
    pub(super) fn is_asked(&self) -> bool {
        self.asked.values().any(|it| it.refused.is_none())
    }

    /// The ids of those who want one.
    pub(super) fn asked(&self) -> impl Iterator<Item = &String> {
        self.asked.keys()
    }

    /// The ids of those who have one.
    pub(super) fn holders(&self) -> impl Iterator<Item = &String> {
        self.held.keys()
    }

    /// What is wanted.
    pub(super) fn wanted(&self) -> impl Iterator<Item = Wanted> {
        let open = self.asked.iter().filter(|(_, it)| it.refused.is_none());
        open.map(|(id, it)| Wanted { who: id.clone(), gpu: it.gpu.clone(), displaced: false })
    }

    /// What runs hold. Which of their processes belongs to which lease nobody says: what all of them use is counted with the
    /// leases as far as it goes.
    pub(super) fn claims(&self, seen: &Seen) -> Vec<Claim> {
        let mut claims = Vec::new();
        for card in &seen.cards {
            let used = seen.uses.iter().find(|it| it.service == RUNS && it.card == card.id);
            let mut used = used.map_or(Some(0), |it| it.bytes);
            for (id, held) in self.held.iter().filter(|(_, held)| held.lease.card == card.id) {
                let declared = held.lease.bytes;
                let measured = used.map(|used| used.min(declared));
                used = used.zip(measured).map(|(used, measured)| used - measured);
                let (who, card) = (id.clone(), card.id.clone());
                let standing = Standing::Stays;
                let (priority, given_back) = (held.priority, false);
                claims.push(Claim { who, card, declared, measured, priority, standing, given_back });
            }
        }
        claims
    }

    /// Nobody who asks can have anything.
    pub(super) fn refuse_all(&mut self, why: &Refusal) {
        self.asked.values_mut().for_each(|asked| asked.refused = Some(why.clone()));
    }

    /// Takes in what was decided about one who asked.
    pub(super) fn take_in(&mut self, id: &str, verdict: &Verdict, cards: &[Card]) {
        let Some(asked) = self.asked.get_mut(id) else { return };
        match verdict {
            Verdict::Start(Some(card)) => self.grant(id, card, cards),
            // Leases have memory, and so one card.
            Verdict::Start(None) => {}
            Verdict::Refuse(why) => asked.refused = Some(why.clone()),
            Verdict::Wait(why) => why.clone_into(&mut asked.note),
            Verdict::Soon(who) | Verdict::MakeRoom(who) => {
                asked.note = format!("{} is making room", who.join(", "));
            }
        }
    }

    fn grant(&mut self, id: &str, card: &str, cards: &[Card]) {
        let run = id.split('/').next().and_then(RunId::parse);
        let found = cards.iter().enumerate().find(|(_, it)| it.id == card);
        if let (Some(run), Some((index, card)), Some(asked)) = (run, found, self.asked.remove(id)) {
            let lease = Lease {
                id: id.to_owned(),
                card: card.id.clone(),
                name: card.name.clone(),
                index,
                bytes: asked.gpu.vram.unwrap_or_default(),
            };
            self.held.insert(id.to_owned(), Held { run, lease, priority: asked.gpu.priority });
        }
    }

    /// Those who wait, each with what it wants and why it waits.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (&str, &Gpu, &str)> {
        self.asked.iter().map(|(id, it)| (id.as_str(), &it.gpu, it.note.as_str()))
    }
}

fn fact(id: &str, held: Option<&Held>) -> Write {
    let value = held.map(|held| {
        Value::map([
            ("card", Value::from(held.lease.card.as_str())),
            ("name", Value::from(held.lease.name.as_str())),
            ("index", Value::from(held.lease.index)),
            ("bytes", Value::from(held.lease.bytes)),
            ("priority", Value::from(held.priority)),
        ])
    });
    Write::Fact { key: format!("{PREFIX}{id}"), value }
}

fn recorded(id: &str, value: &Value) -> Option<Held> {
    let text = |key: &str| value.get(key)?.as_str().map(str::to_owned);
    let number = |key: &str| value.get(key)?.as_int();
    let lease = Lease {
        id: id.to_owned(),
        card: text("card")?,
        name: text("name")?,
        index: usize::try_from(number("index")?).ok()?,
        bytes: u64::try_from(number("bytes")?).ok()?,
    };
    Some(Held { run: RunId::parse(id.split('/').next()?)?, lease, priority: number("priority")? })
}

/// Takes in the recorded leases. Those of runs that ended while nobody looked end now.
pub(super) fn load(inner: &Inner) -> Result<(), Diagnostic> {
    let journal = inner.runs.journal();
    let facts = journal.facts(PREFIX).map_err(|error| hob_runs::journal_diagnostic(&error))?;
    for (key, value) in facts {
        let id = key.strip_prefix(PREFIX).unwrap_or(&key);
        let lives = |held: &Held| inner.runs.row(held.run).is_ok_and(|row| !row.status.ended());
        match recorded(id, &value).filter(lives) {
            Some(held) => drop(inner.table().cards.leases.held.insert(id.to_owned(), held)),
            None => drop(journal.submit(Commit::one(fact(id, None)))),
        }
    }
    Ok(())
}

/// Ends what a run has: it has ended.
pub(super) fn run_ended(inner: &Inner, run: RunId) {
    let mut table = inner.table();
    let ended = table.cards.leases.held.extract_if(.., |_, held| held.run == run);
    let writes: Vec<Write> = ended.map(|(id, _)| fact(&id, None)).collect();
    if !writes.is_empty() {
        wake(inner, table);
        inner.runs.journal().submit(Commit { writes });
    }
}

fn wake(inner: &Inner, mut table: std::sync::MutexGuard<'_, Table>) {
    table.stale = true;
    drop(table);
    inner.changed.notify_all();
}

impl Leases for KeptServices {
    fn reserve(
        &self,
        run: &str,
        effect: &str,
        wanted: &Gpu,
        patience: Patience<'_>,
    ) -> Result<Lease, OpError> {
        let inner = self.inner()?;
        let id = format!("{run}/{effect}");
        let mut table = inner.table();
        if let Some(held) = table.cards.leases.held.get(&id) {
            return Ok(held.lease.clone());
        }
        let asked = Asked { gpu: wanted.clone(), note: String::new(), refused: None };
        table.cards.leases.asked.insert(id.clone(), asked);
        wake(&inner, table);
        let answered = wait(&inner, &id, patience);
        let mut table = inner.table();
        table.cards.leases.asked.remove(&id);
        let held = match answered {
            Ok(held) => held,
            Err(error) => {
                // It may have been granted just now.
                table.cards.leases.held.remove(&id);
                wake(&inner, table);
                return Err(error);
            }
        };
        drop(table);
        let lease = held.lease.clone();
        write(&inner, vec![fact(&id, Some(&held))]).inspect_err(|_| {
            let mut table = inner.table();
            table.cards.leases.held.remove(&id);
            wake(&inner, table);
        })?;
        Ok(lease)
    }

    fn release(&self, run: &str, lease: &str) -> Result<bool, OpError> {
        let inner = self.inner()?;
        if lease.split('/').next() != Some(run) {
            return Err(OpError::invalid(format!("`{lease}` is no lease of this run"))
                .hint("pass what `gpu::reserve` gave; leases of other runs end with them"));
        }
        if !inner.table().cards.leases.held.contains_key(lease) {
            return Ok(false);
        }
        write(&inner, vec![fact(lease, None)])?;
        let mut table = inner.table();
        table.cards.leases.held.remove(lease);
        wake(&inner, table);
        Ok(true)
    }
}

/// Blocks until it is decided.
#[allow(clippy::disallowed_methods)] // patience is measured in real time
fn wait(inner: &Inner, id: &str, patience: Patience<'_>) -> Result<Held, OpError> {
    let begun = Instant::now();
    let mut table = inner.table();
    loop {
        if let Some(held) = table.cards.leases.held.get(id) {
            return Ok(held.clone());
        }
        let Some(asked) = table.cards.leases.asked.get(id) else {
            return Err(OpError::failed("nobody knows of it any more"));
        };
        if let Some(why) = &asked.refused {
            let refused = OpError::unavailable(why.why.clone()).hint(why.cure.clone());
            return Err(refused.nothing_happened());
        }
        if table.closing || patience.cancel.is_cancelled() {
            return Err(OpError::cancelled("told to stop while it waited for room on a graphics card"));
        }
        if patience.timeout.is_some_and(|limit| begun.elapsed() >= limit) {
            let text = format!("there is no room on a graphics card: {}", asked.note);
            return Err(OpError::timeout(text).hint(CURE).nothing_happened());
        }
        let waited = inner.changed.wait_timeout(table, LOOK_AGAIN);
        table = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
    }
}
