//! The scheduler against a model of what cronie does where the clocks of all zones change, from 1970 to 2037.
//!
//! The model is cronie's main loop (`src/cron.c` of cronie 1.7: `main`, `set_time`, `cron_sleep`, `find_jobs`) for one line:
//! it wakes at each minute of the wall clock and keeps the clock that would be, had nobody changed it (`virtualTime`). It
//! wakes on the dot, where cronie is a second late. And it always knows the offset of its zone, where cronie reads it anew
//! only when daylight saving time begins or ends: after a zone has moved its standard time, cronie fires by the old one
//! until it is started again.
//!
//! What is left differs on purpose, each for a [`Reason`] that the test proves for each single fire.
//!
//! The lines are the same each time. `HOB_LONG=1` goes through all changes of all zones instead of one of each.

#![allow(clippy::disallowed_methods, reason = "how long to try is said by the environment")]
#![allow(clippy::print_stdout, reason = "how much was compared")]

use std::collections::{BTreeMap, BTreeSet};

use hob_scheduler::LocalTime;
use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp, ToSpan as _};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

use super::oracle::{Field, Line, line};
use crate::{time, when, zone, zones};

/// Pairs of lines that are tried at each change, in the long run.
const PAIRS_LONG: usize = 2;
/// How long before a change both begin, at most: `virtualTime` is in step by then, and it is another time of the day.
const MINUTES_BEFORE_MAX: i64 = 2_000;
/// How long after a change both are compared.
const AFTER: SignedDuration = SignedDuration::from_hours(26);
/// Up to so many minutes late, cronie runs all that it missed.
const SMALL_MINUTES_MAX: i64 = 5;
/// Beyond so many minutes, cronie takes a change for a new time and no longer for daylight saving.
const MEDIUM_MINUTES_MAX: i64 = 180;

/// A change of a zone's clock.
#[derive(Clone, Copy, Debug)]
struct Change {
    at: Timestamp,
    before: Offset,
    after: Offset,
}

impl Change {
    /// By how many minutes the clock is put forward.
    fn minutes(&self) -> i64 {
        i64::from(self.after.seconds() - self.before.seconds()) / 60
    }

    /// What cronie sees of it: the minute that passed comes on top.
    fn is_large(&self) -> bool {
        (self.minutes() + 1).abs() > MEDIUM_MINUTES_MAX
    }

    /// The minutes that the wall clock leaves out.
    fn missing(&self) -> impl Iterator<Item = DateTime> {
        let end = self.after.to_datetime(self.at);
        let begin = self.before.to_datetime(self.at);
        std::iter::successors(Some(begin), |last| last.checked_add(1.minute()).ok())
            .take_while(move |it| *it < end)
    }
}

/// The changes of a zone's clock that begin in 1970 or later and before 2038.
fn changes(zone: &TimeZone) -> Vec<Change> {
    let end = time("2038-01-01T00:00:00Z");
    let following = zone.following(time("1970-01-01T00:00:00Z")).map(|change| change.timestamp());
    let change = |at: Timestamp| {
        let before = zone.to_offset(at - SignedDuration::from_secs(1));
        Change { at, before, after: zone.to_offset(at) }
    };
    // Some change only a name.
    following.take_while(|at| *at < end).map(change).filter(|change| change.before != change.after).collect()
}

/// Where cronie stands; times are minutes of its wall clock.
struct Cronie<'a> {
    line: &'a Line,
    /// When its clock showed `virtual_time`, had it never been changed.
    virtual_time: i64,
    fires: BTreeSet<Timestamp>,
}

impl Cronie<'_> {
    /// `find_jobs`: runs the line now if it names `minute` and is of a kind that is asked for.
    fn find_jobs(&mut self, now: Timestamp, minute: i64, wild: bool, fixed: bool) {
        let asked = if self.line.follows_clock() { wild } else { fixed };
        if asked && self.line.names(civil(minute)) {
            self.fires.insert(now);
        }
    }

    /// What the main loop does when it wakes and its clock shows `running`.
    fn wake(&mut self, now: Timestamp, running: i64) {
        let diff = running - self.virtual_time;
        if diff == 1 || diff.abs() > MEDIUM_MINUTES_MAX {
            self.virtual_time = running;
            self.find_jobs(now, running, true, true);
            return;
        }
        let small = (1..=SMALL_MINUTES_MAX).contains(&diff);
        if !small {
            self.find_jobs(now, running, true, false);
        }
        while self.virtual_time < running {
            self.virtual_time += 1;
            self.find_jobs(now, self.virtual_time, small, true);
        }
    }
}

