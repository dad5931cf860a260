//! Who may have memory of a graphics card.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::collections::BTreeMap;

use hob_planner::declaration::{Encode, Full, Gpu, Pick};
use hob_planner::room::{
    Abilities, Card, Claim, Standing, Verdict, Wanted, decide, misfits, overdrawn, room,
};
use proptest::prelude::*;

/// In these tests memory is counted in a few bytes.
fn card(id: &str, capacity: u64) -> Card {
    Card {
        id: id.to_owned(),
        name: id.to_owned(),
        capacity: Some(capacity),
        can: can(&["h264"]),
        ..Card::default()
    }
}

fn can(encodes: &[&str]) -> Option<Abilities> {
    let encodes = encodes.iter().map(|&it| it.to_owned()).collect();
    let decodes = vec!["h264".to_owned()];
    Some(Abilities { generation: "pascal".to_owned(), encodes, decodes, fp16: false })
}

fn gpu(vram: u64, priority: i64, full: Full) -> Gpu {
    Gpu { vram: Some(vram), priority, full, ..Gpu::default() }
}

fn wanted(who: &str, gpu: Gpu) -> Wanted {
    Wanted { who: who.to_owned(), gpu, displaced: false }
}

fn claim(who: &str, card: &str, declared: u64, priority: i64) -> Claim {
    let (who, card) = (who.to_owned(), card.to_owned());
    Claim { who, card, declared, measured: Some(0), priority, standing: Standing::Yields, given_back: false }
}

fn one(cards: &[Card], claims: &[Claim], gpu: Gpu) -> Verdict {
    decide(cards, claims, &[wanted("it", gpu)]).remove(0).1
}

fn on(card: &str) -> Verdict {
    Verdict::Start(Some(card.to_owned()))
}

#[test]
fn declared_measured_and_foreign_memory_count() {
    let mut cards = [card("a", 100)];
    let mut claims = [claim("x", "a", 40, 0)];
    assert_eq!(room(&cards[0], &claims), Some(60));
    // It uses more than it said; and 10 are somebody's whom nobody knows.
    claims[0].measured = Some(50);
    cards[0].used = 60;
    assert_eq!(room(&cards[0], &claims), Some(40));
    // The driver does not tell who uses what: its part is taken for what it declared.
    claims[0].measured = None;
    assert_eq!(room(&cards[0], &claims), Some(40));
    assert_eq!(one(&cards, &claims, gpu(40, 0, Full::Wait)), on("a"));
    let why = "a has 40B left, and it needs 41B".to_owned();
    assert_eq!(one(&cards, &claims, gpu(41, 0, Full::Wait)), Verdict::Wait(why.clone()));
    assert!(matches!(one(&cards, &claims, gpu(41, 0, Full::Refuse)), Verdict::Refuse(it) if it.why == why));
}

#[test]
fn room_is_made_by_the_least_important_and_by_no_more_than_it_takes() {
    let cards = [card("a", 100)];
    let mut claims = [claim("p5", "a", 20, 5), claim("p10", "a", 20, 10), claim("p20", "a", 60, 20)];
    let made = |claims: &[Claim], bytes, priority| one(&cards, claims, gpu(bytes, priority, Full::MakeRoom));
    let stops = |names: &[&str]| Verdict::MakeRoom(names.iter().map(|&it| it.to_owned()).collect());
    assert_eq!(made(&claims, 20, 100), stops(&["p5"]));
    assert_eq!(made(&claims, 40, 100), stops(&["p5", "p10"]));
    // Both small ones would not do, and the large one does alone.
    assert_eq!(made(&claims, 60, 100), stops(&["p20"]));
    assert!(matches!(made(&claims, 20, 5), Verdict::Wait(_)), "of equals nobody goes for the other");
    assert!(matches!(made(&claims, 60, 20), Verdict::Wait(_)));
    claims[0].standing = Standing::Leaves;
    assert_eq!(made(&claims, 20, 100), Verdict::Soon(vec!["p5".to_owned()]), "nobody else is stopped");
    claims[0].standing = Standing::Stays;
    assert_eq!(made(&claims, 20, 100), stops(&["p10"]));
}

