//! Numbers for `/metrics`: what moved from one tier to another and what stayed, how full tiers are, and how disks are.
#![allow(clippy::cast_precision_loss)] // numbers of a metric are floating-point; they are exact below 2^53

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hob_model::{OpError, Timestamp, Value};
use hob_primitive::{BoxFuture, Family, Measured};

use crate::mover::{Moved, Skipped, Why};
use crate::smart;
use crate::tier::Tiers;
use crate::tools::Tools;

/// Pairs of tiers that are told of: those between which hob moved first.
const PAIRS_MAX: usize = 64;

/// How long the file system of a tier may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long a tier is left alone that did not answer: whoever asks it may hang for ever.
const LEFT_ALONE: Duration = Duration::from_secs(600);

/// How often disks are asked.
pub const ASK_DISKS_EVERY: Duration = Duration::from_secs(600);

/// How long a disk may take to answer.
const DISK_PATIENCE: Duration = Duration::from_secs(30);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn apart<T: Send + 'static>(
    look: impl FnOnce() -> Result<T, OpError> + Send + 'static,
) -> Result<T, OpError> {
    let looked = tokio::task::spawn_blocking(look).await;
    looked.map_err(|error| OpError::failed(error.to_string()))?
}

/// What moved since this process began, by the roots of the tiers.
pub struct Movers {
    tiers: Arc<dyn Tiers>,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    pairs: BTreeMap<(String, String), Pair>,
    /// Tiers that did not answer, and when they were asked.
    silent: BTreeMap<String, Duration>,
}

#[derive(Clone, Debug, Default)]
struct Pair {
    files: usize,
    bytes: u64,
    failures: u64,
    unsound: usize,
    /// When the last call was made, in seconds since 1970.
    last: f64,
    /// The same of one that went well.
    good: Option<f64>,
    took: Duration,
    /// What stayed at the last call that went well.
    stayed: BTreeMap<&'static str, usize>,
}

/// What one call moved by itself, without what an earlier one had moved before a crash.
#[derive(Debug, Default)]
pub(crate) struct Done {
    files: usize,
    bytes: u64,
    stayed: BTreeMap<&'static str, usize>,
}

impl Done {
    pub(crate) fn of<'m>(moved: impl Iterator<Item = &'m Moved>, skipped: &[Skipped]) -> Self {
        let mut done = Self::default();
        for moved in moved {
            done.files += moved.names.len();
            done.bytes += moved.bytes;
        }
        for it in skipped {
            *done.stayed.entry(it.why.as_str()).or_default() += 1;
        }
        done
    }
}

impl Movers {
    /// Of these file systems.
    #[must_use]
    pub fn new(tiers: Arc<dyn Tiers>) -> Self {
        Self { tiers, seen: Mutex::default() }
    }

    /// Counts a call between two tiers; `None` for one that failed.
    pub(crate) fn note(
        &self,
        (from, to): (String, String),
        now: Timestamp,
        took: Duration,
        done: Option<Done>,
    ) {
        let mut seen = lock(&self.seen);
        if seen.pairs.len() >= PAIRS_MAX && !seen.pairs.contains_key(&(from.clone(), to.clone())) {
            return;
        }
        let pair = seen.pairs.entry((from, to)).or_default();
        pair.last = now.as_millisecond() as f64 / 1000.0;
        pair.took = took;
        match done {
            None => pair.failures += 1,
            Some(done) => {
                pair.files += done.files;
                pair.bytes += done.bytes;
                pair.unsound += done.stayed.get(Why::Unsound.as_str()).copied().unwrap_or(0);
                pair.good = Some(pair.last);
                pair.stayed = done.stayed;
            }
        }
    }

    fn space(&self, path: &str) -> Option<crate::tier::Space> {
        let now = self.tiers.elapsed();
        if lock(&self.seen).silent.get(path).is_some_and(|asked| now.saturating_sub(*asked) < LEFT_ALONE) {
            return None;
        }
        let told = self.tiers.space(path.as_ref(), PATIENCE);
        let mut seen = lock(&self.seen);
        match told {
            Ok(space) => {
                seen.silent.remove(path);
                Some(space)
            }
            Err(_) => {
                seen.silent.insert(path.to_owned(), now);
                None
            }
        }
    }

