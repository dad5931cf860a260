//! Durable runs of 3 and 40 steps in process, alone and many at once.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hob_model::Value;

use crate::floor;
use crate::lab::Lab;
use crate::machine::cpu_time;
use crate::sample::{Sample, signed_micros, text};
use crate::server::CountingServer;

/// Runs that do not count.
const WARM_UP: usize = 50;

/// What is measured.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// How long each case lasts, in seconds.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// How many runs are under way at once in the second half.
    #[arg(long, default_value_t = 64)]
    at_once: usize,
    /// Only cases whose title contains this.
    #[arg(long, default_value = "")]
    only: String,
}

/// One kind of step.
struct Variant {
    name: &'static str,
    workflow: &'static str,
    /// The disk is waited for so many times in a run of `steps` steps.
    syncs: fn(steps: i64) -> i64,
    input: fn(steps: i64, server: &CountingServer) -> Value,
}

const VARIANTS: [Variant; 3] = [
    Variant { name: "no-op steps", workflow: "noop", syncs: |_| 1, input: |steps, _| Value::Int(steps) },
    Variant {
        name: "once effects, in process",
        workflow: "act",
        // Each intent, which takes the previous outcome along, and the end with the last outcome.
        syncs: |steps| steps + 1,
        input: |steps, _| Value::Int(steps),
    },
    Variant {
        name: "once effects, http::post",
        workflow: "post",
        syncs: |steps| steps + 1,
        input: |steps, server| {
            Value::map([
                ("n", Value::Int(steps)),
                ("url", Value::from(format!("http://{}/", server.address))),
            ])
        },
    },
];

/// Measures all cases.
pub(crate) fn measure(root: &Path, options: &Options) {
    println!(
        "workload  whole durable runs in process, from start to their durable end; {} s a case",
        options.seconds
    );
    println!(
        "          no-op steps are committed together; each once effect has its durable intent and outcome"
    );
    let lab = Lab::open(&root.join("state"));
    let server = CountingServer::start();
    let lasts = Duration::from_secs_f64(options.seconds);
    for steps in [3, 40] {
        for variant in &VARIANTS {
            let title = format!("{steps} {}", variant.name);
            if !title.contains(&options.only) {
                continue;
            }
            println!("\n{title}");
            let floor = floor::print(root);
            let input = (variant.input)(steps, &server);
            let (alone, rates) = repeat(&lab, variant.workflow, &input, 1, lasts);
            println!("alone     {}  {rates}", alone.text());
            let least = (variant.syncs)(steps) as f64 * floor.p50().as_secs_f64();
            let over = (alone.p50().as_secs_f64() - least) / steps as f64 * 1e6;
            println!(
                "          {} syncs of {} at least: {} per step over the floor; {:.1} × the floor",
                (variant.syncs)(steps),
                text(floor.p50()),
                signed_micros(over),
                alone.p50().as_secs_f64() / least
            );
            let (many, rates) = repeat(&lab, variant.workflow, &input, options.at_once, lasts);
            println!("{:<9} {}  {rates}", format!("{} at once", options.at_once), many.text());
        }
    }
    println!(
        "\neffects   {} in process, {} at the server",
        lab.acts.0.load(Ordering::SeqCst),
        server.count()
    );
}

/// Starts runs on `clients` threads, each waiting for the end of its own, for a while. Gives how long they took, and how
/// many there were for people.
fn repeat(lab: &Lab, workflow: &str, input: &Value, clients: usize, lasts: Duration) -> (Sample, String) {
    let once = || {
        let from = Instant::now();
        let rest = lab.run(workflow, input.clone());
        assert!(rest.succeeded, "the run {} did not succeed", rest.run);
        rest.at.saturating_duration_since(from)
    };
    (0..WARM_UP).for_each(|_| {
        once();
    });
    let over = AtomicBool::new(false);
    let (begun, used) = (Instant::now(), cpu_time("self"));
    let rounds = std::thread::scope(|scope| {
        let client = || {
            let mut rounds = Vec::new();
            while !over.load(Ordering::Relaxed) {
                rounds.push(once());
            }
            rounds
        };
        let clients: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        std::thread::sleep(lasts);
        over.store(true, Ordering::Relaxed);
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect::<Vec<_>>()
    });
    let rate = rounds.len() as f64 / begun.elapsed().as_secs_f64();
    let cpu = (cpu_time("self") - used).as_secs_f64() * 1e6 / rounds.len() as f64;
    (Sample::of(rounds), format!("{rate:.0} runs/s, {cpu:.0} µs of processor time each"))
}
