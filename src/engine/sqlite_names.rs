//! Inodes that were seen under a name of SQLite's.
//!
//! A new database, log or shared-memory file has no header yet, so its name decides; and an open tells the
//! inode only. The kernel learns an inode by one of its names before it opens it, so names are noted
//! as they are answered. A name noted too often only costs speed.

use std::collections::HashSet;

use parking_lot::Mutex;

use super::Engine;
use crate::catalog::keys::Ino;
use crate::hot::sqlite;

/// Inodes with such a name. Bounded by the kernel's own inodes: forgotten with them.
#[derive(Debug, Default)]
pub struct SqliteNames {
    inos: Mutex<HashSet<Ino>>,
}

impl SqliteNames {
    /// Whether `ino` was seen under such a name.
    pub fn has(&self, ino: Ino) -> bool {
        self.inos.lock().contains(&ino)
    }

    /// The kernel has dropped inode `ino`.
    pub fn forget(&self, ino: Ino) {
        self.inos.lock().remove(&ino);
    }
}

impl Engine {
    /// The caller is told that `name` leads to `ino`.
    pub fn saw_name(&self, ino: Ino, name: &[u8]) {
        if sqlite::is_name(name) {
            self.sqlite.inos.lock().insert(ino);
        }
    }
}
