//! Many schedules: how late their slots are claimed and have their first effect, and what idle ones cost.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

use hob_daemon::clock::{SystemClock, ThisMachine};
use hob_daemon::declared::read_homelab;
use hob_daemon::schedules::{Launch, Scheduling};
use hob_daemon::settings::Settings;
use hob_daemon::triggers;
use hob_engine::Base;
use hob_model::Timestamp;
use hob_primitive::Clock;

use crate::floor;
use crate::lab::Lab;
use crate::machine::{cpu_time, mib};
use crate::sample::{Sample, text};
use crate::webhook::Up;

/// From the start of the measurement to when slots are due: by then the homelab is read.
const LEAD_SECONDS: i64 = 3;
/// How long a process is left alone before it counts as idle: threads without work have ended by then.
const SETTLE: Duration = Duration::from_secs(15);
/// The longest wait for all effects of one case.
const ALL_FIRED_WITHIN: Duration = Duration::from_secs(180);

/// What is measured.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// The binary.
    #[arg(long, default_value = "target/release/hob")]
    hob: PathBuf,
    /// How many schedules are due.
    #[arg(long, default_value_t = 10_000)]
    due: usize,
    /// How many are idle.
    #[arg(long, default_value_t = 100_000)]
    idle: usize,
    /// How long the idle ones are watched, in seconds.
    #[arg(long, default_value_t = 120)]
    watch: u64,
}

/// Lets schedules fire, and has others idle.
pub(crate) fn measure(root: &Path, options: &Options) {
    println!("workload  {} schedules whose runs have one `once` effect each", options.due);
    floor::print(root);
    println!("\nall due in the same second (goals: claimed p99 50 ms, first effect p99 1 s)");
    fire(&root.join("together"), options.due, "at(second)", since_due);
    println!("\nspread over the seconds of a minute (goal: first effect p99 50 ms)");
    fire(&root.join("spread"), options.due, "`${i % 60} * * * * *`", since_second);
    idle(root, options);
}

fn fire(state: &Path, count: usize, when: &str, since: fn(Timestamp, Timestamp) -> Duration) {
    let due = Timestamp::from_second(SystemClock.now().as_second() + LEAD_SECONDS).unwrap();
    let homelab = format!(
        "homelab(#{{ name: \"bench\", timezone: \"UTC\" }});
         let second = \"{due}\";
         for i in 0..{count} {{ schedule(`s${{i}}`, {when}, |slot| bench::fire(slot.nominal)); }}"
    );
    let lab = Lab::of(state, &homelab);
    let base = Base { directory: Path::new("/bench"), home: None };
    let read = read_homelab(lab.runs.host(), &lab.bundle, base, &Settings::default());
    let (mut homelab, _) = read.unwrap_or_else(|problems| panic!("{problems:?}"));
    let bell = Arc::clone(&lab.ears.schedules);
    let launch = Launch {
        runs: lab.runs.clone(),
        bundle: Arc::clone(&lab.bundle),
        directory: "/bench".to_owned(),
        admission: Arc::default(),
        bell: Arc::clone(&bell),
    };
    let scheduling =
        Scheduling::new(launch, triggers::timed(&mut homelab), Arc::new(ThisMachine), Arc::clone(&bell))
            .unwrap();
    assert!(SystemClock.now() < due, "the homelab was not read in {LEAD_SECONDS} s");
    let (begun, fired, ended) = (lab.ears.begun(), lab.fires.all(), lab.ears.all());
    std::thread::scope(|scope| {
        scope.spawn(|| scheduling.serve(&|| {}, &|| None));
        let used = cpu_time("self");
        let late = take(&fired, count);
        let claimed = take(&begun, count);
        take(&ended, count);
        let used = cpu_time("self") - used;
        bell.stop();
        println!("claimed   {}", Sample::of(claimed.into_iter().map(|at| since(at, due)).collect()).text());
        println!("effect    {}", Sample::of(late).text());
        println!(
            "processor {} for each, from its slot to its end",
            text(used / u32::try_from(count).unwrap())
        );
    });
}

/// How late a claim is whose slot was due at `due`.
fn since_due(at: Timestamp, due: Timestamp) -> Duration {
    at.duration_since(due).unsigned_abs()
}

/// How late a claim is whose slot was due at the last whole second: less than a second late, by what effects tell.
fn since_second(at: Timestamp, _: Timestamp) -> Duration {
    Duration::from_nanos(u64::from(at.subsec_nanosecond().unsigned_abs()))
}

fn take<T>(told: &Receiver<T>, count: usize) -> Vec<T> {
    (0..count).map(|_| told.recv_timeout(ALL_FIRED_WITHIN).expect("all of them fire")).collect()
}

fn idle(root: &Path, options: &Options) {
    println!("\n{} idle ones in a release `hob up` (goals: 1 % of a core, 60 MB)", options.idle);
    let hob = options.hob.canonicalize().expect("build it first: cargo build --release -p hob");
    // Each day of the year but today's and its neighbours': none is due while it is watched.
    let far = SystemClock.now().checked_add(jiff::SignedDuration::from_hours(24 * 180)).unwrap();
    let month = far.to_zoned(jiff::tz::TimeZone::UTC).month();
    let up = |name: &str, count: usize| {
        let script = format!(
            "homelab(#{{ name: \"bench\", timezone: \"UTC\" }});
             for i in 0..{count} {{
                 schedule(`s${{i}}`, `${{i % 60}} ${{i / 60 % 24}} ${{1 + i / 1440 % 28}} {month} *`, |slot| {{ }});
             }}"
        );
        let homelab = root.join(name);
        std::fs::create_dir_all(&homelab).unwrap();
        let path = homelab.join("homelab.rhai");
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let up = Up::start(&hob, &homelab, &root.join(format!("{name}-state")));
        std::thread::sleep(SETTLE);
        up
    };
    let without = up("none", 0).resident();
    let up = up("idle", options.idle);
    let pid = up.child.id().to_string();
    let used = cpu_time(&pid);
    std::thread::sleep(Duration::from_secs(options.watch));
    let share = (cpu_time(&pid) - used).as_secs_f64() / options.watch as f64 * 100.0;
    let resident = up.resident();
    println!("start     {} to ready", text(up.ready));
    println!("processor {share:.2} % of a core over {} s", options.watch);
    println!("memory    {} resident, {} of it without any", mib(resident), mib(without));
    let each = resident.saturating_sub(without) * 1024 / options.idle.max(1) as u64;
    println!("          {each} bytes for each");
}
