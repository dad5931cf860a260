//! A file system in memory that keeps only what was synced, as strictly as `fsync(2)` promises it: content by a sync of the
//! file, names by one of their directory, and nothing else. Real file systems write more than they must, so that a sync that
//! is missing rarely shows on them.

use std::any::Any;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, ErrorKind};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use hob_std_storage::tier::{Attribute, Kind, Lease, Meta, Sink, Source, Space, Tier, Time};

const ROOT: usize = 0;

/// What a file or directory is, but for its names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    pub bytes: Vec<u8>,
    pub mode: u32,
    pub owner: (u32, u32),
    pub modified: Time,
    pub attributes: Vec<Attribute>,
}

#[derive(Clone)]
struct Node {
    is_dir: bool,
    live: Body,
    durable: Body,
    /// Counts what was done to it.
    changed: i64,
}

impl Node {
    /// It is synced. Content that is kept wrong shows when it is read from the disk, and not from memory.
    fn keep(&mut self, flaw: Option<Flaw>) {
        let flaw = flaw.filter(|_| !self.is_dir && self.live != self.durable);
        self.durable = self.live.clone();
        if let Some(flaw) = flaw {
            flaw(&mut self.durable);
            self.live = Body { bytes: std::mem::take(&mut self.live.bytes), ..self.durable.clone() };
        }
    }
}

/// A place of a name: the number of its directory, and the name.
type Slot = (usize, OsString);

/// Something that happened to names: at `from` there is none any more, at `to` there is one.
#[derive(Clone)]
struct Change {
    node: usize,
    from: Option<Slot>,
    to: Option<Slot>,
}

impl Change {
    fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.from.iter().chain(&self.to)
    }

    fn apply(&self, names: &mut BTreeMap<Slot, usize>) {
        if let Some(from) = self.from.as_ref().filter(|from| names.get(from) == Some(&self.node)) {
            names.remove(from);
        }
        if let Some(to) = &self.to {
            names.insert(to.clone(), self.node);
        }
    }
}

/// What becomes of a file on a disk, or below a file system, that keeps something else than it was given.
pub type Flaw = fn(&mut Body);

#[derive(Clone)]
struct State {
    /// Comes over each file as it is synced.
    flaw: Option<Flaw>,
    /// Changes come so fast that no time tells them apart.
    stands: bool,
    nodes: Vec<Node>,
    live: BTreeMap<Slot, usize>,
    durable: BTreeMap<Slot, usize>,
    /// What is in `live` and not yet in `durable`.
    pending: Vec<Change>,
    clock: i64,
}

/// The file system.
pub struct Volatile {
    device: u64,
    state: Arc<Mutex<State>>,
}

fn error(kind: ErrorKind) -> io::Error {
    kind.into()
}

impl State {
    fn find(&self, at: &Path) -> io::Result<usize> {
        at.iter().try_fold(ROOT, |dir, name| {
            self.live.get(&(dir, name.to_owned())).copied().ok_or(error(ErrorKind::NotFound))
        })
    }

    fn slot(&self, at: &Path) -> io::Result<Slot> {
        let dir = self.find(at.parent().ok_or(error(ErrorKind::InvalidInput))?)?;
        Ok((dir, at.file_name().ok_or(error(ErrorKind::InvalidInput))?.to_owned()))
    }

    fn free_slot(&self, at: &Path) -> io::Result<Slot> {
        let slot = self.slot(at)?;
        if self.live.contains_key(&slot) { Err(error(ErrorKind::AlreadyExists)) } else { Ok(slot) }
    }

    fn change(&mut self, node: usize, from: Option<Slot>, to: Option<Slot>) {
        let change = Change { node, from, to };
        change.apply(&mut self.live);
        self.pending.push(change);
        self.touch(node);
    }

    fn touch(&mut self, node: usize) {
        self.clock += i64::from(!self.stands);
        self.nodes[node].changed = self.clock;
    }

    fn make(&mut self, at: &Path, is_dir: bool) -> io::Result<usize> {
        let slot = self.free_slot(at)?;
        let body = Body { mode: if is_dir { 0o700 } else { 0o600 }, ..Body::default() };
        self.nodes.push(Node { is_dir, live: body.clone(), durable: body, changed: 0 });
        self.change(self.nodes.len() - 1, None, Some(slot));
        Ok(self.nodes.len() - 1)
    }

    fn sync_dir(&mut self, dir: usize) {
        // With a change of a name goes what happened to the same name before.
        let mut wanted: Vec<bool> =
            self.pending.iter().map(|it| it.slots().any(|slot| slot.0 == dir)).collect();
        for at in (0..wanted.len()).rev().filter(|at| wanted[*at]).collect::<Vec<_>>() {
            let same = |slot: &Slot| self.pending[at].slots().any(|it| it == slot);
            for (before, wanted) in self.pending[..at].iter().zip(&mut wanted) {
                *wanted |= before.slots().any(same);
            }
        }
        let pending = std::mem::take(&mut self.pending);
        for (change, wanted) in pending.into_iter().zip(wanted) {
            if wanted { change.apply(&mut self.durable) } else { self.pending.push(change) }
        }
        self.nodes[dir].durable = self.nodes[dir].live.clone();
    }

