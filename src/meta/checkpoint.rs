//! Carrying commits down to the catalog, and exporting it.
//!
//! One thread, the only writer of the catalog. Order: a layer is frozen; written in bounded batches, the
//! position with the last; flushed; only then dropped from memory. An export is a scan of the catalog
//! between two checkpoints, so it is exactly the state at the catalog's position; the journal is durable up
//! to there before it begins. Segments go after the export is durable, up to the older of two exports, and
//! none that holds a Tentative without a barrier.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

#[cfg(test)]
use super::Meta;
use super::Shared;
use super::overlay::Frozen;
use crate::base::fault::{self, Point};
use crate::base::lock::lock;
use crate::base::machine::room_bytes;
use crate::base::{Error, IoContext, Result};
use crate::catalog::Change;
use crate::journal::{Scan, export};

/// Changes in one batch of the catalog.
pub(super) const CATALOG_BATCH: usize = 1024;
/// Each commit waits [`PACE`] when this many times the bound of a checkpoint is in memory: short waits for all
/// instead of a long one for somebody.
const PACED: usize = 2;
const PACE: Duration = Duration::from_micros(50);
/// Commits wait when this many times the bound of a checkpoint is in memory.
const BACKPRESSURE: usize = 4;
const RETRY: Duration = Duration::from_secs(1);
/// The catalog writes whole segments of 512 KiB, old ones are free only after that, and others take room at the same time.
const CATALOG_ROOM_BYTES: u64 = 8 << 20;
/// Bytes that the catalog may grow by for each byte that it is given.
const CATALOG_GROWTH: u64 = 4;

/// What the checkpoint thread knows and is told.
pub(super) struct State {
    stop: bool,
    /// The journal does not reach back to its newest export, or to its beginning, or has lost its end: only the catalog has
    /// it all.
    is_cut_off: bool,
    /// The errno of the last checkpoint if it failed.
    failing: Option<i32>,
    catalog_position: u64,
    export_position: u64,
    export_bytes: u64,
    /// Journal bytes at open that the newest export does not hold.
    bytes_before: u64,
    /// The journal's count of appended bytes when the newest export was written.
    appended_before: u64,
}

impl State {
    /// The state after the journal in `dir` was opened with the catalog at `position`.
    pub(super) fn new(dir: &Path, position: u64, found: &Scan) -> Result<Self> {
        let newest = export::list(dir)?.into_iter().next();
        let export_position = newest.as_ref().map_or(0, |newest| newest.position);
        let export_bytes = match &newest {
            Some(newest) => std::fs::metadata(&newest.path).context("stat", &newest.path)?.len(),
            None => 0,
        };
        let has_lost_its_end = position > found.last_seq.max(export_position);
        let is_cut_off = export_position + 1 < found.contiguous_from || has_lost_its_end;
        let bytes_before = if is_cut_off { u64::MAX / 2 } else { found.bytes.saturating_sub(export_bytes) };
        Ok(State {
            stop: false,
            is_cut_off,
            failing: None,
            catalog_position: position,
            export_position,
            export_bytes,
            bytes_before,
            appended_before: 0,
        })
    }

    /// The positions of the catalog and of the newest export.
    pub(super) fn positions(&self) -> (u64, u64) {
        (self.catalog_position, self.export_position)
    }

    /// Asks the thread to end.
    pub(super) fn stop(&mut self) {
        self.stop = true;
    }
}

/// Starts the checkpoint thread.
pub(super) fn start(shared: &Arc<Shared>) -> Result<JoinHandle<()>> {
    let watched = Watched(Arc::clone(shared));
    std::thread::Builder::new()
        .name("checkpoint".into())
        .spawn(move || watched.0.run_checkpoints())
        .context("start a thread for", &shared.catalog_dir)
}

/// Ends all writing if the thread dies: commits would pile up in memory.
struct Watched(Arc<Shared>);

