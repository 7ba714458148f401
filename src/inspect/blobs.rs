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
    blob.shared |= blob.last != NOBODY;
    blob.last = group;
    if let Some(share) = shares.get_mut(group as usize) {
        share.stored_bytes += blob.cost();
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
