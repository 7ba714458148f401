//! Backing files registered with the kernel: one for each inode that is open by passthrough.
//!
//! Invariant: all passthrough handles of an inode share one backing id, which lives from its first open
//! to its last release; a second id for an open inode would be answered with EIO by the kernel.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use fuser::BackingId;
use parking_lot::Mutex;

use crate::catalog::keys::Ino;

#[derive(Debug, Default)]
pub(super) struct Backings {
    by_ino: Mutex<HashMap<Ino, (Arc<BackingId>, usize)>>,
}

impl Backings {
    /// The backing id of `ino` for one more handle; `register` makes it where there is none.
    pub(super) fn open(
        &self,
        ino: Ino,
        register: impl FnOnce() -> io::Result<BackingId>,
    ) -> io::Result<Arc<BackingId>> {
        let mut by_ino = self.by_ino.lock();
        if let Some((id, handles)) = by_ino.get_mut(&ino) {
            *handles += 1;
            return Ok(id.clone());
        }
        let id = Arc::new(register()?);
        by_ino.insert(ino, (id.clone(), 1));
        Ok(id)
    }

    /// One handle of `ino` is closed. Nothing if it is not open by passthrough.
    pub(super) fn release(&self, ino: Ino) {
        let mut by_ino = self.by_ino.lock();
        if let Some((_, handles)) = by_ino.get_mut(&ino) {
            *handles -= 1;
            if *handles == 0 {
                by_ino.remove(&ino);
            }
        }
    }
}
