//! Services that share graphics cards: the gate before a start that [`hob_planner::room`] decides about, from what services
//! declare and what the driver tells.
//!
//! The deciding thread never asks a driver: it has somebody look, and decides when the look has ended. A look is not used when
//! somebody has let go of a card since.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hob_model::{Code, Diagnostic, OpError, Value};
use hob_planner::declaration::Gpu;
use hob_planner::room::{self, Claim, Refusal, Standing, Verdict, Wanted};
use hob_planner::{Homelab, Service, ServiceState};
use hob_primitive::Ports;
use hob_supervisor::Running;
use hob_supervisor::graphics::{Graphics, RUNS, Seen};
use serde_json::{Value as Json, json};

use super::table::{Entry, Table};
use super::{Inner, asked, leases, stop, unload};

/// How old a look may be that is decided by.
pub(super) const FRESH: Duration = Duration::from_secs(1);

/// What people can do who want to know more.
pub(super) const CURE: &str = "`hob gpu` shows who has how much";

/// What is known of the cards.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cards {
    seen: Option<Look>,
    looking: bool,
    pub(super) leases: leases::Ledger,
}

/// What a look found.
#[derive(Clone, Debug)]
struct Look {
    /// When it began, on the supervisor's clock.
    at: Duration,
    /// Who held a part of a card then.
    holders: BTreeSet<String>,
    found: Result<Seen, OpError>,
}

/// How a service stands to the cards.
#[derive(Clone, Debug, Default)]
pub(crate) struct Share {
    /// The card that it has, by its id; absent where it has none of its own.
    pub(super) card: Option<String>,
    /// Whether it waits until somebody goes: then it is at rest.
    pub(super) waits: bool,
    /// Whether it was stopped to make room, and has not come back.
    displaced: bool,
    /// Why it cannot have what it needs.
    refused: Option<Refusal>,
    /// How far it is with giving memory back while it runs.
    pub(super) memory: unload::Memory,
}

impl Share {
    /// It starts.
    pub(super) fn started(&mut self) {
        (self.waits, self.displaced) = (false, false);
        self.memory = unload::Memory::default();
    }
}

/// What a service was given of a card when it started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Given {
    pub(super) card: Option<String>,
    pub(super) devices: Vec<String>,
}

impl Given {
    /// What the fact of a service says of it.
    pub(super) fn recorded(fact: &Value) -> Self {
        let given = fact.get("given");
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let devices = match given.and_then(|it| it.get("devices")) {
            Some(Value::Array(devices)) => devices.iter().filter_map(text).collect(),
            _ => Vec::new(),
        };
        Self { card: given.and_then(|it| it.get("card")).and_then(text), devices }
    }

    /// For the fact of a service; most are given nothing.
    pub(super) fn value(&self) -> Value {
        if *self == Self::default() {
            return Value::Unit;
        }
        Value::map([("card", Value::from(self.card.clone())), ("devices", Value::from(self.devices.clone()))])
    }
}

/// Refuses a service for which there is no card; gives what one is handed that starts.
pub(super) fn handed(inner: &Inner, service: &Service) -> Result<Given, OpError> {
    if service.gpu.is_none() {
        return Ok(Given::default());
    }
    let share = inner.table().services.get(&service.name).map(|it| it.share.clone()).unwrap_or_default();
    if let Some(why) = share.refused {
        return Err(OpError::unavailable(why.why).hint(why.cure).nothing_happened());
    }
    let devices = match inner.supervisors.graphics().filter(|_| service.body.takes_gpu()) {
        Some(graphics) => graphics.devices(share.card.as_deref())?,
        None => Vec::new(),
    };
    Ok(Given { card: share.card, devices })
}

/// Whether a service may hold memory of a card: it runs, or somebody starts or stops it.
pub(super) fn holds(entry: &Entry) -> bool {
    entry.busy || entry.running.is_some() || entry.state.is_alive() || entry.state == ServiceState::Unknown
}

/// The services that use cards, each with what is known of it.
pub(super) fn users<'t>(
    inner: &'t Inner,
    table: &'t Table,
) -> impl Iterator<Item = (&'t Service, &'t Gpu, &'t Entry)> {
    let services = inner.homelab.services.iter();
    services.filter_map(|it| Some((it, it.gpu.as_ref()?, table.services.get(&it.name)?)))
}

