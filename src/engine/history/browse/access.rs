//! Who may see what: permissions of virtual directories, and of what is shown outside the directories that it was in.
//!
//! Nobody gets to see what he could not see then: where a directory or file is reached without passing through the
//! directories above it, it has no permission for a class of users whom any of these would have kept out.

use crate::base::clock::Time;
use crate::content::tree::Entry;

/// Owner and permissions of what is not itself recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) time: Time,
}

impl Owner {
    /// Owner and permissions of a recorded directory.
    pub(super) fn of(entry: &Entry) -> Owner {
        Owner { mode: entry.mode, uid: entry.uid, gid: entry.gid, time: entry.mtime }
    }

    /// The mode of a directory of versions: its owner may make and remove versions there.
    pub(super) fn home(&self) -> u32 {
        libc::S_IFDIR | self.mode & 0o755
    }

    /// The mode of a view.
    pub(super) fn view(&self) -> u32 {
        libc::S_IFDIR | self.mode & 0o555
    }

    /// The mode of a file in a view.
    pub(super) fn file(&self) -> u32 {
        libc::S_IFREG | self.mode & 0o444
    }

    /// The same for the owner alone.
    pub(super) fn private(self) -> Owner {
        Owner { mode: self.mode & 0o700, ..self }
    }

    /// What is left to each class of users when `other` stands in their way too.
    pub(super) fn and(self, other: &Owner) -> Owner {
        Owner { mode: self.mode & allowed_by(other, self.uid, self.gid), ..self }
    }
}

/// The mode as it is shown: nothing in a version can be written.
pub(super) fn without_write(mode: u32) -> u32 {
    mode & !0o222
}

/// The mode of `entry` where it is reached without passing through the directories `above`.
pub(super) fn seen_through(entry: &Entry, above: &[Owner]) -> u32 {
    let keep = above.iter().map(|dir| through(dir, entry.uid, entry.gid));
    keep.fold(entry.mode, |mode, keep| mode & keep)
}

/// The bits that directory `dir` leaves to the classes of something of `uid` and `gid` below it: all of those of a class
/// that it lets through.
fn through(dir: &Owner, uid: u32, gid: u32) -> u32 {
    let passes = allowed_by(dir, uid, gid) & 0o111;
    !0o777 | passes | passes << 1 | passes << 2
}

/// The bits of `dir` by the classes of something of `uid` and `gid`. A class whose members may be in different classes of
/// `dir` has what all of these have.
fn allowed_by(dir: &Owner, uid: u32, gid: u32) -> u32 {
    let (user, group, other) = (dir.mode >> 6 & 7, dir.mode >> 3 & 7, dir.mode & 7);
    let strangers = group & other;
    let user = if dir.uid == uid { user } else { strangers };
    let (group, other) = if dir.gid == gid { (group, other) } else { (strangers, strangers) };
    !0o777 | user << 6 | group << 3 | other
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::tree::Body;

    fn owner(mode: u32, uid: u32, gid: u32) -> Owner {
        Owner { mode, uid, gid, time: Time::default() }
    }

    fn seen(mode: u32, above: &[Owner]) -> u32 {
        let entry = Entry {
            name: Vec::new(),
            ino: 1,
            mode: libc::S_IFREG | mode,
            uid: 10,
            gid: 20,
            nlink: 1,
            mtime: Time::default(),
            xattrs: Vec::new(),
            body: Body::Special(0),
        };
        seen_through(&entry, above) & 0o7777
    }

    #[test]
    fn a_private_directory_above_keeps_others_out_and_an_open_one_does_not() {
        assert_eq!(seen(0o644, &[]), 0o644);
        assert_eq!(seen(0o4755, &[owner(0o755, 10, 20), owner(0o711, 0, 0)]), 0o4755);
        assert_eq!(seen(0o644, &[owner(0o755, 10, 20), owner(0o700, 10, 20)]), 0o600);
        assert_eq!(seen(0o664, &[owner(0o750, 10, 20)]), 0o660);
        // Somebody else's: whoever owns the file was one of the others there.
        assert_eq!(seen(0o644, &[owner(0o700, 0, 0)]), 0);
        assert_eq!(seen(0o644, &[owner(0o750, 10, 0)]), 0o600);
    }

    #[test]
    fn views_have_what_their_directory_has_but_cannot_be_written() {
        let owner = owner(0o1777, 1, 2);
        assert_eq!(owner.home(), libc::S_IFDIR | 0o755);
        assert_eq!(owner.view(), libc::S_IFDIR | 0o555);
        assert_eq!(owner.file(), libc::S_IFREG | 0o444);
        assert_eq!(owner.private().view(), libc::S_IFDIR | 0o500);
        assert_eq!(without_write(0o6777), 0o6555);
        assert_eq!(owner.and(&super::Owner { mode: 0o750, ..owner }).view(), libc::S_IFDIR | 0o550);
    }
}