#[test]
fn nobody_overtakes_who_waits_for_room_that_the_less_important_hold() {
    let cards = [card("a", 100)];
    let queue = [
        wanted("small", gpu(10, 1, Full::Wait)),
        wanted("large", gpu(80, 50, Full::Wait)),
        Wanted { displaced: true, ..wanted("back", gpu(90, 2, Full::Refuse)) },
    ];
    let verdicts = |claims: &[Claim]| BTreeMap::from_iter(decide(&cards, claims, &queue));
    let low = verdicts(&[claim("low", "a", 60, 0)]);
    assert!(matches!(low["large"], Verdict::Wait(_)), "{low:?}");
    assert!(matches!(low["small"], Verdict::Wait(_)), "it would hold up the large one: {low:?}");
    // Those who are more important leave no room for it anyway.
    let high = verdicts(&[claim("high", "a", 60, 99)]);
    assert!(matches!(high["large"], Verdict::Wait(_)), "{high:?}");
    assert!(matches!(high["back"], Verdict::Wait(_)), "what was stopped for others waits: {high:?}");
    assert_eq!(high["small"], on("a"));
}

#[test]
fn a_card_is_chosen_by_what_it_has_and_can() {
    let mut cards = [card("a", 100), card("b", 60), card("c", 500)];
    cards[2].problem = Some("it is lost".to_owned());
    cards[1].can = can(&["h264", "av1"]);
    assert_eq!(one(&cards, &[], gpu(50, 0, Full::Wait)), on("b"), "the larger room stays whole");
    assert_eq!(one(&cards, &[], gpu(70, 0, Full::Wait)), on("a"));
    assert_eq!(one(&cards, &[], Gpu { pick: Pick::Index(0), ..gpu(5, 0, Full::Wait) }), on("a"));
    assert_eq!(one(&cards, &[], Gpu::default()), Verdict::Start(None));
    let refused = |gpu| match one(&cards, &[], gpu) {
        Verdict::Refuse(refusal) => refusal.why,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        refused(gpu(101, 0, Full::MakeRoom)),
        "it needs 101B of a graphics card, and has 100B at most"
    );
    assert_eq!(refused(Gpu { pick: Pick::Index(2), ..Gpu::default() }), "c: it is lost");
    let unknown = refused(Gpu { pick: Pick::Id("x".to_owned()), ..Gpu::default() });
    assert_eq!(unknown, "there is no graphics card x; there are 0 a (a), 1 b (b), 2 c (c)");
    let encode = Encode::Format("av1".to_owned());
    assert_eq!(one(&cards, &[], Gpu { encode: encode.clone(), ..gpu(5, 0, Full::Wait) }), on("b"));
    let mute = refused(Gpu { encode, pick: Pick::Index(0), ..Gpu::default() });
    assert_eq!(mute, "no graphics card encodes video to av1: a encodes to h264");
    assert_eq!(
        refused(Gpu { decode: Some("vp9".to_owned()), ..Gpu::default() }),
        "no graphics card decodes vp9: a decodes h264; b decodes h264"
    );
    assert_eq!(
        refused(Gpu { fp16: true, pick: Pick::Index(0), ..Gpu::default() }),
        "half precision pays on no graphics card: a is of the generation pascal"
    );
    // Nothing is required of cards of which nothing is known.
    cards[0].can = None;
    assert_eq!(one(&cards, &[], Gpu { fp16: true, ..gpu(5, 0, Full::Wait) }), on("a"));
    // Memory that is shared with the machine is not counted.
    let shared = [Card { capacity: None, ..card("s", 0) }];
    assert_eq!(one(&shared, &[claim("x", "s", 1 << 40, 0)], gpu(1 << 40, 0, Full::Refuse)), on("s"));
}

#[test]
fn what_cannot_be_is_known_before_anything_starts() {
    let cards = [Card { used: 90, ..card("a", 100) }];
    let all = [
        wanted("first", gpu(60, 9, Full::Refuse)),
        wanted("waits", gpu(60, 5, Full::Wait)),
        wanted("refused", gpu(50, 3, Full::Refuse)),
        wanted("fits", gpu(30, 1, Full::Refuse)),
        wanted("large", gpu(101, 0, Full::Wait)),
    ];
    let told = misfits(&cards, &all);
    let names: Vec<&str> = told.iter().map(|(who, _)| who.as_str()).collect();
    assert_eq!(names, ["refused", "large"]);
    assert_eq!(told[0].1.why, "a has 40B left, and it needs 50B");
    assert!(told.iter().all(|(_, it)| !it.cure.is_empty()));
}