    fn families(&self) -> Vec<Family> {
        let pairs = lock(&self.seen).pairs.clone();
        let labels = |(from, to): &(String, String)| [("from", from.clone()), ("to", to.clone())];
        let each = |family: Family, read: fn(&Pair) -> Option<f64>| {
            family.with(pairs.iter().filter_map(|(key, pair)| Some((labels(key), read(pair)?))))
        };
        let stayed = pairs.iter().flat_map(|(key, pair)| {
            Why::ALL.map(|why| {
                let [from, to] = labels(key);
                let count = pair.stayed.get(why.as_str()).copied().unwrap_or(0);
                ([from, to, ("reason", why.as_str().to_owned())], count as f64)
            })
        });
        let mut paths: Vec<&String> = pairs.keys().flat_map(|(from, to)| [from, to]).collect();
        paths.sort_unstable();
        paths.dedup();
        let spaces: Vec<_> = paths.into_iter().filter_map(|path| Some((path, self.space(path)?))).collect();
        let space = |name, help, read: fn(&crate::tier::Space) -> u64| {
            let told = spaces.iter().map(|(path, it)| ([("path", (*path).clone())], read(it) as f64));
            Family::gauge(name, help).with(told)
        };
        let (counter, gauge) = (Family::counter, Family::gauge);
        vec![
            each(counter("hob_mover_files_total", "Names of files that moved"), |it| Some(it.files as f64)),
            each(counter("hob_mover_bytes_total", "Bytes that moved"), |it| Some(it.bytes as f64)),
            each(counter("hob_mover_failures_total", "Moves that failed once they had begun"), |it| {
                Some(it.failures as f64)
            }),
            each(
                counter("hob_mover_verify_failures_total", "Copies that differed when they were read again"),
                |it| Some(it.unsound as f64),
            ),
            gauge("hob_mover_skipped_files", "Names of files that stayed at the last move, by reason")
                .with(stayed),
            each(
                gauge(
                    "hob_mover_last_run_timestamp_seconds",
                    "When files were last to be moved, in Unix time",
                ),
                |it| Some(it.last),
            ),
            each(
                gauge("hob_mover_last_success_timestamp_seconds", "When that last went well, in Unix time"),
                |it| it.good,
            ),
            each(gauge("hob_mover_last_run_duration_seconds", "How long the last move took"), |it| {
                Some(it.took.as_secs_f64())
            }),
            space("hob_tier_bytes", "Space of a tier's file system", |it| it.bytes),
            space("hob_tier_used_bytes", "Space of a tier that is taken", |it| it.bytes_used()),
            space("hob_tier_free_bytes", "Space of a tier that anybody can write", |it| it.bytes_available),
        ]
    }
}

impl Measured for Movers {
    fn name(&self) -> &'static str {
        "movers"
    }

    fn measure(self: Arc<Self>) -> BoxFuture<Vec<Family>> {
        Box::pin(apart(move || Ok(self.families())))
    }
}

/// How disks are, as they were last asked; none is woken for it.
pub struct DiskMeasures {
    tools: Arc<dyn Tools>,
    tiers: Arc<dyn Tiers>,
    every: Duration,
    seen: Mutex<SeenDisks>,
}

#[derive(Default)]
struct SeenDisks {
    asked: Option<Duration>,
    is_asking: bool,
    told: Option<Result<BTreeMap<String, Value>, OpError>>,
}

