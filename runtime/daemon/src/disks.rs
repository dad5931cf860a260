//! How full the disks of this machine are, as events: `disk.low`, `disk.full` and `disk.ok`.
//!
//! Each tells the state that a file system has come to, also when hob begins to look; so none is missed for a restart.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hob_model::{OpError, Value, size};
use hob_primitive::{BoxFuture, EventSink, EventSource};
use hob_supervisor::FileSystems;

/// From this share of its space on, in percent, a disk is low.
const LOW_PERCENT: f64 = 90.0;
/// From this share on it is full for all that is no superuser's.
const FULL_PERCENT: f64 = 98.0;
/// So far, in percent, it must fall below a bound to have left it: one that is at the bound does not tell of it each minute.
const SLACK_PERCENT: f64 = 2.0;
/// How often they are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// How long each may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// File systems on devices that are full by nature, as nobody writes to them.
const READ_ONLY: [&str; 5] = ["squashfs", "iso9660", "udf", "erofs", "cramfs"];
/// File systems with names of their own for what they stand on.
const POOLED: [&str; 2] = ["zfs", "bcachefs"];

/// How full a disk is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Level {
    Ok,
    Low,
    Full,
}

impl Level {
    /// The level at `percent`, for a disk that was at this one.
    fn at(self, percent: f64) -> Self {
        let bound = |level: Self, bound: f64| if self >= level { bound - SLACK_PERCENT } else { bound };
        match percent {
            percent if percent >= bound(Self::Full, FULL_PERCENT) => Self::Full,
            percent if percent >= bound(Self::Low, LOW_PERCENT) => Self::Low,
            _ => Self::Ok,
        }
    }

    fn event(self) -> &'static str {
        match self {
            Self::Ok => "disk.ok",
            Self::Low => "disk.low",
            Self::Full => "disk.full",
        }
    }
}

/// A file system and its space.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Where it is mounted.
    pub path: String,
    /// What it is on.
    pub device: String,
    /// All of its space, in bytes.
    pub bytes: u64,
    /// What of it can still be written by anybody, in bytes.
    pub free_bytes: u64,
    /// What is used, in bytes; the rest is kept for the superuser.
    pub used_bytes: u64,
}

impl Disk {
    /// The share that is used of what anybody can use, as `df` counts it.
    #[allow(clippy::cast_precision_loss)] // a share needs no more digits
    fn used_percent(&self) -> f64 {
        match self.used_bytes + self.free_bytes {
            0 => 0.0,
            usable => self.used_bytes as f64 / usable as f64 * 100.0,
        }
    }
}

/// Tells of the disks there are.
pub trait Disks: Send + Sync {
    /// All with their space.
    ///
    /// # Errors
    /// When that cannot be told.
    fn disks(&self) -> Result<Vec<Disk>, OpError>;
}

/// The disks of this machine: file systems on local devices. Those of servers are not asked, as one that is gone keeps
/// whoever asks waiting.
#[derive(Clone, Debug, Default)]
pub struct LocalDisks(FileSystems);

impl Disks for LocalDisks {
    fn disks(&self) -> Result<Vec<Disk>, OpError> {
        let mut seen = BTreeSet::new();
        let local = self.0.mounted()?.into_iter().filter(|it| {
            let fs_type = it.fs_type.as_str();
            (it.device.starts_with("/dev/") || POOLED.contains(&fs_type)) && !READ_ONLY.contains(&fs_type)
        });
        // A device that is mounted in several places is one disk, known by the first of them.
        let local = local.filter(|it| seen.insert(it.device.clone()));
        let space = |it: hob_planner::Mounted| {
            // One that was unmounted just now is none any more, and one that hangs says nothing.
            let found = self.0.space(&it.path, PATIENCE).ok()?;
            let bytes = |blocks: u64| blocks.saturating_mul(found.f_frsize);
            Some(Disk {
                path: it.path.to_string_lossy().into_owned(),
                device: it.device,
                bytes: bytes(found.f_blocks),
                free_bytes: bytes(found.f_bavail),
                used_bytes: bytes(found.f_blocks.saturating_sub(found.f_bfree)),
            })
        };
        Ok(local.filter_map(space).filter(|disk| disk.bytes > 0).collect())
    }
}

/// What has changed since the last look.
#[derive(Debug, Default)]
struct Watch(BTreeMap<String, Level>);

impl Watch {
    /// The disks that came to another level, with their events. One that is seen for the first time counts as having had
    /// room.
    fn look<'d>(&mut self, disks: &'d [Disk]) -> Vec<(&'static str, &'d Disk)> {
        self.0.retain(|device, _| disks.iter().any(|disk| disk.device == *device));
        let mut events = Vec::new();
        for disk in disks {
            let before = self.0.get(&disk.device).copied().unwrap_or(Level::Ok);
            let now = before.at(disk.used_percent());
            if now != before {
                events.push((now.event(), disk));
            }
            self.0.insert(disk.device.clone(), now);
        }
        events
    }
}

