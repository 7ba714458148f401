//! What may be changed in the virtual directories: `mkdir`, `rename` and `rmdir` among versions.
//!
//! Order: who may, then whether the name may be, then what is to be done; nothing is done in part.

use super::home::{Seat, top};
use super::names::{parse_number, tag_name};
use super::node::{Home, Node};
use super::{Browser, Seen, SnapshotAdmin};
use crate::base::{Error, Result};
use crate::catalog::keys::Ino;
use crate::namespace::Caller;
use crate::version::record::Version;

impl Browser {
    /// Makes a version of the directory that virtual directory `parent` belongs to, tagged `name`; it is durable then.
    ///
    /// `EROFS` anywhere but among versions, `EPERM` for who may not, `EINVAL` for what can be no tag, `EEXIST` for a tag
    /// that another version has.
    pub fn mkdir(&self, parent: Ino, name: &[u8], who: Caller) -> Result<Seen> {
        let home = self.managed(parent, who)?;
        let tag = tag_name(name).ok_or(Error::Errno(libc::EINVAL))?;
        let above = self.seat(&home)?;
        if let Some(seat) = &above {
            self.engine.check_tag_free(seat.id, tag)?;
        }
        let dir = match above.as_ref().and_then(|seat| seat.run.dir) {
            Some(run) => run,
            // No run, or one that was deleted and is made again here: it becomes one.
            None if home.way.is_empty() => home.dir,
            // Of a deleted run nothing is left that could be kept.
            None => return Err(Error::Errno(libc::EROFS)),
        };
        let (id, version) = self.engine.snapshot_now(dir, "snapshot", Some(tag.to_owned()))?;
        let run = self.engine.run(id).ok_or(Error::Errno(libc::ENOENT))?;
        let seat = Seat { id, run, path: above.map(|seat| seat.path).unwrap_or_default() };
        let entry = self.dir_in(&seat, &version)?.ok_or(Error::Errno(libc::ENOENT))?;
        self.enter(top(&home, &seat, version.number, name, entry), parent)
    }

    /// `rename 000042 NAME`: tags the version and pins it.
    pub fn rename(&self, from: (Ino, &[u8]), to: (Ino, &[u8]), who: Caller) -> Result<()> {
        let home = self.managed(from.0, who)?;
        if from.0 != to.0 {
            return Err(Error::Errno(libc::EROFS));
        }
        let number = parse_number(from.1).ok_or(Error::Errno(libc::EROFS))?;
        let tag = tag_name(to.1).ok_or(Error::Errno(libc::EINVAL))?;
        let seat = self.seat(&home)?.ok_or(Error::Errno(libc::ENOENT))?;
        self.there(&home, &seat, number)?;
        self.engine.check_tag_free(seat.id, tag)?;
        let pin = |version: &mut Version| {
            if version.expired.is_some() {
                return Err(Error::Errno(libc::ENOENT));
            }
            version.tags.push(tag.to_owned());
            version.pinned = true;
            Ok(())
        };
        self.engine.change_version(seat.id, number, pin).map(drop)
    }

    /// `rmdir NAME`: takes a tag away. `rmdir 000042`: removes the version; `EBUSY` while it has a tag or a pin, or
    /// somebody has it open.
    pub fn rmdir(&self, parent: Ino, name: &[u8], who: Caller) -> Result<()> {
        let home = self.managed(parent, who)?;
        let seat = self.seat(&home)?.ok_or(Error::Errno(libc::EROFS))?;
        if let Some(number) = parse_number(name) {
            self.there(&home, &seat, number)?;
            return self.engine.expire_by_hand(seat.id, number).map(drop);
        }
        let has = |version: &Version| version.tags.iter().any(|tag| tag.as_bytes() == name);
        let tagged = self.engine.versions(seat.id)?.into_iter().find(has).ok_or(Error::Errno(libc::EROFS))?;
        let untag = |version: &mut Version| {
            version.tags.retain(|tag| tag.as_bytes() != name);
            Ok(())
        };
        self.engine.change_version(seat.id, tagged.number, untag).map(drop)
    }

    /// The home with number `ino`, if `who` may make and remove versions there.
    fn managed(&self, ino: Ino, who: Caller) -> Result<Home> {
        let node = self.node(ino)?;
        let Node::Home(home) = &*node else { return Err(Error::Errno(libc::EROFS)) };
        self.engine.check_writable()?;
        let by_owner = self.engine.options.history.snapshot_admin == SnapshotAdmin::Owner;
        if who.uid == 0 || (by_owner && who.uid == self.owner(home)?.uid) {
            return Ok(home.clone());
        }
        Err(Error::Errno(libc::EPERM))
    }

    /// `ENOENT` where a home does not show version `number`.
    fn there(&self, home: &Home, seat: &Seat, number: u32) -> Result<()> {
        let found = self.version_in(home, seat, number, b"")?;
        found.map(drop).ok_or(Error::Errno(libc::ENOENT))
    }
}
