//! What a store is made of is its owner's alone, and a link that somebody planted in its place is never followed.
//!
//! A new file takes the place of whatever has its name, a link included, and is opened only if it was made by this very
//! call. A file that is kept is refused when it is a link. Folders are real folders, for the owner only.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::{Error, IoContext, Result};

/// Permissions of a folder.
const FOLDER: u32 = 0o700;
/// Permissions of a file.
const FILE: u32 = 0o600;
/// Everybody else's permissions.
const OTHERS: u32 = 0o077;

/// A new, empty file at `path` for reading and writing; what had that name before is gone.
pub fn create(path: &Path) -> Result<File> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).context("replace", path)?,
        _ => {}
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(FILE).open(path).context("create", path)
}

/// Opens the file at `path` as `options` say; it is made if it is not there. [`Error::Refused`] when it is a link.
pub fn open_or_create(path: &Path, options: &mut OpenOptions) -> Result<File> {
    match options.create(true).mode(FILE).custom_flags(libc::O_NOFOLLOW).open(path) {
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => Err(is_a_link(path)),
        file => file.context("open", path),
    }
}

/// Makes the folder `path`, and those above it where they are missing, or takes everybody else's permissions from the one
/// that is there. [`Error::Refused`] when it is a link.
pub fn folder(path: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(FOLDER).create(path).context("make folder", path)?;
    let found = fs::symlink_metadata(path).context("look at", path)?;
    if found.is_symlink() {
        return Err(is_a_link(path));
    }
    if found.mode() & OTHERS != 0 {
        let own = fs::Permissions::from_mode(found.mode() & !OTHERS & 0o7777);
        fs::set_permissions(path, own).context("close to others", path)?;
    }
    Ok(())
}

fn is_a_link(path: &Path) -> Error {
    Error::Refused(format!(
        "{} is a symbolic link, and a store follows none; remove it (to use another disk, mount that disk there)",
        path.display()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn mode(path: &Path) -> u32 {
        fs::symlink_metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_planted_link_is_replaced_or_refused_and_what_it_points_to_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (victim, link) = (dir.path().join("victim"), dir.path().join("link"));
        fs::write(&victim, b"precious").unwrap();
        symlink(&victim, &link).unwrap();
        let said = open_or_create(&link, OpenOptions::new().append(true)).unwrap_err().to_string();
        assert!(said.contains("link") && said.contains("remove it"), "{said}");
        create(&link).unwrap().set_len(1).unwrap();
        assert!(!fs::symlink_metadata(&link).unwrap().is_symlink());
        fs::hard_link(&victim, dir.path().join("hard")).unwrap();
        create(&dir.path().join("hard")).unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
        symlink(dir.path(), dir.path().join("folder")).unwrap();
        assert!(folder(&dir.path().join("folder")).unwrap_err().to_string().contains("link"));
        assert_eq!(mode(&link), 0o600);
    }

    #[test]
    fn folders_and_files_are_the_owners_whatever_they_were() {
        let dir = tempfile::tempdir().unwrap();
        let wide = dir.path().join("wide");
        fs::create_dir(&wide).unwrap();
        fs::set_permissions(&wide, fs::Permissions::from_mode(0o2775)).unwrap();
        folder(&wide).unwrap();
        folder(&wide.join("a/b")).unwrap();
        drop(open_or_create(&wide.join("log"), OpenOptions::new().append(true)).unwrap());
        assert_eq!((mode(&wide), mode(&wide.join("a/b")), mode(&wide.join("log"))), (0o2700, 0o2700, 0o600));
    }
}
