//! Nothing complete is lost between versions: what operations have to ask before they go on.
//!
//! Order: what would be destroyed and is in no version yet gets its moment recorded before the operation goes on, so that
//! the operation itself keeps the old bytes for it. An operation that destroys nothing new costs a look into a table.

use super::super::Engine;
use super::super::live::Way;
use super::burst::{Fresh, Save};
use super::trigger::Wanted;
use crate::base::{Error, Result};
use crate::catalog::keys::Ino;
use crate::catalog::records::Inode;
use crate::formats::{self, Validity};
use crate::version::names::is_temporary;

impl Engine {
    /// Files of another save that thread `pid`, which is about to make `name` in `dir`, has not closed yet as far as the
    /// kernel has told. Most likely it has: [`await_close`](Self::await_close), or both saves may share a version.
    pub fn unclosed_saves(&self, dir: Ino, name: &[u8], pid: u32) -> Vec<Ino> {
        let mut open = self.history.unclosed.of(pid);
        if open.is_empty() {
            return open;
        }
        let Ok((run, save)) = self.save_of(name, dir) else { return Vec::new() };
        if save == Save::default() {
            return Vec::new();
        }
        open.retain(|ino| {
            let home = self.ns.find(*ino).ok().flatten().and_then(|inode| inode.home);
            let theirs = home.and_then(|home| self.save_of(&home.name, home.parent).ok());
            theirs.is_some_and(|(their_run, theirs)| their_run == run && theirs.differs(&save))
        });
        open
    }

    /// Waits until thread `pid` has closed `files`; not for long, and once where it keeps one open.
    pub fn await_close(&self, files: &[Ino], pid: u32) {
        self.history.unclosed.wait(files, pid);
    }

    /// A file is about to be made, or to get its name: if names say that it is of another save than what waits in its run,
    /// that one is finished.
    pub(in super::super) fn before_next_save(&self, dir: Ino, name: &[u8]) -> Result<()> {
        if self.history.bursts.lock().is_empty() {
            return Ok(());
        }
        // Whoever names a directory that is not there hears of it from the operation itself.
        let Ok((run, save)) = self.save_of(name, dir) else { return Ok(()) };
        let other = self.history.bursts.lock().has_other_save(run, &save);
        // Ranks that are slower than the first one still write theirs.
        if other && !self.is_being_written(run, None).unwrap_or(true) {
            self.begin_version(run, Wanted::by("next-save"))?;
        }
        Ok(())
    }

    /// Whether somebody writes checkpoint content below `run`, other than file `except`, and has done so lately.
    pub(super) fn is_being_written(&self, run: Ino, except: Option<Ino>) -> Result<bool> {
        for live in self.live.open().into_iter().filter(|live| Some(live.ino) != except) {
            let hot = live.way().as_ref().and_then(Way::hot).map(|hot| hot.id);
            // Without waiting for an inode's state: whoever makes a file must not wait for another one to be hydrated.
            let (true, Some(hot)) = (live.may_be_written(), hot) else { continue };
            let Some(inode) = self.ns.find(live.ino)? else { continue };
            let Some(home) = inode.home.as_ref() else { continue };
            let written = self.hot.attr(hot)?.mtime;
            let ago = crate::base::clock::Time::now().secs - written.secs;
            let settle = self.options.history.settle.as_secs().cast_signed();
            if ago <= settle
                && self.ns.is_below(&inode, run)?
                && formats::recognise(&self.file_path(home)?, &self.hot_source(hot)?)?.is_some()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The name `name` of `ino` is about to be removed.
    pub(in super::super) fn before_unlink(&self, parent: Ino, name: &[u8]) -> Result<()> {
        let Some(entry) = self.ns.entry(parent, name)? else { return Ok(()) };
        let mut fresh = self.history.bursts.lock().get(entry.ino);
        let writers = if fresh.is_none() { self.writers(entry.ino) } else { 0 };
        if fresh.is_none() && writers == 0 {
            // Its last writer may have been let go between the two looks, and was noted before that.
            fresh = self.history.bursts.lock().get(entry.ino);
            if fresh.is_none() {
                return Ok(());
            }
        }
        let Some(inode) = self.ns.find(entry.ino)? else { return Ok(()) };
        if inode.nlink > 1 {
            // Its bytes stay; but the name goes because the next save is to have it, and what waits is the one before.
            let temporary = self.is_passing(parent, name, entry.ino, fresh)?;
            return if temporary { Ok(()) } else { self.before_destroyed(entry.ino, writers, "delete") };
        }
        if !self.is_passing(parent, name, entry.ino, fresh)? {
            self.before_destroyed(entry.ino, writers, "delete")?;
        }
        self.history.bursts.lock().forget(entry.ino);
        Ok(())
    }

    /// Whether a file that is removed was a temporary one: by its name, or made and removed before anything else was
    /// completed in its run. A name that tells a step or epoch is none, and a newer file may be complete though the
    /// kernel has not told of its close yet.
    fn is_passing(&self, parent: Ino, name: &[u8], ino: Ino, fresh: Option<Fresh>) -> Result<bool> {
        if self.chain(parent)?.iter().map(|(_, name)| name.as_slice()).chain([name]).any(is_temporary) {
            return Ok(true);
        }
        let (run, save) = self.save_of(name, parent)?;
        let newer = fresh.is_some_and(|fresh| self.history.bursts.lock().has_newer(&fresh));
        // A writer that cannot be looked at counts: a version too many is better than a checkpoint lost.
        let written = || self.is_being_written(run, Some(ino)).unwrap_or(true);
        Ok(!newer && save == Save::default() && !written())
    }

    /// The bytes of `ino`, which `writers` handles may write, are about to go: if they are whole checkpoint content that is
    /// in no version, one is begun.
    ///
    /// A handle that its program has closed may still count as a writer: the kernel tells of a close a moment later.
    pub(in super::super) fn before_destroyed(&self, ino: Ino, writers: usize, trigger: &str) -> Result<()> {
        let fresh = self.history.bursts.lock().get(ino);
        if fresh.is_none() && writers == 0 {
            return Ok(());
        }
        let Some(inode) = self.ns.find(ino)? else { return Ok(()) };
        let Some(home) = &inode.home else { return Ok(()) };
        if !self.is_whole_or_report(&inode) {
            return Ok(());
        }
        self.begin_version(self.run_dir_of(&home.name, home.parent)?, Wanted::by(trigger)).map(drop)
    }

    /// [`is_whole`](Self::is_whole), where a file that cannot be looked at is not: a save must not fail for that.
    fn is_whole_or_report(&self, inode: &Inode) -> bool {
        match self.is_whole(inode) {
            Ok(whole) => whole,
            // Truncated, replaced or removed meanwhile.
            Err(Error::Errno(libc::ESTALE | libc::ENOENT)) => false,
            Err(error) => {
                self.report(&error, "look at a file that is about to go");
                false
            }
        }
    }

    /// Whether a file is checkpoint content that is not cut short. It may be sealed: a version that was begun for others
    /// has taken it as it lay there, under the temporary name that it had.
    fn is_whole(&self, inode: &Inode) -> Result<bool> {
        let (Some(_), Some(home)) = (inode.content(), &inode.home) else { return Ok(false) };
        let source = self.source_of(inode)?;
        let Some(format) = formats::recognise(&self.file_path(home)?, &*source)? else { return Ok(false) };
        let siblings = self.live_siblings(home.parent);
        Ok(formats::validate(format, &home.name, &*source, &siblings)? == Validity::Valid)
    }
}
