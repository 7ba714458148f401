//! Range asymmetric numeral systems, [`LANES`] of them interleaved.
//!
//! The method is Duda's (arXiv 1311.2540), the interleaving Giesen's (arXiv 1402.3392). Element `i` belongs to lane
//! `i % LANES`. A state is below 2^32 and from [`LOWEST`] up; it moves 16 bits to or from one sequence of words that all
//! lanes share. The encoder walks from the last element to the first and fills the words from their end, so that the
//! decoder walks both forwards. The encoder begins with all states at [`LOWEST`]: there the decoder must arrive.

use super::order::{Parts, SYMBOLS, escape, is_escape, parts};
use super::table::{Frequencies, PRECISION, SLOTS};

/// Independent states: enough for two vectors of sixteen.
pub(super) const LANES: usize = 32;
/// Where states begin and end, and below which they take a word.
pub(super) const LOWEST: u32 = 1 << 16;
/// What a blob whose symbols are all certain leaves.
pub(super) const AT_REST: [u32; LANES] = [LOWEST; LANES];

/// What the encoder knows of a symbol of a group: how many slots it has (12 bits, from the low end), the first of them (11
/// bits), how many low bits are stored raw (5 bits), and whether it is written as an escape.
#[derive(Clone, Copy, Debug, Default)]
#[repr(transparent)]
pub(super) struct Code(u32);

impl Code {
    /// Where the first slot's number begins.
    pub(super) const START: u32 = PRECISION + 1;
    const LOW: u32 = Self::START + PRECISION;
    const ESCAPED: u32 = Self::LOW + 5;

    fn new(parts: Parts, slots: u16, start: u16, escaped: bool) -> Self {
        let (slots, start) = (u32::from(slots), u32::from(start));
        Code(slots | start << Self::START | parts.low << Self::LOW | u32::from(escaped) << Self::ESCAPED)
    }

    #[inline(always)]
    fn slots(self) -> u32 {
        self.0 % (2 * SLOTS)
    }

    #[inline(always)]
    fn start(self) -> u32 {
        (self.0 >> Self::START) % SLOTS
    }

    /// How many low bits are stored raw.
    #[inline(always)]
    pub(super) fn low(self) -> u32 {
        (self.0 >> Self::LOW) % 32
    }

    /// Whether these are the low bits of the difference rather than of its magnitude.
    #[inline(always)]
    pub(super) fn escaped(self) -> bool {
        self.0 >> Self::ESCAPED != 0
    }
}

/// The codes of one group; a symbol without a slot has that of its escape.
pub(super) fn codes<const W: usize>(frequencies: &Frequencies) -> [Code; SYMBOLS] {
    let (mut start, mut symbol) = (0, 0);
    let own = frequencies.map(|slots| {
        let code = Code::new(parts::<W>(symbol), slots, start, is_escape(symbol));
        (start, symbol) = (start + slots, symbol + 1);
        code
    });
    std::array::from_fn(|symbol| {
        let of = |symbol: usize| own.get(symbol).copied().unwrap_or_default();
        if of(symbol).slots() > 0 { of(symbol) } else { of(escape(symbol)) }
    })
}

/// For each number of slots 2^64 divided by it, rounded up, so that the high half of a product is the quotient.
static INVERSES: [u64; 2 * SLOTS as usize] = inverses();

const fn inverses() -> [u64; 2 * SLOTS as usize] {
    let mut inverses = [u64::MAX; 2 * SLOTS as usize];
    // 2^64 does not fit: for one slot the quotient is one too small.
    let mut slots = 2;
    #[allow(clippy::indexing_slicing, reason = "at compile time: an index out of range would not compile")]
    while slots < inverses.len() {
        inverses[slots] = u64::MAX / slots as u64 + 1;
        slots += 1;
    }
    inverses
}

/// Encodes symbols from the last to the first, and fills `words` from its end.
///
/// Gives the states and the place of the first word. `words` is as long as `codes`: each takes one at most.
pub(super) fn encode(codes: &[Code], words: &mut [u16]) -> ([u32; LANES], usize) {
    let mut states = AT_REST;
    let (rows, rest) = codes.as_chunks();
    let first = words.len();
    let first = encode_row(rest, &mut states, words, first);
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vl") {
        // SAFETY: the machine has them; avx512f comes with each.
        let first = unsafe { super::encode_avx512::encode_rows(rows, &mut states, words, first) };
        return (states, first);
    }
    let first = encode_rows(rows, &mut states, words, first);
    (states, first)
}

/// Encodes `rows` from the last to the first into the words below `first`; gives the place of the first one.
pub(super) fn encode_rows(
    rows: &[[Code; LANES]],
    states: &mut [u32; LANES],
    words: &mut [u16],
    first: usize,
) -> usize {
    rows.iter().rev().fold(first, |first, row| encode_row(row, states, words, first))
}

#[inline(always)]
#[allow(
    clippy::indexing_slicing,
    reason = "a number of slots is below the length of the table, whatever the code"
)]
fn encode_row(row: &[Code], states: &mut [u32; LANES], words: &mut [u16], mut first: usize) -> usize {
    for (state, code) in states.iter_mut().zip(row).rev() {
        let slots = code.slots();
        let full = (*state >> (32 - PRECISION)) >= slots;
        // The word is written in any case and counted where it is one: no branch to mispredict.
        if let Some(word) = words.get_mut(first.wrapping_sub(1)) {
            *word = *state as u16;
        }
        first -= usize::from(full);
        let x = if full { *state >> 16 } else { *state };
        let quotient = ((u128::from(x) * u128::from(INVERSES[slots as usize])) >> 64) as u32;
        let quotient = quotient + u32::from(slots == 1);
        let others = SLOTS.wrapping_sub(slots);
        *state = x.wrapping_add(code.start()).wrapping_add(quotient.wrapping_mul(others));
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_certain_symbol_leaves_the_states_and_takes_no_word() {
        let mut frequencies = [0; SYMBOLS];
        frequencies[5] = SLOTS as u16;
        let mut words = vec![0; 1000];
        assert_eq!(encode(&[codes::<4>(&frequencies)[5]; 1000], &mut words), (AT_REST, 1000));
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
            let codes = codes::<4>(&frequencies);
            let drawn: Vec<Code> = draws.iter().map(|draw| codes[draw % ends.len()]).collect();
            let rows = drawn.as_chunks().0;
            let (mut a, mut b) = ((AT_REST, vec![0; drawn.len()]), (AT_REST, vec![0; drawn.len()]));
            let first = encode_rows(rows, &mut a.0, &mut a.1, drawn.len());
            // SAFETY: the machine has it.
            let other = unsafe {
                crate::codec::delta::encode_avx512::encode_rows(rows, &mut b.0, &mut b.1, drawn.len())
            };
            prop_assert_eq!(first, other);
            prop_assert_eq!(a.0, b.0);
            prop_assert_eq!(&a.1[first..], &b.1[first..]);
        }
    }
}
