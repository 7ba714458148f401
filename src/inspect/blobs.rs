//! The table of all blobs: how each is stored, and who refers to it.
//!
//! Groups of roots are marked one after the other. A blob remembers the last group that met it and whether another one
//! did before: so it is told apart whether it is new to the group and, at the end, whether only one group has it.
//! Memory: 25 bytes a blob in a hash table, about 40 with its free places; 16 more for one that is a delta. Blobs are told
//! apart by eight bytes of their ids.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::savings::{Savings, Share};
use crate::base::id::ChunkId;
use crate::codec::Codec;
use crate::pack::format::{ENTRY, MAX_BLOB_HEADER};
use crate::pack::{Deltas, Kind, PackEntry};

/// No group has met the blob.
const NOBODY: u32 = u32::MAX;

/// What a blob is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// A chunk that is stored by the codec with this number.
    Chunk(u8),
    /// A list of chunks, a tree, a description.
    Metadata,
    /// A chunk that no pack has.
    Lost,
}

/// One blob, as the newest pack that has it stores it.
#[derive(Clone, Copy, Debug)]
struct Blob {
    /// Bytes when decoded.
    raw: u32,
    /// Bytes in the pack, header included.
    len: u32,
    /// The last group that met it.
    last: u32,
    form: Form,
    has_base: bool,
    /// Another group has met it, too.
    shared: bool,
}

impl Blob {
    fn header(&self) -> u64 {
        let header = if self.has_base { MAX_BLOB_HEADER } else { MAX_BLOB_HEADER - ChunkId::LEN };
        header as u64
    }

    /// Bytes that it takes of the packs, its line in the list of its pack included.
    fn cost(&self) -> u64 {
        if self.form == Form::Lost { 0 } else { u64::from(self.len) + ENTRY as u64 }
    }

    /// The group that alone has it.
    fn only(&self) -> Option<usize> {
        (!self.shared && self.last != NOBODY).then_some(self.last as usize)
    }

    /// Whoever has `other` needs this one; whether that says anything new.
    fn is_needed_with(&mut self, other: Blob) -> bool {
        if self.last == NOBODY {
            (self.last, self.shared) = (other.last, other.shared);
            return true;
        }
        let more = !self.shared && (other.shared || other.last != self.last);
        self.shared |= more;
        more
    }
}

/// All blobs of a store, and what the groups have of them.
#[derive(Debug, Default)]
pub struct Blobs {
    blobs: HashMap<u64, Blob>,
    shares: Vec<Share>,
    savings: Savings,
}

impl Blobs {
    /// Room for so many blobs and groups, which are numbered from 0.
    pub fn new(blobs: usize, groups: usize) -> Self {
        let shares = vec![Share::default(); groups];
        Blobs { blobs: HashMap::with_capacity(blobs), shares, savings: Savings::default() }
    }

    /// A pack of `len` bytes and its blobs. Newest packs come first: of a blob the copy there counts.
    pub fn pack(&mut self, len: u32, entries: &[PackEntry]) {
        let blobs: u64 = entries.iter().map(|entry| u64::from(entry.len)).sum();
        self.savings.packs_bytes += u64::from(len);
        self.savings.headers_bytes += u64::from(len).saturating_sub(blobs);
        for PackEntry { id, len, raw_len, kind, codec, has_base, .. } in entries {
            let form = if *kind == Kind::Chunk { Form::Chunk(*codec) } else { Form::Metadata };
            let blob =
                Blob { raw: *raw_len, len: *len, last: NOBODY, form, has_base: *has_base, shared: false };
            match self.blobs.entry(id.short()) {
                Entry::Occupied(_) => self.savings.garbage_bytes += u64::from(*len),
                Entry::Vacant(free) => drop(free.insert(blob)),
            }
        }
    }

    /// `group` refers to a list, tree or description.
    pub fn metadata(&mut self, id: &ChunkId, group: u32) {
        if let Some(blob) = self.blobs.get_mut(&id.short()) {
            meet(blob, group, &mut self.shares);
        }
    }

