//! Who may have memory of a graphics card.
#![allow(clippy::unwrap_used)] // a test fails by panicking

use std::collections::BTreeMap;

use hob_planner::declaration::{Encode, Full, Gpu, Pick};
use hob_planner::room::{Card, Claim, Standing, Verdict, Wanted, decide, room};
use proptest::prelude::*;

/// In these tests memory is counted in a few bytes.
fn card(id: &str, capacity: u64) -> Card {
    let encodes = vec!["h264".to_owned()];
    Card { id: id.to_owned(), name: id.to_owned(), capacity: Some(capacity), encodes, ..Card::default() }
}

fn gpu(vram: u64, priority: i64, full: Full) -> Gpu {
    Gpu { vram: Some(vram), priority, full, ..Gpu::default() }
}

fn wanted(who: &str, gpu: Gpu) -> Wanted {
    Wanted { who: who.to_owned(), gpu, displaced: false }
}

fn claim(who: &str, card: &str, declared: u64, priority: i64) -> Claim {
    let (who, card) = (who.to_owned(), card.to_owned());
    Claim { who, card, declared, measured: Some(0), priority, standing: Standing::Yields }
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
    assert_eq!(one(&cards, &claims, gpu(41, 0, Full::Refuse)), Verdict::Refuse(why));
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
    assert_eq!(made(&claims, 20, 100), Verdict::Soon("p5".to_owned()), "nobody else is stopped");
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
    cards[1].encodes = vec!["h264".to_owned(), "av1".to_owned()];
    assert_eq!(one(&cards, &[], gpu(50, 0, Full::Wait)), on("b"), "the larger room stays whole");
    assert_eq!(one(&cards, &[], gpu(70, 0, Full::Wait)), on("a"));
    assert_eq!(one(&cards, &[], Gpu { pick: Pick::Index(0), ..gpu(5, 0, Full::Wait) }), on("a"));
    assert_eq!(one(&cards, &[], Gpu::default()), Verdict::Start(None));
    let refused = |gpu| match one(&cards, &[], gpu) {
        Verdict::Refuse(why) => why,
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
    // Memory that is shared with the machine is not counted.
    let shared = [Card { capacity: None, ..card("s", 0) }];
    assert_eq!(one(&shared, &[claim("x", "s", 1 << 40, 0)], gpu(1 << 40, 0, Full::Refuse)), on("s"));
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
}

fn contender() -> impl Strategy<Value = Contender> {
    let full = prop_oneof![Just(Full::Wait), Just(Full::Refuse), Just(Full::MakeRoom)];
    (1_u64..60, -3_i64..4, full, prop::option::of(0_u32..2), any::<bool>()).prop_map(
        |(vram, priority, full, index, stays)| Contender {
            gpu: Gpu { pick: index.map_or(Pick::Any, Pick::Index), ..gpu(vram, priority, full) },
            stays,
            running: None,
            leaving: false,
            displaced: false,
            waits: false,
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
        Some(Claim { standing, ..claim(&index.to_string(), card, it.gpu.vram?, it.gpu.priority) })
    };
    all.iter().enumerate().filter_map(of).collect()
}

/// One round, as the keeper carries it out. Gives who was told to go, for whom.
fn round(cards: &[Card], all: &mut [Contender]) -> Result<(), TestCaseError> {
    let held = claims(all);
    let queue: Vec<Wanted> = all
        .iter()
        .enumerate()
        .filter(|(_, it)| it.waits && it.running.is_none())
        .map(|(index, it)| Wanted { displaced: it.displaced, ..wanted(&index.to_string(), it.gpu.clone()) })
        .collect();
    for (who, verdict) in decide(cards, &held, &queue) {
        let index: usize = who.parse().unwrap();
        match verdict {
            Verdict::Start(card) => {
                all[index].running = card;
                all[index].displaced = false;
            }
            Verdict::Refuse(_) => all[index].waits = false,
            Verdict::MakeRoom(stop) => {
                for victim in stop {
                    let victim: usize = victim.parse().unwrap();
                    prop_assert!(all[victim].gpu.priority < all[index].gpu.priority, "priorities are kept");
                    prop_assert!(!all[victim].stays && !all[victim].leaving);
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
                }
                Step::Settles => all.iter_mut().filter(|it| it.leaving).for_each(|it| {
                    (it.running, it.leaving) = (None, false);
                }),
            }
            round(&cards, &mut all)?;
        }
        // It comes to rest: nobody is stopped and started for ever.
        for _ in 0..20 {
            all.iter_mut().filter(|it| it.leaving).for_each(|it| (it.running, it.leaving) = (None, false));
            round(&cards, &mut all)?;
        }
        prop_assert!(all.iter().all(|it| !it.leaving), "it comes to no rest: {all:?}");
        // The most important of those who wait has no room that nobody holds.
        let held = claims(&all);
        if let Some(first) = all.iter().rev().filter(|it| it.waits && it.running.is_none()).max_by_key(|it| it.gpu.priority) {
            for (index, card) in (0..).zip(&cards) {
                let meant = first.gpu.pick == Pick::Any || first.gpu.pick == Pick::Index(index);
                prop_assert!(!meant || room(card, &held).unwrap() < first.gpu.vram.unwrap(), "{first:?} is forgotten");
            }
        }
        // Who makes room, and is behind nobody, does not wait for those of lower priority.
        let waiting: Vec<&Contender> = all.iter().filter(|it| it.waits && it.running.is_none()).collect();
        let behind = |it: &Contender| waiting.iter().filter(|other| other.gpu.priority >= it.gpu.priority).count() > 1;
        for it in waiting.iter().filter(|it| it.gpu.full == Full::MakeRoom && !behind(it)) {
            for (index, card) in (0..).zip(&cards) {
                let meant = it.gpu.pick == Pick::Any || it.gpu.pick == Pick::Index(index);
                let firm = |claim: &&Claim| {
                    claim.card == card.id && (claim.standing == Standing::Stays || claim.priority >= it.gpu.priority)
                };
                let firm: u64 = held.iter().filter(firm).map(Claim::bytes).sum();
                let left = card.capacity.unwrap().saturating_sub(firm);
                prop_assert!(!meant || left < it.gpu.vram.unwrap(), "{it:?} waits for less important ones: {held:?}");
            }
        }
    }
}
