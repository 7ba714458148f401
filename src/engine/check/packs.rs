//! Packs in which something is damaged, written anew without it; chunks that a hot copy still has, put again.
//!
//! Order for one pack: all sound blobs of it are durable in others, then it goes. A kill in between leaves blobs twice.

use std::os::unix::fs::FileExt;

use super::super::Engine;
use crate::base::Result;
use crate::base::id::ChunkId;
use crate::catalog::keys::HotId;
use crate::content::hash::chunk_id;
use crate::content::manifest::Extent;
use crate::pack::collect::is_damage;
use crate::pack::{Kind, PackBatch};
use crate::seal::stored;

impl Engine {
    /// Moves all that is sound in pack `number` to a new one and deletes it; what was done.
    pub(super) fn mend_pack(&self, number: u32) -> Result<String> {
        let collection = self.packs.collect()?;
        collection.doom(&[number]);
        let found = self.packs.verify(number, true, &|_| self.is_here())?;
        let mut batch = self.packs.writer()?;
        let (mut kept, mut gone) = (0_u64, 0_u64);
        for entry in &found.entries {
            if found.unsound.contains(&entry.id) {
                gone += 1;
                continue;
            }
            let blob = self.packs.encoded(number, entry)?;
            let header = &blob.header;
            batch.put_encoded(
                header.kind,
                entry.id,
                header.encoding,
                header.raw_len as usize,
                blob.stored(),
            )?;
            kept += 1;
        }
        batch.finish()?;
        collection.remove(&[number])?;
        Ok(format!("pack {number:08x}: {kept} sound blobs are in a new pack, {gone} damaged ones are gone"))
    }

    /// Puts the chunks of content `id` that no pack has any more from hot file `hot`, each only if it is the right one;
    /// whether all are there then.
    pub(super) fn put_from_copy(&self, id: &ChunkId, hot: HotId) -> Result<bool> {
        let manifest = match stored::load(&self.packs, id) {
            Err(error) if is_damage(&error) => return Ok(false),
            other => other?,
        };
        let file = self.hot.open_unseen(hot)?;
        let mut batch: PackBatch = self.packs.writer()?;
        let (mut at, mut all, mut bytes) = (0, true, Vec::new());
        for extent in manifest.extents() {
            if let Extent::Data { len, id } = extent
                && self.packs.read_uncached(id).is_err()
            {
                bytes.resize(*len as usize, 0);
                if file.read_exact_at(&mut bytes, at).is_ok() && chunk_id(&bytes) == *id {
                    batch.put(Kind::Chunk, *id, &bytes)?;
                } else {
                    all = false;
                }
            }
            at += extent.len();
        }
        batch.finish()?;
        Ok(all)
    }
}
