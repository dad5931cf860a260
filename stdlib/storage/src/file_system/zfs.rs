//! ZFS, through `zfs` and `zpool`, of the kernel's OpenZFS and of zfs-fuse. Both are asked for what both of them know:
//! exact numbers have to be asked of `zfs get`, and there is no JSON.

use std::path::{Path, PathBuf};

use hob_model::{OpError, Timestamp, Value};
use hob_planner::Mounted;

use super::{Device, FileSystem, Health, Snapshot, Snapshots, Wanted, World};
use crate::tools::Answer;

/// What knows datasets, and what knows pools.
const DATASETS: &str = "zfs";
const POOLS: &str = "zpool";

/// Where a dataset shows its snapshots.
const SHOWN: &str = ".zfs/snapshot";

/// How states are called in which nothing is wrong; the others are of spare disks.
const ONLINE: &str = "ONLINE";
const SPARE: [&str; 2] = ["AVAIL", "INUSE"];

/// The columns with counts in `zpool status`.
const COUNTS: [&str; 3] = ["read", "write", "checksum"];

pub(super) struct Zfs;

impl FileSystem for Zfs {
    fn name(&self) -> &'static str {
        "ZFS"
    }

    fn types(&self) -> &'static [&'static str] {
        &["zfs", "fuse.zfs"]
    }

    fn health(&self, world: &World, holder: &Mounted) -> Result<Health, OpError> {
        // `pool/dataset/another@snapshot`.
        let pool = holder.device.split(['/', '@']).next().unwrap_or_default();
        let answer = run(world, POOLS, &["status", pool])?.done(POOLS)?;
        let text = String::from_utf8_lossy(&answer.stdout);
        let status = status(&text).ok_or_else(|| {
            OpError::failed(format!("`zpool status {pool}` told what is not understood: {text}"))
        })?;
        Ok(Health {
            sound: status.is_sound(),
            more: vec![
                ("pool", Value::from(pool)),
                ("state", Value::from(status.state)),
                ("data_errors", Value::from(status.data_errors)),
            ],
            devices: status.devices,
        })
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        Some(self)
    }
}

impl Snapshots for Zfs {
    fn present(&self, world: &World, wanted: &Wanted<'_>) -> Result<Option<Snapshot>, OpError> {
        let (path, to) = (wanted.path, wanted.to);
        let dataset = dataset(world, path)?;
        if !wanted.read_only {
            return Err(OpError::invalid("nothing can be written to a snapshot of ZFS")
                .hint("leave `read_only` out; `zfs clone` makes a dataset of a snapshot")
                .nothing_happened());
        }
        if shown_at(to).is_none_or(|(at, _)| at != path) {
            let shown = path.join(SHOWN);
            return Err(OpError::invalid(format!("{} is no place of a snapshot of ZFS", to.display()))
                .hint(format!(
                    "write `{}/NAME`; a name has letters, digits, blanks, `_`, `-`, `.` and `:`",
                    shown.display()
                ))
                .nothing_happened());
        }
        Ok(all(world, dataset, path)?.into_iter().find(|it| it.path == to))
    }

    fn make(&self, world: &World, wanted: &Wanted<'_>) -> Result<Option<String>, OpError> {
        run(world, DATASETS, &["snapshot", &named(world, wanted.to)?])?.done(DATASETS)?;
        Ok(self.at(world, wanted.to)?.and_then(|it| it.uuid))
    }

    fn of(&self, world: &World, path: &Path, _near: &Path) -> Result<Vec<Snapshot>, OpError> {
        all(world, dataset(world, path)?, path)
    }

    fn at(&self, world: &World, path: &Path) -> Result<Option<Snapshot>, OpError> {
        let (at, _) = shown_at(path).ok_or_else(|| super::no_snapshot(path))?;
        Ok(all(world, dataset(world, at)?, at)?.into_iter().find(|it| it.path == path))
    }

    fn remove(&self, world: &World, path: &Path) -> Result<(), OpError> {
        let done = run(world, DATASETS, &["destroy", &named(world, path)?])?.done(DATASETS);
        done.map(drop).map_err(|error| {
            error.hint("clones and holds keep a snapshot: `zfs get clones` and `zfs holds` tell of them")
        })
    }
}

