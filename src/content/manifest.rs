//! The list of the chunks of one content.
//!
//! A manifest has one encoding: holes are merged and never empty, lengths sum to the size. So equal content that was cut
//! alike has an equal id. Decoding takes any bytes and allocates in proportion to them.

use crate::base::bytes::{Cursor, Put};
use crate::base::id::ChunkId;
use crate::content::hash;

/// The version of the encoding that is written.
const VERSION: u8 = 1;
/// The longest chunk that a manifest may name, in bytes.
pub const MAX_EXTENT: u32 = 16 << 20;

/// One run of bytes of a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// The raw bytes of chunk `id`.
    Data {
        /// Length in bytes, 1 to [`MAX_EXTENT`].
        len: u32,
        /// The chunk.
        id: ChunkId,
    },
    /// Zeros that are stored nowhere.
    Hole {
        /// Length in bytes, at least 1.
        len: u64,
    },
}

impl Extent {
    /// Length in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Extent::Data { len, .. } => u64::from(*len),
            Extent::Hole { len } => *len,
        }
    }

    /// Never true in a manifest.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What the extents of a manifest are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The content itself.
    Content,
    /// The encoded manifest of the content, which was too long for one blob.
    Parts,
}

/// The chunks of one content in order, with the place of each.
///
/// Costs 48 bytes of memory an extent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    level: Level,
    size: u64,
    extents: Vec<Extent>,
    starts: Vec<u64>,
}

/// An extent and where it begins in the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Located {
    /// Its number, from 0.
    pub index: usize,
    /// Its first byte's offset in the content.
    pub start: u64,
    /// The extent.
    pub extent: Extent,
}

impl Located {
    /// Offset of the first byte after it.
    pub fn end(&self) -> u64 {
        self.start + self.extent.len()
    }
}

impl Manifest {
    /// A manifest without extents, of a content of no bytes, to be filled from the front.
    pub fn new(level: Level) -> Self {
        Manifest { level, size: 0, extents: Vec::new(), starts: Vec::new() }
    }

    /// Appends chunk `id` of `len` bytes. An empty chunk is left out.
    pub fn push_data(&mut self, len: u32, id: ChunkId) {
        if len > 0 {
            self.push(Extent::Data { len, id });
        }
    }

    /// Appends `len` zeros, merged with a hole before them.
    pub fn push_hole(&mut self, len: u64) {
        match self.extents.last_mut() {
            _ if len == 0 => {}
            Some(Extent::Hole { len: before }) => {
                *before = before.saturating_add(len);
                self.size = self.size.saturating_add(len);
            }
            _ => self.push(Extent::Hole { len }),
        }
    }

    fn push(&mut self, extent: Extent) {
        self.starts.push(self.size);
        self.size = self.size.saturating_add(extent.len());
        self.extents.push(extent);
    }

    /// What the extents are made of.
    pub fn level(&self) -> Level {
        self.level
    }

    /// Bytes of the content.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The extents in order.
    pub fn extents(&self) -> &[Extent] {
        &self.extents
    }

    /// The extent with number `index`, and where it is.
    pub fn extent(&self, index: usize) -> Option<Located> {
        Some(Located { index, start: *self.starts.get(index)?, extent: *self.extents.get(index)? })
    }

    /// The extent that holds byte `offset`; `None` at and after the end. O(log n).
    pub fn locate(&self, offset: u64) -> Option<Located> {
        if offset >= self.size {
            return None;
        }
        self.extent(self.starts.partition_point(|start| *start <= offset).checked_sub(1)?)
    }

