//! Hot files from before this mount: their bytes lay on the disk, and are held against what is known of them before they
//! are used.
//!
//! Of the hot copy of a sealed file that is the list of its chunks; of a small file it is a mark that was recorded when it
//! came to rest. A file that was written since and has not come to rest again has none: it is what the disk says it is.
//!
//! Order: a mark goes with the end of the mount if its file was opened for writing since; an end that is not in order
//! leaves it, and then it counts only while the file's ctime is the one in it, because a client of a killed daemon may have
//! written on. A power cut takes all marks: one may be durable before the bytes that it is of.

use std::collections::HashSet;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Engine;
use super::live::Live;
use crate::base::{Error, Result};
use crate::catalog::keys::{HotId, HotState, Ino};
use crate::catalog::records::{Body, Content, HotMark, Sealed};
use crate::content::hash::chunk_id;
use crate::hot::HotAttr;
use crate::seal::stored;

/// A copy of at most this many bytes is compared when it is opened; a longer one when nothing else is to be done, and until
/// then the file is read from its chunks.
pub(super) const AT_ONCE_MAX: u64 = 32 << 20;

/// What is not known to be as it was left.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    /// Hot files below this were there before the mount.
    floor: HotId,
    /// The last mount ended in order: nobody can have written since.
    was_closed: bool,
    /// Of those below the floor, the ones that were looked at.
    trusted: Mutex<HashSet<HotId>>,
    /// Files with a mark that were opened for writing since it was made.
    written: Mutex<HashSet<HotId>>,
}

impl Doubts {
    pub(super) fn new(floor: HotId, was_closed: bool) -> Self {
        Doubts { floor, was_closed, ..Doubts::default() }
    }

    fn has(&self, hot: HotId) -> bool {
        hot < self.floor && !self.trusted.lock().contains(&hot)
    }

    fn trust(&self, hot: HotId) {
        if hot < self.floor {
            self.trusted.lock().insert(hot);
        }
    }
}

impl Engine {
    /// The content of `ino` as it may be used: without a hot copy that is wrong, or that is yet to be compared and too long
    /// for that. [`Error::Damaged`] for a small file whose bytes are not those that came to rest. The caller has locked the
    /// inode's state; `all` compares whatever it takes.
    pub(super) fn beyond_doubt(&self, live: &Live, content: Content, all: bool) -> Result<Content> {
        let Some(hot) = content.hot().filter(|hot| self.doubts.has(*hot)) else { return Ok(content) };
        match content {
            Content::Both(_, sealed) if sealed.size <= AT_ONCE_MAX || all => {
                self.settle_copy(live.ino, hot, sealed)
            }
            Content::Both(_, sealed) => Ok(Content::Sealed(sealed)),
            Content::Hot(_) => self.check_mark(hot).map(|()| content),
            Content::Sealed(_) => Ok(content),
        }
    }

    /// Whether the hot file of `ino` is used as it is.
    #[cfg(test)]
    pub(super) fn is_trusted(&self, ino: Ino) -> bool {
        let content = self.ns.find(ino).unwrap().and_then(|inode| inode.content().copied());
        content.and_then(|content| content.hot()).is_some_and(|hot| !self.doubts.has(hot))
    }

    /// Compares a hot copy with its chunks; one that differs is dropped.
    fn settle_copy(&self, ino: Ino, hot: HotId, sealed: Sealed) -> Result<Content> {
        let manifest = stored::load(&self.packs, &sealed.id)?;
        if self.is_copy(hot, &manifest, &|_| self.is_here())? {
            self.doubts.trust(hot);
            return Ok(Content::Both(hot, sealed));
        }
        self.drop_wrong_copy(ino, hot, sealed)
    }

    /// A hot copy is not one: the file is read from its chunks from now on.
    pub(super) fn drop_wrong_copy(&self, ino: Ino, hot: HotId, sealed: Sealed) -> Result<Content> {
        let what = format!("hot copy of inode {ino}: it differs from what was sealed, and is dropped");
        self.report(&Error::damaged(&self.hot.path(hot), what), "use a hot copy");
        // A version in the making may know the hot file only.
        self.ns.redirect_snapshots(ino, hot, Content::Sealed(sealed))?;
        let (_, seq) = self.ns.set_content(ino, HotState::Cache, |inode| {
            inode.body = Body::File(Content::Sealed(sealed));
            Ok(())
        })?;
        self.cache.remove(ino);
        self.bury(hot, seq);
        Ok(Content::Sealed(sealed))
    }

