//! Changes of names with what history has to do before and after.
//!
//! Order: what would be destroyed is seen to, the change is made, then runs and bursts follow it. What fails after the
//! change is reported and does not fail it.

use super::super::Engine;
use crate::base::{Error, Result};
use crate::catalog::keys::Ino;
use crate::catalog::records::Inode;
use crate::formats;
use crate::namespace::Caller;
use crate::namespace::rename::{Over, Place};
use crate::version::marker::Event;
use crate::version::names::is_temporary;

impl Engine {
    /// Renames, with what history has to do before and after. See [`Namespace::rename`](crate::namespace::Namespace::rename).
    pub fn rename(&self, from: Place<'_>, to: Place<'_>, over: Over) -> Result<()> {
        self.check_writable()?;
        let target = self.ns.entry(to.parent, to.name)?;
        let mut dying = None;
        if let (Some(target), Over::Replace) = (target, over) {
            let moving = self.ns.entry(from.parent, from.name)?;
            if moving.is_some_and(|moving| moving.ino != target.ino) {
                self.before_destroyed(target.ino, self.writers(target.ino), "overwrite")?;
                dying = self.run_dying(target.ino)?;
            }
        }
        self.before_next_save(to.parent, to.name)?;
        if self.ns.needs_barrier(from, to, over)? {
            self.sync_names()?;
        }
        self.ns.rename(from, to, over)?;
        // It is done: what history makes of it cannot fail it any more.
        if let Some((id, path)) = dying {
            self.note_fault(self.run_died(id, path));
        }
        let replaced = target.map(|target| target.ino);
        self.note_fault(self.renamed(from, to, replaced));
        Ok(())
    }

    /// Makes a directory. One that is named after the next step ends the save before, which must not hold it: loaders take
    /// the folder of the highest step.
    pub fn mkdir(&self, parent: Ino, name: &[u8], mode: u32, caller: Caller) -> Result<Inode> {
        self.before_next_save(parent, name)?;
        self.ns.mkdir(parent, name, mode, caller)
    }

    fn renamed(&self, from: Place<'_>, to: Place<'_>, replaced: Option<Ino>) -> Result<()> {
        if let Some(replaced) = replaced
            && self.ns.find(replaced)?.is_none_or(|inode| inode.nlink == 0)
        {
            self.history.bursts.lock().forget(replaced);
        }
        let Some(moved) = self.ns.entry(to.parent, to.name)? else { return Ok(()) };
        let is_dir = moved.kind == libc::S_IFDIR;
        let fresh = self.history.bursts.lock().get(moved.ino).map(|fresh| fresh.pid);
        // What the version before the rename has by another name is the next save all the same.
        let named = || self.history.bursts.lock().got_its_name(moved.ino).filter(|_| !is_temporary(to.name));
        if let Some(pid) = fresh.or_else(named) {
            self.note(moved.ino, &to.into(), pid)?;
        } else if !is_dir && is_temporary(from.name) && !is_temporary(to.name) {
            // A version may have taken it as left over under its temporary name: it is complete only now.
            self.note_if_checkpoint(moved.ino, to)?;
        } else if is_dir {
            self.note_below(moved.ino)?;
        }
        let event = Event::Renamed { from: from.name, to: to.name, is_dir };
        self.marked(&event, to.parent, moved.ino)
    }

    fn note_if_checkpoint(&self, ino: Ino, place: Place<'_>) -> Result<()> {
        let Some(inode) = self.ns.find(ino)?.filter(|inode| inode.content().is_some()) else { return Ok(()) };
        let home = place.into();
        if formats::recognise(&self.file_path(&home)?, &*self.source_of(&inode)?)?.is_some() {
            self.note(ino, &home, 0)?;
        }
        Ok(())
    }

    /// Directory `dir` has another name: what waits below it may be of another run or save now.
    fn note_below(&self, dir: Ino) -> Result<()> {
        let mut waiting = self.history.bursts.lock().files();
        waiting.sort_by_key(|(_, fresh)| fresh.order);
        for (ino, fresh) in waiting {
            let Some(inode) = self.ns.find(ino)? else { continue };
            if let Some(home) = &inode.home
                && self.ns.is_below(&inode, dir)?
            {
                self.note(ino, home, fresh.pid)?;
            }
        }
        Ok(())
    }

    /// Removes an empty directory. The history of a run stays.
    pub fn rmdir(&self, parent: Ino, name: &[u8]) -> Result<()> {
        self.check_writable()?;
        let dying = match self.ns.entry(parent, name)? {
            Some(entry) => self.run_dying(entry.ino)?,
            None => None,
        };
        self.ns.rmdir(parent, name)?;
        if let Some((id, path)) = dying {
            self.note_fault(self.run_died(id, path));
        }
        Ok(())
    }

    fn note_fault(&self, done: Result<()>) {
        match done {
            // Changed again meanwhile.
            Ok(()) | Err(Error::Errno(libc::ESTALE | libc::ENOENT)) => {}
            Err(error) => self.report(&error, "keep history up with a change of names"),
        }
    }

    pub(super) fn writers(&self, ino: Ino) -> usize {
        self.live.get(ino).lock().writers
    }
}
