//! Names as keys and values: the journal and the catalog behind one ordered commit.
//!
//! Order of a commit: appended to the journal (it survives a kill), then visible to readers; the order of
//! appends is the order of visibility. [`Meta::sync`] makes it survive a power cut. A checkpoint thread, the
//! only writer of the catalog, carries commits down to it, and now and then writes an export, after which
//! old journal segments go. At open the catalog is brought up to the journal, or rebuilt.
//!
//! Rename-overs: a batch with a note is tentative. Before [`Meta::sync`] the caller makes the data durable
//! that [`Meta::unsynced_notes`] name, then calls [`Meta::barrier`]. A Tentative from before a reboot that no
//! barrier covers is handed back in [`Opened::pending`], for the caller to undo.

mod checkpoint;
#[cfg(test)]
mod damage_tests;
pub mod examine;
mod overlay;
mod recover;
pub mod salvage;
#[cfg(test)]
mod tests;
mod types;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;

use crate::base::clock::Time;
use crate::base::fault::{self, Point};
use crate::base::lock::lock;
use crate::base::monitor::Monitor;
use crate::base::{Error, IoContext, Result, durable};
use crate::catalog::{Pair, Store};
use crate::journal::{self, Body, Journal};
use overlay::Overlay;
pub use types::{Batch, MetaStatus, Opened, Options};

/// A file in the catalog's folder: the next open rebuilds it.
const NEEDS_REBUILD: &str = "needs_rebuild";
/// A file in the journal's folder: what a power cut has left has not been recovered yet.
const POWER_CUT: &str = "power_cut";
/// Entries that a scan reads from the catalog or the overlay at once: at least, at most.
const SCAN_PAGE: (usize, usize) = (16, 4096);

/// Journal and catalog as one map of byte strings. Dropped without [`Meta::close`] it leaves what a kill leaves.
pub struct Meta {
    shared: Arc<Shared>,
    checkpointer: Mutex<Option<JoinHandle<()>>>,
}

/// What the callers and the checkpoint thread share. Lock order: `notes`, then the journal's, then the overlay's.
struct Shared {
    journal_dir: PathBuf,
    catalog_dir: PathBuf,
    options: Options,
    journal: Journal,
    overlay: Overlay,
    store: Box<dyn Store>,
    /// Held while a record is appended and made visible; guards the Tentatives without a barrier.
    notes: Mutex<Vec<(u64, Vec<u8>)>>,
    state: Mutex<checkpoint::State>,
    /// Told when a checkpoint is wanted, and when one has ended.
    changed: Condvar,
    needs_rebuild: AtomicBool,
}

impl Meta {
    /// Opens the journal and the catalog in these folders, makes them if they are new, and brings the catalog
    /// up to the journal; `monitor` hears of a rebuild.
    ///
    /// The caller holds the store's lock. [`Error::Damaged`] when a record is lost that was acknowledged and
    /// that no export holds: then nothing was changed.
    pub fn open(journal: &Path, catalog: &Path, options: Options, monitor: &dyn Monitor) -> Result<Opened> {
        let boot = match options.boot {
            Some(boot) => boot,
            None => journal::current_boot()?,
        };
        let recovered = recover::recover(journal, catalog, &boot, monitor)?;
        let found = recovered.found;
        let last_seq = found.last_seq.max(recovered.position);
        let power_cut = recover::is_power_cut(&found, &boot);
        let marker = journal.join(POWER_CUT);
        if power_cut {
            // The next record is of this boot: without the mark, a kill from here on would hide that there was a cut.
            durable::write_file(&marker, b"")?;
        }
        let log = Journal::open(journal, &found, last_seq + 1, boot, options.segment_bytes)?;
        log.append(Body::Opened { boot, time: Time::now() }.encode()?)?;
        log.sync()?;
        fault::reached(Point::JournalOpened);
        let of_note = |note: &journal::Note| (note.seq, note.note.clone());
        let pending: Vec<_> = found.notes.iter().filter(|note| note.boot != boot).map(of_note).collect();
        let state = checkpoint::State::new(journal, recovered.position, &found)?;
        let shared = Arc::new(Shared {
            journal_dir: journal.to_owned(),
            catalog_dir: catalog.to_owned(),
            options,
            journal: log,
            overlay: Overlay::default(),
            store: recovered.store,
            notes: Mutex::new(found.notes.iter().map(of_note).collect()),
            state: Mutex::new(state),
            changed: Condvar::new(),
            needs_rebuild: AtomicBool::new(false),
        });
        shared.export_if_cut_off();
        let checkpointer = Mutex::new(Some(checkpoint::start(&shared)?));
        Ok(Opened {
            meta: Meta { shared, checkpointer },
            rebooted: marker.exists() || !pending.is_empty(),
            unclean: found.last_seq > 0 && !found.closed,
            pending,
        })
    }

