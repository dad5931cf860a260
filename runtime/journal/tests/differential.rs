//! Both adapters are given the same random operations and must answer every question alike.

#![allow(clippy::unwrap_used)]

mod common;

use bytes::Bytes;
use common::samples::{any_value, at, ended, entry, inline, outcome, run, started, waits};
use common::{Memory, Subject, everything};
use hob_journal::{Commit, Journal, Slot, SqliteJournal, Write};
use hob_model::{Digest, EntryKind, OpError, Position, Resolution, RunEnd, RunId, RunStatus, Value, Wait};
use proptest::prelude::*;

const RUNS: u8 = 4;
const SCHEDULES: [&str; 2] = ["hourly", "nightly"];

#[derive(Clone, Debug)]
enum Step {
    /// Everything up to here in one commit.
    Submit,
    Wait,
    Claim(usize, i64),
    /// Slots of many schedules, each with a run of its own; some expected before.
    ClaimMany {
        nominal: i64,
        expected: bool,
    },
    /// The journal on disk is closed and opened again.
    Reopen,
    Write(Op),
}

/// A write without what depends on what came before.
#[derive(Clone, Debug)]
enum Op {
    Entry(u8, EntryKind),
    Signal(u8, String, Value),
    Taken(u64),
    Moved(u8, u8),
    Event(String, Value),
    Fact(String, Option<Value>),
    Blob(Vec<u8>),
}

fn any_run() -> impl Strategy<Value = u8> {
    1..=RUNS
}

fn positions() -> Vec<Position> {
    let root = Position::root();
    vec![root.effect(1), root.effect(2), root.branch(2, "a").effect(1), root.step("x", 1)]
}

fn any_kind() -> impl Strategy<Value = EntryKind> {
    let position = || proptest::sample::select(positions());
    let deadline = || proptest::option::of((0..100_i64).prop_map(at));
    let name = || proptest::sample::select(vec!["a".to_owned(), "b".to_owned()]);
    let wait = prop_oneof![
        (0..100_i64).prop_map(|micros| Wait::Until(at(micros))),
        (name(), deadline()).prop_map(|(name, deadline)| Wait::Signal { name, deadline }),
        (name(), any_value(), deadline()).prop_map(|(pattern, filter, deadline)| Wait::Event {
            pattern,
            filter,
            after: 0,
            deadline
        }),
        any_run().prop_map(|n| Wait::Run(run(n))),
    ];
    let status = proptest::sample::select(vec![RunStatus::Waiting, RunStatus::InDoubt]);
    let end = proptest::sample::select(vec![
        RunEnd::Succeeded(Value::Int(1)),
        RunEnd::Failed(OpError::failed("no")),
        RunEnd::Cancelled,
        RunEnd::Carried(run(9)),
    ]);
    prop_oneof![
        4 => (position(), wait).prop_map(|(position, wait)| waits(position, wait)),
        4 => position().prop_map(|position| outcome(position, Ok(inline("done")))),
        1 => position().prop_map(|position| EntryKind::Withdrawn { position }),
        1 => position().prop_map(|position| EntryKind::Abandoned { position }),
        1 => position().prop_map(|position| EntryKind::Doubt { position }),
        1 => position().prop_map(|position| EntryKind::Paused { position, message: "differs".into() }),
        1 => (position(), 2..5_u32).prop_map(|(position, attempt)| EntryKind::Reopened { position, attempt }),
        1 => position().prop_map(|position| {
            EntryKind::Resolved { position, resolution: Resolution::Skip, by: "ada".into() }
        }),
        1 => any::<[u8; 32]>().prop_map(|bytes| EntryKind::Migrated { bundle: Digest(bytes) }),
        1 => any::<[u8; 32]>()
            .prop_map(|bytes| EntryKind::Captured { bundle: Digest(bytes), values: Digest(bytes) }),
        2 => status.prop_map(|status| EntryKind::Suspended { status }),
        1 => Just(EntryKind::Interrupted),
        1 => end.prop_map(ended),
    ]
}

fn any_op() -> impl Strategy<Value = Op> {
    let key = proptest::sample::select(vec!["a/1", "a/2", "b", "restored/held/x"]).prop_map(String::from);
    prop_oneof![
        8 => (any_run(), any_kind()).prop_map(|(n, kind)| Op::Entry(n, kind)),
        1 => (any_run(), "[ab]", any_value()).prop_map(|(n, name, payload)| Op::Signal(n, name, payload)),
        1 => (1..6_u64).prop_map(Op::Taken),
        1 => (any_run(), any_run()).prop_map(|(from, to)| Op::Moved(from, to)),
        1 => ("[ab]", any_value()).prop_map(|(name, payload)| Op::Event(name, payload)),
        1 => (key, proptest::option::of(any_value())).prop_map(|(key, value)| Op::Fact(key, value)),
        1 => any::<Vec<u8>>().prop_map(Op::Blob),
    ]
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => any_op().prop_map(Step::Write),
        6 => Just(Step::Submit),
        2 => Just(Step::Wait),
        1 => (0..SCHEDULES.len(), 0..4_i64).prop_map(|(schedule, nominal)| Step::Claim(schedule, nominal)),
        1 => (0..3_i64, any::<bool>()).prop_map(|(nominal, expected)| Step::ClaimMany { nominal, expected }),
        1 => Just(Step::Reopen),
    ]
}

