//! Range asymmetric numeral systems, [`LANES`] of them interleaved.
//!
//! The method is Duda's (arXiv 1311.2540), the interleaving Giesen's (arXiv 1402.3392). Element `i` belongs to lane
//! `i % LANES`. A state is below 2^32 and from [`LOWEST`] up; it moves 16 bits to or from one sequence of words that all
//! lanes share. The encoder walks from the last element to the first and fills the words from their end, so that the
//! decoder walks both forwards. The encoder begins with all states at [`LOWEST`]: there the decoder must arrive.

use super::order::{SYMBOLS, escape, is_escape, parts};
use super::table::{Frequencies, PRECISION, SLOTS};
use super::walk::PLACES;

/// Independent states: enough for two vectors of sixteen.
pub(super) const LANES: usize = 32;
/// Where states begin and end, and below which they take a word.
pub(super) const LOWEST: u32 = 1 << 16;
/// What a blob whose symbols are all certain leaves.
pub(super) const AT_REST: [u32; LANES] = [LOWEST; LANES];

/// How the encoder steps over one symbol of one group.
#[derive(Clone, Copy, Default)]
#[repr(C)]
pub(super) struct Step {
    /// 2^64 / slots, rounded up, so that the high half of a product is the quotient.
    inverse: u64,
    /// Added to the state besides: the start, and what the inverse of 1 lacks.
    bias: u32,
    /// How many slots the symbol has.
    slots: u16,
    /// The first of them.
    start: u16,
}

impl Step {
    fn new(start: u16, slots: u16) -> Self {
        let (inverse, bias) = match slots {
            0 => return Step::default(),
            // 2^64 does not fit: the quotient is one too small, which the bias makes up for.
            1 => (u64::MAX, u32::from(start) + SLOTS - 1),
            _ => (u64::MAX / u64::from(slots) + 1, u32::from(start)),
        };
        Step { inverse, bias, slots, start }
    }
}

/// The steps of one group; a symbol without a slot steps as its escape does.
pub(super) fn steps(frequencies: &Frequencies) -> [Step; SYMBOLS] {
    let mut start = 0;
    let own = frequencies.map(|slots| {
        let step = Step::new(start, slots);
        start += slots;
        step
    });
    std::array::from_fn(|symbol| {
        let of = |symbol: usize| own.get(symbol).copied().unwrap_or_default();
        if of(symbol).slots > 0 { of(symbol) } else { of(escape(symbol)) }
    })
}

/// Encodes `keys`, each a group x [`SYMBOLS`] + symbol, from the last to the first, and fills `words` from its end.
///
/// Gives the states and the place of the first word. `words` is as long as `keys`: each takes one at most.
pub(super) fn encode(keys: &[u16], steps: &[Step; PLACES], words: &mut [u16]) -> ([u32; LANES], usize) {
    let mut states = AT_REST;
    let (rows, rest) = keys.as_chunks();
    let first = words.len();
    let first = encode_row(rest, steps, &mut states, words, first);
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vl") {
        // SAFETY: the machine has them; avx512f comes with each.
        let first = unsafe { super::encode_avx512::encode_rows(rows, steps, &mut states, words, first) };
        return (states, first);
    }
    let first = encode_rows(rows, steps, &mut states, words, first);
    (states, first)
}

/// Encodes `rows` from the last to the first into the words below `first`; gives the place of the first one.
pub(super) fn encode_rows(
    rows: &[[u16; LANES]],
    steps: &[Step; PLACES],
    states: &mut [u32; LANES],
    words: &mut [u16],
    first: usize,
) -> usize {
    rows.iter().rev().fold(first, |first, row| encode_row(row, steps, states, words, first))
}

