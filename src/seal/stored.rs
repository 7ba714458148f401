//! Manifests in the store.
//!
//! The content's id is that of the manifest blob that is put last: who has it, has all parts and chunks. A manifest that
//! is too long for one blob is cut into parts, and a second one lists them; equal stretches of parts are shared.

use crate::base::id::ChunkId;
use crate::base::{Error, Result};
use crate::content::hash::chunk_id;
use crate::content::manifest::{Extent, Level, Manifest};
use crate::pack::{Kind, PackBatch, PackStore, Put};

/// A longer manifest is cut into parts of this many bytes.
const PART: usize = 1 << 20;
/// The longest encoded manifest of a content that is read back, in bytes: a content of 27 million chunks.
const MAX_MANIFEST: u64 = 1 << 30;

/// Puts the manifest of a content, and its parts if it is long. Returns the content's id and the bytes written.
pub fn save(manifest: &Manifest, batch: &mut PackBatch) -> Result<(ChunkId, u64)> {
    let bytes = manifest.encode();
    if bytes.len() <= PART {
        return put(&bytes, batch);
    }
    let (mut outer, mut written) = (Manifest::new(Level::Parts), 0);
    for part in bytes.chunks(PART) {
        let (id, stored) = put(part, batch)?;
        outer.push_data(u32::try_from(part.len()).unwrap_or(u32::MAX), id);
        written += stored;
    }
    let (id, stored) = put(&outer.encode(), batch)?;
    Ok((id, written + stored))
}

fn put(bytes: &[u8], batch: &mut PackBatch) -> Result<(ChunkId, u64)> {
    let id = chunk_id(bytes);
    Ok(match batch.put(Kind::Manifest, id, bytes)? {
        Put::Known => (id, 0),
        Put::New { stored } => (id, u64::from(stored)),
    })
}

/// The manifest of content `id`.
pub fn load(store: &PackStore, id: &ChunkId) -> Result<Manifest> {
    load_with_parts(store, id, &mut |_| ())
}

/// The manifest of content `id`; `part` hears of every blob that it is stored in, `id` itself first.
///
/// With [`Manifest::ids`] these are all blobs that the content needs.
pub fn load_with_parts(store: &PackStore, id: &ChunkId, part: &mut dyn FnMut(ChunkId)) -> Result<Manifest> {
    let damaged = |what: &str| Error::damaged(store.path(), format!("store: manifest {id} {what}"));
    part(*id);
    let outer = Manifest::decode(&store.read_uncached(id)?).ok_or_else(|| damaged("is of no known form"))?;
    if outer.level() == Level::Content {
        return Ok(outer);
    }
    if outer.size() > MAX_MANIFEST {
        return Err(damaged("is impossibly long"));
    }
    let mut bytes = Vec::new();
    for extent in outer.extents() {
        let Extent::Data { id: of_part, .. } = extent else { return Err(damaged("has a hole")) };
        part(*of_part);
        bytes.extend_from_slice(&store.read_uncached(of_part)?);
    }
    let inner = Manifest::decode(&bytes).filter(|inner| inner.level() == Level::Content);
    inner.ok_or_else(|| damaged("has parts of no known form"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::monitor::Silent;

    #[test]
    fn a_manifest_of_a_hundred_thousand_chunks_comes_back_and_tells_its_parts() {
        let dir = tempfile::tempdir().unwrap();
        let store = PackStore::open(&dir.path().join("p"), &dir.path().join("i"), 1 << 20, &Silent).unwrap();
        for (chunks, blobs) in [(0, 1), (10, 1), (100_000_u32, 5)] {
            let mut manifest = Manifest::new(Level::Content);
            (0..chunks).for_each(|n| manifest.push_data(1 << 20, chunk_id(&n.to_le_bytes())));
            let mut batch = store.writer().unwrap();
            let (id, written) = save(&manifest, &mut batch).unwrap();
            assert!(written > 0);
            assert_eq!(save(&manifest, &mut batch).unwrap(), (id, 0));
            batch.finish().unwrap();
            let mut parts = Vec::new();
            assert_eq!(load_with_parts(&store, &id, &mut |part| parts.push(part)).unwrap(), manifest);
            assert_eq!((parts.len(), parts[0]), (blobs, id));
        }
        assert!(load(&store, &chunk_id(b"another")).is_err());
    }
}
