//! From a file at a moment to sealed content.
//!
//! What is sealed is taken as it is. A hot file that nobody can write is sealed where it lies, under the same proof as
//! sealing has (lease, epoch). One that is being written is copied first and marked as such. A file that is opened for
//! writing meanwhile has had its bytes kept by `protect`: the moment is asked again where they are.

use std::time::Duration;

use super::super::Engine;
use super::super::attr::merge_times;
use super::super::sealer::Packed;
use super::protect::changed;
use super::walk::Walk;
use crate::base::{Error, Result};
use crate::catalog::keys::{HotId, Ino};
use crate::catalog::records::{Content, Inode, Sealed};
use crate::hot::lease;
use crate::seal::write;

/// How long the kernel takes to tell of a close, at most a few times over.
const CLOSING: Duration = Duration::from_millis(10);
/// How often a file that changes while it is sealed is tried again.
const TRIES: usize = 16;

/// The content of a file at a moment.
pub(super) struct Resolved {
    pub(super) sealed: Sealed,
    /// Somebody was writing it.
    pub(super) being_written: bool,
    /// Where its bytes can be read before they are in a pack.
    pub(super) hot: Option<HotId>,
}

impl Walk<'_> {
    /// The content of `inode`, the file at `path` below the run, in directory `dir`; sealed into the batch where it is not
    /// sealed yet. Its times are brought up to the hot file's.
    pub(super) fn resolve(&mut self, inode: &mut Inode, dir: Ino, path: &[u8]) -> Result<Resolved> {
        for _ in 0..TRIES {
            let hot = match inode.content().copied() {
                Some(Content::Sealed(sealed) | Content::Both(_, sealed)) => {
                    return Ok(Resolved { sealed, being_written: false, hot: None });
                }
                Some(Content::Hot(hot)) => hot,
                None => return Err(Error::Errno(libc::EINVAL)),
            };
            match self.seal_hot(inode, hot, dir, path) {
                Err(Error::Errno(libc::ESTALE)) => {}
                Err(error) if self.moved(inode, hot)? => tracing::debug!("inode {}: {error}", inode.ino),
                other => return other,
            }
            // It has been opened for writing: the moment knows where its bytes were kept.
            *inode = self.view.inode(inode.ino)?.ok_or(Error::Errno(libc::ENOENT))?;
        }
        let inode = &*inode;
        let hot = inode.content().and_then(Content::hot).ok_or(Error::Errno(libc::EIO))?;
        self.seal_copy(inode, hot, dir, path)
    }

    /// Whether the moment sees another content of `inode` by now.
    fn moved(&self, inode: &Inode, hot: HotId) -> Result<bool> {
        Ok(self.view.inode(inode.ino)?.and_then(|now| now.content().copied()) != Some(Content::Hot(hot)))
    }

    fn seal_hot(&mut self, inode: &mut Inode, hot: HotId, dir: Ino, name: &[u8]) -> Result<Resolved> {
        let engine = self.engine;
        let live = engine.live.get(inode.ino);
        let (path, file) = (engine.hot.path(hot), engine.hot.open_unseen(hot)?);
        engine.check_mark(hot)?;
        let (epoch, is_content, quiet) = {
            let state = live.lock();
            // Under this lock bytes are kept elsewhere before they change: what the moment sees now, it sees until the epoch
            // grows.
            if self.moved(inode, hot)? {
                return Err(changed());
            }
            let now = engine.ns.find(inode.ino)?;
            // Sealed or not: an open for update writes to it in place.
            let is_content =
                now.is_some_and(|now| now.content().and_then(Content::hot).is_some_and(|now| now == hot));
            let provable = !engine.unprovable.lock().contains(&inode.ino);
            let quiet = !is_content || (state.writers == 0 && provable);
            (live.epoch(), is_content, quiet && lease::is_quiet(&file, &path)?)
        };
        if !quiet {
            if self.patience > 0 {
                // A close of a moment ago may not have been told yet.
                self.patience -= 1;
                std::thread::sleep(CLOSING);
                return Err(changed());
            }
            return self.seal_copy(inode, hot, dir, name);
        }
        let attr = engine.hot.attr(hot)?;
        let queue = &engine.queue;
        let go_on = || (!is_content || live.epoch() == epoch) && !queue.is_stopped();
        let borders = self.borders(name, dir, hot);
        let sealed = match write::seal_file(&file, &path, &borders, &mut self.batch, &go_on) {
            Ok(Some(sealed)) => sealed,
            Ok(None) if queue.is_stopped() => return Err(stopped()),
            Ok(None) => return Err(changed()),
            Err(_) if is_content && live.epoch() != epoch => return Err(changed()),
            Err(error) => return Err(error),
        };
        merge_times(inode, &attr);
        let content = Sealed { id: sealed.content, size: sealed.size, blocks: attr.blocks };
        if is_content {
            self.published.push(Packed { live, epoch, hot, attr, content: sealed });
        }
        Ok(Resolved { sealed: content, being_written: false, hot: Some(hot) })
    }

    /// Seals a copy of a file that somebody writes: its bytes so far.
    pub(super) fn seal_copy(&mut self, inode: &Inode, hot: HotId, dir: Ino, name: &[u8]) -> Result<Resolved> {
        let engine = self.engine;
        let copy = engine.copy_hot(hot)?;
        self.copies.push(copy);
        // Who has opened it since had the moment's bytes kept elsewhere, before the first write.
        if self.moved(inode, hot)? {
            return Err(changed());
        }
        let (path, file, attr) =
            (engine.hot.path(copy), engine.hot.open_unseen(copy)?, engine.hot.attr(copy)?);
        let go_on = || !engine.queue.is_stopped();
        let borders = self.borders(name, dir, copy);
        let sealed =
            write::seal_file(&file, &path, &borders, &mut self.batch, &go_on)?.ok_or_else(stopped)?;
        tracing::debug!("inode {}: taken as it was while it is being written", inode.ino);
        let content = Sealed { id: sealed.content, size: sealed.size, blocks: attr.blocks };
        Ok(Resolved { sealed: content, being_written: true, hot: Some(copy) })
    }
}

/// The mount ends: the version is made after the next one.
pub(super) fn stopped() -> Error {
    Error::Errno(libc::EINTR)
}

impl Engine {
    /// Deletes copies that were made for a version.
    pub(super) fn delete_copies(&self, copies: &[HotId]) {
        for copy in copies {
            if let Err(error) = self.hot.delete(*copy) {
                self.report(&error, "delete a copy");
            }
        }
    }
}
