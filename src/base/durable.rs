//! The only places that make file data durable.
//!
//! Order for a file that replaces nothing or everything: write under a temporary name, fsync,
//! rename, fsync the directory. A failed fsync is never retried: the kernel may have dropped the
//! dirty pages, so a second success would prove nothing.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use super::fault::{self, Point, Sync};
use super::{IoContext, Result, private};

/// Makes the data and size of `file` durable (fdatasync). `path` is for the message.
pub fn sync_data(file: &File, path: &Path) -> Result<()> {
    watched(Sync::Data, file, path, || file.sync_data()).context("fdatasync", path)
}

/// Makes data and metadata of `file` durable (fsync). `path` is for the message.
pub fn sync_all(file: &File, path: &Path) -> Result<()> {
    watched(Sync::All, file, path, || file.sync_all()).context("fsync", path)
}

/// One sync: tests may make it fail, and are told what has become durable.
fn watched(what: Sync, file: &File, path: &Path, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
    fault::syncing(what, path)?;
    sync()?;
    fault::synced(what, file, path);
    Ok(())
}

/// Makes the entries of directory `dir` durable.
pub fn sync_dir(dir: &Path) -> Result<()> {
    let file = File::open(dir).context("open", dir)?;
    watched(Sync::Dir, &file, dir, || file.sync_all()).context("fsync", dir)
}

/// Renames `from` to `to` (same directory) and makes the entry durable.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).context("rename", from)?;
    fault::reached(Point::FileRenamed);
    sync_dir(to.parent().unwrap_or(Path::new(".")))
}

/// Replaces `path` by a file that holds `bytes`: after a crash it holds the old bytes or the new.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let tmp = path.with_extension("tmp");
    let mut file = private::create(&tmp)?;
    file.write_all(bytes).context("write", &tmp)?;
    sync_all(&file, &tmp)?;
    fault::reached(Point::FileSynced);
    rename(&tmp, path)
}

/// Makes everything on the file system that holds `file` durable (syncfs).
pub fn sync_filesystem(file: &File, path: &Path) -> Result<()> {
    let sync = || rustix::fs::syncfs(file).map_err(io::Error::from);
    watched(Sync::Filesystem, file, path, sync).context("syncfs", path)
}

/// Gives `file` at least `len` bytes of its own on the disk; they read as zeros.
///
/// Where the filesystem cannot preallocate the file is only made longer, and later writes may need space.
pub fn preallocate(file: &File, len: u64, path: &Path) -> Result<()> {
    use rustix::io::Errno;
    match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, len) {
        Ok(()) => Ok(()),
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => file.set_len(len).context("extend", path),
        Err(errno) => Err(errno).context("preallocate", path),
    }
}

/// Cuts `file` to `len` bytes and makes that durable.
pub fn truncate(file: &File, len: u64, path: &Path) -> Result<()> {
    file.set_len(len).context("truncate", path)?;
    sync_all(file, path)
}
