//! Which slots fire: catch-up, jitter, steps of the clock.

use std::time::Duration;

use hob_scheduler::{CatchUp, Due, Progress, Schedule};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use crate::{time, when, zone};

fn schedule(text: &str, catch_up: CatchUp, window: Option<&str>) -> Schedule {
    let mut schedule = Schedule::new("test", when(text), zone("UTC"));
    schedule.catch_up = catch_up;
    schedule.window = window.map(|window| hob_model::duration::parse(window).unwrap());
    schedule
}

/// A time of 1 January 2026.
fn at(text: &str) -> Timestamp {
    time(&format!("2026-01-01T{text}Z"))
}

fn shown(times: impl IntoIterator<Item = Timestamp>) -> Vec<String> {
    times.into_iter().map(|time| time.to_string()[11..19].to_owned()).collect()
}

fn look(schedule: &Schedule, claimed: &[Timestamp], now: &str) -> Due {
    schedule.due(Progress { since: at("00:30:00"), claimed, looked: None }, at(now))
}

/// Policy, window, the time of the look; what fires, and the oldest slot that does not.
type CatchUpCase =
    (CatchUp, Option<&'static str>, &'static str, &'static [&'static str], Option<&'static str>);

#[test]
fn catching_up() {
    // Hourly, last claimed at 02:00; then looked at.
    let cases: &[CatchUpCase] = &[
        (CatchUp::Last, None, "02:30:00", &[], None),
        (CatchUp::Last, None, "03:00:00", &["03:00:00"], None),
        (CatchUp::None, None, "03:00:59", &["03:00:00"], None),
        (CatchUp::None, None, "03:05:00", &[], Some("03:00:00")),
        (CatchUp::Last, None, "03:05:00", &["03:00:00"], None),
        (CatchUp::Last, None, "06:30:00", &["06:00:00"], Some("03:00:00")),
        (CatchUp::Last, Some("20m"), "06:30:00", &[], Some("03:00:00")),
        (CatchUp::Last, Some("40m"), "06:30:00", &["06:00:00"], Some("03:00:00")),
        (CatchUp::All, None, "06:30:00", &["03:00:00", "04:00:00", "05:00:00", "06:00:00"], None),
        (CatchUp::All, Some("2h"), "06:30:00", &["05:00:00", "06:00:00"], Some("03:00:00")),
        // On time is on time, whatever the window.
        (CatchUp::All, Some("0"), "06:00:10", &["06:00:00"], Some("03:00:00")),
        (CatchUp::None, None, "06:00:10", &["06:00:00"], Some("03:00:00")),
    ];
    for (catch_up, window, now, fire, passed_over) in cases {
        let found = look(&schedule("@hourly", *catch_up, *window), &[at("02:00:00")], now);
        let name = format!("{catch_up:?} {window:?} {now}");
        assert_eq!(shown(found.fire.iter().map(|slot| slot.nominal)), *fire, "{name}");
        assert_eq!(
            shown(found.passed_over),
            passed_over.map(str::to_owned).into_iter().collect::<Vec<_>>(),
            "{name}"
        );
        let wake = found.wake.unwrap();
        assert!(wake > at(now) && wake.duration_since(at(now)).as_secs() <= 3_600, "{name}");
    }
}

#[test]
fn nothing_before_the_declaration_is_caught_up() {
    let all = schedule("@hourly", CatchUp::All, None);
    assert_eq!(
        shown(look(&all, &[], "02:30:00").fire.iter().map(|slot| slot.nominal)),
        ["01:00:00", "02:00:00"]
    );
    assert!(look(&all, &[], "00:45:00").fire.is_empty());
    // Also where the last claim is from before a new declaration.
    let progress = Progress { since: at("05:30:00"), claimed: &[at("02:00:00")], looked: None };
    assert_eq!(shown(all.due(progress, at("06:00:00")).fire.iter().map(|slot| slot.nominal)), ["06:00:00"]);
}

