//! Which exponents of the base share a table of frequencies.
//!
//! How far a number moves depends on how large it is, so each exponent has frequencies of its own; but a table costs bytes
//! and cache. Neighbours are merged, the pair that loses least first, as long as there are too many groups or a table
//! costs more than it saves. Groups are runs of exponents: their bounds describe them.

use super::order::SYMBOLS;

/// The most groups a blob has.
pub(super) const MOST: usize = 12;
/// Contexts that are told apart: the values of the exponent byte.
pub(super) const CONTEXTS: usize = 256;
/// What one symbol's frequency costs in the header, in bits.
const FREQUENCY_BITS: f32 = 7.0;

/// How often each symbol came.
pub(super) type Counts = [u32; SYMBOLS];

/// A run of contexts with its counts.
#[derive(Clone)]
pub(super) struct Group {
    /// The last context that belongs to it; it begins behind the group before.
    pub(super) last: u8,
    /// How often each symbol came in it.
    pub(super) counts: Counts,
    /// Bits that its elements and its table take.
    pub(super) bits: f32,
}

impl Group {
    fn new(last: u8, counts: Counts) -> Self {
        Group { last, bits: cost(&counts), counts }
    }

    fn with(&self, next: &Group) -> Group {
        let mut counts = self.counts;
        for (count, more) in counts.iter_mut().zip(next.counts) {
            *count += more;
        }
        Group::new(next.last, counts)
    }
}

/// The groups for these counts, of which `histogram` has one a context. None where nothing was counted.
pub(super) fn merge(histogram: &[Counts]) -> Vec<Group> {
    let used = (0_u8..=255).zip(histogram).filter(|(_, counts)| counts.iter().any(|count| *count > 0));
    let mut groups: Vec<Group> = used.map(|(last, counts)| Group::new(last, *counts)).collect();
    let join = |pair: &[Group]| match pair {
        [a, b] => Some(a.with(b)),
        _ => None,
    };
    // Number `n` is group `n` merged with the one behind it.
    let mut merged: Vec<Group> = groups.windows(2).filter_map(join).collect();
    while let Some((at, lost)) = cheapest(&groups, &merged) {
        if groups.len() <= MOST && lost > 0.0 {
            break;
        }
        groups.remove(at + 1);
        let group = merged.remove(at);
        for neighbour in [at.checked_sub(1), Some(at)].into_iter().flatten() {
            let other = if neighbour == at { groups.get(at + 1) } else { groups.get(neighbour) };
            let pair =
                other.map(|other| if neighbour == at { group.with(other) } else { other.with(&group) });
            if let (Some(to), Some(pair)) = (merged.get_mut(neighbour), pair) {
                *to = pair;
            }
        }
        if let Some(to) = groups.get_mut(at) {
            *to = group;
        }
    }
    if let Some(last) = groups.last_mut() {
        last.last = u8::MAX;
    }
    groups
}

/// The pair whose merging costs least, by its first, and how many bits that costs.
fn cheapest(groups: &[Group], merged: &[Group]) -> Option<(usize, f32)> {
    let costs =
        merged.iter().zip(groups).zip(groups.iter().skip(1)).map(|((ab, a), b)| ab.bits - a.bits - b.bits);
    costs.enumerate().min_by(|a, b| a.1.total_cmp(&b.1))
}

/// Bits that elements with these counts and their table take: order-0 entropy, and so much for each symbol used.
fn cost(counts: &Counts) -> f32 {
    let total: u32 = counts.iter().sum();
    let bits: f32 = counts.iter().map(|count| times_log2(*count)).sum();
    let symbols = counts.iter().filter(|count| **count > 0).count();
    times_log2(total) - bits + FREQUENCY_BITS * symbols as f32
}

/// About `n` x log2(`n`): the exponent of `n` as a float is the integer part, a polynomial of the mantissa the rest.
#[inline(always)]
fn times_log2(n: u32) -> f32 {
    let value = n as f32;
    let bits = value.to_bits();
    let exponent = (bits >> 23) as i32 - 127;
    let m = f32::from_bits((bits & 0x7F_FFFF) | 0x3F80_0000) - 1.0;
    let log = m * (1.442_38 + m * (-0.713_43 + m * (0.428_38 + m * (-0.208_47 + m * 0.051_14))));
    value * (exponent as f32 + log)
}

/// For each context the number of its group.
pub(super) fn numbers(lasts: impl Iterator<Item = u8>) -> [u8; CONTEXTS] {
    let mut numbers = [0; CONTEXTS];
    let mut rest = numbers.as_mut_slice();
    let mut begin = 0;
    for (number, last) in (0_u8..).zip(lasts) {
        let len = (usize::from(last) + 1).saturating_sub(begin);
        let (these, others) = std::mem::take(&mut rest).split_at_mut_checked(len).unwrap_or_default();
        these.fill(number);
        (rest, begin) = (others, begin + len);
    }
    numbers
}
