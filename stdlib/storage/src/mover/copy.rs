//! The copy of one file, without a name yet, and what is made sure about it.

use std::io;
use std::path::{Path, PathBuf};

use hob_model::OpError;

use super::pour::{Trouble, pour};
use super::read::{Pool, hash};
use super::select::Group;
use super::{Fail, Mover, Why};
use crate::tier::{Attribute, Lease, Meta, Sink, Source, Tier};

/// A copy that has no name yet.
#[derive(Debug)]
pub(crate) struct Copy {
    /// The place of its file in the batch.
    pub(crate) number: usize,
    /// Where it is.
    pub(crate) unnamed: PathBuf,
    /// The original as it was when it was copied.
    pub(crate) meta: Meta,
    pub(super) attributes: Vec<Attribute>,
    /// The hash of what was copied.
    pub(crate) hash: blake3::Hash,
}

impl Mover<'_> {
    /// Copies a file to where nobody looks; nothing stays when that fails.
    pub(crate) fn copy(
        &mut self,
        group: &Group,
        unnamed: PathBuf,
        number: usize,
        pool: &mut Pool,
    ) -> Result<Copy, Fail> {
        let name = &group.names[0];
        for name in &group.names {
            match self.target.stat(name) {
                Ok(_) => return Err(Fail::Skip(Why::Taken, "something is there already".to_owned())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(self.skip_or_stop(self.target, name, &error)),
            }
        }
        let source = self.source.open(name).map_err(|error| self.skip_or_stop(self.source, name, &error))?;
        source.spare_memory();
        let meta = source.meta().map_err(|error| self.skip_or_stop(self.source, name, &error))?;
        if !is_same(&group.meta, &meta) {
            return Err(Fail::Skip(Why::Growing, "it changed since it was looked at".to_owned()));
        }
        if source.lease(false) == Lease::Busy {
            return Err(Fail::Skip(Why::InUse, "somebody writes to it".to_owned()));
        }
        self.check_space(meta.allocated)?;
        let mut sink =
            self.target.create(&unnamed).map_err(|error| self.skip_or_stop(self.target, &unnamed, &error))?;
        let filled = self.fill(&*source, &mut *sink, &meta, name, pool);
        match filled {
            Ok((hash, attributes)) => Ok(Copy { number, unnamed, meta, attributes, hash }),
            Err(fail) => {
                self.discard(&unnamed)?;
                Err(fail)
            }
        }
    }

    fn fill(
        &mut self,
        source: &dyn Source,
        sink: &mut dyn Sink,
        meta: &Meta,
        name: &Path,
        pool: &mut Pool,
    ) -> Result<(blake3::Hash, Vec<Attribute>), Fail> {
        let unread = |error: io::Error| Fail::Skip(Why::Unread, format!("it cannot be read: {error}"));
        let shared = meta.size > 0
            && sink.share(source).map_err(|error| self.skip_or_stop(self.target, name, &error))?;
        let hash = if shared {
            hash(source, meta.size, self.gauge, pool)?
        } else {
            pour(source, sink, meta.size, pool, self.gauge).map_err(|trouble| match trouble {
                Trouble::Read(fail) => fail,
                Trouble::Write(error) => self.skip_or_stop(self.target, name, &error),
            })?
        };
        let attributes = source.attributes().map_err(unread)?;
        let after = source.meta().map_err(unread)?;
        if !is_same(meta, &after) || source.is_wanted() && source.lease(false) == Lease::Busy {
            return Err(Fail::Skip(Why::Growing, "it changed while it was copied".to_owned()));
        }
        sink.imitate(meta, &attributes, self.all_attributes).map_err(|error| {
            if error.kind() == io::ErrorKind::StorageFull {
                return self.skip_or_stop(self.target, name, &error);
            }
            Fail::Skip(Why::Unkept, format!("the target cannot keep its owner, mode or attributes: {error}"))
        })?;
        sink.flush();
        Ok((hash, attributes))
    }

    /// Removes a copy that has no name.
    pub(crate) fn discard(&self, unnamed: &Path) -> Result<(), OpError> {
        match self.target.remove(unnamed) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(self.fault(self.target, unnamed, &error))
            }
            _ => Ok(()),
        }
    }

    fn check_space(&self, bytes: u64) -> Result<(), Fail> {
        let space = self.target.space().map_err(|error| self.fault(self.target, Path::new(""), &error))?;
        if space.bytes_available >= bytes.saturating_add(self.reserve_bytes) {
            return Ok(());
        }
        Err(Fail::Skip(
            Why::Full,
            format!(
                "the target has {} bytes left, of which `reserve` keeps {}",
                space.bytes_available, self.reserve_bytes
            ),
        ))
    }

    /// One file that cannot be read or written stays; a file system that is gone ends it all.
    pub(crate) fn skip_or_stop(&self, tier: &dyn Tier, at: &Path, error: &io::Error) -> Fail {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::NotFound => Fail::Skip(Why::Growing, "it went away".to_owned()),
            Kind::PermissionDenied => Fail::Skip(Why::Unread, format!("hob may not: {error}")),
            Kind::StorageFull | Kind::QuotaExceeded => Fail::Skip(Why::Full, "the target is full".to_owned()),
            Kind::FileTooLarge => Fail::Skip(Why::Unkept, "it is too large for the target".to_owned()),
            Kind::NotADirectory | Kind::CrossesDevices | Kind::InvalidFilename => {
                Fail::Skip(Why::Unkept, format!("there is no way to its place: {error}"))
            }
            _ if error.raw_os_error() == Some(libc::ELOOP) => {
                Fail::Skip(Why::Unkept, "a symbolic link stands in the way".to_owned())
            }
            _ => Fail::Stop(self.fault(tier, at, error)),
        }
    }
}

/// Whether a file is as it was: then its content is, too.
pub(crate) fn is_same(before: &Meta, after: &Meta) -> bool {
    before == &Meta { accessed: before.accessed, allocated: before.allocated, ..*after }
}
