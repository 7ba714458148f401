//! Where the hot files of a store are, when that is not in the store.
//!
//! A mount may be told so by a flag; a command on the store that comes later has to know it too, or it would take hot
//! files for lost. Order: the place is on record, durably, before a hot file is made there.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::layout::Layout;
use crate::base::{IoContext, Result, durable};

/// Records that the hot files of a store are in the folder `hot`.
pub fn remember(layout: &Layout, hot: &Path) -> Result<()> {
    let recorded = recall(layout)?;
    if recorded.as_deref().unwrap_or(&layout.hot()) == hot {
        return Ok(());
    }
    durable::write_file(&layout.hot_place(), hot.as_os_str().as_bytes())
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
}
