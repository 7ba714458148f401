//! Reads the stored form: the tables once, then each element from its base, its symbol and its low bits.
//!
//! Total: what is read is bounded by the stored bytes and what is written by `out`; behind the end of the stored bytes are
//! zeros. Whether everything was as it should be is asked at the end, when all words and bits must have been taken and
//! all states be where the encoder began.

use std::cell::RefCell;

use super::bits::BitReader;
use super::groups::{CONTEXTS, MOST, numbers};
use super::order::{Parts, context, join, load, ordered, store, wrapped};
use super::rans::{AT_REST, LANES, LOWEST, Slot, unfold};
use super::table::{self, PRECISION, SLOTS, is_certain};
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};
use crate::codec::encoding::Malformed;

/// The tables of a blob as the decoder wants them.
pub(super) struct Tables {
    /// For each context the number of its group, below [`MOST`].
    pub(super) groups: [u8; CONTEXTS],
    /// For each context where its group's slots begin.
    pub(super) begins: [u32; CONTEXTS],
    /// [`SLOTS`] for each group.
    pub(super) slots: Vec<Slot>,
    /// Whether each group has but one symbol: then there are no words and no states.
    pub(super) certain: bool,
}

/// Where the decoder is.
pub(super) struct Cursor<'a> {
    /// The whole stored form.
    pub(super) stored: &'a [u8],
    /// The lanes.
    pub(super) states: [u32; LANES],
    /// Offset in `stored` of the next word, in bytes.
    pub(super) word: usize,
    /// Offset in `stored` of the next low bit, in bits.
    pub(super) bit: usize,
}

/// How far a row's vectors reach: its words take at most 64 bytes, its low bits are in two vectors of 64 bytes, of which
/// the second begins at most 62 behind the first.
const REACH: usize = LANES * 4;

thread_local! {
    static TABLES: RefCell<Tables> = const { RefCell::new(Tables::NONE) };
}

/// Fills `out` from `stored` and `base`, whole elements of `W` bytes, as many in both.
pub(super) fn read<const W: usize>(stored: &[u8], base: &[u8], out: &mut [u8]) -> Result<(), Malformed> {
    read_by::<W>(elements::<W>, stored, base, out)
}

