//! Copies are synced, read again from the disk and compared, on a thread of their own.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{Scope, ScopedJoinHandle};

use hob_model::OpError;

use super::batch::SYNC_EACH_MAX;
use super::copy::Copy;
use super::read::{CHUNK_BYTES, Pool, hash};
use super::select::Group;
use super::{Fail, Gauge, Why, place};
use crate::tier::Tier;

/// How many copies are read ahead of the one that is compared.
const READ_AHEAD: usize = 32;

/// Copies, and for each whether it is whole.
type Verified = (Vec<Copy>, Vec<Result<(), Fail>>);

/// A batch whose copies are being verified.
pub(super) struct Batch<'g, 's> {
    pub(super) groups: &'g [Group],
    /// The name of its intent and of its copies.
    pub(super) stem: String,
    verifying: ScopedJoinHandle<'s, Verified>,
    ended: Arc<AtomicBool>,
}

/// Ends the reading of a batch that nobody waits for any more.
struct Ended<'a>(&'a AtomicBool);

impl Gauge for Ended<'_> {
    fn copied(&mut self, _: u64) -> Result<(), OpError> {
        self.check()
    }
    fn check(&mut self) -> Result<(), OpError> {
        if self.0.load(Ordering::Relaxed) { Err(OpError::cancelled("nobody waits for it")) } else { Ok(()) }
    }
    fn pause(&mut self) -> Result<(), OpError> {
        self.check()
    }
    fn wait(&mut self) -> Result<(), OpError> {
        self.check()
    }
}

impl<'g, 's> Batch<'g, 's> {
    /// Begins to verify copies.
    pub(super) fn verify<'e>(
        scope: &'s Scope<'s, 'e>,
        target: &'s dyn Tier,
        all_attributes: bool,
        groups: &'g [Group],
        stem: String,
        copies: Vec<Copy>,
    ) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&ended);
        let verifying = scope.spawn(move || {
            let verified = verify_all(target, all_attributes, &copies, &mut Ended(&told));
            (copies, verified)
        });
        Self { groups, stem, verifying, ended }
    }

    /// The copies, and for each whether it is whole: the first that is no more verified ends the list.
    pub(super) fn wait(self, gauge: &mut dyn Gauge) -> Verified {
        let mut stopped = None;
        while stopped.is_none() && !self.verifying.is_finished() {
            stopped = gauge.pause().err();
        }
        match stopped {
            Some(error) => (self.give_up(), vec![Err(Fail::Stop(error))]),
            None => self.join(),
        }
    }

    /// The copies, of which none is verified any more.
    pub(super) fn give_up(self) -> Vec<Copy> {
        self.ended.store(true, Ordering::Relaxed);
        self.join().0
    }

    fn join(self) -> Verified {
        self.verifying.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

/// Waits until copies are on the disk: each alone where they are few, because others write, too. With them goes where they
/// are: else one that an earlier call began, and this one removed, could come back after a power cut in the place of a copy
/// that is noted as verified.
fn sync(target: &dyn Tier, copies: &[Copy]) -> io::Result<()> {
    if copies.len() > SYNC_EACH_MAX {
        return target.sync_all();
    }
    // What cannot be opened is not verified either.
    let mut there = copies.iter().filter_map(|copy| target.open(&copy.unnamed).ok());
    there.try_for_each(|source| source.sync())?;
    target.sync_dir(Path::new(place::NEW))
}

fn verify_all(
    target: &dyn Tier,
    all_attributes: bool,
    copies: &[Copy],
    gauge: &mut dyn Gauge,
) -> Vec<Result<(), Fail>> {
    if copies.is_empty() {
        return Vec::new();
    }
    if let Err(error) = sync(target, copies) {
        let at = target.path().join(place::NEW);
        return vec![Err(Fail::Stop(OpError::io(&error, at.display())))];
    }
    for copy in copies {
        if let Ok(source) = target.open(&copy.unnamed) {
            source.evict();
        }
    }
    let mut ahead = copies.iter().filter(|copy| !is_large(copy));
    let prefetch = |copy: &Copy| {
        if let Ok(source) = target.open(&copy.unnamed) {
            source.prefetch();
        }
    };
    ahead.by_ref().take(READ_AHEAD).for_each(prefetch);
    let mut pool = Pool::default();
    let mut verified = Vec::new();
    for copy in copies {
        ahead.next().into_iter().for_each(prefetch);
        verified.push(verify(target, all_attributes, copy, gauge, &mut pool));
        if matches!(verified.last(), Some(Err(Fail::Stop(_)))) {
            break;
        }
    }
    verified
}

/// Whether it is read past memory; smaller ones are read ahead into it.
fn is_large(copy: &Copy) -> bool {
    copy.meta.size >= CHUNK_BYTES as u64
}

/// Reads a synced copy from the disk and compares it with what was copied.
fn verify(
    target: &dyn Tier,
    all_attributes: bool,
    copy: &Copy,
    gauge: &mut dyn Gauge,
    pool: &mut Pool,
) -> Result<(), Fail> {
    let unread = |error: io::Error| Fail::Skip(Why::Unsound, format!("its copy cannot be read: {error}"));
    let source = target.open(&copy.unnamed).map_err(unread)?;
    if is_large(copy) {
        source.evict();
    }
    let found = hash(&*source, copy.meta.size, gauge, pool).map_err(|fail| match fail {
        Fail::Skip(_, reason) => Fail::Skip(Why::Unsound, format!("its copy read from the disk: {reason}")),
        stop @ Fail::Stop(_) => stop,
    })?;
    if found != copy.hash {
        return Err(Fail::Skip(
            Why::Unsound,
            "its copy read from the disk differs from it: is the disk sound?".to_owned(),
        ));
    }
    if !all_attributes {
        return Ok(());
    }
    let (kept, attributes) = (source.meta().map_err(unread)?, source.attributes().map_err(unread)?);
    let missing = copy.attributes.iter().find(|it| !attributes.contains(it));
    let wrong = [
        (kept.modified != copy.meta.modified, "its time to the nanosecond".to_owned()),
        (kept.mode != copy.meta.mode, "its mode".to_owned()),
        ((kept.uid, kept.gid) != (copy.meta.uid, copy.meta.gid), "its owner".to_owned()),
        (missing.is_some(), missing.map_or_else(String::new, |it| it.name.to_string_lossy().into_owned())),
    ];
    match wrong.into_iter().find(|(is_wrong, _)| *is_wrong) {
        None => Ok(()),
        Some((_, what)) => Err(Fail::Skip(Why::Unkept, format!("the target cannot keep {what}"))),
    }
}
