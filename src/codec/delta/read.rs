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

thread_local! {
    static TABLES: RefCell<Tables> = const { RefCell::new(Tables { begins: [0; CONTEXTS], slots: Vec::new(), certain: true }) };
}

/// Fills `out` from `stored` and `base`, whole elements of `W` bytes, as many in both.
pub(super) fn read<const W: usize>(stored: &[u8], base: &[u8], out: &mut [u8]) -> Result<(), Malformed> {
    TABLES.with_borrow_mut(|tables| {
        let begin = tables.read::<W>(stored)?;
        let words = stored.get(begin..begin + 4).and_then(|four| four.first_chunk());
        let words = u32::from_le_bytes(*words.ok_or(Malformed("a delta without its number of words"))?);
        let begin = begin + 4;
        let bits = (words as usize).checked_mul(2).and_then(|len| len.checked_add(begin));
        let (end, states) = if tables.certain {
            (stored.len(), AT_REST)
        } else {
            let end = stored.len().saturating_sub(LANES * 4);
            (end, states(stored.get(end..).unwrap_or_default()))
        };
        let bits = bits.filter(|bits| *bits <= end).ok_or(Malformed("a delta shorter than its words"))?;
        let mut cursor = Cursor { stored, states, word: begin, bit: bits * 8 };
        elements::<W>(tables, &mut cursor, base, out);
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
        self.begins = numbers(lasts.iter().copied().chain([u8::MAX])).map(|number| u32::from(number) * SLOTS);
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
    /// Whether a row's words (64 bytes) and low bits (two vectors of 64 bytes, the second at most 62 behind the first) can
    /// be loaded. With the states behind them this holds wherever a row of a sound delta begins.
    #[inline(always)]
    pub(super) fn reaches(&self) -> bool {
        self.word + 64 <= self.stored.len() && self.bit / 8 + 128 <= self.stored.len()
    }

    fn check(&self, bits: usize, end: usize) -> Result<(), Malformed> {
        let mut rest = BitReader::new(self.stored, self.bit);
        if self.word != bits || rest.byte_aligned() != Some(end) || self.states != AT_REST {
            return Err(Malformed("a delta that does not end where it should"));
        }
        Ok(())
    }
}

/// All elements: whole rows with the widest vectors that this machine has, the rest one by one.
fn elements<const W: usize>(tables: &Tables, cursor: &mut Cursor<'_>, base: &[u8], out: &mut [u8]) {
    let done = W * rows::<W>(tables, cursor, base, out);
    scalar::<W>(
        tables,
        cursor,
        base.get(done..).unwrap_or_default(),
        out.get_mut(done..).unwrap_or_default(),
    );
}

#[cfg(target_arch = "x86_64")]
fn rows<const W: usize>(tables: &Tables, cursor: &mut Cursor<'_>, base: &[u8], out: &mut [u8]) -> usize {
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: the machine has it.
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
