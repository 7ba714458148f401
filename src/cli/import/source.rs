//! A folder of checkpoints as it lies there: what is in it, and taking away what has been imported.
//!
//! Only what was found when the folder was looked through is ever deleted, and only while it is still the same.

use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::base::clock::Time;
use crate::base::{IoContext, Result};
use crate::engine::history::import::Plain;
use crate::formats;
use crate::version::chosen::Names;
use crate::version::import::Found;

/// Where `path` is.
pub(super) fn place(folder: &Path, path: &[Vec<u8>]) -> PathBuf {
    path.iter().fold(folder.to_owned(), |at, name| at.join(std::ffi::OsStr::from_bytes(name)))
}

/// Everything in `folder` and below it: files, links, and folders without anything in them. No link is followed.
pub(super) fn look_through(folder: &Path) -> Result<Vec<Found>> {
    let (mut found, mut waiting) = (Vec::new(), vec![Names::new()]);
    while let Some(dir) = waiting.pop() {
        let at = place(folder, &dir);
        let mut is_empty = true;
        for entry in fs::read_dir(&at).context("list", &at)? {
            is_empty = false;
            let entry = entry.context("list", &at)?;
            let mut path = dir.clone();
            path.push(entry.file_name().into_vec());
            let meta = entry.metadata().context("look at", &entry.path())?;
            if meta.is_dir() {
                waiting.push(path);
                continue;
            }
            let is_checkpoint = meta.is_file() && is_checkpoint(&entry.path(), &path)?;
            found.push(Found { path, size: size(&meta), mtime: mtime(&meta), is_checkpoint });
        }
        if is_empty && !dir.is_empty() {
            let meta = fs::symlink_metadata(&at).context("look at", &at)?;
            found.push(Found { path: dir, size: 0, mtime: mtime(&meta), is_checkpoint: false });
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

fn is_checkpoint(at: &Path, path: &[Vec<u8>]) -> Result<bool> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = fs::OpenOptions::new().read(true).custom_flags(flags).open(at).context("open", at)?;
    Ok(formats::recognise(&path.join(&b'/'), &Plain::new(file, at)?)?.is_some())
}

fn size(meta: &fs::Metadata) -> u64 {
    if meta.is_file() { meta.len() } else { 0 }
}

fn mtime(meta: &fs::Metadata) -> Time {
    Time { secs: meta.mtime(), nanos: u32::try_from(meta.mtime_nsec()).unwrap_or(0) }
}

/// Deletes `found` from `folder`, and the folders that are empty then. Returns what was left, because it has changed since
/// it was found, or could not be deleted, in words.
pub(super) fn delete(folder: &Path, found: &[&Found]) -> Vec<String> {
    let mut left = Vec::new();
    for file in found {
        let at = place(folder, &file.path);
        let gone = match fs::symlink_metadata(&at) {
            Ok(meta) if (size(&meta), mtime(&meta)) != (file.size, file.mtime) => {
                left.push(format!("{}: changed since it was imported", at.display()));
                continue;
            }
            Ok(meta) if meta.is_dir() => fs::remove_dir(&at),
            Ok(_) => fs::remove_file(&at),
            Err(error) => Err(error),
        };
        if let Err(error) = gone {
            left.push(format!("{}: {error}", at.display()));
        }
        for depth in (1..file.path.len()).rev() {
            // One that is not empty yet stays for the next file, or for good.
            if fs::remove_dir(place(folder, file.path.get(..depth).unwrap_or_default())).is_err() {
                break;
            }
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_found_and_is_the_same_is_deleted() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir_all(at("a/b")).unwrap();
        fs::create_dir_all(at("none")).unwrap();
        for name in ["a/b/one", "a/two", "three"] {
            fs::write(at(name), name).unwrap();
        }
        std::os::unix::fs::symlink("/etc", at("link")).unwrap();
        let found = look_through(dir.path()).unwrap();
        let names: Vec<_> =
            found.iter().map(|file| String::from_utf8(file.path.join(&b'/')).unwrap()).collect();
        assert_eq!(names, ["a/b/one", "a/two", "link", "none", "three"]);
        fs::write(at("three"), "another").unwrap();
        fs::write(at("a/b/new"), "since").unwrap();
        let left = delete(dir.path(), &found.iter().collect::<Vec<_>>());
        assert!(left.len() == 1 && left[0].contains("three: changed"), "{left:?}");
        assert!(at("a/b/new").exists() && at("three").exists() && !at("a/two").exists());
        assert!(!at("none").exists() && at("link").symlink_metadata().is_err());
    }
}
