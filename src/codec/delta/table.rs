//! The frequencies of one group's symbols: chosen from counts, written, read.
//!
//! They sum to [`SLOTS`]. A symbol that came too rarely to be worth a slot has none and is written as an escape.
//! Stored, for each group: the last symbol with a slot in 7 bits, then for each symbol up to it the bit length of its
//! frequency and the bits below the leading one. The bit length is written as its difference from the one before, zigzag,
//! in Elias's gamma code, because neighbours, which are mostly the two signs, are about equally frequent.

use super::bits::{BitReader, BitWriter};
use super::groups::Counts;
use super::order::{SYMBOLS, escape, last_symbol, parts};
use crate::codec::encoding::Malformed;

/// Bits of a slot's number.
pub(super) const PRECISION: u32 = 11;
/// What a group's frequencies sum to.
pub(super) const SLOTS: u32 = 1 << PRECISION;

/// A frequency for each symbol, 0 = none; the sum is [`SLOTS`].
pub(super) type Frequencies = [u16; SYMBOLS];

/// The frequencies for `counts` of elements of `W` bytes; at least one count is not 0.
pub(super) fn frequencies<const W: usize>(counts: &Counts) -> Frequencies {
    let counts = with_escapes::<W>(counts);
    let scaled = |count: u32, slots: u32, total: u32| {
        (u64::from(count) * u64::from(slots) / u64::from(total.max(1))) as u32
    };
    let total: u32 = counts.iter().sum();
    // What is below one slot gets one; the others share what is left.
    let rare = |count: u32| count > 0 && scaled(count, SLOTS, total) == 0;
    let rares = counts.iter().filter(|count| rare(**count)).count() as u32;
    let total = total - counts.iter().filter(|count| rare(**count)).sum::<u32>();
    let mut slots = counts.map(|count| match count {
        0 => 0,
        _ => scaled(count, SLOTS - rares, total).max(1),
    });
    settle(&counts, &mut slots);
    slots.map(|slots| slots as u16)
}

/// Whether a group has but one symbol: then it takes no words and leaves the states as they are.
pub(super) fn is_certain(frequencies: &Frequencies) -> bool {
    frequencies.iter().any(|slots| u32::from(*slots) == SLOTS)
}

/// Moves the sum of `slots` to [`SLOTS`], each step where it gains most or costs least.
fn settle(counts: &Counts, slots: &mut [u32; SYMBOLS]) {
    loop {
        let sum: u32 = slots.iter().sum();
        let pairs = slots.iter_mut().zip(counts).filter(|(_, count)| **count > 0);
        // One slot more saves about count/(slots + 1/2) bits, one less costs count/(slots - 1/2).
        if sum < SLOTS {
            let gain = |slots: u32, count: u32| u64::from(count) * (1 << 32) / u64::from(2 * slots + 1);
            let best = pairs.max_by_key(|(slots, count)| gain(**slots, **count));
            let Some((slots, _)) = best else { return };
            *slots += 1;
        } else if sum > SLOTS {
            let loss = |slots: u32, count: u32| u64::from(count) * (1 << 32) / u64::from(2 * slots - 1);
            let best =
                pairs.filter(|(slots, _)| **slots > 1).min_by_key(|(slots, count)| loss(**slots, **count));
            let Some((slots, _)) = best else { return };
            *slots -= 1;
        } else {
            return;
        }
    }
}

/// `counts` where the symbols that are not worth a slot are counted as escapes.
///
/// A slot is a share of 1/[`SLOTS`] that the others lose, log2(e)/[`SLOTS`] bits an element, and its header; an escape
/// costs as many raw bits more as it has, and the symbol of the escape is a little longer.
fn with_escapes<const W: usize>(counts: &Counts) -> Counts {
    let total: u32 = counts.iter().sum();
    let slot = total / 1420 + 5;
    let mut kept = *counts;
    for (symbol, count) in counts.iter().enumerate() {
        let more = (W as u32 * 8).saturating_sub(parts::<W>(symbol).low);
        let worth = symbol <= last_symbol::<W>() && u64::from(*count) * u64::from(more) > u64::from(slot);
        if *count > 0 && !worth {
            move_count(&mut kept, symbol, escape(symbol));
        }
    }
    kept
}

fn move_count(counts: &mut Counts, from: usize, to: usize) {
    let moved = counts.get_mut(from).map(std::mem::take).unwrap_or_default();
    if let Some(count) = counts.get_mut(to) {
        *count += moved;
    }
}

/// Appends the stored form.
pub(super) fn write(frequencies: &Frequencies, to: &mut BitWriter) {
    let last = frequencies.iter().rposition(|slots| *slots > 0).unwrap_or(0);
    to.put(last as u32, 7);
    let mut before = 0;
    for slots in frequencies.iter().take(last + 1) {
        let length = u16::BITS - slots.leading_zeros();
        let step = length as i32 - before;
        let zigzag = ((step << 1) ^ (step >> 31)) as u32 + 1;
        let digits = zigzag.ilog2();
        // Gamma: as many zeros as bits follow the leading one; written from the low end, the one comes first.
        to.put(1 << digits, digits + 1);
        to.put(zigzag - (1 << digits), digits);
        let below = length.saturating_sub(1);
        to.put(u32::from(*slots) - if length > 0 { 1 << below } else { 0 }, below);
        before = length as i32;
    }
}

/// Reads what [`write`] wrote, or tells what is wrong with it.
pub(super) fn read<const W: usize>(from: &mut BitReader<'_>) -> Result<Frequencies, Malformed> {
    let last = from.take(7) as usize;
    if last > last_symbol::<W>() {
        return Err(Malformed("a symbol that the width has not"));
    }
    let mut frequencies = [0; SYMBOLS];
    let (mut before, mut sum) = (0, 0);
    for to in frequencies.iter_mut().take(last + 1) {
        let digits = from.take(6).trailing_zeros();
        if digits > 5 {
            return Err(Malformed("a length out of range in a table"));
        }
        from.rewind(5 - digits);
        let zigzag = (1 << digits) + from.take(digits) - 1;
        let length = before + ((zigzag >> 1) as i32 ^ -((zigzag & 1) as i32));
        if !(0..=PRECISION as i32 + 1).contains(&length) {
            return Err(Malformed("a frequency out of range"));
        }
        let below = (length as u32).saturating_sub(1);
        let slots = from.take(below) + if length > 0 { 1 << below } else { 0 };
        sum += slots;
        *to = slots as u16;
        before = length;
    }
    if sum != SLOTS {
        return Err(Malformed("frequencies that do not sum to the slots"));
    }
    Ok(frequencies)
}
