//! What a sample says of a blob, before time is spent on all of it.
//!
//! A sample may be wrong: that costs ratio, never correctness.

/// Pieces of a sample, spread evenly, and the bytes of each.
const PIECES: usize = 16;
const PIECE: usize = 512;
/// Shorter blobs are tried rather than sampled.
const LEAST: usize = 4 * PIECES * PIECE;
/// Above this order-0 entropy, in bits a byte, nothing is worth trying.
const RANDOM: f64 = 7.85;

/// Whether encoding `raw` would save nothing worth its time. Random bytes that repeat are not recognised.
pub(super) fn looks_random(raw: &[u8]) -> bool {
    raw.len() >= LEAST && sampled_entropy(raw) > RANDOM
}

/// Order-0 entropy of 8 KiB out of `raw`, in bits a byte.
fn sampled_entropy(raw: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for piece in raw.chunks(raw.len().div_ceil(PIECES).max(PIECE)) {
        for byte in piece.iter().take(PIECE) {
            if let Some(count) = counts.get_mut(usize::from(*byte)) {
                *count += 1;
            }
        }
    }
    let total = f64::from(counts.iter().sum::<u32>().max(1));
    let bits = |count: &u32| f64::from(*count) * (total / f64::from(*count)).log2();
    counts.iter().filter(|count| **count > 0).map(bits).sum::<f64>() / total
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::hash::chunk_id;

    #[test]
    fn noise_looks_random_and_what_compresses_does_not() {
        let noise: Vec<u8> = (0..4096_u32).flat_map(|n| chunk_id(&n.to_le_bytes()).0).collect();
        assert!(looks_random(&noise));
        // Too short to be sure of.
        assert!(!looks_random(&noise[..LEAST - 1]));
        // One byte in eight is always the same, as in float64: 7 bits and a half.
        let lanes: Vec<u8> =
            noise.iter().enumerate().map(|(n, byte)| if n % 8 == 7 { 0x3F } else { *byte }).collect();
        assert!(!looks_random(&lanes));
        assert!(!looks_random(&b"loss 0.693 step 10\n".repeat(5000)));
        assert!(!looks_random(&[0; 1 << 20]));
    }
}