impl Drop for Watched {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.journal.poison(Error::Refused("the checkpoint thread panicked".into()));
        }
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn run_checkpoints(&self) {
        while self.wait_until_due() {
            fault::reached(Point::CheckpointBegun);
            let done = self.checked(self.checkpoint());
            fault::reached(Point::CheckpointEnded);
            let mut state = lock(&self.state);
            state.failing = done.as_ref().err().map(Error::errno);
            drop(state);
            self.changed.notify_all();
            match done {
                Ok(()) => {}
                // The catalog is lost until the next open, or the disk is: nothing can be carried down any more.
                Err(error)
                    if error.is_failed_sync() || !matches!(error, Error::Io { .. } | Error::Errno(_)) =>
                {
                    self.journal.poison(error);
                    self.changed.notify_all();
                    return;
                }
                Err(error) => {
                    tracing::warn!("a checkpoint of the catalog failed and is tried again: {error}");
                    if self.wait_for_stop(RETRY) {
                        return;
                    }
                }
            }
        }
    }

    /// Sleeps until there is something to carry down; false when the thread shall end.
    fn wait_until_due(&self) -> bool {
        let mut state = lock(&self.state);
        loop {
            if state.stop || self.journal.poisoned().is_some() {
                return false;
            }
            let load = self.overlay.load();
            let left = self.options.checkpoint_after.saturating_sub(load.age);
            let aged = left.is_zero() && !load.age.is_zero();
            if self.is_over(1) || aged || state.failing.is_some() {
                return true;
            }
            let woken = self.changed.wait_timeout(state, left.max(Duration::from_millis(1)));
            state = woken.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
    }

    fn wait_for_stop(&self, timeout: Duration) -> bool {
        let state = lock(&self.state);
        let woken = self.changed.wait_timeout_while(state, timeout, |state| !state.stop);
        woken.unwrap_or_else(std::sync::PoisonError::into_inner).0.stop
    }

    fn is_over(&self, times: usize) -> bool {
        let load = self.overlay.load();
        load.entries > self.options.overlay_entries.saturating_mul(times)
            || load.bytes > self.options.overlay_bytes.saturating_mul(times)
    }

    pub(super) fn wake_if_full(&self) {
        if self.is_over(1) {
            self.changed.notify_all();
        }
    }

    /// Waits while the catalog is so far behind that memory would not stay in its bound.
    pub(super) fn wait_for_room(&self) -> Result<()> {
        if !self.is_over(PACED) {
            return Ok(());
        }
        if !self.is_over(BACKPRESSURE) {
            std::thread::sleep(PACE);
            return Ok(());
        }
        let mut state = lock(&self.state);
        while self.is_over(BACKPRESSURE) {
            self.journal.writable()?;
            if let Some(errno) = state.failing {
                return Err(Error::Errno(errno));
            }
            self.changed.notify_all();
            let woken = self.changed.wait_timeout(state, RETRY);
            state = woken.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
        Ok(())
    }

    fn checkpoint(&self) -> Result<()> {
        if let Some(frozen) = self.overlay.freeze() {
            if !self.has_room_for(&frozen) {
                return Err(Error::Errno(libc::ENOSPC));
            }
            self.write_down(&frozen)?;
        }
        if self.is_export_due() {
            match self.export() {
                // The journal is whole without it; it is tried again after the next checkpoint.
                Err(error @ Error::Io { .. })
                    if self.journal.poisoned().is_none() && !error.is_failed_sync() =>
                {
                    tracing::warn!("no export was written: {error}");
                }
                result => result?,
            }
        }
        Ok(())
    }

    /// Whether the disk takes what `frozen` makes the catalog write. On a full one the catalog is not touched: sled does not
    /// survive a write that fails, and what was committed is in the journal and in memory.
    pub(super) fn has_room_for(&self, frozen: &Frozen) -> bool {
        let value = |value: &Option<Vec<u8>>| value.as_ref().map_or(0, Vec::len);
        let bytes: usize = frozen.map.iter().map(|(key, new)| key.len() + value(new)).sum();
        room_bytes(&self.catalog_dir) >= CATALOG_ROOM_BYTES + CATALOG_GROWTH * bytes as u64
    }

    /// Puts a frozen layer into the catalog, durably, and drops it from memory.
    pub(super) fn write_down(&self, frozen: &Frozen) -> Result<()> {
        let mut changes: Vec<Change<'_>> = Vec::with_capacity(CATALOG_BATCH);
        for (key, value) in &frozen.map {
            // What was made and deleted since the last checkpoint is not there to be deleted.
            if value.is_none() && self.store.get(key)?.is_none() {
                continue;
            }
            if changes.len() >= CATALOG_BATCH {
                self.store.apply(&changes, None)?;
                changes.clear();
            }
            changes.push((key, value.as_deref()));
        }
        self.store.apply(&changes, Some(frozen.seq))?;
        fault::reached(Point::CheckpointApplied);
        self.store.flush()?;
        fault::reached(Point::CheckpointFlushed);
        lock(&self.state).catalog_position = frozen.seq;
        self.overlay.drop_frozen();
        self.changed.notify_all();
        Ok(())
    }

    /// Writes an export at once when only the catalog has it all. One that cannot be written is tried again.
    pub(super) fn export_if_cut_off(&self) {
        if !lock(&self.state).is_cut_off {
            return;
        }
        if let Err(error) = self.checked(self.export()) {
            tracing::warn!("no export was written: {error}");
        }
    }

    fn is_export_due(&self) -> bool {
        let state = lock(&self.state);
        let since =
            (self.journal.appended_bytes() - state.appended_before).saturating_add(state.bytes_before);
        state.catalog_position > state.export_position
            && since > self.options.export_after_bytes.max(state.export_bytes)
    }

    /// Writes an export at the catalog's position and deletes what it makes needless.
    fn export(&self) -> Result<()> {
        let position = lock(&self.state).catalog_position;
        let appended = self.journal.appended_bytes();
        self.journal.sync()?;
        let mut writer = export::Writer::create(&self.journal_dir, position)?;
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.store.scan(b"", after.as_deref(), CATALOG_BATCH)?;
            let Some((last, _)) = page.last() else { break };
            for (key, value) in &page {
                writer.add(key, value)?;
            }
            after = Some(last.clone());
            if lock(&self.state).stop {
                return Ok(());
            }
        }
        let export_bytes = writer.finish()?;
        let mut state = lock(&self.state);
        (state.export_position, state.export_bytes) = (position, export_bytes);
        (state.bytes_before, state.appended_before) = (0, appended);
        drop(state);
        let older = export::prune(&self.journal_dir)?;
        let uncovered = lock(&self.notes).first().map_or(u64::MAX, |(seq, _)| *seq);
        self.journal.delete_upto(older.min(uncovered - 1))
    }
}

#[cfg(test)]
impl Meta {
    /// Waits until the checkpoint thread has taken down what is over the bound, and has made its export.
    pub(super) fn wait_for_checkpoint_if_full(&self) {
        while self.shared.is_over(1) {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
