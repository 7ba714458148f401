//! Names: directories, entries, inodes and their attributes, as POSIX has them.
//!
//! Invariant: every operation is one batch in the journal, appended before the reply; what an operation
//! reads and writes is consistent because operations that change names hold `naming` from their
//! first read to their commit. Reads take no lock: a batch becomes visible as a whole.
//!
//! Order for deleting: the record is gone (durably) before the hot file is. An inode that loses its last
//! name while it is open, or by a rename over it that has no barrier yet, stays as an orphan.

mod change;
mod contents;
pub mod create;
mod hot_files;
pub mod link;
pub mod lookup;
pub mod notes;
pub mod orphan;
pub mod place;
pub mod readdir;
pub mod remove;
pub mod rename;
mod saved;
pub mod setattr;
pub mod snapshot;
pub mod sync;
pub mod undo;
pub mod view;
pub mod xattr;

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use crate::base::clock::Time;
use crate::base::name::is_name;
use crate::base::{Error, Result};
use crate::catalog::keys::{self, HotId, Ino};
use crate::catalog::records::{Body, Inode};
use crate::meta::{Batch, Meta};
use change::Change;

pub use crate::base::name::NAME_MAX_BYTES;
/// Numbers are reserved in the journal this many at a time.
const RESERVE: u64 = 4096;

/// Who asks: decides owner and group of what is made.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// The namespace of one store.
pub struct Namespace {
    meta: Arc<Meta>,
    naming: Mutex<Naming>,
    ghosts: orphan::Ghosts,
    saved: saved::Saved,
}

/// What only the holder of the naming lock may touch.
#[derive(Debug, Default)]
struct Naming {
    inos: Counter,
    hots: Counter,
    /// Inodes that a rename replaced and whose barrier is not durable yet: sequence and inode.
    replaced: Vec<(u64, Ino)>,
    /// Inodes that a rename put over others and whose barrier is not durable yet: sequence and inode.
    unproved: Vec<(u64, Ino)>,
    /// Bytes of all sealed contents that inodes have, each as its reader sees it.
    sealed_bytes: u64,
    snapshots: snapshot::Snapshots,
    notes: notes::Notes,
}

impl Naming {
    /// Whether a rename that may yet be taken back has replaced inode `ino`.
    fn is_replaced(&self, ino: Ino) -> bool {
        self.replaced.iter().any(|(_, replaced)| *replaced == ino)
    }

    /// Whether a rename that may yet be taken back has put inode `ino` over another.
    fn is_unproved(&self, ino: Ino) -> bool {
        self.unproved.iter().any(|(_, unproved)| *unproved == ino)
    }
}

/// Numbers that are never used twice: `next..limit` are reserved in the journal.
#[derive(Debug, Default)]
struct Counter {
    next: u64,
    limit: u64,
}

impl Counter {
    fn load(meta: &Meta, key: &[u8], first: u64) -> Result<Counter> {
        let limit = number(meta, key)?.unwrap_or(first);
        Ok(Counter { next: limit, limit })
    }

    fn take(&mut self, meta: &Meta, key: &[u8]) -> Result<u64> {
        if self.next == self.limit {
            let limit = self.limit + RESERVE;
            meta.commit(Batch { ops: vec![(key.to_vec(), Some(limit.to_le_bytes().to_vec()))], note: None })?;
            self.limit = limit;
        }
        let number = self.next;
        self.next += 1;
        Ok(number)
    }
}

fn number(meta: &Meta, key: &[u8]) -> Result<Option<u64>> {
    let Some(bytes) = meta.get(key)? else { return Ok(None) };
    bytes.try_into().map(|bytes| Some(u64::from_le_bytes(bytes))).map_err(|_| damaged_key(key))
}

fn damaged_key(key: &[u8]) -> Error {
    let name = String::from_utf8_lossy(key);
    Error::damaged(std::path::Path::new("catalog"), format!("record {name:?}"))
}

impl Namespace {
    /// The namespace in `meta`; makes the root directory, owned by `owner`, in a new store.
    pub fn open(meta: Arc<Meta>, owner: Caller) -> Result<Namespace> {
        let snapshots = snapshot::Snapshots::load(&meta)?;
        let naming = Naming {
            inos: Counter::load(&meta, keys::INO_LIMIT, keys::ROOT + 1)?,
            hots: Counter::load(&meta, keys::HOT_LIMIT, 1)?,
            replaced: Vec::new(),
            unproved: Vec::new(),
            sealed_bytes: number(&meta, keys::SEALED_BYTES)?.unwrap_or(0),
            notes: notes::Notes::new(snapshots.next()),
            snapshots,
        };
        let ns = Namespace {
            meta,
            naming: Mutex::new(naming),
            ghosts: orphan::Ghosts::default(),
            saved: saved::Saved::default(),
        };
        if ns.find(keys::ROOT)?.is_none() {
            let mut root = new_inode(keys::ROOT, libc::S_IFDIR | 0o755, owner);
            root.body = Body::Dir { parent: keys::ROOT, entries: 0 };
            root.nlink = 2;
            let mut change = Change::new(&ns);
            change.put(root);
            change.commit(&mut ns.naming())?;
        }
        ns.load_saved()?;
        Ok(ns)
    }

    /// The journal and catalog below.
    pub fn meta(&self) -> &Arc<Meta> {
        &self.meta
    }

    /// A number for a new hot file.
    pub fn next_hot(&self) -> Result<HotId> {
        let mut naming = self.naming.lock();
        naming.hots.take(&self.meta, keys::HOT_LIMIT)
    }

    /// The number that the next hot file will have.
    pub fn peek_hot(&self) -> HotId {
        self.naming.lock().hots.next
    }

    /// Bytes of all sealed contents that inodes have, each as its reader sees it.
    pub fn sealed_bytes(&self) -> u64 {
        self.naming.lock().sealed_bytes
    }

    fn naming(&self) -> MutexGuard<'_, Naming> {
        self.naming.lock()
    }
}

/// A fresh inode with one name and all times now; its kind's own fields are still to be filled in.
fn new_inode(ino: Ino, mode: u32, owner: Caller) -> Inode {
    let now = Time::now();
    Inode {
        ino,
        mode,
        uid: owner.uid,
        gid: owner.gid,
        nlink: 1,
        rdev: 0,
        atime: now,
        mtime: now,
        ctime: now,
        btime: now,
        xattrs: 0,
        daemon_only: false,
        home: None,
        body: Body::Special,
    }
}

/// `EINVAL` and `ENAMETOOLONG` for what cannot be a name.
fn check_name(name: &[u8]) -> Result<()> {
    if name.len() > NAME_MAX_BYTES {
        return Err(Error::Errno(libc::ENAMETOOLONG));
    }
    if is_name(name) { Ok(()) } else { Err(Error::Errno(libc::EINVAL)) }
}