fn holders(inner: &Inner, table: &Table) -> BTreeSet<String> {
    let services =
        users(inner, table).filter(|(_, _, entry)| holds(entry)).map(|(service, ..)| &service.name);
    services.chain(table.cards.leases.holders()).cloned().collect()
}

/// Whether a service can be stopped for another one.
fn standing(inner: &Inner, table: &Table, name: &str, entry: &Entry) -> Standing {
    if entry.share.displaced {
        return Standing::Leaves;
    }
    if let Some(standing) = entry.share.memory.standing() {
        return standing;
    }
    let awaits_gate = entry.state == ServiceState::Starting && !entry.calling;
    let rests = !entry.busy && matches!(entry.state, ServiceState::Ready | ServiceState::Degraded);
    let with = stop::order_with_dependents(inner, name);
    let held = with.iter().filter_map(|it| table.services.get(it)).any(Entry::is_held);
    if (rests || awaits_gate) && entry.wanted && !held && !entry.image.is_under_way() {
        Standing::Yields
    } else {
        Standing::Stays
    }
}

/// Who holds what of the cards, as was seen at `looked` on the supervisor's clock.
fn claims(inner: &Inner, table: &Table, seen: &Seen, looked: Duration) -> Vec<Claim> {
    let mut claims = table.cards.leases.claims(seen);
    for (service, gpu, entry) in users(inner, table).filter(|(_, _, entry)| holds(entry)) {
        // One whose card nobody wrote down is taken to have the first that it may have.
        let first = room::candidates(&seen.cards, gpu).ok().and_then(|cards| Some(cards.first()?.id.clone()));
        let own = entry.share.card.clone().or_else(|| first.filter(|_| gpu.vram.is_some()));
        for card in &seen.cards {
            let is_own = own.as_ref().is_none_or(|own| *own == card.id);
            let used = seen.uses.iter().find(|it| it.service == service.name && it.card == card.id);
            let measured = used.map_or(Some(0), |it| it.bytes);
            if is_own || used.is_some() {
                claims.push(Claim {
                    who: service.name.clone(),
                    card: card.id.clone(),
                    declared: gpu.vram.filter(|_| is_own).unwrap_or_default(),
                    measured,
                    priority: gpu.priority,
                    standing: standing(inner, table, &service.name, entry),
                    given_back: entry.share.memory.is_given_back(looked),
                });
            }
        }
    }
    claims
}

/// Those of these services, which nothing else holds up, that may start now. For others who are less important is stopped, if
/// they say so. Runs that want memory of a card are decided about with them.
pub(super) fn admitted(
    inner: &Arc<Inner>,
    table: &mut Table,
    free: Vec<String>,
    now: Duration,
) -> Vec<String> {
    let gpu_of = |name: &String| inner.homelab.service(name).and_then(|it| it.gpu.clone());
    let (want, mut start): (Vec<String>, _) = free.into_iter().partition(|name| gpu_of(name).is_some());
    if want.is_empty() && !table.cards.leases.is_asked() && !unload::is_any(inner, table) {
        return start;
    }
    let Some(Look { at, found, .. }) = fresh(inner, table, now) else {
        look_in_background(inner, table, now);
        return start;
    };
    let seen = match found {
        Ok(seen) => seen,
        Err(error) => {
            let cure = error.hint.clone().unwrap_or_else(|| CURE.to_owned());
            let why = Refusal { why: error.to_string(), cure };
            table.cards.leases.refuse_all(&why);
            inner.changed.notify_all();
            for name in want {
                table.share(&name).refused = Some(why.clone());
                start.push(name);
            }
            return start;
        }
    };
    let claims = claims(inner, table, &seen, at);
    let wanted = want.into_iter().filter_map(|who| {
        let displaced = table.services.get(&who)?.share.displaced;
        Some(Wanted { gpu: gpu_of(&who)?, who, displaced })
    });
    let wanted: Vec<Wanted> =
        wanted.chain(table.cards.leases.wanted()).chain(unload::wanted(inner, table)).collect();
    let verdicts = room::decide(&seen.cards, &claims, &wanted);
    unload::settle(inner, table, &verdicts, at);
    for (name, verdict) in verdicts {
        let Some(entry) = table.services.get_mut(&name) else {
            leased(inner, table, &name, &verdict, &seen);
            continue;
        };
        if entry.share.memory.waits() && holds(entry) {
            unload::decided(inner, table, &name, verdict);
            continue;
        }
        entry.share.waits = matches!(verdict, Verdict::Wait(_));
        entry.share.refused = None;
        match verdict {
            Verdict::Start(card) => {
                entry.share.card = card;
                start.push(name);
            }
            Verdict::Refuse(why) => {
                entry.share.refused = Some(why);
                start.push(name);
            }
            Verdict::Wait(why) => entry.note = format!("waits for room on a graphics card: {why}"),
            Verdict::Soon(who) => entry.note = soon(&who),
            Verdict::MakeRoom(stop) => {
                entry.note = soon(&stop);
                stop.into_iter().for_each(|victim| displace(inner, table, &victim, &name));
            }
        }
    }
    for name in room::overdrawn(&seen.cards, &claims) {
        displace(inner, table, &name, "those who were promised what it took again");
    }
    start
}

