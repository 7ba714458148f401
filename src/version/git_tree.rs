//! Whether a work tree differs from its commit, told from git's index without running git.
//!
//! A file whose size and time are those of the index is unchanged, as for git itself; where the time alone differs (a
//! copy, a container image, a file written in the same instant as the index) its content is hashed. Untracked files do
//! not count. Bounded in entries, bytes and time; whatever cannot be told within that makes the answer `None`, never
//! "clean". Files below a ckptfs mount, or any other mount inside the work tree, are not looked at.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Instant;

use rustix::fs::FileType;
use rustix::io::Errno;

use super::git::Repository;
use super::git_index::{Entry, Index};
use super::reach::{Reach, inspect, read_below};
use super::sha1::sha1;

const ENTRIES_MAX: usize = 20_000;
const INDEX_BYTES_MAX: u64 = 32 << 20;
/// Bytes hashed for one answer.
const HASHED_BYTES_MAX: u64 = 16 << 20;
/// The hashes of repositories with SHA-256; ours is SHA-1.
const SHA1_BYTES: usize = 20;

/// What is known of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Same,
    Differs,
    Unknown,
}

/// Whether tracked files differ from the commit whose hash has `id_bytes` bytes; `None` when that cannot be told before
/// `deadline`.
///
/// Clean means: all files are as in the index, and the index was written as a tree after the last change was added. Git
/// does that at a commit, a checkout and `reset --hard`; an index with added changes, or one after a plain `git reset`,
/// makes the answer `None`. The commit itself is not opened, so an index that was written as a tree for a commit that
/// was then given up (`reset --soft`, an editor that was closed) passes as clean. Filters (line ends, LFS) are not
/// applied: a file that they change and whose time alone differs counts as changed.
pub(super) fn is_dirty(
    repository: &Repository,
    id_bytes: usize,
    reach: &Reach,
    deadline: Instant,
) -> Option<bool> {
    let file = reach.read(&repository.own.join("index"), INDEX_BYTES_MAX)?;
    let index = Index::decode(&file.bytes, id_bytes, ENTRIES_MAX)?;
    let folder = reach.folder(&repository.work_tree)?;
    let mut tree =
        Tree { folder, root: &repository.work_tree, reach, written: file.modified, left: HASHED_BYTES_MAX };
    let mut is_known = index.is_complete;
    for entry in &index.entries {
        if Instant::now() >= deadline {
            return None;
        }
        match tree.state(entry) {
            State::Same => {}
            State::Differs => return Some(true),
            State::Unknown => is_known = false,
        }
    }
    (is_known && index.is_written == Some(true)).then_some(false)
}

struct Tree<'a> {
    folder: OwnedFd,
    root: &'a Path,
    reach: &'a Reach,
    /// When the index was last written.
    written: (i64, i64),
    /// Bytes that may still be hashed.
    left: u64,
}

impl Tree<'_> {
    fn state(&mut self, entry: &Entry) -> State {
        let path = Path::new(OsStr::from_bytes(&entry.path));
        let kind = FileType::from_raw_mode(entry.mode);
        let is_file = matches!(kind, FileType::RegularFile | FileType::Symlink);
        if entry.is_unsettled {
            return State::Differs;
        }
        // Submodules have commits of their own.
        if entry.is_skipped || !is_file || !self.reach.is_open(&self.root.join(path)) {
            return State::Same;
        }
        let found = match inspect(&self.folder, path) {
            Ok(found) => found,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return State::Differs,
            Err(Errno::XDEV) => return State::Same,
            Err(_) => return State::Unknown,
        };
        let Ok(stat) = rustix::fs::fstat(&found) else { return State::Unknown };
        if FileType::from_raw_mode(stat.st_mode) != kind {
            return State::Differs;
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        // Size 0 is also git's note to itself to look at the content.
        if u64::from(entry.size) != size & u64::from(u32::MAX) && entry.size != 0 {
            return State::Differs;
        }
        let modified = (stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or(0));
        let is_as_seen = is_same_time(entry.modified, modified) && u64::from(entry.size) == size;
        if is_as_seen && modified < self.written {
            return State::Same;
        }
        self.content(entry, path, kind, &found, size)
    }

    /// Compares contents, where that is to be had.
    fn content(&mut self, entry: &Entry, path: &Path, kind: FileType, found: impl AsFd, size: u64) -> State {
        if entry.id.len() != SHA1_BYTES || size > self.left {
            return State::Unknown;
        }
        self.left -= size;
        let bytes = if kind == FileType::Symlink {
            rustix::fs::readlinkat(found, "", Vec::new()).ok().map(std::ffi::CString::into_bytes)
        } else {
            read_below(&self.folder, path, size)
        };
        let Some(bytes) = bytes else { return State::Unknown };
        let head = format!("blob {}\0", bytes.len());
        if sha1(&[head.as_bytes(), &bytes]).as_slice() == entry.id { State::Same } else { State::Differs }
    }
}

/// Whether the index's time is the file's; some gits note no nanoseconds.
fn is_same_time(noted: (u32, u32), (secs, nanos): (i64, i64)) -> bool {
    let low = secs & i64::from(u32::MAX);
    i64::from(noted.0) == low && (noted.1 == 0 || i64::from(noted.1) == nanos)
}

#[cfg(test)]
mod tests;
