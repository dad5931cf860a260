//! Which slots fire: over downtime, pauses, backfills, crashes and steps of the clock.

use std::collections::BTreeSet;

use hob_daemon::schedules::{Backfill, ScheduleCommand};
use hob_model::RunStatus;

use crate::events::outputs;
use crate::world::World;

const HOURLY: &str = r#"schedule("job", "0 * * * *", #{ OPTIONS }, |slot| slot.nominal);"#;

fn hourly(options: &str) -> String {
    HOURLY.replace("OPTIONS", options)
}

#[test]
fn what_was_missed_while_hob_was_down() {
    // Down from 12:30 to 16:10.
    let table = [
        (r#"catch_up: "none""#, "02 17:00:00 succeeded"),
        ("", "02 16:00:00 succeeded, 02 17:00:00 succeeded"),
        (
            r#"catch_up: "all""#,
            "02 13:00:00 succeeded, 02 14:00:00 succeeded, 02 15:00:00 succeeded, 02 16:00:00 succeeded, \
             02 17:00:00 succeeded",
        ),
        (
            r#"catch_up: "all", window: "2h""#,
            "02 15:00:00 succeeded, 02 16:00:00 succeeded, 02 17:00:00 succeeded",
        ),
        (r#"catch_up: "last", window: "5m""#, "02 17:00:00 succeeded"),
        (r#"catch_up: "all", paused: true"#, ""),
    ];
    for (options, expected) in table {
        let text = hourly(options);
        let world = World::new(&text);
        world.pass("30m");
        let world = world.crash(0, "3h40m", &text);
        world.pass("1h");
        assert_eq!(world.story("job"), expected, "{options}");
    }
}

#[test]
fn what_is_caught_up_waits_its_turn() {
    let text = r#"schedule("job", "0 * * * *", #{ catch_up: "all" }, |slot| { wait_signal("go"); });"#;
    let world = World::new(text).crash(0, "3h30m", text);
    assert_eq!(world.story("job"), "02 13:00:00 waiting, 02 14:00:00 queued, 02 15:00:00 queued");
    assert!(world.events("schedule.skipped").is_empty());
}

#[test]
fn another_expression_begins_anew() {
    let world = World::new(&hourly("")).crash(0, "3h30m", r#"schedule("job", "10 * * * *", |slot| ());"#);
    assert_eq!(world.story("job"), "", "12:10, 13:10, … were never declared");
    world.pass("1h");
    assert_eq!(world.story("job"), "02 16:10:00 succeeded");
}

#[test]
fn a_pause_is_remembered_and_not_caught_up() {
    let text = hourly("");
    let world = World::new(&text);
    let paused = world.command("job", ScheduleCommand::Pause { reason: "new disk".into() });
    assert_eq!((&paused["paused"], &paused["pause_reason"]), (&true.into(), &"new disk".into()));
    assert!(paused["next"].is_null());
    world.pass("90m");
    let world = world.crash(0, "1h", &text);
    world.pass("1h");
    assert_eq!(world.story("job"), "");
    let resumed = world.command("job", ScheduleCommand::Resume);
    assert_eq!(resumed["next"], "2026-06-02T16:00:00+00:00");
    world.pass("1h");
    assert_eq!(world.story("job"), "02 16:00:00 succeeded");
    // What is declared as paused is not resumed by a command.
    let world = World::new(&hourly("paused: true"));
    let refused = world.scheduling.command("job", ScheduleCommand::Resume).unwrap_err();
    assert!(refused.message.contains("declared with `paused: true`"), "{refused}");
    // Nor caught up once the declaration changes.
    let world = world.crash(0, "3h", &hourly(""));
    assert_eq!(world.story("job"), "");
}

#[test]
fn a_person_starts_one_beside_the_slots() {
    let text = r#"schedule("job", "0 * * * *", |slot| { wait_signal("go"); });"#;
    let world = World::new(text);
    world.pass("10m");
    let started = world.command("job", ScheduleCommand::Run);
    assert_eq!(started["status"], "running");
    assert_eq!(world.story("job"), "02 12:10:00 waiting");
    let refused = world.scheduling.command("job", ScheduleCommand::Run).unwrap_err();
    assert!(refused.message.contains("runs already"), "{refused}");
    let unknown = world.scheduling.command("jib", ScheduleCommand::Run).unwrap_err();
    assert_eq!(unknown.hint.as_deref(), Some("did you mean `job`?"));
    world.release("job");
    world.pass("1h");
    assert_eq!(world.story("job"), "02 12:10:00 succeeded, 02 13:00:00 waiting");
}

fn backfill(from: &str, to: Option<&str>, dry: bool) -> ScheduleCommand {
    ScheduleCommand::Backfill(Backfill::between(from, to, dry).unwrap())
}

#[test]
fn a_range_is_backfilled_one_after_the_other() {
    let text = r#"schedule("job", "0 * * * *", |slot| { wait_signal("go"); });"#;
    let world = World::new(text);
    world.pass("65m");
    world.release("job");
    // 12:00 is before the declaration, and 13:00 was fired.
    let range = |dry| backfill("2026-06-02T09:00:00Z", None, dry);
    let dry = world.command("job", range(true));
    assert_eq!(dry["slots"].as_array().unwrap().len(), 4);
    assert_eq!(world.runs_of("job").len(), 1);
    let done = world.command("job", range(false));
    assert_eq!((done["slots"].as_array().unwrap().len(), &done["claimed_before"]), (3, &1.into()));
    let story = "02 13:00:00 succeeded, 02 10:00:00 waiting, 02 11:00:00 queued, 02 12:00:00 queued";
    assert_eq!(world.story("job"), story);
    // A slot that comes meanwhile is not skipped, and goes before the rest.
    world.pass("1h");
    let world = world.crash(0, "1s", text);
    world.release("job");
    let story = "02 13:00:00 succeeded, 02 10:00:00 succeeded, 02 11:00:00 queued, 02 12:00:00 queued, \
                 02 14:00:00 waiting";
    assert_eq!(world.story("job"), story);
    for _ in 0..3 {
        world.release("job");
    }
    assert!(world.runs_of("job").iter().all(|(_, status)| *status == RunStatus::Succeeded));
    // Once ever.
    let again = world.command("job", range(false));
    assert_eq!((again["slots"].as_array().unwrap().len(), &again["claimed_before"]), (0, &5.into()));
    let future = backfill("2026-06-02T09:00:00Z", Some("2026-06-03T00:00:00Z"), false);
    assert!(world.scheduling.command("job", future).is_err());
    let large = backfill("2020-01-01T00:00:00Z", None, false);
    let refused = world.scheduling.command("job", large).unwrap_err();
    assert!(refused.message.contains("more than 1000 slots"), "{refused}");
}

#[test]
fn a_clock_that_is_set_neither_loses_nor_doubles_a_slot() {
    let world = World::new(&hourly(""));
    world.pass("65m");
    // Back: 13:00 comes once more.
    world.hands.step("-30m");
    world.pass("45m");
    assert_eq!(world.story("job"), "02 13:00:00 succeeded");
    assert_eq!(world.fields("clock.stepped", "seconds"), [-1_800]);
    // Forward, over 14:00 to 18:00: the last one is caught up.
    world.hands.step("5h");
    world.pass("10s");
    assert_eq!(world.story("job"), "02 13:00:00 succeeded, 02 18:00:00 succeeded");
    assert_eq!(world.fields("clock.stepped", "seconds"), [-1_800, 18_000]);
}

/// More slots lie in what is now the future than one look reads, and more before them than one look hands out.
#[test]
fn many_slots_of_a_clock_that_was_ahead_keep_none_of_now_from_firing() {
    let options = r#"catch_up: "all", window: "70m", overlap: "queue", deadline: "5m""#;
    let text = format!(r#"schedule("job", "* * * * *", #{{ {options} }}, |slot| ());"#);
    for restart in [false, true] {
        let mut world = World::new(&text);
        world.pass_by("18h", "1m");
        world.hands.step("24h");
        world.pass("1m");
        assert!(world.runs_of("job").len() > 18 * 60 + 64);
        world.hands.step("-24h");
        if restart {
            world = world.crash(usize::MAX, "1s", &text);
        }
        let (known, missed) = (world.runs_of("job").len(), world.events("schedule.missed").len());
        world.pass_by("80m", "1m");
        let mut slots: Vec<String> = world.runs_of("job").into_iter().map(|it| it.0).collect();
        slots.sort_unstable();
        slots.dedup();
        // The minute in which it was ahead is caught up, too.
        assert_eq!(slots.len(), known + 80 + usize::from(!restart), "{restart}");
        assert_eq!(slots.len(), world.runs_of("job").len(), "none twice");
        assert_eq!(world.events("schedule.missed").len(), missed, "each succeeded in time");
    }
}

/// Crashes, restarts and steps of the clock in an order that only the seed knows.
#[test]
fn no_slot_fires_twice_whatever_happens() {
    for seed in 0..1_000_u64 {
        let mut chance = fastrand::Rng::with_seed(seed);
        let catch_up = ["none", "last", "all"][chance.usize(..3)];
        let overlap = ["skip", "queue", "queue_one", "cancel_other", "allow"][chance.usize(..5)];
        let text = format!(
            r#"schedule("job", "* * * * *", #{{ catch_up: "{catch_up}", overlap: "{overlap}" }}, |slot| {{
                sleep("{}s");
            }});"#,
            chance.u32(..150)
        );
        let mut world = World::new(&text);
        let mut latest = world.runs.now();
        for _ in 0..12 {
            latest = latest.max(world.runs.now());
            match chance.u32(..10) {
                0..=4 => world.pass(&format!("{}s", chance.u32(1..200))),
                5 => world.hands.step(&format!("{}s", chance.u32(1..600))),
                6 => world.hands.step(&format!("-{}s", chance.u32(1..600))),
                7 => world.hands.suspend(&format!("{}s", chance.u32(1..600))),
                _ => world = world.crash(chance.usize(..4), &format!("{}s", chance.u32(..300)), &text),
            }
        }
        let runs = world.runs_of("job");
        let distinct: BTreeSet<&String> = runs.iter().map(|(nominal, _)| nominal).collect();
        assert_eq!(runs.len(), distinct.len(), "seed {seed}: {}", world.story("job"));
        // Time goes on without accidents, until after all that was claimed: what waits comes to its end, and slots fire.
        let behind = latest.duration_since(world.runs.now()).as_secs().max(0);
        world.pass_by(&format!("{}s", behind + 1200), "1m");
        let after = world.runs_of("job");
        let over = |runs: &[(String, RunStatus)]| runs.iter().filter(|(_, status)| status.ended()).count();
        assert!(over(&after) > over(&runs), "seed {seed}: nothing goes on: {}", world.story("job"));
        // A queue takes longer than that where each run is longer than the time between two slots.
        let queues = overlap.starts_with("queue") || catch_up == "all";
        assert!(queues || over(&after[..runs.len()]) == runs.len(), "seed {seed}: {}", world.story("job"));
        for event in ["schedule.stuck", "run.orphaned"] {
            assert!(world.events(event).is_empty(), "seed {seed}: {:#?}", world.events(event));
        }
    }
}

/// How many schedules there are in a crowd: enough for their slots to be made ready before their instant.
const CROWD: usize = 40;

/// Schedules that are all alike, or workflows with a time among their triggers, and what happens to them.
struct Crowd {
    world: World,
    text: String,
    /// What stands before and after the name of one to have that of its schedule.
    around: (&'static str, &'static str),
    /// Whether runs of one schedule may go on beside each other.
    overlaps: bool,
    chance: fastrand::Rng,
    /// The latest time that was seen.
    latest: jiff::Timestamp,
    paused: Option<String>,
    /// Those that fire other than the rest: somebody started them.
    touched: BTreeSet<String>,
}

impl Crowd {
    fn new(seed: u64) -> Self {
        let mut chance = fastrand::Rng::with_seed(seed);
        let catch_up = ["none", "last", "all"][chance.usize(..3)];
        let overlap = ["skip", "queue", "queue_one", "cancel_other", "allow"][chance.usize(..5)];
        let are_workflows = seed % 4 == 3;
        let declaration = if are_workflows {
            let limit = ["", ", concurrency: 1"][chance.usize(..2)];
            format!(r#"workflow(`s${{i}}`, #{{ on: cron("* * * * *"){limit} }}"#)
        } else {
            let options = format!(r#"#{{ catch_up: "{catch_up}", overlap: "{overlap}" }}"#);
            format!(r#"schedule(`s${{i}}`, "* * * * *", {options}"#)
        };
        let seconds = chance.u32(..80);
        let text = format!(r#"for i in 0..{CROWD} {{ {declaration}, |slot| {{ sleep("{seconds}s"); }}); }}"#);
        let world = World::new(&text);
        let latest = world.runs.now();
        let overlaps = !are_workflows && matches!(overlap, "allow" | "cancel_other");
        let around = if are_workflows { ("workflow/", "/1") } else { ("", "") };
        Self { world, text, around, overlaps, chance, latest, paused: None, touched: BTreeSet::new() }
    }

    /// The same after something happened, by chance.
    fn on(mut self) -> Self {
        let chance = &mut self.chance;
        self.latest = self.latest.max(self.world.runs.now());
        let one = format!("s{}", chance.usize(..CROWD));
        let schedule = format!("{}{one}{}", self.around.0, self.around.1);
        match chance.u32(..12) {
            // To the last second before an instant: all is ready then.
            0..=5 => {
                let second = self.world.runs.now().as_second().rem_euclid(60);
                self.world.pass_by(&format!("{}s", 59 + 60 * i64::from(chance.u32(..2)) - second), "1s");
            }
            6 if self.paused.is_none() => {
                self.world.command(&schedule, ScheduleCommand::Pause { reason: String::new() });
                self.paused = Some(one);
            }
            7 => {
                // It runs already, perhaps.
                let _ = self.world.scheduling.command(&schedule, ScheduleCommand::Run);
                self.touched.insert(one);
            }
            8 => {
                let from = self.world.runs.now() - jiff::SignedDuration::from_mins(5);
                let range = Backfill { from, to: None, dry: false };
                let _ = self.world.scheduling.command(&schedule, ScheduleCommand::Backfill(range));
                self.touched.insert(one);
            }
            9 => self.world.hands.step(&format!("{}s", chance.u32(1..200))),
            10 => self.world.hands.step(&format!("-{}s", chance.u32(1..200))),
            _ => {
                let (kept, down) = (chance.usize(..4), format!("{}s", chance.u32(..90)));
                self.world = self.world.crash(kept, &down, &self.text);
            }
        }
        self.world.pass_by("3s", "1s");
        for name in Self::names().filter(|name| !self.overlaps && self.is_plain(name)) {
            let runs = self.world.runs_of(&name);
            let live = |status: &RunStatus| !status.ended() && *status != RunStatus::Queued;
            let live = runs.iter().filter(|(_, status)| live(status)).count();
            assert!(live <= 1, "{live} runs of {name} go on at one time: {}", self.world.story(&name));
        }
        self
    }

    fn names() -> impl Iterator<Item = String> {
        (0..CROWD).map(|i| format!("s{i}"))
    }

    /// Whether nothing happened to it alone.
    fn is_plain(&self, name: &String) -> bool {
        !self.touched.contains(name) && self.paused.as_ref() != Some(name)
    }

    /// The slots of a schedule that were claimed, without what was started by hand.
    fn slots_of(&self, name: &str) -> Vec<String> {
        let runs = self.world.runs_of(name).into_iter();
        runs.map(|(nominal, _)| nominal).filter(|at| at.ends_with(":00")).collect()
    }
}

/// Many schedules at the same instants, which are made ready before these: people interfere meanwhile, the process dies, the
/// clock is set.
#[test]
fn what_is_made_ready_binds_nobody() {
    for seed in 0..40_u64 {
        let crowd = (0..10).fold(Crowd::new(seed), |crowd, _| crowd.on());
        for name in Crowd::names() {
            let runs = crowd.world.runs_of(&name);
            let distinct: BTreeSet<&String> = runs.iter().map(|(nominal, _)| nominal).collect();
            assert_eq!(runs.len(), distinct.len(), "seed {seed}: {name}: {}", crowd.world.story(&name));
        }
        // Those that nobody touched are alike.
        let plain: Vec<String> = Crowd::names().filter(|name| crowd.is_plain(name)).collect();
        let slots = crowd.slots_of(&plain[0]);
        assert!(plain.iter().all(|name| crowd.slots_of(name) == slots), "seed {seed}");
        for event in ["schedule.stuck", "run.orphaned"] {
            assert!(crowd.world.events(event).is_empty(), "seed {seed}: {:#?}", crowd.world.events(event));
        }
        let paused = crowd.paused.clone().filter(|name| !crowd.touched.contains(name));
        let before = paused.map(|name| (crowd.slots_of(&name), name));
        let behind = crowd.latest.duration_since(crowd.world.runs.now()).as_secs().max(0);
        crowd.world.pass_by(&format!("{}s", behind + 300), "1s");
        let story = || crowd.world.story(&plain[0]);
        assert!(crowd.slots_of(&plain[0]).len() > slots.len(), "seed {seed}: nothing goes on: {}", story());
        if let Some((before, name)) = before {
            assert_eq!(crowd.slots_of(&name), before, "seed {seed}: {name} is paused");
        }
    }
}

/// What two schedules start bears on both of them, also where many are due with them.
#[test]
fn a_workflow_with_two_times_at_one_instant_runs_once() {
    let world = World::new(
        r#"for i in 0..40 { schedule(`s${i}`, "* * * * *", |slot| { sleep("10s"); }); }
           workflow("twice", #{ on: [cron("* * * * *"), cron("*/2 * * * *")] }, |slot| { sleep("10s"); });"#,
    );
    world.pass_by("150s", "1s");
    assert_eq!(world.story("twice"), "02 12:01:00 succeeded, 02 12:02:00 succeeded");
    assert_eq!(world.story("s7"), world.story("twice"));
    assert_eq!(world.fields("schedule.skipped", "schedule"), ["workflow/twice/2"]);
}

/// A loop declares at one place, and what is the same there is kept once: never what one of them captured, or another
/// function.
#[test]
fn each_of_one_place_runs_its_own_function() {
    let world = World::new(
        r#"let listed = [|slot| "a", |slot| "b", |slot| "b"];
           for i in 0..3 { schedule(`listed${i}`, "1 12 * * *", listed[i]); }
           for i in 0..3 { schedule(`captured${i}`, "1 12 * * *", |slot| i); }
           for i in 0..3 { schedule(`bare${i}`, "1 12 * * *", |slot| slot.schedule); }
           for i in 0..3 { schedule(`tagged${i}`, "1 12 * * *", #{ tags: [`t${i / 2}`] }, |slot| ()); }"#,
    );
    world.pass("61s");
    let all = |name: &str| (0..3).flat_map(|i| outputs(&world, &format!("{name}{i}"))).collect::<Vec<_>>();
    assert_eq!(all("listed"), ["a", "b", "b"]);
    assert_eq!(all("captured"), [0, 1, 2]);
    assert_eq!(all("bare"), ["bare0", "bare1", "bare2"]);
    let tags = |i: usize| {
        let run = world.run_id(&format!("tagged{i}"), RunStatus::Succeeded);
        world.runs.records(run).unwrap().started.unwrap().tags.concat()
    };
    assert_eq!([tags(0), tags(1), tags(2)], ["t0", "t0", "t1"]);
}
