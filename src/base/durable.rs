//! The only places that make file data durable.
//!
//! Order for a file that replaces nothing or everything: write under a temporary name, fsync,
//! rename, fsync the directory. A failed fsync is never retried: the kernel may have dropped the
//! dirty pages, so a second success would prove nothing.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use super::{IoContext, Result};

/// Makes the data and size of `file` durable (fdatasync). `path` is for the message.
pub fn sync_data(file: &File, path: &Path) -> Result<()> {
    file.sync_data().context("fdatasync", path)
}

/// Makes data and metadata of `file` durable (fsync). `path` is for the message.
pub fn sync_all(file: &File, path: &Path) -> Result<()> {
    file.sync_all().context("fsync", path)
}

/// Makes the entries of directory `dir` durable.
pub fn sync_dir(dir: &Path) -> Result<()> {
    let file = File::open(dir).context("open", dir)?;
    file.sync_all().context("fsync", dir)
}

/// Renames `from` to `to` (same directory) and makes the entry durable.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).context("rename", from)?;
    sync_dir(to.parent().unwrap_or(Path::new(".")))
}

/// Replaces `path` by a file that holds `bytes`: after a crash it holds the old bytes or the new.
pub fn write_file(path: &Path, bytes: &[u8]) -> Result<()> {
    let tmp = path.with_extension("tmp");
    let mut file = File::create(&tmp).context("create", &tmp)?;
    file.write_all(bytes).context("write", &tmp)?;
    sync_all(&file, &tmp)?;
    rename(&tmp, path)
}