    /// `group` refers to a chunk of `raw` bytes.
    pub fn chunk(&mut self, id: &ChunkId, raw: u32, group: u32) {
        let lost = Blob { raw, len: 0, last: NOBODY, form: Form::Lost, has_base: false, shared: false };
        meet(self.blobs.entry(id.short()).or_insert(lost), group, &mut self.shares);
    }

    /// `bytes` of files that `group` has, of which `holes`; `is_counted` when nothing else counts them for the store.
    pub fn files(&mut self, bytes: u64, holes: u64, group: u32, is_counted: bool) {
        if let Some(share) = self.shares.get_mut(group as usize) {
            share.logical_bytes += bytes;
        }
        if is_counted {
            self.savings.logical_bytes += bytes;
            self.savings.holes_bytes += holes;
        }
    }

    /// Whether `group` and no other has met the blob.
    pub fn is_only_of(&self, id: &ChunkId, group: u32) -> bool {
        self.blobs.get(&id.short()).is_some_and(|blob| blob.only() == Some(group as usize))
    }

    /// The figures, when all groups are marked; `deltas` are the blobs that need others.
    pub fn finish(mut self, deltas: &Deltas) -> (Savings, Vec<Share>) {
        let mut different = 0;
        for blob in self.blobs.values().filter(|blob| blob.last != NOBODY) {
            if let Form::Chunk(_) | Form::Lost = blob.form {
                different += u64::from(blob.raw);
            }
            self.savings.count(blob);
            if let Some(share) = blob.only().and_then(|group| self.shares.get_mut(group)) {
                share.unique_bytes += blob.cost();
            }
        }
        let data = self.savings.logical_bytes - self.savings.holes_bytes;
        self.savings.dedup_bytes = data.saturating_sub(different);
        self.add_bases(deltas);
        for blob in self.blobs.values() {
            if blob.last == NOBODY {
                self.savings.garbage_bytes += u64::from(blob.len);
            }
            if let Some(share) = blob.only().and_then(|group| self.shares.get_mut(group)) {
                share.would_free_bytes += blob.cost();
            }
        }
        (self.savings, self.shares)
    }

    /// Whoever has a delta needs its base, and the base of that.
    fn add_bases(&mut self, deltas: &Deltas) {
        let mut changed = true;
        while changed {
            changed = false;
            for (delta, base) in deltas {
                let Some(delta) = self.blobs.get(delta).copied().filter(|blob| blob.last != NOBODY) else {
                    continue;
                };
                if let Some(base) = self.blobs.get_mut(base) {
                    if base.last == NOBODY {
                        self.savings.bases_bytes += u64::from(base.len);
                    }
                    changed |= base.is_needed_with(delta);
                }
            }
        }
    }
}

/// `group` has met `blob`.
fn meet(blob: &mut Blob, group: u32, shares: &mut [Share]) {
    if blob.last == group {
        return;
    }
    let is_new = blob.last == NOBODY;
    blob.shared |= !is_new;
    blob.last = group;
    if let Some(share) = shares.get_mut(group as usize) {
        share.stored_bytes += blob.cost();
        share.added_bytes += if is_new { blob.cost() } else { 0 };
        if blob.form != Form::Metadata {
            share.referenced_bytes += u64::from(blob.raw);
        }
    }
}

