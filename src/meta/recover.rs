//! Opening: the catalog is brought up to the journal, or rebuilt.
//!
//! Order of a rebuild: what it needs is checked to be there; the old catalog is renamed aside; a new one
//! is filled from the newest valid export and the journal, its position written last; flushed; then what was
//! set aside is deleted. A crash on the way leaves a catalog without a position: the next open begins again.
//! Nothing in the journal is changed here.

use std::fs;
use std::path::{Path, PathBuf};

use super::NEEDS_REBUILD;
use super::checkpoint::CATALOG_BATCH;
use super::overlay::Map;
use crate::base::fault::{self, Point};
use crate::base::monitor::Monitor;
use crate::base::{Error, IoContext, Result, durable};
use crate::catalog::{Change, SledStore, Store};
use crate::journal::export::{self, Export};
use crate::journal::{self, Body, BootId, Op, Record, Scan};

/// A catalog is compacted (rebuilt) when it is this many times as large as the newest export of it ...
const OUTGROWN_TIMES: u64 = 10;
/// ... and larger than this.
const OUTGROWN_BYTES: u64 = 512 << 20;

/// Changes that are gathered before they are written to the catalog: this many, of this many bytes.
const GATHERED_ENTRIES: usize = 65_536;
const GATHERED_BYTES: usize = 16 << 20;

/// A catalog that holds all that the journal holds.
pub(super) struct Recovered {
    pub(super) store: Box<dyn Store>,
    pub(super) position: u64,
    pub(super) found: Scan,
}

/// Whether the machine went down while the store was open: then only what was fsynced is there.
pub(super) fn is_power_cut(found: &Scan, boot: &BootId) -> bool {
    found.boot.is_some_and(|last| last != *boot) && !found.closed
}

/// Reads the journal in `dir` and makes the catalog agree with it.
pub(super) fn recover(dir: &Path, catalog: &Path, boot: &BootId, monitor: &dyn Monitor) -> Result<Recovered> {
    fs::create_dir_all(dir).context("create", dir)?;
    durable::sync_dir(folder_of(dir))?;
    let mut work = Work::new(dir, catalog, boot, monitor);
    let found = match work.read_journal(&mut |_| Ok(())) {
        Err(damage @ Error::Damaged { .. }) => work.read_with_catalog(damage)?,
        other => other?,
    };
    let (store, position) = match work.open_trusted(&found)? {
        Ok(trusted) => trusted,
        Err(reason) => work.rebuild(&found, &reason)?,
    };
    let position = work.replay(&store, position, &found)?;
    work.remove_set_aside()?;
    fault::reached(Point::RebuildEnded);
    Ok(Recovered { store: Box::new(store), position, found })
}

pub(super) struct Work<'a> {
    dir: &'a Path,
    catalog: &'a Path,
    boot: &'a BootId,
    monitor: &'a dyn Monitor,
    /// The catalog's position, where it stands for records of the journal that are lost.
    stand_in: u64,
}

impl<'a> Work<'a> {
    pub(super) fn new(dir: &'a Path, catalog: &'a Path, boot: &'a BootId, monitor: &'a dyn Monitor) -> Self {
        Work { dir, catalog, boot, monitor, stand_in: 0 }
    }

    /// Reads a journal of which records are lost that a catalog may hold: it must be sound in all its records, and the
    /// machine must not have gone down since. `damage` is what is told otherwise.
    fn read_with_catalog(&mut self, damage: Error) -> Result<Scan> {
        let Some(position) = super::examine::sources(self.dir, self.catalog)?.catalog else {
            return Err(damage);
        };
        self.stand_in = position;
        match self.read_journal(&mut |_| Ok(())) {
            Ok(found) if !is_power_cut(&found, self.boot) => {
                tracing::warn!("{damage}; the catalog holds what is lost there");
                Ok(found)
            }
            Ok(_) | Err(Error::Damaged { .. }) => Err(damage),
            Err(error) => Err(error),
        }
    }