    /// The value of `key`. [`Error::Damaged`] when the catalog is damaged there; the next open rebuilds it.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        match self.shared.overlay.get(key) {
            Some(known) => Ok(known),
            None => self.shared.checked(self.shared.store.get(key)),
        }
    }

    /// Up to `limit` entries whose key begins with `prefix` and is above `after`, in key order.
    ///
    /// Every key that no commit touches meanwhile is right; of concurrent commits some may be seen.
    pub fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>> {
        let mut found = Vec::new();
        let mut after = after.map(<[u8]>::to_vec);
        while found.len() < limit {
            let wanted = (limit - found.len()).clamp(SCAN_PAGE.0, SCAN_PAGE.1);
            // The overlay first: what a checkpoint moves down between the two reads is then in both.
            let upper = self.shared.overlay.page(prefix, after.as_deref(), wanted);
            let lower = self.shared.checked(self.shared.store.scan(prefix, after.as_deref(), wanted))?;
            let reach = reach_of(&upper, &lower, wanted);
            let mut merged: overlay::Map = lower.into_iter().map(|(key, value)| (key, Some(value))).collect();
            merged.extend(upper.entries);
            let within =
                merged.into_iter().take_while(|(key, _)| reach.as_ref().is_none_or(|reach| key <= reach));
            found.extend(within.filter_map(|(key, value)| Some((key, value?))).take(limit - found.len()));
            match reach {
                Some(reach) => after = Some(reach),
                None => break,
            }
        }
        Ok(found)
    }

    /// Appends the batch to the journal and makes it visible; its seq. It survives a kill when this returns.
    ///
    /// Waits when the catalog is far behind. [`Error::Poisoned`] after a failure that ended all writing.
    pub fn commit(&self, batch: Batch) -> Result<u64> {
        let Batch { ops, note } = batch;
        let body = match note {
            Some(note) => Body::Tentative { ops, note },
            None => Body::Batch { ops },
        };
        let record = body.encode()?;
        let (ops, note) = match body {
            Body::Tentative { ops, note } => (ops, Some(note)),
            Body::Batch { ops } => (ops, None),
            Body::Opened { .. } | Body::Closed | Body::Barrier { .. } => (Vec::new(), None),
        };
        self.shared.wait_for_room()?;
        let seq = {
            let mut notes = lock(&self.shared.notes);
            let seq = self.shared.journal.append(record)?;
            self.shared.overlay.put(ops, seq);
            notes.extend(note.map(|note| (seq, note)));
            seq
        };
        self.shared.wake_if_full();
        Ok(seq)
    }

    /// Makes all commits before the call survive a power cut; the last seq that does. Callers at the same
    /// time share one fdatasync, and commits go on meanwhile. A failure ends all writing.
    pub fn sync(&self) -> Result<u64> {
        self.shared.journal.sync()
    }

    /// Tentatives (seq, note) that no barrier covers, oldest first.
    pub fn unsynced_notes(&self) -> Vec<(u64, Vec<u8>)> {
        lock(&self.shared.notes).clone()
    }

    /// Records that the data of all Tentatives up to seq `upto` is durable. It holds after the next [`Meta::sync`].
    pub fn barrier(&self, upto: u64) -> Result<()> {
        let record = Body::Barrier { upto }.encode()?;
        let mut notes = lock(&self.shared.notes);
        self.shared.journal.append(record)?;
        notes.retain(|(seq, _)| *seq > upto);
        Ok(())
    }

    /// The last seq that was written.
    pub fn last_seq(&self) -> u64 {
        self.shared.journal.last_seq()
    }

    /// The last seq that survives a power cut.
    pub fn durable_seq(&self) -> u64 {
        self.shared.journal.durable_seq()
    }

    /// What a power cut has left is recovered, durably: the next open finds a store that was killed at most.
    pub fn recovered(&self) -> Result<()> {
        let marker = self.shared.journal_dir.join(POWER_CUT);
        match fs::remove_file(&marker) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            gone => {
                gone.context("delete", &marker).and_then(|()| durable::sync_dir(&self.shared.journal_dir))
            }
        }
    }

    /// Makes everything durable, brings the catalog up to date and records that the store was closed. On a full disk the
    /// catalog stays behind, and the next open carries down what is in the journal.
    pub fn close(&self) -> Result<()> {
        self.stop();
        let shared = &self.shared;
        shared.journal.sync()?;
        while let Some(frozen) = shared.overlay.freeze() {
            if !shared.has_room_for(&frozen) {
                return Ok(());
            }
            shared.checked(shared.write_down(&frozen))?;
        }
        fault::reached(Point::CatalogCarried);
        shared.journal.append(Body::Closed.encode()?)?;
        shared.journal.sync()?;
        fault::reached(Point::CatalogClosed);
        Ok(())
    }

    /// Figures as of now.
    pub fn status(&self) -> Result<MetaStatus> {
        let shared = &self.shared;
        let (catalog_position, export_position) = lock(&shared.state).positions();
        Ok(MetaStatus {
            last_seq: self.last_seq(),
            durable_seq: self.durable_seq(),
            journal_bytes: shared.journal.disk_bytes()?,
            journal_syncs: shared.journal.syncs(),
            catalog_position,
            catalog_bytes: shared.store.disk_bytes()?,
            export_position,
            overlay_entries: shared.overlay.entries(),
            poisoned: shared.journal.poisoned().map(str::to_owned),
            needs_rebuild: shared.needs_rebuild.load(Ordering::Relaxed),
        })
    }

    fn stop(&self) {
        lock(&self.shared.state).stop();
        self.shared.changed.notify_all();
        if let Some(thread) = lock(&self.checkpointer).take()
            && thread.join().is_err()
        {
            tracing::error!("the checkpoint thread panicked");
        }
    }
}

impl Drop for Meta {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    /// Passes a result of the catalog on; damage is remembered for the next open.
    fn checked<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(Error::Damaged { .. }) = &result
            && !self.needs_rebuild.swap(true, Ordering::Relaxed)
        {
            let marker = self.catalog_dir.join(NEEDS_REBUILD);
            if let Err(error) = durable::write_file(&marker, b"") {
                tracing::error!("the damaged catalog could not be marked: {error}");
            }
        }
        result
    }
}

/// The last key up to which both pages are whole; `None` when both are to their end.
fn reach_of(upper: &overlay::Page, lower: &[Pair], wanted: usize) -> Option<Vec<u8>> {
    let upper = upper.entries.last().filter(|_| !upper.complete).map(|(key, _)| key);
    let lower = lower.last().filter(|_| lower.len() >= wanted).map(|(key, _)| key);
    match (upper, lower) {
        (Some(upper), Some(lower)) => Some(upper.min(lower).clone()),
        (upper, lower) => upper.or(lower).cloned(),
    }
}