/// Gives operations their numbers, as an engine would.
#[derive(Default)]
struct Numbers {
    next: [u64; RUNS as usize + 1],
    writes: i64,
    /// How many runs of claims there are.
    claims: u64,
}

impl Numbers {
    fn writes(&mut self, op: Op) -> Vec<Write> {
        self.writes += 1;
        let at = at(self.writes);
        let one = match op {
            Op::Entry(n, kind) => {
                let next = &mut self.next[usize::from(n)];
                let begin = (*next == 0).then(|| Write::Entry(run(n), entry(0, started("a"))));
                *next += 1 + u64::from(begin.is_some());
                return begin.into_iter().chain([Write::Entry(run(n), entry(*next - 1, kind))]).collect();
            }
            Op::Signal(n, name, payload) => Write::Signal { run: run(n), name, payload, at },
            Op::Taken(id) => Write::SignalTaken { id },
            Op::Moved(from, to) => Write::SignalsMoved { from: run(from), to: run(to) },
            Op::Event(name, payload) => Write::Event { name, payload, origin: "cli".into(), at },
            Op::Fact(key, value) => Write::Fact { key, value },
            Op::Blob(bytes) => Write::Blob(Digest::of(&bytes), Bytes::from(bytes)),
        };
        vec![one]
    }
}

/// One for each of many schedules, those that the other steps claim among them.
fn many_claims(nominal: i64, numbers: &mut Numbers) -> Vec<(Slot, Commit)> {
    let own = (0..60).map(|n| format!("many-{n}"));
    let names = own.chain(SCHEDULES.iter().map(ToString::to_string));
    let claims = names.map(|schedule| {
        numbers.claims += 1;
        let run = RunId(uuid::Uuid::from_u128(u128::from(numbers.claims) << 64));
        let slot = Slot { schedule, nominal: at(nominal), run };
        (slot, Commit::one(Write::Entry(run, entry(0, started("many")))))
    });
    claims.collect()
}

fn questions(journal: &dyn Journal) -> String {
    let runs: Vec<_> = (1..=RUNS).map(run).collect();
    everything(journal, &runs, &SCHEDULES, &positions())
}

fn run_both(steps: Vec<Step>) {
    let dir = tempfile::tempdir().unwrap();
    let memory = Memory::fresh().0;
    let mut sqlite = SqliteJournal::open(dir.path()).unwrap();
    let mut numbers = Numbers::default();
    let mut blobs = Vec::new();
    let mut commit = Commit::default();
    for step in steps {
        match step {
            Step::Write(op) => {
                let writes = numbers.writes(op);
                blobs.extend(writes.iter().filter_map(|write| match write {
                    Write::Blob(digest, _) => Some(*digest),
                    _ => None,
                }));
                commit.writes.extend(writes);
                continue;
            }
            Step::Submit => {
                sqlite.submit(commit.clone());
                memory.submit(std::mem::take(&mut commit));
            }
            Step::Wait => {
                sqlite.flush().unwrap();
                memory.flush().unwrap();
            }
            Step::Claim(schedule, nominal) => {
                let slot = Slot { schedule: SCHEDULES[schedule].into(), nominal: at(nominal), run: run(1) };
                let fact = Write::Fact { key: "a/claimed".into(), value: Some(nominal.into()) };
                let claimed = memory.claim(slot.clone(), Commit::one(fact.clone())).unwrap();
                assert_eq!(sqlite.claim(slot, Commit::one(fact)).unwrap(), claimed);
            }
            Step::ClaimMany { nominal, expected } => {
                let claims = many_claims(nominal, &mut numbers);
                if expected {
                    let slots: Vec<Slot> = claims.iter().map(|(slot, _)| slot.clone()).collect();
                    sqlite.expect_claims(&slots).unwrap();
                }
                let claimed = memory.claim_all(claims.clone()).unwrap();
                assert_eq!(sqlite.claim_all(claims).unwrap(), claimed);
            }
            Step::Reopen => {
                drop(sqlite);
                sqlite = SqliteJournal::open(dir.path()).unwrap();
            }
        }
    }
    sqlite.submit(commit.clone());
    memory.submit(commit);
    assert_eq!(questions(&sqlite), questions(&memory));
    for digest in blobs {
        assert_eq!(sqlite.blob(digest).unwrap(), memory.blob(digest).unwrap());
    }
    let told = questions(&sqlite);
    sqlite.rebuild().unwrap();
    assert_eq!(questions(&sqlite), told, "a rebuild changes nothing");
    // References to blobs that were never stored are made up here; nothing else may be found.
    let findings = sqlite.check().unwrap();
    assert!(findings.iter().all(|it| it.problem.contains("refers to")), "{findings:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn adapters_agree(steps in proptest::collection::vec(any_step(), 0..80)) {
        run_both(steps);
    }
}
