//! LevelDB's sorted table, as TensorFlow writes its `.index` files.
//!
//! The footer names the index block, the index block names the data blocks, each block has a checksum. Blocks must come
//! in order and not overlap, so each byte of the file is read at most once and the work is bounded by its length.

use super::Source;
use super::protobuf::varint;
use super::read::{self, Fault, invalid};
use super::snappy;
use crate::base::bytes::Cursor;

/// The last eight bytes of a table.
pub(super) const MAGIC: u64 = 0xdb47_7524_8b80_fb57;
/// The footer's length in bytes.
pub(super) const FOOTER: usize = 48;
/// A block beyond this, in bytes, is not one that TensorFlow writes (it aims at 256 KiB).
const BLOCK_MAX: usize = 64 << 20;
/// The compression's number and the checksum behind a block, in bytes.
const TRAILER: usize = 5;

/// Where a block is, without its trailer.
#[derive(Clone, Copy)]
struct Handle {
    offset: u64,
    len: u64,
}

impl Handle {
    fn parse(cursor: &mut Cursor<'_>) -> Option<Self> {
        Some(Handle { offset: varint(cursor)?, len: varint(cursor)? })
    }

    fn end(&self) -> Option<u64> {
        self.offset.checked_add(self.len)?.checked_add(TRAILER as u64)
    }
}

/// Whether the file ends as a table does.
pub(super) fn has_footer(source: &dyn Source) -> crate::base::Result<bool> {
    Ok(read::tail(source, 8)? == MAGIC.to_le_bytes())
}

/// Calls `each` with every key and value in order, until it ends with a fault.
pub(super) fn entries(
    source: &dyn Source,
    mut each: impl FnMut(&[u8], &[u8]) -> Result<(), Fault>,
) -> Result<(), Fault> {
    let footer = read::tail(source, FOOTER)?;
    if footer.len() < FOOTER || !has_footer(source)? {
        return invalid("index without its footer: cut short");
    }
    let body = source.len() - FOOTER as u64;
    let mut cursor = Cursor::new(&footer);
    let handles = (Handle::parse(&mut cursor), Handle::parse(&mut cursor));
    let (Some(_), Some(index)) = handles else { return invalid("index with a damaged footer") };
    let index = block(source, index, body)?;
    let mut blocks = Block::new(&index)?;
    let mut least = 0;
    while let Some((_, handle)) = blocks.next()? {
        let handle = Handle::parse(&mut Cursor::new(handle)).filter(|handle| handle.offset >= least);
        let Some(handle) = handle else { return invalid("index whose blocks are out of order") };
        let bytes = block(source, handle, body)?;
        least = handle.end().unwrap_or(body);
        let mut block = Block::new(&bytes)?;
        while let Some((key, value)) = block.next()? {
            each(key, value)?;
        }
    }
    Ok(())
}

/// The raw bytes of a block whose checksum holds.
fn block(source: &dyn Source, handle: Handle, body: u64) -> Result<Vec<u8>, Fault> {
    let len = usize::try_from(handle.len).ok().filter(|len| *len <= BLOCK_MAX);
    let (Some(len), true) = (len, handle.end().is_some_and(|end| end <= body)) else {
        return invalid("index with a block outside the file");
    };
    let mut bytes = read::at_most(source, handle.offset, len + TRAILER)?;
    let Some((checked, sum)) = bytes.split_last_chunk::<4>() else {
        return invalid("index with a block outside the file");
    };
    let crc = crc32c::crc32c(checked);
    // LevelDB stores checksums rotated and shifted, so that a checksum of checksums is a good one.
    if crc.rotate_right(15).wrapping_add(0xa282_ead8) != u32::from_le_bytes(*sum) {
        return invalid("index with a block whose checksum does not hold");
    }
    let compression = checked.last().copied();
    bytes.truncate(len);
    match compression {
        Some(0) => Ok(bytes),
        Some(1) => match snappy::decompress(&bytes, BLOCK_MAX) {
            Some(raw) => Ok(raw),
            None => invalid("index with a block that does not decompress"),
        },
        _ => invalid("index with a block in an unknown compression"),
    }
}

/// A key and its value.
type Pair<'k, 'v> = (&'k [u8], &'v [u8]);

/// The entries of one block: each key is told by what differs from the one before.
struct Block<'a> {
    cursor: Cursor<'a>,
    key: Vec<u8>,
}

impl<'a> Block<'a> {
    fn new(bytes: &'a [u8]) -> Result<Self, Fault> {
        let entries = || {
            let (body, count) = bytes.split_last_chunk::<4>()?;
            let restarts = usize::try_from(u32::from_le_bytes(*count)).ok()?.checked_mul(4)?;
            body.get(..body.len().checked_sub(restarts)?)
        };
        match entries() {
            Some(entries) => Ok(Block { cursor: Cursor::new(entries), key: Vec::new() }),
            None => invalid("index with a malformed block"),
        }
    }

    fn next(&mut self) -> Result<Option<Pair<'_, 'a>>, Fault> {
        if self.cursor.rest().is_empty() {
            return Ok(None);
        }
        match self.entry() {
            Some(value) => Ok(Some((&self.key, value))),
            None => invalid("index with a malformed block"),
        }
    }

    fn entry(&mut self) -> Option<&'a [u8]> {
        let mut number = || usize::try_from(varint(&mut self.cursor)?).ok();
        let (shared, own, len) = (number()?, number()?, number()?);
        if shared > self.key.len() {
            return None;
        }
        self.key.truncate(shared);
        self.key.extend_from_slice(self.cursor.take(own)?);
        self.cursor.take(len)
    }
}
