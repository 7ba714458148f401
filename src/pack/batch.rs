//! Puts blobs that become durable and visible together.
//!
//! Order of [`PackBatch::finish`]: every pack written, footed and fsynced; renamed; folder fsynced; then the index knows
//! them. Before it nothing is visible; dropped without it, nothing is left. A crash between leaves packs that nothing
//! names: garbage, found again as known chunks.

use std::collections::HashSet;
use std::sync::Arc;

use super::format::Kind;
use super::store::Shared;
use super::uses::Held;
use super::writer::{ClosedPack, PackWriter, publish};
use crate::base::fault::{self, Point};
use crate::base::id::ChunkId;
use crate::base::{Error, Result};
use crate::codec::{Encoder, Encoding, MAX_RAW};

/// What became of a blob that was put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// The store, or this batch, had it already.
    Known,
    /// It was written.
    New {
        /// Bytes that it takes in the pack, header included.
        stored: u32,
    },
}

/// What [`PackBatch::finish`] has made durable.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Bytes of the new packs, all included.
    pub new_bytes: u64,
    /// Their numbers.
    pub packs: Vec<u32>,
}

/// Blobs on their way into packs; one thread fills it, several batches may be filled at once.
///
/// Memory: the encoder's contexts and at most 100 bytes a new blob.
pub struct PackBatch {
    shared: Arc<Shared>,
    open: Option<PackWriter>,
    closed: Vec<ClosedPack>,
    pending: HashSet<ChunkId>,
    held: Arc<Held>,
    encoder: Encoder,
    stored: Vec<u8>,
}

impl PackBatch {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let (encoder, stored) = (Encoder::new(), Vec::new());
        let held = shared.uses.hold();
        PackBatch { shared, open: None, closed: Vec::new(), pending: HashSet::new(), held, encoder, stored }
    }

    /// Whether a blob `id` is in the store or in this batch; from now on it does not go as long as the batch is
    /// [`held`](Self::held). One in a pack that is about to go does not count, nor does a delta: the base of one that
    /// nothing needs any more may be gone, and what is put now is better off self-contained.
    pub fn contains(&self, id: &ChunkId) -> Result<bool> {
        self.held.note(id);
        Ok(self.pending.contains(id) || self.shared.is_reliable(id)?)
    }

    /// What keeps all that was put or found from being collected as garbage. Whoever commits records that name it keeps
    /// this until they are committed; the batch itself keeps it until it is finished or dropped.
    pub fn held(&self) -> Arc<Held> {
        Arc::clone(&self.held)
    }

    /// Encodes and writes `raw`, whose hash is `id`, unless it is known.
    ///
    /// [`Error::Refused`] above [`MAX_RAW`] bytes. After an error the batch is to be dropped.
    pub fn put(&mut self, kind: Kind, id: ChunkId, raw: &[u8]) -> Result<Put> {
        if self.contains(&id)? {
            return Ok(Put::Known);
        }
        let mut stored = std::mem::take(&mut self.stored);
        let encoding = self.encoder.encode(raw, &mut stored);
        let put = self.append(kind, id, encoding, raw.len(), &stored);
        self.stored = stored;
        put
    }

    /// Writes a blob that is encoded already, known or not, unless this batch has it: `stored` decodes by `encoding` to
    /// `raw_len` bytes with the hash `id`, which is the caller's word. For blobs that move from one pack to another.
    pub fn put_encoded(
        &mut self,
        kind: Kind,
        id: ChunkId,
        encoding: Encoding,
        raw_len: usize,
        stored: &[u8],
    ) -> Result<Put> {
        self.held.note(&id);
        if self.pending.contains(&id) {
            return Ok(Put::Known);
        }
        self.append(kind, id, encoding, raw_len, stored)
    }

    /// Writes a blob anew as `stored`, what it differs from its base in, for one whose encoding takes more. Its raw bytes
    /// are `raw_len` and decode by `encoding` from `stored` and the base, which is the caller's word.
    ///
    /// False, and nothing is written, when the base is about to go, or this batch has the blob.
    pub fn put_delta(
        &mut self,
        id: ChunkId,
        encoding: Encoding,
        raw_len: usize,
        stored: &[u8],
    ) -> Result<bool> {
        let Some(base) = encoding.base else { return Ok(false) };
        if self.pending.contains(&id) || self.pending.contains(&base) || !self.contains(&base)? {
            return Ok(false);
        }
        self.put_encoded(Kind::Chunk, id, encoding, raw_len, stored).map(|put| put != Put::Known)
    }

    fn append(
        &mut self,
        kind: Kind,
        id: ChunkId,
        encoding: Encoding,
        raw_len: usize,
        stored: &[u8],
    ) -> Result<Put> {
        let raw_len = u32::try_from(raw_len)
            .ok()
            .filter(|len| *len as usize <= MAX_RAW && stored.len() <= *len as usize)
            .ok_or_else(|| Error::Refused(format!("a blob of {raw_len} bytes stored as {}", stored.len())))?;
        if self.open.as_ref().is_some_and(PackWriter::is_full) {
            self.close()?;
        }
        let writer = match &mut self.open {
            Some(writer) => writer,
            None => self.open.insert(self.shared.new_pack()?),
        };
        let stored = writer.put(kind, id, encoding, raw_len, stored)?;
        self.pending.insert(id);
        Ok(Put::New { stored })
    }

    fn close(&mut self) -> Result<()> {
        if let Some(writer) = self.open.take() {
            self.closed.push(writer.close()?);
        }
        Ok(())
    }

    /// Bytes that it has written so far.
    pub fn bytes_written(&self) -> u64 {
        let closed: u64 = self.closed.iter().map(|pack| u64::from(pack.len)).sum();
        closed + self.open.as_ref().map_or(0, PackWriter::bytes)
    }

    /// Makes all that was put durable, then visible. Without new blobs it does nothing.
    ///
    /// After an error some of it may be durable and known; putting it again is right either way.
    pub fn finish(mut self) -> Result<Committed> {
        self.close()?;
        if self.closed.is_empty() {
            return Ok(Committed::default());
        }
        publish(&self.shared.packs_dir, &mut self.closed)?;
        fault::reached(Point::PackPublished);
        let mut committed = Committed::default();
        for pack in &self.closed {
            self.shared.index.add(pack.number, pack.len, &pack.entries);
            self.shared.trust(pack.entries.iter().map(|entry| &entry.id));
            committed.new_bytes += u64::from(pack.len);
            committed.packs.push(pack.number);
        }
        fault::reached(Point::PackIndexed);
        self.shared.index.keep_up()?;
        Ok(committed)
    }
}
