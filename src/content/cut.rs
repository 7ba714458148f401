//! Where content is cut into chunks.
//!
//! A cut depends on the bytes of the file and their offset only, never on how they arrived: the same file is cut
//! the same way again, or it would not be found again. Constants and the crate's version are part of the stored data.

use fastcdc::v2020::FastCDC;

/// The grid's step: length of a chunk of float-like data, in bytes.
pub const GRID: usize = 1 << 20;
/// No chunk is longer; a window of this many bytes is always enough to cut.
pub const MAX_CHUNK: usize = GRID;
/// Least, average and greatest length of a content-defined chunk, in bytes.
const FAST: (usize, usize, usize) = (16 << 10, 64 << 10, 256 << 10);
/// Files up to this length are one chunk.
const WHOLE: u64 = 64 << 10;

/// How one file is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cutting {
    /// At every multiple of [`GRID`] of the file's offset: tensors and other data that is overwritten in place.
    Grid,
    /// Where the content says so (FastCDC, 16/64/256 KiB): text and streams in which bytes are inserted.
    Fast,
}

/// Chooses the cutting for a file of `file_len` bytes from a `sample` of it.
///
/// The sample is pieces whose offsets and lengths are multiples of 8, one after the other: float data shows as lanes
/// (position mod 8) of different entropy, compressed or mantissa-heavy data as high entropy; both take the grid.
pub fn plan(sample: &[u8], file_len: u64) -> Cutting {
    if file_len <= WHOLE || sample.is_empty() {
        return Cutting::Grid;
    }
    let total = entropy(sample.iter());
    let lanes = (0..8).map(|lane| entropy(sample.iter().skip(lane).step_by(8)));
    let (low, high) = lanes.fold((8.0_f64, 0.0_f64), |(low, high), lane| (low.min(lane), high.max(lane)));
    if !(0.1..7.0).contains(&total) || high - low > 1.0 { Cutting::Grid } else { Cutting::Fast }
}

/// Length of the next chunk, which begins at `offset` of the file with the bytes of `window`.
///
/// `None` when more bytes are needed to tell ([`MAX_CHUNK`] always suffice); with `is_last` the window ends
/// where the data does, and `None` means that it is empty.
pub fn cut(cutting: Cutting, offset: u64, window: &[u8], is_last: bool) -> Option<usize> {
    if window.is_empty() {
        return None;
    }
    match cutting {
        Cutting::Grid => {
            let len = GRID - usize::try_from(offset % GRID as u64).unwrap_or(0);
            if window.len() >= len { Some(len) } else { is_last.then_some(window.len()) }
        }
        Cutting::Fast => {
            let (min, average, max) = FAST;
            if window.len() < max && !is_last {
                return None;
            }
            let considered = window.get(..max).unwrap_or(window);
            Some(FastCDC::new(considered, min, average, max).cut(0, considered.len()).1)
        }
    }
}

/// Order-0 entropy of `bytes`, in bits a byte.
fn entropy<'a>(bytes: impl Iterator<Item = &'a u8>) -> f64 {
    let mut counts = [0_u32; 256];
    let mut total = 0_u32;
    for byte in bytes {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count += 1;
        }
        total += 1;
    }
    let total = f64::from(total.max(1));
    counts
        .iter()
        .filter(|count| **count > 0)
        .map(|count| {
            let share = f64::from(*count) / total;
            -share * share.log2()
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Deterministic bytes without structure.
    fn noise(len: usize, seed: u64) -> Vec<u8> {
        let mut state = seed | 1;
        (0..len)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 24) as u8
            })
            .collect()
    }

    fn floats(len: usize) -> Vec<u8> {
        noise(len, 3)
            .chunks_exact(4)
            .flat_map(|b| (0.02 * (f32::from(b[0]) - 127.0 + f32::from(b[1]) / 256.0)).to_le_bytes())
            .collect()
    }

    fn text(len: usize) -> Vec<u8> {
        noise(len, 9).iter().map(|b| b"etaoin shrdlu\n{}:0123456789\""[usize::from(b % 28)]).collect()
    }

    /// Chunk lengths of `data` when it arrives in windows of at most `step` new bytes.
    fn lengths(cutting: Cutting, data: &[u8], step: usize) -> Vec<usize> {
        let (mut start, mut end, mut found) = (0, 0, Vec::new());
        while start < data.len() {
            match cut(cutting, start as u64, &data[start..end], end == data.len()) {
                Some(len) => {
                    found.push(len);
                    start += len;
                }
                None => end = (end + step).min(data.len()),
            }
        }
        found
    }

    #[test]
    fn floats_and_compressed_data_take_the_grid_and_text_does_not() {
        assert_eq!(plan(&floats(65_536), 10 << 20), Cutting::Grid);
        assert_eq!(plan(&noise(65_536, 5), 10 << 20), Cutting::Grid);
        assert_eq!(plan(&[0; 65_536], 10 << 20), Cutting::Grid);
        assert_eq!(plan(&text(65_536), 10 << 20), Cutting::Fast);
        assert_eq!(plan(&text(100), 100), Cutting::Grid);
    }

    #[test]
    fn cuts_do_not_depend_on_how_the_bytes_arrive() {
        let data = text(3 << 20);
        for cutting in [Cutting::Grid, Cutting::Fast] {
            let whole = lengths(cutting, &data, data.len());
            assert_eq!(whole, lengths(cutting, &data, 40_000));
            assert_eq!(whole.iter().sum::<usize>(), data.len());
            assert!(whole.iter().all(|len| *len <= MAX_CHUNK));
        }
        assert_eq!(lengths(Cutting::Grid, &data[..GRID + 5], 1000), [GRID, 5]);
        assert_eq!(cut(Cutting::Grid, 4096, &data, false), Some(GRID - 4096));
    }

    #[test]
    fn an_insertion_moves_few_content_defined_cuts() {
        let data = text(4 << 20);
        let mut longer = b"one more line\n".to_vec();
        longer.extend_from_slice(&data);
        let ends = |data: &[u8], shift: usize| -> std::collections::BTreeSet<usize> {
            let mut at = 0;
            lengths(Cutting::Fast, data, 1 << 20)
                .iter()
                .map(|len| {
                    at += len;
                    at + shift
                })
                .collect()
        };
        let (before, after) = (ends(&data, 14), ends(&longer, 0));
        assert!(before.intersection(&after).count() * 10 >= before.len() * 8);
    }

    #[test]
    fn cut_points_are_those_of_the_pinned_crate() {
        let ends = lengths(Cutting::Fast, &noise(1 << 20, 77), 1 << 20);
        assert_eq!(ends, PINNED);
    }

    const PINNED: [usize; 13] =
        [35381, 177312, 68486, 53398, 32991, 76250, 40476, 123381, 202935, 45752, 95149, 69681, 27384];
}
