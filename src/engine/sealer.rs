//! Sealing: from a quiet hot file to chunks in packs, unseen by readers.
//!
//! Order: the file is proved quiet (no writer here, lease granted), its bytes are cut, hashed and packed,
//! the packs are durable, then - if its epoch and times are still the same - the record says that
//! the content is sealed. The hot file goes only later, by [`evict`](Engine::evict): when nobody has it
//! open, and after the record is durable.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Engine;
use super::attr::merge_times;
use super::live::Live;
use crate::base::fault::{self, Point};
use crate::base::priority::make_thread_idle;
use crate::base::{Error, Result};
use crate::catalog::keys::{HotId, HotState, Ino};
use crate::catalog::records::{Body, Content, Home, Inode, Sealed};
use crate::hot::{HotAttr, lease};
use crate::pack::PackBatch;
use crate::seal::write;

/// Files below this stay hot: a pack would save nothing.
pub const SMALL_MAX_BYTES: u64 = 64 << 10;
/// A batch is made durable at this size even when more files are due.
const BATCH_MAX_BYTES: u64 = 256 << 20;
/// How long a file that a version is being made of waits.
const AWAITS_VERSION: Duration = Duration::from_millis(200);
/// How long a file that could not be sealed waits.
const FAILED: Duration = Duration::from_secs(30);

/// A file that is in a batch and not on record yet.
pub(super) struct Packed {
    pub(super) live: Arc<Live>,
    pub(super) epoch: u64,
    pub(super) hot: HotId,
    pub(super) attr: HotAttr,
    pub(super) content: write::Sealed,
}

/// A file that is at rest: open, and nobody can write it before its epoch is raised.
struct Ready {
    live: Arc<Live>,
    epoch: u64,
    hot: HotId,
    attr: HotAttr,
    file: File,
    /// One of its names, by which its format is known.
    home: Option<Home>,
}

/// Whether an error is one of this file alone.
fn is_about(error: &Error, file: &Path) -> bool {
    match error {
        Error::Io { path, .. } | Error::Damaged { path, .. } => path == file,
        Error::Errno(_) | Error::Refused(_) | Error::Poisoned(_) => false,
    }
}

impl Engine {
    /// `ino` may be ready to be sealed.
    pub(super) fn schedule(&self, ino: Ino) {
        self.queue.schedule(ino, self.options.settle);
    }

    /// Seals what is due until the queue is stopped.
    pub(super) fn seal_loop(&self) {
        make_thread_idle();
        while let Some(first) = self.queue.take() {
            self.seal_from(first);
            self.shrink_cache();
        }
    }

    /// Seals a file that was taken from the queue, and with it what else is due.
    pub(super) fn seal_from(&self, first: Ino) {
        let (mut taken, began) = (vec![first], Instant::now());
        if let Err(error) = self.seal_batch(&mut taken) {
            self.report(&error, "seal");
            for ino in &taken {
                self.queue.again(*ino, FAILED);
            }
        }
        self.totals.worked(began.elapsed());
        self.queue.done(taken.len());
    }

    fn seal_batch(&self, taken: &mut Vec<Ino>) -> Result<()> {
        let mut batch = self.packs.writer()?;
        // Until the records are written: nothing that they name may be collected.
        let _held = batch.held();
        let mut packed = Vec::new();
        let mut next = taken.first().copied();
        while let Some(ino) = next {
            packed.extend(self.pack_file(ino, &mut batch)?);
            next = None;
            if batch.bytes_written() < BATCH_MAX_BYTES
                && let Some(more) = self.queue.take_now()
            {
                taken.push(more);
                next = Some(more);
            }
        }
        if packed.is_empty() {
            return Ok(());
        }
        batch.finish()?;
        fault::reached(Point::SealPacked);
        for file in packed {
            if let Err(error) = self.with_held(file.live.ino, |_| self.publish(&file)) {
                self.report(&error, "record a sealed file");
                self.queue.again(file.live.ino, FAILED);
            }
        }
        Ok(())
    }

