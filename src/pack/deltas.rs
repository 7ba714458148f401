//! Which blobs are stored as what they differ from another in, from the footers of packs and the headers of those blobs.
//!
//! Of a blob that several packs hold the copy in the newest counts, as it does for readers and for a collection.

use std::collections::HashSet;

use super::collect::is_damage;
use super::store::PackStore;
use crate::base::id::ChunkId;
use crate::base::{Error, Result};

/// Blobs and the bases that they need, both as [`ChunkId::short`]. 16 bytes of memory a delta.
pub type Deltas = Vec<(u64, u64)>;

impl PackStore {
    /// The deltas in `packs` (numbers and bytes, in order of number). What cannot be read is passed over: it is lost
    /// whatever it needs; of what has an older copy that one is read, and counts. `go_on` is asked often.
    pub fn deltas(&self, packs: &[(u32, u32)], go_on: &dyn Fn() -> Result<()>) -> Result<Deltas> {
        // What is a delta anywhere and whose newest copy was not met yet.
        let mut found: HashSet<ChunkId> = HashSet::new();
        for (pack, _) in packs {
            go_on()?;
            let entries = self.entries_or_damage(*pack)?;
            found.extend(entries.iter().filter(|entry| entry.has_base).map(|entry| entry.id));
        }
        let mut deltas = Deltas::new();
        if found.is_empty() {
            return Ok(deltas);
        }
        for (pack, _) in packs.iter().rev() {
            go_on()?;
            for entry in self.entries_or_damage(*pack)? {
                if !found.contains(&entry.id) {
                    continue;
                }
                if !entry.has_base {
                    found.remove(&entry.id);
                    continue;
                }
                go_on()?;
                match self.fetch_at(&entry.at(*pack), |pack, at| pack.head(at)) {
                    Ok(head) => {
                        found.remove(&entry.id);
                        deltas.extend(head.encoding.base.map(|base| (entry.id.short(), base.short())));
                    }
                    Err(error) if is_damage(&error) => tracing::error!("{error}"),
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(deltas)
    }

    /// The deltas in all packs that there are. Where one goes meanwhile, what it held is in another: it begins again.
    pub fn all_deltas(&self, go_on: &dyn Fn() -> Result<()>) -> Result<Deltas> {
        loop {
            let packs = self.packs();
            match self.deltas(&packs, go_on) {
                Err(Error::Io { source, .. })
                    if source.kind() == std::io::ErrorKind::NotFound && self.packs() != packs => {}
                other => return other,
            }
        }
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
