//! The bytes of a pack: header, blob headers, entries, trailer. docs/format.md is the description; this is its code.
//!
//! Every decoder takes any bytes and gives `None` for what does not verify.

use crate::base::bytes::{Cursor, Put};
use crate::base::id::ChunkId;
use crate::codec::{Encoding, MAX_RAW};

/// Bytes of a pack's header.
pub const PACK_HEADER: usize = 20;
/// Bytes of an entry of a pack's footer.
pub const ENTRY: usize = 48;
/// Bytes of a pack's trailer.
pub const TRAILER: usize = 28;
/// The longest blob header, in bytes.
pub const MAX_BLOB_HEADER: usize = 92;
/// The longest blob, header included, in bytes.
pub const MAX_BLOB: usize = MAX_RAW + MAX_BLOB_HEADER;
/// First bytes of a blob.
pub const BLOB_MAGIC: [u8; 4] = *b"CKB1";

const PACK_MAGIC: [u8; 8] = *b"CKPTPACK";
const FOOT_MAGIC: [u8; 8] = *b"CKPTFOOT";
const VERSION: u32 = 2;
const HAS_BASE: u8 = 1;

/// What a blob is for; the number is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// A run of file bytes.
    Chunk = 1,
    /// A manifest, or a part of one.
    Manifest = 2,
    /// The tree of a version.
    Tree = 3,
}

impl Kind {
    fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Kind::Chunk),
            2 => Some(Kind::Manifest),
            3 => Some(Kind::Tree),
            _ => None,
        }
    }
}

/// What stands before a blob's stored bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobHeader {
    /// What the blob is for.
    pub kind: Kind,
    /// How the bytes are stored.
    pub encoding: Encoding,
    /// Bytes when decoded, at most [`MAX_RAW`].
    pub raw_len: u32,
    /// Bytes that are stored after the header, at most `raw_len`.
    pub stored_len: u32,
    /// CRC-32C of the stored bytes.
    pub stored_crc: u32,
    /// The hash of the raw bytes.
    pub id: ChunkId,
}

impl BlobHeader {
    /// Bytes of this header when encoded.
    pub fn len(&self) -> usize {
        if self.encoding.base.is_some() { MAX_BLOB_HEADER } else { MAX_BLOB_HEADER - ChunkId::LEN }
    }

    /// Never: a header has bytes.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Bytes of the blob: header and stored bytes.
    pub fn blob_len(&self) -> u64 {
        self.len() as u64 + u64::from(self.stored_len)
    }

    /// Appends the header to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        let Encoding { codec, version, width, phase, base } = self.encoding;
        out.raw(&BLOB_MAGIC).u8(self.kind as u8).u8(codec).u8(version).u8(width).u8(phase);
        out.u8(if base.is_some() { HAS_BASE } else { 0 }).u16(0);
        out.u32(self.raw_len).u32(self.stored_len).u32(self.stored_crc).raw(&self.id.0);
        if let Some(base) = base {
            out.raw(&base.0);
        }
        let crc = crc32c::crc32c(out.get(start..).unwrap_or_default());
        out.u32(crc);
    }

    /// The header at the start of `bytes`, which may go on after it.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(bytes);
        if cursor.array()? != BLOB_MAGIC {
            return None;
        }
        let kind = cursor.u8()?;
        let (codec, version, width, phase) = (cursor.u8()?, cursor.u8()?, cursor.u8()?, cursor.u8()?);
        let (flags, reserved) = (cursor.u8()?, cursor.u16()?);
        let (raw_len, stored_len, stored_crc) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
        let id = ChunkId(cursor.array()?);
        let base = if flags & HAS_BASE != 0 { Some(ChunkId(cursor.array()?)) } else { None };
        let crc = crc32c::crc32c(bytes.get(..bytes.len() - cursor.rest().len())?);
        let sound = cursor.u32()? == crc && flags & !HAS_BASE == 0 && reserved == 0;
        if !sound || raw_len as usize > MAX_RAW || stored_len > raw_len {
            return None;
        }
        let encoding = Encoding { codec, version, width, phase, base };
        Some(BlobHeader { kind: Kind::from_number(kind)?, encoding, raw_len, stored_len, stored_crc, id })
    }
}

/// Where one blob of a pack is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackEntry {
    /// The hash of the raw bytes.
    pub id: ChunkId,
    /// Offset of the blob in the pack.
    pub offset: u32,
    /// Bytes of the blob, header included.
    pub len: u32,
    /// Bytes when decoded.
    pub raw_len: u32,
    /// What the blob is for.
    pub kind: Kind,
    /// The number of its codec.
    pub codec: u8,
    /// Whether another blob is needed to decode it.
    pub has_base: bool,
}

/// The first bytes of pack `number`.
pub fn encode_pack_header(number: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(PACK_HEADER);
    out.raw(&PACK_MAGIC).u32(VERSION).u32(number);
    let crc = crc32c::crc32c(&out);
    out.u32(crc);
    out
}

