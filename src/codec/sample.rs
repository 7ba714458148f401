//! What a sample of a blob says about it, before time is spent on all of it: the width of its elements, where they begin, and
//! what each of their byte planes is worth.
//!
//! A sample may be wrong: that costs ratio, never correctness.
//!
//! All is read from one set of histograms. The sample is shifted left by one bit as one long little-endian number, and bytes
//! are counted by their position mod 8. That gives the planes of every width and phase at once: rotating an element puts
//! into each of its bytes the highest bit of the byte before, as the shift does; only the lowest plane gets its own element's
//! sign in one case, its neighbour's in the other, and they are distributed alike. A width's planes are sums of the eight
//! histograms, and a phase only says which plane is called the last.

use std::sync::LazyLock;

use super::planes;

/// Pieces of a sample, spread evenly, and the bytes of each.
const PIECES: usize = 16;
const PIECE: usize = 512;
/// The bytes of a sample. Blobs that are shorter are too short to be told apart by it.
pub(super) const SAMPLE: usize = PIECES * PIECE;
/// A width is better than a smaller one by at least so many bits a byte: above the error of a sample of this length.
const BETTER: f32 = 0.05;
/// Above so many bits a byte a plane is not worth coding: a Huffman table saves nothing.
const NOISE: f32 = 7.92;
/// Below so many bits a byte a plane is the same byte nearly everywhere. A Huffman code needs a bit for each, matches do not.
const STILL: f32 = 0.5;
/// So many of the sample's 1024 words that occurred before make it worth trying whether matches are found.
const REPEATS: usize = 32;
/// Words that are read for repeats all over a blob, one in a line of so many bytes, and how many repeats count: where half
/// of 1 MiB is a copy of the other, 32 are expected; floats have none.
const PROBES: usize = 1024;
const LINE: usize = 64;
const FAR_REPEATS: usize = 8;

/// A byte plane, by its sampled entropy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Plane {
    /// Not worth coding.
    #[default]
    Noise,
    /// Worth a Huffman code.
    Skewed,
    /// Noise but for a lowest bit that may always be 0.
    Unsigned,
    /// The same byte nearly everywhere.
    Still,
}

/// What a sample says.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Look {
    /// Bytes of an element: 1, 2, 4 or 8.
    pub(super) width: u8,
    /// Offset of the first whole element, in bytes, less than the width.
    pub(super) phase: u8,
    /// Whether 8-byte words repeat so often that a search for matches may pay.
    pub(super) repeats: bool,
    planes: [Plane; planes::MOST],
    /// Bits a byte, the mean over the planes as they will be stored.
    bits: f32,
}

impl Look {
    /// What each plane is, least significant first: as many as the width.
    pub(super) fn planes(&self) -> &[Plane] {
        self.planes.get(..usize::from(self.width)).unwrap_or_default()
    }

    /// A look that tells this phase and these planes.
    #[cfg(test)]
    pub(super) fn of(phase: u8, planes: &[Plane]) -> Self {
        let mut look = Look { width: planes.len() as u8, phase, ..Look::default() };
        look.planes[..planes.len()].copy_from_slice(planes);
        look
    }

    /// Whether a search for matches may pay: bytes, words that repeat, integers with more digits than they need.
    pub(super) fn may_match(&self) -> bool {
        let still = self.planes().iter().filter(|plane| **plane == Plane::Still).count();
        self.repeats || 2 * still >= self.planes().len() || self.width == 1 && self.bits <= NOISE
    }

    /// How long planes are expected to be, as a part of the raw length.
    pub(super) fn estimate(&self) -> f32 {
        self.bits / 8.0
    }
}

