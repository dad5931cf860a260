//! Files of a repository, read from there as streams.

use std::io::{self, Read};
use std::sync::Arc;

use bytes::{Buf, Bytes};
use rustic_core::repofile::BlobType;
use rustic_core::{BlobId, DataId, IndexedFullStatus, Repository};

use crate::guard::Watch;

/// A file that is in the repository. An error ends the watch before it is given to the reader.
pub(crate) struct ReadBack {
    repo: Arc<Repository<IndexedFullStatus>>,
    content: std::vec::IntoIter<DataId>,
    part: Bytes,
    watch: Arc<Watch>,
}

impl ReadBack {
    pub(crate) fn new(
        repo: &Arc<Repository<IndexedFullStatus>>,
        content: Vec<DataId>,
        watch: &Arc<Watch>,
    ) -> Self {
        let (repo, watch) = (Arc::clone(repo), Arc::clone(watch));
        Self { repo, content: content.into_iter(), part: Bytes::new(), watch }
    }
}

impl Read for ReadBack {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.part.is_empty() {
            let Some(id) = self.content.next() else { return Ok(0) };
            let read = self.repo.get_blob_cached(&BlobId::from(*id), BlobType::Data);
            self.part = read.map_err(|error| {
                let error = self.watch.explain(&error);
                self.watch.end(error.clone());
                io::Error::other(error)
            })?;
        }
        let most = self.part.len().min(buffer.len());
        self.part.copy_to_slice(&mut buffer[..most]);
        Ok(most)
    }
}
