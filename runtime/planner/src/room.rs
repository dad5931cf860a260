//! Who may have memory of a graphics card: the one rule for boot, apply, crash and jobs.
//!
//! A card's memory is never promised twice. What somebody holds counts with what they declared or with what they are seen to
//! use, whichever is more; what others use counts, too. Who is refused, waits, or has others stopped is told by the order of
//! priority: nobody is stopped but for somebody of higher priority, and nobody overtakes one who waits for room that only those
//! of lower priority hold.
//!
//! Who gave back what it was promised, and runs on, counts with what it is seen to use, and waits for its promise as others
//! wait for a start.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use hob_model::size;

use crate::declaration::{Encode, Full, Gpu, Pick};

/// A graphics card, as far as its memory is shared out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Card {
    /// Its lasting name.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Memory that programs can have, in bytes; absent where it shares the machine's, which is not counted.
    pub capacity: Option<u64>,
    /// Memory that programs hold, whoever they are.
    pub used: u64,
    /// What its generation can do; absent where nothing is known of it.
    pub can: Option<Abilities>,
    /// Why it cannot be used.
    pub problem: Option<String>,
}

/// What cards of a generation can do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Abilities {
    /// What people call the generation.
    pub generation: String,
    /// Formats of video that it encodes.
    pub encodes: Vec<String>,
    /// Formats of video that it decodes.
    pub decodes: Vec<String>,
    /// Whether half precision pays.
    pub fp16: bool,
}

/// Why somebody cannot have a card, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What stands in the way.
    pub why: String,
    /// What can be done about it.
    pub cure: String,
}

impl Refusal {
    fn new(why: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { why: why.into(), cure: cure.into() }
    }
}

/// Whether a claim can go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It ends by itself.
    Stays,
    /// It can be stopped.
    Yields,
    /// It is being stopped.
    Leaves,
}

/// Memory that somebody holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The service, or the run.
    pub who: String,
    /// The card's id.
    pub card: String,
    /// What they said they need, in bytes.
    pub declared: u64,
    /// What they are seen to use; absent where they use the card and the driver does not tell how much.
    pub measured: Option<u64>,
    /// How important it is.
    pub priority: i64,
    /// Whether it can go.
    pub standing: Standing,
    /// Whether it gave back what it was promised.
    pub given_back: bool,
}

impl Claim {
    /// What counts, in bytes. Where nobody can see what was given back, the declaration goes on to count.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        match self.measured {
            Some(measured) if self.given_back => measured,
            measured => self.declared.max(measured.unwrap_or_default()),
        }
    }
}

/// Somebody who wants memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The service, or the run.
    pub who: String,
    /// What is wanted.
    pub gpu: Gpu,
    /// Whether it was stopped to make room, or gave memory back: it then waits, whatever it says of a first start.
    pub displaced: bool,
}

/// What becomes of one who wants memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// They may have it, on this card; on whichever they like where they declare no memory and name no card.
    Start(Option<String>),
    /// There will be room in a moment: these are making it.
    Soon(Vec<String>),
    /// They wait; for people: for what.
    Wait(String),
    /// They cannot have it.
    Refuse(Refusal),
    /// These are to make room first.
    MakeRoom(Vec<String>),
}

/// What is known of the cards while it is decided.
struct Ledger<'a> {
    cards: &'a [Card],
    claims: Vec<Claim>,
    /// Cards on which room is kept for somebody who waits.
    closed: BTreeSet<&'a str>,
    /// About whom it is decided now: what it has already does not stand in its way.
    who: &'a str,
}

/// What becomes of all who want memory, the most important first; of two that are as important, the first one.
#[must_use]
pub fn decide(cards: &[Card], claims: &[Claim], wanted: &[Wanted]) -> Vec<(String, Verdict)> {
    let mut ledger = Ledger { cards, claims: claims.to_vec(), closed: BTreeSet::new(), who: "" };
    let mut queue: Vec<&Wanted> = wanted.iter().collect();
    queue.sort_by_key(|it| Reverse(it.gpu.priority));
    queue.into_iter().map(|it| (it.who.clone(), ledger.decide(it))).collect()
}

