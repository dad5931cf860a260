//! A file system in memory that can be full, closed, or pulled from the wall; it passes the same cases as the live
//! adapter.

mod disk;

use std::ffi::OsString;
use std::io::{self, Cursor, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use hob_model::Timestamp;

use crate::port::{FilesPort, Meta, Sink, Source};
use disk::Disk;

/// Users and groups that the fake knows, with their numbers.
const ACCOUNTS: [(&str, u32); 3] = [("root", 0), ("daemon", 1), ("nobody", 65_534)];

/// Files in memory. Cheap to clone; clones share the files.
#[derive(Clone, Debug)]
pub struct Fake(Arc<Mutex<Disk>>);

impl Default for Fake {
    fn default() -> Self {
        Self::new()
    }
}

impl Fake {
    /// An empty root directory.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(Disk::new())))
    }

    /// Makes a directory and those above it.
    ///
    /// # Panics
    /// When something else is in the way.
    #[must_use]
    pub fn with_dir(self, path: &Path) -> Self {
        let above: Vec<&Path> = path.ancestors().collect();
        for dir in above.into_iter().rev().skip(1) {
            match self.disk().create_dir(dir, 0o755) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    panic!("{}: {error}", dir.display())
                }
                _ => {}
            }
        }
        self
    }

    /// Leaves room for this many more bytes; `None` for any number.
    pub fn set_free_bytes(&self, free: Option<u64>) {
        self.disk().free_bytes = free;
    }

    /// Mounts it read-only, or not.
    pub fn set_read_only(&self, read_only: bool) {
        self.disk().read_only = read_only;
    }

    /// Refuses everything at and below a path from now on.
    pub fn deny(&self, path: &Path) {
        self.disk().denied.push(path.to_path_buf());
    }

    /// Puts another file system at a directory.
    ///
    /// # Panics
    /// When there is no such directory.
    pub fn mount(&self, path: &Path) {
        self.disk().mount(path).expect("a file system is mounted on a directory");
    }

    /// Pulls the plug at the n-th step from now that changes something (0 for the next). A write of which this is the
    /// step is torn in the middle; from then on every call fails until [`Fake::restart`].
    pub fn crash_in(&self, steps: u64) {
        self.disk().crash_in = Some(steps);
    }

    /// Starts again after a crash, as another process.
    pub fn restart(&self) {
        let mut disk = self.disk();
        disk.crash_in = None;
        disk.is_down = false;
        disk.instance += 1;
    }

    /// Whether the plug was pulled.
    #[must_use]
    pub fn is_down(&self) -> bool {
        self.disk().is_down
    }

    /// All paths, for comparing: what is there, and nothing besides.
    #[must_use]
    pub fn paths(&self) -> Vec<PathBuf> {
        self.disk().paths()
    }

    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().expect("no code panics while holding this lock")
    }
}

/// An open new file.
struct FakeSink {
    disk: Fake,
    inode: u64,
    position: u64,
}

impl Write for FakeSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.disk.disk().write_at(self.inode, self.position, bytes)?;
        self.position += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for FakeSink {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let size = self.disk.disk().size(self.inode);
        let from = |base: u64, by: i64| base.checked_add_signed(by).ok_or(io::ErrorKind::InvalidInput);
        self.position = match to {
            SeekFrom::Start(at) => at,
            SeekFrom::End(by) => from(size, by)?,
            SeekFrom::Current(by) => from(self.position, by)?,
        };
        Ok(self.position)
    }
}

// A zip archive is read back while it is written in some modes of its writer.
impl Read for FakeSink {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut rest = Cursor::new(self.disk.disk().content(self.inode));
        rest.set_position(self.position);
        let count = rest.read(buffer)?;
        self.position += count as u64;
        Ok(count)
    }
}

impl Sink for FakeSink {
    fn sync(&mut self) -> io::Result<()> {
        self.disk.disk().step(None)
    }
}

impl FilesPort for Fake {
    fn stat(&self, path: &Path, follow: bool) -> io::Result<Meta> {
        self.disk().stat(path, follow)
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Source>> {
        Ok(Box::new(Cursor::new(self.disk().read(path)?)))
    }

    fn create(&self, path: &Path, mode: u32) -> io::Result<Box<dyn Sink>> {
        let inode = self.disk().create(path, mode)?;
        Ok(Box::new(FakeSink { disk: self.clone(), inode, position: 0 }))
    }

    fn append(&self, path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
        let mut disk = self.disk();
        let inode = match disk.lookup(path, true) {
            Ok(inode) => inode,
            Err(error) if error.kind() == io::ErrorKind::NotFound => disk.create(path, mode)?,
            Err(error) => return Err(error),
        };
        let begun = disk.size(inode);
        let mut written = 0;
        while written < content.len() {
            match disk.write_at(inode, begun + written as u64, &content[written..]) {
                Ok(count) => written += count,
                Err(error) => {
                    if !disk.is_down {
                        disk.truncate(inode, begun);
                    }
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn copy(&self, from: &Path, to: &Path, told: &mut dyn FnMut(u64) -> bool) -> io::Result<()> {
        let content = self.disk().read(from)?;
        self.create(to, 0o600)?.write_all(&content)?;
        match told(content.len() as u64) {
            true => Ok(()),
            false => Err(io::ErrorKind::Interrupted.into()),
        }
    }

    fn rename(&self, from: &Path, to: &Path, replace: bool) -> io::Result<()> {
        self.disk().rename(from, to, replace)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.disk().hard_link(from, to)
    }

    fn symlink(&self, target: &Path, path: &Path) -> io::Result<()> {
        self.disk().symlink(target, path)
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.disk().read_link(path)
    }

    fn create_dir(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.disk().create_dir(path, mode)
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<OsString>> {
        self.disk().read_dir(path)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk().remove(path, false)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.disk().remove(path, true)
    }

    fn remove_tree(&self, path: &Path) -> io::Result<()> {
        for name in self.read_dir(path)? {
            let inner = path.join(name);
            match self.read_dir(&inner) {
                Ok(_) if self.stat(&inner, false)?.kind == crate::port::Kind::Directory => {
                    self.remove_tree(&inner)?
                }
                _ => self.remove_file(&inner)?,
            }
        }
        self.remove_dir(path)
    }

    fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.disk().change(path, true, |node| node.mode = mode)
    }

    fn set_owner(&self, path: &Path, uid: Option<u32>, gid: Option<u32>) -> io::Result<()> {
        self.disk().change(path, false, |node| {
            node.uid = uid.unwrap_or(node.uid);
            node.gid = gid.unwrap_or(node.gid);
        })
    }

    fn set_modified(&self, path: &Path, modified: Timestamp) -> io::Result<()> {
        self.disk().change(path, false, |node| node.modified = modified)
    }

    fn sync_dir(&self, _path: &Path) -> io::Result<()> {
        self.disk().step(None)
    }

    fn sync_all(&self, _path: &Path) -> io::Result<()> {
        self.disk().step(None)
    }

    fn user_id(&self, name: &str) -> io::Result<Option<u32>> {
        Ok(ACCOUNTS.iter().find(|(known, _)| *known == name).map(|(_, id)| *id))
    }

    fn group_id(&self, name: &str) -> io::Result<Option<u32>> {
        self.user_id(name)
    }

    fn user_name(&self, uid: u32) -> Option<String> {
        ACCOUNTS.iter().find(|(_, id)| *id == uid).map(|(name, _)| (*name).to_owned())
    }

    fn group_name(&self, gid: u32) -> Option<String> {
        self.user_name(gid)
    }

    fn instance(&self) -> String {
        format!("fake {}", self.disk().instance)
    }
}
