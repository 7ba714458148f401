//! Where the hot files of a store are, when that is not in the store.
//!
//! A mount may be told so by a flag; a command on the store that comes later has to know it too, or it would take hot
//! files for lost. Order: the place is on record, durably, before a hot file is made there.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::layout::Layout;
use crate::base::{Error, IoContext, Result, durable};

/// Records that the hot files of a store are in the folder `hot`.
pub fn remember(layout: &Layout, hot: &Path) -> Result<()> {
    let recorded = recall(layout)?;
    if recorded.as_deref().unwrap_or(&layout.hot()) == hot {
        return Ok(());
    }
    durable::write_file(&layout.hot_place(), hot.as_os_str().as_bytes())
}

/// The folder that a mount is to use: `asked`, else the one on record. It is on record when this returns.
///
/// [`Error::Refused`] when hot files are in another one: they would be taken for lost.
pub fn settle(layout: &Layout, asked: Option<&Path>) -> Result<PathBuf> {
    let recorded = recall(layout)?.unwrap_or_else(|| layout.hot());
    let place = asked.unwrap_or(&recorded);
    if place != recorded && holds_files(&recorded)? {
        return Err(Error::Refused(format!(
            "the hot files of {} are in {}; mount with hot={}, or move that folder's content to {} first",
            layout.root().display(),
            recorded.display(),
            recorded.display(),
            place.display()
        )));
    }
    remember(layout, place)?;
    Ok(place.to_owned())
}

/// Whether a folder of hot files, which has subfolders, holds any file.
fn holds_files(folder: &Path) -> Result<bool> {
    let list = |dir: &Path| match fs::read_dir(dir) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        entries => entries.map(Some).context("list", dir),
    };
    for shard in list(folder)?.into_iter().flatten() {
        let shard = shard.context("list", folder)?.path();
        if list(&shard)?.is_some_and(|mut files| files.next().is_some()) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The folder that was recorded last; `None` = in the store.
pub fn recall(layout: &Layout) -> Result<Option<PathBuf>> {
    let path = layout.hot_place();
    match fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        bytes => Ok(Some(std::ffi::OsString::from_vec(bytes.context("read", &path)?).into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_place_is_remembered_and_the_usual_one_needs_no_record() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        remember(&layout, &layout.hot()).unwrap();
        assert_eq!(recall(&layout).unwrap(), None);
        assert!(!layout.hot_place().exists());
        remember(&layout, Path::new("/nvme/hot")).unwrap();
        assert_eq!(recall(&layout).unwrap().as_deref(), Some(Path::new("/nvme/hot")));
        remember(&layout, &layout.hot()).unwrap();
        assert_eq!(recall(&layout).unwrap(), Some(layout.hot()));
    }

    #[test]
    fn another_place_is_refused_while_hot_files_are_in_the_recorded_one() {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let (fast, other) = (dir.path().join("fast"), dir.path().join("other"));
        assert_eq!(settle(&layout, None).unwrap(), layout.hot());
        assert_eq!(settle(&layout, Some(&fast)).unwrap(), fast);
        assert_eq!(settle(&layout, None).unwrap(), fast, "it need not be said again");
        fs::create_dir_all(fast.join("0a")).unwrap();
        assert_eq!(settle(&layout, Some(&other)).unwrap(), other, "it holds no hot file");
        settle(&layout, Some(&fast)).unwrap();
        fs::write(fast.join("0a/000000000000000a"), b"bytes").unwrap();
        let said = settle(&layout, Some(&other)).unwrap_err().to_string();
        assert!(said.contains("fast") && said.contains("hot="), "{said}");
        assert_eq!(recall(&layout).unwrap(), Some(fast));
    }
}
