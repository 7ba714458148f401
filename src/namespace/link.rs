//! Hard links.

use super::change::Change;
use super::rename::Place;
use super::undo::{NOTHING, Replacement};
use super::{Namespace, check_name};
use crate::base::clock::Time;
use crate::base::{Error, Result};
use crate::catalog::keys::Ino;
use crate::catalog::records::{Body, Home, Inode};

/// Most names of one file, as ext4 has it.
pub const LINK_MAX: u32 = 65_000;

impl Namespace {
    /// Gives inode `ino` one more name. `EPERM` for directories, `EMLINK` above [`LINK_MAX`], `ENOENT`
    /// for a file that has lost its last name.
    pub fn link(&self, ino: Ino, parent: Ino, name: &[u8]) -> Result<Inode> {
        check_name(name)?;
        let mut naming = self.naming();
        let mut change = Change::new(self);
        let mut inode = change.inode(ino)?;
        if inode.is_dir() {
            return Err(Error::Errno(libc::EPERM));
        }
        if inode.nlink == 0 {
            return Err(Error::Errno(libc::ENOENT));
        }
        if inode.nlink >= LINK_MAX {
            return Err(Error::Errno(libc::EMLINK));
        }
        if change.dir(parent)?.nlink == 0 {
            return Err(Error::Errno(libc::ENOENT));
        }
        if self.entry(parent, name)?.is_some() {
            return Err(Error::Errno(libc::EEXIST));
        }
        let now = Time::now();
        inode.nlink += 1;
        inode.ctime = now;
        let home = inode.home.get_or_insert_with(|| Home { parent, name: name.to_vec() });
        let unproved = naming.is_unproved(ino);
        if unproved {
            // Named once more before its barrier: taking back the rename needs taking back this name.
            let from = Place { parent: home.parent, name: &home.name };
            change.note(Replacement { from, to: Place { parent, name }, old: NOTHING, new: ino }.encode());
        }
        change.enter(parent, name, &inode, true, now)?;
        change.put(inode.clone());
        let seq = change.commit(&mut naming)?;
        naming.unproved.extend(unproved.then_some((seq, ino)));
        Ok(inode)
    }

    /// Gives `inode`, which no name leads to, the name `name` in directory `dir`, whatever its record says of names.
    pub fn adopt(&self, mut inode: Inode, dir: Ino, name: &[u8]) -> Result<()> {
        check_name(name)?;
        let mut naming = self.naming();
        let (mut change, now) = (Change::new(self), Time::now());
        inode.home = Some(Home { parent: dir, name: name.to_vec() });
        change.enter(dir, name, &inode, true, now)?;
        if let Body::Dir { parent, .. } = &mut inode.body {
            *parent = dir;
            change.touch_dir(dir, 0, 1, now)?;
        } else {
            inode.nlink = 1;
        }
        change.put(inode);
        change.commit(&mut naming).map(drop)
    }
}
