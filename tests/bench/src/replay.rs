//! Replaying long runs.

use std::path::Path;
use std::time::Instant;

use hob_model::Value;

use crate::lab::Lab;
use crate::machine::{mib, status_kib};
use crate::sample::text;

/// What is measured.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How many effects the runs have.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 100_000, 1_000_000])]
    effects: Vec<u32>,
}

/// Measures each length.
pub(crate) fn measure(root: &Path, options: &Options) {
    println!(
        "workload  a run of so many recorded effects waits for a signal; it is woken, replayed and ends"
    );
    println!("          (reading the entries from the journal is part of it)");
    let lab = Lab::open(&root.join("state"));
    for effects in &options.effects {
        let new = lab.new_run("long", Value::Int(i64::from(*effects)));
        let run = new.id;
        let waiting = lab.expect(run);
        let begun = Instant::now();
        lab.runs.start(new).unwrap();
        let made = waiting.recv().unwrap().at - begun;
        let ended = lab.expect(run);
        let begun = Instant::now();
        lab.runs.signal(run, "go", Value::Unit).unwrap();
        let rest = ended.recv().unwrap();
        assert!(rest.succeeded);
        let replayed = rest.at - begun;
        println!(
            "{effects:>9} effects: replayed in {}, {:.2} µs each; made in {}, {:.2} µs each; peak memory {}",
            text(replayed),
            replayed.as_secs_f64() * 1e6 / f64::from(*effects),
            text(made),
            made.as_secs_f64() * 1e6 / f64::from(*effects),
            mib(status_kib("self", "VmHWM"))
        );
    }
}