    /// Cuts and packs one file, if it is at rest and worth it.
    fn pack_file(&self, ino: Ino, batch: &mut PackBatch) -> Result<Option<Packed>> {
        let at_rest = self.with_held(ino, |live| self.at_rest(live));
        let ready = match at_rest {
            Ok(Some(ready)) => ready,
            Ok(None) => return Ok(None),
            Err(error) => {
                // The batch is as good without it.
                self.report(&error, "seal a file");
                self.queue.again(ino, FAILED);
                return Ok(None);
            }
        };
        let Ready { live, epoch, hot, attr, file, home } = ready;
        let path = self.hot.path(hot);
        let go_on = || live.epoch() == epoch && !self.queue.is_stopped();
        let borders = self.borders(home.as_ref(), hot);
        match write::seal_file(&file, &path, &borders, batch, &go_on) {
            Ok(content) => Ok(content.map(|content| Packed { live, epoch, hot, attr, content })),
            // Whoever changed it schedules it again.
            Err(error)
                if live.epoch() != epoch
                    && (is_about(&error, &path) || matches!(error, Error::Refused(_))) =>
            {
                Ok(None)
            }
            Err(error) if is_about(&error, &path) => {
                self.report(&error, "seal a file");
                self.queue.again(ino, FAILED);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Opens the hot file of an inode that nobody can write and that is worth sealing.
    fn at_rest(&self, live: &Arc<Live>) -> Result<Option<Ready>> {
        let state = live.lock();
        let ino = live.ino;
        let Some(inode) = self.ns.find_held(ino)? else { return Ok(None) };
        let Some(Content::Hot(hot)) = inode.content().copied() else { return Ok(None) };
        if state.writers > 0 || inode.nlink == 0 || self.unprovable.lock().contains(&ino) {
            return Ok(None);
        }
        if self.awaits_version(&inode)? {
            // The version that is to hold it seals it; without one a small file is as well where it is.
            if self.hot.attr(hot)?.size >= SMALL_MAX_BYTES {
                self.queue.again(ino, AWAITS_VERSION);
            }
            return Ok(None);
        }
        let (path, file) = (self.hot.path(hot), self.hot.open_unseen(hot)?);
        if !lease::is_quiet(&file, &path)? {
            self.queue.not_quiet(ino);
            return Ok(None);
        }
        let attr = self.hot.attr(hot)?;
        if attr.size < SMALL_MAX_BYTES {
            // Settled as small: a new mount need not look at it again, but at whether its bytes are these.
            if self.is_written(hot) || !self.ns.hot_is(HotState::Small, hot)? {
                self.ns.settle_small(ino, hot, &self.mark_of(hot)?)?;
                self.is_marked(hot);
            }
            return Ok(None);
        }
        Ok(Some(Ready { live: live.clone(), epoch: live.epoch(), hot, attr, file, home: inode.home }))
    }

    /// Records a file whose chunks are durable, unless it has changed since it was read.
    pub(super) fn publish(&self, file: &Packed) -> Result<()> {
        let live = &file.live;
        let _state = live.lock();
        let inode = self.ns.find_held(live.ino)?;
        if live.epoch() != file.epoch
            || inode.as_ref().and_then(Inode::content) != Some(&Content::Hot(file.hot))
        {
            return Ok(());
        }
        let now = self.hot.attr(file.hot)?;
        let same = now.size == file.attr.size && now.mtime == file.attr.mtime && now.ctime == file.attr.ctime;
        if !same {
            // Changed by nobody that we know of: look again.
            self.queue.again(live.ino, FAILED);
            return Ok(());
        }
        let sealed = Sealed { id: file.content.content, size: file.content.size, blocks: file.attr.blocks };
        let published = self.ns.set_content(live.ino, HotState::Cache, |inode| {
            if inode.content() != Some(&Content::Hot(file.hot)) {
                return Err(Error::Errno(libc::ESTALE));
            }
            merge_times(inode, &file.attr);
            inode.body = Body::File(Content::Both(file.hot, sealed));
            Ok(())
        });
        match published {
            Ok(_) => {}
            Err(Error::Errno(libc::ENOENT | libc::ESTALE)) => return Ok(()),
            Err(error) => return Err(error),
        }
        fault::reached(Point::SealRecorded);
        self.cache.add(live.ino, file.attr.blocks.saturating_mul(512));
        self.queue.sealed(live.ino);
        self.totals.sealed(file.content.size);
        Ok(())
    }

    /// Drops hot copies until the budget holds.
    pub(super) fn shrink_cache(&self) {
        self.shrink_cache_to(self.options.hot_cache_bytes);
    }

    /// Drops hot copies until they take at most `budget` bytes.
    pub(super) fn shrink_cache_to(&self, budget: u64) {
        for ino in self.cache.above(budget) {
            if let Err(error) = self.with_held(ino, |live| self.evict(live)) {
                self.report(&error, "drop a hot copy");
            }
        }
    }

    /// Drops the hot copy of a sealed file that nobody has open.
    fn evict(&self, live: &Live) -> Result<()> {
        let ino = live.ino;
        let state = live.lock();
        let Some(inode) = self.ns.find_held(ino)? else {
            self.cache.remove(ino);
            return Ok(());
        };
        let Some(Content::Both(hot, sealed)) = inode.content().copied() else {
            self.cache.remove(ino);
            return Ok(());
        };
        let (path, file) = (self.hot.path(hot), self.hot.open_read(hot)?);
        if state.handles > 0 || self.unprovable.lock().contains(&ino) || !lease::is_quiet(&file, &path)? {
            return Ok(());
        }
        let (_, seq) = self.ns.set_content(ino, HotState::Cache, |inode| {
            inode.body = Body::File(Content::Sealed(sealed));
            Ok(())
        })?;
        fault::reached(Point::SealEvicted);
        self.cache.remove(ino);
        self.bury(hot, seq);
        Ok(())
    }
}
