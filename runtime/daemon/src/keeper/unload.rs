//! Services that give back memory of a graphics card while they run on, instead of being stopped: Ollama unloads its models, a
//! queue is paused.
//!
//! How the function ends says nothing yet: what the driver measures does. A service that gave memory back counts with what it is
//! seen to use, until there is room for what it declared again. What it gave back is a fact of the journal.

use std::sync::Arc;
use std::time::Duration;

use hob_journal::Commit;
use hob_planner::declaration::{Gpu, Hook, Pick};
use hob_planner::room::{Standing, Verdict, Wanted};
use hob_planner::{Service, ServiceState};
use hob_supervisor::Running;

use super::around::{self, Unfinished};
use super::cards::{FRESH, displace, holds, users};
use super::table::Table;
use super::{Inner, event, tell};

/// How often one looks whether memory has come back.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What the driver has at least to show that memory has come back, however long the function took.
const RELEASE: Duration = Duration::from_secs(1);

/// How often in [`AGAIN_WITHIN`] a service that takes again what it gave back is told so once more. After that it is stopped.
const TIMES_MAX: u32 = 3;

/// See [`TIMES_MAX`].
const AGAIN_WITHIN: Duration = Duration::from_secs(600);

/// How a service stands to the memory that it was promised.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    at: At,
    /// When it was told last to give it back, on the supervisor's clock, and how often so after it had done so already.
    asked: Duration,
    times: u32,
    /// When its function had given it back, on the supervisor's clock.
    ended: Duration,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum At {
    /// It may use it.
    #[default]
    Promised,
    /// Its function gives it back.
    Unloading,
    /// The function has ended; the memory is still to be seen free.
    Settling,
    /// It gave it back, and runs on.
    GivenBack,
    /// It did not come back in time.
    Stuck,
    /// It may use it again, and its function tells it so.
    Loading,
}

impl Memory {
    /// How it stands to others, where that is for this to say.
    pub(super) fn standing(&self) -> Option<Standing> {
        match self.at {
            At::Unloading | At::Settling => Some(Standing::Leaves),
            At::Loading => Some(Standing::Stays),
            At::Promised | At::GivenBack | At::Stuck => None,
        }
    }

    /// Whether it counts with what it was seen to use at `looked`. What was seen before its function had ended, perhaps before
    /// it had taken any, is no measure of what it gave back.
    pub(super) fn is_given_back(&self, looked: Duration) -> bool {
        matches!(self.at, At::Settling | At::GivenBack) && looked >= self.ended
    }

    /// Whether it wants what it was promised.
    pub(super) fn waits(&self) -> bool {
        matches!(self.at, At::GivenBack | At::Stuck)
    }

    /// For people, where there is something to say.
    pub(super) fn told(&self) -> Option<String> {
        let told = match self.at {
            At::Promised => return None,
            At::Unloading | At::Settling => "it gives back memory of a graphics card",
            At::GivenBack => "it gave back its memory of a graphics card, until there is room again",
            At::Stuck => "it should give back memory of a graphics card, and does not",
            At::Loading => "it is told that it has memory of a graphics card again",
        };
        Some(told.to_owned())
    }
}

/// Whether somebody has given memory back, or is at it.
pub(super) fn is_any(inner: &Inner, table: &Table) -> bool {
    users(inner, table).any(|(_, _, entry)| entry.share.memory.at != At::Promised && holds(entry))
}

/// When to look next, on the supervisor's clock: who gave memory back may take it again.
pub(super) fn next(inner: &Inner, table: &Table, now: Duration) -> Option<Duration> {
    is_any(inner, table).then_some(now + FRESH)
}

/// Those who gave memory back, and want it again on the card that they run on.
pub(super) fn wanted<'t>(inner: &'t Inner, table: &'t Table) -> impl Iterator<Item = Wanted> + 't {
    let waiting =
        users(inner, table).filter(|(.., entry)| entry.share.memory.waits() && holds(entry) && !entry.busy);
    waiting.map(|(service, gpu, entry)| {
        let pick = entry.share.card.clone().map_or_else(|| gpu.pick.clone(), Pick::Id);
        Wanted { who: service.name.clone(), gpu: Gpu { pick, ..gpu.clone() }, displaced: true }
    })
}