/// What is told of a disk: the name of the number, what it is, its key in what `storage::smart` gives, and its unit.
const TOLD: [(&str, &str, &str, f64); 7] = [
    ("hob_disk_temperature_celsius", "How warm a disk is", "temperature", 1.0),
    ("hob_disk_powered_on_seconds", "How long a disk has run", "hours", 3600.0),
    ("hob_disk_wear_ratio", "The share of the writes that a disk is built for that are done", "wear", 0.01),
    ("hob_disk_reallocated_sectors", "Sectors of a disk that were replaced", "reallocated", 1.0),
    ("hob_disk_pending_sectors", "Sectors that cannot be read and wait to be replaced", "pending", 1.0),
    ("hob_disk_uncorrectable_sectors", "Sectors of a disk that could not be read", "uncorrectable", 1.0),
    ("hob_disk_media_errors", "Errors of a disk's memory that could not be mended", "media_errors", 1.0),
];

impl DiskMeasures {
    /// Asks disks every so often with these tools, by the clock of these file systems.
    #[must_use]
    pub fn new(tools: Arc<dyn Tools>, tiers: Arc<dyn Tiers>, every: Duration) -> Self {
        Self { tools, tiers, every, seen: Mutex::default() }
    }

    /// Whether disks are to be asked now, by the caller.
    fn is_due(&self) -> bool {
        let now = self.tiers.elapsed();
        let mut seen = lock(&self.seen);
        let due = seen.asked.is_none_or(|asked| now.saturating_sub(asked) >= self.every);
        if !due || seen.is_asking {
            return false;
        }
        (seen.asked, seen.is_asking) = (Some(now), true);
        true
    }

    fn ask(&self) {
        let told = smart::all(&*self.tools, DISK_PATIENCE);
        let mut seen = lock(&self.seen);
        let mut before = match seen.told.take() {
            Some(Ok(before)) => before,
            _ => BTreeMap::new(),
        };
        seen.told = Some(told.map(|disks| {
            let named = |disk: Value| Some((text(&disk, "device")?, disk));
            let disks = disks.into_iter().filter_map(named);
            disks.map(|(device, disk)| (device.clone(), dozing(disk, before.remove(&device)))).collect()
        }));
        seen.is_asking = false;
    }

    fn families(&self) -> Result<Vec<Family>, OpError> {
        match &lock(&self.seen).told {
            None => Err(OpError::unavailable("disks are asked for the first time")),
            Some(Err(error)) => Err(error.clone()),
            Some(Ok(disks)) => Ok(families(disks)),
        }
    }
}

/// One that sleeps is as ill as it was when it was awake: only how warm it was then says nothing.
fn dozing(disk: Value, before: Option<Value>) -> Value {
    let (Some(Value::Bool(true)), Some(Value::Map(mut known))) = (disk.get("asleep"), before) else {
        return disk;
    };
    known.insert("asleep".into(), Value::Bool(true));
    known.insert("temperature".into(), Value::Unit);
    Value::Map(known)
}

fn text(disk: &Value, key: &str) -> Option<String> {
    disk.get(key).and_then(Value::as_str).map(str::to_owned)
}

fn families(disks: &BTreeMap<String, Value>) -> Vec<Family> {
    let flag = |key: &'static str| {
        disks.iter().filter_map(move |(device, disk)| match disk.get(key) {
            Some(Value::Bool(it)) => Some(([("device", device.clone())], f64::from(*it))),
            _ => None,
        })
    };
    let info = disks.iter().map(|(device, disk)| {
        let said = |key| text(disk, key).unwrap_or_default();
        ([("device", device.clone()), ("model", said("model")), ("serial", said("serial"))], 1.0)
    });
    let number = |(name, help, key, unit): (&'static str, &'static str, &'static str, f64)| {
        let told = disks.iter().filter_map(move |(device, disk)| match disk.get(key) {
            Some(Value::Int(it)) => Some(([("device", device.clone())], *it as f64 * unit)),
            _ => None,
        });
        Family::gauge(name, help).with(told)
    };
    let mut all = vec![
        Family::gauge("hob_disk_info", "Which disk it is").with(info),
        Family::gauge("hob_disk_asleep", "Whether a disk sleeps, and was left alone").with(flag("asleep")),
        Family::gauge("hob_disk_healthy", "Whether a disk is without problems, as storage::smart tells them")
            .with(flag("healthy")),
    ];
    all.extend(TOLD.map(number));
    all
}

