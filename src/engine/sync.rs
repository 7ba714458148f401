//! Making files and names durable.
//!
//! Order for fsync: the hot file's bytes and entry, then what unsynced renames put over others and
//! their barrier, then the journal; then what waited for the journal is deleted. A failed sync is never
//! retried: it poisons the store.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::Engine;
use crate::base::{Error, Result};
use crate::catalog::keys::Ino;
use crate::catalog::records::Content;

/// Above this many bytes in deleted hot files a sync is due at once.
pub const GRAVE_MAX_BYTES: u64 = 256 << 20;
/// Names are made durable at least this often while they change.
pub const SYNC_EVERY: Duration = Duration::from_secs(5);

/// Wakes the thread that syncs names.
#[derive(Debug, Default)]
pub struct Wake {
    asked: Mutex<bool>,
    changed: Condvar,
}

impl Wake {
    /// A sync is due now.
    pub fn now(&self) {
        *self.asked.lock() = true;
        self.changed.notify_one();
    }

    /// Waits until a sync is due.
    pub fn wait(&self, at_most: Duration) {
        let mut asked = self.asked.lock();
        if !*asked {
            self.changed.wait_for(&mut asked, at_most);
        }
        *asked = false;
    }
}

impl Engine {
    /// fsync(2) or fdatasync(2) of an open file.
    pub fn fsync(&self, fh: u64, data_only: bool) -> Result<()> {
        let handle = self.handles.get(fh)?;
        if let Some(hot) = handle.live.way().as_ref().and_then(|way| way.hot().cloned()) {
            self.hot.sync(hot.id, &hot.file, data_only).inspect_err(|error| self.poison_if_sync(error))?;
        }
        self.sync_names()
    }

    /// Makes everything that was answered about names before this call durable.
    pub fn sync_names(&self) -> Result<()> {
        self.check_healthy()?;
        self.grave.sync_begins(self.ns.peek_hot());
        let synced = self.ns.sync(&|ino| self.flush(ino)).inspect_err(|error| self.poison_if_sync(error))?;
        self.grave.sync_ended(synced.durable);
        synced.free.into_iter().map(|ino| self.reap(ino)).fold(Ok(()), Result::and)
    }

    /// Makes the bytes of a file durable; sealed ones are.
    fn flush(&self, ino: Ino) -> Result<()> {
        let Some(inode) = self.ns.find(ino)? else { return Ok(()) };
        let Some(Content::Hot(id)) = inode.content() else { return Ok(()) };
        match self.hot.open_read(*id) {
            Ok(file) => self.hot.sync(*id, &file, true),
            // Sealed or replaced a moment ago: then it is durable, or nobody's.
            Err(_) if self.ns.find(ino)?.is_none_or(|now| now.content() != inode.content()) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Syncs names while they change, until `stop`.
    pub(super) fn sync_loop(&self, stop: &dyn Fn() -> bool) {
        while !stop() {
            self.wake_sync.wait(SYNC_EVERY);
            let meta = self.ns.meta();
            if meta.last_seq() != meta.durable_seq()
                && let Err(error) = self.sync_names()
                && !matches!(error, Error::Poisoned(_))
            {
                self.report(&error, "sync names");
            }
            self.shrink_cache();
        }
    }
}