    /// Holds a small file against its mark, if it has one.
    pub(super) fn check_mark(&self, hot: HotId) -> Result<()> {
        if !self.doubts.has(hot) {
            return Ok(());
        }
        if let Some(mark) = self.ns.hot_mark(hot)? {
            self.hold_against(hot, &mark)?;
        }
        self.doubts.trust(hot);
        Ok(())
    }

    /// [`Error::Damaged`] when hot file `hot` is not what was marked, and nobody can have written to it since.
    pub(super) fn hold_against(&self, hot: HotId, mark: &HotMark) -> Result<()> {
        if !self.doubts.was_closed && self.hot.attr(hot)?.ctime != mark.ctime {
            return Ok(());
        }
        if self.mark_of(hot)?.hash == mark.hash || self.doubts.written.lock().contains(&hot) {
            return Ok(());
        }
        Err(Error::damaged(&self.hot.path(hot), "hot file: its bytes are not those that were written"))
    }

    /// What is to be recorded of a small file that is at rest.
    pub(super) fn mark_of(&self, hot: HotId) -> Result<HotMark> {
        use std::io::Read;
        let (path, mut bytes) = (self.hot.path(hot), Vec::new());
        let ctime = self.hot.attr(hot)?.ctime;
        let limit = super::sealer::SMALL_MAX_BYTES;
        let mut file = self.hot.open_unseen(hot)?.take(limit);
        crate::base::IoContext::context(file.read_to_end(&mut bytes), "read", &path)?;
        Ok(HotMark { ctime, hash: chunk_id(&bytes) })
    }

    /// Hot file `hot` is about to be written, or may be: its mark no longer counts.
    pub(super) fn will_change(&self, hot: HotId) -> Result<()> {
        if self.ns.hot_is(HotState::Small, hot)? {
            self.doubts.written.lock().insert(hot);
        }
        Ok(())
    }

    /// After a kill: the mark of a file that was written since, or still may be, no longer counts, and goes with this mount.
    pub(super) fn doubt_mark(&self, hot: HotId, attr: &HotAttr, is_quiet: bool) -> Result<()> {
        let Some(mark) = self.ns.hot_mark(hot)? else { return Ok(()) };
        if !is_quiet || attr.ctime != mark.ctime {
            self.doubts.written.lock().insert(hot);
        }
        Ok(())
    }

    /// Whether hot file `hot` was opened for writing since it was marked.
    pub(super) fn is_written(&self, hot: HotId) -> bool {
        self.doubts.written.lock().contains(&hot)
    }

    /// Hot file `hot` has been marked as it is, and nobody has it open for writing.
    pub(super) fn is_marked(&self, hot: HotId) {
        self.doubts.written.lock().remove(&hot);
    }

    /// Takes the marks of files that were opened for writing since off, at the end of the mount.
    pub(super) fn drop_stale_marks(&self) -> Result<()> {
        let written: Vec<HotId> = self.doubts.written.lock().drain().collect();
        self.ns.unmark(&written)
    }

    /// Compares the hot copies of earlier mounts, the newest first, until all are or the mount ends.
    pub(super) fn settle_doubts(&self, go_on: &dyn Fn(u64) -> Result<()>) -> Result<()> {
        let mut copies = self.ns.hot_files(HotState::Cache)?;
        copies.retain(|(hot, _)| self.doubts.has(*hot));
        for (hot, ino) in copies.into_iter().rev() {
            let settled = self.with_held(ino, |live| self.settle_doubt(live, hot, go_on));
            match settled {
                Err(error @ Error::Errno(libc::EINTR)) => return Err(error),
                Err(error) => self.report(&error, "compare a hot copy"),
                Ok(()) => {}
            }
        }
        Ok(())
    }

    fn settle_doubt(&self, live: &Arc<Live>, hot: HotId, go_on: &dyn Fn(u64) -> Result<()>) -> Result<()> {
        let copy = || match self.ns.find_held(live.ino)?.and_then(|inode| inode.content().copied()) {
            Some(Content::Both(id, sealed)) if id == hot && self.doubts.has(hot) => {
                Ok::<_, Error>(Some(sealed))
            }
            _ => Ok(None),
        };
        // Not under the inode's state: who opens the file meanwhile reads it from its chunks.
        let Some(sealed) = copy()? else { return Ok(()) };
        let manifest = stored::load(&self.packs, &sealed.id)?;
        let same = self.is_copy(hot, &manifest, go_on)?;
        let _state = live.lock();
        if copy()? != Some(sealed) {
            return Ok(());
        }
        if same {
            self.doubts.trust(hot);
            return Ok(());
        }
        self.drop_wrong_copy(live.ino, hot, sealed).map(drop)
    }
}
