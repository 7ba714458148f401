//! Changing size and attributes of files.
//!
//! Order for a new size: as for an open that writes - the epoch is raised and the content is a hot file on
//! record before the hot file is cut. Times are set on the hot file too: it is what tells them.

use super::Engine;
use super::attr::{Attr, merge_times, set_hot_times};
use super::live::Live;
use crate::base::{Error, IoContext, Result};
use crate::catalog::keys::Ino;
use crate::catalog::records::Content;
use crate::namespace::Caller;
use crate::namespace::setattr::SetAttr;

impl Engine {
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
        let inode = self.ns.find_held(live.ino)?.ok_or(Error::Errno(libc::ESTALE))?;
        if inode.is_dir() {
            return Err(Error::Errno(libc::EISDIR));
        }
        if size < self.attr(inode.clone())?.size {
            self.before_destroyed(live.ino, state.writers, "overwrite")?;
        }
        let content = if size == 0 {
            self.empty(live, &mut state, inode)?
        } else {
            self.make_hot(live, &mut state, inode)?
        };
        if let (Some(id), true) = (content.hot(), size > 0) {
            let path = self.hot.path(id);
            self.hot.open_write(id)?.set_len(size).context_of_request("truncate", &path)?;
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
