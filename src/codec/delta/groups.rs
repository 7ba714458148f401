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
        counts.iter_mut().zip(next.counts).for_each(|(count, more)| *count += more);
        Group::new(next.last, counts)
    }

    /// Bits that are lost when this group and the `next` share a table; negative where that saves.
    fn loss(&self, next: &Group) -> f32 {
        self.with(next).bits - self.bits - next.bits
    }
}

/// The groups for these counts, of which `histogram` has one a context. None where nothing was counted.
pub(super) fn merge(histogram: &[Counts]) -> Vec<Group> {
    let used = (0_u8..=255).zip(histogram).filter(|(_, counts)| counts.iter().any(|count| *count > 0));
    let mut groups: Vec<Group> = used.map(|(last, counts)| Group::new(last, *counts)).collect();
    // The groups that are left, and what each loses with the one behind it: only these short lists are closed up.
    let mut left: Vec<usize> = (0..groups.len()).collect();
    let mut losses: Vec<f32> = left.windows(2).map(|pair| loss(&groups, pair)).collect();
    while let Some((at, lost)) = losses.iter().copied().enumerate().min_by(|a, b| a.1.total_cmp(&b.1)) {
        if left.len() <= MOST && lost > 0.0 {
            break;
        }
        let pair =
            left.get(at).and_then(|a| Some((*a, groups.get(*a)?.with(groups.get(*left.get(at + 1)?)?))));
        if let Some((a, merged)) = pair
            && let Some(group) = groups.get_mut(a)
        {
            *group = merged;
        }
        left.remove(at + 1);
        losses.remove(at);
        for pair in [at.checked_sub(1), Some(at)].into_iter().flatten() {
            if let (Some(loss_of), Some(two)) = (losses.get_mut(pair), left.get(pair..pair + 2)) {
                *loss_of = loss(&groups, two);
            }
        }
    }
    let mut groups: Vec<Group> = left.iter().filter_map(|n| groups.get(*n).cloned()).collect();
    if let Some(last) = groups.last_mut() {
        last.last = u8::MAX;
    }
    groups
}

fn loss(groups: &[Group], pair: &[usize]) -> f32 {
    match *pair {
        [a, b] => groups.get(a).zip(groups.get(b)).map_or(0.0, |(a, b)| a.loss(b)),
        _ => 0.0,
    }
}

/// Bits that elements with these counts and their table take: their entropy, and so much for each symbol used.
fn cost(counts: &Counts) -> f32 {
    let used = counts.iter().filter(|count| **count > 0).count();
    entropy(counts) + FREQUENCY_BITS * used as f32
}

/// The order-0 entropy of all elements with these counts, in bits.
pub(super) fn entropy(counts: &Counts) -> f32 {
    // Sums of their own for eight neighbours: so these are vectors.
    let (mut total, mut bits) = ([0; 8], [0.0; 8]);
    for eight in counts.as_chunks::<8>().0 {
        if *eight == [0; 8] {
            continue;
        }
        for (count, (total, bits)) in eight.iter().zip(total.iter_mut().zip(&mut bits)) {
            *total += *count;
            *bits += times_log2(*count);
        }
    }
    times_log2(total.iter().sum()) - bits.iter().sum::<f32>()
}

/// About `n` x log2(`n`): the exponent of `n` as a float is the integer part, a polynomial of the mantissa the rest.
#[inline(always)]
fn times_log2(n: u32) -> f32 {
    let value = n as i32 as f32;
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
