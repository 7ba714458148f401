//! Reads sealed content.
//!
//! Every byte comes out of a chunk whose hash was checked, or out of a hole. Chunks are shared with the cache, so a
//! reply can be made from them without a copy.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::read_ahead::{Pattern, ReadPool};
use super::stored;
use crate::base::id::ChunkId;
use crate::base::{Error, Result};
use crate::content::manifest::{Extent, Manifest};
use crate::pack::{Buffer, PackStore};

/// Zeros to answer reads of holes from.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// A run of bytes of a content.
#[derive(Clone, Debug)]
pub enum Slice {
    /// A part of a chunk.
    Bytes {
        /// The whole chunk.
        chunk: Arc<Buffer>,
        /// The part, in bytes of the chunk.
        range: Range<usize>,
    },
    /// Zeros of a hole, at most 64 KiB.
    Zeros(usize),
}

impl AsRef<[u8]> for Slice {
    fn as_ref(&self) -> &[u8] {
        match self {
            Slice::Bytes { chunk, range } => chunk.get(range.clone()).unwrap_or_default(),
            Slice::Zeros(len) => ZEROS.get(..*len).unwrap_or_default(),
        }
    }
}

/// An open sealed content. Any number of threads may read it.
pub struct SealedFile {
    store: Arc<PackStore>,
    pool: Arc<ReadPool>,
    content: ChunkId,
    manifest: Manifest,
    pattern: Mutex<Pattern>,
}

impl SealedFile {
    /// Opens `content`; its manifest stays in memory (48 bytes a chunk). `pool` decodes ahead of sequential readers.
    pub fn open(store: Arc<PackStore>, pool: Arc<ReadPool>, content: ChunkId) -> Result<Self> {
        let manifest = stored::load(&store, &content)?;
        Ok(SealedFile { store, pool, content, manifest, pattern: Mutex::default() })
    }

    /// Its id.
    pub fn content(&self) -> ChunkId {
        self.content
    }

    /// Bytes of the content.
    pub fn size(&self) -> u64 {
        self.manifest.size()
    }

    /// Its chunks.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The bytes from `offset` on, at most `len` of them, fewer only at the end: shared, not copied.
    pub fn slices(&self, offset: u64, len: usize) -> Result<Vec<Slice>> {
        let end = offset.saturating_add(len as u64).min(self.size());
        // First, so that others decode what comes next while this thread decodes what is asked for.
        if offset < end {
            let mut pattern = self.pattern.lock().unwrap_or_else(PoisonError::into_inner);
            pattern.note((offset, end), &self.manifest, &self.store, &self.pool);
        }
        let (mut at, mut slices) = (offset, Vec::new());
        while at < end {
            let Some(located) = self.manifest.locate(at) else { break };
            let until = located.end().min(end);
            match located.extent {
                Extent::Data { len, id } => {
                    let chunk = self.store.read(&id)?;
                    check_len(&self.store, &id, chunk.len(), len)?;
                    let range = (at - located.start) as usize..(until - located.start) as usize;
                    slices.push(Slice::Bytes { chunk, range });
                }
                Extent::Hole { .. } => {
                    let zeros = (until - at) as usize;
                    let whole = std::iter::repeat_n(ZEROS.len(), zeros / ZEROS.len());
                    slices.extend(
                        whole.chain(Some(zeros % ZEROS.len()).filter(|len| *len > 0)).map(Slice::Zeros),
                    );
                }
            }
            at = until;
        }
        Ok(slices)
    }

    /// Fills `buf` from `offset`; returns the bytes read, fewer than asked for only at the end.
    pub fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let mut done = 0;
        for slice in self.slices(offset, buf.len())? {
            let bytes = slice.as_ref();
            if let Some(target) = buf.get_mut(done..done + bytes.len()) {
                target.copy_from_slice(bytes);
                done += bytes.len();
            }
        }
        Ok(done)
    }

    /// The first offset from `offset` on that is data (`lseek` SEEK_DATA); `None` is ENXIO.
    pub fn seek_data(&self, offset: u64) -> Option<u64> {
        let at = self.manifest.locate(offset)?;
        match at.extent {
            Extent::Data { .. } => Some(offset),
            // No hole is beside another, so the next extent is data.
            Extent::Hole { .. } => self.manifest.extent(at.index + 1).map(|next| next.start),
        }
    }

    /// The first offset from `offset` on that is in a hole, or the end (`lseek` SEEK_HOLE); `None` is ENXIO.
    pub fn seek_hole(&self, offset: u64) -> Option<u64> {
        let mut at = self.manifest.locate(offset)?;
        let mut from = offset;
        while matches!(at.extent, Extent::Data { .. }) {
            from = at.end();
            match self.manifest.extent(at.index + 1) {
                Some(next) => at = next,
                None => break,
            }
        }
        Some(from)
    }
}

/// [`Error::Damaged`] when chunk `id` has `found` bytes where a manifest says `len`.
pub(super) fn check_len(store: &PackStore, id: &ChunkId, found: usize, len: u32) -> Result<()> {
    if found == len as usize {
        return Ok(());
    }
    Err(Error::damaged(store.path(), format!("store: a manifest says {len} bytes for chunk {id} of {found}")))
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
