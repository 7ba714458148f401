//! The catalog in sled 0.34, the only user of it.
//!
//! Rules, each bought with a measurement: every value carries a checksum over its key and itself, because
//! one damaged byte can make sled return wrong bytes; every call runs under a guard, because damage mostly
//! makes sled panic; flush is followed by our own fdatasync of its file, because sled's flush alone does not
//! survive a power cut; a store that failed once answers nothing any more, because sled's state is unknown.

use std::fs::{self, File};
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use ::sled::{Batch, Config, Db, IVec, Mode};

use super::store::{Change, Pair, Store};
use crate::base::bytes::{Cursor, Put};
use crate::base::{Error, IoContext, Result, durable};

const CATALOG_VERSION: u32 = 1;
const CACHE_BYTES: u64 = 64 << 20;
/// How long a database that was closed a moment ago may still be locked.
const LOCKED_MAX: Duration = Duration::from_secs(5);
const LOCKED_POLL: Duration = Duration::from_millis(5);
const POSITION_KEY: &[u8] = &[0];
const ENTRY_PREFIX: u8 = 1;

/// A [`Store`] in a sled database.
pub struct SledStore {
    /// Not dropped when it failed: sled's destructor would work on broken state.
    db: ManuallyDrop<Db>,
    file: File,
    file_path: PathBuf,
    dir: PathBuf,
    failure: OnceLock<String>,
}

impl SledStore {
    /// Opens or creates the database in `dir`.
    ///
    /// [`Error::Damaged`] when sled cannot read it, or panics on it.
    pub fn open(dir: &Path) -> Result<Self> {
        let config = Config::new()
            .path(dir)
            .cache_capacity(CACHE_BYTES)
            .mode(Mode::HighThroughput)
            .flush_every_ms(None);
        let began = Instant::now();
        let db = loop {
            match catch_unwind(AssertUnwindSafe(|| config.open())) {
                Ok(Ok(db)) => break db,
                // A thread of sled's may hold what was closed a moment ago; the store's own lock keeps others out.
                Ok(Err(error)) if is_locked(&error) && began.elapsed() < LOCKED_MAX => {
                    std::thread::sleep(LOCKED_POLL);
                }
                Ok(Err(error)) => return Err(failure_of(dir, error)),
                Err(_) => return Err(Error::damaged(dir, "catalog: sled panicked when it was opened")),
            }
        };
        let file_path = dir.join("db");
        let file = File::open(&file_path).context("open", &file_path)?;
        durable::sync_dir(dir)?;
        let db = ManuallyDrop::new(db);
        Ok(SledStore { db, file, file_path, dir: dir.to_owned(), failure: OnceLock::new() })
    }

    /// Runs one use of the database under the guard.
    fn guarded<T>(&self, work: impl FnOnce(&Db) -> Result<T, ::sled::Error>) -> Result<T> {
        if let Some(failure) = self.failure.get() {
            return Err(Error::damaged(&self.dir, failure.clone()));
        }
        match catch_unwind(AssertUnwindSafe(|| work(&self.db))) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(self.fail(failure_of(&self.dir, error))),
            Err(_) => Err(self.fail(Error::damaged(&self.dir, "catalog: sled panicked"))),
        }
    }

    fn fail(&self, error: Error) -> Error {
        if self.failure.set(format!("catalog, unusable since: {error}")).is_ok() {
            tracing::error!("{error}");
        }
        error
    }

    fn open_envelope(&self, key: &[u8], stored: &IVec) -> Result<Vec<u8>> {
        let mut cursor = Cursor::new(stored);
        let crc = cursor.u32();
        if crc != Some(envelope_crc(key, cursor.rest())) {
            return Err(Error::damaged(&self.dir, "catalog: a value does not match its checksum"));
        }
        Ok(cursor.rest().to_vec())
    }

    fn open_entry(&self, key: &IVec, value: &IVec) -> Result<Pair> {
        let value = self.open_envelope(key, value)?;
        Ok((key.get(1..).unwrap_or(&[]).to_vec(), value))
    }
}