#[test]
fn who_gave_memory_back_counts_with_what_it_uses_and_waits_for_the_rest() {
    let mut cards = [card("a", 100)];
    let back = |measured, priority| Claim {
        measured: Some(measured),
        given_back: true,
        ..claim("back", "a", 60, priority)
    };
    assert_eq!(one(&cards, &[back(0, 5)], gpu(80, 50, Full::Wait)), on("a"));
    // What it still holds counts, and it goes the way of all others where that is in the way.
    cards[0].used = 30;
    assert_eq!(room(&cards[0], &[back(30, 5)]), Some(70));
    let verdict = one(&cards, &[back(30, 5)], gpu(80, 50, Full::MakeRoom));
    assert_eq!(verdict, Verdict::MakeRoom(vec!["back".to_owned()]));
    // Where the driver does not tell, what was declared counts.
    let unseen = Claim { measured: None, ..back(0, 5) };
    assert!(matches!(one(&cards, &[unseen], gpu(50, 50, Full::Wait)), Verdict::Wait(_)));

    // It has its promise again when there is room for all of it; what it uses is not in its own way.
    let again = Wanted { displaced: true, ..wanted("back", gpu(60, 5, Full::Refuse)) };
    let mut claims = [back(30, 5), claim("other", "a", 40, 50)];
    assert_eq!(decide(&cards, &claims, std::slice::from_ref(&again))[0].1, on("a"));
    claims[1].declared = 41;
    assert!(matches!(decide(&cards, &claims, &[again])[0].1, Verdict::Wait(_)));

    // Who takes again what others were promised is named, and only where it is too much.
    assert_eq!(overdrawn(&cards, &claims), [""; 0]);
    claims[1].declared = 71;
    assert_eq!(overdrawn(&cards, &claims), ["back"]);
    claims[0].standing = Standing::Leaves;
    assert_eq!(overdrawn(&cards, &claims), [""; 0], "it is at it");
}

#[test]
fn of_those_who_took_memory_again_the_least_important_go_and_no_more_than_it_takes() {
    let cards = [card("a", 100)];
    let took = |who: &str, measured, priority| Claim {
        measured: Some(measured),
        given_back: true,
        ..claim(who, "a", 60, priority)
    };
    // The least important one of all keeps what it was promised: it never gave it back.
    let mut claims = [claim("low", "a", 50, 0), took("p10", 30, 10), took("p5", 30, 5), took("none", 0, 1)];
    assert_eq!(overdrawn(&cards, &claims), ["p5"]);
    claims[0].declared = 80;
    assert_eq!(overdrawn(&cards, &claims), ["p5", "p10"]);
    claims[0].declared = 40;
    assert_eq!(overdrawn(&cards, &claims), [""; 0]);
}

/// What happens to a machine.
#[derive(Clone, Debug)]
enum Step {
    /// One of those that are known wants to run.
    Comes(usize),
    /// One goes.
    Goes(usize),
    /// What was told to go has gone.
    Settles,
}

#[derive(Clone, Debug)]
struct Contender {
    gpu: Gpu,
    stays: bool,
    running: Option<String>,
    leaving: bool,
    displaced: bool,
    waits: bool,
    /// Whether it makes room by giving memory back.
    unloads: bool,
    given_back: bool,
}

impl Contender {
    /// Whether it wants memory that it has not.
    fn is_waiting(&self) -> bool {
        self.given_back || self.waits && self.running.is_none()
    }

    /// What was told to go has gone.
    fn settle(&mut self) {
        if self.unloads {
            self.given_back |= self.leaving;
        } else if self.leaving {
            self.running = None;
        }
        self.leaving = false;
    }

    /// Whether it may have a part of this card.
    fn may_have(&self, index: u32, card: &Card) -> bool {
        let own = self.running.as_ref().is_none_or(|own| *own == card.id);
        own && (self.gpu.pick == Pick::Any || self.gpu.pick == Pick::Index(index))
    }
}

