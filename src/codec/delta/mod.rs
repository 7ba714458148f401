//! What a blob of floats differs from the blob of an earlier version in.
//!
//! Elements are 2 or 4 bytes, little-endian, and as many in both; any bytes will do, floats that moved a little take
//! least. Each is coded as a symbol (bit length of the difference in numeric order, the bit below its leading one, its
//! sign: `order`) by rANS (`rans`), with frequencies for groups of exponents of the base (`groups`, `table`); its lower
//! bits are stored as they are (`bits`). Where a whole group is equal to its base that costs nothing an element.
//!
//! The stored form, in this order: number of groups (1 byte, 1 - 12); the last context of each group but the last (1 byte
//! each, ascending); the tables, padded to a byte; the number of words (u32); the words (u16 each); the low bits, padded
//! to a byte; the 32 states (u32 each; absent where every group has but one symbol); the bytes of the raw blob that
//! are no whole element, before the first and after the last. The states lie behind words and bits so that a decoder
//! may load whole vectors of those.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod bits;
#[cfg(target_arch = "x86_64")]
mod encode_avx512;
mod estimate;
mod groups;
mod order;
mod rans;
mod read;
mod table;
#[cfg(test)]
mod tests;
mod walk;
mod write;

use super::encoding::{Codec, Encoding, Malformed};

/// Where the whole elements of a blob of `len` bytes begin and end. None where `like` has no elements that this codec
/// knows.
fn whole_elements(like: &Encoding, len: usize) -> Option<(usize, usize)> {
    let (width, phase) = (usize::from(like.width), usize::from(like.phase));
    if !matches!(width, 2 | 4) || phase >= width || len < phase {
        return None;
    }
    Some((phase, phase + (len - phase) / width * width))
}

/// The whole elements of `raw` and of `base`, if `like` and the lengths allow a delta.
fn pair<'a>(like: &Encoding, raw: &'a [u8], base: &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let (begin, end) = whole_elements(like, raw.len())?;
    if base.len() != raw.len() || begin == end {
        return None;
    }
    Some((raw.get(begin..end)?, base.get(begin..end)?))
}

/// About what the stored form of `raw` against `base` would take, in bytes, from a sample of a few thousand elements.
/// None where there can be no delta. `like` says how `raw` is stored by itself: its width and phase count.
pub fn estimate(like: &Encoding, raw: &[u8], base: &[u8]) -> Option<usize> {
    let (elements, of_base) = pair(like, raw, base)?;
    Some(match like.width {
        2 => estimate::stored_len::<2>(elements, of_base),
        _ => estimate::stored_len::<4>(elements, of_base),
    })
}

/// Replaces `out` by the stored form of `raw` against `base`. None, with `out` undefined, where that does not apply
/// (no elements of 2 or 4 bytes, another length) or saves nothing. The caller names the base.
pub(super) fn encode(like: &Encoding, raw: &[u8], base: &[u8], out: &mut Vec<u8>) -> Option<Encoding> {
    let (elements, of_base) = pair(like, raw, base)?;
    let (begin, end) = whole_elements(like, raw.len())?;
    out.clear();
    match like.width {
        2 => write::append::<2>(elements, of_base, out),
        _ => write::append::<4>(elements, of_base, out),
    }
    out.extend_from_slice(raw.get(..begin)?);
    out.extend_from_slice(raw.get(end..)?);
    let encoding = Encoding { width: like.width, phase: like.phase, ..Encoding::plain(Codec::Delta) };
    (out.len() < raw.len()).then_some(encoding)
}

/// Fills `out` from the stored form and the raw bytes of its base.
pub(super) fn decode(
    encoding: &Encoding,
    stored: &[u8],
    base: &[u8],
    out: &mut [u8],
) -> Result<(), Malformed> {
    if base.len() != out.len() {
        return Err(Malformed("a base of another length"));
    }
    let span =
        whole_elements(encoding, out.len()).ok_or(Malformed("a delta of elements that it cannot have"))?;
    let short = Malformed("a delta shorter than its ends");
    let (head, rest) = out.split_at_mut_checked(span.0).ok_or(short)?;
    let (elements, tail) = rest.split_at_mut_checked(span.1 - span.0).ok_or(short)?;
    let ends = stored.len().checked_sub(head.len() + tail.len()).ok_or(short)?;
    let (stored, ends) = stored.split_at_checked(ends).ok_or(short)?;
    let (head_bytes, tail_bytes) = ends.split_at_checked(head.len()).ok_or(short)?;
    head.copy_from_slice(head_bytes);
    tail.copy_from_slice(tail_bytes);
    let base = base.get(span.0..span.1).ok_or(short)?;
    match encoding.width {
        2 => read::read::<2>(stored, base, elements),
        _ => read::read::<4>(stored, base, elements),
    }
}
