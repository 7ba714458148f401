//! Where content is cut into chunks.
//!
//! A cut depends on the bytes of the file and on its borders (where its tensors lie), never on how the bytes arrived nor
//! on where the disk has holes: the same file is cut the same way again, or it would not be found again. The cuts of a
//! tensor depend on its own length alone: in another place or in another format it is the same chunks. Constants and the
//! crate's version are part of the stored data.

use std::ops::Range;

use fastcdc::v2020::FastCDC;

/// The grid's step, in bytes.
pub const GRID: usize = 1 << 20;
/// A shorter last piece of a region joins the piece before it, and a shorter tensor is no region of its own, in bytes.
pub const LEAST: usize = 64 << 10;
/// No chunk is longer; a window of this many bytes is always enough to cut.
pub const MAX_CHUNK: usize = GRID + LEAST - 1;
/// Least, average and greatest length of a content-defined chunk, in bytes.
const FAST: (usize, usize, usize) = (16 << 10, 64 << 10, 256 << 10);
/// Files up to this length are one chunk.
const WHOLE: u64 = 64 << 10;
/// Zeros at the begin of a piece become a hole in steps of this many bytes, so that numbers stay whole.
const NUMBER: usize = 8;

/// How one file is cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    size: u64,
    way: Way,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Way {
    /// At every multiple of [`GRID`] from the begin of each region, the last piece as [`LEAST`] says: tensors and other
    /// data that is overwritten in place. Where the regions begin, in order, 0 first: each ends where the next one begins.
    Grid(Vec<u64>),
    /// Where the content says so (FastCDC, 16/64/256 KiB): text and streams in which bytes are inserted.
    Fast,
}

impl Plan {
    /// The plan of a file of `size` bytes whose tensors are `borders`; `None` when none of them is [`LEAST`] bytes long.
    ///
    /// Each such tensor is a region, and so is what lies between two of them. What is out of order, overlaps the one
    /// before or lies outside the file is no border.
    pub fn of_borders(borders: &[Range<u64>], size: u64) -> Option<Plan> {
        let mut starts = vec![0];
        let mut end = 0;
        for border in borders {
            let is_long = border.end.checked_sub(border.start).is_some_and(|len| len >= LEAST as u64);
            if !is_long || border.start < end || border.end > size {
                continue;
            }
            // Two that touch have one border.
            if starts.last() != Some(&border.start) {
                starts.push(border.start);
            }
            starts.push(border.end);
            end = border.end;
        }
        starts.pop_if(|start| *start == size && size > 0);
        (end > 0).then_some(Plan { size, way: Way::Grid(starts) })
    }

    /// Chooses the plan of a file of `size` bytes without borders from a `sample` of it.
    ///
    /// The sample is pieces whose offsets and lengths are multiples of 8, one after the other: float data shows as lanes
    /// (position mod 8) of different entropy, compressed or mantissa-heavy data as high entropy; both take the grid, as
    /// one region.
    pub fn of_sample(sample: &[u8], size: u64) -> Plan {
        let grid = Plan { size, way: Way::Grid(vec![0]) };
        if size <= WHOLE || sample.is_empty() {
            return grid;
        }
        let total = entropy(sample.iter());
        let lanes = (0..8).map(|lane| entropy(sample.iter().skip(lane).step_by(8)));
        let (low, high) = lanes.fold((8.0_f64, 0.0_f64), |(low, high), lane| (low.min(lane), high.max(lane)));
        if !(0.1..7.0).contains(&total) || high - low > 1.0 { grid } else { Plan { size, way: Way::Fast } }
    }

    /// How many bytes from the cut at `at` on [`Plan::cut`] must see: at most [`MAX_CHUNK`], and 0 only at the end.
    pub fn window(&self, at: u64) -> usize {
        let left = self.size.saturating_sub(at);
        match &self.way {
            Way::Grid(starts) => {
                let region = region(starts, at, self.size);
                let next = at.saturating_add(GRID as u64 - at.saturating_sub(region.start) % GRID as u64);
                // The piece that begins at `next` would be too short, or there is none.
                let joined = next.saturating_add(LEAST as u64) > region.end;
                let end = if joined { region.end } else { next };
                usize::try_from(end.saturating_sub(at)).unwrap_or(GRID)
            }
            Way::Fast => usize::try_from(left).map_or(FAST.2, |left| left.min(FAST.2)),
        }
    }