fn contender() -> impl Strategy<Value = Contender> {
    let full = prop_oneof![Just(Full::Wait), Just(Full::Refuse), Just(Full::MakeRoom)];
    (1_u64..60, -3_i64..4, full, prop::option::of(0_u32..2), any::<bool>(), any::<bool>()).prop_map(
        |(vram, priority, full, index, stays, unloads)| Contender {
            gpu: Gpu { pick: index.map_or(Pick::Any, Pick::Index), ..gpu(vram, priority, full) },
            stays,
            running: None,
            leaving: false,
            displaced: false,
            waits: false,
            unloads,
            given_back: false,
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![(0_usize..8).prop_map(Step::Comes), (0_usize..8).prop_map(Step::Goes), Just(Step::Settles)]
}

fn claims(all: &[Contender]) -> Vec<Claim> {
    let of = |(index, it): (usize, &Contender)| {
        let standing = match (it.leaving, it.stays) {
            (true, _) => Standing::Leaves,
            (false, true) => Standing::Stays,
            (false, false) => Standing::Yields,
        };
        let card = it.running.as_ref()?;
        let given_back = it.given_back;
        Some(Claim { standing, given_back, ..claim(&index.to_string(), card, it.gpu.vram?, it.gpu.priority) })
    };
    all.iter().enumerate().filter_map(of).collect()
}

/// One round, as the keeper carries it out. Gives who was told to go, for whom.
fn round(cards: &[Card], all: &mut [Contender]) -> Result<(), TestCaseError> {
    let held = claims(all);
    let queue: Vec<Wanted> = all
        .iter()
        .enumerate()
        .filter(|(_, it)| it.is_waiting())
        .map(|(index, it)| {
            let own = it.running.clone().map_or_else(|| it.gpu.pick.clone(), Pick::Id);
            let gpu = Gpu { pick: own, ..it.gpu.clone() };
            Wanted { displaced: it.displaced, ..wanted(&index.to_string(), gpu) }
        })
        .collect();
    for (who, verdict) in decide(cards, &held, &queue) {
        let index: usize = who.parse().unwrap();
        match verdict {
            Verdict::Start(card) => {
                all[index].running = card;
                (all[index].displaced, all[index].given_back) = (false, false);
            }
            Verdict::Refuse(_) => all[index].waits = false,
            Verdict::MakeRoom(stop) => {
                for victim in stop {
                    let victim: usize = victim.parse().unwrap();
                    prop_assert!(all[victim].gpu.priority < all[index].gpu.priority, "priorities are kept");
                    prop_assert!(!all[victim].stays && !all[victim].leaving && victim != index);
                    all[victim].leaving = true;
                    all[victim].displaced = true;
                }
            }
            Verdict::Wait(_) | Verdict::Soon(_) => {}
        }
    }
    let held = claims(all);
    for card in cards {
        let taken: u64 = held.iter().filter(|it| it.card == card.id).map(Claim::bytes).sum();
        prop_assert!(taken <= card.capacity.unwrap(), "{} is over-committed: {held:?}", card.id);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
    #[test]
    fn no_card_is_over_committed_priorities_are_kept_and_nobody_is_forgotten(
        mut all in prop::collection::vec(contender(), 8),
        steps in prop::collection::vec(step(), 0..40),
    ) {
        let cards = [card("a", 50), card("b", 30)];
        for step in steps {
            match step {
                Step::Comes(index) => all[index].waits = true,
                Step::Goes(index) => {
                    let gone = &mut all[index];
                    (gone.waits, gone.running, gone.leaving, gone.displaced) = (false, None, false, false);
                    gone.given_back = false;
                }
                Step::Settles => all.iter_mut().for_each(Contender::settle),
            }
            round(&cards, &mut all)?;
        }
        // It comes to rest: nobody is stopped and started for ever.
        for _ in 0..20 {
            all.iter_mut().for_each(Contender::settle);
            round(&cards, &mut all)?;
        }
        prop_assert!(all.iter().all(|it| !it.leaving), "it comes to no rest: {all:?}");
        // The most important of those who wait has no room that nobody holds.
        let held = claims(&all);
        if let Some(first) = all.iter().rev().filter(|it| it.is_waiting()).max_by_key(|it| it.gpu.priority) {
            for (index, card) in (0..).zip(&cards) {
                prop_assert!(!first.may_have(index, card) || room(card, &held).unwrap() < first.gpu.vram.unwrap(), "{first:?} is forgotten");
            }
        }
        // Who makes room, and is behind nobody, does not wait for those of lower priority.
        let waiting: Vec<&Contender> = all.iter().filter(|it| it.is_waiting()).collect();
        let behind = |it: &Contender| waiting.iter().filter(|other| other.gpu.priority >= it.gpu.priority).count() > 1;
        for it in waiting.iter().filter(|it| it.gpu.full == Full::MakeRoom && !behind(it)) {
            for (index, card) in (0..).zip(&cards) {
                let firm = |claim: &&Claim| {
                    claim.card == card.id && (claim.standing == Standing::Stays || claim.priority >= it.gpu.priority)
                };
                let firm: u64 = held.iter().filter(firm).map(Claim::bytes).sum();
                let left = card.capacity.unwrap().saturating_sub(firm);
                prop_assert!(!it.may_have(index, card) || left < it.gpu.vram.unwrap(), "{it:?} waits for less important ones: {held:?}");
            }
        }
    }
}
