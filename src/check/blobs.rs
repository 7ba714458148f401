//! The table of blobs that are there: which are sound, and which packs are not.
//!
//! A blob is sound when some pack gives its bytes, whichever. Memory: about 24 bytes a blob. Blobs are told apart by eight
//! bytes of their ids.

use std::collections::{BTreeSet, HashMap};

use super::finding::{Area, Findings};
use crate::base::Result;
use crate::base::id::ChunkId;
use crate::base::monitor::Monitor;
use crate::pack::PackStore;

/// Findings of one pack that are told one by one.
const TOLD_MAX: usize = 20;
const REPAIR: &str = "what is sound in it is written to a new pack, and it is deleted";
const REPAIR_INDEX: &str = "the chunk index is made again from the packs";

/// What is known of a blob.
#[derive(Clone, Copy, Debug)]
struct Known {
    raw_len: u32,
    sound: bool,
}

/// The blobs of a store, as its packs have them.
#[derive(Debug, Default)]
pub struct Blobs {
    known: HashMap<u64, Known>,
    /// Packs in which something is wrong.
    pub damaged: BTreeSet<u32>,
    /// Entries that the chunk index lacks.
    pub unindexed: u64,
    /// Blobs of all packs.
    pub count: u64,
    /// Bytes of packs that were looked at.
    pub bytes: u64,
}

impl Blobs {
    /// Looks at `packs` (numbers and bytes); with `data` reads, decodes and hashes every blob. `go_on` is asked often, and is
    /// told how many bytes were read.
    pub fn look(
        store: &PackStore,
        packs: &[(u32, u32)],
        data: bool,
        go_on: &dyn Fn(u64) -> Result<()>,
        monitor: &dyn Monitor,
        findings: &mut Findings,
    ) -> Result<Blobs> {
        let mut blobs = Blobs::default();
        let what = if data { "reading packs" } else { "reading the lists of packs" };
        monitor.begin(what, packs.iter().map(|(_, len)| u64::from(*len)).sum());
        let listed = store.index_sums(&|| go_on(0))?;
        for (pack, len) in packs {
            let verified = store.verify(*pack, data, go_on)?;
            let is_listed = listed.agree(*pack, &verified.entries);
            blobs.count += verified.entries.len() as u64;
            for entry in &verified.entries {
                let sound = !verified.unsound.contains(&entry.id);
                let known = Known { raw_len: entry.raw_len, sound };
                blobs.known.entry(entry.id.short()).or_insert(known).sound |= sound;
                if !is_listed
                    && store.find(&entry.id)?.iter().all(|at| (at.pack, at.offset) != (*pack, entry.offset))
                {
                    blobs.unindexed += 1;
                }
            }
            for fault in verified.faults.iter().take(TOLD_MAX) {
                findings.add(Area::Pack, fault.to_string(), Some(REPAIR));
            }
            findings.more += verified.faults.len().saturating_sub(TOLD_MAX) as u64;
            if !verified.faults.is_empty() {
                blobs.damaged.insert(*pack);
            }
            blobs.bytes += u64::from(*len);
            monitor.advance(blobs.bytes);
        }
        if blobs.unindexed > 0 {
            let what = format!("the chunk index lacks {} blobs that packs list", blobs.unindexed);
            findings.add(Area::Index, what, Some(REPAIR_INDEX));
        }
        Ok(blobs)
    }

    /// Whether `raw_len` bytes with the hash `id` are to be had.
    pub fn has(&self, id: &ChunkId, raw_len: u32) -> bool {
        self.known.get(&id.short()).is_some_and(|known| known.sound && known.raw_len == raw_len)
    }

    /// Whether a blob `id` of any length is to be had.
    pub fn has_any(&self, id: &ChunkId) -> bool {
        self.known.get(&id.short()).is_some_and(|known| known.sound)
    }
}