impl Measured for DiskMeasures {
    fn name(&self) -> &'static str {
        "smart"
    }

    fn measure(self: Arc<Self>) -> BoxFuture<Vec<Family>> {
        Box::pin(async move {
            if self.is_due() {
                let asking = Arc::clone(&self);
                let asked = tokio::task::spawn_blocking(move || asking.ask());
                // Disks take their time: who knows something tells that meanwhile.
                if lock(&self.seen).told.is_none() {
                    asked.await.map_err(|error| OpError::failed(error.to_string()))?;
                }
            }
            self.families()
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // a test fails by panicking
mod tests {
    use super::*;
    use crate::disk;

    fn skipped(why: Why) -> Skipped {
        Skipped { path: "a".into(), why, reason: String::new() }
    }

    #[test]
    fn copies_that_differ_are_counted_for_ever_and_what_stays_is_told_of_the_last_move() {
        let movers = Movers::new(Arc::new(crate::live::Live::new()));
        let pair = || ("/nowhere/hot".to_owned(), "/nowhere/cold".to_owned());
        let note = |skips: &[Skipped]| {
            let done = Done::of([&Moved::default()].into_iter(), skips);
            movers.note(
                pair(),
                Timestamp::from_second(1_800_000_000).unwrap(),
                Duration::from_secs(2),
                Some(done),
            );
        };
        note(&[skipped(Why::Unsound), skipped(Why::Unsound), skipped(Why::Taken)]);
        note(&[skipped(Why::InUse)]);
        movers.note(pair(), Timestamp::from_second(1_800_000_060).unwrap(), Duration::ZERO, None);
        let told = movers.families();
        let value = |name: &str, reason: Option<&str>| {
            let family = told.iter().find(|it| it.name == name).unwrap();
            let fits = |labels: &[(&str, String)]| reason.is_none_or(|it| labels[2].1 == it);
            family.samples.iter().find(|it| fits(&it.labels)).map(|it| it.value)
        };
        assert_eq!(value("hob_mover_verify_failures_total", None), Some(2.0));
        assert_eq!(value("hob_mover_failures_total", None), Some(1.0));
        assert_eq!(value("hob_mover_skipped_files", Some("unsound")), Some(0.0));
        assert_eq!(value("hob_mover_skipped_files", Some("in_use")), Some(1.0));
        assert_eq!(value("hob_mover_last_run_timestamp_seconds", None), Some(1_800_000_060.0));
        assert_eq!(value("hob_mover_last_success_timestamp_seconds", None), Some(1_800_000_000.0));
        assert_eq!(value("hob_tier_free_bytes", None), None, "a tier that is gone has no space");
        for number in 0..2 * PAIRS_MAX {
            movers.note((number.to_string(), String::new()), Timestamp::UNIX_EPOCH, Duration::ZERO, None);
        }
        assert_eq!(lock(&movers.seen).pairs.len(), PAIRS_MAX);
    }

    #[test]
    fn a_disk_that_fell_asleep_is_as_ill_as_before() {
        let told = serde_json::json!({
            "smart_status": { "passed": true }, "temperature": { "current": 40 },
            "ata_smart_attributes": { "table": [{ "id": 197, "raw": { "value": 3 } }] },
        });
        let awake = disk::described("/dev/sda", &told, 0);
        let slept = dozing(disk::asleep("/dev/sda"), Some(awake.clone()));
        let numbers = families(&BTreeMap::from([("/dev/sda".to_owned(), slept)]));
        let value = |name: &str| {
            let family = numbers.iter().find(|it| it.name == name).unwrap();
            family.samples.first().map(|it| it.value)
        };
        assert_eq!(value("hob_disk_asleep"), Some(1.0));
        assert_eq!(value("hob_disk_healthy"), Some(0.0));
        assert_eq!(value("hob_disk_pending_sectors"), Some(3.0));
        assert_eq!(value("hob_disk_temperature_celsius"), None);
        assert_eq!(dozing(awake.clone(), None), awake);
    }
}
