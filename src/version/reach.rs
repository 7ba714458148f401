//! Reads files of the user's machine without ever asking a ckptfs mount, which would wait for ourselves.
//!
//! Invariant: a path is looked at as text first; one at or below a mount of ours is not touched. What is opened is opened
//! without following symbolic links, so the text is where the kernel goes. Names below a work tree never cross into
//! another mount. Reads are bounded, and nothing but regular files is read.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::base::mounts::{self, Mount};

/// Where files may be read.
pub(super) struct Reach {
    /// Nothing at or below these.
    shut: Vec<PathBuf>,
}

/// A file's bytes and when it was last written.
pub(super) struct Found {
    pub(super) bytes: Vec<u8>,
    /// Seconds and nanoseconds.
    pub(super) modified: (i64, i64),
}

impl Reach {
    /// Everything but `not_below` and the ckptfs mounts of this machine.
    pub(super) fn outside(not_below: &Path) -> Self {
        let mut shut = vec![not_below.to_owned()];
        match mounts::table() {
            Ok(table) => shut.extend(table.into_iter().filter(Mount::is_ours).map(|mount| mount.mountpoint)),
            Err(error) => {
                tracing::debug!("provenance without files: {error}");
                shut.push(PathBuf::from("/"));
            }
        }
        Reach { shut }
    }

    /// Whether `path`, absolute and without `..`, may be touched.
    pub(super) fn is_open(&self, path: &Path) -> bool {
        path.is_absolute() && !self.shut.iter().any(|shut| path.starts_with(shut))
    }

    /// The regular file at `path`; `None` when it may not be read, cannot be, or has more than `bytes_max` bytes.
    pub(super) fn read(&self, path: &Path, bytes_max: u64) -> Option<Found> {
        if !self.is_open(path) {
            return None;
        }
        let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        read(&rustix::fs::openat2(CWD, path, reading(), Mode::empty(), resolve).ok()?.into(), bytes_max)
    }

    /// The directory at `path`, for names below it.
    pub(super) fn folder(&self, path: &Path) -> Option<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        self.is_open(path).then(|| rustix::fs::openat2(CWD, path, flags, Mode::empty(), resolve).ok())?
    }
}

/// What lies at `path` below `folder`, not opened for reading: a symbolic link at its end is the link itself.
///
/// `XDEV` is another mount, `LOOP` a symbolic link on the way.
pub(super) fn inspect(folder: impl AsFd, path: &Path) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat2(folder, path, flags, Mode::empty(), within())
}

/// The bytes of the regular file at `path` below `folder`.
pub(super) fn read_below(folder: impl AsFd, path: &Path, bytes_max: u64) -> Option<Vec<u8>> {
    let file = rustix::fs::openat2(folder, path, reading(), Mode::empty(), within()).ok()?;
    read(&file.into(), bytes_max).map(|found| found.bytes)
}

/// Never waits: not for the other end of a pipe, not for a terminal.
fn reading() -> OFlags {
    OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC
}

fn within() -> ResolveFlags {
    ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV
}

fn read(file: &File, bytes_max: u64) -> Option<Found> {
    let meta = file.metadata().ok()?;
    if !meta.is_file() || meta.len() > bytes_max {
        return None;
    }
    let mut bytes = Vec::new();
    // It may grow meanwhile.
    file.take(bytes_max + 1).read_to_end(&mut bytes).ok()?;
    let fits = u64::try_from(bytes.len()).is_ok_and(|len| len <= bytes_max);
    fits.then_some(Found { bytes, modified: (meta.mtime(), meta.mtime_nsec()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_files_outside_the_mount_are_read_and_only_so_much() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let mount = root.join("mount");
        std::fs::create_dir(&mount).unwrap();
        for path in [root.join("plain"), mount.join("inside"), root.join("mount2")] {
            std::fs::write(path, b"12345").unwrap();
        }
        std::os::unix::fs::symlink("plain", root.join("link")).unwrap();
        rustix::fs::mknodat(CWD, root.join("pipe"), rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
        let reach = Reach::outside(&mount);
        let read = |name: &str, max| reach.read(&root.join(name), max).map(|found| found.bytes);
        assert_eq!(read("plain", 5).as_deref(), Some(&b"12345"[..]));
        assert_eq!(read("mount2", 5).as_deref(), Some(&b"12345"[..]));
        assert_eq!(read("plain", 4), None);
        for name in ["mount/inside", "mount", "link", "pipe", "missing"] {
            assert_eq!(read(name, 5), None, "{name}");
        }
        assert!(reach.folder(&root).is_some() && reach.folder(&mount).is_none());
        assert!(!reach.is_open(Path::new("relative")));
    }

    #[test]
    fn names_below_a_folder_stay_below_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("tree")).unwrap();
        std::fs::write(root.join("secret"), b"s").unwrap();
        std::os::unix::fs::symlink(&root, root.join("tree/out")).unwrap();
        let folder = Reach::outside(Path::new("/nowhere")).folder(&root.join("tree")).unwrap();
        assert_eq!(inspect(&folder, Path::new("out/secret")).err(), Some(Errno::LOOP));
        assert_eq!(inspect(&folder, Path::new("../secret")).err(), Some(Errno::XDEV));
        assert_eq!(read_below(&folder, Path::new("out/secret"), 10), None);
        assert!(inspect(&folder, Path::new("out")).is_ok());
    }
}
