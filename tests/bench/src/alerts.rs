//! What alerts take that are asked each second, of a homelab with many services.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::machine::cpu_time;
use crate::webhook::Up;

/// The most of a core that it should take.
const GOAL: &str = "5 %";
/// Until the first round of all rules is over.
const SETTLES: Duration = Duration::from_secs(5);

/// What is measured.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The binary.
    #[arg(long, default_value = "target/release/hob")]
    hob: PathBuf,
    /// How many rules are asked each second.
    #[arg(long, default_value_t = 1_000)]
    rules: usize,
    /// How many services the homelab has.
    #[arg(long, default_value_t = 200)]
    services: usize,
    /// For how many seconds the processor is watched.
    #[arg(long, default_value_t = 20)]
    watch: u64,
}

/// The share of a core that a `hob up` with so many rules takes, in percent.
fn share(root: &Path, name: &str, options: &Options, rules: usize) -> f64 {
    let hob = options.hob.canonicalize().expect("build it first: cargo build --release -p hob");
    let homelab = root.join(name);
    std::fs::create_dir_all(&homelab).unwrap();
    let mut text = String::from("homelab(#{ name: \"bench\" });\ntier(\"all\");\n");
    for n in 0..options.services {
        text += &format!("service(\"s{n}\", #{{ tier: \"all\", command: [\"sleep\", \"100000\"] }});\n");
    }
    // One looks at a service, one at all disks.
    for n in 0..rules {
        let service = n % options.services.max(1);
        let when = match n % 2 {
            0 => format!("now.value(\"hob_service_ready\", #{{ service: \"s{service}\" }}) == 0.0"),
            _ => {
                "now.ratio(\"hob_host_disk_used_bytes\", \"hob_host_disk_bytes\").filter(|it| it.value > 1.5)"
                    .to_owned()
            }
        };
        text += &format!("alert(\"a{n}\", #{{ every: \"1s\", when: |now| {when} }});\n");
    }
    std::fs::write(homelab.join("homelab.rhai"), text).unwrap();
    let up = Up::start(&hob, &homelab, &root.join(format!("{name}-state")));
    std::thread::sleep(SETTLES);
    let pid = up.child.id().to_string();
    let used = cpu_time(&pid);
    std::thread::sleep(Duration::from_secs(options.watch));
    (cpu_time(&pid) - used).as_secs_f64() / options.watch as f64 * 100.0
}

/// Watches a `hob up` without rules and one with them.
pub(crate) fn measure(root: &Path, options: &Options) {
    let (rules, services) = (options.rules, options.services);
    println!(
        "workload  a release `hob up` with {services} supervised processes; {rules} rules asked each second"
    );
    let without = share(root, "without", options, 0);
    let with = share(root, "with", options, rules);
    println!("without   {without:.2} % of a core over {} s", options.watch);
    println!("with      {with:.2} % of a core (goal {GOAL})");
    println!("a rule    {:.1} µs", (with - without) / 100.0 / rules as f64 * 1e6);
}