#[inline(always)]
#[allow(clippy::indexing_slicing, reason = "a remainder by the length of a table is a place in it")]
fn encode_row(
    row: &[u16],
    steps: &[Step; PLACES],
    states: &mut [u32; LANES],
    words: &mut [u16],
    mut first: usize,
) -> usize {
    for (state, key) in states.iter_mut().zip(row).rev() {
        let step = &steps[usize::from(*key) % PLACES];
        let full = (*state >> (32 - PRECISION)) >= u32::from(step.slots);
        // The word is written in any case and counted where it is one: no branch to mispredict.
        if let Some(word) = words.get_mut(first.wrapping_sub(1)) {
            *word = *state as u16;
        }
        first -= usize::from(full);
        let x = if full { *state >> 16 } else { *state };
        let quotient = ((u128::from(x) * u128::from(step.inverse)) >> 64) as u32;
        let others = SLOTS.wrapping_sub(u32::from(step.slots));
        *state = x.wrapping_add(step.bias).wrapping_add(quotient.wrapping_mul(others));
    }
    first
}

/// What a slot says to the decoder: 11 bits place within the symbol's slots, 11 bits their number less one, then sign,
/// two bits of `top`, five bits of `low`.
pub(super) type Slot = u32;

/// Appends the slots of one group to `slots`.
pub(super) fn unfold<const W: usize>(frequencies: &Frequencies, slots: &mut Vec<Slot>) {
    for (symbol, count) in frequencies.iter().enumerate().filter(|(_, count)| **count > 0) {
        let parts = parts::<W>(symbol);
        let what = parts.low << 3 | parts.top << 1 | parts.sign;
        let same = what << (2 * PRECISION) | (u32::from(*count) - 1) << PRECISION;
        slots.extend((0..u32::from(*count)).map(|place| same | place));
    }
}

/// For each symbol how many low bits are stored raw, and [`ESCAPED`] where it is an escape.
pub(super) fn raw_bits<const W: usize>(frequencies: &Frequencies) -> [u32; SYMBOLS] {
    let mut symbol = 0;
    frequencies.map(|slots| {
        let written = if slots > 0 { symbol } else { escape(symbol) };
        symbol += 1;
        parts::<W>(written).low | if is_escape(written) { ESCAPED } else { 0 }
    })
}

/// Marks the number of raw bits of an escape.
pub(super) const ESCAPED: u32 = 0x80;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_certain_symbol_leaves_the_states_and_takes_no_word() {
        let mut frequencies = [0; SYMBOLS];
        frequencies[5] = SLOTS as u16;
        let mut table = [Step::default(); PLACES];
        table[..SYMBOLS].copy_from_slice(&steps(&frequencies));
        let mut words = vec![0; 1000];
        assert_eq!(encode(&[5; 1000], &table, &mut words), (AT_REST, 1000));
    }

    #[cfg(target_arch = "x86_64")]
    proptest! {
        #[test]
        fn vectors_encode_as_the_reference_does(
            cuts in proptest::collection::btree_set(1_u16..2048, 0..100),
            draws in proptest::collection::vec(0_usize..1000, 0..2000),
        ) {
            if !(is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vl")) {
                return Ok(());
            }
            let ends: Vec<u16> = cuts.into_iter().chain([2048]).collect();
            let mut frequencies = [0; SYMBOLS];
            for (symbol, end) in ends.iter().enumerate() {
                frequencies[symbol] = end - if symbol == 0 { 0 } else { ends[symbol - 1] };
            }
            let mut table = [Step::default(); PLACES];
            table[..SYMBOLS].copy_from_slice(&steps(&frequencies));
            let keys: Vec<u16> = draws.iter().map(|draw| (draw % ends.len()) as u16).collect();
            let rows = keys.as_chunks().0;
            let (mut a, mut b) = ((AT_REST, vec![0; keys.len()]), (AT_REST, vec![0; keys.len()]));
            let first = encode_rows(rows, &table, &mut a.0, &mut a.1, keys.len());
            // SAFETY: the machine has it.
            let other = unsafe {
                crate::codec::delta::encode_avx512::encode_rows(rows, &table, &mut b.0, &mut b.1, keys.len())
            };
            prop_assert_eq!(first, other);
            prop_assert_eq!(a.0, b.0);
            prop_assert_eq!(&a.1[first..], &b.1[first..]);
        }
    }
}
