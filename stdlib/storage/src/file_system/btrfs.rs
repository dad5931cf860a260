//! btrfs, through `btrfs` of btrfs-progs. Only `device stats` answers in JSON in the versions that are around.

use std::path::{Path, PathBuf};

use hob_model::{ErrorKind, OpError, Timestamp};
use hob_planner::Mounted;
use serde_json::Value as Json;

use super::{Device, FileSystem, Health, Snapshot, Snapshots, Wanted, World};
use crate::tier::Kind;
use crate::tools::Answer;

/// What knows btrfs.
const PROGRAM: &str = "btrfs";

/// What `btrfs subvolume list -a` writes before paths that are not below what it was asked for.
const TOP: &str = "<FS_TREE>/";

pub(super) struct Btrfs;

impl FileSystem for Btrfs {
    fn name(&self) -> &'static str {
        "btrfs"
    }

    fn types(&self) -> &'static [&'static str] {
        &["btrfs"]
    }

    fn health(&self, world: &World, holder: &Mounted) -> Result<Health, OpError> {
        let at = holder.path.to_string_lossy();
        let answer = run(world, &["--format", "json", "device", "stats", &at])?.done(PROGRAM)?;
        Ok(Health { more: Vec::new(), sound: true, devices: counted(&answer.json(PROGRAM)?) })
    }

    fn snapshots(&self) -> Option<&dyn Snapshots> {
        Some(self)
    }
}

impl Snapshots for Btrfs {
    fn present(&self, world: &World, wanted: &Wanted<'_>) -> Result<Option<Snapshot>, OpError> {
        let own = subvolume(world, wanted.path)?;
        if world.what_is_at(wanted.to)?.is_none() {
            return Ok(None);
        }
        let there = subvolume(world, wanted.to).ok();
        let there = there.filter(|it| it.parent.is_some() && it.parent == own.uuid);
        there.map(|it| Some(it.snapshot(wanted.to))).ok_or_else(|| {
            let (to, path) = (wanted.to.display(), wanted.path.display());
            OpError::conflict(format!("{to} is there and no snapshot of {path}"))
                .hint("name each snapshot after its time")
                .nothing_happened()
        })
    }

    fn make(&self, world: &World, wanted: &Wanted<'_>) -> Result<Option<String>, OpError> {
        let (from, at) = (wanted.path.to_string_lossy(), wanted.to.to_string_lossy());
        let mut args = vec!["subvolume", "snapshot"];
        args.extend(wanted.read_only.then_some("-r"));
        args.extend([&*from, &*at]);
        run(world, &args)?.done(PROGRAM)?;
        Ok(subvolume(world, wanted.to)?.uuid)
    }

    fn of(&self, world: &World, path: &Path, near: &Path) -> Result<Vec<Snapshot>, OpError> {
        let Some(own) = subvolume(world, path)?.uuid else { return Ok(Vec::new()) };
        let (holder, near) = (world.holder(path)?, world.holder(near)?);
        let at = path.to_string_lossy();
        let list = |more: &[&str]| -> Result<Vec<Listed>, OpError> {
            let args = [&["subvolume", "list", "-a", "-s", "-u", "-q"], more, &[&*at]].concat();
            Ok(listed(&String::from_utf8_lossy(&run(world, &args)?.done(PROGRAM)?.stdout)))
        };
        let read_only: Vec<String> = list(&["-r"])?.into_iter().map(|it| it.uuid).collect();
        let own = list(&[])?.into_iter().filter(|it| it.parent == own);
        let snapshot = |it: Listed| {
            Some(Snapshot {
                path: seen_at(&world.mounted, &[near, holder], Path::new(&it.path))?,
                read_only: read_only.contains(&it.uuid),
                uuid: Some(it.uuid),
                created: it.created,
                generation: it.generation,
            })
        };
        Ok(own.filter_map(snapshot).collect())
    }

    fn at(&self, world: &World, path: &Path) -> Result<Option<Snapshot>, OpError> {
        let Some(kind) = world.what_is_at(path)? else { return Ok(None) };
        let there = match subvolume(world, path) {
            // What a link leads to goes by its own path.
            Ok(it) if kind == Kind::Directory => Some(it).filter(|it| it.parent.is_some()),
            Err(error) if error.kind != ErrorKind::Invalid => return Err(error),
            _ => None,
        };
        there.map(|it| Some(it.snapshot(path))).ok_or_else(|| super::no_snapshot(path))
    }

    fn remove(&self, world: &World, path: &Path) -> Result<(), OpError> {
        let done = run(world, &["subvolume", "delete", &path.to_string_lossy()])?.done(PROGRAM);
        done.map(drop).map_err(|error| error.hint("subvolumes that lie in it keep it"))
    }
}