    /// Length of the chunk that begins at the cut `at` with the bytes of `window`, which holds [`Plan::window`] bytes or
    /// more; the same for any more.
    pub fn cut(&self, at: u64, window: &[u8]) -> usize {
        let considered = window.get(..self.window(at)).unwrap_or(window);
        match self.way {
            Way::Grid(_) => considered.len(),
            Way::Fast => fast(considered),
        }
    }

    /// The bytes from the cut `at` on that are whole chunks, when all bytes from `at` to `end` are zero: a cut too.
    /// Costs nothing, however many they are.
    pub fn zeros(&self, at: u64, end: u64) -> u64 {
        let end = end.min(self.size);
        let cut = match &self.way {
            _ if end == self.size => end,
            Way::Grid(starts) => {
                let region = region(starts, end, self.size);
                let behind = (end - region.start) % GRID as u64;
                let cut = end - behind;
                let is_cut = cut == region.start || cut.saturating_add(LEAST as u64) <= region.end;
                if is_cut { cut } else { cut.saturating_sub(GRID as u64) }
            }
            // No border shows in zeros: each chunk has the greatest length.
            Way::Fast => at + end.saturating_sub(at) / FAST.2 as u64 * FAST.2 as u64,
        };
        cut.saturating_sub(at)
    }
}

/// The region of a grid that holds byte `at`.
fn region(starts: &[u64], at: u64, size: u64) -> Range<u64> {
    let next = starts.partition_point(|start| *start <= at);
    let start = next.checked_sub(1).and_then(|place| starts.get(place)).copied().unwrap_or(0);
    start..starts.get(next).copied().unwrap_or(size)
}

/// Length of the first content-defined chunk of `window`, which ends with the content or is of the greatest length.
fn fast(window: &[u8]) -> usize {
    let (min, average, max) = FAST;
    FastCDC::new(window, min, average, max).cut(0, window.len()).1
}

