//! Opening and closing files.
//!
//! Order at an open that may write: the inode is held (an unlink now leaves its content alone), its
//! state is locked, its epoch raised (a seal in progress is void), the record says that the hot file
//! is the content again, and only then the open is answered.

use std::sync::Arc;

use super::attr::{Attr, merge_times, set_hot_times};
use super::live::{HotFile, Live, OpenState, Source, Way};
use super::{Engine, Handle};
use crate::base::clock::Time;
use crate::base::{Error, IoContext, Result};
use crate::catalog::keys::{HotId, HotState, Ino};
use crate::catalog::records::{Body, Content, Inode, Sealed};
use crate::hot::{HotDir, lease, sqlite};
use crate::namespace::Caller;
use crate::namespace::setattr::SetAttr;
use crate::seal::hydrate::hydrate;
use crate::seal::read::SealedFile;
use crate::seal::stored;

/// How an open is to be answered.
#[derive(Clone, Debug)]
pub enum How {
    /// The kernel works on this hot file by itself.
    Passthrough(Arc<HotFile>),
    /// Requests come to the daemon.
    Daemon {
        /// Without the kernel's page cache: faster for a writer that streams.
        direct: bool,
        /// What the page cache holds of this inode is still right.
        keep_cache: bool,
    },
}

/// An answered open.
#[derive(Debug)]
pub struct Opened {
    /// The handle, for all further calls.
    pub fh: u64,
    /// How the kernel is to be answered.
    pub how: How,
}

impl Engine {
    /// Opens regular file `ino` with the flags of open(2).
    pub fn open(&self, ino: Ino, flags: i32, caller: Caller) -> Result<Opened> {
        let live = self.live.get(ino);
        live.hold();
        let opened = self.open_held(&live, flags, caller);
        match &opened {
            // O_SYNC has this bit too. What is written through the handle is durable only with its names.
            Ok(opened) if flags & libc::O_DSYNC != 0 && flags & libc::O_ACCMODE != libc::O_RDONLY => {
                self.fsync(opened.fh, true).or_else(|error| {
                    self.release(opened.fh)?;
                    Err(error)
                })?
            }
            Ok(_) => {}
            Err(_) => self.let_go(&live),
        }
        opened
    }

    /// Makes a regular file.
    pub fn make_file(&self, parent: Ino, name: &[u8], mode: u32, caller: Caller) -> Result<Inode> {
        self.check_writable()?;
        let hot = self.ns.next_hot()?;
        drop(self.hot.create(hot)?);
        match self.ns.create(parent, name, mode, caller, hot) {
            Ok(inode) => {
                self.saw_name(inode.ino, name);
                Ok(inode)
            }
            Err(error) => {
                self.hot.delete(hot)?;
                Err(error)
            }
        }
    }

    /// Makes and opens a regular file.
    pub fn create(
        &self,
        parent: Ino,
        name: &[u8],
        mode: u32,
        flags: i32,
        caller: Caller,
    ) -> Result<(Attr, Opened)> {
        let inode = self.make_file(parent, name, mode, caller)?;
        let opened = self.open(inode.ino, flags & !libc::O_TRUNC, caller)?;
        Ok((self.attr(inode)?, opened))
    }

    fn open_held(&self, live: &Arc<Live>, flags: i32, caller: Caller) -> Result<Opened> {
        let mut state = live.lock();
        let inode = self.ns.find_held(live.ino)?.ok_or(Error::Errno(libc::ENOENT))?;
        if inode.is_dir() {
            return Err(Error::Errno(libc::EISDIR));
        }
        let writable = flags & libc::O_ACCMODE != libc::O_RDONLY;
        let truncate = flags & libc::O_TRUNC != 0;
        if writable || truncate {
            self.check_writable()?;
        }
        let content = if truncate {
            self.empty(live, &mut state, inode)?
        } else if writable {
            self.make_hot(live, &mut state, inode)?
        } else {
            *inode.content().ok_or(Error::Errno(libc::EINVAL))?
        };
        if truncate && caller.uid != 0 {
            self.kill_privileges(live.ino)?;
        }
        let way = self.way(live, &mut state, &content, flags)?;
        state.handles += 1;
        state.writers += usize::from(writable);
        let how = self.how(live.ino, &way, &content, flags);
        drop(state);
        let fh =
            self.handles.add(Handle { live: live.clone(), writable, data_sync: flags & libc::O_DSYNC != 0 });
        self.cache.touch(live.ino);
        Ok(Opened { fh, how })
    }