    fn read_journal(&self, visit: &mut dyn FnMut(Record) -> Result<()>) -> Result<Scan> {
        let mut known = None;
        let mut covered = || match known {
            Some(position) => Ok(position),
            None => {
                let newest = export::newest_valid(self.dir)?.map_or(0, |newest| newest.position);
                let newest = newest.max(self.stand_in);
                known = Some(newest);
                Ok(newest)
            }
        };
        journal::scan(self.dir, self.boot, &mut covered, visit)
    }

    /// The catalog that is there and its position, or why it is not used.
    fn open_trusted(&self, found: &Scan) -> Result<Result<(SledStore, u64), String>> {
        if !self.catalog.join("db").exists() {
            return Ok(Err(if found.segments == 0 { String::new() } else { "it is missing".into() }));
        }
        if is_power_cut(found, self.boot) {
            return Ok(Err("the machine went down while the store was open".into()));
        }
        if self.catalog.join(NEEDS_REBUILD).exists() {
            return Ok(Err("it was found damaged".into()));
        }
        let opened = SledStore::open(self.catalog).and_then(|store| {
            let position = store.position()?;
            Ok((store, position))
        });
        let (store, position) = match opened {
            Ok((store, Some(position))) => (store, position),
            Ok((_, None)) => return Ok(Err("it is not complete".into())),
            Err(Error::Damaged { what, .. }) => return Ok(Err(what)),
            Err(error) if error.errno() == libc::EIO => return Ok(Err(error.to_string())),
            Err(error) => return Err(error),
        };
        if found.segments == 0 && position > 0 {
            return Err(Error::damaged(self.dir, "journal: all of its segments are missing"));
        }
        if position > found.last_seq {
            drop(store);
            return self.open_ahead(position, found).map(|store| Ok((store, position)));
        }
        if position + 1 < found.contiguous_from {
            return Ok(Err(format!("it is at {position}, the journal begins at {}", found.contiguous_from)));
        }
        if self.is_outgrown(&store)? {
            return Ok(Err("it has outgrown what it holds".into()));
        }
        Ok(Ok((store, position)))
    }

    /// The catalog, which is ahead of the journal although the machine did not go down: then the journal has lost its end,
    /// and what the catalog holds counts, if it is sound in all its records. Nothing else has it: it is exported at once.
    fn open_ahead(&self, position: u64, found: &Scan) -> Result<SledStore> {
        let what = format!("journal: it ends at record {}, the catalog is at {position}", found.last_seq);
        if super::examine::sources(self.dir, self.catalog)?.catalog != Some(position) {
            return Err(Error::damaged(self.dir, what));
        }
        tracing::warn!("damaged {what}; the catalog holds what is lost there");
        SledStore::open(self.catalog)
    }

    fn is_outgrown(&self, store: &SledStore) -> Result<bool> {
        let Some(newest) = export::list(self.dir)?.into_iter().next() else { return Ok(false) };
        let live = fs::metadata(&newest.path).context("stat", &newest.path)?.len();
        Ok(store.disk_bytes()? > OUTGROWN_BYTES.max(live.saturating_mul(OUTGROWN_TIMES)))
    }

    /// A new catalog at the position of the newest valid export.
    fn rebuild(&self, found: &Scan, reason: &str) -> Result<(SledStore, u64)> {
        if !reason.is_empty() {
            tracing::warn!("the catalog is rebuilt: {reason}");
        }
        let base = export::newest_valid(self.dir)?;
        let base_position = base.as_ref().map_or(0, |base| base.position);
        if found.segments == 0 && base.is_some() {
            return Err(Error::damaged(self.dir, "journal: all of its segments are missing"));
        }
        if found.segments > 0 && base_position + 1 < found.contiguous_from {
            let from = found.contiguous_from;
            let what = format!("journal: it begins at seq {from} and no valid export reaches that");
            return Err(Error::damaged(self.dir, what));
        }
        self.set_aside()?;
        fault::reached(Point::RebuildSetAside);
        let store = SledStore::open(self.catalog)?;
        if let Some(base) = &base {
            self.load(&store, base)?;
            fault::reached(Point::RebuildLoaded);
        }
        Ok((store, base_position))
    }

