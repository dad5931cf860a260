//! The file system itself: numbered nodes, names in directories, and what can go wrong.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Component, Path, PathBuf};

use hob_model::Timestamp;
use rustix::io::Errno;

use crate::port::{Kind, Meta};

const ROOT: u64 = 1;

/// As in Linux.
const LINKS_MAX: u32 = 40;

/// The umask of the fake's process.
const UMASK: u32 = 0o022;

#[derive(Debug)]
enum Body {
    File(Vec<u8>),
    Directory(BTreeMap<OsString, u64>),
    Symlink(PathBuf),
}

#[derive(Debug)]
pub(super) struct Node {
    body: Body,
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) modified: Timestamp,
    device: u64,
    links: u64,
}

#[derive(Debug)]
pub(super) struct Disk {
    nodes: BTreeMap<u64, Node>,
    next_inode: u64,
    next_device: u64,
    /// Seconds since the epoch; each change is one later.
    now: i64,
    pub(super) free_bytes: Option<u64>,
    pub(super) read_only: bool,
    pub(super) denied: Vec<PathBuf>,
    pub(super) crash_in: Option<u64>,
    pub(super) is_down: bool,
    pub(super) instance: u64,
}

fn fail<T>(errno: Errno) -> io::Result<T> {
    Err(errno.into())
}

impl Disk {
    pub(super) fn new() -> Self {
        let mut disk = Self {
            nodes: BTreeMap::new(),
            next_inode: ROOT,
            next_device: 1,
            now: 1_767_225_600, // 2026-01-01
            free_bytes: None,
            read_only: false,
            denied: Vec::new(),
            crash_in: None,
            is_down: false,
            instance: 1,
        };
        disk.add(Body::Directory(BTreeMap::new()), 0o755, 1);
        disk
    }

    fn add(&mut self, body: Body, mode: u32, device: u64) -> u64 {
        let inode = self.next_inode;
        self.next_inode += 1;
        let modified = self.tick();
        let node = Node { body, mode, uid: 0, gid: 0, modified, device, links: 1 };
        self.nodes.insert(inode, node);
        inode
    }

    fn tick(&mut self) -> Timestamp {
        self.now += 1;
        Timestamp::from_second(self.now).expect("a test is over before the year 9999")
    }

    /// One step that changes something at `path`.
    pub(super) fn step(&mut self, path: Option<&Path>) -> io::Result<()> {
        self.check(path)?;
        match &mut self.crash_in {
            Some(0) => {
                self.is_down = true;
                return fail(Errno::IO);
            }
            Some(steps) => *steps -= 1,
            None => {}
        }
        if self.read_only { fail(Errno::ROFS) } else { Ok(()) }
    }

    fn check(&self, path: Option<&Path>) -> io::Result<()> {
        if self.is_down {
            return fail(Errno::IO);
        }
        match path {
            Some(path) if self.denied.iter().any(|denied| path.starts_with(denied)) => fail(Errno::ACCESS),
            _ => Ok(()),
        }
    }

    fn node(&self, inode: u64) -> &Node {
        self.nodes.get(&inode).expect("a name leads to a node")
    }

    fn node_mut(&mut self, inode: u64) -> &mut Node {
        self.nodes.get_mut(&inode).expect("a name leads to a node")
    }

    fn names(&self, inode: u64) -> io::Result<&BTreeMap<OsString, u64>> {
        match &self.node(inode).body {
            Body::Directory(names) => Ok(names),
            _ => fail(Errno::NOTDIR),
        }
    }

    fn names_mut(&mut self, inode: u64) -> io::Result<&mut BTreeMap<OsString, u64>> {
        match &mut self.node_mut(inode).body {
            Body::Directory(names) => Ok(names),
            _ => fail(Errno::NOTDIR),
        }
    }

    /// The node that a path names.
    pub(super) fn lookup(&self, path: &Path, follow: bool) -> io::Result<u64> {
        self.check(Some(path))?;
        self.resolve(path, follow, &mut 0)
    }

