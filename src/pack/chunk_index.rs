//! Which pack holds a chunk: index files for old packs, memory for new ones, and the packs themselves as the truth.
//!
//! Order: a pack is durable before [`ChunkIndex::add`]; its entries are in memory until enough of them make a file; the
//! file is durable before they leave memory; merged files are deleted after the file that replaces them is durable.
//! A crash anywhere costs reading footers at the next open. An index file that turns out to be damaged is made again
//! from the footers of its packs while lookups wait.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::format::PackEntry;
use super::index::{Cover, IndexFile, Location, is_index_name};
use super::index_upkeep::remove;
use super::merge::Fault;
use crate::base::id::ChunkId;
use crate::base::monitor::Monitor;
use crate::base::{Error, IoContext, Result};

/// Entries of new packs that are kept in memory before they become a file (about 100 bytes each).
pub(super) const RECENT_ENTRIES: usize = 32 << 10;
/// Packs that are kept in memory before they become a file: their footers are read at open.
const RECENT_PACKS: usize = 512;

/// The index over every pack in a folder.
pub struct ChunkIndex {
    pub(super) packs_dir: PathBuf,
    pub(super) dir: PathBuf,
    state: RwLock<State>,
    /// Held by the one thread that changes files: the next sequence number.
    upkeep: Mutex<u64>,
}

/// What lookups need.
#[derive(Default)]
pub(super) struct State {
    /// Packs that exist, and their bytes. An entry of another pack means nothing.
    pub(super) packs: BTreeMap<u32, u32>,
    /// Packs that are about to go: nobody may begin to rely on them.
    pub(super) doomed: BTreeSet<u32>,
    pub(super) recent: BTreeMap<(ChunkId, u32), Location>,
    pub(super) recent_packs: BTreeSet<u32>,
    pub(super) files: Vec<Arc<IndexFile>>,
}

impl State {
    pub(super) fn covers(&self, cover: &Cover) -> bool {
        self.packs.get(&cover.pack) == Some(&cover.len)
    }

    pub(super) fn is_full(&self) -> bool {
        self.recent.len() >= RECENT_ENTRIES || self.recent_packs.len() >= RECENT_PACKS
    }

    pub(super) fn insert(&mut self, pack: u32, entries: &[PackEntry]) {
        self.recent_packs.insert(pack);
        for entry in entries {
            self.recent.insert((entry.id, pack), entry.at(pack));
        }
    }
}

impl ChunkIndex {
    /// Opens the index in `dir` over `packs` (numbers and bytes) in `packs_dir`; reads the footers of packs that no file
    /// covers, deletes files that are damaged, stale or covered by newer ones.
    pub fn open(
        packs_dir: &Path,
        dir: &Path,
        packs: BTreeMap<u32, u32>,
        monitor: &dyn Monitor,
    ) -> Result<Self> {
        let mut state = State { packs, ..State::default() };
        let found = open_files(dir)?;
        let next = found.iter().map(|file| file.seq()).max().map_or(1, |seq| seq.saturating_add(1));
        let mut covered = BTreeSet::new();
        for file in found {
            let stale =
                file.covers().iter().any(|c| state.packs.get(&c.pack).is_some_and(|len| *len != c.len));
            let live: Vec<u32> = file.covers().iter().filter(|c| state.covers(c)).map(|c| c.pack).collect();
            if stale || live.iter().all(|pack| covered.contains(pack)) {
                remove(file.path())?;
            } else {
                covered.extend(live);
                state.files.push(Arc::new(file));
            }
        }
        let missing: Vec<u32> = state.packs.keys().filter(|pack| !covered.contains(pack)).copied().collect();
        let index = ChunkIndex {
            packs_dir: packs_dir.to_owned(),
            dir: dir.to_owned(),
            state: RwLock::new(state),
            upkeep: Mutex::new(next),
        };
        let mut seq = index.lock_upkeep();
        index.adopt(&mut seq, &missing, Some(monitor))?;
        drop(seq);
        Ok(index)
    }

    /// Places where `id` is, the newest first: all in new packs, or else all in old ones.
    pub fn find(&self, id: &ChunkId) -> Result<Vec<Location>> {
        self.search(id, false)
    }

    /// Every place where `id` is, the newest first: for one whose newest copies are damaged.
    pub fn find_all(&self, id: &ChunkId) -> Result<Vec<Location>> {
        self.search(id, true)
    }

