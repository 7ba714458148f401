//! The only user of the hash function.
//!
//! An id is the hash of the raw bytes, never of an encoded form: bytes can be encoded anew without a new name.

use crate::base::id::ChunkId;

/// The id of a blob whose raw bytes are `bytes`: their BLAKE3-256.
pub fn chunk_id(bytes: &[u8]) -> ChunkId {
    ChunkId(*blake3::hash(bytes).as_bytes())
}

/// A 64-bit hash of a file name, for readdir offsets and key order: the first eight bytes of its
/// BLAKE3, little-endian. Different names may share one.
pub fn name_hash(name: &[u8]) -> u64 {
    let hash = blake3::hash(name);
    hash.as_bytes().first_chunk::<8>().map_or(0, |first| u64::from_le_bytes(*first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_blake3_as_published() {
        assert_eq!(
            chunk_id(b"").to_string(),
            "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
        );
        assert_eq!(name_hash(b""), 0xa6a1_f9f5_b949_13af);
    }
}