/// The footer of pack `number`: `entries`, which are in order of id, and the trailer; they begin at `offset`.
pub fn encode_footer(number: u32, offset: u32, entries: &[PackEntry]) -> Vec<u8> {
    let mut out = Vec::with_capacity(entries.len() * ENTRY + TRAILER);
    for entry in entries {
        out.raw(&entry.id.0).u32(entry.offset).u32(entry.len).u32(entry.raw_len);
        out.u8(entry.kind as u8).u8(entry.codec).u8(if entry.has_base { HAS_BASE } else { 0 }).u8(0);
    }
    let crc = crc32c::crc32c(&out);
    let start = out.len();
    out.u32(offset).u32(u32::try_from(entries.len()).unwrap_or(u32::MAX)).u32(number).u32(crc);
    out.raw(&FOOT_MAGIC);
    let crc = crc32c::crc32c(out.get(start..).unwrap_or_default());
    out.u32(crc);
    out
}

/// What a pack's trailer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// Where the entries begin.
    pub offset: u32,
    /// How many there are.
    pub count: u32,
    /// The pack's number.
    pub number: u32,
    entries_crc: u32,
}

impl Trailer {
    /// The trailer in the last [`TRAILER`] bytes of a pack of `pack_len` bytes.
    pub fn decode(bytes: &[u8], pack_len: u64) -> Option<Self> {
        let crc = crc32c::crc32c(bytes.get(..TRAILER - 4)?);
        let mut cursor = Cursor::new(bytes);
        let trailer = Trailer {
            offset: cursor.u32()?,
            count: cursor.u32()?,
            number: cursor.u32()?,
            entries_crc: cursor.u32()?,
        };
        let sound = cursor.array()? == FOOT_MAGIC && cursor.u32()? == crc;
        cursor.end()?;
        let len = u64::from(trailer.offset) + u64::from(trailer.count) * ENTRY as u64 + TRAILER as u64;
        (sound && len == pack_len).then_some(trailer)
    }

    /// The entries that `bytes` hold, when they are those that this trailer closes.
    pub fn entries(&self, bytes: &[u8]) -> Option<Vec<PackEntry>> {
        if crc32c::crc32c(bytes) != self.entries_crc {
            return None;
        }
        let mut cursor = Cursor::new(bytes);
        let mut entries = Vec::with_capacity(bytes.len() / ENTRY);
        while cursor.end().is_none() {
            let id = ChunkId(cursor.array()?);
            let (offset, len, raw_len) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
            let kind = Kind::from_number(cursor.u8()?)?;
            let (codec, flags, _zero) = (cursor.u8()?, cursor.u8()?, cursor.u8()?);
            let has_base = flags & HAS_BASE != 0;
            entries.push(PackEntry { id, offset, len, raw_len, kind, codec, has_base });
        }
        Some(entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Codec;
    use proptest::prelude::*;

    fn header(base: Option<ChunkId>) -> BlobHeader {
        BlobHeader {
            kind: Kind::Tree,
            encoding: Encoding { width: 4, phase: 3, base, ..Encoding::plain(Codec::Zstd) },
            raw_len: 1000,
            stored_len: 900,
            stored_crc: 77,
            id: ChunkId([3; 32]),
        }
    }

    #[test]
    fn a_header_comes_back_and_no_flipped_bit_passes() {
        for header in [header(None), header(Some(ChunkId([5; 32])))] {
            let mut bytes = Vec::new();
            header.encode(&mut bytes);
            assert_eq!(bytes.len(), header.len());
            assert!((0..bytes.len()).all(|len| BlobHeader::decode(&bytes[..len]).is_none()));
            for bit in 0..bytes.len() * 8 {
                bytes[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(BlobHeader::decode(&bytes), None, "bit {bit}");
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            bytes.extend_from_slice(b"stored bytes");
            assert_eq!(BlobHeader::decode(&bytes), Some(header));
        }
    }

    #[test]
    fn a_footer_comes_back_and_no_flipped_bit_passes() {
        let (id, kind) = (ChunkId([1; 32]), Kind::Chunk);
        let entry = PackEntry { id, offset: 20, len: 99, raw_len: 200, kind, codec: 4, has_base: true };
        let mut bytes = encode_footer(5, 119, &[entry, PackEntry { offset: 40, ..entry }]);
        let read = |bytes: &[u8]| {
            let (entries, trailer) = bytes.split_at(2 * ENTRY);
            Trailer::decode(trailer, 119 + bytes.len() as u64)?.entries(entries)
        };
        assert_eq!(read(&bytes), Some(vec![entry, PackEntry { offset: 40, ..entry }]));
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(read(&bytes), None, "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_header_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let mut bytes = bytes;
            for (to, from) in bytes.iter_mut().zip(BLOB_MAGIC) {
                *to = from;
            }
            prop_assert_eq!(BlobHeader::decode(&bytes), None);
        }
    }
}