/// For people: what one waits for.
fn soon(who: &[String]) -> String {
    format!("waits until {} has made room on a graphics card", who.join(", "))
}

/// What was decided about a run that wants memory of a card.
fn leased(inner: &Arc<Inner>, table: &mut Table, id: &str, verdict: &Verdict, seen: &Seen) {
    table.cards.leases.take_in(id, verdict, &seen.cards);
    if let Verdict::MakeRoom(stop) = verdict {
        stop.iter().for_each(|victim| displace(inner, table, victim, &leases::told(id)));
    }
    inner.changed.notify_all();
}

/// Has a service give back memory for a more important one. Where it cannot, it is stopped with what needs it, and comes back
/// when there is room again.
pub(super) fn displace(inner: &Arc<Inner>, table: &mut Table, name: &str, who: &str) {
    if unload::begin(inner, table, name, who) {
        return;
    }
    table.share(name).displaced = true;
    let (inner_of_thread, name_of_thread) = (Arc::clone(inner), name.to_owned());
    let cause = format!("makes room on a graphics card for {who}");
    let spawned = std::thread::Builder::new().name(format!("hob-displace-{name}")).spawn(move || {
        let (inner, name) = (&inner_of_thread, &name_of_thread);
        tracing::info!(service = name, cause, "stopping");
        let with = stop::order_with_dependents(inner, name);
        asked::stop_to_start(inner, name, &with, &cause);
        // What cannot be stopped holds what it has.
        inner.update(name, |entry| entry.share.displaced &= !holds(entry));
    });
    if let Err(error) = spawned {
        tracing::warn!(service = name, %error, "no thread can be started");
        table.share(name).displaced = false;
    }
}

impl Cards {
    /// The next decision takes a new look.
    pub(super) fn look_anew(&mut self) {
        self.seen = None;
    }
}

/// What the last look found, if it can still be decided by.
fn fresh(inner: &Inner, table: &Table, now: Duration) -> Option<Look> {
    let look = table.cards.seen.as_ref()?;
    let is_fresh = now.saturating_sub(look.at) <= FRESH && look.holders.is_subset(&holders(inner, table));
    is_fresh.then(|| look.clone())
}

fn look_in_background(inner: &Arc<Inner>, table: &mut Table, now: Duration) {
    if std::mem::replace(&mut table.cards.looking, true) {
        return;
    }
    let holders = holders(inner, table);
    let running = running(inner, table);
    let inner_of_thread = Arc::clone(inner);
    let spawned = std::thread::Builder::new().name("hob-cards".into()).spawn(move || {
        let inner = inner_of_thread;
        let found = look(&inner, &running);
        let mut table = inner.table();
        (table.cards.seen, table.cards.looking) = (Some(Look { at: now, holders, found }), false);
        table.stale = true;
        drop(table);
        inner.changed.notify_all();
    });
    if let Err(error) = spawned {
        tracing::warn!(%error, "no thread can be started");
        table.cards.looking = false;
    }
}

