//! Whether the file systems that are mounted are those that were declared.

use std::path::PathBuf;

use crate::declaration::Mount;

/// A file system that is mounted, as the kernel tells (`proc_pid_mountinfo(5)`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mounted {
    /// Where.
    pub path: PathBuf,
    /// What: the path of a device without links, `server:/export`, `//server/share`, or any word.
    pub device: String,
    /// Its type: `ext4`, `nfs4`, `fuse.mergerfs`.
    pub fs_type: String,
    /// Which directory of it is there: `/`, unless a subvolume or another directory was mounted.
    pub root: PathBuf,
    /// The number of the device that its files have, `major:minor`: another one for each that somebody still has open.
    pub number: String,
}

/// How a declared file system stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountState {
    /// It is mounted.
    There,
    /// It is mounted when somebody comes there.
    Automatic,
    /// It is not; for people: what is there instead.
    Missing(String),
    /// It is mounted, but its server or program does not know it any more: it must be mounted anew. For people, why.
    Stale(String),
    /// It is mounted, but who asks it gets no answer. For people, why.
    Unresponsive(String),
}

impl MountState {
    /// As `hob status` tells it.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::There => "ready",
            Self::Automatic => "automatic",
            Self::Missing(_) => "missing",
            Self::Stale(_) => "stale",
            Self::Unresponsive(_) => "unresponsive",
        }
    }

    /// Why nobody can use it.
    #[must_use]
    pub fn problem(&self) -> Option<&str> {
        match self {
            Self::There | Self::Automatic => None,
            Self::Missing(why) | Self::Stale(why) | Self::Unresponsive(why) => Some(why),
        }
    }
}

/// The type of what systemd, or `autofs(5)`, mounts where a file system is mounted when somebody comes there.
pub const AUTOMOUNT: &str = "autofs";

/// Types that are one to people.
const ALIKE: [&[&str]; 2] = [&["nfs", "nfs4"], &["cifs", "smb", "smb3", "smbfs"]];

impl Mount {
    /// How it stands, given what is mounted, in the kernel's order, and the device that [`Mount::device`] stands for.
    #[must_use]
    pub fn state(&self, mounted: &[Mounted], device: Option<&str>) -> MountState {
        // What was mounted last hides what was mounted there before.
        let Some(found) = mounted.iter().rev().find(|it| it.path == self.path) else {
            return MountState::Missing(format!("nothing is mounted at {}", self.path.display()));
        };
        if found.fs_type == AUTOMOUNT {
            return MountState::Automatic;
        }
        let same_device = device.is_none_or(|device| is_same_device(device, &found.device));
        let same_type = self.fs_type.as_deref().is_none_or(|wanted| is_same_type(wanted, &found.fs_type));
        if same_device && same_type {
            return MountState::There;
        }
        let wanted = match (self.device.as_deref().filter(|_| !same_device), self.fs_type.as_deref()) {
            (Some(device), _) => device,
            (None, Some(fs_type)) => fs_type,
            (None, None) => "another one",
        };
        let (path, device, fs_type) = (self.path.display(), &found.device, &found.fs_type);
        MountState::Missing(format!("{device} ({fs_type}) is mounted at {path}, and not {wanted}"))
    }
}

fn is_same_device(wanted: &str, found: &str) -> bool {
    let plain = |device: &str| device.trim_end_matches('/').to_owned();
    plain(wanted) == plain(found)
}

fn is_same_type(wanted: &str, found: &str) -> bool {
    let alike = ALIKE.iter().any(|group| group.contains(&wanted) && group.contains(&found));
    // Programs of FUSE need not tell the kernel what they are.
    let unnamed = found == "fuse" && wanted.starts_with("fuse.");
    wanted == found || alike || unnamed || found.strip_prefix("fuse.") == Some(wanted)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn mount(device: Option<&str>, fs_type: Option<&str>) -> Mount {
        Mount {
            name: "media".to_owned(),
            path: "/mnt/media".into(),
            device: device.map(str::to_owned),
            fs_type: fs_type.map(str::to_owned),
            timeout: Duration::ZERO,
            patience: Duration::ZERO,
            source: hob_model::Source::default(),
        }
    }

    fn mounted(path: &str, device: &str, fs_type: &str) -> Mounted {
        Mounted {
            path: path.into(),
            device: device.to_owned(),
            fs_type: fs_type.to_owned(),
            root: "/".into(),
            number: String::new(),
        }
    }

    #[test]
    fn a_file_system_is_the_declared_one_or_it_is_missing() {
        let missing = |text: &str| MountState::Missing(text.to_owned());
        let root = mounted("/", "/dev/sda1", "ext4");
        let disk = mounted("/mnt/media", "/dev/sdb1", "ext4");
        let nothing = missing("nothing is mounted at /mnt/media");
        let other =
            |wanted: &str| missing(&format!("/dev/sdb1 (ext4) is mounted at /mnt/media, and not {wanted}"));
        let cases = [
            (mount(None, None), vec![root.clone()], nothing.clone()),
            (mount(None, None), vec![mounted("/mnt", "/dev/sdb1", "ext4")], nothing),
            (mount(None, None), vec![root.clone(), disk.clone()], MountState::There),
            (mount(Some("/dev/sdb1"), Some("ext4")), vec![disk.clone()], MountState::There),
            (mount(Some("/dev/sdc1"), None), vec![disk.clone()], other("/dev/sdc1")),
            (mount(None, Some("btrfs")), vec![disk.clone()], other("btrfs")),
            // The last one hides those below.
            (
                mount(Some("/dev/sdb1"), None),
                vec![disk.clone(), mounted("/mnt/media", "tmpfs", "tmpfs")],
                missing("tmpfs (tmpfs) is mounted at /mnt/media, and not /dev/sdb1"),
            ),
            (mount(None, None), vec![mounted("/mnt/media", "systemd-1", "autofs")], MountState::Automatic),
            (
                mount(Some("nas:/tank/media/"), Some("nfs")),
                vec![mounted("/mnt/media", "nas:/tank/media", "nfs4")],
                MountState::There,
            ),
            (
                mount(None, Some("mergerfs")),
                vec![mounted("/mnt/media", "a:b", "fuse.mergerfs")],
                MountState::There,
            ),
            (
                mount(None, Some("fuse.bindfs")),
                vec![mounted("/mnt/media", "/srv", "fuse")],
                MountState::There,
            ),
        ];
        for (mount, mounted, expected) in cases {
            assert_eq!(mount.state(&mounted, mount.device.as_deref()), expected, "{mount:?}");
        }
    }
}