#[test]
fn paused_schedules_sleep() {
    let mut paused = schedule("@hourly", CatchUp::All, None);
    paused.paused = true;
    assert_eq!(look(&paused, &[], "02:30:00"), Due::default());
}

#[test]
fn a_year_of_seconds_is_looked_at_at_once() {
    let last = schedule("* * * * * *", CatchUp::Last, None);
    let found = last
        .due(Progress { since: time("2025-01-01T00:00:00Z"), claimed: &[], looked: None }, at("00:00:00.5"));
    assert_eq!(shown(found.fire.iter().map(|slot| slot.nominal)), ["00:00:00"]);
    assert_eq!(found.passed_over, Some(time("2025-01-01T00:00:01Z")));
}

#[test]
fn what_one_look_cannot_hold_follows_at_once() {
    let all = schedule("* * * * * *", CatchUp::All, None);
    let mut claimed = Vec::new();
    let mut looks = 0;
    while let Due { fire, wake: Some(wake), .. } = look(&all, &claimed, "02:00:00") {
        looks += 1;
        claimed.extend(fire.iter().map(|slot| slot.nominal));
        if wake > at("02:00:00") {
            break;
        }
    }
    assert_eq!((looks, claimed.len(), claimed.last()), (6, 5_400, Some(&at("02:00:00"))));
}

#[test]
fn jitter_is_stable_spread_and_keeps_the_nominal_time() {
    let named = |name: &str| {
        let mut schedule = schedule("@hourly", CatchUp::Last, None);
        schedule.name = name.into();
        schedule.jitter = Duration::from_secs(600);
        schedule
    };
    let offsets: Vec<_> = (0..100).map(|n| named(&format!("job {n}")).jitter_offset()).collect();
    assert!(offsets.iter().all(|offset| offset.as_secs() < 600));
    for tenth in 0..10 {
        assert!(offsets.iter().any(|offset| offset.as_secs() / 60 == tenth), "nothing in minute {tenth}");
    }
    // Written down: a new version must not move everybody's jobs.
    let backup = named("postgres-backup");
    assert_eq!(backup.jitter_offset(), Duration::from_micros(449_351_096));
    let slot = backup.slot(at("01:00:00"));
    let before = slot.due.checked_sub(SignedDuration::from_micros(1)).unwrap();
    let progress = Progress { since: at("00:30:00"), claimed: &[], looked: None };
    assert_eq!(backup.due(progress, before), Due { fire: vec![], passed_over: None, wake: Some(slot.due) });
    assert_eq!(backup.due(progress, slot.due).fire, [slot]);
}

#[test]
fn a_clock_put_back_repeats_nothing_and_loses_nothing() {
    let all = schedule("@hourly", CatchUp::All, None);
    // 10:00 was claimed while the clock was ahead; now it shows 07:30 again.
    let claimed = [at("02:00:00"), at("10:00:00")];
    let now = |looked: &str, now: &str| {
        all.due(Progress { since: at("00:30:00"), claimed: &claimed, looked: Some(at(looked)) }, at(now))
    };
    let back = now("10:00:30", "02:30:00");
    assert!(back.fire.is_empty());
    assert_eq!(back.wake, Some(at("03:00:00")));
    assert_eq!(shown(now("02:30:00", "03:00:00").fire.iter().map(|slot| slot.nominal)), ["03:00:00"]);
    // What was claimed already does not wake anybody.
    let with_nine = [at("09:00:00"), at("10:00:00")];
    let found =
        all.due(Progress { since: at("00:30:00"), claimed: &with_nine, looked: None }, at("09:30:00"));
    assert_eq!((found.fire, found.wake), (vec![], Some(at("11:00:00"))));
}