    fn resolve(&self, path: &Path, follow: bool, links: &mut u32) -> io::Result<u64> {
        let mut trail = vec![ROOT];
        let mut dir = PathBuf::from("/");
        let parts: Vec<Component<'_>> = path.components().collect();
        for (at, part) in parts.iter().enumerate() {
            let inode = *trail.last().expect("the root stays");
            let name = match part {
                Component::RootDir | Component::CurDir | Component::Prefix(_) => continue,
                Component::ParentDir => {
                    trail.truncate((trail.len() - 1).max(1));
                    dir.pop();
                    continue;
                }
                Component::Normal(name) => name,
            };
            if name.len() > 255 {
                return fail(Errno::NAMETOOLONG);
            }
            let found = *self.names(inode)?.get(*name).ok_or(Errno::NOENT)?;
            let is_last = at + 1 == parts.len();
            if let (Body::Symlink(target), false) = (&self.node(found).body, is_last && !follow) {
                *links += 1;
                if *links > LINKS_MAX {
                    return fail(Errno::LOOP);
                }
                let rest: PathBuf = parts[at + 1..].iter().collect();
                return self.resolve(&dir.join(target).join(rest), follow, links);
            }
            trail.push(found);
            dir.push(name);
        }
        Ok(*trail.last().expect("the root stays"))
    }