fn civil(minute: i64) -> DateTime {
    Offset::UTC.to_datetime(Timestamp::from_second(minute * 60).unwrap())
}

/// All fires of cronie after `from` and up to `to`.
fn cronie(line: &Line, zone: &TimeZone, from: Timestamp, to: Timestamp) -> BTreeSet<Timestamp> {
    let seconds = |at: Timestamp| at.as_second() + i64::from(zone.to_offset(at).seconds());
    // Zones are asked again only where their clocks change.
    let mut stretch_end = zone.following(from).next().map(|change| change.timestamp());
    let mut offset = seconds(from) - from.as_second();
    let mut running = seconds(from).div_euclid(60);
    let mut cronie = Cronie { line, virtual_time: running, fires: BTreeSet::new() };
    loop {
        let at = Timestamp::from_second((running + 1) * 60 - offset).unwrap();
        if at > to {
            return cronie.fires;
        }
        if stretch_end.is_some_and(|end| end <= at) {
            stretch_end = zone.following(at).next().map(|change| change.timestamp());
            offset = seconds(at) - at.as_second();
        }
        running = (at.as_second() + offset).div_euclid(60);
        cronie.wake(at, running);
    }
}

/// The same of hob, with its defaults: `run_after` and `first` for fixed times, what the clock shows for the others.
fn hob(line: &Line, zone: &TimeZone, from: Timestamp, to: Timestamp) -> BTreeSet<Timestamp> {
    let rules = LocalTime::of(zone.clone());
    when(&line.text()).fires(from, &rules).take_while(|at| *at <= to).collect()
}

/// Why hob does not do as cronie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reason {
    /// hob alone: cronie makes up for nothing after a change of three hours or more.
    PutFarForward,
    /// cronie alone: it fires a second time after its clock was put back by more than three hours.
    PutFarBack,
    /// cronie alone: it makes up for a time of the day before. In hob, a line for one date never runs on another.
    TheDayBefore,
    /// cronie alone: the clock is put into the middle of a minute, of which cronie sees the rest and hob not the begin.
    HalfAMinute,
}

/// Why a fire at `at` is one of hob alone, or of cronie alone.
fn reason(line: &Line, changes: &[Change], at: Timestamp, of_hob: bool) -> Option<Reason> {
    let wall = |change: &Change| change.after.to_datetime(change.at);
    if line.follows_clock() {
        let halved = changes.iter().any(|change| change.at == at && wall(change).second() != 0);
        return (halved && !of_hob).then_some(Reason::HalfAMinute);
    }
    let missing = |change: &Change, that_day: bool| {
        let day = wall(change).date();
        change.missing().any(|minute| (minute.date() == day) == that_day && line.names(minute))
    };
    changes.iter().find_map(|change| {
        let (forward, here) = (change.minutes() > 0, change.at == at);
        let again = change.at <= at && change.after.to_datetime(at) < change.before.to_datetime(change.at);
        match of_hob {
            true if forward && here && change.is_large() && missing(change, true) => {
                Some(Reason::PutFarForward)
            }
            false if forward && here && !change.is_large() && missing(change, false) => {
                Some(Reason::TheDayBefore)
            }
            false if !forward && again && change.is_large() => Some(Reason::PutFarBack),
            _ => None,
        }
    })
}

/// A line that names one time of each day, within two hours of what the clock shows at a change.
fn near(change: &Change) -> BoxedStrategy<Line> {
    let (before, after) = (change.before.to_datetime(change.at), change.after.to_datetime(change.at));
    let shown = move |(minutes, new): (i64, bool)| {
        let at = (if new { after } else { before }).checked_add(minutes.minutes()).unwrap();
        Line::daily(u32::from(at.hour().unsigned_abs()), u32::from(at.minute().unsigned_abs()))
    };
    (-120_i64..120, any::<bool>()).prop_map(shown).boxed()
}

/// Compares at one change; counts what differs for a reason.
fn compare(
    line: &Line,
    (name, zone, changes): (&str, &TimeZone, &[Change]),
    (from, to): (Timestamp, Timestamp),
    reasons: &mut BTreeMap<Reason, usize>,
) -> usize {
    let text = line.text();
    let hob = hob(line, zone, from, to);
    let cronie = cronie(line, zone, from, to);
    for at in hob.symmetric_difference(&cronie) {
        let of_hob = hob.contains(at);
        let who = if of_hob { "hob" } else { "cronie" };
        let reason = reason(line, changes, *at, of_hob)
            .unwrap_or_else(|| panic!("`{text}` in {name} after {from}: only {who} fires at {at}"));
        *reasons.entry(reason).or_default() += 1;
    }
    hob.len()
}

