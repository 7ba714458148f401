//! Makes the stored form, in three walks over the elements: count their symbols, pack their low bits, code the symbols.
//!
//! The tables need all counts; the low bits run forwards and need the tables, which say what escapes; rANS runs
//! backwards.

use std::cell::RefCell;

use super::bits::BitWriter;
use super::groups::{CONTEXTS, Counts, Group, merge, numbers};
use super::order::{SYMBOLS, context, difference, load, lows, symbol};
use super::rans::{ESCAPED, Step, encode, raw_bits, steps};
use super::table::{self, Frequencies, frequencies, is_certain};

/// Buffers that are reused; one a thread. They grow to about three times the longest blob.
#[derive(Default)]
pub(super) struct Scratch {
    /// Context or group, then symbol in the low seven bits; one an element.
    keys: Vec<u16>,
    histogram: Vec<Counts>,
    words: Vec<u16>,
    bits: BitWriter,
    steps: Vec<Step>,
    /// Low bits that are stored, by group and symbol.
    raw_bits: Vec<u8>,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Appends the stored form of `raw`, whole elements of `W` bytes, as `base`; the caller's head and tail follow it.
pub(super) fn append<const W: usize>(raw: &[u8], base: &[u8], out: &mut Vec<u8>) {
    SCRATCH.with_borrow_mut(|scratch| scratch.append::<W>(raw, base, out));
}

/// Counts by context the symbols of `pieces`, pairs of `raw` and `base`, and merges the contexts.
pub(super) fn groups_of<'a, const W: usize>(
    pieces: impl Iterator<Item = (&'a [u8], &'a [u8])>,
) -> Vec<Group> {
    SCRATCH.with_borrow_mut(|scratch| {
        scratch.restart();
        for (raw, base) in pieces {
            scratch.count::<W>(raw, base);
        }
        merge(&scratch.histogram)
    })
}

impl Scratch {
    fn restart(&mut self) {
        self.keys.clear();
        self.histogram.clear();
        self.histogram.resize(CONTEXTS, [0; SYMBOLS]);
        self.steps.clear();
        self.raw_bits.clear();
    }

    fn append<const W: usize>(&mut self, raw: &[u8], base: &[u8], out: &mut Vec<u8>) {
        self.restart();
        self.count::<W>(raw, base);
        let groups = merge(&self.histogram);
        let tables: Vec<Frequencies> = groups.iter().map(|group| frequencies::<W>(&group.counts)).collect();
        for table in &tables {
            self.steps.extend(steps(table));
            self.raw_bits.extend(raw_bits::<W>(table));
        }
        self.append_tables(&groups, &tables, out);
        self.pack::<W>(raw, base, &groups);
        if self.words.len() < self.keys.len() {
            self.words.resize(self.keys.len(), 0);
        }
        let words = self.words.get_mut(..self.keys.len()).unwrap_or_default();
        let (states, first) = encode(&self.keys, &self.steps, words);
        let words = words.get(first..).unwrap_or_default();
        out.extend((words.len() as u32).to_le_bytes());
        out.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        out.extend_from_slice(self.bits.finish());
        if !tables.iter().all(is_certain) {
            out.extend(states.iter().flat_map(|state| state.to_le_bytes()));
        }
    }

    fn append_tables(&mut self, groups: &[Group], tables: &[Frequencies], out: &mut Vec<u8>) {
        out.push(groups.len() as u8);
        out.extend(groups.iter().map(|group| group.last).take(groups.len().saturating_sub(1)));
        self.bits.restart(tables.len() * SYMBOLS * 4);
        for table in tables {
            table::write(table, &mut self.bits);
        }
        out.extend_from_slice(self.bits.finish());
    }

    fn count<const W: usize>(&mut self, raw: &[u8], base: &[u8]) {
        for (raw, base) in raw.chunks_exact(W).zip(base.chunks_exact(W)) {
            let (raw, base) = (load::<W>(raw), load::<W>(base));
            let (context, symbol) = (context::<W>(base), symbol(difference::<W>(raw, base)));
            self.keys.push((context * SYMBOLS + symbol) as u16);
            if let Some(count) = self.histogram.get_mut(context).and_then(|counts| counts.get_mut(symbol)) {
                *count += 1;
            }
        }
    }

    /// Packs the low bits, and turns the contexts of the keys into groups.
    fn pack<const W: usize>(&mut self, raw: &[u8], base: &[u8], groups: &[Group]) {
        let numbers = numbers(groups.iter().map(|group| group.last));
        self.bits.restart(raw.len() + 8);
        for ((key, raw), base) in self.keys.iter_mut().zip(raw.chunks_exact(W)).zip(base.chunks_exact(W)) {
            let group = numbers.get(usize::from(*key) / SYMBOLS).copied().unwrap_or_default();
            *key = u16::from(group) * SYMBOLS as u16 + *key % SYMBOLS as u16;
            let count = self.raw_bits.get(usize::from(*key)).copied().unwrap_or_default();
            let low = lows(difference::<W>(load::<W>(raw), load::<W>(base)), count >= ESCAPED);
            let count = u32::from(count & !ESCAPED);
            self.bits.put(low & ((1 << count) - 1), count);
        }
    }
}
