//! Options, runs beside each other, deadlines, and the machine's clocks.

use std::time::Duration;

use hob_model::{Code, Value};
use hob_scheduler::{
    CatchUp, Clocks, Deadline, Decision, Gap, LiveRun, LiveState, MissedDeadline, Overlap, OverlapHour,
    Schedule,
};
use jiff::civil::time as clock_time;
use jiff::{SignedDuration, Timestamp};

use crate::{time, when, zone, zones};

fn declare(when: &str, options: Value) -> (Option<Schedule>, Vec<String>) {
    let when = Value::String(when.to_owned());
    let (schedule, diagnostics) =
        Schedule::declare("backup", &when, &options, &["on_doubt"], &zone("Europe/Berlin"), zones());
    let shown = |diagnostic: hob_model::Diagnostic| {
        assert!([Code::UnknownOption, Code::BadDeclaration].contains(&diagnostic.code));
        format!("{} ({})", diagnostic.message, diagnostic.hint.unwrap_or_default())
    };
    (schedule, diagnostics.into_iter().map(shown).collect())
}

#[test]
fn what_identifies_local_times_stays_as_it_is() {
    let options = [
        (Value::Unit, "Europe/Berlin - -"),
        (Value::map([("gap", text("skip"))]), "Europe/Berlin skip -"),
        (
            Value::map([("gap", text("run_after")), ("overlap_hour", text("both"))]),
            "Europe/Berlin run_after both",
        ),
        (Value::map([("timezone", text("UTC")), ("overlap_hour", text("first"))]), "UTC - first"),
    ];
    for (options, identity) in options {
        let schedule = declare("0 10 * * *", options).0.unwrap();
        assert_eq!(schedule.local_time.identity(), identity, "what was recorded is compared with it");
    }
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

#[test]
fn defaults_suit_a_homelab() {
    let (schedule, diagnostics) = declare("0 10 * * *", Value::Unit);
    let schedule = schedule.unwrap();
    assert!(diagnostics.is_empty());
    assert_eq!(schedule, Schedule::new("backup", when("0 10 * * *"), zone("Europe/Berlin")));
    assert_eq!((schedule.catch_up, schedule.overlap), (CatchUp::Last, Overlap::Skip));
    assert_eq!((schedule.local_time.gap, schedule.local_time.overlap_hour), (None, None));
    assert_eq!((schedule.window, schedule.timeout, schedule.deadline), (None, None, None));
    assert!(schedule.jitter.is_zero() && schedule.conflicts.is_empty() && !schedule.paused);
}

#[test]
fn all_options() {
    let options = Value::map([
        ("timezone", text("america/new_york")),
        ("gap", text("skip")),
        ("overlap_hour", text("both")),
        ("catch_up", text("all")),
        ("window", text("2d")),
        ("overlap", text("queue_one")),
        ("jitter", text("5m")),
        ("timeout", text("2h")),
        ("deadline", text("06:30")),
        ("conflicts", Value::Array(vec![text("disk"), text("cpu"), text("disk")])),
        ("paused", Value::Bool(true)),
        ("on_doubt", text("retry")),
    ]);
    let (schedule, diagnostics) = declare("@daily", options);
    assert_eq!(diagnostics, Vec::<String>::new());
    let schedule = schedule.unwrap();
    assert_eq!(schedule.local_time.zone.iana_name(), Some("America/New_York"));
    assert_eq!(schedule.local_time.gap, Some(Gap::Skip));
    assert_eq!(schedule.local_time.overlap_hour, Some(OverlapHour::Both));
    assert_eq!((schedule.catch_up, schedule.overlap), (CatchUp::All, Overlap::QueueOne));
    assert_eq!(schedule.window, Some(Duration::from_secs(172_800)));
    assert_eq!(
        (schedule.jitter, schedule.timeout),
        (Duration::from_secs(300), Some(Duration::from_secs(7_200)))
    );
    assert_eq!(schedule.deadline, Some(Deadline::By(clock_time(6, 30, 0, 0))));
    assert_eq!(schedule.conflicts, ["cpu", "disk"]);
    assert!(schedule.paused);
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let options = Value::map([
        ("timezome", text("UTC")),
        ("timezone", text("Europe/Berln")),
        ("gap", text("later")),
        ("jitter", Value::Int(5)),
        ("window", text("5")),
        ("deadline", text("25:00")),
        ("conflicts", text("disk")),
        ("paused", text("yes")),
    ]);
    let (schedule, diagnostics) = declare("0 25 * * *", options);
    assert!(schedule.is_none());
    let expected = [
        "the time of a schedule cannot be read: column 3 (hour): found `25`, expected 0-23 ()",
        "schedule `backup`: `conflicts`: expected an array of at most 64 texts, found \"disk\" ()",
        "schedule `backup`: `deadline`: expected a duration such as \"2h\" or a time of day such as \"06:00\", found \"25:00\" ()",
        "schedule `backup`: `gap`: expected one of \"run_after\", \"skip\", found \"later\" ()",
        "schedule `backup`: `jitter`: expected a duration such as \"2h\", found",
        "schedule `backup`: `paused`: expected true or false, found \"yes\" ()",
        "schedule `backup`: there is no option `timezome` (did you mean `timezone`? The options are: timezone, gap, \
         overlap_hour, catch_up, window, overlap, jitter, timeout, deadline, conflicts, paused, on_doubt)",
        "schedule `backup`: `timezone`: there is no time zone `Europe/Berln` (did you mean `Europe/Berlin`?)",
        "schedule `backup`: `window`: `5` is no duration",
    ];
    assert_eq!(diagnostics.len(), expected.len(), "{diagnostics:#?}");
    for (found, expected) in diagnostics.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}");
    }
}