/// A subvolume as `btrfs subvolume show` tells of it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Subvolume {
    uuid: Option<String>,
    /// What it was made of.
    parent: Option<String>,
    created: Option<Timestamp>,
    read_only: bool,
}

impl Subvolume {
    fn snapshot(self, at: &Path) -> Snapshot {
        let Self { uuid, created, read_only, .. } = self;
        Snapshot { path: at.to_owned(), uuid, created, generation: 0, read_only }
    }
}

fn subvolume(world: &World, path: &Path) -> Result<Subvolume, OpError> {
    let answer = run(world, &["subvolume", "show", &path.to_string_lossy()])?;
    if answer.status != Some(0) {
        let said = answer.stderr.trim().to_owned();
        return Err(OpError::invalid(format!("{} is no subvolume of btrfs: {said}", path.display()))
            .hint("`btrfs subvolume create` makes one; move the data into it")
            .nothing_happened());
    }
    Ok(shown(&String::from_utf8_lossy(&answer.stdout)))
}

fn shown(text: &str) -> Subvolume {
    let field = |key: &str| {
        let line = text.lines().find_map(|line| line.trim().strip_prefix(key))?.trim().to_owned();
        (line != "-").then_some(line)
    };
    Subvolume {
        uuid: field("UUID:"),
        parent: field("Parent UUID:"),
        // Its own zone is at its end, which is UTC here.
        created: field("Creation time:").and_then(|it| utc(it.get(.."2026-01-31 00:00:00".len())?)),
        read_only: field("Flags:").is_some_and(|it| it.split_whitespace().any(|flag| flag == "readonly")),
    }
}

/// A line of `btrfs subvolume list -a -s -u -q`.
#[derive(Debug, PartialEq, Eq)]
struct Listed {
    uuid: String,
    parent: String,
    created: Option<Timestamp>,
    generation: u64,
    /// From the top of the file system on.
    path: String,
}

fn listed(text: &str) -> Vec<Listed> {
    let line = |line: &str| {
        let (told, path) = line.split_once(" path ")?;
        let words: Vec<&str> = told.split_whitespace().collect();
        let after = |key: &str, count: usize| {
            let at = words.iter().position(|word| *word == key)? + 1;
            words.get(at..at + count)
        };
        Some(Listed {
            uuid: after("uuid", 1)?.concat(),
            parent: after("parent_uuid", 1)?.concat(),
            created: after("otime", 2).and_then(|it| utc(&it.join(" "))),
            generation: after("cgen", 1)?.concat().parse().ok()?,
            path: path.strip_prefix(TOP).unwrap_or(path).to_owned(),
        })
    };
    text.lines().filter_map(line).collect()
}

/// A time that was written without its zone, which programs are told to be UTC.
fn utc(text: &str) -> Option<Timestamp> {
    format!("{}Z", text.replacen(' ', "T", 1)).parse().ok()
}

/// Where something on a file system is seen; `None` where no mount shows it. The `first` mounts are tried before all others.
fn seen_at(mounted: &[Mounted], first: &[&Mounted], inner: &Path) -> Option<PathBuf> {
    let device = &first.last()?.device;
    let mounts = first.iter().copied().chain(mounted).filter(|it| it.device == *device);
    mounts.into_iter().find_map(|mount| {
        let below = inner.strip_prefix(mount.root.strip_prefix("/").ok()?).ok()?;
        let path: PathBuf = mount.path.components().chain(below.components()).collect();
        // Something else may be mounted over it.
        let is_seen = crate::roots::holder(mounted, &path).is_some_and(|it| it == mount);
        is_seen.then_some(path)
    })
}

fn counted(told: &Json) -> Vec<Device> {
    let devices = told["device-stats"].as_array().map_or(&[][..], Vec::as_slice);
    let counts = |device: &Json| {
        let number = |value: &Json| value.as_i64().or_else(|| value.as_str()?.parse().ok());
        let fields = device.as_object().into_iter().flatten();
        let errors = fields.filter(|(name, _)| name.ends_with("_errs"));
        errors.filter_map(|(name, value)| Some((name.clone(), number(value)?))).collect()
    };
    let device = |it: &Json| {
        let name = it["device"].as_str().unwrap_or("?").to_owned();
        Device { name, state: None, counts: counts(it) }
    };
    devices.iter().map(device).collect()
}