impl Store for SledStore {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let key = entry_key(key);
        let stored = self.guarded(|db| db.get(&key))?;
        stored.map(|stored| self.open_envelope(&key, &stored)).transpose()
    }

    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>> {
        let prefix = entry_key(prefix);
        let mut from = prefix.clone();
        if let Some(after) = after.map(entry_key).filter(|after| *after >= prefix) {
            from = after;
            // The least key above `after`.
            from.push(0);
        }
        let entries = self.guarded(|db| {
            // With an end: sled walks on over all that was deleted behind the prefix until it meets a key.
            let entries = match end_of(&prefix) {
                Some(end) => db.range(from..end),
                None => db.range(from..),
            };
            let entries = entries.take(limit);
            // An error ends the walk but must not be dropped with the first foreign key.
            entries
                .take_while(|entry| !matches!(entry, Ok((key, _)) if !key.starts_with(&prefix)))
                .collect::<Result<Vec<_>, _>>()
        })?;
        entries.iter().map(|(key, value)| self.open_entry(key, value)).collect()
    }

    fn apply(&self, changes: &[Change<'_>], position: Option<u64>) -> Result<()> {
        let mut batch = Batch::default();
        for (key, value) in changes {
            let key = entry_key(key);
            match value {
                Some(value) => batch.insert(key.clone(), envelope(&key, value)),
                None => batch.remove(key),
            }
        }
        if let Some(position) = position {
            let mut value = Vec::new();
            value.u32(CATALOG_VERSION).u64(position);
            batch.insert(POSITION_KEY, envelope(POSITION_KEY, &value));
        }
        self.guarded(|db| db.apply_batch(batch))
    }

    fn position(&self) -> Result<Option<u64>> {
        let Some(stored) = self.guarded(|db| db.get(POSITION_KEY))? else { return Ok(None) };
        let value = self.open_envelope(POSITION_KEY, &stored)?;
        let mut cursor = Cursor::new(&value);
        match (cursor.u32(), cursor.u64(), cursor.end()) {
            (Some(CATALOG_VERSION), Some(position), Some(())) => Ok(Some(position)),
            _ => Err(Error::damaged(&self.dir, "catalog: its version is not known")),
        }
    }

    fn flush(&self) -> Result<()> {
        self.guarded(|db| db.flush().map(|_| ()))?;
        durable::sync_data(&self.file, &self.file_path).map_err(|error| self.fail(error))
    }

    fn disk_bytes(&self) -> Result<u64> {
        Ok(fs::metadata(&self.file_path).context("stat", &self.file_path)?.len())
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        if self.failure.get().is_some() {
            return;
        }
        let db = &mut self.db;
        // SAFETY: `self` is being dropped and nothing uses `db` after this.
        let dropped = catch_unwind(AssertUnwindSafe(|| unsafe { ManuallyDrop::drop(db) }));
        if dropped.is_err() {
            tracing::error!("sled panicked when {} was closed", self.dir.display());
        }
    }
}

fn entry_key(key: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(key.len() + 1);
    bytes.u8(ENTRY_PREFIX).raw(key);
    bytes
}

fn envelope(key: &[u8], value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(value.len() + 4);
    bytes.u32(envelope_crc(key, value)).raw(value);
    bytes
}

fn envelope_crc(key: &[u8], value: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(key), value)
}

/// Sled tells this one in words alone.
fn is_locked(error: &::sled::Error) -> bool {
    matches!(error, ::sled::Error::Io(source) if source.to_string().contains("could not acquire lock"))
}

/// A failed system call is told as such (a full disk is no damage); all else is a catalog to rebuild.
fn failure_of(dir: &Path, error: ::sled::Error) -> Error {
    match error {
        ::sled::Error::Io(source) if source.raw_os_error().is_some() => {
            Error::Io { what: "use the catalog in", path: dir.to_owned(), source }
        }
        other => Error::damaged(dir, format!("catalog: sled says: {other}")),
    }
}

/// The least key above all that begin with `prefix`; `None` when there is none.
fn end_of(prefix: &[u8]) -> Option<Vec<u8>> {
    let at = prefix.iter().rposition(|byte| *byte < u8::MAX)?;
    let mut end = prefix.get(..=at)?.to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_that_is_still_locked_by_one_that_was_closed_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        drop(SledStore::open(dir.path()).unwrap());
        let held = File::open(dir.path().join("db")).unwrap();
        rustix::fs::flock(&held, rustix::fs::FlockOperation::LockExclusive).unwrap();
        let late = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            drop(held);
        });
        assert!(SledStore::open(dir.path()).is_ok(), "it is no damage");
        late.join().unwrap();
    }
}
