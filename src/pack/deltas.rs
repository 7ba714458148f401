//! Which blobs are stored as what they differ from another in, from the footers of packs and the headers of those blobs.
//!
//! Of a blob that several packs hold the copy in the newest counts, as it does for readers and for a collection.

use std::collections::HashSet;

use super::collect::is_damage;
use super::store::PackStore;
use crate::base::Result;
use crate::base::id::ChunkId;

/// Blobs and the bases that they need, both as [`ChunkId::short`]. 16 bytes of memory a delta.
pub type Deltas = Vec<(u64, u64)>;

impl PackStore {
    /// The deltas in `packs` (numbers and bytes, in order of number). What cannot be read is passed over: it is lost
    /// whatever it needs.
    pub fn deltas(&self, packs: &[(u32, u32)]) -> Result<Deltas> {
        // What is a delta anywhere and whose newest copy was not met yet.
        let mut found: HashSet<ChunkId> = HashSet::new();
        for (pack, _) in packs {
            let entries = self.entries_or_damage(*pack)?;
            found.extend(entries.iter().filter(|entry| entry.has_base).map(|entry| entry.id));
        }
        let mut deltas = Deltas::new();
        if found.is_empty() {
            return Ok(deltas);
        }
        for (pack, _) in packs.iter().rev() {
            for entry in self.entries_or_damage(*pack)? {
                if !found.remove(&entry.id) || !entry.has_base {
                    continue;
                }
                match self.fetch_at(&entry.at(*pack), |pack, at| pack.head(at)) {
                    Ok(head) => {
                        deltas.extend(head.encoding.base.map(|base| (entry.id.short(), base.short())))
                    }
                    Err(error) if is_damage(&error) => tracing::error!("{error}"),
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(deltas)
    }

    fn entries_or_damage(&self, pack: u32) -> Result<Vec<super::PackEntry>> {
        match self.entries(pack) {
            Err(error) if is_damage(&error) => {
                tracing::error!("{error}");
                Ok(Vec::new())
            }
            other => other,
        }
    }
}
