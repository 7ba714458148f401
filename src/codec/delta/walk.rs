//! The encoder's walks over elements, compiled for the vectors that the machine has.
//!
//! Plain loops without branches, which the compiler turns into vectors; each is one function, built three times.

use super::groups::CONTEXTS;
use super::order::{SYMBOLS, context, difference, load, lows, symbol};
use super::rans::ESCAPED;

/// Elements that are walked over at a time, so that what one walk makes is in cache for the next.
pub(super) const BLOCK: usize = 512;

/// Places in the tables by group and symbol: for more groups than there are, a power of two.
pub(super) const PLACES: usize = 16 * SYMBOLS;

/// Keys by context.
pub(super) const KEYS: usize = CONTEXTS * SYMBOLS;

/// For each key by context its key by group in the low half, and in the high half how many low bits are stored, and
/// [`ESCAPED`]. Only what a blob uses of it is ever in cache.
pub(super) type Plan = [u32; KEYS];

/// Declares a function that runs `$body`, an inlined one, with the widest vectors of the machine.
macro_rules! with_vectors {
    ($(#[$doc:meta])* $name:ident = $body:ident ($($arg:ident: $type:ty),*)) => {
        $(#[$doc])*
        pub(super) fn $name<const W: usize>($($arg: $type),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512cd,avx512dq")]
                fn widest<const W: usize>($($arg: $type),*) {
                    $body::<W>($($arg),*)
                }
                #[target_feature(enable = "avx2,lzcnt,bmi2")]
                fn wide<const W: usize>($($arg: $type),*) {
                    $body::<W>($($arg),*)
                }
                if is_x86_feature_detected!("avx512cd") && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("avx512dq") {
                    // SAFETY: the machine has them; avx512f comes with each.
                    return unsafe { widest::<W>($($arg),*) };
                }
                if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("lzcnt") && is_x86_feature_detected!("bmi2") {
                    // SAFETY: the machine has them.
                    return unsafe { wide::<W>($($arg),*) };
                }
            }
            $body::<W>($($arg),*)
        }
    };
}

with_vectors! {
    /// For each element its key: the context x [`SYMBOLS`] + the symbol.
    keys = keys_body(raw: &[u8], base: &[u8], keys: &mut [u16])
}

#[inline(always)]
fn keys_body<const W: usize>(raw: &[u8], base: &[u8], keys: &mut [u16]) {
    let elements = raw.as_chunks::<W>().0.iter().zip(base.as_chunks::<W>().0);
    for (key, (raw, base)) in keys.iter_mut().zip(elements) {
        let (raw, base) = (load::<W>(raw), load::<W>(base));
        *key = (context::<W>(base) * SYMBOLS as u32 + symbol(difference::<W>(raw, base))) as u16;
    }
}

/// Turns the contexts of the keys into groups; gives for each key how many low bits are stored, and [`ESCAPED`].
#[allow(clippy::indexing_slicing, reason = "a remainder by the length of a table is a place in it")]
pub(super) fn regroup(plan: &Plan, keys: &mut [u16], counts: &mut [u32]) {
    for (key, count) in keys.iter_mut().zip(counts) {
        let found = plan[usize::from(*key) % KEYS];
        (*key, *count) = (found as u16, found >> 16);
    }
}

with_vectors! {
    /// For each `8 / W` elements their low bits, one behind the other, and how many those are; at most 62.
    low_bits = low_bits_body(raw: &[u8], base: &[u8], counts: &[u32], to: &mut [u64], lens: &mut [u32])
}

#[inline(always)]
fn low_bits_body<const W: usize>(raw: &[u8], base: &[u8], counts: &[u32], to: &mut [u64], lens: &mut [u32]) {
    let mut lows = [0; BLOCK];
    let elements = raw.as_chunks::<W>().0.iter().zip(base.as_chunks::<W>().0).zip(counts);
    for (low, ((raw, base), count)) in lows.iter_mut().zip(elements) {
        *low = low_bits_of::<W>(raw, base, *count);
    }
    let join = |[a, b]: [u32; 2], [m, n]: [u32; 2]| {
        let (m, n) = (m % ESCAPED, n % ESCAPED);
        (u64::from(a) | u64::from(b) << (m % 64), m + n)
    };
    let outs = to.iter_mut().zip(lens);
    if W == 2 {
        let fours = lows.as_chunks::<4>().0.iter().zip(counts.as_chunks::<4>().0);
        for ((to, len), ([a, b, c, d], [k, l, m, n])) in outs.zip(fours) {
            let (low, first) = join([*a, *b], [*k, *l]);
            let (high, second) = join([*c, *d], [*m, *n]);
            (*to, *len) = (low | high << (first % 64), first + second);
        }
    } else {
        let twos = lows.as_chunks::<2>().0.iter().zip(counts.as_chunks::<2>().0);
        for ((to, len), (lows, counts)) in outs.zip(twos) {
            (*to, *len) = join(*lows, *counts);
        }
    }
}

/// The bits of one element that are stored raw, `count` without the mark [`ESCAPED`].
#[inline(always)]
pub(super) fn low_bits_of<const W: usize>(raw: &[u8; W], base: &[u8; W], count: u32) -> u32 {
    let low = lows(difference::<W>(load::<W>(raw), load::<W>(base)), count >= ESCAPED);
    low & !(u32::MAX << (count % 32))
}
