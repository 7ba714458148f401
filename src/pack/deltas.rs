//! Which blobs are stored as what they differ from another in, from the footers of packs and the headers of those blobs.
//!
//! Of a blob that several packs hold the copy in the newest counts, as it does for readers and for a collection. A header is
//! read once a mount: a pack never changes and its number is given out once, so what it said of a base holds as long as the
//! pack is there. Memory: 12 bytes a delta.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use super::collect::is_damage;
use super::store::PackStore;
use crate::base::id::ChunkId;
use crate::base::lock::lock;
use crate::base::{Error, Result};

/// Blobs and the bases that they need, both as [`ChunkId::short`]. 16 bytes of memory a delta.
pub type Deltas = Vec<(u64, u64)>;

/// The bases that the headers of one pack have named so far: offsets of blobs, ascending, and the base of each.
#[derive(Debug, Default)]
struct Bases {
    offsets: Box<[u32]>,
    bases: Box<[u64]>,
}

impl Bases {
    fn of(&self, offset: u32) -> Option<u64> {
        let at = self.offsets.binary_search(&offset).ok()?;
        self.bases.get(at).copied()
    }

    /// These and what was `read` beside them.
    fn with(&self, mut read: Vec<(u32, u64)>) -> Bases {
        read.extend(self.offsets.iter().copied().zip(self.bases.iter().copied()));
        read.sort_unstable();
        let (offsets, bases): (Vec<u32>, Vec<u64>) = read.into_iter().unzip();
        Bases { offsets: offsets.into(), bases: bases.into() }
    }
}

/// What headers have said since the mount, by pack.
#[derive(Debug, Default)]
pub(super) struct Headers {
    by_pack: Mutex<HashMap<u32, Arc<Bases>>>,
}

impl Headers {
    fn of(&self, pack: u32) -> Arc<Bases> {
        lock(&self.by_pack).get(&pack).cloned().unwrap_or_default()
    }

    fn note(&self, pack: u32, bases: Bases) {
        lock(&self.by_pack).insert(pack, Arc::new(bases));
    }

    /// A pack is about to go.
    pub(super) fn forget(&self, pack: u32) {
        lock(&self.by_pack).remove(&pack);
    }
}

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
            let known = self.headers().of(*pack);
            let mut read = Vec::new();
            for entry in self.entries_or_damage(*pack)? {
                if !found.contains(&entry.id) {
                    continue;
                }
                if !entry.has_base {
                    found.remove(&entry.id);
                    continue;
                }
                if let Some(base) = known.of(entry.offset) {
                    found.remove(&entry.id);
                    deltas.push((entry.id.short(), base));
                    continue;
                }
                go_on()?;
                match self.fetch_at(&entry.at(*pack), |pack, at| pack.head(at)) {
                    Ok(head) => {
                        found.remove(&entry.id);
                        if let Some(base) = head.encoding.base {
                            read.push((entry.offset, base.short()));
                            deltas.push((entry.id.short(), base.short()));
                        }
                    }
                    Err(error) if is_damage(&error) => tracing::error!("{error}"),
                    Err(error) => return Err(error),
                }
            }
            if !read.is_empty() {
                self.headers().note(*pack, known.with(read));
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::base::monitor::Silent;
    use crate::codec::{Codec, Encoding};
    use crate::content::hash::chunk_id;
    use crate::pack::Kind;

    /// A pack with `blob` as a delta of `base`, as far as its header and its footer tell.
    fn put(store: &PackStore, blob: &[u8], base: &[u8]) -> u32 {
        let mut batch = store.writer().unwrap();
        let encoding = Encoding { base: Some(chunk_id(base)), ..Encoding::plain(Codec::Delta) };
        batch.put_encoded(Kind::Chunk, chunk_id(blob), encoding, 100, b"xyz").unwrap();
        batch.finish().unwrap().packs[0]
    }

    #[test]
    fn a_header_is_read_once_and_what_a_pack_said_goes_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = PackStore::open(&dir.path().join("p"), &dir.path().join("i"), 1 << 20, &Silent).unwrap();
        let deltas = || store.all_deltas(&|| Ok(())).unwrap();
        let pair = |blob: &[u8], base: &[u8]| (chunk_id(blob).short(), chunk_id(base).short());
        let first = put(&store, b"one", b"base");
        assert_eq!(deltas(), [pair(b"one", b"base")]);
        let path = store.pack_path(first);
        let at = u64::from(store.entries(first).unwrap()[0].offset);
        std::fs::File::options().write(true).open(path).unwrap().write_all_at(b"no header", at).unwrap();
        let second = put(&store, b"two", b"base");
        assert_eq!(deltas(), [pair(b"two", b"base"), pair(b"one", b"base")]);
        let third = put(&store, b"one", b"another");
        let newest = [pair(b"one", b"another"), pair(b"two", b"base")];
        assert_eq!(deltas(), newest, "the newest copy counts, whatever is known of an older one");
        store.remove_all(&[first, second, third]).unwrap();
        assert_eq!(deltas(), []);
        assert!(lock(&store.headers().by_pack).is_empty());
    }
}