    /// The way for one more open: that of the inode if it is open already, else the best there is.
    fn way(&self, live: &Live, state: &mut OpenState, content: &Content, flags: i32) -> Result<Way> {
        let access = flags & libc::O_ACCMODE;
        let writable = access != libc::O_RDONLY;
        let way = match live.way() {
            Some(Way::Daemon(Source::Hot(hot))) if writable && !hot.writable => {
                Way::Daemon(Source::Hot(Arc::new(open_hot(&self.hot, hot.id, true)?)))
            }
            Some(way) => return Ok(way),
            None => match content.hot() {
                Some(id) => {
                    let hot = Arc::new(open_hot(&self.hot, id, false)?);
                    let unprovable = self.hot.on_overlay() && access == libc::O_RDWR;
                    let sqlite = self.sqlite.has(live.ino) || sqlite::has_header(&hot.file);
                    if self.passthrough() && !unprovable && !sqlite {
                        Way::Passthrough(hot)
                    } else if writable {
                        Way::Daemon(Source::Hot(Arc::new(open_hot(&self.hot, id, true)?)))
                    } else {
                        Way::Daemon(Source::Hot(hot))
                    }
                }
                None => Way::Daemon(Source::Sealed(Arc::new(self.open_sealed(content)?))),
            },
        };
        live.set_way(state, Some(way.clone()));
        Ok(way)
    }

    fn how(&self, ino: Ino, way: &Way, content: &Content, flags: i32) -> How {
        match way {
            Way::Passthrough(hot) => How::Passthrough(hot.clone()),
            Way::Daemon(Source::Hot(_)) => {
                self.kept.forget(ino);
                // A streaming writer gains from skipping the page cache; whoever also reads, or maps, does not.
                How::Daemon { direct: flags & libc::O_ACCMODE == libc::O_WRONLY, keep_cache: false }
            }
            Way::Daemon(Source::Sealed(_)) => {
                let id = content.sealed().map(|sealed| sealed.id);
                How::Daemon { direct: false, keep_cache: id.is_some_and(|id| self.kept.is_known(ino, id)) }
            }
        }
    }

    fn open_sealed(&self, content: &Content) -> Result<SealedFile> {
        let sealed = content.sealed().ok_or(Error::Errno(libc::EIO))?;
        SealedFile::open(self.packs.clone(), self.readers.clone(), sealed.id)
    }

    /// Makes the content a hot file that may be written: hydrates it where it is only in packs.
    pub(super) fn make_hot(&self, live: &Live, state: &mut OpenState, inode: Inode) -> Result<Content> {
        live.raise_epoch(state);
        let content = *inode.content().ok_or(Error::Errno(libc::EINVAL))?;
        let id = match content {
            Content::Hot(_) => return Ok(content),
            Content::Both(id, _) => {
                let file = self.hot.open_write(id)?;
                let path = self.hot.path(id);
                set_hot_times(&file, Some(inode.atime), Some(inode.mtime)).context("set times of", &path)?;
                self.cache.remove(live.ino);
                id
            }
            Content::Sealed(sealed) => self.hydrate(&inode, &sealed)?,
        };
        self.turn_hot(live, state, id, false)
    }

    fn hydrate(&self, inode: &Inode, sealed: &Sealed) -> Result<HotId> {
        let id = self.ns.next_hot()?;
        let file = self.hot.create(id)?;
        let path = self.hot.path(id);
        let filled = stored::load(&self.packs, &sealed.id)
            .and_then(|manifest| hydrate(&self.packs, &manifest, &file, &path, self.options.hydrate_threads))
            .and_then(|()| {
                set_hot_times(&file, Some(inode.atime), Some(inode.mtime)).context("set times of", &path)
            });
        if let Err(error) = filled {
            self.hot.delete(id)?;
            return Err(error);
        }
        Ok(id)
    }

    /// Makes the content an empty hot file. While handles are open, or somebody who has closed it can still
    /// write to it (a mapping, a client of a killed daemon), it is the same one, truncated in place.
    pub(super) fn empty(&self, live: &Live, state: &mut OpenState, inode: Inode) -> Result<Content> {
        live.raise_epoch(state);
        let content = *inode.content().ok_or(Error::Errno(libc::EINVAL))?;
        let open = live.way().as_ref().and_then(Way::hot).map(|hot| hot.id);
        let same = match (open, content) {
            (None, Content::Hot(id)) if !self.is_quiet(id)? => Some(id),
            (open, _) => open,
        };
        match same {
            Some(id) => {
                let content = self.make_hot(live, state, inode)?;
                let path = self.hot.path(id);
                self.hot.open_write(id)?.set_len(0).context("truncate", &path)?;
                Ok(content)
            }
            None => {
                let id = self.ns.next_hot()?;
                drop(self.hot.create(id)?);
                self.cache.remove(live.ino);
                let empty = self.turn_hot(live, state, id, true)?;
                debug_assert_ne!(empty, content);
                Ok(empty)
            }
        }
    }