    pub(super) fn load(&self, store: &SledStore, base: &Export) -> Result<()> {
        let bytes = fs::metadata(&base.path).context("stat", &base.path)?.len();
        self.monitor.begin("rebuilding the catalog from its export", bytes);
        let mut buffer = Buffer::new(store);
        let mut done = 0;
        export::read(&base.path, &mut |key, value| {
            done += (key.len() + value.len() + 8) as u64;
            if buffer.push((key.to_vec(), Some(value.to_vec())))? {
                self.monitor.advance(done);
            }
            Ok(())
        })?;
        buffer.flush(None)
    }

    /// Applies what the journal holds after `position`; the new position, durable.
    fn replay(&self, store: &SledStore, position: u64, found: &Scan) -> Result<u64> {
        let last = found.last_seq.max(position);
        let records = last - position;
        if records > 0 {
            self.monitor.begin("replaying the journal (records)", records);
        }
        let mut changed = store.position()? != Some(position);
        let mut buffer = Buffer::new(store);
        self.read_journal(&mut |record| {
            let seq = record.seq;
            if let (true, Body::Batch { ops } | Body::Tentative { ops, .. }) = (seq > position, record.body) {
                changed = true;
                for op in ops {
                    if buffer.push(op)? {
                        self.monitor.advance(seq - position);
                    }
                }
            }
            Ok(())
        })?;
        if changed {
            buffer.flush(Some(last))?;
            store.flush()?;
            fault::reached(Point::RebuildReplayed);
        }
        self.monitor.advance(records);
        Ok(if changed { last } else { position })
    }

    pub(super) fn set_aside(&self) -> Result<()> {
        if !self.catalog.exists() {
            return Ok(());
        }
        let free = (0u32..).map(|number| self.set_aside_path(number)).find(|path| !path.exists());
        match free {
            Some(path) => durable::rename(self.catalog, &path),
            None => Err(Error::Refused(format!("no free name beside {}", self.catalog.display()))),
        }
    }

    fn set_aside_path(&self, number: u32) -> PathBuf {
        let mut name = self.catalog.as_os_str().to_owned();
        name.push(format!(".old-{number}"));
        PathBuf::from(name)
    }

    pub(super) fn remove_set_aside(&self) -> Result<()> {
        let mut prefix = self.catalog.file_name().unwrap_or_default().to_owned();
        prefix.push(".old-");
        let parent = folder_of(self.catalog);
        for entry in fs::read_dir(parent).context("list", parent)? {
            let entry = entry.context("list", parent)?;
            if entry.file_name().as_encoded_bytes().starts_with(prefix.as_encoded_bytes()) {
                fs::remove_dir_all(entry.path()).context("delete", &entry.path())?;
            }
        }
        Ok(())
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Changes on their way into the catalog: gathered in key order, so that what is overwritten or deleted soon
/// is never written and what is written lies together; then written in bounded batches.
pub(super) struct Buffer<'a> {
    store: &'a SledStore,
    ops: Map,
    bytes: usize,
}

impl<'a> Buffer<'a> {
    pub(super) fn new(store: &'a SledStore) -> Self {
        Buffer { store, ops: Map::new(), bytes: 0 }
    }

    /// Adds a change; true when what was gathered has been written.
    pub(super) fn push(&mut self, (key, value): Op) -> Result<bool> {
        self.bytes += key.len() + value.as_ref().map_or(0, Vec::len);
        self.ops.insert(key, value);
        if self.ops.len() < GATHERED_ENTRIES && self.bytes < GATHERED_BYTES {
            return Ok(false);
        }
        self.flush(None)?;
        Ok(true)
    }

    /// Writes what was gathered, and with the last of it the position.
    pub(super) fn flush(&mut self, position: Option<u64>) -> Result<()> {
        let changes: Vec<Change<'_>> =
            self.ops.iter().map(|(key, value)| (key.as_slice(), value.as_deref())).collect();
        for batch in changes.chunks(CATALOG_BATCH) {
            self.store.apply(batch, None)?;
        }
        if position.is_some() {
            self.store.apply(&[], position)?;
        }
        self.ops.clear();
        self.bytes = 0;
        Ok(())
    }
}