/// Which part of a piece is stored as a chunk; before and behind it are zeros that become holes. Empty when all are zero.
///
/// Zeros at an end count from [`LEAST`] bytes on: a sparse file stays one, and a tensor's chunks do not come and go with
/// single zeros.
pub fn data_of(piece: &[u8]) -> Range<usize> {
    let front = piece.iter().take_while(|byte| **byte == 0).count();
    if front == piece.len() {
        return 0..0;
    }
    let back = piece.iter().rev().take_while(|byte| **byte == 0).count();
    let start = if front >= LEAST { front / NUMBER * NUMBER } else { 0 };
    let end = if back >= LEAST { piece.len() - back } else { piece.len() };
    start..end
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

    /// Chunk lengths of `data` by `plan`; every chunk is cut alike whether more than its window is seen or not.
    fn lengths(plan: &Plan, data: &[u8]) -> Vec<usize> {
        let (mut at, mut found) = (0, Vec::new());
        while at < data.len() {
            let window = plan.window(at as u64);
            assert!(window > 0 && window <= MAX_CHUNK);
            let len = plan.cut(at as u64, &data[at..at + window]);
            assert_eq!(len, plan.cut(at as u64, &data[at..]));
            found.push(len);
            at += len;
        }
        assert_eq!(found.iter().sum::<usize>(), data.len());
        found
    }

    fn grid(size: usize) -> Plan {
        Plan { size: size as u64, way: Way::Grid(vec![0]) }
    }

    fn by_content(data: &[u8]) -> Plan {
        Plan { size: data.len() as u64, way: Way::Fast }
    }

    #[test]
    fn floats_and_compressed_data_take_the_grid_and_text_does_not() {
        let way = |sample: &[u8], size| Plan::of_sample(sample, size).way;
        assert_eq!(way(&floats(65_536), 10 << 20), Way::Grid(vec![0]));
        assert_eq!(way(&noise(65_536, 5), 10 << 20), Way::Grid(vec![0]));
        assert_eq!(way(&[0; 65_536], 10 << 20), Way::Grid(vec![0]));
        assert_eq!(way(&text(65_536), 10 << 20), Way::Fast);
        assert_eq!(way(&text(100), 100), Way::Grid(vec![0]));
    }

    #[test]
    fn a_short_last_piece_joins_the_one_before() {
        let lengths = |len: usize| lengths(&grid(len), &vec![1; len]);
        assert_eq!(lengths(5), [5]);
        assert_eq!(lengths(GRID + LEAST - 1), [GRID + LEAST - 1]);
        assert_eq!(lengths(GRID + LEAST), [GRID, LEAST]);
        assert_eq!(lengths(3 * GRID), [GRID; 3]);
        assert_eq!(lengths(2 * GRID + 5), [GRID, GRID + 5]);
    }

    #[test]
    fn a_tensor_is_cut_alike_wherever_it_lies() {
        let len = 2 * GRID as u64 + 100_000;
        for (before, behind) in [(0, 0), (77, 0), (1 << 20, 500), (LEAST as u64 + 1, 3 << 20)] {
            let size = before + len + behind;
            let plan = Plan::of_borders(std::slice::from_ref(&(before..before + len)), size).unwrap();
            let mut at = before;
            let cuts: Vec<usize> = std::iter::from_fn(|| {
                let len = plan.window(at);
                at += len as u64;
                (at <= before + 2 * GRID as u64 + 100_000).then_some(len)
            })
            .take(3)
            .collect();
            assert_eq!(cuts, [GRID, GRID, 100_000], "{before} {behind}");
        }
    }

    #[test]
    fn borders_that_contradict_each_other_or_the_file_are_none() {
        let plan = |borders: &[(u64, u64)], size| {
            let borders: Vec<_> = borders.iter().map(|(start, end)| *start..*end).collect();
            Plan::of_borders(&borders, size).map(|plan| plan.way)
        };
        assert_eq!(plan(&[], 10 << 20), None);
        assert_eq!(plan(&[(0, 1000), (5000, 70_000)], 10 << 20), None);
        assert_eq!(plan(&[(0, 100_000), (100_000, 200_000)], 200_000), Some(Way::Grid(vec![0, 100_000])));
        assert_eq!(
            plan(&[(10, 100_000), (99_999, 300_000), (300_000, 290_000), (u64::MAX - 1, u64::MAX)], 400_000),
            Some(Way::Grid(vec![0, 10, 100_000]))
        );
        assert_eq!(plan(&[(0, 100_000)], 99_999), None);
    }

    #[test]
    fn an_insertion_moves_few_content_defined_cuts() {
        let data = text(4 << 20);
        let mut longer = b"one more line\n".to_vec();
        longer.extend_from_slice(&data);
        let ends = |data: &[u8], shift: usize| -> std::collections::BTreeSet<usize> {
            let mut at = 0;
            lengths(&by_content(data), data)
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
        let data = noise(1 << 20, 77);
        assert_eq!(lengths(&by_content(&data), &data), PINNED);
    }

    const PINNED: [usize; 13] =
        [35381, 177312, 68486, 53398, 32991, 76250, 40476, 123381, 202935, 45752, 95149, 69681, 27384];

    #[test]
    fn zeros_are_passed_over_as_they_would_be_cut() {
        let size = 5 * GRID + 777;
        let borders = [1000..70_000, 100_000..100_000 + 2 * GRID as u64 + 5, 4 << 20..(4 << 20) + 66_000];
        let zeros = vec![0; size];
        for plan in [grid(size), by_content(&zeros), Plan::of_borders(&borders, size as u64).unwrap()] {
            let cuts: Vec<u64> = lengths(&plan, &zeros)
                .iter()
                .scan(0, |at, len| {
                    *at += *len as u64;
                    Some(*at)
                })
                .collect();
            for at in [0, cuts[0], cuts[2]] {
                for end in
                    (at..size as u64 + 5).step_by(9973).chain(cuts.iter().flat_map(|c| [c - 1, *c, c + 1]))
                {
                    let last = cuts.iter().rev().find(|cut| **cut <= end && **cut >= at);
                    // In content-defined cutting the last chunk is told only by where the data end.
                    let skipped = at + plan.zeros(at, end);
                    assert_eq!(skipped, last.copied().unwrap_or(at), "{at} {end}");
                }
            }
        }
    }

    #[test]
    fn zeros_at_the_ends_of_a_piece_count_when_there_are_many() {
        let piece = |front: usize, data: usize, back: usize| {
            data_of(&[vec![0; front], vec![1; data], vec![0; back]].concat())
        };
        assert_eq!(piece(LEAST - 1, 10, LEAST - 1), 0..2 * LEAST + 8);
        assert_eq!(piece(LEAST + 5, 10, LEAST - 16), LEAST..2 * LEAST - 1);
        assert_eq!(piece(LEAST + 15, 10, LEAST), LEAST + 8..LEAST + 25);
        assert_eq!(piece(0, 5000, 500_000), 0..5000);
        assert_eq!((piece(100, 0, 0), piece(0, 0, 0), piece(0, 7, 0)), (0..0, 0..0, 0..7));
    }
}
