//! The engine: one open store, every handle, and the operations that the surfaces call.
//!
//! Invariant: nothing is answered before the journal has it, nothing is deleted before the record that
//! says so is durable, and no byte is served that was not hashed or is not in a hot file.

pub mod attr;
mod ballast;
pub mod cache;
pub mod check;
pub mod close;
pub mod copy;
mod descriptors;
mod doubt;
pub mod history;
pub mod hot_place;
pub mod inspect;
pub mod io;
pub mod kept;
pub mod kernel;
pub mod layout;
pub mod live;
pub mod lock;
pub mod open;
pub mod passthrough;
pub mod reclaim;
pub mod recover;
pub mod reencode;
pub mod scrub;
pub mod sealer;
pub mod setattr;
pub mod shutdown;
pub mod status;
#[cfg(debug_assertions)]
pub mod steps;
pub mod sync;
pub mod workers;

#[cfg(test)]
mod doubt_tests;
#[cfg(test)]
mod power_tests;
#[cfg(test)]
mod world;

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use crate::base::{Error, Result};
use crate::catalog::keys::{HotId, Ino};
use crate::catalog::records::Content;
use crate::hot::HotDir;
use crate::hot::grave::Grave;
use crate::namespace::Namespace;
use crate::namespace::remove::Removed;
use crate::pack::PackStore;
use crate::seal::queue::SealQueue;
use crate::seal::read_ahead::ReadPool;
use live::{Live, LiveTable};

/// How a store is to be run.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long a file must be quiet before it is sealed.
    pub settle: Duration,
    /// Bytes of sealed contents that stay hot.
    pub hot_cache_bytes: u64,
    /// Bytes of decoded chunks in memory.
    pub cache_bytes: u64,
    /// Threads that seal.
    pub threads: usize,
    /// Threads that decode ahead of readers, and hydrate.
    pub hydrate_threads: usize,
    /// Folder of hot files, when it is not in the store.
    pub hot: Option<PathBuf>,
    /// Bytes a second at which packs are looked at for damage; 0 = never.
    pub scrub_rate: u64,
    /// Bounds of journal and catalog.
    pub meta: crate::meta::Options,
    /// How history is kept.
    pub history: history::HistoryOptions,
}

/// An open handle of a regular file.
pub struct Handle {
    /// The inode.
    pub live: Arc<Live>,
    /// Whether it may write.
    pub writable: bool,
    /// Whether each write is made durable before it is answered (O_DSYNC, O_SYNC).
    pub data_sync: bool,
    /// A hot file of its own to write to, where the inode's is the kernel's to write.
    pub own: Option<Arc<live::HotFile>>,
}

/// All open handles, by number.
#[derive(Default)]
pub struct Handles {
    next: AtomicU64,
    open: RwLock<HashMap<u64, Arc<Handle>>>,
}

impl Handles {
    fn add(&self, handle: Handle) -> u64 {
        let fh = self.next.fetch_add(1, Ordering::Relaxed);
        self.open.write().insert(fh, Arc::new(handle));
        fh
    }

    fn get(&self, fh: u64) -> Result<Arc<Handle>> {
        self.open.read().get(&fh).cloned().ok_or(Error::Errno(libc::EBADF))
    }

    fn remove(&self, fh: u64) -> Option<Arc<Handle>> {
        self.open.write().remove(&fh)
    }
}

/// One open store.
pub struct Engine {
    store: PathBuf,
    options: Options,
    ns: Namespace,
    hot: HotDir,
    grave: Grave,
    packs: Arc<PackStore>,
    readers: Arc<ReadPool>,
    live: Arc<LiveTable>,
    handles: Handles,
    cache: cache::HotCache,
    doubts: doubt::Doubts,
    kept: kept::KeptPages,
    kernel: kernel::Told,
    /// Files whose quiet cannot be proved as long as this mount lives: they stay hot.
    unprovable: Mutex<HashSet<Ino>>,
    /// Files that were hot when the machine went down: their bytes are all there only if somebody had synced them. What
    /// truncates one ends that.
    hot_at_cut: Mutex<HashSet<Ino>>,
    queue: SealQueue,
    passthrough: AtomicBool,
    closing: AtomicBool,
    poison: Mutex<Option<String>>,
    faults: status::Faults,
    descriptors: descriptors::Descriptors,
    totals: status::Totals,
    wake_sync: sync::Wake,
    history: history::History,
    reclaim: reclaim::Reclaim,
    reencode: reencode::Reencode,
    scrub: scrub::Scrub,
    /// The boot that this mount runs in.
    boot: String,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("store", &self.store).finish_non_exhaustive()
    }
}

