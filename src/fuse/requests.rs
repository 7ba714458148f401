//! How many requests the kernel has sent, by kind: what the work on a mount asks of its daemon.
//!
//! A request is counted when it arrives, before it is answered, and once, whatever comes of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// Declares the kinds together with their names, which are those of the kernel's operations.
macro_rules! kinds {
    ($($kind:ident $name:literal),* $(,)?) => {
        /// What a request asks for.
        #[derive(Clone, Copy, Debug)]
        pub(super) enum Kind { $($kind),* }

        /// Names in the order of [`Kind`].
        const NAMES: &[&str] = &[$($name),*];
    };
}

kinds! {
    Lookup "lookup", Forget "forget", Getattr "getattr", Setattr "setattr", Readlink "readlink", Mknod "mknod",
    Mkdir "mkdir", Unlink "unlink", Rmdir "rmdir", Symlink "symlink", Rename "rename", Link "link", Open "open",
    Create "create", Read "read", Write "write", Release "release", Flush "flush", Fsync "fsync", Opendir "opendir",
    Readdir "readdir", Readdirplus "readdirplus", Releasedir "releasedir", Fsyncdir "fsyncdir", Statfs "statfs",
    Setxattr "setxattr", Getxattr "getxattr", Listxattr "listxattr", Removexattr "removexattr", Ioctl "ioctl",
    Fallocate "fallocate", Lseek "lseek", CopyFileRange "copy_file_range",
}

/// Requests since the mount.
#[derive(Debug)]
pub struct Requests([AtomicU64; NAMES.len()]);

impl Default for Requests {
    fn default() -> Self {
        Requests([const { AtomicU64::new(0) }; NAMES.len()])
    }
}

impl Requests {
    pub(super) fn count(&self, kind: Kind) {
        if let Some(count) = self.0.get(kind as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The count of each kind that has come at all.
    pub fn by_kind(&self) -> BTreeMap<String, u64> {
        let counts = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        let seen = NAMES.iter().zip(counts).filter(|(_, count)| *count > 0);
        seen.map(|(name, count)| ((*name).to_owned(), count)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_counted_under_its_own_name() {
        let requests = Requests::default();
        requests.count(Kind::Lookup);
        requests.count(Kind::CopyFileRange);
        requests.count(Kind::CopyFileRange);
        let wanted = [("copy_file_range", 2), ("lookup", 1)].map(|(name, count)| (name.to_owned(), count));
        assert_eq!(requests.by_kind(), BTreeMap::from(wanted));
    }
}
