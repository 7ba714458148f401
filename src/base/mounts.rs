//! The machine's mount table, and the two ways out of a mount.
//!
//! Invariant: a path is answered by the last mount whose mountpoint is its longest prefix, as the kernel resolves it.
//! Reading the table touches no mounted filesystem, so a hung or dead daemon cannot block it.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::mount::UnmountFlags;

use super::{Error, IoContext, Result};

/// The type of our mounts in the table.
pub const FS_TYPE: &str = "fuse.ckptfs";

/// One line of the mount table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where it is mounted, absolute.
    pub mountpoint: PathBuf,
    /// "ext4", "fuse.ckptfs" ...
    pub fs_type: String,
    /// What is mounted: for ours the store, unless `fsname` said otherwise.
    pub source: PathBuf,
    /// Which directory of the filesystem is shown there: `/`, but of a bind mount of a part.
    pub root: PathBuf,
    /// The filesystem's number while it lives, `major:minor`.
    pub device: String,
}

impl Mount {
    /// Whether it is one of ours.
    pub fn is_ours(&self) -> bool {
        self.fs_type == FS_TYPE
    }

    /// Whether its daemon is gone (every access says ENOTCONN).
    pub fn is_dead(&self) -> bool {
        is_dead(&self.mountpoint)
    }
}

/// Whether `path` lies on a FUSE mount whose daemon is gone.
///
/// Asked by statfs, which the kernel never answers from its cache; a daemon that ends at this very moment
/// has the question aborted.
pub fn is_dead(path: &Path) -> bool {
    use rustix::io::Errno;
    matches!(rustix::fs::statfs(path), Err(Errno::NOTCONN | Errno::CONNABORTED))
}

/// The mount table of this process, in the order of mounting.
pub fn table() -> Result<Vec<Mount>> {
    let path = Path::new("/proc/self/mountinfo");
    Ok(parse(&std::fs::read(path).context("read", path)?))
}

/// The mount table of process `pid`, which may have a mount namespace of its own.
pub(super) fn table_of(pid: u32) -> Result<Vec<Mount>> {
    let path = PathBuf::from(format!("/proc/{pid}/mountinfo"));
    Ok(parse(&std::fs::read(&path).context("read", &path)?))
}

/// Whether `path` is where the kernel mounts something on first use (autofs, as `x-systemd.automount` asks for).
///
/// Whoever mounts there must not look into it: opening it, or statx(2), would wait for that very mount.
pub fn is_automount_point(table: &[Mount], path: &Path) -> bool {
    covering(table, path).is_some_and(|mount| mount.mountpoint == path && mount.fs_type == "autofs")
}

/// The mount that answers for the absolute `path`.
pub fn covering<'a>(table: &'a [Mount], path: &Path) -> Option<&'a Mount> {
    // max_by_key gives the last of equals: the one that was mounted over the others.
    table
        .iter()
        .filter(|mount| path.starts_with(&mount.mountpoint))
        .max_by_key(|mount| mount.mountpoint.components().count())
}

fn parse(bytes: &[u8]) -> Vec<Mount> {
    bytes.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

/// `id parent major:minor ROOT MOUNTPOINT options [optional ...] - TYPE SOURCE options`
fn parse_line(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|byte| *byte == b' ');
    let device = String::from_utf8_lossy(fields.nth(2)?).into_owned();
    let root = unescape(fields.next()?);
    let mountpoint = unescape(fields.next()?);
    let mut rest = fields.skip_while(|field| *field != b"-").skip(1);
    let fs_type = String::from_utf8_lossy(rest.next()?).into_owned();
    let source = unescape(rest.next()?);
    Some(Mount { mountpoint, fs_type, source, root, device })
}

/// The kernel writes space, tab, newline and backslash as `\` and three octal digits.
fn unescape(field: &[u8]) -> PathBuf {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        let octal =
            tail.get(..3).filter(|_| *first == b'\\').and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    PathBuf::from(OsString::from_vec(out))
}

/// How a mount is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detach {
    /// Only when nobody uses it; else `EBUSY`.
    IfIdle,
    /// At once: it leaves the tree now and ends when its last user does.
    Lazily,
}

