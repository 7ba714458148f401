//! Space that is kept for opening a store on a full disk.
//!
//! Order: the ballast is deleted before the journal and the catalog are opened, which need some space, and made
//! again once they are. On a disk without that much space it is missing until the next mount finds some.

use std::fs;
use std::path::Path;

use crate::base::{IoContext, Result, durable, private};

const NAME: &str = "ballast";
/// A new journal segment, its spare (4 MiB each), and what the catalog writes at open.
const BYTES: u64 = 24 << 20;

/// Gives the space back to the disk.
pub(super) fn release(store: &Path) -> Result<()> {
    let path = store.join(NAME);
    match fs::remove_file(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        other => other.context("delete", &path),
    }
}

/// Takes the space again, if the disk has it.
pub(super) fn hold(store: &Path) {
    let path = store.join(NAME);
    let held = private::create(&path).and_then(|file| durable::preallocate(&file, BYTES, &path));
    if let Err(error) = held {
        tracing::warn!("no reserve for a full disk: {error}");
        if let Err(error) = release(store) {
            tracing::warn!("{error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reserve_occupies_the_disk_until_it_is_released() {
        let dir = tempfile::tempdir().unwrap();
        release(dir.path()).unwrap();
        hold(dir.path());
        assert_eq!(fs::metadata(dir.path().join(NAME)).unwrap().len(), BYTES);
        hold(dir.path());
        release(dir.path()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