impl Savings {
    /// Counts a blob that somebody refers to.
    fn count(&mut self, blob: &Blob) {
        let codec = match blob.form {
            Form::Metadata => {
                self.metadata_bytes += u64::from(blob.len);
                return;
            }
            Form::Lost => {
                self.lost_bytes += u64::from(blob.raw);
                return;
            }
            Form::Chunk(codec) => codec,
        };
        self.headers_bytes += blob.header();
        let stored = u64::from(blob.len).saturating_sub(blob.header());
        let saved = u64::from(blob.raw).saturating_sub(stored);
        let by = match Codec::from_number(codec) {
            Some(Codec::Constant) => &mut self.constant_bytes,
            Some(Codec::Zstd) => &mut self.zstd_bytes,
            Some(Codec::Rot) => &mut self.planes_bytes,
            Some(Codec::Delta) => &mut self.delta_bytes,
            Some(Codec::Raw) | None => &mut self.other_bytes,
        };
        *by += saved;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pack::format::{PACK_HEADER, TRAILER};
    use proptest::prelude::*;

    const HEADER: u32 = (MAX_BLOB_HEADER - ChunkId::LEN) as u32;

    fn id(n: u8) -> ChunkId {
        ChunkId([n; 32])
    }

    /// A blob of `raw` bytes that are stored as `stored`.
    fn entry(n: u8, kind: Kind, codec: Codec, raw_len: u32, stored: u32) -> PackEntry {
        let has_base = codec == Codec::Delta;
        let len = stored + if has_base { MAX_BLOB_HEADER as u32 } else { HEADER };
        PackEntry { id: id(n), offset: 0, len, raw_len, kind, codec: codec as u8, has_base }
    }

    fn pack_len(entries: &[PackEntry]) -> u32 {
        let blobs: u32 = entries.iter().map(|entry| entry.len + ENTRY as u32).sum();
        blobs + (PACK_HEADER + TRAILER) as u32
    }

    fn with(packs: &[&[PackEntry]], groups: usize) -> Blobs {
        let mut blobs = Blobs::new(0, groups);
        packs.iter().for_each(|entries| blobs.pack(pack_len(entries), entries));
        blobs
    }

    #[test]
    fn a_blob_takes_as_little_memory_as_the_header_says() {
        assert_eq!(size_of::<(u64, Blob)>(), 24);
    }

    #[test]
    fn every_byte_that_was_saved_is_told_by_what_saved_it() {
        let chunk = |n, codec, stored| entry(n, Kind::Chunk, codec, 1000, stored);
        let new = [
            chunk(1, Codec::Raw, 1000),
            chunk(2, Codec::Constant, 1),
            chunk(3, Codec::Zstd, 300),
            chunk(4, Codec::Rot, 800),
            chunk(5, Codec::Delta, 200),
            entry(9, Kind::Manifest, Codec::Raw, 50, 50),
        ];
        // An older copy of a chunk, a base that nobody refers to, and a chunk that nothing needs.
        let old = [chunk(5, Codec::Rot, 810), chunk(6, Codec::Raw, 1000), chunk(7, Codec::Raw, 1000)];
        let mut blobs = with(&[&new, &old], 2);
        for group in [0, 1] {
            blobs.metadata(&id(9), group);
            (1..=5).for_each(|n| blobs.chunk(&id(n), 1000, group));
            blobs.files(5500, 500, group, true);
        }
        blobs.chunk(&id(8), 70, 1);
        blobs.files(70, 0, 1, true);
        let (savings, shares) = blobs.finish(&vec![(id(5).short(), id(6).short())]);
        let header = u64::from(HEADER);
        let expected = Savings {
            logical_bytes: 2 * 5500 + 70,
            holes_bytes: 1000,
            dedup_bytes: 5000,
            constant_bytes: 999,
            zstd_bytes: 700,
            planes_bytes: 200,
            delta_bytes: 800,
            other_bytes: 0,
            lost_bytes: 70,
            bases_bytes: 1000 + header,
            metadata_bytes: 50 + header,
            headers_bytes: 4 * header + MAX_BLOB_HEADER as u64 + 9 * ENTRY as u64 + 2 * 48,
            garbage_bytes: 810 + 1000 + 2 * header,
            packs_bytes: u64::from(pack_len(&new) + pack_len(&old)),
        };
        assert_eq!(savings, expected);
        assert_eq!(savings.sum(), i128::from(savings.packs_bytes));
        assert_eq!((shares[0].referenced_bytes, shares[1].referenced_bytes), (5000, 5070));
        assert_eq!((shares[0].logical_bytes, shares[0].unique_bytes, shares[1].unique_bytes), (5500, 0, 0));
        assert_eq!(
            shares[0].stored_bytes,
            new.iter().map(|one| u64::from(one.len) + ENTRY as u64).sum::<u64>()
        );
    }

    #[test]
    fn a_base_goes_with_the_last_delta_that_needs_it() {
        let chunk = |n, codec| entry(n, Kind::Chunk, codec, 1000, 400);
        let all =
            [chunk(1, Codec::Zstd), chunk(2, Codec::Delta), chunk(3, Codec::Delta), chunk(4, Codec::Zstd)];
        let deltas = vec![(id(2).short(), id(1).short()), (id(3).short(), id(4).short())];
        let cost = |n: usize| u64::from(all[n - 1].len) + ENTRY as u64;
        let free = |refers: &[(u8, u32)]| {
            let mut blobs = with(&[&all], 2);
            for group in [0, 1] {
                refers
                    .iter()
                    .filter(|(_, of)| *of == group)
                    .for_each(|(n, _)| blobs.chunk(&id(*n), 1000, group));
            }
            let (_, shares) = blobs.finish(&deltas);
            [shares[0], shares[1]].map(|share| (share.unique_bytes, share.would_free_bytes))
        };
        // The base is one version's own, the delta another's: without the first nothing is free.
        assert_eq!(free(&[(1, 0), (2, 1)]), [(cost(1), 0), (cost(2), cost(2))]);
        // A base that only a delta keeps goes with it.
        assert_eq!(free(&[(3, 1)]), [(0, 0), (cost(3), cost(3) + cost(4))]);
        // One that both need does not.
        assert_eq!(free(&[(3, 0), (3, 1)]), [(0, 0), (0, 0)]);
        // A base and its delta in one version go together.
        assert_eq!(free(&[(1, 0), (2, 0)]), [(cost(1) + cost(2), cost(1) + cost(2)), (0, 0)]);
        assert_eq!(free(&[(1, 0), (2, 0), (2, 1)]), [(cost(1), 0), (0, 0)]);
    }

    fn codecs() -> impl Strategy<Value = Codec> {
        prop::sample::select(vec![Codec::Raw, Codec::Constant, Codec::Zstd, Codec::Rot, Codec::Delta])
    }

    proptest! {
        #[test]
        fn it_adds_up_whatever_packs_hold_and_versions_refer_to(
            packs in prop::collection::vec(
                prop::collection::vec((0..20_u8, any::<bool>(), codecs(), 0..=100_u32), 0..12), 0..5),
            versions in prop::collection::vec(prop::collection::vec((0..25_u8, any::<bool>()), 0..30), 0..5),
            deltas in prop::collection::vec((0..20_u8, 0..20_u8), 0..10),
            holes in 0..1000_u64,
            torn in 0..3_u32,
        ) {
            // A blob has one raw length, wherever it is.
            let raw = |n: u8| 100 + u32::from(n);
            let mut blobs = Blobs::new(0, versions.len());
            for pack in &packs {
                let entries: Vec<PackEntry> = pack
                    .iter()
                    .map(|(n, chunk, codec, stored)| {
                        let kind = if *chunk { Kind::Chunk } else { Kind::Tree };
                        entry(*n, kind, *codec, raw(*n), (*stored).min(raw(*n)))
                    })
                    .collect();
                let blobs_len: u32 = entries.iter().map(|entry| entry.len).sum();
                blobs.pack(if torn == 0 { blobs_len } else { pack_len(&entries) }, &entries);
            }
            for (group, refers) in (0..).zip(&versions) {
                let mut bytes = 0;
                for (n, chunk) in refers {
                    // Trees of trees and lists of lists that are files, too, do not matter: a file counts its bytes.
                    bytes += u64::from(raw(*n));
                    if *chunk { blobs.chunk(&id(*n), raw(*n), group) } else { blobs.metadata(&id(*n), group) }
                }
                blobs.files(bytes + holes, holes, group, true);
            }
            let deltas: Deltas = deltas.iter().map(|(delta, base)| (id(*delta).short(), id(*base).short())).collect();
            let (savings, shares) = blobs.finish(&deltas);
            prop_assert_eq!(savings.sum(), i128::from(savings.packs_bytes));
            for share in shares {
                prop_assert!(share.unique_bytes <= share.stored_bytes);
            }
        }
    }
}