/// Whose processes are looked for: services that run, and, after them, hob itself, whose runs have the rest.
fn running(inner: &Inner, table: &Table) -> Vec<Running> {
    let services = users(inner, table).filter_map(|(.., entry)| entry.running.clone());
    let own = Running {
        name: RUNS.to_owned(),
        instance: hob_supervisor::Instance(String::new()),
        pid: Some(std::process::id()),
        key: String::new(),
        digest: None,
        started: inner.runs.now(),
    };
    services.chain([own]).collect()
}

fn look(inner: &Inner, running: &[Running]) -> Result<Seen, OpError> {
    let Some(graphics) = inner.supervisors.graphics() else {
        return Err(OpError::unavailable("this hob was put together without graphics cards"));
    };
    graphics.look(running)
}

/// What services want of the graphics cards of this machine and cannot have, also when all of them start anew. One without any
/// card, where scripts are only looked at, says nothing about the one where they are to run.
#[must_use]
pub fn misfits(ports: &Ports, homelab: &Homelab, runs_here: bool) -> Vec<Diagnostic> {
    let want = |it: &Service| Some(Wanted { who: it.name.clone(), gpu: it.gpu.clone()?, displaced: false });
    let wanted: Vec<Wanted> = homelab.services.iter().filter_map(want).collect();
    let (Some(first), Some(graphics)) = (wanted.first(), ports.get::<dyn Graphics>()) else {
        return Vec::new();
    };
    let warning = |who: &str, why: &str| {
        let warning = Diagnostic::warning(Code::BadDeclaration, format!("service `{who}`, `gpu`: {why}"));
        homelab.service(who).map_or(warning.clone(), |it| warning.at(it.source.clone()))
    };
    match graphics.look(&[]) {
        Ok(seen) if seen.cards.is_empty() && !runs_here => Vec::new(),
        Ok(seen) => {
            let refused = room::misfits(&seen.cards, &wanted).into_iter();
            refused.map(|(who, it)| warning(&who, &it.why).hint(it.cure)).collect()
        }
        Err(error) => vec![warning(&first.who, &error.message).maybe_hint(error.hint)],
    }
}

/// The cards and who holds what of them, as `hob gpu --json` prints it; nothing where no service uses one.
pub(super) fn view(inner: &Inner) -> Json {
    let running: Vec<Running> = {
        let table = inner.table();
        let leases = &table.cards.leases;
        if users(inner, &table).next().is_none() && leases.holders().chain(leases.asked()).next().is_none() {
            return Json::Null;
        }
        running(inner, &table)
    };
    let seen = match look(inner, &running) {
        Ok(seen) => seen,
        Err(error) => return json!({ "problem": error.message }),
    };
    let table = inner.table();
    let claims = claims(inner, &table, &seen, inner.supervisors.now());
    let cards = seen.cards.iter().map(|card| {
        json!({
            "id": card.id, "name": card.name, "capacity": card.capacity, "used": card.used,
            "room": room::room(card, &claims), "foreign": room::foreign(card, &claims),
        })
    });
    let service = |who: &str| Some(who.to_owned()).filter(|who| !who.contains('/'));
    let run = |who: &str| who.split_once('/').map(|it| it.0.to_owned());
    let claim = |it: &Claim| {
        let index = seen.cards.iter().position(|card| card.id == it.card);
        json!({
            "card": index, "service": service(&it.who), "run": run(&it.who), "declared": it.declared, "measured": it.measured,
            "priority": it.priority, "leaves": it.standing == Standing::Leaves, "given_back": it.given_back,
        })
    };
    let waiting = users(inner, &table).filter(|(_, _, entry)| entry.wanted && entry.share.waits);
    let waiting = waiting.map(|(service, gpu, entry)| {
        json!({
            "service": service.name, "run": null, "declared": gpu.vram, "priority": gpu.priority,
            "displaced": entry.share.displaced, "note": entry.note,
        })
    });
    let runs = table.cards.leases.waiting().map(|(id, gpu, note)| {
        json!({
            "service": null, "run": run(id), "declared": gpu.vram, "priority": gpu.priority,
            "displaced": false, "note": note,
        })
    });
    json!({
        "cards": cards.collect::<Vec<_>>(),
        "claims": claims.iter().map(claim).collect::<Vec<_>>(),
        "waiting": waiting.chain(runs).collect::<Vec<_>>(),
    })
}