/// The source of events about disks.
pub struct DiskEvents {
    disks: Arc<dyn Disks>,
    every: Duration,
}

impl DiskEvents {
    /// Of these disks, looked at each minute.
    #[must_use]
    pub fn new(disks: Arc<dyn Disks>) -> Self {
        Self { disks, every: LOOK_EVERY }
    }
}

fn payload(disk: &Disk) -> Value {
    let bytes = |n: u64| Value::Int(i64::try_from(n).unwrap_or(i64::MAX));
    Value::map([
        ("path", Value::from(disk.path.as_str())),
        ("device", Value::from(disk.device.as_str())),
        ("used_percent", Value::Float((disk.used_percent() * 10.0).round() / 10.0)),
        ("bytes", bytes(disk.bytes)),
        ("free_bytes", bytes(disk.free_bytes)),
        ("free", Value::from(size::format(disk.free_bytes))),
    ])
}

impl EventSource for DiskEvents {
    fn prefix(&self) -> &'static str {
        "disk."
    }

    fn listen(self: Arc<Self>, sink: EventSink) -> BoxFuture<()> {
        Box::pin(async move {
            let mut watch = Watch::default();
            loop {
                let asked = Arc::clone(&self.disks);
                let found = tokio::task::spawn_blocking(move || asked.disks()).await;
                let disks = found.map_err(|error| OpError::failed(error.to_string()))??;
                for (name, disk) in watch.look(&disks) {
                    if !sink.emit(name, payload(disk)) {
                        return Ok(());
                    }
                }
                tokio::time::sleep(self.every).await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn disk(device: &str, percent: u64) -> Disk {
        let (path, device) = (format!("/mnt/{device}"), format!("/dev/{device}"));
        Disk { path, device, bytes: 1_100, free_bytes: 1_000 - percent * 10, used_bytes: percent * 10 }
    }

    #[test]
    fn a_disk_tells_of_each_level_that_it_comes_to_once() {
        let mut watch = Watch::default();
        let looks: [(u64, &[&str]); 11] = [
            (50, &[]),
            (89, &[]),
            (90, &["disk.low"]),
            (91, &[]),
            (89, &[]),
            (99, &["disk.full"]),
            (97, &[]),
            (95, &["disk.low"]),
            (98, &["disk.full"]),
            (10, &["disk.ok"]),
            (98, &["disk.full"]),
        ];
        for (percent, expected) in looks {
            let disks = [disk("a", percent), disk("b", 1)];
            let names: Vec<&str> = watch.look(&disks).into_iter().map(|(name, _)| name).collect();
            assert_eq!(names, expected, "{percent} %");
        }
        // One that went and came again is a new one.
        assert!(watch.look(&[disk("b", 1)]).is_empty());
        assert_eq!(watch.look(&[disk("a", 99)])[0].0, "disk.full");
    }

    struct Filling(Mutex<u64>);

    impl Disks for Filling {
        fn disks(&self) -> Result<Vec<Disk>, OpError> {
            let mut percent = self.0.lock().unwrap();
            *percent += 5;
            if *percent > 100 {
                Err(OpError::unavailable("it is gone"))
            } else {
                Ok(vec![disk("a", *percent)])
            }
        }
    }

    #[test]
    fn the_source_tells_until_it_cannot() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&told);
        let sink = EventSink::new(move |name, payload| {
            heard.lock().unwrap().push((name.to_owned(), payload));
            true
        });
        let source = Arc::new(DiskEvents { disks: Arc::new(Filling(Mutex::new(70))), every: Duration::ZERO });
        let core = crate::performer::AsyncCore::default();
        let error = core.runtime().block_on(source.listen(sink)).unwrap_err();
        assert_eq!(error.message, "it is gone");
        let told = told.lock().unwrap();
        assert_eq!(told.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["disk.low", "disk.full"]);
        assert_eq!(told[0].1.get("used_percent"), Some(&Value::Float(90.0)));
        assert_eq!(told[0].1.get("path").and_then(Value::as_str), Some("/mnt/a"));
    }

    #[test]
    fn this_machine_has_disks_with_space_and_none_twice() {
        let disks = LocalDisks::default().disks().unwrap();
        let devices: BTreeSet<&str> = disks.iter().map(|disk| disk.device.as_str()).collect();
        assert_eq!(devices.len(), disks.len());
        assert!(
            disks
                .iter()
                .all(|disk| disk.used_bytes <= disk.bytes && (0.0..=100.0).contains(&disk.used_percent()))
        );
    }
}
