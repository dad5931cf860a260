//! A tier that stops at a chosen step, as a process does that is killed there: for tests.
//!
//! Steps are what changes something: each write, sync, name and removal. The step itself is not done, or only half of it
//! where it writes; after it every call fails, so that nobody can tidy up.

use std::any::Any;
use std::ffi::OsString;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::tier::{Attribute, Meta, Sink, Source, Space, Tier};

/// Counts the steps of one or more tiers, and says when they stop.
pub struct Fuse {
    taken: AtomicU64,
    steps_max: u64,
    told: Box<dyn Fn() + Send + Sync>,
}

impl Fuse {
    /// One that lets `steps_max` steps pass.
    #[must_use]
    pub fn new(steps_max: u64) -> Arc<Self> {
        Arc::new(Self { taken: AtomicU64::new(0), steps_max, told: Box::new(|| ()) })
    }

    /// One that lets all steps pass and tells of each before it is done.
    #[must_use]
    pub fn telling(told: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { taken: AtomicU64::new(0), steps_max: u64::MAX, told: Box::new(told) })
    }

    /// How many steps were tried.
    #[must_use]
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::SeqCst)
    }

    fn step(&self) -> io::Result<()> {
        (self.told)();
        let passed = self.taken.fetch_add(1, Ordering::SeqCst) < self.steps_max;
        if passed { Ok(()) } else { Err(gone()) }
    }

    fn look(&self) -> io::Result<()> {
        if self.taken() <= self.steps_max { Ok(()) } else { Err(gone()) }
    }
}

fn gone() -> io::Error {
    io::Error::other("the process was killed here")
}

/// A tier whose steps a [`Fuse`] counts.
pub struct Fused {
    tier: Box<dyn Tier>,
    fuse: Arc<Fuse>,
}

impl Fused {
    /// `tier`, with each of its steps counted.
    #[must_use]
    pub fn new(tier: Box<dyn Tier>, fuse: Arc<Fuse>) -> Self {
        Self { tier, fuse }
    }
}

struct FusedSource(Box<dyn Source>, Arc<Fuse>);

impl Source for FusedSource {
    fn meta(&self) -> io::Result<Meta> {
        self.1.look()?;
        self.0.meta()
    }
    fn attributes(&self) -> io::Result<Vec<Attribute>> {
        self.1.look()?;
        self.0.attributes()
    }
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.1.look()?;
        self.0.read_at(buffer, offset)
    }
    fn data_after(&self, offset: u64) -> io::Result<Option<(u64, u64)>> {
        self.1.look()?;
        self.0.data_after(offset)
    }
    fn lease(&self, alone: bool) -> crate::tier::Lease {
        self.0.lease(alone)
    }
    fn is_wanted(&self) -> bool {
        self.0.is_wanted()
    }
    fn sync(&self) -> io::Result<()> {
        self.1.step()?;
        self.0.sync()
    }
    fn evict(&self) {
        self.0.evict();
    }
    fn spare_memory(&self) {
        self.0.spare_memory();
    }
    fn prefetch(&self) {
        self.0.prefetch();
    }
    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.0.fd()
    }
}

struct FusedSink(Box<dyn Sink>, Arc<Fuse>);

impl Sink for FusedSink {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.1.look()?;
        self.1.step().inspect_err(|_| drop(self.0.write_at(&bytes[..bytes.len() / 2], offset)))?;
        self.0.write_at(bytes, offset)
    }
    fn set_size(&mut self, bytes: u64) -> io::Result<()> {
        self.1.step()?;
        self.0.set_size(bytes)
    }
    fn share(&mut self, source: &dyn Source) -> io::Result<bool> {
        self.1.step()?;
        self.0.share(source)
    }
    fn imitate(&mut self, meta: &Meta, attributes: &[Attribute], all: bool) -> io::Result<()> {
        self.1.step()?;
        self.0.imitate(meta, attributes, all)
    }
    fn flush(&mut self) {
        self.0.flush();
    }
}

impl Tier for Fused {
    fn path(&self) -> &Path {
        self.tier.path()
    }
    fn identity(&self) -> (u64, u64) {
        self.tier.identity()
    }
    fn still_there(&self) -> io::Result<()> {
        self.fuse.look()?;
        self.tier.still_there()
    }
    fn space(&self) -> io::Result<Space> {
        self.fuse.look()?;
        self.tier.space()
    }
    fn stat(&self, at: &Path) -> io::Result<Meta> {
        self.fuse.look()?;
        self.tier.stat(at)
    }
    fn list(&self, at: &Path) -> io::Result<Vec<OsString>> {
        self.fuse.look()?;
        self.tier.list(at)
    }
    fn open(&self, at: &Path) -> io::Result<Box<dyn Source>> {
        self.fuse.look()?;
        Ok(Box::new(FusedSource(self.tier.open(at)?, Arc::clone(&self.fuse))))
    }
    fn attributes(&self, at: &Path) -> io::Result<Vec<Attribute>> {
        self.fuse.look()?;
        self.tier.attributes(at)
    }
    fn create(&self, at: &Path) -> io::Result<Box<dyn Sink>> {
        self.fuse.step()?;
        Ok(Box::new(FusedSink(self.tier.create(at)?, Arc::clone(&self.fuse))))
    }
    fn append(&self, at: &Path, bytes: &[u8]) -> io::Result<()> {
        self.fuse.look()?;
        self.fuse.step().inspect_err(|_| drop(self.tier.append(at, &bytes[..bytes.len() / 2])))?;
        self.tier.append(at, bytes)
    }
    fn make_dir(&self, at: &Path, meta: &Meta, attributes: &[Attribute], all: bool) -> io::Result<()> {
        self.fuse.look()?;
        self.fuse.step().inspect_err(|_| drop(self.tier.make_private_dir(at)))?;
        self.tier.make_dir(at, meta, attributes, all)
    }
    fn make_private_dir(&self, at: &Path) -> io::Result<()> {
        self.fuse.step()?;
        self.tier.make_private_dir(at)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.fuse.step()?;
        self.tier.rename(from, to)
    }
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.fuse.step()?;
        self.tier.link(from, to)
    }
    fn remove(&self, at: &Path) -> io::Result<()> {
        self.fuse.step()?;
        self.tier.remove(at)
    }
    fn remove_dir(&self, at: &Path) -> io::Result<()> {
        self.fuse.step()?;
        self.tier.remove_dir(at)
    }
    fn sync_dir(&self, at: &Path) -> io::Result<()> {
        self.fuse.step()?;
        self.tier.sync_dir(at)
    }
    fn sync_all(&self) -> io::Result<()> {
        self.fuse.step()?;
        self.tier.sync_all()
    }
    fn lock(&self, at: &Path) -> io::Result<Option<Box<dyn Any + Send>>> {
        self.fuse.step()?;
        self.tier.lock(at)
    }
}