impl Engine {
    /// The names of this store.
    pub fn names(&self) -> &Namespace {
        &self.ns
    }

    /// The store's folder.
    pub fn store(&self) -> &Path {
        &self.store
    }

    /// Whether hot files are handed to the kernel.
    pub fn passthrough(&self) -> bool {
        self.passthrough.load(Ordering::Relaxed)
    }

    /// Turns passthrough on or off; before the first open only.
    pub fn set_passthrough(&self, on: bool) {
        self.passthrough.store(on, Ordering::Relaxed);
    }

    /// `EROFS` once the store is poisoned or being closed.
    pub fn check_writable(&self) -> Result<()> {
        if self.is_closing() {
            return Err(Error::Errno(libc::EROFS));
        }
        self.check_healthy()
    }

    /// Whether the store is being closed: long work ends.
    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// `EROFS` once the store is poisoned.
    fn check_healthy(&self) -> Result<()> {
        match &*self.poison.lock() {
            Some(why) => Err(Error::Poisoned(why.clone())),
            None => Ok(()),
        }
    }

    /// Stops all writing if `why` is a failed sync: what was written before it may be lost, and a second try
    /// would prove nothing. Any other failure is the caller's alone.
    pub(crate) fn poison_if_sync(&self, why: &Error) {
        if why.is_failed_sync() {
            self.poison(why);
        }
    }

    /// Stops all writing: what was answered is safe, what comes may not be.
    pub(crate) fn poison(&self, why: &Error) {
        let mut poison = self.poison.lock();
        if poison.is_none() {
            tracing::error!("the store takes no more writes: {why}");
            *poison = Some(why.to_string());
        }
    }

    /// Logs a fault and keeps it for `status`; plain POSIX answers are not faults. A failed sync of the background stops
    /// all writing as any other does.
    pub fn report(&self, error: &Error, doing: &str) {
        if let Some(cure) = self.descriptors.cure(error) {
            if !cure.is_empty() {
                tracing::error!("cannot {doing}: {cure}");
                self.faults.add(format!("{doing}: {cure}"));
            }
        } else if error.is_fault() {
            self.poison_if_sync(error);
            tracing::error!("cannot {doing}: {error}");
            self.faults.add(format!("{doing}: {error}"));
        }
    }

    /// Hot file `id` is named by no record since `seq`.
    fn bury(&self, id: HotId, seq: u64) {
        match self.ns.is_captured(id) {
            Ok(false) => {}
            // A version in the making needs it, and frees it when it is made.
            Ok(true) => return,
            Err(error) => return self.report(&error, "free a hot file"),
        }
        if self.grave.bury(&self.hot, id, seq) > sync::GRAVE_MAX_BYTES {
            self.wake_sync.now();
        }
    }

    /// Works on an inode whose content no unlink takes away meanwhile. The inode is to be read in `work`, by
    /// [`find_held`](Namespace::find_held); its state is not to be locked any more when `work` ends.
    fn with_held<T>(&self, ino: Ino, work: impl FnOnce(&Arc<Live>) -> Result<T>) -> Result<T> {
        let live = self.live.get(ino);
        live.hold();
        let done = work(&live);
        self.let_go(&live);
        done
    }

    /// Erases an orphan that nobody holds.
    fn reap(&self, ino: Ino) -> Result<()> {
        if let Some((id, seq)) = self.ns.reap(ino, |ino| self.live.is_held(ino))? {
            self.cache.remove(ino);
            self.bury(id, seq);
        }
        Ok(())
    }

    /// Removes a name (see [`Namespace::unlink`]).
    pub fn unlink(&self, parent: Ino, name: &[u8]) -> Result<()> {
        self.check_writable()?;
        self.before_unlink(parent, name)?;
        let removed = self.ns.unlink(parent, name, |ino| self.live.is_held(ino))?;
        self.removed(removed);
        Ok(())
    }

    /// An inode has lost a name: what is kept beside its record follows.
    fn removed(&self, removed: Removed) {
        if removed.inode.nlink == 0 {
            self.cache.remove(removed.inode.ino);
            self.queue.forget(removed.inode.ino);
            if let Some(sealed) = removed.inode.content().and_then(Content::sealed) {
                self.sealed_file_gone(sealed.size);
            }
        }
        if let Some((id, seq)) = removed.dropped {
            self.bury(id, seq);
        }
    }

    /// The kernel has dropped inode `ino`.
    pub fn forget(&self, ino: Ino) {
        self.ns.forget(ino);
        self.kept.forget(ino);
    }
}
