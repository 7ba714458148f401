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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::bytes::Put;
    use crate::formats::samples::Bytes;

    /// Appends a block with its trailer; its handle.
    fn put(out: &mut Vec<u8>, block: &[u8], compression: u8) -> Vec<u8> {
        let at = out.len();
        out.raw(block).u8(compression);
        let crc = crc32c::crc32c(&out[at..]);
        out.u32(crc.rotate_right(15).wrapping_add(0xa282_ead8));
        assert!(at < 128 && block.len() < 128);
        vec![u8::try_from(at).unwrap(), u8::try_from(block.len()).unwrap()]
    }

    /// Entries of a block, each key written whole.
    fn block(entries: &[(&[u8], &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        for (key, value) in entries {
            out.u8(0).u8(u8::try_from(key.len()).unwrap()).u8(u8::try_from(value.len()).unwrap());
            out.raw(key).raw(value);
        }
        out.u32(0).u32(1);
        out
    }

    /// A table of data blocks in the order given, the first of them compressed as told.
    fn table(blocks: &[Vec<u8>], compression: u8) -> Vec<u8> {
        let mut out = Vec::new();
        let kind = |place| if place == 0 { compression } else { 0 };
        let handles: Vec<_> =
            blocks.iter().enumerate().map(|(place, block)| put(&mut out, block, kind(place))).collect();
        let meta = put(&mut out, &block(&[]), 0);
        let index: Vec<(&[u8], &[u8])> = handles.iter().map(|handle| (&b"k"[..], &handle[..])).collect();
        let index = put(&mut out, &block(&index), 0);
        let mut footer = [meta, index].concat();
        footer.resize(FOOTER - 8, 0);
        out.raw(&footer).u64(MAGIC);
        out
    }

    type Owned = (Vec<u8>, Vec<u8>);

    fn said(bytes: Vec<u8>) -> Result<Vec<Owned>, String> {
        let mut found = Vec::new();
        let read = entries(&Bytes::new(bytes), |key, value| {
            found.push((key.to_vec(), value.to_vec()));
            Ok(())
        });
        match read {
            Ok(()) => Ok(found),
            Err(Fault::Invalid(why)) => Err(why),
            Err(Fault::Failed(error)) => panic!("{error}"),
        }
    }

    #[test]
    fn plain_and_compressed_blocks_give_their_entries() {
        let raw = block(&[(b"a", b"1"), (b"b", b"22")]);
        let wanted = vec![(b"a".to_vec(), b"1".to_vec()), (b"b".to_vec(), b"22".to_vec())];
        assert_eq!(said(table(std::slice::from_ref(&raw), 0)), Ok(wanted.clone()));
        // One literal: the simplest thing that Snappy's format allows.
        let len = u8::try_from(raw.len()).unwrap();
        let squeezed = [&[len, (len - 1) << 2][..], &raw].concat();
        assert_eq!(said(table(&[squeezed.clone(), raw], 1)).unwrap()[..2], wanted);
        assert!(said(table(&[squeezed[..5].to_vec()], 1)).unwrap_err().contains("does not decompress"));
        assert!(said(table(&[squeezed], 7)).unwrap_err().contains("unknown compression"));
    }

    #[test]
    fn shared_prefixes_are_put_together_and_impossible_ones_refused() {
        let shared =
            |count: u8| [&[0, 2, 1][..], b"ab1", &[count, 1, 1], b"c2", &[0; 4], &[1, 0, 0, 0]].concat();
        let found = said(table(&[shared(1)], 0)).unwrap();
        assert_eq!(found[1], (b"ac".to_vec(), b"2".to_vec()));
        assert!(said(table(&[shared(3)], 0)).unwrap_err().contains("malformed"));
        assert!(said(table(&[vec![0, 0, 0, 9]], 0)).unwrap_err().contains("malformed"));
    }

    #[test]
    fn blocks_out_of_order_or_outside_the_file_are_refused() {
        let mut out = Vec::new();
        let data = put(&mut out, &block(&[(b"a", b"1")]), 0);
        let index = put(&mut out, &block(&[(b"k", &data), (b"k", &data)]), 0);
        let end = |handle: &[u8]| {
            let mut footer = [&[0, 0][..], handle].concat();
            footer.resize(FOOTER - 8, 0);
            [&out[..], &footer, &MAGIC.to_le_bytes()].concat()
        };
        assert!(said(end(&index)).unwrap_err().contains("out of order"));
        assert!(said(end(&[0, 120])).unwrap_err().contains("outside"));
        assert!(said(end(&[0xff; 20])).unwrap_err().contains("footer"));
    }
}