    /// The directory that a path lies in, and its name there.
    fn place<'a>(&self, path: &'a Path) -> io::Result<(u64, &'a OsStr)> {
        let name = path.file_name().ok_or(Errno::BUSY)?;
        let dir = self.lookup(path.parent().unwrap_or(Path::new("/")), true)?;
        self.names(dir)?;
        if name.len() > 255 {
            return fail(Errno::NAMETOOLONG);
        }
        Ok((dir, name))
    }

    fn link_new(&mut self, path: &Path, body: Body, mode: u32) -> io::Result<u64> {
        self.step(Some(path))?;
        let (dir, name) = self.place(path)?;
        if self.names(dir)?.contains_key(name) {
            return fail(Errno::EXIST);
        }
        let device = self.node(dir).device;
        let inode = self.add(body, mode, device);
        self.names_mut(dir)?.insert(name.to_owned(), inode);
        self.node_mut(dir).modified = self.tick();
        Ok(inode)
    }

    pub(super) fn stat(&self, path: &Path, follow: bool) -> io::Result<Meta> {
        let inode = self.lookup(path, follow)?;
        let node = self.node(inode);
        let (kind, size) = match &node.body {
            Body::File(content) => (Kind::File, content.len()),
            Body::Directory(names) => (Kind::Directory, names.len()),
            Body::Symlink(target) => (Kind::Symlink, target.as_os_str().len()),
        };
        Ok(Meta {
            kind,
            size: size as u64,
            mode: node.mode,
            uid: node.uid,
            gid: node.gid,
            modified: node.modified,
            device: node.device,
            inode,
            links: node.links,
        })
    }

    pub(super) fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        match &self.node(self.lookup(path, true)?).body {
            Body::File(content) => Ok(content.clone()),
            _ => fail(Errno::ISDIR),
        }
    }

    pub(super) fn content(&self, inode: u64) -> Vec<u8> {
        match &self.node(inode).body {
            Body::File(content) => content.clone(),
            _ => Vec::new(),
        }
    }

    pub(super) fn size(&self, inode: u64) -> u64 {
        match &self.node(inode).body {
            Body::File(content) => content.len() as u64,
            _ => 0,
        }
    }

    pub(super) fn truncate(&mut self, inode: u64, size: u64) {
        if let Body::File(content) = &mut self.node_mut(inode).body {
            let size = usize::try_from(size).unwrap_or(usize::MAX);
            let given_back = content.len().saturating_sub(size) as u64;
            content.truncate(size);
            self.free_bytes = self.free_bytes.map(|free| free + given_back);
        }
    }

    pub(super) fn write_at(&mut self, inode: u64, position: u64, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let was_down = self.is_down;
        let stepped = self.step(None);
        let torn = self.is_down && !was_down;
        let room = self.free_bytes.map_or(usize::MAX, |free| usize::try_from(free).unwrap_or(usize::MAX));
        let count = match (&stepped, torn) {
            (Ok(()), _) => bytes.len().min(room),
            (Err(_), true) => bytes.len() / 2,
            (Err(_), false) => 0,
        };
        let now = self.tick();
        let node = self.node_mut(inode);
        node.modified = now;
        let Body::File(content) = &mut node.body else {
            return fail(Errno::ISDIR);
        };
        let begin = usize::try_from(position).unwrap_or(usize::MAX);
        let grown = (begin + count).saturating_sub(content.len());
        content.resize(content.len() + grown, 0);
        content[begin..begin + count].copy_from_slice(&bytes[..count]);
        self.free_bytes = self.free_bytes.map(|free| free.saturating_sub(grown as u64));
        stepped?;
        if count == 0 { fail(Errno::NOSPC) } else { Ok(count) }
    }

    pub(super) fn create(&mut self, path: &Path, mode: u32) -> io::Result<u64> {
        self.link_new(path, Body::File(Vec::new()), mode & !UMASK)
    }

    pub(super) fn create_dir(&mut self, path: &Path, mode: u32) -> io::Result<()> {
        if path.file_name().is_none() {
            return fail(Errno::EXIST);
        }
        self.link_new(path, Body::Directory(BTreeMap::new()), mode & !UMASK).map(drop)
    }

    pub(super) fn symlink(&mut self, target: &Path, path: &Path) -> io::Result<()> {
        self.link_new(path, Body::Symlink(target.to_path_buf()), 0o777).map(drop)
    }

    pub(super) fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        match &self.node(self.lookup(path, false)?).body {
            Body::Symlink(target) => Ok(target.clone()),
            _ => fail(Errno::INVAL),
        }
    }

    pub(super) fn read_dir(&self, path: &Path) -> io::Result<Vec<OsString>> {
        let names = self.names(self.lookup(path, true)?)?;
        Ok(names.keys().rev().cloned().collect())
    }

    pub(super) fn hard_link(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.step(Some(to))?;
        let inode = self.lookup(from, false)?;
        let (dir, name) = self.place(to)?;
        if self.names(dir)?.contains_key(name) {
            return fail(Errno::EXIST);
        }
        self.names_mut(dir)?.insert(name.to_owned(), inode);
        self.node_mut(inode).links += 1;
        Ok(())
    }

    fn unlink(&mut self, dir: u64, name: &OsStr) -> io::Result<()> {
        let inode = self.names_mut(dir)?.remove(name).ok_or(Errno::NOENT)?;
        self.node_mut(dir).modified = self.tick();
        let node = self.node_mut(inode);
        node.links -= 1;
        if node.links == 0 {
            self.truncate(inode, 0);
            self.nodes.remove(&inode);
        }
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &Path, directory: bool) -> io::Result<()> {
        self.step(Some(path))?;
        let (dir, name) = self.place(path)?;
        let inode = self.lookup(path, false)?;
        match (&self.node(inode).body, directory) {
            (Body::Directory(_), false) => fail(Errno::ISDIR),
            (Body::Directory(names), true) if !names.is_empty() => fail(Errno::NOTEMPTY),
            (Body::File(_) | Body::Symlink(_), true) => fail(Errno::NOTDIR),
            _ => self.unlink(dir, name),
        }
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path, replace: bool) -> io::Result<()> {
        self.step(Some(from))?;
        self.check(Some(to))?;
        let inode = self.lookup(from, false)?;
        let ((from_dir, from_name), (to_dir, to_name)) = (self.place(from)?, self.place(to)?);
        let is_dir = |disk: &Self, inode| matches!(disk.node(inode).body, Body::Directory(_));
        if is_dir(self, inode) && to.starts_with(from) && to != from {
            return fail(Errno::INVAL);
        }
        if self.node(from_dir).device != self.node(to_dir).device {
            return fail(Errno::XDEV);
        }
        if let Some(there) = self.names(to_dir)?.get(to_name).copied() {
            match (is_dir(self, inode), &self.node(there).body) {
                _ if !replace => return fail(Errno::EXIST),
                _ if there == inode => return Ok(()),
                (false, Body::Directory(_)) => return fail(Errno::ISDIR),
                (true, Body::Directory(names)) if !names.is_empty() => return fail(Errno::NOTEMPTY),
                (true, Body::File(_) | Body::Symlink(_)) => return fail(Errno::NOTDIR),
                _ => self.unlink(to_dir, to_name)?,
            }
        }
        self.names_mut(from_dir)?.remove(from_name);
        self.names_mut(to_dir)?.insert(to_name.to_owned(), inode);
        Ok(())
    }

    pub(super) fn change(
        &mut self,
        path: &Path,
        follow: bool,
        change: impl FnOnce(&mut Node),
    ) -> io::Result<()> {
        self.step(Some(path))?;
        let inode = self.lookup(path, follow)?;
        change(self.node_mut(inode));
        Ok(())
    }

    pub(super) fn mount(&mut self, path: &Path) -> io::Result<()> {
        let inode = self.lookup(path, true)?;
        self.next_device += 1;
        self.node_mut(inode).device = self.next_device;
        Ok(())
    }

    pub(super) fn paths(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut pending = vec![(PathBuf::from("/"), ROOT)];
        while let Some((path, inode)) = pending.pop() {
            if let Body::Directory(names) = &self.node(inode).body {
                pending.extend(names.iter().map(|(name, inode)| (path.join(name), *inode)));
            }
            found.push(path);
        }
        found.sort();
        found
    }
}
