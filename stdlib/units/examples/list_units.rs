//! Measures `units::list` with many units, beside `systemctl list-units`.
//!
//! ```text
//! cargo run --release -p hob-std-units --example list_units [COUNT]
//! ```
#![allow(clippy::unwrap_used, clippy::disallowed_methods, clippy::print_stdout)] // a program that measures

use std::sync::Arc;
use std::time::{Duration, Instant};

use hob_lab::systemd::Systemd;
use hob_model::Value;
use hob_std_units::{UnitsPort, live::Live, primitive};
use hob_testkit::Harness;
use serde_json::json;

/// How often each is measured.
const ROUNDS: usize = 20;

fn main() {
    let count: usize = std::env::args().nth(1).map_or(1000, |text| text.parse().unwrap());
    let systemd = hob_lab::started("systemd", Systemd::missing(), Systemd::start).expect("systemd");
    let service = "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/true\n";
    systemd.write_unit("bench@.service", service).unwrap();
    let wants: Vec<String> = (0..count).map(|at| format!("Wants=bench@{at}.service\n")).collect();
    systemd.write_unit("bench.target", &format!("[Unit]\n{}", wants.concat())).unwrap();
    let started = systemd.command("systemctl").args(["start", "bench.target"]).output().unwrap();
    assert!(started.status.success(), "{started:?}");

    let live = Arc::new(Live::at(systemd.bus_address(), systemd.root()));
    let harness = Harness::new().port::<dyn UnitsPort>(live);
    let primitive = primitive();
    let hob = median(|| {
        let listed = harness.call(&primitive, "units::list", json!(["bench@*", {"all": true}])).unwrap();
        assert!(matches!(listed, Value::Array(all) if all.len() == count));
    });
    let systemctl = median(|| {
        let listed =
            systemd.command("systemctl").args(["list-units", "bench@*", "--all", "--output=json"]).output();
        assert!(listed.unwrap().status.success());
    });
    println!("{count} units, median of {ROUNDS}");
    println!("units::list            {hob:>10.2?}");
    println!("systemctl list-units   {systemctl:>10.2?}   with the start of its process");
}

fn median(mut what: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let begun = Instant::now();
            what();
            begun.elapsed()
        })
        .collect();
    times.sort();
    times[ROUNDS / 2]
}
