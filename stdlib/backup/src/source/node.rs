//! Entries of a file system, as repositories describe them.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::Metadata as Stat;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use hob_model::Timestamp;
use nix::unistd::{Gid, Group, Uid, User};
use rustic_core::repofile::{Metadata, Node, NodeType};
use rustix::fs::{lgetxattr, llistxattr};
use rustix::io::Errno;

/// The largest attribute, and list of their names, in bytes (`XATTR_SIZE_MAX` of Linux).
const ATTRIBUTE_BYTES_MAX: usize = 64 << 10;

/// How Go writes what POSIX puts beside the permissions (`io/fs#FileMode`), which restic stores.
const GO_TYPES: [(u32, u32); 6] = [
    (0o140_000, 1 << 24),               // a socket
    (0o120_000, 1 << 27),               // a symbolic link
    (0o060_000, 1 << 26),               // a block device
    (0o040_000, 1 << 31),               // a directory
    (0o020_000, (1 << 26) | (1 << 21)), // a character device
    (0o010_000, 1 << 25),               // a pipe
];

/// The bits of set-user-ID, set-group-ID and sticky, for POSIX and for Go.
const GO_BITS: [(u32, u32); 3] = [(0o4000, 1 << 23), (0o2000, 1 << 22), (0o1000, 1 << 20)];

fn to_go(mode: u32) -> u32 {
    let kind = GO_TYPES.iter().find(|(posix, _)| mode & 0o170_000 == *posix).map_or(0, |(_, go)| *go);
    GO_BITS.iter().filter(|(posix, _)| mode & posix != 0).fold(mode & 0o777 | kind, |all, (_, go)| all | go)
}

/// The permissions of POSIX in a mode of Go.
pub(crate) fn permissions(go: u32) -> u32 {
    GO_BITS.iter().filter(|(_, bit)| go & bit != 0).fold(go & 0o777, |all, (posix, _)| all | posix)
}

/// Names of users and groups, each asked for once.
#[derive(Debug, Default)]
pub(super) struct Names {
    users: HashMap<u32, Option<String>>,
    groups: HashMap<u32, Option<String>>,
}

impl Names {
    fn user(&mut self, uid: u32) -> Option<String> {
        let ask = || User::from_uid(Uid::from_raw(uid)).ok().flatten().map(|user| user.name);
        self.users.entry(uid).or_insert_with(ask).clone()
    }

    fn group(&mut self, gid: u32) -> Option<String> {
        let ask = || Group::from_gid(Gid::from_raw(gid)).ok().flatten().map(|group| group.name);
        self.groups.entry(gid).or_insert_with(ask).clone()
    }
}

fn time(seconds: i64, nanos: i64) -> Option<Timestamp> {
    Timestamp::new(seconds, i32::try_from(nanos).ok()?).ok()
}

/// The attributes of an entry, as name and value; none where the file system has none.
///
/// # Errors
/// When they cannot be read.
pub(crate) fn attributes(path: &Path) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
    let mut names = vec![0; ATTRIBUTE_BYTES_MAX];
    let length = match llistxattr(path, &mut names[..]) {
        Err(Errno::NOTSUP) => return Ok(Vec::new()),
        other => other?,
    };
    let mut found = Vec::new();
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; ATTRIBUTE_BYTES_MAX];
        match lgetxattr(path, OsStr::from_bytes(name), &mut value[..]) {
            // Removed meanwhile.
            Err(Errno::NODATA) => {}
            Err(error) => return Err(error.into()),
            Ok(length) => {
                value.truncate(length);
                found.push((name.to_vec(), value));
            }
        }
    }
    Ok(found)
}

/// What repositories keep of an entry, without content.
///
/// # Errors
/// When a link or attributes cannot be read.
pub(super) fn node(path: &Path, stat: &Stat, names: &mut Names) -> io::Result<Node> {
    let kind = stat.file_type();
    let node_type = match () {
        () if kind.is_dir() => NodeType::Dir,
        () if kind.is_symlink() => NodeType::from_link(&std::fs::read_link(path)?),
        () if kind.is_block_device() => NodeType::Dev { device: stat.rdev() },
        () if kind.is_char_device() => NodeType::Chardev { device: stat.rdev() },
        () if kind.is_fifo() => NodeType::Fifo,
        () if kind.is_socket() => NodeType::Socket,
        () => NodeType::File,
    };
    let mut meta = Metadata {
        mode: Some(to_go(stat.mode())),
        mtime: time(stat.mtime(), stat.mtime_nsec()),
        // The time of access changes with each backup: keeping it would make each tree a new one.
        atime: time(stat.mtime(), stat.mtime_nsec()),
        ctime: time(stat.ctime(), stat.ctime_nsec()),
        uid: Some(stat.uid()),
        gid: Some(stat.gid()),
        user: names.user(stat.uid()),
        group: names.group(stat.gid()),
        inode: stat.ino(),
        size: if kind.is_file() { stat.len() } else { 0 },
        links: if kind.is_dir() { 0 } else { stat.nlink() },
        ..Metadata::default()
    };
    if stat.nlink() > 1 && !kind.is_dir() {
        meta.device_id = stat.dev();
    }
    let attributes = attributes(path)?.into_iter().map(|(name, value)| {
        // The type is not exported, its form is: that of restic.
        serde_json::from_value(serde_json::json!({
            "name": String::from_utf8_lossy(&name),
            "value": base64(&value),
        }))
        .expect("an attribute is a name and bytes")
    });
    meta.extended_attributes = attributes.collect();
    let name = path.file_name().unwrap_or_default();
    Ok(Node::new_node(name, node_type, meta))
}

/// Standard base64 (RFC 4648), with padding.
fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_those_of_go_and_back() {
        let cases = [
            (0o100_644, 0o644),
            (0o040_755, 0o755 | 1 << 31),
            (0o120_777, 0o777 | 1 << 27),
            (0o104_755, 0o755 | 1 << 23),
            (0o042_775, 0o775 | 1 << 31 | 1 << 22),
            (0o041_777, 0o777 | 1 << 31 | 1 << 20),
            (0o060_660, 0o660 | 1 << 26),
            (0o020_620, 0o620 | 1 << 26 | 1 << 21),
            (0o010_600, 0o600 | 1 << 25),
            (0o140_755, 0o755 | 1 << 24),
        ];
        for (posix, go) in cases {
            assert_eq!(to_go(posix), go, "{posix:o}");
            assert_eq!(permissions(go), posix & 0o7777, "{posix:o}");
        }
    }
}