fn run(id: u32, own: bool, state: LiveState, conflicts: &[String]) -> LiveRun<'_, u32> {
    LiveRun { id, own, state, conflicts }
}

#[test]
fn overlapping_itself() {
    use Decision::{CancelFirst, Queue, Skip, Start};
    use LiveState::{Parked, Queued, Running};
    let skip = |because: &[u32]| Skip { because: because.to_vec(), missed: false };
    let queue = |behind: &[u32]| Queue { behind: behind.to_vec() };
    let cancel = |cancel: &[u32]| CancelFirst { cancel: cancel.to_vec(), behind: vec![] };
    let cases: &[(Overlap, &[LiveState], Decision<u32>)] = &[
        (Overlap::Skip, &[], Start),
        (Overlap::Skip, &[Running], skip(&[0])),
        (Overlap::Skip, &[Queued], skip(&[0])),
        (Overlap::Skip, &[Parked], Start),
        (Overlap::Queue, &[], Start),
        (Overlap::Queue, &[Running, Queued], queue(&[0, 1])),
        (Overlap::Queue, &[Parked], Start),
        (Overlap::QueueOne, &[Running], queue(&[0])),
        (Overlap::QueueOne, &[Running, Queued], skip(&[0, 1])),
        (Overlap::CancelOther, &[], Start),
        (Overlap::CancelOther, &[Running, Queued, Parked], cancel(&[0, 1])),
        (Overlap::Allow, &[Running, Queued, Parked], Start),
    ];
    for (overlap, states, expected) in cases {
        let mut schedule = Schedule::new("test", when("@daily"), zone("UTC"));
        schedule.overlap = *overlap;
        let live: Vec<_> = states.iter().zip(0..).map(|(state, id)| run(id, true, *state, &[])).collect();
        assert_eq!(schedule.decide(&live, 0), *expected, "{overlap:?} {states:?}");
    }
}

#[test]
fn conflicts_make_wait_and_count_parked_runs() {
    use LiveState::{Parked, Queued, Running};
    let disk = ["disk".to_owned(), "net".to_owned()];
    let other = ["gpu".to_owned()];
    let mut schedule = Schedule::new("test", when("@daily"), zone("UTC"));
    schedule.conflicts = vec!["disk".to_owned()];
    let waits = |behind: &[u32]| Decision::Queue { behind: behind.to_vec() };
    assert_eq!(schedule.decide(&[run(1, false, Running, &disk)], 0), waits(&[1]));
    assert_eq!(schedule.decide(&[run(1, false, Parked, &disk)], 0), waits(&[1]));
    assert_eq!(schedule.decide(&[run(1, false, Running, &other)], 0), Decision::Start);
    // What waits itself holds nothing yet: two that wait would wait for each other.
    assert_eq!(schedule.decide(&[run(1, false, Queued, &disk)], 0), Decision::Start);
    // Its own parked run holds the key.
    let own_parked = [run(1, true, Parked, &disk)];
    assert_eq!(schedule.decide(&own_parked, 0), Decision::Skip { because: vec![1], missed: false });
    // `allow` allows no two with the same key either.
    schedule.overlap = Overlap::Allow;
    assert_eq!(schedule.decide(&[run(1, true, Running, &disk), run(2, true, Running, &[])], 0), waits(&[1]));
    schedule.overlap = Overlap::CancelOther;
    let both = [run(1, true, Running, &disk), run(2, false, Running, &disk)];
    assert_eq!(schedule.decide(&both, 0), Decision::CancelFirst { cancel: vec![1], behind: vec![2] });
}

