//! One file of the chunk index: sorted, immutable, looked up with one pread of one bucket.
//!
//! In memory stay the fanout and the covers, about 0.15 bytes a chunk. Every bucket that is read is held against its
//! crc, so a damaged index is noticed (and made again from the packs), never believed.

use std::fs::File;
use std::path::{Path, PathBuf};

use super::format::PackEntry;
use super::reader::read_exact;
use crate::base::bytes::{Cursor, Put};
use crate::base::id::ChunkId;
use crate::base::{Error, IoContext, Result};

/// Bytes of an entry.
pub(super) const ENTRY: usize = 48;
/// Bytes of a fanout record.
pub(super) const FANOUT: usize = 12;
/// Bytes of a cover.
const COVER: usize = 8;
/// Bytes of the trailer.
const TRAILER: usize = 48;
/// Most bits of an id that choose a bucket.
pub(super) const MAX_BITS: u32 = 24;
const MAGIC: [u8; 8] = *b"CKPTINDX";
const VERSION: u32 = 2;
/// Set in the raw length, which is far shorter, when the blob has a base.
const HAS_BASE: u32 = 1 << 31;

/// Where a blob is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// The pack's number.
    pub pack: u32,
    /// Offset of the blob in the pack.
    pub offset: u32,
    /// Bytes of the blob, header included.
    pub len: u32,
    /// Bytes when decoded.
    pub raw_len: u32,
    /// Whether another blob is needed to decode it.
    pub has_base: bool,
}

impl PackEntry {
    /// The place of this blob of `pack`.
    pub fn at(&self, pack: u32) -> Location {
        let PackEntry { offset, len, raw_len, has_base, .. } = *self;
        Location { pack, offset, len, raw_len, has_base }
    }
}

/// A pack that an index file covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cover {
    /// The pack's number.
    pub pack: u32,
    /// Bytes of the pack: another pack that took the same number is told apart.
    pub len: u32,
}

/// An entry of the index.
pub type IndexEntry = (ChunkId, Location);

/// The name of index file `seq`.
pub(super) fn index_name(seq: u64) -> String {
    format!("{seq:016x}.idx")
}

/// Whether `name` is that of an index file.
pub(super) fn is_index_name(name: &str) -> bool {
    let seq = name.strip_suffix(".idx").and_then(|digits| u64::from_str_radix(digits, 16).ok());
    seq.is_some_and(|seq| index_name(seq) == name)
}

/// The bucket of `id` among `1 << bits`.
pub(super) fn bucket_of(id: &ChunkId, bits: u32) -> usize {
    let top = id.0.first_chunk::<4>().map_or(0, |top| u32::from_be_bytes(*top));
    (u64::from(top) >> (32 - bits.min(MAX_BITS))) as usize
}

/// Appends the entry that says that `id` is at `at`.
pub(super) fn encode_entry(id: &ChunkId, at: &Location, out: &mut Vec<u8>) {
    let flags = if at.has_base { HAS_BASE } else { 0 };
    out.raw(&id.0).u32(at.pack).u32(at.offset).u32(at.len).u32(at.raw_len | flags);
}

fn decode_entry(cursor: &mut Cursor<'_>) -> Option<IndexEntry> {
    let id = ChunkId(cursor.array()?);
    let (pack, offset, len, raw_len) = (cursor.u32()?, cursor.u32()?, cursor.u32()?, cursor.u32()?);
    let (raw_len, has_base) = (raw_len & !HAS_BASE, raw_len & HAS_BASE != 0);
    Some((id, Location { pack, offset, len, raw_len, has_base }))
}

/// What follows the entries of an index file, docs/format.md.
pub(super) struct Tail {
    pub(super) bits: u32,
    pub(super) entries: u64,
    pub(super) seq: u64,
    /// Fanout records as they are stored.
    pub(super) fanout: Vec<u8>,
    pub(super) covers: Vec<Cover>,
}

