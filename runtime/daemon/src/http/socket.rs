//! The Unix socket in the state directory.
#![allow(clippy::disallowed_methods)] // the socket's file is this module's whole business

use std::fs;
use std::io::{Error, ErrorKind};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use hob_model::{Code, Diagnostic};
use rustix::fs::{Mode, OFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// The longest path that fits an address of a Unix socket, in bytes (`sun_path` of unix(7), less its end).
const SUN_PATH_BYTES_MAX: usize = 107;
/// Connections that the kernel keeps until they are accepted.
const BACKLOG: i32 = 128;

/// A path for the socket that fits its address: a long one goes through the open directory.
pub(crate) struct Address {
    pub(crate) path: PathBuf,
    _directory: Option<OwnedFd>,
}

impl Address {
    pub(crate) fn of(path: &Path) -> std::io::Result<Self> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Error::new(ErrorKind::InvalidInput, "the path of the socket names no file"));
        };
        if path.as_os_str().len() <= SUN_PATH_BYTES_MAX {
            return Ok(Self { path: path.to_owned(), _directory: None });
        }
        let directory =
            rustix::fs::open(parent, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let through = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
        Ok(Self { path: through, _directory: Some(directory) })
    }
}

/// A bound socket. Its file is removed in the end if it is still this one.
pub(crate) struct Bound {
    path: PathBuf,
    inode: u64,
}

impl Drop for Bound {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|found| found.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Binds the socket at `path`, open to this user only, in place of one that nobody answers.
///
/// # Errors
/// When somebody answers there, something else stands there, or the system refuses.
pub(crate) fn bind(path: &Path) -> Result<(UnixListener, Bound), Diagnostic> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            let text = format!("{} is in the way: it is no socket", path.display());
            return Err(Diagnostic::error(Code::StateUnusable, text).hint("move it away"));
        }
        Ok(_) if Address::of(path).and_then(|address| UnixStream::connect(&address.path)).is_ok() => {
            let text = format!("another hob answers on {}", path.display());
            return Err(Diagnostic::error(Code::StateLocked, text)
                .hint("end that process, or use another directory with --state"));
        }
        _ => {}
    }
    bind_new(path).map_err(|error| {
        let text = format!("the socket {} cannot be made: {error}", path.display());
        Diagnostic::error(Code::StateUnusable, text)
            .hint("check the owner and the mode of the state directory, and its free space")
    })
}

/// Binds beside `path` and moves the socket there, so that whoever finds it finds it ready.
fn bind_new(path: &Path) -> std::io::Result<(UnixListener, Bound)> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let beside = path.with_file_name(name);
    let _ = fs::remove_file(&beside);
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    // Linux gives the file of a socket the mode of the socket: nobody else can ever connect, and no umask is touched.
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(&Address::of(&beside)?.path)?)?;
    let finish = || {
        rustix::net::listen(&socket, BACKLOG)?;
        let inode = fs::symlink_metadata(&beside)?.ino();
        fs::rename(&beside, path)?;
        Ok(inode)
    };
    let inode = finish().inspect_err(|_: &Error| drop(fs::remove_file(&beside)))?;
    Ok((UnixListener::from(socket), Bound { path: path.to_owned(), inode }))
}
