//! Waits, and the signals that end them.

use hob_journal::{Commit, Journal, Write};
use hob_model::{EntryKind, Resolution, RunEnd, Value, Wait};

use crate::common::samples::{at, ended, run, started, waits};
use crate::common::{append, append_all};
use crate::{done, effect};

pub(crate) fn waits_open_and_close(journal: &dyn Journal) {
    let closers = [
        done(1),
        EntryKind::Withdrawn { position: effect(1) },
        EntryKind::Abandoned { position: effect(1) },
        EntryKind::Resolved { position: effect(1), resolution: Resolution::Skip, by: "ada".into() },
    ];
    append(journal, run(1), 0, started("a"));
    let mut seq = 1;
    let mut say = |kind| {
        append(journal, run(1), seq, kind);
        seq += 1;
    };
    say(waits(effect(2), Wait::Run(run(2))));
    for closer in closers {
        say(waits(effect(1), Wait::Until(at(9))));
        let open = journal.wait_at(run(1), &effect(1)).unwrap().unwrap();
        assert_eq!((open.run, &open.wait), (run(1), &Wait::Until(at(9))));
        assert_eq!(journal.waits(None, Some(run(1)), 9).unwrap().len(), 2);
        say(closer.clone());
        assert_eq!(journal.wait_at(run(1), &effect(1)).unwrap(), None, "{closer:?}");
        assert_eq!(journal.next_due().unwrap(), None);
    }
    // A second wait at the same place takes over.
    say(waits(effect(1), Wait::Until(at(9))));
    say(waits(effect(1), Wait::Until(at(20))));
    assert_eq!(journal.next_due().unwrap(), Some(at(20)));
    assert_eq!(journal.waits(None, None, 9).unwrap().len(), 2);
    say(ended(RunEnd::Cancelled));
    assert_eq!(journal.waits(None, None, 9).unwrap(), vec![]);
    assert_eq!(journal.next_due().unwrap(), None);
}

pub(crate) fn waits_come_due_in_order(journal: &dyn Journal) {
    for (n, due) in [(1, 30), (2, 10), (3, 20)] {
        append_all(journal, run(n), vec![started("a"), waits(effect(1), Wait::Until(at(due)))]);
    }
    let signal = Wait::Signal { name: "go".into(), deadline: Some(at(15)) };
    let forever = Wait::Signal { name: "go".into(), deadline: None };
    append_all(journal, run(4), vec![started("a"), waits(effect(1), signal), waits(effect(2), forever)]);
    let due =
        |now, limit| -> Vec<_> { journal.due(at(now), limit).unwrap().iter().map(|wait| wait.run).collect() };
    assert_eq!(journal.next_due().unwrap(), Some(at(10)));
    assert_eq!(due(9, 9), []);
    assert_eq!(due(20, 9), [run(2), run(4), run(3)]);
    assert_eq!(due(99, 2), [run(2), run(4)]);
}

pub(crate) fn waits_are_found_by_what_they_wait_for(journal: &dyn Journal) {
    let event = |pattern: &str| Wait::Event {
        pattern: pattern.into(),
        filter: Value::map([("host", Value::from("hub"))]),
        after: 3,
        deadline: None,
    };
    let approval = Wait::Approval { prompt: "sure?".into(), deadline: None };
    append_all(
        journal,
        run(1),
        vec![started("a"), waits(effect(1), event("unit.*")), waits(effect(2), approval)],
    );
    append_all(journal, run(2), vec![started("a"), waits(effect(1), event("unit.failed"))]);
    append_all(journal, run(3), vec![started("a"), waits(effect(1), Wait::Run(run(1)))]);
    let found = |kind, key: &str| -> Vec<_> {
        journal.waits_for(kind, key, 9).unwrap().iter().map(|wait| wait.run).collect()
    };
    assert_eq!(found("event", "unit.*"), [run(1)]);
    assert_eq!(found("run", &run(1).to_string()), [run(3)]);
    assert_eq!(found("signal", "unit.*"), []);
    let of_kind = |kind| journal.waits(Some(kind), None, 9).unwrap();
    assert_eq!(of_kind("event").iter().map(|wait| wait.run).collect::<Vec<_>>(), [run(1), run(2)]);
    assert_eq!(of_kind("event")[0].wait, event("unit.*"));
    assert_eq!(journal.waits(Some("approval"), Some(run(1)), 9).unwrap().len(), 1);
    assert_eq!(journal.waits(Some("approval"), Some(run(2)), 9).unwrap(), vec![]);
    assert_eq!(journal.waits(None, None, 2).unwrap().len(), 2);
}

pub(crate) fn signals_wait_for_their_run(journal: &dyn Journal) {
    let signal = |n: u8, name: &str| {
        let payload = Value::from(name.to_uppercase());
        journal.submit(Commit::one(Write::Signal {
            run: run(n),
            name: name.into(),
            payload,
            at: at(n.into()),
        }));
    };
    signal(1, "a");
    signal(2, "b");
    signal(1, "c");
    let names = |n| -> Vec<_> {
        journal.signals(run(n)).unwrap().into_iter().map(|signal| (signal.id, signal.name)).collect()
    };
    assert_eq!(names(1), [(1, "a".into()), (3, "c".into())]);
    assert_eq!(journal.signals(run(2)).unwrap()[0].payload, Value::from("B"));
    journal.submit(Commit::one(Write::SignalTaken { id: 1 }));
    journal.submit(Commit::one(Write::SignalTaken { id: 1 }));
    assert_eq!(names(1), [(3, "c".into())]);
    journal.submit(Commit::one(Write::SignalsMoved { from: run(1), to: run(2) }));
    assert_eq!((names(1), names(2)), (vec![], vec![(2, "b".into()), (3, "c".into())]));
    journal.submit(Commit::one(Write::SignalTaken { id: 3 }));
    signal(2, "d");
    assert_eq!(names(2), [(2, "b".into()), (4, "d".into())], "a number is never given twice");
}
