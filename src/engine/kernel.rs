//! What the kernel has to be told of: names and attributes that change although nobody changed them through the mount.
//!
//! It keeps names for an hour, also that there is none. Told after the record, and with no lock held: the kernel may wait
//! for somebody who waits for an answer from here.

use std::sync::OnceLock;

use crate::catalog::keys::Ino;

/// What keeps names and attributes of a mount in memory.
pub trait Kernel: Send + Sync {
    /// What `name` in directory `dir` leads to has changed; attributes of `dir` have too.
    fn name(&self, dir: Ino, name: &[u8]);
    /// Attributes of inode `ino` have changed.
    fn inode(&self, ino: Ino);
}

/// The kernel of a mount, once there is one.
#[derive(Default)]
pub(super) struct Told(OnceLock<Box<dyn Kernel>>);

impl super::Engine {
    /// Names `kernel` as the one to be told; only the first is.
    pub fn set_kernel(&self, kernel: Box<dyn Kernel>) {
        if self.kernel.0.set(kernel).is_err() {
            tracing::error!("a store has one mount; the second one is not told of changes");
        }
    }

    pub(super) fn tell_name(&self, dir: Ino, name: &[u8]) {
        self.kernel.0.get().into_iter().for_each(|kernel| kernel.name(dir, name));
    }

    pub(super) fn tell_inode(&self, ino: Ino) {
        self.kernel.0.get().into_iter().for_each(|kernel| kernel.inode(ino));
    }
}
