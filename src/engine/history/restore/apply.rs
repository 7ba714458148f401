//! Doing what was planned, each file by one record.
//!
//! A kill in the middle leaves each file as it was or as it is to be; what is left is found by the next plan. Whole
//! checkpoint content that somebody has saved since the state before was kept gets a version of its own first, as before
//! any overwrite. The kernel is told of each change after its record.

use std::collections::HashMap;

use super::super::super::Engine;
use super::super::unclosed::stays_open;
use super::plan::Step;
use crate::base::clock::Time;
use crate::base::fault::{self, Point};
use crate::base::{Error, Result};
use crate::catalog::keys::Ino;
use crate::catalog::records::{self, Content, Inode, Sealed};
use crate::content::tree::{Body, Entry};
use crate::hot::sqlite;
use crate::namespace::Caller;
use crate::namespace::place::Placed;
use crate::namespace::readdir::After;
use crate::namespace::setattr::SetAttr;
use crate::namespace::xattr::Must;

impl Engine {
    /// Does `steps` in directory `top`; `links` are inodes of the version with several names that are there already.
    pub(super) fn apply(&self, top: Ino, steps: Vec<Step>, mut links: HashMap<u64, Ino>) -> Result<()> {
        let mut at = vec![top];
        for step in steps {
            let Some(dir) = at.last().copied() else { return Err(Error::Errno(libc::EINVAL)) };
            match step {
                Step::Enter { name, make } => at.push(self.entered(dir, &name, make)?),
                Step::Put(entry) => self.put_by_reference(dir, &entry, &mut links)?,
                Step::Remove(name) => self.remove_tree(dir, &name)?,
                Step::Leave(entry) => {
                    at.pop();
                    entry.map_or(Ok(()), |entry| self.dress(dir, &entry))?;
                }
            }
        }
        Ok(())
    }

    fn entered(&self, dir: Ino, name: &[u8], make: bool) -> Result<Ino> {
        if !make {
            return Ok(self.ns.entry(dir, name)?.ok_or(Error::Errno(libc::ENOENT))?.ino);
        }
        // Nobody else's until it has its own attributes.
        let made = self.ns.mkdir(dir, name, 0o700, Caller { uid: 0, gid: 0 })?;
        self.tell_name(dir, name);
        Ok(made.ino)
    }

    /// Puts what `entry` of a version says in place of its name in `dir`: no byte is copied.
    pub(in super::super::super) fn put_by_reference(
        &self,
        dir: Ino,
        entry: &Entry,
        links: &mut HashMap<u64, Ino>,
    ) -> Result<()> {
        self.check_writable()?;
        let name = entry.name.as_slice();
        let before = self.ns.entry(dir, name)?;
        if let Some(before) = before {
            self.before_destroyed(before.ino, self.writers(before.ino), "overwrite")?;
        }
        let known = links.get(&entry.ino).copied().filter(|_| entry.nlink > 1);
        let inode = inode_of(entry)?;
        let placed = known.map_or(Placed::New(&inode, &entry.xattrs), Placed::Name);
        let (inode, old) = self.ns.place(dir, name, placed, |ino| self.live.is_held(ino))?;
        fault::reached(Point::NamePlaced);
        if entry.nlink > 1 {
            links.insert(entry.ino, inode.ino);
        }
        if let Some(old) = old {
            let ino = old.inode.ino;
            if old.inode.nlink == 0 {
                self.history.bursts.lock().forget(ino);
            }
            self.removed(old);
            self.tell_inode(ino);
        }
        self.tell_name(dir, name);
        Ok(())
    }

    /// Removes `name` from `dir`, a directory with all that is in it.
    pub(super) fn remove_tree(&self, dir: Ino, name: &[u8]) -> Result<()> {
        let Some(found) = self.ns.entry(dir, name)? else { return Ok(()) };
        if found.kind != libc::S_IFDIR {
            return self.removed_name(dir, name, found.ino, self.unlink(dir, name));
        }
        // Directories on the way to the one that is being emptied, each with its parent and name.
        let mut open = vec![(dir, name.to_vec(), found.ino)];
        while let Some((parent, name, at)) = open.last().cloned() {
            match self.ns.readdir(at, After::Cookie(0), 1)?.pop() {
                None => {
                    self.removed_name(parent, &name, at, self.rmdir(parent, &name))?;
                    open.pop();
                }
                Some(inside) if inside.kind == libc::S_IFDIR => open.push((at, inside.name, inside.ino)),
                Some(inside) => {
                    self.removed_name(at, &inside.name, inside.ino, self.unlink(at, &inside.name))?;
                }
            }
        }
        Ok(())
    }

    fn removed_name(&self, dir: Ino, name: &[u8], ino: Ino, done: Result<()>) -> Result<()> {
        done?;
        self.tell_name(dir, name);
        self.tell_inode(ino);
        Ok(())
    }

    /// Gives directory `dir` the attributes of `entry`.
    pub(in super::super) fn dress(&self, dir: Ino, entry: &Entry) -> Result<()> {
        for (name, _) in self.xattrs(&self.ns.inode(dir)?)? {
            if !entry.xattrs.iter().any(|(other, _)| *other == name) {
                self.ns.removexattr(dir, &name)?;
            }
        }
        for (name, value) in &entry.xattrs {
            self.ns.setxattr(dir, name, value, Must::Any)?;
        }
        let set = SetAttr {
            mode: Some(entry.mode),
            uid: Some(entry.uid),
            gid: Some(entry.gid),
            mtime: Some(entry.mtime),
            ..SetAttr::default()
        };
        self.ns.setattr(dir, &set)?;
        self.tell_inode(dir);
        Ok(())
    }

    /// All extended attributes of an inode: names and values, by name.
    pub(super) fn xattrs(&self, inode: &Inode) -> Result<Vec<(Vec<u8>, Vec<u8>)>> {
        if inode.xattrs == 0 {
            return Ok(Vec::new());
        }
        let list = self.ns.listxattr(inode.ino)?;
        let names = list.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        names.map(|name| Ok((name.to_vec(), self.ns.getxattr(inode.ino, name)?))).collect()
    }

    /// Whether somebody has `ino` open for writing.
    pub(super) fn is_open_for_writing(&self, ino: Ino) -> bool {
        stays_open(|| self.writers(ino) > 0)
    }
}

/// The inode that `entry` is, but for its number and its names.
fn inode_of(entry: &Entry) -> Result<Inode> {
    let (body, rdev) = match &entry.body {
        Body::File { content, size, blocks, .. } => {
            let sealed = Sealed { id: *content, size: *size, blocks: *blocks };
            (records::Body::File(Content::Sealed(sealed)), 0)
        }
        Body::Symlink(target) => (records::Body::Symlink(target.clone()), 0),
        Body::Special(rdev) => (records::Body::Special, *rdev),
        Body::Dir { .. } => return Err(Error::Errno(libc::EISDIR)),
    };
    let Entry { mode, uid, gid, mtime, .. } = *entry;
    let never = Time::default();
    Ok(Inode {
        ino: 0,
        mode,
        uid,
        gid,
        nlink: 1,
        rdev,
        atime: never,
        mtime,
        ctime: never,
        btime: never,
        xattrs: 0,
        daemon_only: sqlite::is_name(&entry.name),
        home: None,
        body,
    })
}
