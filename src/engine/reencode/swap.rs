//! Encodes the chunks of one content anew.
//!
//! Order for a chunk: read (which checks its hash), encode, decode, compare, put. A batch is durable, then visible, before
//! the next begins.

use std::collections::HashSet;

use super::super::Engine;
use super::pass::{GAIN, Known};
use crate::base::Result;
use crate::base::fault::{self, Point};
use crate::base::id::ChunkId;
use crate::codec::{self, Encoder, Encoding};
use crate::content::pair::{Pair, pairs};
use crate::pack::format::BlobHeader;
use crate::pack::{Kind, PackBatch};

/// A batch is made durable at this size.
const BATCH_MAX_BYTES: u64 = 256 << 20;
/// Chunks of a content that are looked at before all of it is worked on.
const SAMPLES: usize = 32;

/// The work on one content.
pub(super) struct Swap<'a> {
    engine: &'a Engine,
    known: &'a Known,
    go_on: &'a dyn Fn() -> Result<()>,
    encoder: Encoder,
    stored: Vec<u8>,
    decoded: Vec<u8>,
}

impl<'a> Swap<'a> {
    pub(super) fn new(engine: &'a Engine, known: &'a Known, go_on: &'a dyn Fn() -> Result<()>) -> Self {
        Swap { engine, known, go_on, encoder: Encoder::new(), stored: Vec::new(), decoded: Vec::new() }
    }

    /// Encodes what takes at most `percent` of now against `base`; nothing at all where no sample does.
    pub(super) fn against(self, content: &ChunkId, base: &ChunkId, percent: usize) -> Result<()> {
        self.pairwise(content, base, percent, false)
    }

    /// Encodes `content` against `base`; what relies on yet another one is made self-contained where that does not gain.
    pub(super) fn anew(self, content: &ChunkId, base: &ChunkId) -> Result<()> {
        self.pairwise(content, base, GAIN, true)
    }

    fn pairwise(mut self, content: &ChunkId, base: &ChunkId, percent: usize, anew: bool) -> Result<()> {
        let engine = self.engine;
        let (Some(own), Some(other)) = (engine.manifest_of(content)?, engine.manifest_of(base)?) else {
            return Ok(());
        };
        let mut pairs = pairs(&own, &other);
        pairs.retain(|pair| self.is_free(pair.chunk.short()) && self.is_whole(pair.base.short()));
        if !anew && !self.is_promising(&pairs, percent)? {
            return Ok(());
        }
        let mut batch = engine.packs.writer()?;
        for pair in &pairs {
            self.delta(pair, percent, anew, &mut batch)?;
            batch = self.bounded(batch)?;
        }
        batch.finish()?;
        fault::reached(Point::ReencodeSwapped);
        if anew {
            // What has found no base here must not keep its old one.
            let shorts: HashSet<u64> = other.ids().map(|id| id.short()).collect();
            self.whole_but(content, &shorts)?;
        }
        Ok(())
    }

    /// Makes `content` self-contained.
    pub(super) fn whole(mut self, content: &ChunkId) -> Result<()> {
        self.whole_but(content, &HashSet::new())
    }

    /// Makes what relies on others than the chunks in `on` self-contained.
    fn whole_but(&mut self, content: &ChunkId, on: &HashSet<u64>) -> Result<()> {
        let Some(manifest) = self.engine.manifest_of(content)? else { return Ok(()) };
        let mut batch = self.engine.packs.writer()?;
        for id in manifest.ids().filter(|id| self.known.deltas.contains_key(&id.short())) {
            (self.go_on)()?;
            let head = self.engine.packs.head(&id)?;
            if head.encoding.base.is_none_or(|base| on.contains(&base.short())) {
                continue;
            }
            let raw = self.engine.packs.read_uncached(&id)?;
            let encoding = self.encoder.encode(&raw, &mut self.stored);
            if self.is_right(&encoding, &raw, None) {
                batch.put_encoded(Kind::Chunk, id, encoding, raw.len(), &self.stored)?;
                self.engine.reencode.count(u64::from(head.stored_len), self.stored.len() as u64);
            }
            batch = self.bounded(batch)?;
        }
        batch.finish().map(drop)
    }