/// Replaces `sample` by pieces of `raw` at offsets that are multiples of 8. False where `raw` is too short.
///
/// One piece out of each sixteenth, at a place in it that differs from one to the next: at equal distances, which are powers of
/// two in most blobs, all pieces might hit the same part of rows whose length is one.
pub(super) fn take(raw: &[u8], sample: &mut Vec<u8>) -> bool {
    sample.clear();
    let stride = raw.len() / PIECES / 8 * 8;
    if stride < PIECE {
        return false;
    }
    let places = (stride - PIECE) / 8 + 1;
    for (number, part) in raw.chunks_exact(stride).take(PIECES).enumerate() {
        sample.extend(part.iter().skip(8 * scattered(number, places)).take(PIECE));
    }
    true
}

/// A place below `places` for each number: multiples of the golden ratio are spread evenly, and no two are alike.
fn scattered(number: usize, places: usize) -> usize {
    let fraction = (number as u32).wrapping_mul(0x9E37_79B9);
    // Less than `places`.
    ((u64::from(fraction) * places as u64) >> 32) as usize
}

/// Counts of each byte.
type Histogram = [u16; 256];

/// Looks at a sample that [`take`] took.
pub(super) fn look(sample: &[u8]) -> Look {
    let eight = count(sample);
    let four: [Histogram; 4] = fold(&eight);
    let two: [Histogram; 2] = fold(&four);
    let one = count_plain(sample);
    let entropies: [(usize, [f32; 8]); 4] =
        [(1, bits(&[one])), (2, bits(&two)), (4, bits(&four)), (8, bits(&eight))];

    // The smallest width that is as good as the best.
    let mean = |(width, bits): &(usize, [f32; 8])| bits.iter().take(*width).sum::<f32>() / *width as f32;
    let best = entropies.iter().map(mean).fold(8.0, f32::min);
    let chosen = entropies.iter().find(|each| mean(each) <= best + BETTER);
    let (width, bits) = chosen.copied().unwrap_or((1, [8.0; 8]));
    let words = sample.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word));
    described(width, bits, repeats(words) >= REPEATS)
}

/// The look of elements whose byte at each position mod `width` has these `bits`.
fn described(width: usize, bits: [f32; 8], repeats: bool) -> Look {
    let phase = phase(bits.get(..width).unwrap_or_default());
    let mut look = Look { width: width as u8, phase: phase as u8, repeats, ..Look::default() };
    // In the order of the planes, the first of which is at the phase.
    let rotated = bits.iter().take(width).cycle().skip(phase);
    for (plane, bits) in look.planes.iter_mut().take(width).zip(rotated) {
        let stored;
        (*plane, stored) = match *bits {
            bits if bits > NOISE => (Plane::Noise, 8.0),
            bits if bits < STILL => (Plane::Still, bits),
            // Seven bits of noise below the sign; whether they are that is seen when they are stored.
            bits if look.width > 1 && (6.9..7.05).contains(&bits) => (Plane::Unsigned, 7.0),
            // A Huffman code has at least one bit for each.
            bits => (Plane::Skewed, bits.max(1.0)),
        };
        look.bits += stored / width as f32;
    }
    look
}

/// Where elements begin whose bytes have these `bits` by position: the byte before is the most significant one.
///
/// That is the byte with the lowest entropy, which is a float's exponent. But the lowest bytes may be constant too, as those of
/// a float32 that was a bfloat16 are, and elements mostly begin at the first byte: where that may be, it is believed.
fn phase(bits: &[f32]) -> usize {
    let lowest = bits.iter().copied().fold(8.0, f32::min);
    let (Some(first), Some(last)) = (bits.first(), bits.last()) else { return 0 };
    if *last < 6.5 && *last - lowest < 2.7 && first.max(*last) > 0.01 {
        return 0;
    }
    // Of several constant bytes the most significant is the one that the next element's lowest follows.
    let next = bits.iter().cycle().skip(1);
    let candidates = bits.iter().zip(next).enumerate().filter(|(_, (bits, _))| **bits < lowest + 0.01);
    let last = candidates.max_by(|(_, (_, a)), (_, (_, b))| a.total_cmp(b)).map_or(0, |(place, _)| place);
    (last + 1) % bits.len()
}

