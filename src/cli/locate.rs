//! From any PATH (a mountpoint, something inside it, a store, something inside that) to the store and its mount.
//!
//! The mount table is asked first and touches no filesystem, so a dead or hung mount is found too.

use std::path::{Path, PathBuf};

use super::failure::{Failure, Outcome};
use crate::base::mounts::{self, Mount};
use crate::engine::layout::Layout;
use crate::engine::lock;

/// The attribute of a mount's root that names its store: for mounts whose source is another `fsname`.
const STORE_ATTRIBUTE: &str = "user.ckptfs.store";
const PATH_BYTES_MAX: usize = 4096;

/// What a PATH belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Located {
    /// The mount; `None` for a store that is not mounted.
    pub(super) mount: Option<Mount>,
    /// The store; `None` when a mount does not tell.
    pub(super) store: Option<PathBuf>,
}

/// Absolute, without links as far as the path exists. A path on a dead mount resolves up to it.
pub(super) fn resolve(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.canonicalize().unwrap_or_else(|_| match (absolute.parent(), absolute.file_name()) {
        (Some(parent), Some(name)) => resolve(parent).join(name),
        _ => absolute,
    })
}

/// Every ckptfs mount of this machine.
pub(super) fn all() -> Outcome<Vec<Located>> {
    Ok(mounts::table()?.into_iter().filter(Mount::is_ours).map(of_mount).collect())
}

/// What `path` belongs to.
pub(super) fn find(path: &Path) -> Outcome<Located> {
    let path = resolve(path);
    let table = mounts::table()?;
    if let Some(mount) = mounts::covering(&table, &path).filter(|mount| mount.is_ours()) {
        return Ok(of_mount(mount.clone()));
    }
    let store = path.ancestors().find(|folder| Layout::new(folder).is_store());
    let Some(store) = store else {
        let what = format!("{} is neither in a ckptfs mount nor a store", path.display());
        return Err(Failure::Failed(format!("{what}; `ckptfs status` lists the mounts")));
    };
    // A mount with an `fsname` of its own is known by what the store's lock says.
    let holder = lock::held_by(&Layout::new(store).lock())?.flatten();
    let held_at = holder.map(|holder| holder.mountpoint);
    let is_here = |mount: &Mount| mount.source == store || held_at.as_ref() == Some(&mount.mountpoint);
    let mount = table.into_iter().filter(Mount::is_ours).rfind(is_here);
    Ok(Located { mount, store: Some(store.to_owned()) })
}

fn of_mount(mount: Mount) -> Located {
    let by_source = Some(mount.source.clone()).filter(|source| source.is_absolute());
    let store = by_source.or_else(|| store_attribute(&mount.mountpoint));
    Located { mount: Some(mount), store }
}

fn store_attribute(mountpoint: &Path) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    let mut value = vec![0; PATH_BYTES_MAX];
    let len = rustix::fs::getxattr(mountpoint, STORE_ATTRIBUTE, &mut value[..]).ok()?;
    value.truncate(len);
    Some(PathBuf::from(std::ffi::OsString::from_vec(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_does_not_exist_is_resolved_as_far_as_it_does() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().canonicalize().unwrap();
        std::fs::create_dir(real.join("a")).unwrap();
        std::os::unix::fs::symlink(real.join("a"), real.join("link")).unwrap();
        assert_eq!(resolve(&real.join("link/b/c")), real.join("a/b/c"));
        assert_eq!(resolve(Path::new("/")), Path::new("/"));
    }

    #[test]
    fn a_path_inside_a_store_finds_it_and_another_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap().join("s");
        assert!(find(&root).is_err());
        drop(crate::engine::layout::Store::open(&root, Path::new("/m")).unwrap());
        let found = find(&root.join("packs/x")).unwrap();
        assert_eq!(found, Located { mount: None, store: Some(root) });
    }
}