/// The dataset that is mounted at a path.
fn dataset<'w>(world: &'w World, path: &Path) -> Result<&'w str, OpError> {
    let holder = world.holder(path)?;
    if holder.path == path && holder.root == Path::new("/") && !holder.device.contains('@') {
        return Ok(&holder.device);
    }
    let (path, at) = (path.display(), holder.path.display());
    Err(OpError::invalid(format!("{path} is not where a dataset of ZFS is mounted"))
        .hint(format!("{} is mounted at {at}; `zfs create` makes a dataset of its own", holder.device))
        .nothing_happened())
}

/// Of what a path is a snapshot, and its name; `None` where none can be.
fn shown_at(path: &Path) -> Option<(&Path, &str)> {
    let name = path.file_name()?.to_str()?;
    // `zfs destroy` takes `,` and `%` for lists and ranges.
    let is_plain = |it: char| it.is_ascii_alphanumeric() || "_-.: ".contains(it);
    let dir = path.parent().filter(|dir| dir.ends_with(SHOWN) && name.chars().all(is_plain))?;
    Some((dir.parent()?.parent()?, name))
}

/// What ZFS calls the snapshot at a path.
fn named(world: &World, path: &Path) -> Result<String, OpError> {
    let (at, name) = shown_at(path).ok_or_else(|| super::no_snapshot(path))?;
    Ok(format!("{}@{name}", dataset(world, at)?))
}

/// All snapshots of the dataset that is mounted at `at`. zfs-fuse shows none in the directory, and for OpenZFS who looks there
/// has it mounted: `zfs` is asked.
fn all(world: &World, dataset: &str, at: &Path) -> Result<Vec<Snapshot>, OpError> {
    let properties = "creation,guid,createtxg";
    let args = ["get", "-Hp", "-d", "1", "-o", "name,property,value", properties, dataset];
    let answer = run(world, DATASETS, &args)?.done(DATASETS)?;
    Ok(listed(&String::from_utf8_lossy(&answer.stdout), dataset, &at.join(SHOWN)))
}

fn listed(text: &str, dataset: &str, shown: &Path) -> Vec<Snapshot> {
    let mut all: Vec<Snapshot> = Vec::new();
    for line in text.lines() {
        let mut fields = line.split('\t');
        let (Some(name), Some(property), Some(value)) = (fields.next(), fields.next(), fields.next()) else {
            continue;
        };
        // Datasets below it, and bookmarks, are told of as well.
        let Some(name) = name.strip_prefix(dataset).and_then(|it| it.strip_prefix('@')) else { continue };
        let path: PathBuf = shown.join(name);
        if all.last().is_none_or(|last| last.path != path) {
            all.push(Snapshot { path, uuid: None, created: None, generation: 0, read_only: true });
        }
        let Some(it) = all.last_mut() else { continue };
        match property {
            "guid" => it.uuid = (value != "-").then(|| value.to_owned()),
            "creation" => it.created = value.parse().ok().and_then(|it| Timestamp::from_second(it).ok()),
            "createtxg" => it.generation = value.parse().unwrap_or_default(),
            _ => {}
        }
    }
    all
}

/// What `zpool status` tells of a pool.
#[derive(Debug, PartialEq, Eq)]
struct Status {
    state: String,
    /// Of files that are damaged; `None` where ZFS does not tell.
    data_errors: Option<i64>,
    /// The pool itself, its groups and its disks, in the order of the table.
    devices: Vec<Device>,
}

impl Status {
    /// Whether all is well beside what was counted.
    fn is_sound(&self) -> bool {
        let is_well = |it: &Device| {
            let state = it.state.as_deref().unwrap_or_default();
            state == ONLINE || SPARE.contains(&state)
        };
        self.state == ONLINE && self.data_errors == Some(0) && self.devices.iter().all(is_well)
    }
}

fn status(text: &str) -> Option<Status> {
    let field = |key: &str| text.lines().find_map(|line| line.trim_start().strip_prefix(key)).map(str::trim);
    let data_errors = field("errors:").and_then(|said| match said {
        "No known data errors" => Some(0),
        // `2 data errors, use '-v' for a list`.
        _ => said.split_once(" data errors").and_then(|(count, _)| count.parse().ok()),
    });
    let mut table = text.lines().skip_while(|line| line.trim() != "config:").skip(1);
    let header = table.find(|line| line.trim_start().starts_with("NAME"))?;
    let column = header.find("STATE")?;
    let rows = table.take_while(|line| !line.starts_with("errors:"));
    // Lines that end before it are headings: `logs`, `cache`, `spares`.
    let rows = rows.filter(|line| line.len() > column);
    let devices = rows.map(|line| device(line, column)).collect::<Option<_>>()?;
    Some(Status { state: field("state:")?.to_owned(), data_errors, devices })
}

