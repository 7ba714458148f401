//! Attributes as stat(2) shows them.
//!
//! Writes to a hot file never pass through the daemon, so its size and times are read from the hot file.
//! A hot file whose mtime differs from the recorded one has been written since, and a write sets
//! ctime with mtime: so ctime is the later of the recorded one and that mtime.

use super::Engine;
use crate::base::clock::Time;
use crate::base::{Error, Result};
use crate::catalog::keys::Ino;
use crate::catalog::records::{Body, Content, Inode};
use crate::hot::HotAttr;

/// What stat(2) shows of an inode.
#[derive(Clone, Debug)]
pub struct Attr {
    /// The inode as recorded, with the times that hold now.
    pub inode: Inode,
    /// Bytes.
    pub size: u64,
    /// 512-byte blocks.
    pub blocks: u64,
    /// Whether size and times may change without the daemon seeing it.
    pub volatile: bool,
}

/// Size that is shown for directories.
const DIR_SIZE: u64 = 4096;

impl Engine {
    /// Attributes of inode `ino`.
    pub fn getattr(&self, ino: Ino) -> Result<Attr> {
        self.attr(self.ns.inode(ino)?)
    }

    /// Attributes of an inode that has been read already.
    pub fn attr(&self, mut inode: Inode) -> Result<Attr> {
        let (size, blocks, volatile) = match &inode.body {
            Body::Dir { .. } => (DIR_SIZE, DIR_SIZE / 512, false),
            Body::Symlink(target) => (target.len() as u64, 0, false),
            Body::Special => (0, 0, false),
            Body::File(Content::Sealed(sealed) | Content::Both(_, sealed)) => {
                (sealed.size, sealed.blocks, false)
            }
            Body::File(Content::Hot(id)) => {
                let hot = match self.hot.attr(*id) {
                    Ok(hot) => hot,
                    // Replaced, sealed or erased since the inode was read?
                    Err(error) => match self.ns.find(inode.ino)? {
                        // Only remembered: its name is gone, and the kernel asks for what an old descriptor leads to.
                        None if inode.nlink == 0 => {
                            return Ok(Attr { inode, size: 0, blocks: 0, volatile: false });
                        }
                        None => return Err(Error::Errno(libc::ESTALE)),
                        Some(now) if now.content() != inode.content() => return self.attr(now),
                        Some(_) => return Err(error),
                    },
                };
                merge_times(&mut inode, &hot);
                (hot.size, hot.blocks, true)
            }
        };
        Ok(Attr { inode, size, blocks, volatile })
    }
}

/// Brings the recorded times up to what the hot file shows.
pub(super) fn merge_times(inode: &mut Inode, hot: &HotAttr) {
    if hot.mtime != inode.mtime {
        inode.ctime = inode.ctime.max(hot.mtime);
        inode.mtime = hot.mtime;
    }
    inode.atime = hot.atime;
}

/// Sets times of a hot file; `None` leaves one as it is.
pub(super) fn set_hot_times(
    file: &std::fs::File,
    atime: Option<Time>,
    mtime: Option<Time>,
) -> std::io::Result<()> {
    let spec = |time: Option<Time>| rustix::fs::Timespec {
        tv_sec: time.map_or(0, |time| time.secs),
        tv_nsec: time.map_or(rustix::fs::UTIME_OMIT, |time| time.nanos.into()),
    };
    let times = rustix::fs::Timestamps { last_access: spec(atime), last_modification: spec(mtime) };
    Ok(rustix::fs::futimens(file, &times)?)
}