/// Decodes all elements from a cursor at the first.
type Elements = fn(&Tables, &mut Cursor<'_>, &[u8], &mut [u8]);

fn read_by<const W: usize>(
    by: Elements,
    stored: &[u8],
    base: &[u8],
    out: &mut [u8],
) -> Result<(), Malformed> {
    TABLES.with_borrow_mut(|tables| {
        let words = tables.read::<W>(stored)?;
        let number = stored.get(words..).and_then(|rest| rest.first_chunk());
        let number = u32::from_le_bytes(*number.ok_or(Malformed("a delta without its number of words"))?);
        let words = words + 4;
        let bits = (number as usize).checked_mul(2).and_then(|len| len.checked_add(words));
        let end = stored.len().saturating_sub(if tables.certain { 0 } else { LANES * 4 });
        let bits = bits.filter(|bits| *bits <= end).ok_or(Malformed("a delta shorter than its words"))?;
        let states = if tables.certain { AT_REST } else { states(stored.get(end..).unwrap_or_default()) };
        // Where no states follow, zeros do: vectors can be loaded up to the end.
        let padded = if tables.certain { [stored, &[0; REACH]].concat() } else { Vec::new() };
        let stored = if tables.certain { &padded } else { stored };
        let mut cursor = Cursor { stored, states, word: words, bit: bits * 8 };
        by(tables, &mut cursor, base, out);
        cursor.check(bits, end)
    })
}

fn states(bytes: &[u8]) -> [u32; LANES] {
    let mut states = [0; LANES];
    for (state, four) in states.iter_mut().zip(bytes.as_chunks().0) {
        *state = u32::from_le_bytes(*four);
    }
    states
}

impl Tables {
    const NONE: Tables =
        Tables { groups: [0; CONTEXTS], begins: [0; CONTEXTS], slots: Vec::new(), certain: true };

    /// Reads the tables from the head of `stored`; gives their length in bytes.
    fn read<const W: usize>(&mut self, stored: &[u8]) -> Result<usize, Malformed> {
        self.slots.clear();
        self.certain = true;
        let groups = usize::from(*stored.first().ok_or(Malformed("an empty delta"))?);
        if groups == 0 || groups > MOST {
            return Err(Malformed("a delta with no groups or too many"));
        }
        let lasts = stored.get(1..groups).ok_or(Malformed("a delta shorter than its groups"))?;
        if !lasts.is_sorted_by(|a, b| a < b) || lasts.last() == Some(&u8::MAX) {
            return Err(Malformed("groups out of order"));
        }
        self.groups = numbers(lasts.iter().copied().chain([u8::MAX]));
        self.begins = self.groups.map(|number| u32::from(number) * SLOTS);
        let mut bits = BitReader::new(stored, groups * 8);
        for _ in 0..groups {
            let frequencies = table::read::<W>(&mut bits)?;
            self.certain &= is_certain(&frequencies);
            unfold::<W>(&frequencies, &mut self.slots);
        }
        bits.byte_aligned().ok_or(Malformed("a delta shorter than its tables"))
    }
}

impl Cursor<'_> {
    /// Whether [`REACH`] bytes can be loaded where a row's words and low bits begin. With the states behind them this
    /// holds for all rows of a sound delta.
    #[inline(always)]
    pub(super) fn reaches(&self) -> bool {
        self.word + REACH <= self.stored.len() && self.bit / 8 + REACH <= self.stored.len()
    }

    fn check(&self, bits: usize, end: usize) -> Result<(), Malformed> {
        let mut rest = BitReader::new(self.stored, self.bit);
        if self.word != bits || rest.byte_aligned() != Some(end) || self.states != AT_REST {
            return Err(Malformed("a delta that does not end where it should"));
        }
        Ok(())
    }
}

/// Whole rows with the widest vectors that this machine has, the rest one by one.
fn elements<const W: usize>(tables: &Tables, cursor: &mut Cursor<'_>, base: &[u8], out: &mut [u8]) {
    let done = rows::<W>(tables, cursor, base, out);
    rest::<W>(done, tables, cursor, base, out);
}

fn rest<const W: usize>(done: usize, tables: &Tables, cursor: &mut Cursor<'_>, base: &[u8], out: &mut [u8]) {
    let (base, out) = (base.get(done * W..), out.get_mut(done * W..));
    scalar::<W>(tables, cursor, base.unwrap_or_default(), out.unwrap_or_default());
}

