//! What the chunk index lists of each pack, as one number: so that whoever looks at all packs reads the index once from its
//! front to its end, and does not look up each blob.
//!
//! A pack whose sum is that of its blobs has all of them in the index. One whose sum is another may still have them (twice,
//! after an index file was made anew beside an older one): of that one each blob is looked up.

use std::collections::HashMap;

use super::chunk_index::ChunkIndex;
use super::format::PackEntry;
use super::merge::Fault;
use super::store::PackStore;
use crate::base::id::ChunkId;
use crate::base::{Error, Result};

/// Buckets between two questions whether to go on.
const BUCKETS_AT_ONCE: usize = 4096;

/// The sums of all packs. 16 bytes of memory a pack.
#[derive(Debug, Default)]
pub struct Sums {
    by_pack: HashMap<u32, u64>,
}

impl Sums {
    fn add(&mut self, id: &ChunkId, pack: u32, offset: u32) {
        let sum = self.by_pack.entry(pack).or_default();
        *sum = sum.wrapping_add(term(id, offset));
    }

    /// Whether `pack` is listed with these blobs, each at its place, and no others.
    pub fn agree(&self, pack: u32, entries: &[PackEntry]) -> bool {
        let sum = entries.iter().fold(0_u64, |sum, entry| sum.wrapping_add(term(&entry.id, entry.offset)));
        sum == self.by_pack.get(&pack).copied().unwrap_or(0)
    }
}

/// What one blob adds. Ids are hashes: a sum that agrees by chance is as rare as two equal ids.
fn term(id: &ChunkId, offset: u32) -> u64 {
    // Not a sum itself: two blobs that have changed places are noticed.
    let both = id.short() ^ u64::from(offset).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = both.wrapping_mul(0xd6e8_feb8_6659_fd93);
    mixed ^ (mixed >> 32)
}

impl ChunkIndex {
    /// The sums of all packs, as they are when it is asked. What is damaged is made again from the packs first.
    fn sums(&self, go_on: &dyn Fn() -> Result<()>) -> Result<Sums> {
        loop {
            match self.read_sums(go_on) {
                Err((Some(seq), error @ Error::Damaged { .. })) => self.heal(seq, &error)?,
                Err((_, error)) => return Err(error),
                Ok(sums) => return Ok(sums),
            }
        }
    }

    fn read_sums(&self, go_on: &dyn Fn() -> Result<()>) -> Result<Sums, Fault> {
        let mut sums = Sums::default();
        let files = {
            let state = self.read();
            state.recent.iter().for_each(|((id, pack), at)| sums.add(id, *pack, at.offset));
            state.files.clone()
        };
        for file in &files {
            for bucket in 0..file.buckets() {
                if bucket % BUCKETS_AT_ONCE == 0 {
                    go_on().map_err(|error| (None, error))?;
                }
                let entries = file.bucket_entries(bucket).map_err(|error| (Some(file.seq()), error))?;
                entries.iter().for_each(|(id, at)| sums.add(id, at.pack, at.offset));
            }
        }
        Ok(sums)
    }
}

impl PackStore {
    /// What the chunk index lists of each pack. `go_on` is asked often.
    pub fn index_sums(&self, go_on: &dyn Fn() -> Result<()>) -> Result<Sums> {
        self.shared().index.sums(go_on)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::base::monitor::Silent;
    use crate::content::hash::chunk_id;
    use crate::pack::Kind;
    use crate::pack::chunk_index::RECENT_ENTRIES;

    fn entries(pack: u32, count: u32) -> Vec<PackEntry> {
        let id = |n: u32| chunk_id(&[pack.to_le_bytes(), n.to_le_bytes()].concat());
        let entry = |n| PackEntry {
            id: id(n),
            offset: n,
            len: 99,
            raw_len: 50,
            kind: Kind::Chunk,
            codec: 0,
            has_base: false,
        };
        (0..count).map(entry).collect()
    }

    #[test]
    fn packs_in_memory_and_in_files_agree_and_one_blob_elsewhere_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let index = ChunkIndex::open(dir.path(), dir.path(), BTreeMap::new(), &Silent).unwrap();
        let (old, new) = (entries(1, RECENT_ENTRIES as u32), entries(2, 100));
        index.add(1, 1000, &old);
        index.keep_up().unwrap();
        index.add(2, 1000, &new);
        assert_eq!((index.read().files.len(), index.read().recent.len()), (1, 100));
        let sums = index.sums(&|| Ok(())).unwrap();
        assert!(sums.agree(1, &old) && sums.agree(2, &new) && sums.agree(3, &[]));
        assert!(!sums.agree(1, &new) && !sums.agree(2, &new[1..]) && !sums.agree(3, &new));
        let mut swapped = new.clone();
        (swapped[3].offset, swapped[4].offset) = (new[4].offset, new[3].offset);
        assert!(!sums.agree(2, &swapped));
        index.forget(2);
        index.add(2, 1000, &new[1..]);
        assert!(!index.sums(&|| Ok(())).unwrap().agree(2, &new), "a blob that the index lacks");
    }
}
