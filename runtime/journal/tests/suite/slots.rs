//! Slots of schedules, and who claims them.

use hob_journal::{Commit, Journal, RunFilter, Slot, Write};
use hob_model::Value;

use crate::common::append;
use crate::common::samples::{at, entry, run, started};
use crate::done;

pub(crate) fn a_slot_is_claimed_once(journal: &dyn Journal) {
    let slot = |nominal, n| Slot { schedule: "nightly".into(), nominal: at(nominal), run: run(n) };
    for (nominal, n, free) in [(1, 1, true), (2, 2, true), (1, 3, false), (3, 3, true)] {
        assert_eq!(journal.claim(slot(nominal, n), Commit::default()).unwrap(), free);
    }
    let other = Slot { schedule: "hourly".into(), ..slot(1, 4) };
    assert!(journal.claim(other, Commit::default()).unwrap());
    assert_eq!(journal.slots("nightly", 2).unwrap(), [slot(3, 3), slot(2, 2)]);
    assert_eq!(journal.slots("nobody", 2).unwrap(), []);
}

pub(crate) fn slots_are_claimed_together(journal: &dyn Journal) {
    let slot = |name: &str, nominal, n| Slot { schedule: name.into(), nominal: at(nominal), run: run(n) };
    let first = |n| Commit::one(Write::Entry(run(n), entry(0, started("a"))));
    assert!(journal.claim(slot("b", 1, 1), first(1)).unwrap());
    // One of them was claimed before, and one twice in the same breath.
    let wanted = [("a", 1, 2), ("b", 1, 3), ("c", 1, 4), ("a", 1, 5), ("a", 2, 6)];
    let claims = wanted.map(|(name, nominal, n)| (slot(name, nominal, n), first(n)));
    assert_eq!(journal.claim_all(claims.to_vec()).unwrap(), [true, false, true, false, true]);
    assert_eq!(journal.slots("a", 9).unwrap(), [slot("a", 2, 6), slot("a", 1, 2)]);
    let runs = journal.runs(&RunFilter::default()).unwrap();
    assert_eq!(runs.iter().map(|row| row.run).collect::<Vec<_>>(), [6, 4, 2, 1].map(run));
    assert!(journal.claim_all(vec![]).unwrap().is_empty());
}

/// As many as an adapter may write in another way than a few.
pub(crate) fn many_slots_are_claimed_at_one_time(journal: &dyn Journal) {
    let slot = |n: u8, nominal| Slot { schedule: format!("s{n}"), nominal: at(nominal), run: run(n) };
    let first = |n| Commit::one(Write::Entry(run(n), entry(0, started("a"))));
    let claims = |range: std::ops::RangeInclusive<u8>, nominal| {
        range.map(|n| (slot(n, nominal), first(n))).collect::<Vec<_>>()
    };
    assert!(journal.claim(slot(7, 1), first(7)).unwrap());
    let expected: Vec<Slot> = (1..=100).map(|n| slot(n, 1)).collect();
    journal.expect_claims(&expected).unwrap();
    // Claimed after it was expected to be free; twice in the same breath; and one that brings more than its run.
    assert!(journal.claim(Slot { run: run(201), ..slot(8, 1) }, first(201)).unwrap());
    let mut wanted = claims(1..=100, 1);
    wanted.push((Slot { run: run(202), ..slot(9, 1) }, first(202)));
    wanted.push((Slot { run: run(203), ..slot(10, 1) }, Commit::default()));
    let fact = Write::Fact { key: "beside".into(), value: Some(1.into()) };
    wanted.push((slot(101, 1), first(101).writes.into_iter().chain([fact]).collect()));
    let claimed = journal.claim_all(wanted.clone()).unwrap();
    let refused: Vec<&Slot> =
        wanted.iter().zip(&claimed).filter(|(_, claimed)| !**claimed).map(|((slot, _), _)| slot).collect();
    let expected =
        [slot(7, 1), slot(8, 1), Slot { run: run(202), ..slot(9, 1) }, Slot { run: run(203), ..slot(10, 1) }];
    assert_eq!(refused, expected.iter().collect::<Vec<_>>());
    assert_eq!(journal.fact("beside").unwrap(), Some(1.into()));
    assert_eq!(journal.runs(&RunFilter::default()).unwrap().len(), 101);
    // They go on as other runs do, and none of these slots is free again.
    journal.claim_all(claims(110..=160, 2)).unwrap();
    append(journal, run(110), 1, done(1));
    assert_eq!(journal.entries(run(110), 0, 9).unwrap().len(), 2);
    assert_eq!(journal.slots("s9", 9).unwrap(), [slot(9, 1)]);
    assert_eq!(journal.slots("s120", 9).unwrap(), [slot(120, 2)]);
    assert!(!journal.claim(slot(120, 2), Commit::default()).unwrap());
    let again = claims(110..=160, 2).into_iter().map(|(slot, _)| (slot, Commit::default()));
    assert_eq!(journal.claim_all(again.collect()).unwrap(), [false; 51]);
    journal.flush().unwrap();
}

pub(crate) fn a_claim_brings_its_commit(journal: &dyn Journal) {
    let slot = Slot { schedule: "nightly".into(), nominal: at(1), run: run(1) };
    // What is queued before and does not belong to it is written either way.
    append(journal, run(3), 0, started("c"));
    let first = Commit::one(Write::Entry(run(1), entry(0, started("a"))));
    assert!(journal.claim(slot.clone(), first).unwrap());
    append(journal, run(4), 0, started("d"));
    // The same entry again would be out of order; the claim is refused before that matters.
    let second = Commit::from_iter([
        Write::Entry(run(2), entry(0, started("b"))),
        Write::Fact { key: "x".into(), value: Some(Value::Unit) },
    ]);
    assert!(!journal.claim(slot, second).unwrap());
    let names: Vec<_> =
        journal.runs(&RunFilter::default()).unwrap().into_iter().map(|row| row.name).collect();
    assert_eq!(names, ["d", "c", "a"]);
    assert_eq!(journal.fact("x").unwrap(), None);
    journal.flush().unwrap();
}
