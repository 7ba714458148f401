//! Which sealed contents the kernel's page cache holds rightly.
//!
//! Invariant: an entry says that since the inode's pages were last dropped only this content was read
//! into them. So the first open of a content never keeps the cache.

use std::collections::HashMap;

use parking_lot::Mutex;

use crate::base::id::ChunkId;
use crate::catalog::keys::Ino;

/// Inodes and the content in their page cache. Bounded by the kernel's own inodes: an entry goes when
/// the kernel forgets the inode.
#[derive(Debug, Default)]
pub struct KeptPages {
    contents: Mutex<HashMap<Ino, ChunkId>>,
}

impl KeptPages {
    /// Whether the pages of `ino` are those of `content`; from now on they are.
    pub fn is_known(&self, ino: Ino, content: ChunkId) -> bool {
        self.contents.lock().insert(ino, content) == Some(content)
    }

    /// The pages of `ino` may hold anything from now on.
    pub fn forget(&self, ino: Ino) {
        self.contents.lock().remove(&ino);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_kept_from_the_second_open_of_one_content() {
        let kept = KeptPages::default();
        let (a, b) = (ChunkId([1; 32]), ChunkId([2; 32]));
        assert!(!kept.is_known(5, a));
        assert!(kept.is_known(5, a));
        assert!(!kept.is_known(5, b));
        kept.forget(5);
        assert!(!kept.is_known(5, b));
    }
}