/// Memory for which nobody waits any more has come back, as was seen at `looked`.
pub(super) fn settle(inner: &Inner, table: &mut Table, verdicts: &[(String, Verdict)], looked: Duration) {
    let is_awaited = |name: &str| {
        verdicts.iter().any(|(_, it)| matches!(it, Verdict::Soon(who) if who.iter().any(|it| it == name)))
    };
    for service in inner.homelab.services.iter().filter(|it| it.hooks.has(Hook::Unload)) {
        let Some(entry) = table.services.get_mut(&service.name) else { continue };
        let memory = &mut entry.share.memory;
        if memory.at == At::Settling && memory.is_given_back(looked) && !is_awaited(&service.name) {
            memory.at = At::GivenBack;
        }
    }
}

/// What was decided about one who gave memory back and runs on.
pub(super) fn decided(inner: &Arc<Inner>, table: &mut Table, name: &str, verdict: Verdict) {
    match verdict {
        Verdict::Start(_) => restore(inner, table, name),
        Verdict::MakeRoom(others) => others.iter().for_each(|it| displace(inner, table, it, name)),
        Verdict::Soon(_) | Verdict::Wait(_) | Verdict::Refuse(_) => {}
    }
}

/// Has a service give back memory for another one, if it can; `false` where it has to be stopped.
pub(super) fn begin(inner: &Arc<Inner>, table: &mut Table, name: &str, who: &str) -> bool {
    let now = inner.supervisors.now();
    let can = inner.homelab.service(name).filter(|it| it.hooks.has(Hook::Unload));
    let can = can.filter(|_| inner.around.launch.get().is_some());
    let (Some(service), Some(entry)) = (can.cloned(), table.services.get_mut(name)) else { return false };
    let runs_well = !entry.busy && matches!(entry.state, ServiceState::Ready | ServiceState::Degraded);
    let Some(running) = entry.running.clone().filter(|_| runs_well) else { return false };
    let memory = &mut entry.share.memory;
    let is_early = now.saturating_sub(memory.asked) < AGAIN_WITHIN;
    let times = match memory.at {
        At::Promised => 0,
        At::GivenBack if is_early => memory.times + 1,
        At::GivenBack => 1,
        At::Unloading | At::Settling | At::Stuck | At::Loading => return false,
    };
    if times > TIMES_MAX {
        return false;
    }
    *memory = Memory { at: At::Unloading, asked: now, times, ended: now };
    let attempt = entry.attempt;
    tracing::info!(service = name, "it gives back memory of a graphics card for {who}");
    // What it did before is done anew.
    inner.runs.journal().submit(Commit::one(around::paid(name, Hook::Unload)));
    let begun = in_background(inner, attempt, service, running, unload);
    if !begun {
        table.share(name).memory.at = At::Stuck;
    }
    begun
}

/// Goes on with what a hob before this one had begun, and knows what was given back.
pub(super) fn resume(inner: &Arc<Inner>, service: &Service, running: &Running) {
    let instance = running.instance.to_string();
    let is_due = |hook| service.hooks.has(hook) && around::is_owed(inner, &service.name, hook, &instance);
    let (at, work): (_, Work) = match () {
        () if is_due(Hook::Unload) => (At::Unloading, unload),
        () if is_due(Hook::Load) => (At::Loading, load),
        () => return,
    };
    if inner.around.launch.get().is_none() {
        return;
    }
    let mut table = inner.table();
    let attempt = table.services.get(&service.name).map_or(0, |entry| entry.attempt);
    table.share(&service.name).memory.at = at;
    if !in_background(inner, attempt, service.clone(), running.clone(), work) {
        table.share(&service.name).memory.at = At::Promised;
    }
}

/// What one does with a life of a service that began as this attempt.
type Work = fn(&Inner, &Service, &Running, u64);

fn in_background(inner: &Arc<Inner>, attempt: u64, service: Service, running: Running, work: Work) -> bool {
    let inner = Arc::clone(inner);
    let name = service.name.clone();
    let spawned = std::thread::Builder::new()
        .name(format!("hob-memory-{name}"))
        .spawn(move || work(&inner, &service, &running, attempt));
    if let Err(error) = &spawned {
        tracing::warn!(service = name, %error, "no thread can be started");
    }
    spawned.is_ok()
}