/// Memory of a card that can still be promised, in bytes; absent where it is not counted.
#[must_use]
pub fn room(card: &Card, claims: &[Claim]) -> Option<u64> {
    left(card, claims, |_| true)
}

/// Memory that is used by nobody who holds a claim.
#[must_use]
pub fn foreign(card: &Card, claims: &[Claim]) -> u64 {
    let on_it = claims.iter().filter(|it| it.card == card.id);
    card.used.saturating_sub(on_it.map(|it| it.measured.unwrap_or(it.declared)).sum())
}

/// Those who took memory again that they had given back, and that others were promised meanwhile: the least important first,
/// and no more of them than it takes.
#[must_use]
pub fn overdrawn(cards: &[Card], claims: &[Claim]) -> Vec<String> {
    let mut found = Vec::new();
    for card in cards {
        let Some(capacity) = card.capacity else { continue };
        let counts = |it: &&Claim| it.card == card.id && it.standing != Standing::Leaves;
        let taken = claims.iter().filter(counts).map(Claim::bytes).sum::<u64>() + foreign(card, claims);
        let mut over = taken.saturating_sub(capacity);
        let takes = |it: &&Claim| it.given_back && it.standing == Standing::Yields && it.bytes() > 0;
        let mut takers: Vec<&Claim> = claims.iter().filter(counts).filter(takes).collect();
        takers.sort_by_key(|it| (it.priority, Reverse(it.bytes())));
        for taker in takers {
            if over > 0 {
                over = over.saturating_sub(taker.bytes());
                found.push(taker.who.clone());
            }
        }
    }
    found
}

/// What is left beside the claims that count.
fn left(card: &Card, claims: &[Claim], counts: impl Fn(&Claim) -> bool) -> Option<u64> {
    let taken: u64 = claims.iter().filter(|it| it.card == card.id && counts(it)).map(Claim::bytes).sum();
    Some(card.capacity?.saturating_sub(taken).saturating_sub(foreign(card, claims)))
}

impl<'a> Ledger<'a> {
    fn decide(&mut self, wanted: &'a Wanted) -> Verdict {
        self.who = &wanted.who;
        let cards = match candidates(self.cards, &wanted.gpu) {
            Ok(cards) => cards,
            Err(why) => return Verdict::Refuse(why),
        };
        let Some(need) = wanted.gpu.vram else {
            let named = (wanted.gpu.pick != Pick::Any).then(|| cards[0].id.clone());
            return Verdict::Start(named);
        };
        if cards.iter().all(|card| card.capacity.is_some_and(|capacity| capacity < need)) {
            let largest = cards.iter().filter_map(|card| card.capacity).max().unwrap_or_default();
            let (need, largest) = (size::format(need), size::format(largest));
            return Verdict::Refuse(Refusal::new(
                format!("it needs {need} of a graphics card, and has {largest} at most"),
                "have it take less, such as a smaller model, and declare that as `vram`",
            ));
        }
        let open: Vec<&'a Card> =
            cards.iter().copied().filter(|card| !self.closed.contains(card.id.as_str())).collect();
        if let Some(card) = self.with_room(&open, need) {
            let own = self.claims.iter().position(|it| it.who == wanted.who && it.card == card.id);
            let measured = own.map_or(Some(0), |at| self.claims.remove(at).measured);
            self.claims.push(Claim {
                who: wanted.who.clone(),
                card: card.id.clone(),
                declared: need,
                measured,
                priority: wanted.gpu.priority,
                standing: Standing::Stays,
                given_back: false,
            });
            return Verdict::Start(Some(card.id.clone()));
        }
        if let Some(card) =
            open.iter().find(|card| self.fits(card, need, |it| it.standing != Standing::Leaves))
        {
            self.closed.insert(&card.id);
            let leaving = |it: &&Claim| it.card == card.id && it.standing == Standing::Leaves;
            return Verdict::Soon(self.claims.iter().filter(leaving).map(|it| it.who.clone()).collect());
        }
        if wanted.gpu.full == Full::MakeRoom
            && let Some((card, stop)) = self.make_room(&open, need, wanted.gpu.priority)
        {
            self.closed.insert(&card.id);
            return Verdict::MakeRoom(stop);
        }
        let why = self.told(&cards, need);
        if wanted.gpu.full == Full::Refuse && !wanted.displaced {
            return Verdict::Refuse(Refusal::new(why, NO_ROOM));
        }
        // Where those who go before it leave no room, others may have what is left.
        let priority = wanted.gpu.priority;
        let hopeful = open.into_iter().filter(|card| self.fits(card, need, |it| it.priority >= priority));
        let hopeful: Vec<&str> = hopeful.map(|card| card.id.as_str()).collect();
        self.closed.extend(hopeful);
        Verdict::Wait(why)
    }

