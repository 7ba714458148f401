//! The tensors of a file of a version, and what they take of the packs.

use std::collections::HashMap;

use super::super::super::Engine;
use super::TensorInside;
use super::files::{VersionFile, VersionSiblings};
use crate::base::Result;
use crate::base::id::ChunkId;
use crate::content::manifest::Manifest;
use crate::content::ranges;
use crate::formats::{self, Described};
use crate::pack::PackStore;
use crate::version::record::Version;

/// Bytes that the chunks of a content take of the packs.
pub(super) struct StoredLens(HashMap<ChunkId, u32>);

impl StoredLens {
    /// What the chunk index says of each chunk of `manifest`; one that is lost takes nothing.
    pub(super) fn of(packs: &PackStore, manifest: &Manifest) -> Result<Self> {
        let mut lens = HashMap::new();
        for id in manifest.ids() {
            if let std::collections::hash_map::Entry::Vacant(free) = lens.entry(id) {
                free.insert(packs.stored_len(&id)?.unwrap_or(0));
            }
        }
        Ok(StoredLens(lens))
    }

    pub(super) fn all(&self) -> u64 {
        self.0.values().map(|len| u64::from(*len)).sum()
    }

    /// The share of bytes `from..from + len` of the content in the stored bytes of its chunks.
    fn share(&self, manifest: &Manifest, from: u64, len: u64) -> u64 {
        let of_piece = |piece: ranges::Piece| {
            let stored = piece.chunk.and_then(|id| self.0.get(&id)).copied().unwrap_or(0);
            u128::from(stored) * u128::from(piece.len) / u128::from(piece.extent_len.max(1))
        };
        let share: u128 = ranges::pieces(manifest, from..from.saturating_add(len)).map(of_piece).sum();
        u64::try_from(share).unwrap_or(u64::MAX)
    }

    /// What is told of a tensor.
    pub(super) fn inside(&self, manifest: &Manifest, tensor: Described) -> TensorInside {
        let Described { name, dtype, shape, global_shape, parts, encoded } = tensor;
        TensorInside {
            name,
            dtype,
            shape,
            global_shape,
            offset: parts.first().map(|(from, _)| *from),
            bytes: parts.iter().map(|(_, len)| *len).sum(),
            stored_bytes: parts.iter().map(|(from, len)| self.share(manifest, *from, *len)).sum(),
            encoded,
        }
    }
}

impl Engine {
    /// The tensors of a file of a version, by its own table or the one beside it.
    pub(super) fn described(&self, version: &Version, file: &VersionFile) -> Result<Vec<Described>> {
        let (Some((.., Some(format))), Some(source)) = (file.content(), self.source_inside(file)) else {
            return Ok(Vec::new());
        };
        let siblings = VersionSiblings { engine: self, version, dir: &file.dir };
        formats::describe(format, &file.path(), &source, &siblings)
    }
}