#[test]
fn a_declaration_from_a_clock_that_was_ahead_does_not_block() {
    let last = schedule("@hourly", CatchUp::Last, None);
    let since = time("2099-01-01T00:00:00Z");
    let look = |looked: Option<&str>, now: &str| {
        last.due(Progress { since, claimed: &[], looked: looked.map(at) }, at(now))
    };
    let first = look(None, "02:30:00");
    assert_eq!((first.fire, first.wake), (vec![], Some(at("03:00:00"))));
    assert_eq!(shown(look(Some("02:30:00"), "03:00:00").fire.iter().map(|slot| slot.nominal)), ["03:00:00"]);
}

#[test]
fn backfill() {
    let hourly = schedule("@hourly", CatchUp::None, None);
    let nominal = |from: &str, to: &str, max| {
        shown(hourly.slots(at(from), at(to), max).iter().map(|slot| slot.nominal))
    };
    assert_eq!(nominal("01:00:00", "03:00:00", 10), ["02:00:00", "03:00:00"]);
    assert_eq!(nominal("01:00:00", "09:00:00", 2), ["02:00:00", "03:00:00"]);
}

/// What happens to the scheduler's process and to its clock.
#[derive(Clone, Copy, Debug)]
enum Event {
    /// True time goes on.
    Pass(u32),
    /// The process dies and starts again after a while.
    Restart(u32),
    /// The clock is set off by this many seconds from true time.
    SetClock(i32),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        6 => (1_u32..900).prop_map(Event::Pass),
        1 => (1_u32..20_000).prop_map(Event::Restart),
        1 => (-20_000_i32..20_000).prop_map(Event::SetClock),
    ]
}

proptest! {
    /// Under any sequence of restarts and steps of the clock: no slot is claimed twice; with `all`, each slot
    /// that the clock has passed is claimed, unless the clock was put back; the latest one is in any case.
    #[test]
    fn never_twice_and_never_lost(
        events in prop::collection::vec(event(), 1..60),
        catch_up in prop_oneof![Just(CatchUp::None), Just(CatchUp::Last), Just(CatchUp::All)],
        jitter in 0_u64..600,
    ) {
        let mut schedule = schedule("*/10 * * * *", catch_up, None);
        schedule.jitter = Duration::from_secs(jitter);
        let since = at("00:05:00");
        let (mut true_time, mut clock_error) = (since, SignedDuration::ZERO);
        let (mut claimed, mut looked) = (Vec::<Timestamp>::new(), None);
        let mut was_set_back = false;
        for event in events {
            match event {
                Event::Pass(seconds) => true_time += SignedDuration::from_secs(seconds.into()),
                Event::Restart(seconds) => {
                    true_time += SignedDuration::from_secs(seconds.into());
                    looked = None;
                }
                Event::SetClock(error) => {
                    let error = SignedDuration::from_secs(error.into());
                    was_set_back |= error < clock_error;
                    clock_error = error;
                }
            }
            let now = true_time + clock_error;
            let due = schedule.due(Progress { since, claimed: &claimed, looked }, now);
            for slot in &due.fire {
                prop_assert!(slot.due <= now);
                prop_assert!(slot.nominal > since || was_set_back);
                prop_assert!(!claimed.contains(&slot.nominal), "{} fires twice", slot.nominal);
                claimed.push(slot.nominal);
            }
            claimed.sort_unstable();
            prop_assert!(due.wake.is_some_and(|wake| wake > now), "it would never look again");
            let latest = schedule.slots(since, now, usize::MAX).into_iter().rfind(|slot| slot.due <= now);
            if let (Some(latest), CatchUp::Last | CatchUp::All) = (latest, catch_up) {
                prop_assert!(claimed.contains(&latest.nominal), "{} is lost", latest.nominal);
            }
            if catch_up == CatchUp::All && !was_set_back {
                let passed = schedule.slots(since, now, usize::MAX).into_iter().filter(|slot| slot.due <= now);
                for slot in passed {
                    prop_assert!(claimed.contains(&slot.nominal), "{} is lost", slot.nominal);
                }
            }
            looked = Some(now);
        }
    }
}