    /// The chunks that it names, in order, repeated where the content repeats them.
    pub fn ids(&self) -> impl Iterator<Item = ChunkId> + '_ {
        self.extents.iter().filter_map(|extent| match extent {
            Extent::Data { id, .. } => Some(*id),
            Extent::Hole { .. } => None,
        })
    }

    /// The bytes that docs/format.md describes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(14 + self.extents.len() * 37);
        out.u8(VERSION).u8(match self.level {
            Level::Content => 0,
            Level::Parts => 1,
        });
        out.u64(self.size).u32(u32::try_from(self.extents.len()).unwrap_or(u32::MAX));
        for extent in &self.extents {
            match extent {
                Extent::Hole { len } => out.u8(0).u64(*len),
                Extent::Data { len, id } => out.u8(1).u32(*len).raw(&id.0),
            };
        }
        out
    }

    /// The manifest that `bytes` encode; `None` when they are not one, or of an unknown version.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(bytes);
        if cursor.u8()? != VERSION {
            return None;
        }
        let level = match cursor.u8()? {
            0 => Level::Content,
            1 => Level::Parts,
            _ => return None,
        };
        let (size, count) = (cursor.u64()?, usize::try_from(cursor.u32()?).ok()?);
        // An extent takes at least 9 bytes: a count that the input cannot hold allocates nothing.
        if count > cursor.rest().len() / 9 {
            return None;
        }
        let mut manifest = Manifest::new(level);
        manifest.extents.reserve_exact(count);
        manifest.starts.reserve_exact(count);
        for _ in 0..count {
            let extent = manifest.next_extent(&mut cursor)?;
            manifest.size.checked_add(extent.len())?;
            manifest.push(extent);
        }
        cursor.end()?;
        (manifest.size == size).then_some(manifest)
    }

    fn next_extent(&self, cursor: &mut Cursor<'_>) -> Option<Extent> {
        match cursor.u8()? {
            0 => {
                let len = cursor.u64()?;
                let beside_hole = matches!(self.extents.last(), Some(Extent::Hole { .. }));
                (len > 0 && !beside_hole).then_some(Extent::Hole { len })
            }
            1 => {
                let (len, id) = (cursor.u32()?, ChunkId(cursor.array()?));
                (len > 0 && len <= MAX_EXTENT).then_some(Extent::Data { len, id })
            }
            _ => None,
        }
    }

    /// Its id: the hash of its encoding.
    pub fn id(&self) -> ChunkId {
        hash::chunk_id(&self.encode())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sample() -> Manifest {
        let mut manifest = Manifest::new(Level::Content);
        manifest.push_data(1000, ChunkId([7; 32]));
        manifest.push_hole(1 << 39);
        manifest.push_hole(1 << 39);
        manifest.push_data(24, ChunkId([9; 32]));
        manifest
    }

    #[test]
    fn a_sparse_tebibyte_is_a_hundred_bytes_and_comes_back() {
        let manifest = sample();
        let bytes = manifest.encode();
        assert!(bytes.len() < 100);
        assert_eq!(Manifest::decode(&bytes), Some(manifest.clone()));
        assert_eq!(manifest.size(), (1 << 40) + 1024);
        assert_eq!(Manifest::decode(&Manifest::new(Level::Content).encode()).map(|m| m.size()), Some(0));
    }

    #[test]
    fn every_offset_is_in_the_extent_that_holds_it() {
        let manifest = sample();
        let index = |offset| manifest.locate(offset).map(|at| at.index);
        assert_eq!((index(0), index(999), index(1000)), (Some(0), Some(0), Some(1)));
        assert_eq!((index((1 << 40) + 999), index((1 << 40) + 1000)), (Some(1), Some(2)));
        assert_eq!((index((1 << 40) + 1023), index((1 << 40) + 1024)), (Some(2), None));
    }

    #[test]
    fn what_is_cut_short_or_does_not_add_up_is_refused() {
        let bytes = sample().encode();
        assert!((0..bytes.len()).all(|len| Manifest::decode(&bytes[..len]).is_none()));
        let mut wrong_size = bytes.clone();
        wrong_size[2] ^= 1;
        assert!(Manifest::decode(&wrong_size).is_none());
        let mut huge_count = bytes;
        huge_count[10..14].fill(255);
        assert!(Manifest::decode(&huge_count).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_are_the_one_encoding(bytes in proptest::collection::vec(any::<u8>(), 0..200), fix: bool) {
            let mut bytes = bytes;
            if fix && bytes.len() > 1 {
                bytes[0] = 1;
                bytes[1] = 0;
            }
            if let Some(manifest) = Manifest::decode(&bytes) {
                prop_assert_eq!(manifest.encode(), bytes);
            }
        }
    }
}
