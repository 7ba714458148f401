//! What a garbage collection needs of the store: dooming packs, reading blobs as they are stored, removing packs.
//!
//! Order for one pack: doom it, read the notes of batches, copy what is live into other packs, durably and visibly, and
//! only then remove it. A kill in between leaves blobs twice, or a pack that nothing needs: the next collection finds both.

use std::collections::HashSet;
use std::fs::{self, File};

use super::format::{BlobHeader, PackEntry};
use super::index::Location;
use super::reader::{self, StoredBlob};
use super::store::PackStore;
use crate::base::fault::{self, Point};
use crate::base::id::ChunkId;
use crate::base::{Error, IoContext, Result, durable};

/// A blob as it is stored.
pub struct Blob {
    /// Its header.
    pub header: BlobHeader,
    bytes: StoredBlob,
}

impl Blob {
    pub(super) fn new(header: BlobHeader, bytes: StoredBlob) -> Self {
        Blob { header, bytes }
    }

    /// The encoded bytes, whose crc verifies.
    pub fn stored(&self) -> &[u8] {
        self.bytes.get(self.header.len()..).unwrap_or_default()
    }
}

/// A collection under way; there is one at a time. Dropping it ends it: no pack is doomed any more.
pub struct Collection<'a> {
    store: &'a PackStore,
}

impl<'a> Collection<'a> {
    /// Begins one. To be called before anything is marked as live.
    pub(super) fn begin(store: &'a PackStore) -> Result<Self> {
        store.shared().uses.begin_collecting()?;
        Ok(Collection { store })
    }

    /// Batches find nothing in these packs any more and write anew what they need of them. Reading goes on.
    pub fn doom(&self, packs: &[u32]) {
        self.store.shared().index.doom(packs, true);
    }

    /// A pack stays after all.
    pub fn spare(&self, pack: u32) {
        self.store.shared().index.doom(&[pack], false);
    }

    /// The first eight bytes of every id that a batch may rely on ([`ChunkId::short`]). To be called after [`doom`](Self::doom).
    pub fn notes(&self) -> HashSet<u64> {
        self.store.shared().uses.all()
    }

    /// Whether blob `entry` of `pack` need not be copied, because another pack holds it: its stored bytes verify there, and
    /// its base, if it has one, is `live` and in some pack.
    ///
    /// A newer copy counts, for it is the one that is read; where it is doomed, too, its own turn comes. An older one counts
    /// if it lasts and both are self-contained: a delta must not come back in the place of what something relies on, and
    /// what a delta has gained is to stay.
    pub fn is_elsewhere(
        &self,
        pack: u32,
        entry: &PackEntry,
        live: &dyn Fn(&ChunkId) -> bool,
    ) -> Result<bool> {
        let (id, index) = (&entry.id, &self.store.shared().index);
        for at in index.find_all(id)? {
            let stands = |at: &Location| !entry.has_base && !at.has_base && index.is_lasting(at);
            if at.pack == pack || (at.pack < pack && !stands(&at)) {
                continue;
            }
            let blob = self.store.fetch_at(&at, |pack, at| pack.encoded(id, at, self.store.buffers()));
            match blob.as_ref().map(|blob| blob.header.encoding.base.as_ref()) {
                Ok(None) => return Ok(true),
                Ok(Some(base)) if live(base) && self.store.contains(base)? => return Ok(true),
                Ok(Some(_)) => {}
                Err(error) => tracing::error!("{error} (blob {id}, pack {:08x})", at.pack),
            }
        }
        Ok(false)
    }

    /// Removes packs. What is needed of them is durable in others; the index forgets each first.
    pub fn remove(&self, packs: &[u32]) -> Result<()> {
        self.store.remove_all(packs)
    }
}

impl Drop for Collection<'_> {
    fn drop(&mut self) {
        self.store.shared().index.spare_all();
        self.store.shared().uses.end_collecting();
    }
}

impl PackStore {
    /// Begins a collection; [`Error::Refused`] while another is under way.
    pub fn collect(&self) -> Result<Collection<'_>> {
        Collection::begin(self)
    }

    /// The blobs of a pack in order of id; `None` when its footer does not verify, and so nobody knows them all.
    pub fn footer(&self, pack: u32) -> Result<Option<Vec<PackEntry>>> {
        let path = self.pack_path(pack);
        reader::read_footer(&File::open(&path).context("open", &path)?, &path)
    }

    /// One blob of a pack as it is stored. [`Error::Damaged`] when its header or its stored bytes do not verify.
    pub fn encoded(&self, pack: u32, entry: &PackEntry) -> Result<Blob> {
        self.fetch_at(&entry.at(pack), |pack, at| pack.encoded(&entry.id, at, self.buffers()))
    }

    /// Deletes packs, whose blobs nobody needs there: each is forgotten by the index, then deleted.
    pub(super) fn remove_all(&self, packs: &[u32]) -> Result<()> {
        for pack in packs {
            self.shared().index.forget(*pack);
            let path = self.pack_path(*pack);
            match fs::remove_file(&path) {
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                other => other.context("remove", &path)?,
            }
            fault::reached(Point::PackRemoved);
            // After its name is gone nobody opens it again: an open file would keep the space.
            self.close_pack(*pack);
        }
        durable::sync_dir(self.path())?;
        fault::reached(Point::PackGone);
        Ok(())
    }
}

/// Whether an error is one of a blob or a pack alone: damage, or a place that the disk cannot read.
pub fn is_damage(error: &Error) -> bool {
    match error {
        Error::Damaged { .. } => true,
        Error::Io { source, .. } => source.raw_os_error() == Some(libc::EIO),
        Error::Errno(_) | Error::Refused(_) | Error::Poisoned(_) => false,
    }
}

#[cfg(test)]
#[path = "collect_tests.rs"]
mod tests;
