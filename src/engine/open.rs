//! Opening and closing files.
//!
//! Order at an open that may write: the inode is held (an unlink now leaves its content alone), its
//! state is locked, its epoch raised (a seal in progress is void), the record says that the hot file
//! is the content again, and only then the open is answered.

use std::fs::File;
use std::io::ErrorKind;
use std::sync::Arc;

use parking_lot::MutexGuard;

use super::attr::{Attr, merge_times, set_hot_times};
use super::live::{HotFile, Live, OpenState, Source, Way};
use super::{Engine, Handle};
use crate::base::clock::Time;
use crate::base::fault::{self, Point};
use crate::base::{Error, IoContext, Result};
use crate::catalog::keys::{HotId, HotState, Ino};
use crate::catalog::records::{Body, Content, Inode, Sealed};
use crate::hot::{HotAttr, HotDir, sqlite};
use crate::namespace::Caller;
use crate::seal::hydrate::hydrate;
use crate::seal::read::SealedFile;
use crate::seal::stored;

/// How an open is to be answered.
#[derive(Clone, Debug)]
pub enum How {
    /// The kernel works on this hot file by itself.
    Passthrough(Arc<HotFile>),
    /// The same for mappings of it; reads and writes come to the daemon.
    Mapped(Arc<HotFile>),
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
        self.descriptors.room()?;
        let live = self.live.get(ino);
        live.hold();
        let opened = self.open_held(&live, flags, caller);
        if opened.is_err() {
            self.let_go(&live);
        }
        self.sync_if_asked(opened?, flags)
    }

    /// What is written through an O_SYNC or O_DSYNC handle is durable only with the file's names.
    fn sync_if_asked(&self, opened: Opened, flags: i32) -> Result<Opened> {
        // O_SYNC has this bit too.
        if flags & libc::O_DSYNC != 0 && flags & libc::O_ACCMODE != libc::O_RDONLY {
            self.fsync(opened.fh, true).or_else(|error| {
                self.release(opened.fh)?;
                Err(error)
            })?;
        }
        Ok(opened)
    }

    /// Makes a regular file.
    pub fn make_file(&self, parent: Ino, name: &[u8], mode: u32, caller: Caller) -> Result<Inode> {
        self.make_with_hot(parent, name, mode, caller).map(|(inode, _)| inode)
    }

    /// A new, empty hot file. A number under which there is one already is passed over: the record that gave it out is
    /// lost, and the bytes may be all that is left of a file.
    pub(super) fn new_hot_file(&self) -> Result<(HotId, File)> {
        loop {
            let id = self.ns.next_hot()?;
            match self.hot.create(id) {
                Err(Error::Io { source, .. }) if source.kind() == ErrorKind::AlreadyExists => {
                    tracing::warn!("hot file {id:016x} is there, and no record names it; it is left alone");
                }
                file => return file.map(|file| (id, file)),
            }
        }
    }

    fn make_with_hot(&self, parent: Ino, name: &[u8], mode: u32, caller: Caller) -> Result<(Inode, HotFile)> {
        self.check_writable()?;
        let (id, file) = self.new_hot_file()?;
        match self.ns.create(parent, name, mode, caller, id, sqlite::is_name(name)) {
            Ok(inode) => Ok((inode, HotFile { id, file, writable: false })),
            Err(error) => {
                self.hot.delete(id)?;
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
        self.descriptors.room()?;
        self.before_next_save(parent, name)?;
        let (mut inode, hot) = self.make_with_hot(parent, name, mode, caller)?;
        // The kernel remembers these times: they must be those that a later stat reads from the hot file.
        let times = hot.file.metadata().context("stat", &self.hot.path(hot.id))?;
        merge_times(&mut inode, &HotAttr::from(&times));
        let live = self.live.get(inode.ino);
        live.hold();
        let opened = self.open_new(&live, hot, flags, inode.daemon_only);
        if opened.is_err() {
            self.let_go(&live);
            // The kernel takes the name for free.
            self.unlink(parent, name)?;
        }
        let opened = self.sync_if_asked(opened?, flags)?;
        Ok((Attr { inode, size: 0, blocks: 0, volatile: true }, opened))
    }

    /// Opens a file that was made a moment ago. Another may have opened it meanwhile, by its name.
    fn open_new(&self, live: &Arc<Live>, hot: HotFile, flags: i32, daemon_only: bool) -> Result<Opened> {
        let mut state = live.lock();
        let content = Content::Hot(hot.id);
        let passthrough = self.passthrough_fits(flags) && !daemon_only;
        if live.way().is_none() && passthrough {
            live.set_way(&mut state, Some(Way::Passthrough(Arc::new(hot))));
        }
        self.add_handle(live, state, &content, flags, passthrough)
    }

    fn open_held(&self, live: &Arc<Live>, flags: i32, caller: Caller) -> Result<Opened> {
        let mut state = live.lock();
        let inode = self.ns.find_held(live.ino)?.ok_or(Error::Errno(libc::ESTALE))?;
        if inode.is_dir() {
            return Err(Error::Errno(libc::EISDIR));
        }
        let writable = flags & libc::O_ACCMODE != libc::O_RDONLY;
        let truncate = flags & libc::O_TRUNC != 0;
        if writable || truncate {
            self.check_writable()?;
        }
        let passthrough = self.passthrough_fits(flags) && !inode.daemon_only;
        if truncate {
            self.before_destroyed(live.ino, state.writers, "overwrite")?;
        }
        let content = if truncate {
            self.empty(live, &mut state, inode)?
        } else if writable {
            self.make_hot(live, &mut state, inode)?
        } else {
            let content = *inode.content().ok_or(Error::Errno(libc::EINVAL))?;
            self.beyond_doubt(live, content, false)?
        };
        if truncate && caller.uid != 0 {
            self.kill_privileges(live.ino)?;
        }
        self.add_handle(live, state, &content, flags, passthrough)
    }

    fn add_handle(
        &self,
        live: &Arc<Live>,
        mut state: MutexGuard<'_, OpenState>,
        content: &Content,
        flags: i32,
        passthrough: bool,
    ) -> Result<Opened> {
        let writable = flags & libc::O_ACCMODE != libc::O_RDONLY;
        let way = self.way(live, &mut state, content, writable, passthrough)?;
        let how = self.how(live.ino, &way, content, flags);
        let own = match &how {
            How::Mapped(hot) => Some(Arc::new(open_hot(&self.hot, hot.id, true)?)),
            _ => None,
        };
        state.handles += 1;
        state.writers += usize::from(writable);
        if matches!(how, How::Passthrough(_) | How::Mapped(_)) && !self.passthrough_fits(flags) {
            // It joins those who have the file open already; whether it keeps a mapping will never be known.
            self.unprovable.lock().insert(live.ino);
        }
        drop(state);
        let data_sync = flags & libc::O_DSYNC != 0;
        let fh = self.handles.add(Handle { live: live.clone(), writable, data_sync, own });
        self.cache.touch(live.ino);
        Ok(Opened { fh, how })
    }

    /// The way for one more open: that of the inode if it is open already, else the best there is.
    fn way(
        &self,
        live: &Live,
        state: &mut OpenState,
        content: &Content,
        writable: bool,
        passthrough: bool,
    ) -> Result<Way> {
        let way = match live.way() {
            Some(Way::Daemon(Source::Hot(hot))) if writable && !hot.writable => {
                Way::Daemon(Source::Hot(Arc::new(open_hot(&self.hot, hot.id, true)?)))
            }
            Some(way) => return Ok(way),
            None => match content.hot() {
                Some(id) => {
                    let hot = Arc::new(open_hot(&self.hot, id, false)?);
                    if passthrough && !sqlite::has_header(&hot.file) {
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

    /// Whether an open for update has to wait for the disk: the content is not a hot file alone.
    pub fn is_slow_to_write(&self, ino: Ino) -> bool {
        let found = self.ns.find(ino).ok().flatten();
        found.is_some_and(|inode| inode.content().is_some_and(|content| content.sealed().is_some()))
    }

    /// Whether an open with these flags may go by passthrough: not where a mapping could not be proved gone.
    fn passthrough_fits(&self, flags: i32) -> bool {
        self.passthrough() && !(self.hot.on_overlay() && flags & libc::O_ACCMODE == libc::O_RDWR)
    }

    fn how(&self, ino: Ino, way: &Way, content: &Content, flags: i32) -> How {
        match way {
            // The kernel opens the hot file with the flags of now, and what fcntl(F_SETFL) takes back of them it takes from its
            // own file only: as dd writes its last block, a tail that is not aligned would be refused.
            Way::Passthrough(hot)
                if flags & libc::O_ACCMODE != libc::O_RDONLY && flags & libc::O_DIRECT != 0 =>
            {
                How::Mapped(hot.clone())
            }
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
        let content = self.beyond_doubt(live, content, true)?;
        self.protect(&inode)?;
        let id = match content {
            Content::Hot(id) => {
                self.will_change(id)?;
                return Ok(content);
            }
            Content::Both(id, _) => {
                let file = self.hot.open_write(id)?;
                let path = self.hot.path(id);
                set_hot_times(&file, Some(inode.atime), Some(inode.mtime)).context("set times of", &path)?;
                // The record is about to name this file instead of durable chunks.
                self.hot.sync(id, &file, false).inspect_err(|error| self.poison_if_sync(error))?;
                self.cache.remove(live.ino);
                id
            }
            Content::Sealed(sealed) => self.hydrate(&inode, &sealed)?,
        };
        self.turn_hot(live, state, id, false)
    }

    /// Fills a new hot file from chunks and makes it durable: the record will name it instead of them.
    fn hydrate(&self, inode: &Inode, sealed: &Sealed) -> Result<HotId> {
        let (id, _) = self.new_hot_file()?;
        let filled = self.fill(id, inode, sealed);
        if filled.is_err() {
            self.hot.delete(id)?;
        }
        filled?;
        fault::reached(Point::HotHydrated);
        Ok(id)
    }

    fn fill(&self, id: HotId, inode: &Inode, sealed: &Sealed) -> Result<()> {
        let (path, file) = (self.hot.path(id), self.hot.open_write(id)?);
        let manifest = stored::load(&self.packs, &sealed.id)?;
        hydrate(&self.packs, &manifest, &file, &path, self.options.hydrate_threads)?;
        set_hot_times(&file, Some(inode.atime), Some(inode.mtime)).context("set times of", &path)?;
        self.hot.sync(id, &file, false).inspect_err(|error| self.poison_if_sync(error))
    }

    /// Makes the content an empty hot file. While handles are open, or somebody who has closed it can still
    /// write to it (a mapping, a client of a killed daemon), it is the same one, truncated in place.
    pub(super) fn empty(&self, live: &Live, state: &mut OpenState, inode: Inode) -> Result<Content> {
        live.raise_epoch(state);
        self.queue.rewritten(live.ino);
        self.hot_at_cut.lock().remove(&live.ino);
        let content = *inode.content().ok_or(Error::Errno(libc::EINVAL))?;
        let open = live.way().as_ref().and_then(Way::hot).map(|hot| hot.id);
        let same = match (open, content) {
            (None, Content::Hot(id)) if !self.is_quiet(id)? => Some(id),
            (open, _) => open,
        };
        match same {
            Some(id) => {
                self.protect(&inode)?;
                if content.sealed().is_some() {
                    self.cache.remove(live.ino);
                    self.turn_hot(live, state, id, false)?;
                }
                self.will_change(id)?;
                let path = self.hot.path(id);
                self.hot.open_write(id)?.set_len(0).context("truncate", &path)?;
                Ok(Content::Hot(id))
            }
            None => {
                let (id, _) = self.new_hot_file()?;
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
                inode.mtime = Time::now();
                inode.ctime = inode.mtime;
            }
            Ok(())
        })?;
        fault::reached(Point::HotTurned);
        if let Some(old) = before {
            self.bury(old, seq);
        }
        if let Some(Way::Daemon(Source::Sealed(_))) = live.way() {
            // Read-only: an open for writing gets its own, and without one the lease must be granted.
            let hot = Arc::new(open_hot(&self.hot, id, false)?);
            live.set_way(state, Some(Way::Daemon(Source::Hot(hot))));
        }
        inode.content().copied().ok_or(Error::Errno(libc::EINVAL))
    }
}

/// Opens hot file `id`.
pub(super) fn open_hot(dir: &HotDir, id: HotId, writable: bool) -> Result<HotFile> {
    let file = if writable { dir.open_write(id)? } else { dir.open_read(id)? };
    Ok(HotFile { id, file, writable })
}
