//! Which hot files are on record, and what is known of their bytes.
//!
//! A small file that came to rest is recorded with a mark: what it was then. A mark is one record, made in the background;
//! it goes with the record.

use super::Namespace;
use crate::base::{Error, Result};
use crate::catalog::keys::{self, HotId, HotState, Ino};
use crate::catalog::records::{Content, HotMark};
use crate::meta::Batch;

/// Records that are read or written at once.
const PAGE: usize = 4096;

impl Namespace {
    /// Whether hot file `id` is on record in `state`.
    pub fn hot_is(&self, state: HotState, id: HotId) -> Result<bool> {
        Ok(self.meta.get(&keys::hot(state, id))?.is_some())
    }

    /// The mark of a small hot file, if it has one.
    pub fn hot_mark(&self, id: HotId) -> Result<Option<HotMark>> {
        Ok(self.meta.get(&keys::hot(HotState::Small, id))?.and_then(|value| HotMark::decode(&value)))
    }

    /// Records that hot file `id`, all of `ino`, is small and at rest, with its mark. `ESTALE` when it is no longer all.
    pub fn settle_small(&self, ino: Ino, id: HotId, mark: &HotMark) -> Result<()> {
        let naming = self.naming();
        let inode = self.find(ino)?.ok_or(Error::Errno(libc::ENOENT))?;
        if inode.content() != Some(&Content::Hot(id)) {
            return Err(Error::Errno(libc::ESTALE));
        }
        let ops = vec![
            (keys::hot(HotState::Unsealed, id), None),
            (keys::hot(HotState::Small, id), Some(mark.encode(ino))),
        ];
        self.meta.commit(Batch { ops, note: None })?;
        drop(naming);
        Ok(())
    }

    /// Takes the marks of small hot files off.
    pub fn unmark(&self, hot: &[HotId]) -> Result<()> {
        let naming = self.naming();
        for some in hot.chunks(PAGE) {
            let mut ops = Vec::new();
            for id in some {
                let key = keys::hot(HotState::Small, *id);
                let ino = self.meta.get(&key)?.and_then(|value| value.get(..8).map(<[u8]>::to_vec));
                ops.extend(ino.map(|ino| (key, Some(ino))));
            }
            if !ops.is_empty() {
                self.meta.commit(Batch { ops, note: None })?;
            }
        }
        drop(naming);
        Ok(())
    }

    /// Every hot file on record in `state`, with its inode.
    pub fn hot_files(&self, state: HotState) -> Result<Vec<(HotId, Ino)>> {
        let (prefix, mut after, mut all) = (keys::hot_files(state), None, Vec::new());
        loop {
            let found = self.meta.scan(&prefix, after.as_deref(), PAGE)?;
            let Some((last, _)) = found.last() else { return Ok(all) };
            after = Some(last.clone());
            all.extend(found.iter().filter_map(|(key, value)| {
                let ino = u64::from_le_bytes(value.get(..8)?.try_into().ok()?);
                Some((keys::parse_hot(key)?, ino))
            }));
        }
    }
}
