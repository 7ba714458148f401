//! From the bytes that were saved to the bytes of the packs, step by step.

use serde::{Deserialize, Serialize};

/// What became of the bytes that were saved, in bytes.
///
/// `logical - holes - dedup - constant - planes - delta - zstd - other - lost + bases + metadata + headers + garbage`
/// is `packs`; [`sum`](Self::sum) is the left side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Savings {
    /// All files of all versions on record, each counted in every version that has it, and files that are sealed now and
    /// in no version.
    pub logical_bytes: u64,
    /// Of these, holes, which are stored nowhere.
    pub holes_bytes: u64,
    /// Chunks that are there already: what is left counts each different chunk once.
    pub dedup_bytes: u64,
    /// Chunks of one byte over and over.
    pub constant_bytes: u64,
    /// Floats, split into planes that are coded each by itself.
    pub planes_bytes: u64,
    /// Floats, stored as what they differ in from those of another version.
    pub delta_bytes: u64,
    /// Everything else that compresses: text, pickles.
    pub zstd_bytes: u64,
    /// Encodings that this program does not know.
    pub other_bytes: u64,
    /// Chunks that no pack has: they are lost.
    pub lost_bytes: u64,
    /// Chunks that no version and no file refers to, kept because others are stored as what they differ in from them.
    pub bases_bytes: u64,
    /// Lists of chunks, trees and descriptions of versions, as they are stored.
    pub metadata_bytes: u64,
    /// Headers of chunks, and headers and lists of packs.
    pub headers_bytes: u64,
    /// Blobs that nothing needs, and older copies of others: the next gc frees most of them.
    pub garbage_bytes: u64,
    /// All packs.
    pub packs_bytes: u64,
}

impl Savings {
    /// What the parts add up to; equal to `packs_bytes`.
    pub fn sum(&self) -> i128 {
        let minus = [
            self.holes_bytes,
            self.dedup_bytes,
            self.constant_bytes,
            self.planes_bytes,
            self.delta_bytes,
            self.zstd_bytes,
            self.other_bytes,
            self.lost_bytes,
        ];
        let plus = [
            self.logical_bytes,
            self.bases_bytes,
            self.metadata_bytes,
            self.headers_bytes,
            self.garbage_bytes,
        ];
        let total = |parts: &[u64]| parts.iter().map(|part| i128::from(*part)).sum::<i128>();
        total(&plus) - total(&minus)
    }
}

/// What one group of roots (a version, a run) has of the store, in bytes. Stored bytes count a blob's header and its line in
/// the pack's list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Share {
    /// Its files, holes included, each counted in every version that has it.
    pub logical_bytes: u64,
    /// The different chunks that it refers to, decoded.
    pub referenced_bytes: u64,
    /// What these, and its lists of chunks and trees, take in the packs.
    pub stored_bytes: u64,
    /// Of the stored bytes, what no group before it has: what the store grew by, oldest first.
    pub added_bytes: u64,
    /// Of the stored bytes, what nobody else refers to.
    pub unique_bytes: u64,
    /// What would be free without it: its unique bytes but for bases that others need, and bases that only it needs.
    pub would_free_bytes: u64,
}