    /// Encodes one chunk against another, if that gains.
    fn delta(&mut self, pair: &Pair, percent: usize, anew: bool, batch: &mut PackBatch) -> Result<()> {
        (self.go_on)()?;
        let packs = &self.engine.packs;
        let (head, base_head) = (packs.head(&pair.chunk)?, packs.head(&pair.base)?);
        if base_head.encoding.base.is_some() || head.encoding.base == Some(pair.base) {
            return Ok(());
        }
        let Some(like) = floats(&head, &base_head) else { return Ok(()) };
        let (raw, base) = (packs.read_uncached(&pair.chunk)?, packs.read_uncached(&pair.base)?);
        let mut limit = head.stored_len as usize;
        if anew && head.encoding.base.is_some() {
            // It loses its base: what it would take by itself is what counts.
            self.encoder.encode(&raw, &mut self.stored);
            limit = self.stored.len();
        }
        if !codec::estimate_delta(&like, &raw, &base).is_some_and(|len| gains(len, limit, percent)) {
            return Ok(());
        }
        let Some(encoding) = self.encoder.encode_delta(&like, &raw, &base, &mut self.stored) else {
            return Ok(());
        };
        if gains(self.stored.len(), limit, percent) && self.is_right(&encoding, &raw, Some(&base)) {
            let encoding = Encoding { base: Some(pair.base), ..encoding };
            if batch.put_delta(pair.chunk, encoding, raw.len(), &self.stored)? {
                self.engine.reencode.count(u64::from(head.stored_len), self.stored.len() as u64);
            }
        }
        Ok(())
    }

    /// Whether any of some of `pairs` gains by its estimate.
    fn is_promising(&self, pairs: &[Pair], percent: usize) -> Result<bool> {
        let packs = &self.engine.packs;
        for pair in pairs.iter().step_by(pairs.len().div_ceil(SAMPLES).max(1)) {
            (self.go_on)()?;
            let (head, base_head) = (packs.head(&pair.chunk)?, packs.head(&pair.base)?);
            if head.encoding.base == Some(pair.base) {
                continue;
            }
            let Some(like) = floats(&head, &base_head) else { continue };
            let (raw, base) = (packs.read_uncached(&pair.chunk)?, packs.read_uncached(&pair.base)?);
            let estimate = codec::estimate_delta(&like, &raw, &base);
            if estimate.is_some_and(|len| gains(len, head.stored_len as usize, percent)) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether `self.stored` decodes to `raw`: what the encoder says is not taken on trust.
    fn is_right(&mut self, encoding: &Encoding, raw: &[u8], base: Option<&[u8]>) -> bool {
        self.decoded.resize(raw.len(), 0);
        // The decoder is told of a base by its id, whichever it is.
        let encoding = Encoding { base: base.map(|_| ChunkId([0; ChunkId::LEN])), ..*encoding };
        let right =
            codec::decode(&encoding, &self.stored, base, &mut self.decoded).is_ok() && self.decoded == raw;
        if !right {
            tracing::error!(
                "an encoding of {} bytes does not decode to them; it is not used: {encoding:?}",
                raw.len()
            );
        }
        right
    }

    /// Whether a chunk may become a delta: nobody needs it to be self-contained.
    fn is_free(&self, short: u64) -> bool {
        !self.known.whole.contains(&short) && !self.known.bases.contains(&short)
    }

    /// Whether a chunk is, and stays, self-contained.
    fn is_whole(&self, short: u64) -> bool {
        self.known.whole.contains(&short)
    }

    fn bounded(&self, batch: PackBatch) -> Result<PackBatch> {
        if batch.bytes_written() < BATCH_MAX_BYTES {
            return Ok(batch);
        }
        batch.finish()?;
        self.engine.packs.writer()
    }
}

/// How a chunk's elements lie, when it and its base are floats of one kind.
fn floats(head: &BlobHeader, base: &BlobHeader) -> Option<Encoding> {
    let (own, other) = (head.encoding, base.encoding);
    (own.width > 1 && own.width == other.width && own.phase == other.phase).then_some(own)
}

/// Whether `len` bytes are at most `percent` of `limit`.
fn gains(len: usize, limit: usize, percent: usize) -> bool {
    len * 100 <= limit * percent
}
