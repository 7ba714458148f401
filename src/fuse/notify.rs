//! Tells the kernel what has changed behind its back.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use fuser::{INodeNo, Notifier};

use crate::catalog::keys::Ino;
use crate::engine::kernel::Kernel;

/// The kernel of one mount.
pub(super) struct Mounted(pub(super) Notifier);

impl Kernel for Mounted {
    fn name(&self, dir: Ino, name: &[u8]) {
        if let Err(error) = self.0.inval_entry(INodeNo(dir), OsStr::from_bytes(name)) {
            tracing::warn!("the kernel cannot be told of a changed name: {error}");
        }
    }

    fn inode(&self, ino: Ino) {
        // Attributes alone: what was read of a file stays right, its bytes are never exchanged.
        if let Err(error) = self.0.inval_inode(INodeNo(ino), -1, 0) {
            tracing::warn!("the kernel cannot be told of changed attributes: {error}");
        }
    }
}
