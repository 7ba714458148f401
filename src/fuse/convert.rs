//! Between the engine's values and the protocol's.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{Errno, FileAttr, FileType, INodeNo, Request, TimeOrNow};

use crate::base::Error;
use crate::base::clock::Time;
use crate::engine::attr::Attr;
use crate::namespace::Caller;

/// How long the kernel may keep a name: names change only through this mount.
pub(super) const NAME_TTL: Duration = Duration::from_secs(3600);
/// How long it may keep the attributes of a regular file: a mapping changes them unseen.
const FILE_TTL: Duration = Duration::from_secs(1);

pub(super) fn errno(error: &Error) -> Errno {
    Errno::from_i32(error.errno())
}

pub(super) fn caller(req: &Request) -> Caller {
    Caller { uid: req.uid(), gid: req.gid() }
}

pub(super) fn system_time(time: Time) -> SystemTime {
    let nanos = Duration::from_nanos(time.nanos.into());
    match u64::try_from(time.secs) {
        Ok(secs) => UNIX_EPOCH + Duration::from_secs(secs) + nanos,
        Err(_) => UNIX_EPOCH - Duration::from_secs(time.secs.unsigned_abs()) + nanos,
    }
}

/// The time that the kernel sent. Before 1970 fuser 0.18 takes the nanoseconds away where the kernel adds them.
pub(super) fn time(at: SystemTime) -> Time {
    match at.duration_since(UNIX_EPOCH) {
        Ok(since) => Time { secs: since.as_secs().cast_signed(), nanos: since.subsec_nanos() },
        Err(before) => {
            let before = before.duration();
            Time { secs: -before.as_secs().cast_signed(), nanos: before.subsec_nanos() }
        }
    }
}

pub(super) fn time_or_now(at: TimeOrNow) -> Time {
    match at {
        TimeOrNow::SpecificTime(at) => time(at),
        TimeOrNow::Now => Time::now(),
    }
}

pub(super) fn file_type(kind: u32) -> FileType {
    match kind & libc::S_IFMT {
        libc::S_IFDIR => FileType::Directory,
        libc::S_IFLNK => FileType::Symlink,
        libc::S_IFIFO => FileType::NamedPipe,
        libc::S_IFSOCK => FileType::Socket,
        libc::S_IFCHR => FileType::CharDevice,
        libc::S_IFBLK => FileType::BlockDevice,
        _ => FileType::RegularFile,
    }
}

pub(super) fn attr_ttl(attr: &Attr) -> Duration {
    if attr.inode.kind() == libc::S_IFREG { FILE_TTL } else { NAME_TTL }
}

pub(super) fn file_attr(attr: &Attr) -> FileAttr {
    let inode = &attr.inode;
    FileAttr {
        ino: INodeNo(inode.ino),
        size: attr.size,
        blocks: attr.blocks,
        atime: system_time(inode.atime),
        mtime: system_time(inode.mtime),
        ctime: system_time(inode.ctime),
        crtime: system_time(inode.btime),
        kind: file_type(inode.mode),
        perm: u16::try_from(inode.mode & 0o7777).unwrap_or(0),
        nlink: inode.nlink,
        uid: inode.uid,
        gid: inode.gid,
        rdev: inode.rdev,
        blksize: 1 << 20,
        flags: 0,
    }
}

/// Attributes that say "there is no such name", for the kernel to remember.
pub(super) fn no_entry() -> FileAttr {
    FileAttr {
        ino: INodeNo(0),
        size: 0,
        blocks: 0,
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: FileType::RegularFile,
        perm: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 0,
        flags: 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_1970_survive_both_ways() {
        for at in [
            Time { secs: -2, nanos: 250_000_000 },
            Time { secs: -1, nanos: 0 },
            Time { secs: 0, nanos: 1 },
            Time { secs: 1 << 33, nanos: 999_999_999 },
        ] {
            let as_fuser_reads = match u64::try_from(at.secs) {
                Ok(secs) => UNIX_EPOCH + Duration::new(secs, at.nanos),
                Err(_) => UNIX_EPOCH - Duration::new(at.secs.unsigned_abs(), at.nanos),
            };
            assert_eq!(time(as_fuser_reads), at);
            let since = system_time(at).duration_since(UNIX_EPOCH).map_err(|error| error.duration());
            let nanos = at.secs as i128 * 1_000_000_000 + i128::from(at.nanos);
            let shown =
                since.map_or_else(|before| -(before.as_nanos() as i128), |since| since.as_nanos() as i128);
            assert_eq!(shown, nanos);
        }
    }
}