    /// The card that it fits on best: the largest rooms stay whole.
    fn with_room(&self, cards: &[&'a Card], need: u64) -> Option<&'a Card> {
        let room = |card: &Card| self.left(card, |_| true).unwrap_or(u64::MAX);
        cards.iter().copied().filter(|card| room(card) >= need).min_by_key(|card| room(card))
    }

    /// What is left beside the claims of others that count.
    fn left(&self, card: &Card, counts: impl Fn(&Claim) -> bool) -> Option<u64> {
        left(card, &self.claims, |it| it.who != self.who && counts(it))
    }

    /// Whether there is room beside the claims that count.
    fn fits(&self, card: &Card, need: u64, counts: impl Fn(&Claim) -> bool) -> bool {
        self.left(card, counts).is_none_or(|left| left >= need)
    }

    /// Whom to stop, on the card where the least important ones do: no more than is needed, and only those of lower priority.
    fn make_room(&mut self, cards: &[&'a Card], need: u64, priority: i64) -> Option<(&'a Card, Vec<String>)> {
        let choices = cards.iter().filter_map(|card| Some((*card, self.victims(card, need, priority)?)));
        let cost = |(_, victims): &(&Card, Vec<usize>)| {
            (victims.iter().map(|it| self.claims[*it].priority).max(), victims.len())
        };
        let (card, victims) = choices.min_by_key(cost)?;
        let stop = victims.iter().map(|it| self.claims[*it].who.clone()).collect();
        for victim in victims {
            self.claims[victim].standing = Standing::Leaves;
        }
        Some((card, stop))
    }

    fn victims(&self, card: &Card, need: u64, priority: i64) -> Option<Vec<usize>> {
        let yields = |it: &Claim| {
            let is_less = it.priority < priority && it.who != self.who;
            it.card == card.id && it.standing == Standing::Yields && is_less && it.bytes() > 0
        };
        let mut victims: Vec<usize> = (0..self.claims.len()).filter(|it| yields(&self.claims[*it])).collect();
        victims.sort_by_key(|it| (self.claims[*it].priority, Reverse(self.claims[*it].bytes())));
        let fits_without = |gone: &[usize]| {
            let goes = |it: &Claim| gone.iter().any(|at| std::ptr::eq(&self.claims[*at], it));
            self.fits(card, need, |it| it.standing != Standing::Leaves && !goes(it))
        };
        let enough = (1..=victims.len()).find(|count| fits_without(&victims[..*count]))?;
        victims.truncate(enough);
        // Who was taken before a larger one may not have to go; the most important are spared first.
        for at in (0..victims.len()).rev() {
            let fewer: Vec<usize> =
                victims.iter().enumerate().filter(|it| it.0 != at).map(|it| *it.1).collect();
            if fits_without(&fewer) {
                victims = fewer;
            }
        }
        Some(victims)
    }

    /// For people: what stands in the way.
    fn told(&self, cards: &[&Card], need: u64) -> String {
        let largest =
            cards.iter().filter_map(|card| Some((self.left(card, |_| true)?, *card))).max_by_key(|it| it.0);
        let (left, card) = largest.map_or((0, "the card"), |(left, card)| (left, card.name.as_str()));
        if left >= need {
            return format!("others wait for {} of {card} before it", size::format(left));
        }
        format!("{card} has {} left, and it needs {}", size::format(left), size::format(need))
    }
}

/// The cards that somebody can use at all.
///
/// # Errors
/// Why there is none.
pub fn candidates<'c>(cards: &'c [Card], gpu: &Gpu) -> Result<Vec<&'c Card>, Refusal> {
    let meant: Vec<&Card> = match &gpu.pick {
        Pick::Any => cards.iter().collect(),
        Pick::Index(index) => usize::try_from(*index).ok().and_then(|at| cards.get(at)).into_iter().collect(),
        Pick::Id(id) => cards.iter().filter(|card| card.id == *id).collect(),
    };
    if meant.is_empty() {
        let known = cards.iter().enumerate();
        let known: Vec<String> =
            known.map(|(index, card)| format!("{index} {} ({})", card.name, card.id)).collect();
        return Err(match &known[..] {
            [] => Refusal::new(
                "this machine has no graphics card that its kernel shows",
                "`lspci` shows whether it is plugged in; leave `gpu` out where there is none",
            ),
            _ => Refusal::new(
                format!("there is no graphics card {}; there are {}", gpu.pick, known.join(", ")),
                "name one of these, or leave `index` and `uuid` out to have one that there is room on",
            ),
        });
    }
    let usable: Vec<&Card> = meant.iter().copied().filter(|card| card.problem.is_none()).collect();
    if usable.is_empty() {
        let problem =
            |card: &&Card| format!("{}: {}", card.name, card.problem.as_deref().unwrap_or_default());
        let problems = meant.iter().map(problem).collect::<Vec<_>>().join("; ");
        return Err(Refusal::new(problems, "`hob gpu` shows the cards and their state"));
    }
    able(&usable, gpu)
}

/// Those of these cards that can do what is wanted of them. Of one of which nothing is known, nothing is required.
fn able<'c>(usable: &[&'c Card], gpu: &Gpu) -> Result<Vec<&'c Card>, Refusal> {
    let has = |them: &[String], format: &str| them.iter().any(|it| it == format);
    let mut able = usable.to_vec();
    let mut require =
        |can: &dyn Fn(&Abilities) -> bool, why: &str, told: &dyn Fn(&Abilities) -> String, cure: &str| {
            able.retain(|card| card.can.as_ref().is_none_or(can));
            if !able.is_empty() {
                return Ok(());
            }
            let known =
                usable.iter().filter_map(|card| Some(format!("{} {}", card.name, told(card.can.as_ref()?))));
            Err(Refusal::new(format!("{why}: {}", known.collect::<Vec<_>>().join("; ")), cure))
        };
    let encodes = |can: &Abilities| match can.encodes.is_empty() {
        true => "encodes nothing".to_owned(),
        false => format!("encodes to {}", can.encodes.join(", ")),
    };
    let by_processor = "leave it out, and have the processor do it, or name a format that it knows";
    match &gpu.encode {
        Encode::Nothing => {}
        Encode::Something => {
            require(
                &|can| !can.encodes.is_empty(),
                "no graphics card encodes video",
                &encodes,
                by_processor,
            )?;
        }
        Encode::Format(format) => {
            let why = format!("no graphics card encodes video to {format}");
            require(&|can| has(&can.encodes, format), &why, &encodes, by_processor)?;
        }
    }
    if let Some(format) = &gpu.decode {
        let why = format!("no graphics card decodes {format}");
        let decodes = |can: &Abilities| format!("decodes {}", can.decodes.join(", "));
        require(&|can| has(&can.decodes, format), &why, &decodes, by_processor)?;
    }
    if gpu.fp16 {
        let slow = |can: &Abilities| format!("is of the generation {}", can.generation);
        let cure = "have it compute in single precision, such as `USE_FP16: false` for TensorRT, and leave `fp16` out";
        require(&|can| can.fp16, "half precision pays on no graphics card", &slow, cure)?;
    }
    Ok(able)
}

/// What can be done where others hold the memory.
const NO_ROOM: &str = "`hob gpu` shows who has how much; with `full: \"wait\"` it waits for its turn";

/// Those who cannot have what they want even where all of them are started anew and nobody else uses a card, with why.
#[must_use]
pub fn misfits(cards: &[Card], wanted: &[Wanted]) -> Vec<(String, Refusal)> {
    let empty: Vec<Card> = cards.iter().map(|card| Card { used: 0, ..card.clone() }).collect();
    let refused = |(who, verdict)| match verdict {
        Verdict::Refuse(refusal) => Some((who, refusal)),
        _ => None,
    };
    decide(&empty, &[], wanted).into_iter().filter_map(refused).collect()
}