impl Tail {
    /// Fanout, covers and trailer.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = self.fanout.clone();
        for cover in &self.covers {
            out.u32(cover.pack).u32(cover.len);
        }
        let crc = crc32c::crc32c(&out);
        let start = out.len();
        out.raw(&MAGIC).u32(VERSION).u32(self.bits).u64(self.entries);
        out.u32(u32::try_from(self.covers.len()).unwrap_or(u32::MAX)).u64(self.seq).u32(crc).u32(0);
        let crc = crc32c::crc32c(out.get(start..).unwrap_or_default());
        out.u32(crc);
        out
    }

    /// The tail of `file`; `None` when it does not verify or its lengths are not those of the file.
    fn read(file: &File, path: &Path) -> Result<Option<Self>> {
        let len = file.metadata().context("stat", path)?.len();
        let Some(at) = len.checked_sub(TRAILER as u64) else { return Ok(None) };
        let mut trailer = [0; TRAILER];
        read_exact(file, path, &mut trailer, at, "trailer")?;
        let Some((mut tail, covers, crc)) = Self::trailer(&trailer) else { return Ok(None) };
        let middle = (FANOUT << tail.bits) as u64 + covers * COVER as u64;
        let start = tail.entries.checked_mul(ENTRY as u64);
        if start.and_then(|start| start.checked_add(middle)) != Some(at) {
            return Ok(None);
        }
        // As long as a part of the file, by the test above.
        let mut bytes = vec![0; middle as usize];
        read_exact(file, path, &mut bytes, at - middle, "fanout")?;
        if crc32c::crc32c(&bytes) != crc {
            return Ok(None);
        }
        let mut cursor = Cursor::new(bytes.get(FANOUT << tail.bits..).unwrap_or_default());
        while let (Some(pack), Some(len)) = (cursor.u32(), cursor.u32()) {
            tail.covers.push(Cover { pack, len });
        }
        bytes.truncate(FANOUT << tail.bits);
        tail.fanout = bytes;
        Ok(Some(tail))
    }

    /// The trailer's fields, the number of covers and the crc of fanout and covers.
    fn trailer(bytes: &[u8]) -> Option<(Self, u64, u32)> {
        let crc = crc32c::crc32c(bytes.get(..TRAILER - 4)?);
        let mut cursor = Cursor::new(bytes);
        let known = cursor.array()? == MAGIC && cursor.u32()? == VERSION;
        let (bits, entries, covers, seq) = (cursor.u32()?, cursor.u64()?, cursor.u32()?, cursor.u64()?);
        let (middle_crc, _zero) = (cursor.u32()?, cursor.u32()?);
        let sound = known && cursor.u32()? == crc && bits <= MAX_BITS;
        let tail = Tail { bits, entries, seq, fanout: Vec::new(), covers: Vec::new() };
        sound.then_some((tail, u64::from(covers), middle_crc))
    }
}

/// An open index file.
pub struct IndexFile {
    file: File,
    path: PathBuf,
    tail: Tail,
}

impl IndexFile {
    /// Opens the index file at `path`. [`Error::Damaged`] when it does not verify.
    pub fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).context("open", path)?;
        let tail =
            Tail::read(&file, path)?.ok_or_else(|| Error::damaged(path, "trailer of the chunk index"))?;
        Ok(IndexFile { file, path: path.to_owned(), tail })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its sequence number: the greater is the newer.
    pub fn seq(&self) -> u64 {
        self.tail.seq
    }

    /// Number of its entries.
    pub fn len(&self) -> u64 {
        self.tail.entries
    }

    /// Whether it has no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The packs whose blobs are all in it.
    pub fn covers(&self) -> &[Cover] {
        &self.tail.covers
    }

    /// Number of its buckets.
    pub(super) fn buckets(&self) -> usize {
        1 << self.tail.bits
    }

    /// First entry and crc of a bucket; for the one after the last, the number of entries.
    fn fanout(&self, bucket: usize) -> Option<(u64, u32)> {
        if bucket == self.buckets() {
            return Some((self.tail.entries, 0));
        }
        let mut cursor = Cursor::new(self.tail.fanout.get(bucket * FANOUT..)?);
        Some((cursor.u64()?, cursor.u32()?))
    }

    /// The bytes of a bucket, verified. [`Error::Damaged`] when they are not what was written.
    fn bucket(&self, bucket: usize) -> Result<Vec<u8>> {
        let damaged = || Error::damaged(&self.path, format!("bucket {bucket} of the chunk index"));
        let (first, crc) = self.fanout(bucket).ok_or_else(damaged)?;
        let (next, _) = self.fanout(bucket + 1).ok_or_else(damaged)?;
        if first > next || next > self.tail.entries {
            return Err(damaged());
        }
        let mut bytes = vec![0; (next - first) as usize * ENTRY];
        if bytes.is_empty() {
            return Ok(bytes);
        }
        read_exact(&self.file, &self.path, &mut bytes, first * ENTRY as u64, "entries of the chunk index")?;
        if crc32c::crc32c(&bytes) == crc { Ok(bytes) } else { Err(damaged()) }
    }

    /// The entries of a bucket in order.
    pub(super) fn bucket_entries(&self, bucket: usize) -> Result<Vec<IndexEntry>> {
        let bytes = self.bucket(bucket)?;
        let mut cursor = Cursor::new(&bytes);
        let mut entries = Vec::with_capacity(bytes.len() / ENTRY);
        while let Some(entry) = decode_entry(&mut cursor) {
            entries.push(entry);
        }
        Ok(entries)
    }

    /// Appends to `found` every place where `id` is.
    pub fn find(&self, id: &ChunkId, found: &mut Vec<Location>) -> Result<()> {
        let bytes = self.bucket(bucket_of(id, self.tail.bits))?;
        let (entries, _) = bytes.as_chunks::<ENTRY>();
        let from = entries.partition_point(|entry| entry.get(..ChunkId::LEN) < Some(&id.0[..]));
        let same = entries.iter().skip(from).take_while(|entry| entry.starts_with(&id.0));
        found.extend(same.filter_map(|entry| Some(decode_entry(&mut Cursor::new(entry))?.1)));
        Ok(())
    }
}
