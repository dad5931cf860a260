//! What hob tells Prometheus, judged by Prometheus' own tools.

use std::collections::BTreeSet;
use std::net::TcpListener;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::ScopedJoinHandle;
use std::time::{Duration, Instant};

use hob_tests::client::Target;
use hob_tests::home::Home;
use hob_tests::process::{Background, Ran};
use hob_tests::until;
use rustix::process::Signal;

use crate::gpu::{at_work, with_cards};

const HOMELAB: &str = r#"
homelab(#{ name: "measured", timezone: "UTC" });
tier("base");
tier("extra", #{ after: "base", on_failure: "continue" });
service("clock", #{ tier: "base", command: ["sleep", "1000"] });
service("broken", #{ tier: "extra", command: ["false"], restart: #{ policy: "always", backoff: "1h", max: "1h" } });
schedule("nightly", cron("0 3 * * *"), || 1);
schedule("hourly", cron("0 * * * *"), || 2);
workflow("greet", #{ on: manual() }, || env::get("HOME"));
"#;

/// What `promtool check metrics` says of a text.
fn check(text: &str) -> Ran {
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]);
    Background::start(&mut promtool, Some(text.as_bytes())).end()
}

/// The text has a line with this name, each of these pieces and this value.
#[track_caller]
fn tells(text: &str, name: &str, pieces: &[&str], value: &str) {
    let fits = |line: &str| {
        let (series, told) = line.rsplit_once(' ').unwrap_or_default();
        let named = series == name || series.starts_with(&format!("{name}{{"));
        named && pieces.iter().all(|piece| series.contains(piece)) && (value.is_empty() || told == value)
    };
    assert!(text.lines().any(fits), "no {name} with {pieces:?} is {value} in\n{text}");
}

fn homelab() -> Home {
    let home = with_cards(&at_work());
    home.write("lab/homelab.rhai", HOMELAB);
    home
}

#[test]
fn everything_that_is_told_follows_the_conventions() {
    let home = homelab();
    let mut up = home.up("lab", &[]);
    let _ = home.hob(&["schedule", "pause", "hourly"]).exits(0);
    let _ = home.hob(&["run", "greet"]).exits(0);
    // A source is measured once in five seconds: not before everything is as it shall be.
    until("the broken one was given up", || (home.service("broken")["state"] == "failed").then_some(()));
    let text = home.ask("GET", "/metrics", None).unwrap().expects(200).body;
    let said = check(&text).exits(0);
    assert!(said.out().is_empty() && said.stderr.is_empty(), "{said:#?}");

    let health = |service: &str| {
        let answer = up.ask("GET", &format!("/healthz/{service}"), &[], None);
        (answer.status, answer.body.trim().to_owned())
    };
    assert_eq!(health("clock"), (200, "ready".to_owned()));
    assert_eq!(health("broken"), (503, "failed".to_owned()));
    assert_eq!(health("other").0, 404);

    tells(&text, "hob_ready", &[], "1");
    tells(&text, "hob_service_ready", &["service=\"clock\"", "tier=\"base\""], "1");
    tells(&text, "hob_service_ready", &["service=\"broken\""], "0");
    tells(&text, "hob_service_state", &["service=\"broken\"", "state=\"failed\""], "1");
    tells(&text, "hob_schedules", &[], "2");
    tells(&text, "hob_schedule_paused", &["schedule=\"hourly\""], "1");
    tells(&text, "hob_schedule_next_timestamp_seconds", &["schedule=\"nightly\""], "");
    tells(&text, "hob_runs_total", &["status=\"succeeded\""], "");
    tells(&text, "hob_runs_stuck", &["status=\"in_doubt\""], "0");
    tells(&text, "hob_effects_total", &["operation=\"env::get\""], "1");
    tells(&text, "hob_host_memory_bytes", &[], "");
    tells(&text, "hob_host_disk_free_bytes", &["path="], "");
    tells(&text, "hob_gpu_memory_bytes", &["gpu=\"GPU-5fd2f7b8\""], "4294967296");
    tells(&text, "hob_gpu_utilization_ratio", &["gpu=\"GPU-5fd2f7b8\"", "engine=\"compute\""], "0.37");
    tells(&text, "hob_gpu_usable", &["gpu="], "0");
    tells(&text, "hob_source_up", &["source=\"gpu\""], "1");
    tells(&text, "hob_source_up", &["source=\"host\""], "1");

    let _ = home.hob(&["metrics", "--textfile", "collected/hob.txt"]).exits(2).saying("`.prom`");
    home.write("collected/hob.prom", "old");
    let _ = home.hob(&["metrics", "--textfile", "collected/hob.prom"]).exits(0);
    let _ = check(&home.read("collected/hob.prom")).exits(0);
    tells(&home.read("collected/hob.prom"), "hob_ready", &[], "1");
    assert_eq!(std::fs::read_dir(home.path("collected")).unwrap().count(), 1, "nothing is left beside it");
    let _ = up.stop().exits(0);
}

#[test]
fn many_scrapes_are_answered_and_cards_are_asked_now_and_then() {
    let home = homelab();
    let mut up = home.up("lab", &[]);
    let (begun, done) = (Instant::now(), AtomicBool::new(false));
    let scraped: Vec<String> = std::thread::scope(|scope| {
        // Who measures at each scrape finds another number each time.
        scope.spawn(|| {
            for busy in (0..100).cycle().take_while(|_| !done.load(Ordering::SeqCst)) {
                let cards = at_work().replace("number busy 37", &format!("number busy {busy}"));
                let new = home.write("lib/cards.new", cards);
                std::fs::rename(new, home.path("lib/cards")).unwrap();
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        let scrape = || (0..50).map(|_| up.ask("GET", "/metrics", &[], None).expects(200).body).collect();
        let scrapers: Vec<ScopedJoinHandle<'_, Vec<String>>> = (0..4).map(|_| scope.spawn(scrape)).collect();
        let scraped = scrapers.into_iter().flat_map(|it| it.join().unwrap()).collect();
        done.store(true, Ordering::SeqCst);
        scraped
    });
    let of_card =
        |text: &String| text.lines().find(|it| it.contains("engine=\"compute\"")).map(str::to_owned);
    let seen: BTreeSet<String> = scraped.iter().filter_map(of_card).collect();
    let looks_max = 2 + usize::try_from(begun.elapsed().as_secs() / 5).unwrap();
    assert!((1..=looks_max).contains(&seen.len()), "{} scrapes: {seen:?}", scraped.len());
    let _ = up.stop().exits(0);
}

#[test]
fn prometheus_scrapes_it() {
    let home = homelab();
    let mut up = home.up("lab", &[]);
    let config = format!(
        "scrape_configs: [{{ job_name: hob, scrape_interval: 1s, \
         static_configs: [{{ targets: [\"{}\"] }}] }}]\n",
        up.address
    );
    let config = home.write("prometheus.yml", config);
    let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut prometheus = Command::new("prometheus");
    prometheus
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", home.path("tsdb").display()))
        .arg(format!("--web.listen-address={listen}"))
        .env("HOB_TEST", home.dir());
    let mut prometheus = Background::start(&mut prometheus, None);
    let query = "/api/v1/query?query=hob_service_ready%7Bservice%3D%22clock%22%7D";
    let value = until("Prometheus has scraped it", || {
        assert!(!prometheus.has_ended(), "{:#?}", prometheus.end());
        let answer = Target::Tcp(listen).ask("GET", query, &[], None).ok()?;
        let told = (answer.status == 200).then(|| answer.json())?;
        told["data"]["result"][0]["value"][1].as_str().map(str::to_owned)
    });
    assert_eq!(value, "1");
    prometheus.signal(Signal::TERM);
    let _ = prometheus.end();
    let _ = up.stop().exits(0);
}