/// Unmounts `mountpoint`: umount2(2) with the privilege, else fusermount3. Busy is `Error::Errno(EBUSY)`.
pub fn unmount(mountpoint: &Path, how: Detach) -> Result<()> {
    let flags = match how {
        Detach::IfIdle => UnmountFlags::NOFOLLOW,
        Detach::Lazily => UnmountFlags::NOFOLLOW | UnmountFlags::DETACH,
    };
    match rustix::mount::unmount(mountpoint, flags) {
        Err(rustix::io::Errno::PERM) => fusermount(mountpoint, how),
        Err(rustix::io::Errno::BUSY) => Err(Error::Errno(libc::EBUSY)),
        result => result.context("unmount", mountpoint),
    }
}

fn fusermount(mountpoint: &Path, how: Detach) -> Result<()> {
    let flag = match how {
        Detach::IfIdle => "-u",
        Detach::Lazily => "-uz",
    };
    let mut run = Command::new("fusermount3");
    run.arg(flag).arg("--").arg(mountpoint).env("LC_ALL", "C").stdin(Stdio::null());
    let done = match run.output() {
        Ok(done) => done,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::Refused(
                "fusermount3 is not installed; install it: apt-get install fuse3".into(),
            ));
        }
        Err(error) => return Err(error).context("run fusermount3 on", mountpoint),
    };
    let said = String::from_utf8_lossy(&done.stderr);
    match (done.status.success(), said.contains("busy")) {
        (true, _) => Ok(()),
        (false, true) => Err(Error::Errno(libc::EBUSY)),
        (false, false) => Err(Error::Refused(said.lines().next().unwrap_or("fusermount3 failed").to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = b"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n\
        40 22 0:50 / /mnt/my\\040runs rw,nosuid - fuse.ckptfs /data/st\\134ore rw,user_id=0\n\
        41 40 0:51 /part /mnt/my\\040runs/inner rw shared:2 master:3 - tmpfs tmpfs rw\n\
        torn line\n\
        42 22 0:52 / /mnt/b rw -\n";

    #[test]
    fn escapes_optional_fields_and_torn_lines_are_handled() {
        let table = parse(TABLE);
        assert_eq!(table.len(), 3);
        let ours: Vec<_> = table.iter().filter(|mount| mount.is_ours()).collect();
        assert_eq!(ours[0].mountpoint, Path::new("/mnt/my runs"));
        assert_eq!(ours[0].source, Path::new("/data/st\\ore"));
        assert_eq!((ours[0].device.as_str(), table[2].device.as_str()), ("0:50", "0:51"));
        assert_eq!((ours[0].root.as_path(), table[2].root.as_path()), (Path::new("/"), Path::new("/part")));
    }

    #[test]
    fn a_path_belongs_to_the_innermost_mount_that_was_made_last() {
        let mut table = parse(TABLE);
        let find = |table: &[Mount], path: &str| covering(table, Path::new(path)).map(|m| m.fs_type.clone());
        assert_eq!(find(&table, "/mnt/my runs/a/b").as_deref(), Some(FS_TYPE));
        assert_eq!(find(&table, "/mnt/my runs/inner/x").as_deref(), Some("tmpfs"));
        assert_eq!(find(&table, "/mnt/my runs2").as_deref(), Some("ext4"));
        table.push(Mount { fs_type: "autofs".into(), ..table[1].clone() });
        assert_eq!(find(&table, "/mnt/my runs").as_deref(), Some("autofs"));
        let waits = |path: &str| is_automount_point(&table, Path::new(path));
        assert!(waits("/mnt/my runs") && !waits("/mnt/my runs/a") && !waits("/mnt/my runs/inner"));
    }

    #[test]
    fn any_bytes_are_survived() {
        assert_eq!(unescape(b"a\\04"), Path::new("a\\04"));
        assert_eq!(unescape(b"\\999\\"), Path::new("\\999\\"));
        assert!(parse(b"\\\\\\ \x00\xff - - - -").len() <= 1);
        assert!(!table().unwrap().is_empty());
    }
}