    /// Records that hot file `id` is the content, drops another one, and moves open readers over.
    fn turn_hot(&self, live: &Live, state: &mut OpenState, id: HotId, changed: bool) -> Result<Content> {
        let mut before = None;
        let (inode, seq) = self.ns.set_content(live.ino, HotState::Unsealed, |inode| {
            before = inode.content().and_then(Content::hot).filter(|old| *old != id);
            inode.body = Body::File(Content::Hot(id));
            if changed {
                (inode.mtime, inode.ctime) = (Time::now(), Time::now());
            }
            Ok(())
        })?;
        if let Some(old) = before {
            self.bury(old, seq)?;
        }
        if let Some(Way::Daemon(Source::Sealed(_))) = live.way() {
            // Read-only: an open for writing gets its own, and without one the lease must be granted.
            let hot = Arc::new(open_hot(&self.hot, id, false)?);
            live.set_way(state, Some(Way::Daemon(Source::Hot(hot))));
        }
        inode.content().copied().ok_or(Error::Errno(libc::EINVAL))
    }

    /// Changes the size of a regular file.
    pub fn truncate(&self, ino: Ino, size: u64, caller: Caller) -> Result<()> {
        self.check_writable()?;
        let done = self.with_held(ino, |live| self.truncate_held(live, size, caller));
        // A writer's close schedules it again; a reader's does not.
        self.schedule(ino);
        done
    }

    fn truncate_held(&self, live: &Live, size: u64, caller: Caller) -> Result<()> {
        let mut state = live.lock();
        let inode = self.ns.find_held(live.ino)?.ok_or(Error::Errno(libc::ENOENT))?;
        if inode.is_dir() {
            return Err(Error::Errno(libc::EISDIR));
        }
        let content = if size == 0 {
            self.empty(live, &mut state, inode)?
        } else {
            self.make_hot(live, &mut state, inode)?
        };
        if let (Some(id), true) = (content.hot(), size > 0) {
            let path = self.hot.path(id);
            self.hot.open_write(id)?.set_len(size).context("truncate", &path)?;
        }
        if caller.uid != 0 {
            self.kill_privileges(live.ino)?;
        }
        Ok(())
    }

    /// Clears set-user-id, set-group-id and capabilities, where there is something to clear.
    pub fn kill_privileges(&self, ino: Ino) -> Result<()> {
        let inode = self.ns.inode(ino)?;
        if inode.mode & (libc::S_ISUID | libc::S_ISGID) == 0 && inode.xattrs == 0 {
            return Ok(());
        }
        let set = SetAttr { kill_privileges: true, ..SetAttr::default() };
        self.ns.setattr(ino, &set).map(drop)
    }

    /// Closes a handle; the last writer's close schedules sealing.
    pub fn release(&self, fh: u64) -> Result<()> {
        let Some(handle) = self.handles.remove(fh) else { return Err(Error::Errno(libc::EBADF)) };
        let live = &handle.live;
        let mut state = live.lock();
        state.handles -= 1;
        state.writers -= usize::from(handle.writable);
        if state.handles == 0 {
            live.set_way(&mut state, None);
        } else if let (0, Some(Way::Daemon(Source::Hot(hot)))) = (state.writers, live.way()) {
            // The daemon's own writable descriptor would refuse the lease.
            if hot.writable {
                let hot = Arc::new(open_hot(&self.hot, hot.id, false)?);
                live.set_way(&mut state, Some(Way::Daemon(Source::Hot(hot))));
            }
        }
        let last_writer = handle.writable && state.writers == 0;
        let closed = state.handles == 0;
        drop(state);
        self.let_go(live);
        if closed && self.cache.bytes() > self.options.hot_cache_bytes {
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

    /// Changes attributes other than the size, in the record and in the hot file.
    pub fn setattr(&self, ino: Ino, set: &SetAttr) -> Result<Attr> {
        self.check_writable()?;
        let attr = self.with_held(ino, |live| self.setattr_held(live, *set))?;
        if matches!(attr.inode.content(), Some(Content::Hot(_))) {
            self.schedule(ino);
        }
        Ok(attr)
    }

    fn setattr_held(&self, live: &Live, mut set: SetAttr) -> Result<Attr> {
        let mut state = live.lock();
        let Some(inode) = self.ns.find_held(live.ino)? else {
            // Removed and only remembered: there is nothing to change.
            return self.attr(self.ns.inode(live.ino)?);
        };
        if let Some(Content::Hot(id)) = inode.content() {
            let path = self.hot.path(*id);
            if set.atime.is_some() || set.mtime.is_some() {
                let file = self.hot.open_read(*id)?;
                set_hot_times(&file, set.atime, set.mtime).context("set times of", &path)?;
                live.raise_epoch(&mut state);
            } else {
                // The record's ctime moves past what the hot file shows, so its mtime is recorded with it.
                let mut merged = inode.clone();
                merge_times(&mut merged, &self.hot.attr(*id)?);
                set.mtime = Some(merged.mtime);
            }
        }
        self.attr(self.ns.setattr(live.ino, &set)?)
    }
}

/// Opens hot file `id`.
fn open_hot(dir: &HotDir, id: HotId, writable: bool) -> Result<HotFile> {
    let file = if writable { dir.open_write(id)? } else { dir.open_read(id)? };
    Ok(HotFile { id, file, writable })
}
