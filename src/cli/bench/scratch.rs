//! The folder below PATH that all is measured in, which never outlives its run unless that is killed.
//!
//! Whoever measures holds a lock in it, which ends with the process: so a folder whose lock is free was left by a run that
//! was killed. What is mounted below is unmounted before anything is deleted; while something is still mounted there,
//! nothing is.

use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use rustix::process::geteuid;

use super::super::failure::Outcome;
use super::mounted;
use crate::base::{IoContext, private};

const PREFIX: &str = "ckptfs-bench-";
const LOCK: &str = "lock";

/// The folder of this run.
pub(super) struct Scratch {
    folder: PathBuf,
    _lock: File,
}

impl Scratch {
    /// Makes it below `path`, for its owner only.
    pub(super) fn make(path: &Path) -> Outcome<Self> {
        let folder = path.join(format!("{PREFIX}{}", std::process::id()));
        fs::DirBuilder::new().mode(0o700).create(&folder).context("make folder", &folder)?;
        match hold(&folder) {
            Ok(lock) => Ok(Scratch { folder, _lock: lock }),
            Err(failure) => {
                fs::remove_dir_all(&folder).context("delete", &folder)?;
                Err(failure)
            }
        }
    }

    /// Where it is.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Unmounts what is mounted in it, and deletes it.
    pub(super) fn remove(self) -> Outcome {
        remove(&self.folder)
    }
}

fn hold(folder: &Path) -> Outcome<File> {
    let path = folder.join(LOCK);
    let lock = private::create(&path)?;
    lock.lock().context("lock", &path)?;
    Ok(lock)
}

/// Unmounts what is mounted in `folder`, and deletes it.
pub(super) fn remove(folder: &Path) -> Outcome {
    mounted::leave_all_below(folder)?;
    fs::remove_dir_all(folder).context("delete", folder)?;
    Ok(())
}

/// The folders below `path` that killed runs have left.
pub(super) fn leftovers(path: &Path) -> Outcome<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).context("list", path)? {
        let entry = entry.context("list", path)?;
        let is_named_so = entry.file_name().to_string_lossy().starts_with(PREFIX);
        let is_folder = entry.file_type().context("look at", &entry.path())?.is_dir();
        if is_named_so && is_folder && is_left(&entry.path()) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// Whether nobody holds the lock in `folder`. One without a lock, or one that another user has made, is none of ours.
fn is_left(folder: &Path) -> bool {
    let own = fs::symlink_metadata(folder).is_ok_and(|meta| meta.uid() == geteuid().as_raw());
    own && File::open(folder.join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_left_over_once_nobody_holds_its_lock() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("ckptfs-bench-notes")).unwrap();
        fs::write(dir.path().join("ckptfs-bench-1"), b"").unwrap();
        let scratch = Scratch::make(dir.path()).unwrap();
        let folder = scratch.folder().to_owned();
        assert!(leftovers(dir.path()).unwrap().is_empty());
        fs::write(folder.join("save"), b"x").unwrap();
        drop(scratch);
        assert_eq!(leftovers(dir.path()).unwrap().as_slice(), std::slice::from_ref(&folder));
        remove(&folder).unwrap();
        assert!(leftovers(dir.path()).unwrap().is_empty() && !folder.exists());
    }
}