fn unload(inner: &Inner, service: &Service, running: &Running, attempt: u64) {
    let (name, instance) = (&service.name, running.instance.to_string());
    let began = inner.supervisors.now();
    let given_up = || !around::goes_on(inner, name, attempt);
    match around::perform(inner, service, Hook::Unload, Some(&instance), &given_up) {
        Ok(()) => {
            let until = (began + service.hooks.limit(Hook::Unload)).max(inner.supervisors.now() + RELEASE);
            await_release(inner, service, attempt, until);
        }
        Err(Unfinished::Failed(why)) => {
            change(inner, name, attempt, At::Unloading, At::Stuck);
            around::settle(inner, service, Hook::Unload, Err(Unfinished::Failed(why)));
        }
        // Whoever stopped it says what becomes of it; the next hob goes on where this one ends.
        Err(Unfinished::GivenUp | Unfinished::Ended(_)) => {
            change(inner, name, attempt, At::Unloading, At::Promised);
        }
    }
}

/// Has somebody look again and again, until nobody waits for this memory any more, or the time is up.
fn await_release(inner: &Inner, service: &Service, attempt: u64, until: Duration) {
    let name = &service.name;
    let now = inner.supervisors.now();
    inner.update(name, |entry| entry.share.memory.ended = now);
    change(inner, name, attempt, At::Unloading, At::Settling);
    while inner.supervisors.now() < until {
        let mut table = inner.table();
        let entry = table.services.get(name).filter(|entry| entry.attempt == attempt);
        if entry.is_none_or(|entry| entry.share.memory.at != At::Settling) {
            return;
        }
        table.cards.look_anew();
        table.stale = true;
        drop(table);
        inner.changed.notify_all();
        if inner.cancel.wait_timeout(LOOK_AGAIN) {
            return;
        }
    }
    if !change(inner, name, attempt, At::Settling, At::Stuck) {
        return;
    }
    let limit = hob_model::duration::format(service.hooks.limit(Hook::Unload));
    let why = format!("`unload` has ended, and its memory is not free after {limit}");
    tracing::warn!(service = name, "{why}");
    let writes = vec![around::paid(name, Hook::Unload), event(inner, name, "hook_failed", &why)];
    tell(inner, writes);
}

/// It may use what it was promised again.
fn restore(inner: &Arc<Inner>, table: &mut Table, name: &str) {
    let Some(service) = inner.homelab.service(name) else { return };
    let Some(entry) = table.services.get_mut(name) else { return };
    let loads = service.hooks.has(Hook::Load);
    entry.share.memory.at = if loads { At::Loading } else { At::Promised };
    tracing::info!(service = name, "it has its memory of a graphics card again");
    let mut writes = vec![around::paid(name, Hook::Unload)];
    let (attempt, running) = (entry.attempt, entry.running.clone().filter(|_| loads));
    if let Some(running) = &running {
        writes.push(around::fact(name, Hook::Load, Some(&running.instance.to_string()), None));
    }
    inner.runs.journal().submit(Commit { writes });
    if let Some(running) = running
        && !in_background(inner, attempt, service.clone(), running, load)
    {
        table.share(name).memory.at = At::Promised;
    }
}

fn load(inner: &Inner, service: &Service, running: &Running, attempt: u64) {
    let (name, instance) = (&service.name, running.instance.to_string());
    let given_up = || !around::goes_on(inner, name, attempt);
    let done = around::perform(inner, service, Hook::Load, Some(&instance), &given_up);
    change(inner, name, attempt, At::Loading, At::Promised);
    if !matches!(done, Err(Unfinished::GivenUp)) {
        around::settle(inner, service, Hook::Load, done);
    }
}

/// Goes on from one to the other, unless the service is somewhere else by now; whether it did.
fn change(inner: &Inner, name: &str, attempt: u64, from: At, to: At) -> bool {
    let mut is_there = false;
    inner.update(name, |entry| {
        is_there = entry.attempt == attempt && entry.share.memory.at == from;
        if is_there {
            entry.share.memory.at = to;
        }
    });
    is_there
}

#[cfg(test)]
mod tests {
    use super::{At, Duration, Memory};

    #[test]
    fn a_look_from_before_the_end_of_its_function_says_nothing_of_what_it_gave_back() {
        let memory = |at| Memory { at, ended: Duration::from_secs(5), ..Memory::default() };
        let given_back = |at, looked| memory(at).is_given_back(Duration::from_secs(looked));
        assert!(given_back(At::Settling, 5) && given_back(At::GivenBack, 6));
        assert!(!given_back(At::Settling, 4) && !given_back(At::Stuck, 6) && !given_back(At::Unloading, 6));
    }
}
