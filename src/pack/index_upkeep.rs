//! Changes the files of the chunk index: one thread at a time, while lookups go on.
//!
//! Order: a new file is durable before lookups use it; what it replaces is dropped from memory in the same step, and from
//! the disk afterwards. What an index file that is damaged covered is read from the packs again before the file goes.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use super::chunk_index::{ChunkIndex, RECENT_ENTRIES};
use super::index::{Cover, IndexFile};
use super::index_write::IndexWriter;
use super::merge;
use super::scan;
use super::writer::pack_name;
use crate::base::fault::{self, Point};
use crate::base::monitor::Monitor;
use crate::base::{Error, IoContext, Result};

impl ChunkIndex {
    /// Writes and merges files where that is due. To be called after packs were added; when it fails nothing is lost, and
    /// the next call tries again.
    pub fn keep_up(&self) -> Result<()> {
        if !self.read().is_full() {
            return Ok(());
        }
        let mut seq = self.lock_upkeep();
        if self.read().is_full() {
            self.flush(&mut seq)?;
        }
        self.merge_due(&mut seq)
    }

    /// Reads the footers of `packs` into memory, and into files where that is much.
    pub(super) fn adopt(&self, seq: &mut u64, packs: &[u32], monitor: Option<&dyn Monitor>) -> Result<()> {
        let monitor = monitor.filter(|_| !packs.is_empty());
        if let Some(monitor) = monitor {
            monitor.begin("reading the lists that the chunk index lacks (packs)", packs.len() as u64);
        }
        for pack in packs {
            let entries = match scan::entries(&self.packs_dir.join(pack_name(*pack))) {
                Ok(entries) => entries,
                // A bad sector costs the blobs of one pack, not the store. It stays uncovered: the next open tries again.
                Err(Error::Io { source, path, .. }) if source.raw_os_error() == Some(libc::EIO) => {
                    tracing::error!("{} cannot be read, its blobs are not found: {source}", path.display());
                    continue;
                }
                Err(error) => return Err(error),
            };
            self.write().insert(*pack, &entries);
            if self.read().is_full() {
                self.flush(seq)?;
                if monitor.is_some() {
                    self.merge_due(seq)?;
                }
            }
            if let Some(monitor) = monitor {
                monitor.advance(1);
            }
        }
        Ok(())
    }

    /// Moves what is in memory into a file.
    fn flush(&self, seq: &mut u64) -> Result<()> {
        let (entries, covers) = {
            let state = self.read();
            let covers = state.recent_packs.iter();
            let covers = covers.filter_map(|pack| Some(Cover { pack: *pack, len: *state.packs.get(pack)? }));
            let entries: Vec<_> = state.recent.iter().map(|((id, _), at)| (*id, *at)).collect();
            (entries, covers.collect::<Vec<_>>())
        };
        let mut writer = IndexWriter::create(&self.dir, *seq, entries.len() as u64)?;
        *seq += 1;
        entries.iter().try_for_each(|entry| writer.push(entry))?;
        let packs: Vec<u32> = covers.iter().map(|cover| cover.pack).collect();
        let file = writer.finish(covers)?;
        let mut state = self.write();
        state.files.push(Arc::new(file));
        for (id, at) in &entries {
            state.recent.remove(&(*id, at.pack));
        }
        state.recent_packs.retain(|pack| packs.binary_search(pack).is_err());
        Ok(())
    }

    /// Merges files of about one size until few of each are left.
    fn merge_due(&self, seq: &mut u64) -> Result<()> {
        loop {
            let (files, live) = {
                let state = self.read();
                (state.files.clone(), state.packs.keys().copied().collect::<BTreeSet<_>>())
            };
            let Some(sources) = merge::due(&files, RECENT_ENTRIES as u64) else { return Ok(()) };
            let number = *seq;
            *seq += 1;
            match merge::merge(&self.dir, number, &sources, &|pack| live.contains(&pack)) {
                Ok(merged) => self.replace(&sources, Some(merged))?,
                Err((Some(damaged), error @ Error::Damaged { .. })) => {
                    self.heal_locked(seq, damaged, &error)?
                }
                Err((_, error)) => return Err(error),
            }
        }
    }

    /// Puts `by` in the place of `sources` and deletes their files.
    fn replace(&self, sources: &[Arc<IndexFile>], by: Option<IndexFile>) -> Result<()> {
        {
            let mut state = self.write();
            state.files.retain(|file| !sources.iter().any(|source| source.seq() == file.seq()));
            state.files.extend(by.map(Arc::new));
        }
        sources.iter().try_for_each(|file| {
            remove(file.path())?;
            fault::reached(Point::IndexReplaced);
            Ok(())
        })
    }

    /// Makes what index file `seq` covered again from the packs.
    pub(super) fn heal(&self, seq: u64, why: &Error) -> Result<()> {
        let mut next = self.lock_upkeep();
        self.heal_locked(&mut next, seq, why)
    }

    fn heal_locked(&self, next: &mut u64, seq: u64, why: &Error) -> Result<()> {
        let (file, missing) = {
            let state = self.read();
            // Another thread was faster.
            let Some(file) = state.files.iter().find(|file| file.seq() == seq).cloned() else {
                return Ok(());
            };
            let packs = file.covers().iter().filter(|cover| state.covers(cover)).map(|cover| cover.pack);
            let packs: Vec<u32> = packs.collect();
            (file, packs)
        };
        tracing::error!("{why}: making it again from {} packs", missing.len());
        self.adopt(next, &missing, None)?;
        self.replace(&[file], None)
    }
}

/// Deletes an index file that is of no use any more; somebody else may have.
pub(super) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.context("remove", path),
    }
}
