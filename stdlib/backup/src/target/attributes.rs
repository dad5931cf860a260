//! Owner, mode, times and attributes of what was restored.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Mutex;

use hob_model::{OpError, Timestamp};
use rustic_core::repofile::Node;
use rustix::fs::{AtFlags, CWD, Gid, Timespec, Timestamps, Uid, XattrFlags, chownat, lsetxattr, utimensat};

use super::Troubles;
use crate::source::node::permissions;

/// Sets what a snapshot keeps of an entry beside its content. What cannot be set is told, and no failure: the content is there.
pub(super) fn set_attributes(
    path: &Path,
    told_as: &Path,
    node: &Node,
    owners: bool,
    troubles: &Mutex<Troubles>,
) {
    let note = |what: &str, result: io::Result<()>| {
        if let Err(error) = result {
            let reason = OpError::io(&error, format!("{what} not kept")).message;
            troubles.lock().expect("no code panics while holding this lock").kept_not(told_as, reason);
        }
    };
    let meta = &node.meta;
    if owners && (meta.uid.is_some() || meta.gid.is_some()) {
        let (uid, gid) = (meta.uid.map(Uid::from_raw), meta.gid.map(Gid::from_raw));
        let set = chownat(CWD, path, uid, gid, AtFlags::SYMLINK_NOFOLLOW);
        note("owner", set.map_err(io::Error::from));
    }
    for attribute in &meta.extended_attributes {
        let value = attribute.value.as_deref().unwrap_or_default();
        let set = lsetxattr(path, attribute.name.as_str(), value, XattrFlags::empty());
        note(&format!("attribute {}", attribute.name), set.map_err(io::Error::from));
    }
    // After the owner, since changing that takes the bits of set-user-ID away. Links have no mode.
    if let Some(mode) = meta.mode.filter(|_| !node.is_symlink()) {
        note("mode", fs::set_permissions(path, fs::Permissions::from_mode(permissions(mode))));
    }
    if let Some(modified) = meta.mtime {
        let times = Timestamps {
            last_access: timespec(meta.atime.unwrap_or(modified)),
            last_modification: timespec(modified),
        };
        note("times", utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).map_err(io::Error::from));
    }
}

fn timespec(time: Timestamp) -> Timespec {
    // Times before 1970 have a negative fraction here, and a positive one there.
    let (seconds, nanos) = (time.as_second(), i64::from(time.subsec_nanosecond()));
    match nanos {
        ..0 => Timespec { tv_sec: seconds - 1, tv_nsec: nanos + 1_000_000_000 },
        _ => Timespec { tv_sec: seconds, tv_nsec: nanos },
    }
}