#[test]
fn slots_that_were_promised_a_run_wait_their_turn() {
    use LiveState::{Queued, Running};
    let live = [run(1, true, Running, &[]), run(2, true, Queued, &[])];
    for overlap in [Overlap::Skip, Overlap::Queue, Overlap::QueueOne, Overlap::CancelOther] {
        let mut schedule = Schedule::new("test", when("@daily"), zone("UTC"));
        schedule.overlap = overlap;
        assert_eq!(schedule.decide_in_turn(&live, 0), Decision::Queue { behind: vec![1, 2] }, "{overlap:?}");
        schedule.overlap = Overlap::Allow;
        assert_eq!(schedule.decide_in_turn(&live, 0), Decision::Start);
    }
}

#[test]
fn whose_turn_it_is() {
    use LiveState::{Parked, Queued, Running};
    let (disk, gpu) = (["disk".to_owned()], ["gpu".to_owned()]);
    let mut schedule = Schedule::new("test", when("@daily"), zone("UTC"));
    schedule.conflicts = disk.to_vec();
    let cases: &[(LiveRun<'_, u32>, bool, bool)] = &[
        (run(1, true, Running, &[]), false, true),
        (run(1, true, Running, &disk), false, false),
        (run(1, true, Queued, &disk), true, true),
        (run(1, true, Parked, &[]), true, true),
        (run(1, true, Parked, &disk), false, false),
        (run(1, false, Running, &[]), true, true),
        (run(1, false, Running, &gpu), true, true),
        (run(1, false, Running, &disk), false, false),
        (run(1, false, Parked, &disk), false, false),
        (run(1, false, Queued, &disk), true, true),
    ];
    for (live, alone, allowed) in cases {
        schedule.overlap = Overlap::Queue;
        assert_eq!(schedule.may_begin(&[*live]), *alone, "{live:?}");
        schedule.overlap = Overlap::Allow;
        assert_eq!(schedule.may_begin(&[*live]), *allowed, "{live:?} and `allow`");
    }
}

#[test]
fn no_deadline_lies_before_the_next_look() {
    let daily = with_deadline("0 3 * * *", Deadline::After(Duration::from_secs(7_200)));
    // The slot of 03:00 in Berlin has its deadline at 05:00: 04:00 UTC.
    assert_eq!(daily.next_deadline(time("2026-01-03T03:00:00Z")), Some(time("2026-01-03T04:00:00Z")));
    assert_eq!(daily.next_deadline(time("2026-01-03T04:00:00Z")), Some(time("2026-01-04T04:00:00Z")));
    let by = with_deadline("0 3 * * *", Deadline::By(clock_time(6, 30, 0, 0)));
    assert_eq!(by.next_deadline(time("2026-01-03T03:00:00Z")), Some(time("2026-01-03T05:30:00Z")));
    assert_eq!(Schedule::new("test", when("@daily"), zone("UTC")).next_deadline(Timestamp::UNIX_EPOCH), None);
}

#[test]
fn three_skipped_in_a_row_are_a_miss() {
    let schedule = Schedule::new("test", when("@daily"), zone("UTC"));
    let missed = |in_row| match schedule.decide(&[run(1, true, LiveState::Running, &[])], in_row) {
        Decision::Skip { missed, .. } => missed,
        other => panic!("{other:?}"),
    };
    assert_eq!([0, 1, 2, 3, 4, 5].map(missed), [false, false, true, false, false, true]);
}

fn with_deadline(text: &str, deadline: Deadline) -> Schedule {
    let mut schedule = Schedule::new("test", when(text), zone("Europe/Berlin"));
    schedule.deadline = Some(deadline);
    schedule
}

fn missed(schedule: &Schedule, looked: &str, now: &str, succeeded: &[(&str, &str)]) -> Vec<String> {
    let succeeded =
        |nominal: Timestamp| succeeded.iter().find(|(of, _)| time(of) == nominal).map(|(_, at)| time(at));
    let found = schedule.missed_deadlines(time("2026-01-01T00:00:00Z"), time(looked), time(now), succeeded);
    assert_eq!(found.looked, time(now));
    found
        .missed
        .iter()
        .map(|MissedDeadline { nominal, deadline }| format!("{nominal} by {deadline}"))
        .collect()
}

#[test]
fn deadlines_after_the_nominal_time() {
    let schedule = with_deadline("0 3 * * *", Deadline::After(Duration::from_secs(7_200)));
    let third = "2026-01-03T02:00:00Z by 2026-01-03T04:00:00Z";
    assert!(missed(&schedule, "2026-01-03T03:00:00Z", "2026-01-03T03:59:59Z", &[]).is_empty());
    assert_eq!(missed(&schedule, "2026-01-03T03:00:00Z", "2026-01-03T04:00:00Z", &[]), [third]);
    // Reported once.
    assert!(missed(&schedule, "2026-01-03T04:00:00Z", "2026-01-03T05:00:00Z", &[]).is_empty());
    let in_time = [("2026-01-03T02:00:00Z", "2026-01-03T03:30:00Z")];
    assert!(missed(&schedule, "2026-01-03T03:00:00Z", "2026-01-03T04:00:00Z", &in_time).is_empty());
    let late = [("2026-01-03T02:00:00Z", "2026-01-03T04:30:00Z")];
    assert_eq!(missed(&schedule, "2026-01-03T03:00:00Z", "2026-01-03T05:00:00Z", &late), [third]);
    // What was missed while nothing ran; nothing from before the declaration.
    let all = missed(&schedule, "2025-12-01T00:00:00Z", "2026-01-03T05:00:00Z", &[]);
    assert_eq!(all.len(), 3);
    assert_eq!(all[0], "2026-01-01T02:00:00Z by 2026-01-01T04:00:00Z");
}

#[test]
fn deadlines_at_a_time_of_day() {
    let schedule = with_deadline("0 */6 * * *", Deadline::By(clock_time(7, 0, 0, 0)));
    // Four slots a day share one deadline: one alarm, naming the first.
    let found = missed(&schedule, "2026-01-02T12:00:00Z", "2026-01-03T12:00:00Z", &[]);
    assert_eq!(found, ["2026-01-02T11:00:00Z by 2026-01-03T06:00:00Z"]);
    // On the day of the change, 07:00 is an hour earlier.
    assert_eq!(schedule.deadline_of(time("2026-03-28T23:00:00Z")), Some(time("2026-03-29T05:00:00Z")));
    let gap = with_deadline("@daily", Deadline::By(clock_time(2, 30, 0, 0)));
    assert_eq!(gap.deadline_of(time("2026-03-28T23:00:00Z")), Some(time("2026-03-29T01:00:00Z")));
}

#[test]
fn more_missed_deadlines_than_one_look_reports() {
    let schedule = with_deadline("* * * * *", Deadline::After(Duration::from_secs(30)));
    let (mut looked, now) = (time("2026-01-01T00:00:00Z"), time("2026-01-02T00:00:00Z"));
    let mut count = 0;
    while looked < now {
        let found = schedule.missed_deadlines(time("2026-01-01T00:00:00Z"), looked, now, |_| None);
        count += found.missed.len();
        looked = found.looked;
    }
    assert_eq!(count, 1_439);
}

#[test]
fn steps_and_suspension() {
    let start = Clocks {
        wall: time("2026-01-01T00:00:00Z"),
        boot: Duration::from_secs(1_000),
        monotonic: Duration::from_secs(900),
    };
    let after = |wall: i64, boot: u64, monotonic: u64| {
        let later = Clocks {
            wall: start.wall + SignedDuration::from_millis(wall),
            boot: start.boot + Duration::from_secs(boot),
            monotonic: start.monotonic + Duration::from_secs(monotonic),
        };
        let change = later.change_since(&start);
        (change.stepped.as_millis(), change.suspended.as_secs())
    };
    assert_eq!(after(60_000, 60, 60), (0, 0));
    assert_eq!(after(60_900, 60, 60), (0, 0));
    assert_eq!(after(3_660_000, 60, 60), (3_600_000, 0));
    assert_eq!(after(-3_540_000, 60, 60), (-3_600_000, 0));
    assert_eq!(after(28_800_000, 28_800, 60), (0, 28_740));
    assert_eq!(after(0, 28_800, 60), (-28_800_000, 28_740));
    // A day of slewing at the highest rate is no step.
    assert_eq!(after(86_443_000, 86_400, 86_400), (0, 0));
}

#[test]
fn what_is_the_same_is_kept_once() {
    let mut common = hob_scheduler::Common::default();
    let mut read = |text: &str, zone_name: &str| {
        let mut schedule = Schedule::new("test", when(text), zone(zone_name));
        let before = schedule.clone();
        common.share(&mut schedule);
        assert_eq!(schedule, before);
        schedule
    };
    let all = [("@daily", "UTC"), ("0 5 * * *", "UTC"), ("@daily", "Europe/Berlin"), ("0 5 * * *", "UTC")];
    let all = all.map(|(text, zone)| read(text, zone));
    let same = |a: usize, b: usize| std::sync::Arc::ptr_eq(&all[a].when, &all[b].when);
    assert!(same(0, 2) && same(1, 3) && !same(0, 1));
}