    fn search(&self, id: &ChunkId, all: bool) -> Result<Vec<Location>> {
        loop {
            match self.search_files(id, all) {
                Ok(found) => return Ok(found),
                Err((Some(seq), error @ Error::Damaged { .. })) => self.heal(seq, &error)?,
                Err((_, error)) => return Err(error),
            }
        }
    }

    fn search_files(&self, id: &ChunkId, all: bool) -> Result<Vec<Location>, Fault> {
        let state = self.read();
        let recent = state.recent.range((*id, 0)..=(*id, u32::MAX)).rev().map(|(_, at)| *at);
        let mut found: Vec<Location> = recent.collect();
        if all || found.is_empty() {
            for file in &state.files {
                file.find(id, &mut found).map_err(|error| (Some(file.seq()), error))?;
            }
            found.sort_unstable_by_key(|at| std::cmp::Reverse(at.pack));
            // Healing reads packs into memory that an older file has, too.
            found.dedup();
        }
        found.retain(|at| state.packs.contains_key(&at.pack));
        Ok(found)
    }

    /// Whether somebody may begin to rely on `id`: its newest copy is self-contained, and so is the newest that stays. An
    /// older copy beside a newest one that is a delta is what a collection removes, and the base of a delta that nothing
    /// needs may be gone already.
    pub fn is_reliable(&self, id: &ChunkId) -> Result<bool> {
        let found = self.find_all(id)?;
        let is_whole = |at: Option<&Location>| at.is_some_and(|at| !at.has_base);
        Ok(is_whole(found.first()) && is_whole(found.iter().find(|at| self.is_lasting(at))))
    }

    /// Whether the pack of a place that was found is there and not about to go. One that has gone since is doomed no more.
    pub fn is_lasting(&self, at: &Location) -> bool {
        let state = self.read();
        state.packs.contains_key(&at.pack) && !state.doomed.contains(&at.pack)
    }

    /// These packs are about to go, or (`false`) are not any more.
    pub fn doom(&self, packs: &[u32], doomed: bool) {
        let mut state = self.write();
        for pack in packs {
            if doomed {
                state.doomed.insert(*pack);
            } else {
                state.doomed.remove(pack);
            }
        }
    }

    /// No pack is about to go any more.
    pub fn spare_all(&self) {
        self.write().doomed.clear();
    }

    /// Makes the blobs of a durable pack of `len` bytes visible.
    pub fn add(&self, pack: u32, len: u32, entries: &[PackEntry]) {
        let mut state = self.write();
        state.packs.insert(pack, len);
        state.insert(pack, entries);
    }

    /// Forgets a pack: from now on nothing is found in it. The caller deletes its file afterwards.
    pub fn forget(&self, pack: u32) {
        let mut state = self.write();
        state.packs.remove(&pack);
        state.doomed.remove(&pack);
        if state.recent_packs.remove(&pack) {
            state.recent.retain(|(_, of), _| *of != pack);
        }
    }

    /// The packs that exist and their bytes, in order of number.
    pub fn packs(&self) -> Vec<(u32, u32)> {
        self.read().packs.iter().map(|(pack, len)| (*pack, *len)).collect()
    }

    /// Number of entries, those of packs that are gone or that hold one chunk twice included.
    pub fn entries(&self) -> u64 {
        let state = self.read();
        state.recent.len() as u64 + state.files.iter().map(|file| file.len()).sum::<u64>()
    }

    /// A number that no pack that exists or that an index file names has.
    pub fn first_free_pack(&self) -> u32 {
        let state = self.read();
        let named = state.files.iter().flat_map(|file| file.covers()).map(|cover| cover.pack);
        named.chain(state.packs.keys().copied()).max().map_or(1, |pack| pack.saturating_add(1))
    }

    pub(super) fn lock_upkeep(&self) -> MutexGuard<'_, u64> {
        self.upkeep.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sound index files of `dir`, the newest first; temporaries and damaged ones are deleted.
fn open_files(dir: &Path) -> Result<Vec<IndexFile>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).context("read", dir)? {
        let path = entry.context("read", dir)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.ends_with(".idx.tmp") {
            remove(&path)?;
        } else if is_index_name(name) {
            match IndexFile::open(&path) {
                Ok(file) => files.push(file),
                Err(error @ Error::Damaged { .. }) => {
                    tracing::error!("{error}: it will be made again from the packs");
                    remove(&path)?;
                }
                Err(error) => return Err(error),
            }
        }
    }
    files.sort_unstable_by_key(|file| std::cmp::Reverse(file.seq()));
    Ok(files)
}

#[cfg(test)]
#[path = "chunk_index_tests.rs"]
mod tests;
