//! Inodes in use: what is open, and by which way its bytes go.
//!
//! Invariant: while any handle of an inode is open, its way (passthrough or daemon) and its hot file do
//! not change, except that a daemon-served inode may go from sealed chunks to a hot file. The kernel
//! answers EIO to a second way. Whoever may change an inode's bytes holds its state lock and raises
//! its epoch first; who works on its bytes without the lock (sealing) compares the epoch before and
//! after. Lock order: an inode's state, then the naming lock, then the table.

use std::collections::HashMap;
use std::fs::File;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, MutexGuard, RwLock};

use crate::catalog::keys::{HotId, Ino};
use crate::seal::read::SealedFile;

/// An open hot file.
#[derive(Debug)]
pub struct HotFile {
    /// Its number.
    pub id: HotId,
    /// The daemon's descriptor: read-only, unless a daemon-served handle writes.
    pub file: File,
    /// Whether `file` is open for writing.
    pub writable: bool,
}

/// Where a daemon-served handle reads and writes.
#[derive(Clone)]
pub enum Source {
    /// A hot file.
    Hot(Arc<HotFile>),
    /// Sealed chunks, read-only.
    Sealed(Arc<SealedFile>),
}

/// How the kernel reaches an open inode's bytes.
#[derive(Clone)]
pub enum Way {
    /// By itself, in this hot file.
    Passthrough(Arc<HotFile>),
    /// By asking the daemon.
    Daemon(Source),
}

impl Way {
    /// The hot file behind it, if there is one.
    pub fn hot(&self) -> Option<&Arc<HotFile>> {
        match self {
            Way::Passthrough(hot) | Way::Daemon(Source::Hot(hot)) => Some(hot),
            Way::Daemon(Source::Sealed(_)) => None,
        }
    }
}

/// What is open of one inode.
#[derive(Debug, Default)]
pub struct OpenState {
    /// Open handles.
    pub handles: usize,
    /// Of these, how many may write.
    pub writers: usize,
}

/// One inode in use.
pub struct Live {
    /// Its number.
    pub ino: Ino,
    table: Weak<LiveTable>,
    /// Handles open or being opened: an inode that is held keeps its content when its last name goes.
    holders: AtomicUsize,
    epoch: AtomicU64,
    state: Mutex<OpenState>,
    /// Set while handles are open; written only with `state` locked.
    way: RwLock<Option<Way>>,
}

impl Live {
    /// Locks the inode's open state.
    pub fn lock(&self) -> MutexGuard<'_, OpenState> {
        self.state.lock()
    }

    /// Whether an open handle may write. What is being opened or closed at this moment counts too: nobody is waited for.
    pub fn may_be_written(&self) -> bool {
        self.state.try_lock().is_none_or(|state| state.writers > 0)
    }

    /// How its bytes are reached, while it is open.
    pub fn way(&self) -> Option<Way> {
        self.way.read().clone()
    }

    /// Sets the way; the guard shows that the caller holds the lock.
    pub fn set_way(&self, _state: &mut OpenState, way: Option<Way>) {
        *self.way.write() = way;
    }

    /// Says that the bytes may change from now on.
    pub fn raise_epoch(&self, _state: &mut OpenState) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// A number that grows with every chance to change the bytes.
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Holds the inode: until [`let_go`](Self::let_go) an unlink leaves its content alone.
    pub fn hold(&self) {
        self.holders.fetch_add(1, Ordering::AcqRel);
    }

    /// Undoes one [`hold`](Self::hold); true when nobody holds it any more.
    pub fn let_go(&self) -> bool {
        self.holders.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        if let Some(table) = self.table.upgrade() {
            let mut inodes = table.inodes.lock();
            if inodes.get(&self.ino).is_some_and(|live| live.strong_count() == 0) {
                inodes.remove(&self.ino);
            }
        }
    }
}

/// All inodes in use.
#[derive(Debug, Default)]
pub struct LiveTable {
    inodes: Mutex<HashMap<Ino, Weak<Live>>>,
}

impl LiveTable {
    /// The inode's entry, made if it is not in use yet.
    pub fn get(self: &Arc<Self>, ino: Ino) -> Arc<Live> {
        let mut inodes = self.inodes.lock();
        if let Some(live) = inodes.get(&ino).and_then(Weak::upgrade) {
            return live;
        }
        let live = Arc::new(Live {
            ino,
            table: Arc::downgrade(self),
            holders: AtomicUsize::new(0),
            epoch: AtomicU64::new(0),
            state: Mutex::default(),
            way: RwLock::new(None),
        });
        inodes.insert(ino, Arc::downgrade(&live));
        live
    }

    /// Inodes that are in use now.
    pub fn open(&self) -> Vec<Arc<Live>> {
        self.inodes.lock().values().filter_map(Weak::upgrade).collect()
    }

    /// Whether somebody holds the inode.
    pub fn is_held(&self, ino: Ino) -> bool {
        let live = self.inodes.lock().get(&ino).and_then(Weak::upgrade);
        live.is_some_and(|live| live.holders.load(Ordering::Acquire) > 0)
    }
}
