//! Directories of this machine.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use nix::unistd::{Group, User};
use rustix::fs::{Gid, Mode, Uid, XattrFlags, fchmod, fchown, fgetxattr, fremovexattr, fsetxattr, fstat};
use rustix::io::Errno;

use super::Live;
use crate::acl::DEFAULT_ACL;
use crate::directories::{Directories, Standing};
use crate::live::file::{ATTRIBUTE_BYTES_MAX, PERMISSION_BITS};

fn open(path: &Path) -> io::Result<File> {
    use rustix::fs::OFlags;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?.into())
}

fn default_acl(dir: &File) -> io::Result<Option<Vec<u8>>> {
    let mut value = vec![0; ATTRIBUTE_BYTES_MAX];
    match fgetxattr(dir, DEFAULT_ACL, value.as_mut_slice()) {
        Ok(length) => Ok(Some(value[..length].to_vec())),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

impl Directories for Live {
    fn standing(&self, path: &Path) -> io::Result<Option<Standing>> {
        let dir = match open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let stat = fstat(&dir)?;
        Ok(Some(Standing {
            mode: stat.st_mode & PERMISSION_BITS,
            uid: stat.st_uid,
            gid: stat.st_gid,
            default_acl: default_acl(&dir)?,
        }))
    }

    fn make(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn set(&self, path: &Path, to: &Standing) -> io::Result<()> {
        let dir = open(path)?;
        let stat = fstat(&dir)?;
        if (stat.st_uid, stat.st_gid) != (to.uid, to.gid) {
            fchown(&dir, Some(Uid::from_raw(to.uid)), Some(Gid::from_raw(to.gid)))?;
        }
        // After the owner: a change of owner clears some bits.
        fchmod(&dir, Mode::from_raw_mode(to.mode))?;
        match &to.default_acl {
            acl if *acl == default_acl(&dir)? => {}
            Some(acl) => fsetxattr(&dir, DEFAULT_ACL, acl, XattrFlags::empty())?,
            None => fremovexattr(&dir, DEFAULT_ACL)?,
        }
        Ok(())
    }

    fn links(&self, one: &Path, other: &Path, name: &str) -> io::Result<bool> {
        let (one, other) = (one.join(name), other.join(name));
        File::create(&one)?;
        let _ = fs::remove_file(&other); // what a crash left
        let linked = fs::hard_link(&one, &other);
        let removed = fs::remove_file(&one);
        match linked {
            Ok(()) => fs::remove_file(&other).and(removed).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => removed.map(|()| false),
            // What a file system says that has no hard links (`link(2)`).
            Err(error) if matches!(Errno::from_io_error(&error), Some(Errno::PERM | Errno::OPNOTSUPP)) => {
                removed.map(|()| false)
            }
            Err(error) => Err(error),
        }
    }

    fn id(&self, is_user: bool, name: &str) -> io::Result<Option<u32>> {
        Ok(match is_user {
            true => User::from_name(name)?.map(|user| user.uid.as_raw()),
            false => Group::from_name(name)?.map(|group| group.gid.as_raw()),
        })
    }
}