#[cfg(target_arch = "x86_64")]
fn rows<const W: usize>(tables: &Tables, cursor: &mut Cursor<'_>, base: &[u8], out: &mut [u8]) -> usize {
    if is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512vbmi") {
        // SAFETY: the machine has them; avx512f comes with each.
        unsafe { avx512::rows::<W>(tables, cursor, base, out) }
    } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt") {
        // SAFETY: the machine has it.
        unsafe { avx2::rows::<W>(tables, cursor, base, out) }
    } else {
        0
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn rows<const W: usize>(_: &Tables, _: &mut Cursor<'_>, _: &[u8], _: &mut [u8]) -> usize {
    0
}

/// The reference that the other paths must equal; begins at lane 0.
pub(super) fn scalar<const W: usize>(tables: &Tables, cursor: &mut Cursor<'_>, base: &[u8], out: &mut [u8]) {
    let mut bits = BitReader::new(cursor.stored, cursor.bit);
    for (base, out) in base.chunks(W * LANES).zip(out.chunks_mut(W * LANES)) {
        for ((state, base), out) in
            cursor.states.iter_mut().zip(base.as_chunks::<W>().0).zip(out.as_chunks_mut::<W>().0)
        {
            let base = load::<W>(base);
            let begin = tables.begins.get(context::<W>(base) as usize).copied().unwrap_or_default();
            let slot = tables.slots.get((begin + *state % SLOTS) as usize).copied().unwrap_or_default();
            let count = (slot >> PRECISION) % SLOTS + 1;
            *state = (*state >> PRECISION).wrapping_mul(count).wrapping_add(slot % SLOTS);
            if *state < LOWEST {
                let word = cursor.stored.get(cursor.word..).and_then(|rest| rest.first_chunk()).copied();
                *state = *state << 16 | u32::from(u16::from_le_bytes(word.unwrap_or_default()));
                cursor.word += 2;
            }
            let what = slot >> (2 * PRECISION);
            let parts = Parts { low: what >> 3, top: what >> 1 & 3, sign: what & 1 };
            let place = ordered::<W>(base).wrapping_add(join(parts, bits.take(parts.low)));
            store::<W>(ordered::<W>(wrapped::<W>(place)), out);
        }
    }
    cursor.bit = bits.position();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::delta::write;
    use proptest::prelude::*;

    /// The ways that this machine has, the reference first.
    fn ways<const W: usize>() -> Vec<Elements> {
        let mut ways: Vec<Elements> = vec![scalar::<W>, elements::<W>];
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt") {
            ways.push(|tables, cursor, base, out| {
                // SAFETY: the machine has it.
                let done = unsafe { avx2::rows::<W>(tables, cursor, base, out) };
                rest::<W>(done, tables, cursor, base, out);
            });
        }
        ways
    }

    /// All ways give the same bytes and the same verdict; gives those of the reference.
    fn alike<const W: usize>(stored: &[u8], base: &[u8]) -> (Result<(), Malformed>, Vec<u8>) {
        let results = ways::<W>().into_iter().map(|way| {
            let mut out = vec![0xA5; base.len()];
            (read_by::<W>(way, stored, base, &mut out), out)
        });
        let results: Vec<_> = results.collect();
        assert!(results.iter().all(|result| *result == results[0]));
        results.into_iter().next().unwrap()
    }

    fn check<const W: usize>(elements: &[(u32, u32, u32)], damage: &[(proptest::sample::Index, u8)]) {
        let bytes = |of: fn(&(u32, u32, u32)) -> u32| -> Vec<u8> {
            elements.iter().flat_map(|element| of(element).to_le_bytes().into_iter().take(W)).collect()
        };
        let raw = bytes(|(bits, step, shift)| bits.wrapping_add(step.checked_shr(*shift).unwrap_or(0)));
        let base = bytes(|(bits, _, _)| *bits);
        let mut stored = Vec::new();
        write::append::<W>(&raw, &base, &mut stored);
        assert!(alike::<W>(&stored, &base) == (Ok(()), raw.clone()));
        for (at, with) in damage {
            let at = at.index(stored.len());
            stored[at] ^= with;
            let (verdict, out) = alike::<W>(&stored, &base);
            assert!(verdict.is_err() || out.len() == raw.len());
        }
    }

    proptest! {
        #[test]
        fn vectors_give_what_the_reference_gives(
            elements in proptest::collection::vec((prop_oneof![any::<u32>(), 0x3B80_3B80_u32..0x3C00_3C00], any::<u32>(), 0_u32..33), 1..600),
            damage in proptest::collection::vec((any::<proptest::sample::Index>(), 1_u8..), 0..8),
        ) {
            check::<2>(&elements, &damage);
            check::<4>(&elements, &damage);
        }
    }

    #[test]
    fn rows_of_the_longest_low_bits_are_read_by_vectors() {
        // Every second one differs by the lowest number, which always escapes, with all the low bits there can be.
        let far = |n: u32| {
            (n, if n.is_multiple_of(2) { (!n).wrapping_sub(n) } else { n.wrapping_mul(0x9E37_79B9) }, 0)
        };
        check::<4>(&(0..4096).map(far).collect::<Vec<_>>(), &[]);
        check::<2>(&(0..4096).map(far).collect::<Vec<_>>(), &[]);
    }
}
