//! What a delta would take, from a sample.
//!
//! The symbols' entropy within groups and their raw bits, of a few thousand elements in pieces spread evenly. An entropy
//! of so few is too low, by about half a bit for each symbol that a group has beside the first (Miller and Madow); the
//! groups are so few that this stays a correction.

use super::groups::{Group, entropy};
use super::order::{SYMBOLS, parts};
use super::write::groups_of;

/// Pieces of a sample, and the elements of each.
const PIECES: usize = 32;
const PIECE: usize = 128;
/// What the header and the states take at most as a rule, in bytes, and at the least.
const FIXED: usize = 320;
const LEAST: usize = 8;

/// The stored length for `raw` against `base`, whole elements of `W` bytes.
pub(super) fn stored_len<const W: usize>(raw: &[u8], base: &[u8]) -> usize {
    let elements = raw.len() / W;
    let stride = (elements / PIECES).max(PIECE) * W;
    let piece = |bytes: &[u8]| bytes.len().min(PIECE * W);
    let pieces = raw.chunks(stride).zip(base.chunks(stride));
    let pieces = pieces.filter_map(|(raw, base)| Some((raw.get(..piece(raw))?, base.get(..piece(base))?)));
    let groups = groups_of::<W>(pieces);
    let sampled: u32 = groups.iter().flat_map(|group| group.counts).sum();
    let bits: f64 = groups.iter().map(bits::<W>).sum();
    let all = bits / 8.0 * elements as f64 / f64::from(sampled.max(1));
    // What differs nowhere in the sample may well have but one table; a header is small against what differs.
    all as usize + (all as usize / 16).clamp(LEAST, FIXED)
}

/// Bits that the sampled elements of one group take.
fn bits<const W: usize>(group: &Group) -> f64 {
    let raw: u64 = (0..SYMBOLS)
        .zip(group.counts)
        .map(|(symbol, n)| u64::from(parts::<W>(symbol).low) * u64::from(n))
        .sum();
    let used = group.counts.iter().filter(|count| **count > 0).count() as f64;
    f64::from(entropy(&group.counts)) + (used - 1.0).max(0.0) / 2.0 * std::f64::consts::LOG2_E + raw as f64
}