    fn meta(&self, node: usize, device: u64) -> Meta {
        let it = &self.nodes[node];
        Meta {
            kind: if it.is_dir { Kind::Directory } else { Kind::File },
            size: it.live.bytes.len() as u64,
            allocated: it.live.bytes.len() as u64,
            mode: it.live.mode,
            uid: it.live.owner.0,
            gid: it.live.owner.1,
            accessed: Time::default(),
            modified: it.live.modified,
            changed: Time { seconds: it.changed, nanos: 0 },
            device,
            inode: node as u64,
            links: self.live.values().filter(|it| **it == node).count() as u64,
        }
    }
}

impl Volatile {
    pub fn new(device: u64) -> Self {
        let root = Node { is_dir: true, live: Body::default(), durable: Body::default(), changed: 0 };
        let state = State {
            flaw: None,
            stands: false,
            nodes: vec![root],
            live: BTreeMap::new(),
            durable: BTreeMap::new(),
            pending: Vec::new(),
            clock: 0,
        };
        Self { device, state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// From now on each file that is synced is kept wrong.
    pub fn spoil(&self, flaw: Flaw) {
        self.state().flaw = Some(flaw);
    }

    /// From now on its clock stands.
    pub fn stand(&self) {
        self.state().stands = true;
    }

    /// Another one that is the same now.
    pub fn fork(&self) -> Self {
        Self { device: self.device, state: Arc::new(Mutex::new(self.state().clone())) }
    }

    /// The same one for another owner.
    pub fn handle(&self) -> Box<dyn Tier> {
        Box::new(Self { device: self.device, state: Arc::clone(&self.state) })
    }

    /// Of what was not synced, each part is there or not as it comes, and content may be zeros or end in the middle.
    pub fn cut_power(&self, rng: &mut fastrand::Rng) {
        let mut state = self.state();
        let kept = rng.f64();
        for change in std::mem::take(&mut state.pending) {
            if rng.f64() < kept {
                change.apply(&mut state.durable);
            }
        }
        state.live = state.durable.clone();
        for node in state.nodes.iter_mut().filter(|it| it.live != it.durable) {
            let length = node.live.bytes.len();
            match rng.u8(..4) {
                0 => node.durable = node.live.clone(),
                1 => node.durable = Body { bytes: vec![0; length], ..node.live.clone() },
                2 => node.durable.bytes = node.live.bytes[..length / 2].to_vec(),
                _ => {}
            }
            node.live = node.durable.clone();
        }
    }

    /// All files, without the mover's own, by their names; and which of them are one.
    pub fn files(&self) -> BTreeMap<PathBuf, (Body, usize)> {
        let state = self.state();
        let mut found = BTreeMap::new();
        let mut pending = vec![(PathBuf::new(), ROOT)];
        while let Some((at, dir)) = pending.pop() {
            for ((_, name), node) in state.live.range((dir, OsString::new())..(dir + 1, OsString::new())) {
                let (path, it) = (at.join(name), &state.nodes[*node]);
                match it.is_dir {
                    _ if path.starts_with(".hob-mover") => {}
                    true => pending.push((path, *node)),
                    false => drop(found.insert(path, (it.live.clone(), *node))),
                }
            }
        }
        found
    }
}

struct Open {
    state: Arc<Mutex<State>>,
    node: usize,
    device: u64,
}

impl Source for Open {
    fn meta(&self) -> io::Result<Meta> {
        Ok(self.state.lock().unwrap().meta(self.node, self.device))
    }
    fn attributes(&self) -> io::Result<Vec<Attribute>> {
        Ok(self.state.lock().unwrap().nodes[self.node].live.attributes.clone())
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = self.state.lock().unwrap();
        let bytes = &state.nodes[self.node].live.bytes;
        let rest = &bytes[bytes.len().min(usize::try_from(offset).unwrap())..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }
    fn data_after(&self, offset: u64) -> io::Result<Option<(u64, u64)>> {
        let size = self.meta()?.size;
        Ok((offset < size).then_some((offset, size)))
    }
    fn lease(&self, _: bool) -> Lease {
        Lease::Held
    }
    fn is_wanted(&self) -> bool {
        false
    }
    fn sync(&self) -> io::Result<()> {
        let flaw = self.state.lock().unwrap().flaw;
        self.write(|it| it.keep(flaw));
        Ok(())
    }
    fn evict(&self) {
        let mut state = self.state.lock().unwrap();
        if state.flaw.is_some() {
            let it = &mut state.nodes[self.node];
            it.live.bytes = it.durable.bytes.clone();
        }
    }
    fn spare_memory(&self) {}
    fn prefetch(&self) {}
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

impl Open {
    fn write(&self, act: impl FnOnce(&mut Node)) {
        let mut state = self.state.lock().unwrap();
        act(&mut state.nodes[self.node]);
        state.touch(self.node);
    }
}

fn imitate(body: &mut Body, meta: &Meta, attributes: &[Attribute]) {
    body.mode = meta.mode;
    body.owner = (meta.uid, meta.gid);
    body.modified = meta.modified;
    body.attributes = attributes.to_vec();
}

impl Sink for Open {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let (begin, end) = (usize::try_from(offset).unwrap(), usize::try_from(offset).unwrap() + bytes.len());
        self.write(|it| {
            it.live.bytes.resize(it.live.bytes.len().max(end), 0);
            it.live.bytes[begin..end].copy_from_slice(bytes);
        });
        Ok(())
    }
    fn set_size(&mut self, bytes: u64) -> io::Result<()> {
        self.write(|it| it.live.bytes.resize(usize::try_from(bytes).unwrap(), 0));
        Ok(())
    }
    fn share(&mut self, _: &dyn Source) -> io::Result<bool> {
        Ok(false)
    }
    fn imitate(&mut self, meta: &Meta, attributes: &[Attribute], _: bool) -> io::Result<()> {
        self.write(|it| imitate(&mut it.live, meta, attributes));
        Ok(())
    }
    fn flush(&mut self) {}
}

impl Tier for Volatile {
    fn path(&self) -> &Path {
        Path::new(if self.device == 1 { "/hot" } else { "/cold" })
    }
    fn identity(&self) -> (u64, u64) {
        (self.device, ROOT as u64)
    }
    fn still_there(&self) -> io::Result<()> {
        Ok(())
    }
    fn space(&self) -> io::Result<Space> {
        let bytes = 1 << 40;
        Ok(Space { bytes, bytes_free: bytes, bytes_available: bytes, inodes: 0, inodes_free: 0 })
    }
    fn stat(&self, at: &Path) -> io::Result<Meta> {
        let state = self.state();
        Ok(state.meta(state.find(at)?, self.device))
    }
    fn list(&self, at: &Path) -> io::Result<Vec<OsString>> {
        let state = self.state();
        let dir = state.find(at)?;
        let names = state.live.range((dir, OsString::new())..(dir + 1, OsString::new()));
        Ok(names.map(|((_, name), _)| name.clone()).collect())
    }
    fn open(&self, at: &Path) -> io::Result<Box<dyn Source>> {
        let node = self.state().find(at)?;
        Ok(Box::new(Open { state: Arc::clone(&self.state), node, device: self.device }))
    }
    fn attributes(&self, at: &Path) -> io::Result<Vec<Attribute>> {
        let state = self.state();
        Ok(state.nodes[state.find(at)?].live.attributes.clone())
    }
    fn create(&self, at: &Path) -> io::Result<Box<dyn Sink>> {
        let node = self.state().make(at, false)?;
        Ok(Box::new(Open { state: Arc::clone(&self.state), node, device: self.device }))
    }
    fn append(&self, at: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        let node = match state.find(at) {
            Err(_) => state.make(at, false)?,
            Ok(node) => node,
        };
        state.nodes[node].live.bytes.extend_from_slice(bytes);
        state.nodes[node].durable = state.nodes[node].live.clone();
        Ok(())
    }
    fn make_dir(&self, at: &Path, meta: &Meta, attributes: &[Attribute], _: bool) -> io::Result<()> {
        let mut state = self.state();
        let node = state.make(at, true)?;
        imitate(&mut state.nodes[node].live, meta, attributes);
        Ok(())
    }
    fn make_private_dir(&self, at: &Path) -> io::Result<()> {
        self.state().make(at, true).map(drop)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let (node, from, to) = (state.find(from)?, state.slot(from)?, state.free_slot(to)?);
        state.change(node, Some(from), Some(to));
        Ok(())
    }
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let (node, to) = (state.find(from)?, state.free_slot(to)?);
        state.change(node, None, Some(to));
        Ok(())
    }
    fn remove(&self, at: &Path) -> io::Result<()> {
        let mut state = self.state();
        let (node, slot) = (state.find(at)?, state.slot(at)?);
        state.change(node, Some(slot), None);
        Ok(())
    }
    fn remove_dir(&self, at: &Path) -> io::Result<()> {
        if !self.list(at)?.is_empty() {
            return Err(error(ErrorKind::DirectoryNotEmpty));
        }
        self.remove(at)
    }
    fn sync_dir(&self, at: &Path) -> io::Result<()> {
        let mut state = self.state();
        let dir = state.find(at)?;
        state.sync_dir(dir);
        Ok(())
    }
    fn sync_all(&self) -> io::Result<()> {
        let mut state = self.state();
        state.pending.clear();
        state.durable = state.live.clone();
        let flaw = state.flaw;
        state.nodes.iter_mut().for_each(|it| it.keep(flaw));
        Ok(())
    }
    fn lock(&self, at: &Path) -> io::Result<Option<Box<dyn Any + Send>>> {
        self.append(at, &[])?;
        Ok(Some(Box::new(())))
    }
}
