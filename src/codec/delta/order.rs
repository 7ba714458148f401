//! Floats as integers in numeric order, and what a difference of two of them is made of.
//!
//! Little-endian bits are sign and magnitude; flipping the magnitude of the negative ones makes integers that are ordered
//! as the numbers are, so that two near numbers differ by little even where the exponent steps or the sign turns. The map
//! is its own inverse and takes every bit pattern, NaNs included. Differences wrap in the element's width `W`, in bytes.

/// Symbols that a difference may have, a bound for tables.
pub(super) const SYMBOLS: usize = 128;

/// What a symbol says of a difference: `sign`, and a magnitude of `top` with `low` more bits below it, which are stored raw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Parts {
    /// Number of raw bits.
    pub(super) low: u32,
    /// The leading one and the bit below it; fewer where the magnitude is below 2.
    pub(super) top: u32,
    /// 1 where the magnitude is to be negated.
    pub(super) sign: u32,
}

/// The bits of one element, sign extended.
#[inline(always)]
pub(super) fn load<const W: usize>(bytes: &[u8; W]) -> i32 {
    match *bytes.as_slice() {
        [a, b] => i32::from(i16::from_le_bytes([a, b])),
        [a, b, c, d] => i32::from_le_bytes([a, b, c, d]),
        _ => 0,
    }
}

/// Stores the low `W` bytes of `bits`.
#[inline(always)]
pub(super) fn store<const W: usize>(bits: i32, bytes: &mut [u8; W]) {
    for (to, from) in bytes.iter_mut().zip(bits.to_le_bytes()).take(W) {
        *to = from;
    }
}

/// Between float bits and their place in numeric order, both ways; both sign extended.
#[inline(always)]
pub(super) const fn ordered<const W: usize>(bits: i32) -> i32 {
    let magnitude = if W == 2 { 0x7FFF } else { 0x7FFF_FFFF };
    bits ^ ((bits >> 31) & magnitude)
}

/// `value` wrapped into `W` bytes, sign extended.
#[inline(always)]
pub(super) const fn wrapped<const W: usize>(value: i32) -> i32 {
    if W == 2 { (value << 16) >> 16 } else { value }
}

/// The byte after the sign: the exponent (of float16: and three bits of mantissa).
#[inline(always)]
pub(super) const fn context<const W: usize>(bits: i32) -> u32 {
    (bits as u32 >> (W * 8 - 9)) & 0xFF
}

/// How far `raw` lies above `base`.
#[inline(always)]
pub(super) const fn difference<const W: usize>(raw: i32, base: i32) -> i32 {
    wrapped::<W>(ordered::<W>(raw).wrapping_sub(ordered::<W>(base)))
}

/// The symbol of a difference: 1 for 0, then two for each sign of 1, then four for each bit length.
///
/// The places 0 and 2 are free by this count; they are the escapes.
#[inline(always)]
pub(super) const fn symbol(difference: i32) -> u32 {
    let magnitude = difference.unsigned_abs();
    let low = 30_u32.saturating_sub(magnitude.leading_zeros());
    1 + 4 * low + 2 * (magnitude >> low) + (difference as u32 >> 31)
}

/// The escape for a symbol that has no place in a table: 0 for differences from 0 up, 2 below; all but the sign is raw.
pub(super) const fn escape(symbol: usize) -> usize {
    if symbol >= 3 && symbol.is_multiple_of(2) { 2 } else { 0 }
}

/// Whether `symbol` is one of the escapes.
pub(super) const fn is_escape(symbol: usize) -> bool {
    symbol == 0 || symbol == 2
}

/// The last symbol that a table may hold; the lowest number of the width is above it and always escapes.
pub(super) const fn last_symbol<const W: usize>() -> usize {
    4 * (W * 8 - 3) + 8
}

/// What `symbol` says, for elements of `W` bytes.
pub(super) const fn parts<const W: usize>(symbol: usize) -> Parts {
    let code = (symbol as u32).saturating_sub(1);
    match symbol {
        0 | 2 => Parts { low: W as u32 * 8 - 1, top: symbol as u32 / 2, sign: 0 },
        ..9 => Parts { low: 0, top: code >> 1, sign: code & 1 },
        _ => Parts { low: (code >> 2) - 1, top: 2 + ((code >> 1) & 1), sign: code & 1 },
    }
}

/// The number whose low bits are stored raw for a difference: its magnitude, or, where it escapes, itself.
#[inline(always)]
pub(super) const fn lows(difference: i32, escaped: bool) -> u32 {
    if escaped { difference as u32 } else { difference.unsigned_abs() }
}

/// The difference with this symbol and these low bits.
#[inline(always)]
pub(super) const fn join(parts: Parts, low: u32) -> i32 {
    let magnitude = (parts.top << parts.low) | low;
    if parts.sign == 1 { magnitude.wrapping_neg() as i32 } else { magnitude as i32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comes_back<const W: usize>(raw: i32, base: i32) {
        let difference = difference::<W>(raw, base);
        let symbol = symbol(difference) as usize;
        assert!(symbol < SYMBOLS && !is_escape(symbol));
        let lowest = difference == wrapped::<W>(1 << (W * 8 - 1));
        assert_eq!(symbol > last_symbol::<W>(), lowest, "{difference}");
        for (symbol, escaped) in [(symbol, false), (escape(symbol), true)].iter().skip(usize::from(lowest)) {
            let parts = parts::<W>(*symbol);
            let low = lows(difference, *escaped) & ((1 << parts.low) - 1);
            let place = ordered::<W>(base).wrapping_add(join(parts, low));
            assert_eq!(ordered::<W>(wrapped::<W>(place)), raw, "{base} and {difference} by {symbol}");
        }
    }

    #[test]
    fn every_pair_of_patterns_comes_back_by_its_symbol_and_by_its_escape() {
        for raw in i16::MIN..=i16::MAX {
            for base in [0, 1, -1, i16::MIN, i16::MAX, 0x7F80, 0x3C00, raw, raw ^ 1, !raw] {
                comes_back::<2>(raw.into(), base.into());
            }
            let wide = i32::from(raw) << 16 | 0x1234;
            for base in [0, 1, -1, i32::MIN, i32::MAX, 0x7F80_0000, wide, wide ^ 1, !wide, wide + 0x5555] {
                comes_back::<4>(wide, base);
            }
        }
    }

    #[test]
    fn integers_are_in_the_order_of_the_numbers() {
        let ladder = [
            f32::NEG_INFINITY,
            -1.5,
            -1.0,
            -f32::MIN_POSITIVE,
            -1e-45,
            -0.0,
            0.0,
            1e-45,
            1.0,
            1.5,
            f32::INFINITY,
        ];
        assert!(ladder.map(|number| ordered::<4>(number.to_bits() as i32)).is_sorted_by(|a, b| a < b));
        assert_eq!(difference::<4>(0.0_f32.to_bits() as i32, (-0.0_f32).to_bits() as i32), 1);
    }
}
