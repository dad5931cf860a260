//! Services that share a small graphics card. Contenders take memory of the stand-in for NVML as programs take it of a card: each
//! of their processes has a line there, and whoever takes memory writes down whether all of it still fits.

use std::time::{Duration, Instant};

use hob_tests::home::Home;
use hob_tests::until;
use rustix::process::Signal;
use serde_json::{Value as Json, json};

use crate::gpu::{P1000, with_cards};

/// Takes so many MiB until it is told to end.
pub(crate) const CONTENDER: &str = r#"
trap 'flock lock sed -i "/_process $$ /d" cards; exit 0' TERM
cd "$1" || exit 1
flock lock sh -c "echo compute_process $$ $(($3 << 20)) >> cards; awk -v who=$2 '
    /_process/ { used += \$3 } /^total/ { all = \$2 } /^reserved/ { all -= \$2 }
    END { print (used > all ? \"overflow\" : \"fits\"), who }' cards >> accounting"
while :; do sleep 1000 & wait $!; done
"#;

/// Name, MiB, priority, and what becomes of it where there is no room.
const CONTENDERS: [(&str, u32, u32, &str); 6] = [
    ("previews", 500, 5, "wait"),
    ("thumbnails", 600, 10, "wait"),
    ("ollama", 3000, 20, "wait"),
    ("immich", 1000, 50, "make_room"),
    ("jellyfin", 800, 80, "make_room"),
    ("frigate", 1200, 100, "make_room"),
];

/// A homelab of all contenders, with or without admission.
fn lab(admission: bool) -> Home {
    lab_of(&CONTENDERS, admission)
}

fn lab_of(contenders: &[(&str, u32, u32, &str)], admission: bool) -> Home {
    let home = with_cards(P1000);
    let program = home.write("lib/contender", CONTENDER);
    let mut homelab = String::new();
    for (name, mib, priority, full) in contenders {
        let gpu = format!("#{{ vram: \"{mib}MiB\", priority: {priority}, full: \"{full}\" }}");
        let gpu = if admission { format!(", gpu: {gpu}") } else { String::new() };
        let command = json!(["sh", program, home.path("lib"), name, mib.to_string()]);
        homelab += &format!("service(\"{name}\", #{{ command: {command}, stop_timeout: \"5s\"{gpu} }});\n");
    }
    home.write("lab/homelab.rhai", homelab);
    home
}

pub(crate) fn ready(home: &Home) -> Vec<String> {
    let status = home.json(&["status"]);
    let ready = status["services"].as_array().unwrap().iter().filter(|it| it["ready"] == true);
    ready.map(|it| it["name"].as_str().unwrap().to_owned()).collect()
}

pub(crate) fn until_ready(home: &Home, names: &[&str]) {
    until(&format!("just {names:?} are ready"), || (ready(home) == names).then_some(()));
}

pub(crate) fn overflows(home: &Home) -> usize {
    home.lines("lib/accounting").iter().filter(|line| line.starts_with("overflow")).count()
}

/// Name and declared MiB of all that hold memory by the ledger, and the names of those who wait.
fn ledger(home: &Home) -> (Vec<(String, u64)>, Vec<String>) {
    let ledger = home.json(&["gpu"])["ledger"].clone();
    let name = |it: &Json| it["service"].as_str().unwrap_or("a run").to_owned();
    let claims = ledger["claims"].as_array().unwrap().iter();
    let claims = claims.map(|it| (name(it), it["declared"].as_u64().unwrap() >> 20)).collect();
    (claims, ledger["waiting"].as_array().unwrap().iter().map(name).collect())
}

#[test]
fn without_admission_six_contenders_overflow_a_small_card() {
    let home = lab(false);
    let _up = home.up("lab", &[]);
    until("all have taken memory", || (home.lines("lib/accounting").len() == 6).then_some(()));
    assert!(overflows(&home) > 0, "{}", home.read("lib/accounting"));
}

#[test]
fn six_contenders_share_a_small_card_by_their_priorities() {
    let home = lab(true);
    let mut up = home.up("lab", &["--on-exit", "keep"]);
    // What is left by the most important goes to who fits.
    until_ready(&home, &["thumbnails", "immich", "jellyfin", "frigate"]);
    let note = home.service("ollama")["note"].as_str().unwrap().to_owned();
    assert_eq!(note, "waits for room on a graphics card: Quadro P1000 has 432M left, and it needs 2.9G");
    let held = [("thumbnails", 600), ("immich", 1000), ("jellyfin", 800), ("frigate", 1200)];
    let held: Vec<_> = held.iter().map(|(name, mib)| ((*name).to_owned(), *mib)).collect();
    let both = vec!["previews".to_owned(), "ollama".to_owned()];
    assert_eq!(ledger(&home), (held.clone(), both.clone()));
    let shown = home.hob(&["gpu"]).exits(0);
    for line in ["frigate 1.2G 1.2G 100 holds", "ollama 2.9G - 20 waits"] {
        let found =
            shown.out().lines().any(|it| it.split_whitespace().collect::<Vec<_>>().join(" ").contains(line));
        assert!(found, "{line}: {shown:?}");
    }

    // A hob that comes back knows who has what.
    up.process.signal(Signal::KILL);
    let _ = up.process.end();
    let mut up = home.up("lab", &["--on-exit", "stop"]);
    until("it knows them", || (ledger(&home) == (held.clone(), both.clone())).then_some(()));

    // Who waits comes when there is room, and not before.
    for name in ["immich", "jellyfin", "frigate"] {
        let _ = home.hob(&["stop", name]).exits(0);
    }
    until_ready(&home, &["previews", "thumbnails"]);
    let _ = home.hob(&["stop", "thumbnails"]).exits(0);
    until_ready(&home, &["previews", "ollama"]);
    let refused = home.hob(&["start", "thumbnails"]).exits(1);
    assert!(refused.says("has 532M left, and it needs 600M"), "{refused:?}");

    // Room is made by who is less important, and by no more than it takes.
    let begun = Instant::now();
    let _ = home.hob(&["start", "frigate"]).exits(0);
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    until_ready(&home, &["previews", "thumbnails", "frigate"]);
    let (_, waiting) = ledger(&home);
    assert_eq!(waiting, ["ollama"]);

    // What made room comes back by itself.
    for name in ["frigate", "thumbnails"] {
        let _ = home.hob(&["stop", name]).exits(0);
    }
    until_ready(&home, &["previews", "ollama"]);

    assert_eq!(overflows(&home), 0, "{}", home.read("lib/accounting"));
    let _ = up.stop().exits(0);
}

#[test]
fn what_nobody_can_have_is_refused() {
    let home = with_cards(P1000);
    let of = |name: &str, gpu: &str| {
        format!(
            "service(\"{name}\", #{{ command: [\"sleep\", \"1000\"], restart: \"never\", gpu: {gpu} }});\n"
        )
    };
    let homelab = of("large", "#{ vram: \"5G\" }")
        + &of("mute", "#{ encode: \"av1\" }")
        + &of("lost", "#{ index: 1 }")
        + &of("half", "#{ fp16: true }")
        + &of("blind", "#{ decode: \"av1\" }")
        + &of("first", "#{ vram: \"1G\", priority: 9 }")
        + &of("crowded", "#{ vram: \"3500M\", full: \"refuse\" }")
        + &of("well", "#{ encode: \"hevc\", uuid: \"GPU-5fd2f7b8\" }");
    home.write("lab/homelab.rhai", homelab);
    // All of it is told before anything starts, with what can be done.
    for (command, code) in [("check", 0), ("plan", 2)] {
        let told = home.hob(&[command, "lab"]).exits(code);
        for (why, cure) in [
            (
                "`large`, `gpu`: it needs 5G of a graphics card, and has 3.9G at most",
                "declare that as `vram`",
            ),
            (
                "`mute`, `gpu`: no graphics card encodes video to av1: Quadro P1000 encodes to h264, hevc",
                "processor",
            ),
            (
                "`blind`, `gpu`: no graphics card decodes av1: Quadro P1000 decodes h264, hevc, vp9",
                "processor",
            ),
            (
                "`lost`, `gpu`: there is no graphics card 1; there are 0 Quadro P1000",
                "leave `index` and `uuid` out",
            ),
            (
                "`half`, `gpu`: half precision pays on no graphics card: Quadro P1000 is of the",
                "USE_FP16: false",
            ),
            ("`crowded`, `gpu`: Quadro P1000 has 2.9G left, and it needs 3.4G", "full: \"wait\""),
        ] {
            assert!(told.says(why) && told.says(cure), "{why}: {told:?}");
        }
        assert!(!told.says("`well`") && !told.says("`first`"), "{told:?}");
        assert!(told.says("homelab.rhai:1"), "with their places: {told:?}");
    }
    let mut up = home.up("lab", &[]);
    until_ready(&home, &["first", "well"]);
    let note = |name: &str| home.service(name)["note"].as_str().unwrap().to_owned();
    assert!(
        note("large").contains("it needs 5G of a graphics card, and has 3.9G at most"),
        "{}",
        note("large")
    );
    assert!(
        note("mute").contains("encodes video to av1: Quadro P1000 encodes to h264, hevc"),
        "{}",
        note("mute")
    );
    assert!(note("lost").contains("no graphics card 1; there are 0 Quadro P1000"), "{}", note("lost"));
    let _ = up.stop().exits(0);

    home.write("lib/cards", "init 18\n");
    let told = home.hob(&["check", "lab"]).exits(0);
    assert!(told.says("different versions") && told.says("restart the machine"), "{told:?}");
    let up = home.up("lab", &[]);
    until("the driver is told", || note("well").contains("different versions").then_some(()));
    drop(up);
}

/// A run that wants memory of a card, as its input says.
const JOB: &str = r#"
workflow("job", #{ on: manual() }, |how| {
    let share = gpu::reserve(how.vram, #{ priority: 50, full: how.full, timeout: how.get("timeout") ?? "1m" });
    wait_signal("let go");
    let again = [gpu::release(share.lease), gpu::release(share.lease)];
    wait_signal("end");
    [share.card, share.bytes, again]
});
"#;

fn job(home: &Home, input: &Json) -> String {
    let input = input.to_string();
    home.hob(&["run", "job", "--detach", "--input", &input]).exits(0).out().trim().to_owned()
}

fn until_waiting(home: &Home, run: &str) {
    until("the run waits", || (home.json(&["runs", "show", run])["status"] == "waiting").then_some(()));
}

/// The error of a run that must fail.
fn failure(home: &Home, input: &Json) -> String {
    let input = input.to_string();
    home.hob(&["run", "job", "--input", &input]).exits(1).stderr
}

#[test]
fn runs_have_memory_for_themselves_until_they_end() {
    let home = lab_of(&[CONTENDERS[0], CONTENDERS[2]], true);
    let homelab = home.read("lab/homelab.rhai") + JOB;
    home.write("lab/homelab.rhai", homelab);
    let mut up = home.up("lab", &["--on-exit", "keep"]);
    until_ready(&home, &["previews", "ollama"]);
    let of_a_run = |mib: u64| ("a run".to_owned(), mib);
    let previews = || ("previews".to_owned(), 500);

    // Room is made for a run as for a service, and a hob that comes back knows whose it is.
    let run = job(&home, &json!({ "vram": "2000M", "full": "make_room" }));
    until_waiting(&home, &run);
    assert_eq!(ledger(&home), (vec![of_a_run(2000), previews()], vec!["ollama".to_owned()]));
    let shown = home.hob(&["gpu"]).exits(0);
    assert!(
        shown.out().lines().any(|it| it.contains(&format!("run {run}")) && it.contains(" 50 ")),
        "{shown:?}"
    );
    up.process.signal(Signal::KILL);
    let _ = up.process.end();
    let mut up = home.up("lab", &["--on-exit", "stop"]);
    until("it knows them", || {
        (ledger(&home) == (vec![of_a_run(2000), previews()], vec!["ollama".to_owned()])).then_some(())
    });

    // Others are refused, or wait as long as they have time.
    let refused = failure(&home, &json!({ "vram": "3000M", "full": "refuse" }));
    assert!(refused.contains("left, and it needs 2.9G") && refused.contains("hob gpu"), "{refused}");
    let late = failure(&home, &json!({ "vram": "3000M", "full": "wait", "timeout": "300ms" }));
    assert!(late.contains("there is no room on a graphics card: Quadro P1000 has"), "{late}");
    let never = failure(&home, &json!({ "vram": "9G", "full": "wait" }));
    assert!(never.contains("it needs 9G of a graphics card"), "{never}");
    assert_eq!(ready(&home), ["previews"]);

    // It lets go, and what made room comes back.
    let _ = home.hob(&["runs", "signal", &run, "let go"]).exits(0);
    until_ready(&home, &["previews", "ollama"]);
    let _ = home.hob(&["runs", "signal", &run, "end"]).exits(0);
    let ended = until("it ends", || {
        Some(home.json(&["runs", "show", &run])).filter(|it| it["status"] == "succeeded")
    });
    assert_eq!(ended["output"], json!(["GPU-5fd2f7b8", 2000 << 20, [true, false]]), "{ended}");

    // The end of a run ends what it has, also when nobody looked.
    let waits = job(&home, &json!({ "vram": "3000M", "full": "wait" }));
    until("it waits", || (ledger(&home).1 == ["a run"]).then_some(()));
    let _ = home.hob(&["stop", "ollama"]).exits(0);
    until_waiting(&home, &waits);
    assert_eq!(ledger(&home).0, [of_a_run(3000), previews()]);
    let _ = up.stop().exits(0);
    let _ = home.hob(&["runs", "cancel", &waits]).exits(0);
    let mut up = home.up("lab", &["--on-exit", "stop"]);
    until("what it had is free", || ledger(&home).0.iter().all(|(who, _)| who != "a run").then_some(()));
    assert_eq!(overflows(&home), 0, "{}", home.read("lib/accounting"));
    let _ = up.stop().exits(0);
}
