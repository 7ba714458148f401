//! Closing files.
//!
//! Order: history hears of the last writer's file, the handle is gone, the inode's way with the last one; then the inode
//! is let go, and whoever lets go of an orphan last erases it; then the last writer's file waits to be sealed.

use std::sync::Arc;

use super::Engine;
use super::live::{Live, Source, Way};
use super::open::open_hot;
use crate::base::{Error, Result};
use crate::catalog::keys::HotId;
use crate::hot::lease;

impl Engine {
    /// Closes a handle; the last writer's close schedules sealing.
    pub fn release(&self, fh: u64) -> Result<()> {
        let Some(handle) = self.handles.remove(fh) else { return Err(Error::Errno(libc::EBADF)) };
        let live = &handle.live;
        let mut state = live.lock();
        if handle.writable && state.writers == 1 {
            // While it still counts as a writer: who destroys the file now finds either this handle or what is noted.
            if let Err(error) = self.closed(live.ino) {
                self.report(&error, "look at a closed file for history");
            }
        }
        state.handles -= 1;
        state.writers -= usize::from(handle.writable);
        if state.handles == 0 {
            live.set_way(&mut state, None);
        } else if let (0, Some(Way::Daemon(Source::Hot(hot)))) = (state.writers, live.way()) {
            // The daemon's own writable descriptor would refuse the lease.
            if hot.writable {
                match open_hot(&self.hot, hot.id, false) {
                    Ok(hot) => live.set_way(&mut state, Some(Way::Daemon(Source::Hot(Arc::new(hot))))),
                    // It stays until the last reader closes, and the file is sealed only then.
                    Err(error) => self.report(&error, "open a hot file for reading only"),
                }
            }
        }
        let last_writer = handle.writable && state.writers == 0;
        let closed = state.handles == 0;
        drop(state);
        if last_writer {
            self.let_go_by_writer(live.ino);
        }
        self.let_go(live);
        if closed && self.cache.is_above(live.ino, self.options.hot_cache_bytes) {
            // It was open when its turn to go came.
            self.wake_sync.now();
        }
        if last_writer {
            self.schedule(live.ino);
        }
        Ok(())
    }

    /// Lets an inode go and erases it if that was the last to hold an orphan.
    pub(super) fn let_go(&self, live: &Live) {
        if live.let_go()
            && let Err(error) = self.reap(live.ino)
        {
            self.report(&error, "erase an unlinked file");
        }
    }

    /// Whether nobody, here or gone from here, can write to hot file `id`.
    pub(super) fn is_quiet(&self, id: HotId) -> Result<bool> {
        lease::is_quiet(&self.hot.open_read(id)?, &self.hot.path(id))
    }
}
