//! Names of things: 32-byte content hashes.

use std::fmt;

/// The name of a chunk or of a manifest: BLAKE3 of its raw bytes.
///
/// The order is that of the bytes, which is the order of the chunk index.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChunkId(pub [u8; ChunkId::LEN]);

impl ChunkId {
    /// Bytes of an id.
    pub const LEN: usize = 32;
}

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
