//! Which chunk of an earlier content each chunk of a content is most likely to be like.
//!
//! Pure, from the two lists of chunks alone: equal places of equal length first (formats write the same tensors at the
//! same offsets save after save), then places moved by what the file has grown by (a header that got longer), then the
//! same rank among the chunks of that length, where both have as many. A wrong pair costs ratio, never correctness.

use std::collections::HashMap;

use super::manifest::{Extent, Manifest};
use crate::base::id::ChunkId;

/// A chunk and the one that it may be like. They differ, and are equally long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// The chunk.
    pub chunk: ChunkId,
    /// Its like.
    pub base: ChunkId,
    /// Bytes of either.
    pub len: u32,
}

/// The chunks of one content by place, and by length and rank.
struct Places {
    size: u64,
    by_start: HashMap<(u64, u32), ChunkId>,
    by_len: HashMap<u32, Vec<ChunkId>>,
}

impl Places {
    fn of(manifest: &Manifest) -> Places {
        let mut places = Places { size: manifest.size(), by_start: HashMap::new(), by_len: HashMap::new() };
        for (start, len, id) in chunks(manifest) {
            places.by_start.insert((start, len), id);
            places.by_len.entry(len).or_default().push(id);
        }
        places
    }
}

/// The chunks of `manifest` with their places.
fn chunks(manifest: &Manifest) -> impl Iterator<Item = (u64, u32, ChunkId)> + '_ {
    (0..).map_while(|index| manifest.extent(index)).filter_map(|at| match at.extent {
        Extent::Data { len, id } => Some((at.start, len, id)),
        Extent::Hole { .. } => None,
    })
}

/// Pairs the chunks of `content` with those of `base`. Each chunk comes once, in order; one that `base` has, too, does not.
pub fn pairs(content: &Manifest, base: &Manifest) -> Vec<Pair> {
    let (own, other) = (Places::of(content), Places::of(base));
    let same: std::collections::HashSet<ChunkId> = base.ids().collect();
    let mut ranks: HashMap<u32, usize> = HashMap::new();
    let (mut seen, mut found) = (std::collections::HashSet::new(), Vec::new());
    for (start, len, chunk) in chunks(content) {
        let rank = ranks.entry(len).or_default();
        let at = *rank;
        *rank += 1;
        if same.contains(&chunk) || !seen.insert(chunk) {
            continue;
        }
        let moved = start.saturating_add(other.size).checked_sub(own.size);
        let placed = [Some(start), moved].into_iter().flatten();
        let by_place = placed.filter_map(|start| other.by_start.get(&(start, len))).next();
        let ranked = || {
            let (own, other) = (own.by_len.get(&len)?, other.by_len.get(&len)?);
            other.get(at).filter(|_| own.len() == other.len())
        };
        if let Some(base) = by_place.or_else(ranked).copied() {
            found.push(Pair { chunk, base, len });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::manifest::Level;

    /// A content of chunks `(length, name)`; the name 0 is a hole.
    fn content(chunks: &[(u32, u8)]) -> Manifest {
        let mut manifest = Manifest::new(Level::Content);
        for (len, name) in chunks {
            match name {
                0 => manifest.push_hole(u64::from(*len)),
                _ => manifest.push_data(*len, ChunkId([*name; 32])),
            }
        }
        manifest
    }

    fn names(own: &[(u32, u8)], base: &[(u32, u8)]) -> Vec<(u8, u8)> {
        pairs(&content(own), &content(base)).iter().map(|pair| (pair.chunk.0[0], pair.base.0[0])).collect()
    }

    #[test]
    fn equal_places_are_paired_and_equal_chunks_are_not() {
        assert_eq!(names(&[(9, 1), (9, 2), (5, 3)], &[(9, 11), (9, 2), (5, 13)]), [(1, 11), (3, 13)]);
        assert_eq!(names(&[(9, 1), (9, 1)], &[(9, 11), (9, 12)]), [(1, 11)]);
    }

    #[test]
    fn a_header_that_has_grown_moves_all_places() {
        let (own, base) = ([(70, 1), (9, 2), (9, 3)], [(64, 11), (9, 12), (9, 13)]);
        assert_eq!(names(&own, &base), [(2, 12), (3, 13)]);
    }

    #[test]
    fn the_rank_counts_only_where_both_have_as_many_of_a_length() {
        assert_eq!(names(&[(3, 1), (9, 2), (4, 0)], &[(9, 12)]), [(2, 12)]);
        assert_eq!(names(&[(3, 1), (9, 2), (9, 3)], &[(9, 12), (5, 0)]), []);
    }
}
