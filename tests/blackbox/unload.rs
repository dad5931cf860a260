//! Services that give back memory of a graphics card and run on, with a stand-in for Ollama that holds memory of the stand-in for
//! NVML.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::{Duration, Instant};

use hob_tests::home::Home;
use hob_tests::until;
use rustix::process::Signal;
use serde_json::Value as Json;

use crate::cards::{CONTENDER, overflows, ready, until_ready};
use crate::gpu::{P1000, with_cards};

const HOMELAB: &str = r#"
import "hob:ollama" as ollama;
service("ollama", #{
    command: ["python3", "OLLAMA", "LIB", "3000"], ready: log("listening"), stop_timeout: "5s",
    gpu: #{
        vram: "3000MiB", priority: 20, unload_timeout: "2s",
        unload: || ollama::unload(files::read("LIB/address")), LOAD
    },
});
service("frigate", #{
    command: ["sh", "CONTENDER", "LIB", "frigate", "1200"], stop_timeout: "5s",
    gpu: #{ vram: "1200MiB", priority: 100, full: "make_room" },
});
"#;

/// A card on which Ollama has its model, and Frigate waits to be started.
fn lab(load: &str) -> (Home, hob_tests::home::Up) {
    let home = with_cards(P1000);
    let ollama = home.write("lib/ollama.py", include_str!("ollama.py"));
    let contender = home.write("lib/contender", CONTENDER);
    let text = |path: &Path| path.display().to_string();
    let homelab = HOMELAB.replace("OLLAMA", &text(&ollama)).replace("CONTENDER", &text(&contender));
    home.write("lab/homelab.rhai", homelab.replace("LOAD", load).replace("LIB", &text(&home.path("lib"))));
    let up = home.up("lab", &["--on-exit", "keep"]);
    // What is more important has come first.
    let _ = home.hob(&["stop", "frigate"]).exits(0);
    until_ready(&home, &["ollama"]);
    home.write("lib/accounting", "");
    (home, up)
}

fn asked(home: &Home) -> usize {
    if home.path("lib/asked").exists() { home.lines("lib/asked").len() } else { 0 }
}

/// Has Ollama answer somebody, for which it loads its model.
fn ask(home: &Home) {
    let address = home.read("lib/address").replace("http://", "");
    let mut stream = TcpStream::connect(address).unwrap();
    let body = r#"{"model":"llama3.2:3b","prompt":"well?"}"#;
    write!(stream, "POST /api/generate HTTP/1.0\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("yes"), "{answer}");
}

fn claim(home: &Home, name: &str) -> Option<Json> {
    let ledger = home.json(&["gpu"])["ledger"].clone();
    ledger["claims"].as_array()?.iter().find(|it| it["service"] == name).cloned()
}

/// Waits until Ollama has given its memory back, or has it again.
fn until_given_back(home: &Home, given_back: bool) {
    until(&format!("given back: {given_back}"), || {
        let claim = claim(home, "ollama")?;
        (claim["given_back"] == given_back && claim["leaves"] == false).then_some(())
    });
}

#[test]
fn who_can_unload_gives_its_memory_back_and_runs_on() {
    let load = r#"load: |it| files::append("LIB/story", it.service + " has it again\n"),"#;
    let (home, mut up) = lab(load);
    let pid = home.service("ollama")["pid"].clone();
    let begun = Instant::now();
    let _ = home.hob(&["start", "frigate"]).exits(0);
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert_eq!(ready(&home), ["ollama", "frigate"]);
    assert_eq!(home.service("ollama")["pid"], pid, "it was not stopped");
    assert_eq!(home.lines("lib/asked"), ["/api/generate llama3.2:3b"]);
    until_given_back(&home, true);
    let note = home.service("ollama")["note"].clone();
    assert_eq!(note, "it gave back its memory of a graphics card, until there is room again");
    let shown = home.hob(&["gpu"]).exits(0);
    let lines: Vec<String> =
        shown.out().lines().map(|it| it.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert!(lines.iter().any(|it| it.contains("ollama 2.9G 0B 20 unloaded")), "{shown:?}");

    // A hob that comes back knows, and asks nobody again.
    up.process.signal(Signal::KILL);
    let _ = up.process.end();
    let mut up = home.up("lab", &["--on-exit", "stop"]);
    until_given_back(&home, true);
    assert_eq!((asked(&home), overflows(&home)), (1, 0), "{}", home.read("lib/accounting"));

    // It has its promise again when there is room, and is told so.
    let _ = home.hob(&["stop", "frigate"]).exits(0);
    until_given_back(&home, false);
    until("it is told", || home.path("lib/story").exists().then_some(()));
    assert_eq!(home.lines("lib/story"), ["ollama has it again"]);
    ask(&home);
    assert_eq!((asked(&home), overflows(&home)), (1, 0), "{}", home.read("lib/accounting"));
    assert_eq!(home.service("ollama")["pid"], pid, "it was not stopped");
    let _ = up.stop().exits(0);
}

#[test]
fn who_takes_again_what_it_gave_back_is_told_again_and_stopped_when_it_goes_on() {
    let (home, mut up) = lab("");
    let _ = home.hob(&["start", "frigate"]).exits(0);
    for times in 2..=4 {
        until_given_back(&home, true);
        ask(&home);
        until("it is told again", || (asked(&home) == times).then_some(()));
    }
    until_given_back(&home, true);
    ask(&home);
    until_ready(&home, &["frigate"]);
    assert_eq!(asked(&home), 4);
    let note = home.service("ollama")["note"].as_str().unwrap().to_owned();
    assert!(note.starts_with("waits for room on a graphics card"), "{note}");
    let _ = home.hob(&["stop", "frigate"]).exits(0);
    until_ready(&home, &["ollama"]);
    until_given_back(&home, false);
    let _ = up.stop().exits(0);
}

#[test]
fn whose_memory_does_not_come_back_is_stopped() {
    for (fault, why) in [("stubborn", "its memory is not free after 2s"), ("failing", "`unload` failed: ")] {
        let (home, mut up) = lab("");
        home.write(&format!("lib/{fault}"), "");
        let _ = home.hob(&["start", "frigate"]).exits(0);
        until_ready(&home, &["frigate"]);
        assert!(asked(&home) > 0 && overflows(&home) == 0, "{fault}: {}", home.read("lib/accounting"));
        let events = home.hob(&["events", "list", "--json"]).exits(0);
        assert!(
            events.out().contains("service.hook_failed") && events.out().contains(why),
            "{fault}: {events:?}"
        );
        let _ = up.stop().exits(0);
    }
}

#[test]
fn a_hob_that_is_killed_in_the_midst_of_it_leaves_it_to_the_next() {
    let (home, mut up) = lab("");
    home.write("lib/slow", "");
    let starts = home.start(&["start", "frigate"]);
    until("it is asked", || (asked(&home) == 1).then_some(()));
    up.process.signal(Signal::KILL);
    let _ = up.process.end();
    drop(starts);
    std::fs::remove_file(home.path("lib/slow")).unwrap();
    let mut up = home.up("lab", &["--on-exit", "stop"]);
    until_ready(&home, &["ollama", "frigate"]);
    until_given_back(&home, true);
    assert_eq!(overflows(&home), 0, "{}", home.read("lib/accounting"));
    let runs = home.json(&["runs", "list"]);
    let unloads = runs.to_string().matches("service.gpu.unload").count();
    assert_eq!(unloads, 1, "the run that was under way went on: {runs}");
    let _ = up.stop().exits(0);
}