/// Histograms by position mod 8, of the sample shifted left by one bit.
#[allow(clippy::indexing_slicing, reason = "a byte is less than 256")]
fn count(sample: &[u8]) -> [Histogram; 8] {
    let mut counts = [[0; 256]; 8];
    let mut carry = 0;
    for word in sample.as_chunks().0 {
        let word = u64::from_le_bytes(*word);
        let shifted = word << 1 | carry;
        carry = word >> 63;
        for (counts, byte) in counts.iter_mut().zip(shifted.to_le_bytes()) {
            counts[usize::from(byte)] += 1;
        }
    }
    counts
}

/// The histogram of all bytes as they are.
#[allow(clippy::indexing_slicing, reason = "a byte is less than 256")]
fn count_plain(sample: &[u8]) -> Histogram {
    // Equal neighbours would wait for each other's count.
    let mut counts = [[0_u16; 256]; 4];
    for word in sample.as_chunks::<4>().0 {
        for (counts, byte) in counts.iter_mut().zip(word) {
            counts[usize::from(*byte)] += 1;
        }
    }
    let [one]: [Histogram; 1] = fold(&fold::<4, 2>(&counts));
    one
}

/// The histograms of half as many positions.
fn fold<const FROM: usize, const TO: usize>(counts: &[Histogram; FROM]) -> [Histogram; TO] {
    let mut folded = [[0; 256]; TO];
    for (position, counts) in counts.iter().enumerate() {
        if let Some(sums) = folded.get_mut(position % TO) {
            for (sum, count) in sums.iter_mut().zip(counts) {
                *sum += count;
            }
        }
    }
    folded
}

/// n log2 n for each count that there may be.
static WEIGHTS: LazyLock<Box<[f32]>> = LazyLock::new(|| {
    (0..=SAMPLE)
        .map(|count| count as f64 * (count.max(1) as f64).log2())
        .map(|weight| weight as f32)
        .collect()
});

/// Order-0 entropy of each histogram in bits a byte.
///
/// A sample shows less than there is; the correction is Miller and Madow's: (values seen - 1) / 2n nats.
fn bits<const N: usize>(counts: &[Histogram; N]) -> [f32; 8] {
    let weights = &**WEIGHTS;
    let mut bits = [0.0; 8];
    for (bits, counts) in bits.iter_mut().zip(counts) {
        let (mut weight, mut seen) = (0.0, 0_u32);
        for count in counts {
            weight += weights.get(usize::from(*count)).copied().unwrap_or_default();
            seen += u32::from(*count > 0);
        }
        let total = (SAMPLE / N) as f32;
        let correction = (seen.max(1) - 1) as f32 / (2.0 * std::f32::consts::LN_2 * total);
        *bits = (total.log2() - weight / total + correction).min(8.0);
    }
    bits
}

/// Whether lines of 64 bytes repeat in `raw` at distances of whole lines, as the rows of a table do, which few pieces would
/// hardly show.
pub(super) fn repeats_far(raw: &[u8]) -> bool {
    let lines = raw.as_chunks::<LINE>().0;
    let part = lines.len() / PROBES;
    if part == 0 {
        return false;
    }
    let probes = lines.chunks_exact(part).enumerate().filter_map(|(number, part)| {
        part.get(scattered(number, part.len()))?.first_chunk().map(|word| u64::from_le_bytes(*word))
    });
    repeats(probes.filter(|word| *word != 0)) >= FAR_REPEATS
}

/// How many 8-byte words occurred before. Words of floats do not, but for zeros.
#[allow(clippy::indexing_slicing, reason = "the top 12 bits of a number are less than 4096")]
fn repeats(words: impl Iterator<Item = u64>) -> usize {
    let mut last = [0_u32; 1 << 12];
    let mut repeats = 0;
    for word in words {
        // Fibonacci hashing: the top bits choose the slot, the next ones are compared.
        let hash = word.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mark = (hash >> 16) as u32 | 1;
        let slot = &mut last[(hash >> 52) as usize];
        repeats += usize::from(*slot == mark);
        *slot = mark;
    }
    repeats
}

#[cfg(test)]
mod tests;
