//! The encoder's walks over elements, compiled for the vectors that the machine has.
//!
//! Plain loops without branches, which the compiler turns into vectors; each is one function, built three times.

use super::groups::CONTEXTS;
use super::order::{SYMBOLS, context, difference, load, lows, symbol};
use super::rans::Code;

/// Elements that are walked over at a time, so that what one walk makes is in cache for the next.
pub(super) const BLOCK: usize = 512;

/// Keys by context.
pub(super) const KEYS: usize = CONTEXTS * SYMBOLS;

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

/// Gives for each key its code. Only what a blob uses of `plan` is ever in cache.
#[allow(clippy::indexing_slicing, reason = "a remainder by the length of a table is a place in it")]
pub(super) fn look_up(plan: &[Code; KEYS], keys: &[u16], codes: &mut [Code]) {
    for (key, code) in keys.iter().zip(codes) {
        *code = plan[usize::from(*key) % KEYS];
    }
}

with_vectors! {
    /// For each `8 / W` elements their low bits, one behind the other, and how many those are; at most 62.
    low_bits = low_bits_body(raw: &[u8], base: &[u8], codes: &[Code], to: &mut [u64], lens: &mut [u32])
}

#[inline(always)]
fn low_bits_body<const W: usize>(raw: &[u8], base: &[u8], codes: &[Code], to: &mut [u64], lens: &mut [u32]) {
    let mut lows = [0; BLOCK];
    let elements = raw.as_chunks::<W>().0.iter().zip(base.as_chunks::<W>().0).zip(codes);
    for (low, ((raw, base), code)) in lows.iter_mut().zip(elements) {
        *low = low_bits_of::<W>(raw, base, *code);
    }
    let join = |[a, b]: [u32; 2], [m, n]: [Code; 2]| {
        let (m, n) = (m.low(), n.low());
        (u64::from(a) | u64::from(b) << (m % 64), m + n)
    };
    let outs = to.iter_mut().zip(lens);
    if W == 2 {
        let fours = lows.as_chunks::<4>().0.iter().zip(codes.as_chunks::<4>().0);
        for ((to, len), ([a, b, c, d], [k, l, m, n])) in outs.zip(fours) {
            let (low, first) = join([*a, *b], [*k, *l]);
            let (high, second) = join([*c, *d], [*m, *n]);
            (*to, *len) = (low | high << (first % 64), first + second);
        }
    } else {
        let twos = lows.as_chunks::<2>().0.iter().zip(codes.as_chunks::<2>().0);
        for ((to, len), (lows, codes)) in outs.zip(twos) {
            (*to, *len) = join(*lows, *codes);
        }
    }
}

/// The bits of one element that are stored raw.
#[inline(always)]
pub(super) fn low_bits_of<const W: usize>(raw: &[u8; W], base: &[u8; W], code: Code) -> u32 {
    let low = lows(difference::<W>(load::<W>(raw), load::<W>(base)), code.escaped());
    low & !(u32::MAX << code.low())
}