fn run(world: &World, args: &[&str]) -> Result<Answer, OpError> {
    world.run(PROGRAM, "btrfs-progs", args)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn at(text: &str) -> Option<Timestamp> {
        Some(text.parse().unwrap())
    }

    /// What btrfs-progs 6.2 wrote.
    #[test]
    fn what_is_shown_of_a_subvolume_is_read() {
        let text = ".snapshots/a b\n\tName: \t\t\ta b\n\tUUID: \t\t\t992d1226-c801-4e43-a3f5-5fdea5101181\n\
            \tParent UUID: \t\t86b26bf0-d1ec-0b4f-a71e-6f6c247d4a4f\n\tReceived UUID: \t\t-\n\
            \tCreation time: \t\t2026-11-22 11:49:32 +0000\n\tSubvolume ID: \t\t258\n\tGeneration: \t\t7\n\
            \tGen at creation: \t7\n\tParent ID: \t\t5\n\tTop level ID: \t\t5\n\tFlags: \t\t\treadonly\n\
            \tSend transid: \t\t0\n\tSend time: \t\t2026-11-22 11:49:32 +0000\n\tReceive transid: \t0\n\
            \tReceive time: \t\t-\n\tSnapshot(s):\n";
        let expected = Subvolume {
            uuid: Some("992d1226-c801-4e43-a3f5-5fdea5101181".to_owned()),
            parent: Some("86b26bf0-d1ec-0b4f-a71e-6f6c247d4a4f".to_owned()),
            created: at("2026-11-22T11:49:32Z"),
            read_only: true,
        };
        assert_eq!(shown(text), expected);
        let plain = text.replace("86b26bf0-d1ec-0b4f-a71e-6f6c247d4a4f", "-").replace("readonly", "-");
        assert_eq!(shown(&plain), Subvolume { parent: None, read_only: false, ..expected });
    }

    /// What btrfs-progs 6.2 wrote when it was asked for a subvolume in which one of them lies.
    #[test]
    fn what_is_listed_is_read() {
        let text = "ID 258 gen 7 cgen 7 top level 5 otime 2026-11-22 11:49:32 parent_uuid 86b26bf0-d1ec-0b4f-a71e-6f6c247d4a4f uuid 992d1226-c801-4e43-a3f5-5fdea5101181 path <FS_TREE>/.snapshots/a path b\n\
            ID 260 gen 9 cgen 9 top level 256 otime 2026-11-22 11:49:32 parent_uuid -                                    uuid 0703af9c-cdbd-d943-baa5-e5674580c9cf path photos/inner\n";
        let expected = |parent: &str, uuid: &str, generation, path: &str| Listed {
            uuid: uuid.to_owned(),
            parent: parent.to_owned(),
            created: at("2026-11-22T11:49:32Z"),
            generation,
            path: path.to_owned(),
        };
        let parent = "86b26bf0-d1ec-0b4f-a71e-6f6c247d4a4f";
        assert_eq!(
            listed(text),
            [
                expected(parent, "992d1226-c801-4e43-a3f5-5fdea5101181", 7, ".snapshots/a path b"),
                expected("-", "0703af9c-cdbd-d943-baa5-e5674580c9cf", 9, "photos/inner"),
            ]
        );
    }

    #[test]
    fn paths_are_those_that_somebody_sees() {
        let mount = |path: &str, root: &str, device: &str| Mounted {
            path: path.into(),
            device: device.to_owned(),
            fs_type: "btrfs".to_owned(),
            root: root.into(),
            number: String::new(),
        };
        let all = [
            mount("/", "/@", "/dev/sda"),
            mount("/srv", "/photos", "/dev/sda"),
            mount("/snap", "/.snapshots", "/dev/sda"),
            mount("/mnt", "/", "/dev/sda"),
            mount("/mnt/hidden", "/", "/dev/sdb"),
        ];
        let seen = |first: usize, inner: &str| {
            let path = seen_at(&all, &[&all[first], &all[1]], Path::new(inner));
            path.map(|it| it.to_str().unwrap().to_owned())
        };
        for (first, inner, expected) in [
            (1, "photos/inner", Some("/srv/inner")),
            (1, "photos", Some("/srv")),
            (1, ".snapshots/a b", Some("/snap/a b")),
            (3, ".snapshots/a b", Some("/mnt/.snapshots/a b")),
            (1, "@/x", Some("/x")),
            (1, "photographs/x", Some("/mnt/photographs/x")),
            (1, "hidden/x", None),
        ] {
            assert_eq!(seen(first, inner).as_deref(), expected, "{inner}");
        }
        assert_eq!(seen_at(&all[1..3], &[&all[1]], Path::new("elsewhere")), None);
    }
}