/// A line of the table, whose states begin at a column, counted in bytes: names may have blanks.
fn device(line: &str, column: usize) -> Option<Device> {
    let (name, told) = line.split_at_checked(column)?;
    let mut words = told.split_whitespace();
    let state = words.next()?.to_owned();
    let counts = if SPARE.contains(&state.as_str()) {
        Vec::new()
    } else {
        let count = |name: &str| Some((name.to_owned(), count(words.next()?)?));
        COUNTS.into_iter().map(count).collect::<Option<_>>()?
    };
    Some(Device { name: name.trim().to_owned(), state: Some(state), counts })
}

/// A number as ZFS shortens it: `12`, `1.23K`.
fn count(text: &str) -> Option<i64> {
    let unit = text.chars().last().and_then(|last| "KMGTPE".find(last));
    let Some(unit) = unit else { return text.parse().ok() };
    let number: f64 = text[..text.len() - 1].parse().ok()?;
    #[allow(clippy::cast_possible_truncation)] // three digits are all that is told of it
    Some((number * 1024_f64.powi(i32::try_from(unit).ok()? + 1)) as i64)
}

fn run(world: &World, program: &str, args: &[&str]) -> Result<Answer, OpError> {
    world.run(program, "zfsutils-linux, or zfs-fuse", args)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn row(name: &str, state: &str, counts: &[i64]) -> Device {
        let counts = COUNTS.into_iter().map(str::to_owned).zip(counts.iter().copied()).collect();
        Device { name: name.to_owned(), state: Some(state.to_owned()), counts }
    }

    /// What zfs-fuse 0.7.0 wrote of a mirror, half of which was overwritten.
    const OLD: &str = "  pool: hobtest
 state: ONLINE
status: One or more devices has experienced an unrecoverable error.  An
\tattempt was made to correct the error.  Applications are unaffected.
action: Determine if the device needs to be replaced, and clear the errors
\tusing 'zpool clear' or replace the device with 'zpool replace'.
   see: http://www.sun.com/msg/ZFS-8000-9P
 scrub: scrub completed after 0h0m with 0 errors on Sun Nov 22 11:46:26 2026
config:

\tNAME                  STATE     READ WRITE CKSUM
\thobtest               ONLINE       0     0     0
\t  mirror-0            ONLINE       0     0     0
\t    /tmp/disks/a      ONLINE       0     0   525  19.9M repaired
\t    /tmp/disks/b      ONLINE       0     0     0

errors: No known data errors
";

    /// The form of OpenZFS 2.x, after `print_status_config` and `print_class_vdevs` in its `cmd/zpool/zpool_main.c`.
    const NEW: &str = "  pool: tank
 state: DEGRADED
status: One or more devices are faulted in response to persistent errors.
\tSufficient replicas exist for the pool to continue functioning in a
\tdegraded state.
action: Replace the faulted device, or use 'zpool clear' to mark the device
\trepaired.
  scan: resilvered 1.21G in 00:00:09 with 0 errors on Sun Nov 22 11:46:26 2026
config:

\tNAME             STATE     READ WRITE CKSUM
\ttank             DEGRADED     0     0     0
\t  raidz1-0       DEGRADED     0     0     0
\t    sda          ONLINE       0     0     0  (repairing)
\t    spare-1      DEGRADED     0     0   12
\t      sdb        FAULTED  1.50K     3     0  too many errors
\t      a disk é   ONLINE       0     0     0
\tlogs\t
\t  nvme0n1        ONLINE       0     0     0
\tspares
\t  a disk é       INUSE     currently in use
\t  sde            AVAIL

errors: 2 data errors, use '-v' for a list
";

    #[test]
    fn what_a_pool_tells_is_read() {
        let old = status(OLD).unwrap();
        assert_eq!((old.state.as_str(), old.data_errors), ("ONLINE", Some(0)));
        assert_eq!(
            old.devices,
            [
                row("hobtest", "ONLINE", &[0, 0, 0]),
                row("mirror-0", "ONLINE", &[0, 0, 0]),
                row("/tmp/disks/a", "ONLINE", &[0, 0, 525]),
                row("/tmp/disks/b", "ONLINE", &[0, 0, 0]),
            ]
        );
        let new = status(&NEW.replace("a disk é ", "a disk é")).unwrap();
        assert_eq!((new.state.as_str(), new.data_errors), ("DEGRADED", Some(2)));
        assert_eq!(
            new.devices,
            [
                row("tank", "DEGRADED", &[0, 0, 0]),
                row("raidz1-0", "DEGRADED", &[0, 0, 0]),
                row("sda", "ONLINE", &[0, 0, 0]),
                row("spare-1", "DEGRADED", &[0, 0, 12]),
                row("sdb", "FAULTED", &[1536, 3, 0]),
                row("a disk é", "ONLINE", &[0, 0, 0]),
                row("nvme0n1", "ONLINE", &[0, 0, 0]),
                row("a disk é", "INUSE", &[]),
                row("sde", "AVAIL", &[]),
            ]
        );
        let untold = NEW.replace("2 data errors, use '-v' for a list", "List of errors unavailable");
        assert_eq!(status(&untold).unwrap().data_errors, None);
        assert_eq!(status(&NEW.replace("1.50K", "many ")), None, "what is not understood is not well");
        assert_eq!(status("no pools available\n"), None);
    }

    #[test]
    fn a_pool_is_sound_when_nothing_else_is_said() {
        let is_sound = |from: &str, to: &str| status(&OLD.replacen(from, to, 1)).unwrap().is_sound();
        assert!(is_sound("", ""));
        for (from, to) in [
            (" state: ONLINE", " state: SUSPENDED"),
            ("ONLINE       0     0   525", "UNAVAIL      0     0     0"),
            ("No known data errors", "1 data errors, use '-v' for a list"),
            ("No known data errors", "List of errors unavailable: pool I/O is currently suspended"),
        ] {
            assert!(!is_sound(from, to), "{to}");
        }
    }

    #[test]
    fn numbers_are_as_long_as_zfs_writes_them() {
        for (text, expected) in [
            ("0", Some(0)),
            ("525", Some(525)),
            ("1.2K", Some(1228)),
            ("3M", Some(3 << 20)),
            ("-", None),
            ("K", None),
        ] {
            assert_eq!(count(text), expected, "{text}");
        }
    }

    /// What `zfs get` of zfs-fuse 0.7.0 wrote.
    #[test]
    fn what_is_listed_is_read() {
        let text = "tank/photos\tcreation\t1795347982\ntank/photos\tguid\t17626832640025873421\ntank/photos\tcreatetxg\t7\n\
            tank/photos@one\tcreation\t1795347983\ntank/photos@one\tguid\t14175733038945745290\ntank/photos@one\tcreatetxg\t14\n\
            tank/photos@a b\tcreation\t1795347984\ntank/photos@a b\tguid\t12790173968309388127\ntank/photos@a b\tcreatetxg\t27\n\
            tank/photos/raw data\tcreation\t1795347983\ntank/photos/raw data\tguid\t5368696561718133886\n\
            tank/photos#mark\tguid\t5368696561718133887\n";
        let expected = |name: &str, guid: &str, seconds, generation| Snapshot {
            path: Path::new("/srv/.zfs/snapshot").join(name),
            uuid: Some(guid.to_owned()),
            created: Timestamp::from_second(seconds).ok(),
            generation,
            read_only: true,
        };
        assert_eq!(
            listed(text, "tank/photos", Path::new("/srv/.zfs/snapshot")),
            [
                expected("one", "14175733038945745290", 1_795_347_983, 14),
                expected("a b", "12790173968309388127", 1_795_347_984, 27),
            ]
        );
    }

    #[test]
    fn only_places_of_snapshots_are_taken_for_some() {
        for (path, expected) in [
            ("/srv/.zfs/snapshot/a b", Some(("/srv", "a b"))),
            ("/.zfs/snapshot/2026-01-31T02:00", Some(("/", "2026-01-31T02:00"))),
            ("/srv/.zfs/snapshot/a%b", None),
            ("/srv/.zfs/snapshot/a,b", None),
            ("/srv/.zfs/snapshot/a@b", None),
            ("/srv/.zfs/snapshot/a/b", None),
            ("/srv/.zfs/snapshot", None),
            ("/srv/snapshot/a", None),
        ] {
            assert_eq!(shown_at(Path::new(path)), expected.map(|(at, name)| (Path::new(at), name)), "{path}");
        }
    }
}
