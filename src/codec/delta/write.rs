//! Makes the stored form, in three walks over the elements: count their symbols, pack their low bits, encode the symbols.
//!
//! The tables need all counts; the low bits run forwards and need the tables, which say what escapes; rANS runs
//! backwards.

use std::cell::RefCell;

use super::bits::BitWriter;
use super::groups::{Group, merge, numbers};
use super::order::SYMBOLS;
use super::rans::{Code, codes, encode};
use super::table::{self, Frequencies, frequencies, is_certain};
use super::walk::{self, BLOCK, KEYS};

/// Buffers that are reused; one a thread. They grow to about five times the longest blob.
#[derive(Default)]
struct Scratch {
    /// Context, then symbol in the low seven bits; one an element.
    keys: Vec<u16>,
    /// Counts of keys; one half of the elements each.
    banks: [ByKey<u32>; 2],
    plan: ByKey<Code>,
    /// One an element.
    codes: Vec<Code>,
    words: Vec<u16>,
    bits: BitWriter,
}

/// One of these for each key.
struct ByKey<T>(Box<[T; KEYS]>);

impl<T: Copy + Default> Default for ByKey<T> {
    fn default() -> Self {
        ByKey(Box::new([T::default(); KEYS]))
    }
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
        scratch.groups()
    })
}

impl Scratch {
    fn restart(&mut self) {
        self.keys.clear();
        for bank in &mut self.banks {
            bank.0.fill(0);
        }
    }

    fn append<const W: usize>(&mut self, raw: &[u8], base: &[u8], out: &mut Vec<u8>) {
        self.restart();
        self.count::<W>(raw, base);
        let groups = self.groups();
        let tables: Vec<Frequencies> = groups.iter().map(|group| frequencies::<W>(&group.counts)).collect();
        self.plan::<W>(&groups, &tables);
        self.append_tables(&groups, &tables, out);
        self.pack::<W>(raw, base);
        if self.words.len() < self.codes.len() {
            self.words.resize(self.codes.len(), 0);
        }
        let words = self.words.get_mut(..self.codes.len()).unwrap_or_default();
        let (states, first) = encode(&self.codes, words);
        let words = words.get(first..).unwrap_or_default();
        out.extend((words.len() as u32).to_le_bytes());
        append_words(words, out);
        out.extend_from_slice(self.bits.finish());
        if !tables.iter().all(is_certain) {
            out.extend(states.iter().flat_map(|state| state.to_le_bytes()));
        }
    }

    /// The code of each key.
    fn plan<const W: usize>(&mut self, groups: &[Group], tables: &[Frequencies]) {
        let codes: Vec<_> = tables.iter().map(codes::<W>).collect();
        let numbers = numbers(groups.iter().map(|group| group.last));
        for (number, plan) in numbers.into_iter().zip(self.plan.0.as_chunks_mut().0) {
            *plan = codes.get(usize::from(number)).copied().unwrap_or([Code::default(); SYMBOLS]);
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

    /// Appends the keys, by context, and counts them.
    fn count<const W: usize>(&mut self, raw: &[u8], base: &[u8]) {
        let begin = self.keys.len();
        self.keys.resize(begin + raw.len() / W, 0);
        let keys = self.keys.get_mut(begin..).unwrap_or_default();
        let blocks = raw.chunks(BLOCK * W).zip(base.chunks(BLOCK * W));
        for (keys, (raw, base)) in keys.chunks_mut(BLOCK).zip(blocks) {
            walk::keys::<W>(raw, base, keys);
            count_keys(keys, &mut self.banks);
        }
    }

    /// The groups for what was counted.
    fn groups(&mut self) -> Vec<Group> {
        let [a, b] = &mut self.banks;
        a.0.iter_mut().zip(b.0.iter()).for_each(|(sum, more)| *sum += more);
        merge(a.0.as_chunks().0)
    }

    /// Looks up the codes and packs the low bits.
    fn pack<const W: usize>(&mut self, raw: &[u8], base: &[u8]) {
        self.bits.restart(raw.len() + 8);
        self.codes.resize(self.keys.len(), Code::default());
        let (mut lows, mut lens) = ([0; BLOCK], [0; BLOCK]);
        let blocks = raw.chunks(BLOCK * W).zip(base.chunks(BLOCK * W));
        let codes = self.codes.chunks_mut(BLOCK).zip(self.keys.chunks(BLOCK));
        for ((codes, keys), (raw, base)) in codes.zip(blocks) {
            walk::look_up(&self.plan.0, keys, codes);
            let several = keys.len() * W / 8;
            walk::low_bits::<W>(raw, base, codes, &mut lows, &mut lens);
            self.bits.put_all(lows.get(..several).unwrap_or_default(), &lens);
            // The last ones of all need not fill eight bytes.
            let done = several * 8;
            let rest = raw.get(done..).unwrap_or_default().as_chunks::<W>().0;
            let rest = rest.iter().zip(base.get(done..).unwrap_or_default().as_chunks::<W>().0);
            for ((raw, base), code) in rest.zip(codes.get(done / W..).unwrap_or_default()) {
                self.bits.put(walk::low_bits_of::<W>(raw, base, *code), code.low());
            }
        }
    }
}

/// Appends `words`, little-endian.
fn append_words(words: &[u16], out: &mut Vec<u8>) {
    let begin = out.len();
    out.resize(begin + 2 * words.len(), 0);
    let to = out.get_mut(begin..).unwrap_or_default();
    for (to, word) in to.as_chunks_mut().0.iter_mut().zip(words) {
        *to = word.to_le_bytes();
    }
}

/// Counts `keys`, in two banks in turn: equal neighbours do not wait for each other's count.
#[allow(clippy::indexing_slicing, reason = "a remainder by the length of a bank is a place in it")]
fn count_keys(keys: &[u16], banks: &mut [ByKey<u32>; 2]) {
    let [a, b] = banks;
    let (pairs, rest) = keys.as_chunks();
    for [first, second] in pairs {
        a.0[usize::from(*first) % KEYS] += 1;
        b.0[usize::from(*second) % KEYS] += 1;
    }
    for key in rest {
        a.0[usize::from(*key) % KEYS] += 1;
    }
}
