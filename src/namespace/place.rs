//! Putting something whole in the place of a name, by reference: a new inode with sealed content, or another name of one.
//!
//! It is one record: a name leads to what was there or to what comes, whole, after a kill and after a power cut. The bytes
//! were durable before, so no barrier is needed, and what is replaced goes as by an unlink.

use super::change::Change;
use super::remove::Removed;
use super::{Namespace, Naming, check_name};
use crate::base::clock::Time;
use crate::base::{Error, Result};
use crate::catalog::keys::{self, Ino};
use crate::catalog::records::{Content, Home, Inode};

/// What is put in place of a name.
#[derive(Clone, Copy, Debug)]
pub enum Placed<'a> {
    /// A new inode like this one, with these extended attributes; number, names and times of its own come by themselves,
    /// but for the mtime. A file's content is sealed.
    New(&'a Inode, &'a [(Vec<u8>, Vec<u8>)]),
    /// One more name of this inode.
    Name(Ino),
}

impl Namespace {
    /// Puts `placed` at `name` in `parent`, in place of what has that name, which must be no directory. Returns the inode as
    /// it is now, and what was replaced; `is_open` as in [`unlink`](Self::unlink).
    pub fn place(
        &self,
        parent: Ino,
        name: &[u8],
        placed: Placed<'_>,
        is_open: impl FnOnce(Ino) -> bool,
    ) -> Result<(Inode, Option<Removed>)> {
        check_name(name)?;
        let mut naming = self.naming();
        let mut change = Change::new(self);
        if change.dir(parent)?.nlink == 0 {
            return Err(Error::Errno(libc::ENOENT));
        }
        let target = self.entry(parent, name)?;
        let now = Time::now();
        if let (Some(target), Placed::Name(ino)) = (&target, placed)
            && target.ino == ino
        {
            return Ok((change.inode(ino)?, None));
        }
        let mut old = match target {
            Some(target) => Some(self.displaced(&mut change, &naming, target.ino, parent, name, is_open)?),
            None => None,
        };
        let inode = match placed {
            Placed::New(like, xattrs) => {
                let ino = naming.inos.take(&self.meta, keys::INO_LIMIT)?;
                for (attribute, value) in xattrs {
                    change.op(keys::xattr(ino, attribute), Some(value.clone()));
                }
                like.content().into_iter().for_each(|content: &Content| change.gain(content));
                let home = Some(Home { parent, name: name.to_vec() });
                let xattrs = u32::try_from(xattrs.len()).unwrap_or(u32::MAX);
                Inode { ino, nlink: 1, xattrs, home, atime: now, ctime: now, btime: now, ..like.clone() }
            }
            Placed::Name(ino) => {
                let mut inode = change.inode(ino)?;
                if inode.is_dir() || inode.nlink == 0 || inode.nlink >= super::link::LINK_MAX {
                    return Err(Error::Errno(libc::EMLINK));
                }
                inode.nlink += 1;
                inode.ctime = now;
                inode.home.get_or_insert_with(|| Home { parent, name: name.to_vec() });
                inode
            }
        };
        change.enter(parent, name, &inode, old.is_none(), now)?;
        change.put(inode.clone());
        let seq = change.commit(&mut naming)?;
        if let Some(Removed { dropped: Some((_, recorded)), .. }) = &mut old {
            *recorded = seq;
        }
        Ok((inode, old))
    }

    /// Takes the name `name` in `parent` from inode `ino`; the sequence number of the record is the caller's to fill in.
    fn displaced(
        &self,
        change: &mut Change<'_>,
        naming: &Naming,
        ino: Ino,
        parent: Ino,
        name: &[u8],
        is_open: impl FnOnce(Ino) -> bool,
    ) -> Result<Removed> {
        let mut inode = change.inode(ino)?;
        if inode.is_dir() {
            return Err(Error::Errno(libc::EISDIR));
        }
        inode.nlink = inode.nlink.saturating_sub(1);
        inode.ctime = Time::now();
        self.lose_name(&mut inode, parent, name)?;
        let dropped = self.nameless(change, naming, &inode, is_open)?;
        Ok(Removed { inode, dropped: dropped.map(|hot| (hot, 0)) })
    }
}