#[test]
fn fires_as_cronie_does() {
    let long = std::env::var("HOB_LONG").is_ok_and(|it| it == "1");
    let seeded = TestRng::from_seed(RngAlgorithm::ChaCha, &[17; 32]);
    let mut chance = TestRunner::new_with_rng(Config::default(), seeded);
    let lines = line().boxed();
    let (mut fires, mut compared, mut reasons) = (0, 0, BTreeMap::new());
    let names: Vec<String> = zones().available().map(|name| name.to_string()).collect();
    for name in &names {
        let zone = zone(name);
        let changes = changes(&zone);
        let picked: Vec<usize> = match changes.len() {
            0 => continue,
            all if long => (0..all).flat_map(|at| [at; PAIRS_LONG]).collect(),
            all => vec![(0..all).new_tree(&mut chance).unwrap().current()],
        };
        for at in picked {
            let mut any = |strategy: &BoxedStrategy<Line>| strategy.new_tree(&mut chance).unwrap().current();
            let tried = [any(&lines), any(&near(&changes[at]))];
            let before = (120..MINUTES_BEFORE_MAX).new_tree(&mut chance).unwrap().current();
            let window = (changes[at].at - SignedDuration::from_mins(before), changes[at].at + AFTER);
            for line in tried {
                fires += compare(&line, (name, &zone, &changes), window, &mut reasons);
                compared += 1;
            }
        }
    }
    println!("{} zones, {compared} comparisons, {fires} fires; differences: {reasons:?}", names.len());
    assert!(names.len() > 500 && compared > 800, "the zones are bundled");
}

/// Where they differ, an example of each: a zone, an instant within a day of its change, a line, and the fires of both.
#[test]
fn differs_on_purpose() {
    type Fires = &'static [&'static str];
    type Case = (Reason, &'static str, &'static str, Line, Fires, Fires);
    let each_other_hour = Line { minute: Field::Star, hour: Field::StarStep(2), ..Line::daily(0, 0) };
    let cases: [Case; 4] = [
        // From 02:00 to 05:00.
        (
            Reason::PutFarForward,
            "Antarctica/Casey",
            "2009-10-17T17:00:00Z",
            Line::daily(2, 30),
            &["2009-10-17T18:00:00Z"],
            &[],
        ),
        // From midnight back to 17:00.
        (
            Reason::PutFarBack,
            "Antarctica/Vostok",
            "1994-01-31T12:00:00Z",
            Line::daily(21, 0),
            &["1994-01-31T14:00:00Z"],
            &["1994-01-31T14:00:00Z", "1994-01-31T21:00:00Z"],
        ),
        // From 23:00 to midnight.
        (
            Reason::TheDayBefore,
            "America/Nuuk",
            "2024-03-31T00:30:00Z",
            Line::daily(23, 30),
            &[],
            &["2024-03-31T01:00:00Z"],
        ),
        // From midnight to 00:44:30.
        (
            Reason::HalfAMinute,
            "Africa/Monrovia",
            "1972-01-07T00:43:30Z",
            each_other_hour,
            &["1972-01-07T00:45:00Z"],
            &["1972-01-07T00:44:30Z", "1972-01-07T00:45:00Z"],
        ),
    ];
    for (wanted, name, from, line, of_hob, of_cronie) in cases {
        let (zone, from) = (zone(name), time(from));
        let hours = if wanted == Reason::HalfAMinute { 0 } else { 12 };
        let to = from + SignedDuration::from_hours(hours) + SignedDuration::from_secs(90);
        let shown = |fires: BTreeSet<Timestamp>| fires.iter().map(Timestamp::to_string).collect::<Vec<_>>();
        assert_eq!(shown(hob(&line, &zone, from, to)), of_hob, "hob in {name}");
        assert_eq!(shown(cronie(&line, &zone, from, to)), of_cronie, "cronie in {name}");
        let mut reasons = BTreeMap::new();
        let _ = compare(&line, (name, &zone, &changes(&zone)), (from, to), &mut reasons);
        assert_eq!(reasons.into_iter().collect::<Vec<_>>(), [(wanted, 1)], "{name}");
    }
}
