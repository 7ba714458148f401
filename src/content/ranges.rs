//! Whether two runs of bytes are the same, told from the chunks of their contents alone.
//!
//! A chunk's id is the hash of its bytes: two runs made of the same pieces of the same chunks are the same, two different
//! chunks that lie alike in both are different bytes. What is cut differently in both tells nothing.

use std::collections::HashSet;
use std::ops::Range;

use super::manifest::{Extent, Manifest};
use crate::base::id::ChunkId;

/// What the chunks of two runs of bytes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// The same bytes.
    Same,
    /// Other bytes.
    Different,
    /// Only the bytes themselves can tell.
    Unclear,
}

/// What one extent has of a run of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The chunk; `None` = zeros of a hole.
    pub chunk: Option<ChunkId>,
    /// Length of the whole extent in bytes.
    pub extent_len: u64,
    /// Offset in the extent.
    pub within: u64,
    /// Bytes.
    pub len: u64,
}

impl Piece {
    fn is_whole_chunk(&self) -> bool {
        self.chunk.is_some() && self.len == self.extent_len
    }
}

/// The pieces that bytes `range` of a content are made of, in order.
pub fn pieces(manifest: &Manifest, range: Range<u64>) -> impl Iterator<Item = Piece> + '_ {
    let first = manifest.locate(range.start).map(|located| located.index);
    let located = first.into_iter().flat_map(|first| (first..).map_while(|index| manifest.extent(index)));
    let start = range.start;
    located.take_while(move |located| located.start < range.end).map(move |located| {
        let from = located.start.max(start);
        let chunk = match located.extent {
            Extent::Data { id, .. } => Some(id),
            Extent::Hole { .. } => None,
        };
        let (within, len) = (from - located.start, located.end().min(range.end) - from);
        Piece { chunk, extent_len: located.extent.len(), within, len }
    })
}

/// Compares bytes `range` of one content with as many bytes of another, from `at` on.
pub fn compare(one: &Manifest, range: Range<u64>, other: &Manifest, at: u64) -> Told {
    let end = at.saturating_add(range.end.saturating_sub(range.start));
    let (mut ours, mut theirs) = (pieces(one, range), pieces(other, at..end));
    let mut told = Told::Same;
    loop {
        match (ours.next(), theirs.next()) {
            (None, None) => return told,
            (Some(our), Some(their)) if our.len == their.len => {
                let same = our.chunk == their.chunk && (our.chunk.is_none() || our.within == their.within);
                if !same && our.is_whole_chunk() && their.is_whole_chunk() {
                    return Told::Different;
                }
                told = if same { told } else { Told::Unclear };
            }
            _ => return Told::Unclear,
        }
    }
}

/// Bytes of `new` in chunks that `old` does not have.
pub fn new_bytes(new: &Manifest, old: &Manifest) -> u64 {
    let old: HashSet<ChunkId> = old.ids().collect();
    let bytes = new.extents().iter().map(|extent| match extent {
        Extent::Data { len, id } if !old.contains(id) => u64::from(*len),
        _ => 0,
    });
    bytes.sum()
}

#[cfg(test)]
mod tests {
    use super::super::manifest::Level;
    use super::*;

    /// Chunks of these lengths and first bytes of ids; id 0 is a hole.
    fn manifest(extents: &[(u32, u8)]) -> Manifest {
        let mut manifest = Manifest::new(Level::Content);
        for (len, id) in extents {
            match id {
                0 => manifest.push_hole(u64::from(*len)),
                id => manifest.push_data(*len, ChunkId([*id; ChunkId::LEN])),
            }
        }
        manifest
    }

    #[test]
    fn what_lies_alike_is_told_and_what_does_not_is_unclear() {
        let one = manifest(&[(10, 1), (20, 2), (30, 0), (5, 3)]);
        let moved = manifest(&[(7, 9), (10, 1), (20, 2), (30, 0), (5, 3)]);
        assert_eq!(compare(&one, 0..65, &moved, 7), Told::Same);
        assert_eq!(compare(&one, 12..28, &moved, 19), Told::Same);
        assert_eq!(compare(&one, 12..28, &moved, 18), Told::Unclear, "the same chunk at another place in it");
        let changed = manifest(&[(10, 1), (20, 4), (30, 0), (5, 3)]);
        assert_eq!(compare(&one, 0..65, &changed, 0), Told::Different);
        assert_eq!(compare(&one, 0..10, &changed, 0), Told::Same);
        assert_eq!(
            compare(&one, 10..29, &changed, 10),
            Told::Unclear,
            "the last byte may be all the difference"
        );
        let cut = manifest(&[(30, 5), (30, 0), (5, 3)]);
        assert_eq!(compare(&one, 0..30, &cut, 0), Told::Unclear);
        assert_eq!(compare(&one, 30..65, &cut, 30), Told::Same);
        let filled = manifest(&[(10, 1), (20, 2), (30, 8), (5, 3)]);
        assert_eq!(compare(&one, 0..65, &filled, 0), Told::Unclear, "a chunk may hold zeros");
        assert_eq!(compare(&one, 0..65, &one, 1), Told::Unclear);
        assert_eq!(compare(&one, 0..0, &cut, 0), Told::Same);
    }

    #[test]
    fn pieces_make_up_their_range_and_new_bytes_are_counted_once_a_place() {
        let one = manifest(&[(10, 1), (20, 2), (30, 0), (5, 3)]);
        let lens: Vec<u64> = pieces(&one, 5..62).map(|piece| piece.len).collect();
        assert_eq!(lens, [5, 20, 30, 2]);
        assert_eq!(pieces(&one, 65..70).count(), 0);
        assert_eq!(new_bytes(&manifest(&[(10, 1), (7, 6), (7, 6), (9, 0)]), &one), 14);
    }
}
