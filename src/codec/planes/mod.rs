//! Byte planes: the first bytes of all elements, then the second ones, and so on.
//!
//! Little-endian elements of 2, 4 or 8 bytes are rotated left by one bit before they are split, so that the sign comes to
//! be the lowest bit of plane 0 and a float's exponent begins at a byte's border: bfloat16 and float32 have all 8 bits
//! of it in the last plane, which is what compresses. Elements of one byte are one plane, as they are.
//!
//! The scalar functions are the reference. Each instruction set does whole blocks of what they do, chosen at run time;
//! the elements after the last whole block are scalar.

#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod vector;
#[cfg(target_arch = "x86_64")]
mod x86;

/// The most planes that there are: the widest element, in bytes.
pub(super) const MOST: usize = 8;

/// Splits `raw` into as many planes as are given, 1, 2, 4 or 8, each of `raw.len() / planes.len()` bytes, least
/// significant first. False, and nothing done, where a number or a length is another.
pub(super) fn split(raw: &[u8], planes: &mut [&mut [u8]]) -> bool {
    let elements = raw.len() / planes.len().max(1);
    if elements * planes.len() != raw.len() || planes.iter().any(|plane| plane.len() != elements) {
        return false;
    }
    match planes {
        [plane] => plane.copy_from_slice(raw),
        [a, b] => split_wide(raw, [a, b]),
        [a, b, c, d] => split_wide(raw, [a, b, c, d]),
        [a, b, c, d, e, f, g, h] => split_wide(raw, [a, b, c, d, e, f, g, h]),
        _ => return false,
    }
    true
}

/// The inverse of [`split`]: fills `out` from the planes. False, and nothing done, where a number or a length is another.
pub(super) fn merge(planes: &[&[u8]], out: &mut [u8]) -> bool {
    let elements = out.len() / planes.len().max(1);
    if elements * planes.len() != out.len() || planes.iter().any(|plane| plane.len() != elements) {
        return false;
    }
    match *planes {
        [plane] => out.copy_from_slice(plane),
        [a, b] => merge_wide([a, b], out),
        [a, b, c, d] => merge_wide([a, b, c, d], out),
        [a, b, c, d, e, f, g, h] => merge_wide([a, b, c, d, e, f, g, h], out),
        _ => return false,
    }
    true
}

fn split_wide<const W: usize>(raw: &[u8], mut planes: [&mut [u8]; W]) {
    let done = split_blocks(raw, &mut planes);
    split_scalar(raw, planes, done);
}

fn merge_wide<const W: usize>(planes: [&[u8]; W], out: &mut [u8]) {
    let done = merge_blocks(&planes, out);
    merge_scalar(planes, out, done);
}

/// Splits as many whole blocks as this machine's instructions can; the number of elements that are done.
#[cfg(target_arch = "x86_64")]
fn split_blocks<const W: usize>(raw: &[u8], planes: &mut [&mut [u8]; W]) -> usize {
    if x86::has_avx512() {
        // SAFETY: the processor has what the function is compiled for.
        return unsafe { x86::split_avx512(raw, planes) };
    }
    if x86::has_avx2() {
        // SAFETY: the processor has what the function is compiled for.
        return unsafe { x86::split_avx2(raw, planes) };
    }
    0
}

/// Merges as many whole blocks as this machine's instructions can; the number of elements that are done.
#[cfg(target_arch = "x86_64")]
fn merge_blocks<const W: usize>(planes: &[&[u8]; W], out: &mut [u8]) -> usize {
    if x86::has_avx512() {
        // SAFETY: the processor has what the function is compiled for.
        return unsafe { x86::merge_avx512(planes, out) };
    }
    if x86::has_avx2() {
        // SAFETY: the processor has what the function is compiled for.
        return unsafe { x86::merge_avx2(planes, out) };
    }
    0
}

#[cfg(target_arch = "aarch64")]
use neon::{merge_blocks, split_blocks};

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn split_blocks<const W: usize>(_raw: &[u8], _planes: &mut [&mut [u8]; W]) -> usize {
    0
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn merge_blocks<const W: usize>(_planes: &[&[u8]; W], _out: &mut [u8]) -> usize {
    0
}

/// Splits the elements from number `from` on, one after the other.
fn split_scalar<const W: usize>(raw: &[u8], planes: [&mut [u8]; W], from: usize) {
    let mut planes = planes.map(|plane| plane.iter_mut().skip(from));
    for element in raw.chunks_exact(W).skip(from) {
        // The highest bit of the last byte comes in below the first one, each other byte's below the next.
        let mut carry = element.last().map_or(0, |byte| byte >> 7);
        for (byte, plane) in element.iter().zip(&mut planes) {
            if let Some(to) = plane.next() {
                *to = byte << 1 | carry;
            }
            carry = byte >> 7;
        }
    }
}

/// Merges the elements from number `from` on, one after the other.
fn merge_scalar<const W: usize>(planes: [&[u8]; W], out: &mut [u8], from: usize) {
    let mut planes = planes.map(|plane| plane.iter().skip(from));
    for element in out.chunks_exact_mut(W).skip(from) {
        for (to, plane) in element.iter_mut().zip(&mut planes) {
            *to = plane.next().copied().unwrap_or_default();
        }
        // The lowest bit of the first byte goes out at the top of the last one, each other byte's at the top of the one before.
        let mut carry = element.first().map_or(0, |byte| byte << 7);
        for byte in element.iter_mut().rev() {
            let out = *byte << 7;
            *byte = *byte >> 1 | carry;
            carry = out;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// `raw` split into `width` planes by `by`, which is told the planes.
    fn planes_of<const W: usize>(raw: &[u8], by: impl FnOnce(&[u8], [&mut [u8]; W])) -> Vec<Vec<u8>> {
        let mut planes = vec![vec![0xEE; raw.len() / W]; W];
        let mut each = planes.iter_mut();
        by(raw, std::array::from_fn(|_| &mut each.next().unwrap()[..]));
        planes
    }

    type Blocks<const W: usize> =
        (bool, unsafe fn(&[u8], &mut [&mut [u8]; W]) -> usize, unsafe fn(&[&[u8]; W], &mut [u8]) -> usize);

    /// Each way to split and merge blocks, and whether this machine has it.
    #[cfg(target_arch = "x86_64")]
    fn ways<const W: usize>() -> Vec<Blocks<W>> {
        vec![
            (x86::has_avx2(), x86::split_avx2, x86::merge_avx2),
            (x86::has_avx512(), x86::split_avx512, x86::merge_avx512),
        ]
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn ways<const W: usize>() -> Vec<Blocks<W>> {
        vec![(true, split_blocks, merge_blocks)]
    }

    fn same_in_every_way<const W: usize>(raw: &[u8]) {
        let raw = &raw[..raw.len() / W * W];
        let expected = planes_of::<W>(raw, |raw, planes| split_scalar(raw, planes, 0));
        let slices: [&[u8]; W] = std::array::from_fn(|plane| &expected[plane][..]);
        for (_, split, merge) in ways::<W>().into_iter().filter(|(has, ..)| *has) {
            let found = planes_of::<W>(raw, |raw, mut planes| {
                // SAFETY: the machine has it.
                let done = unsafe { split(raw, &mut planes) };
                split_scalar(raw, planes, done);
            });
            assert_eq!(found, expected);
            let mut back = vec![0; raw.len()];
            // SAFETY: the machine has it.
            let done = unsafe { merge(&slices, &mut back) };
            assert!(done * W + 64 * W > raw.len(), "{done} elements in blocks of {}", raw.len() / W);
            merge_scalar(slices, &mut back, done);
            assert_eq!(back, raw);
        }
        let mut back = vec![0; raw.len()];
        merge_scalar(slices, &mut back, 0);
        assert_eq!(back, raw);
    }

    #[test]
    fn the_exponent_is_the_last_plane_and_the_sign_the_lowest_bit() {
        let raw: Vec<u8> = [1.0_f32, -1.0, 0.5].iter().flat_map(|float| float.to_le_bytes()).collect();
        let planes = planes_of::<4>(&raw, |raw, mut planes| {
            assert!(split(raw, &mut planes.each_mut().map(|plane| &mut **plane)));
        });
        assert_eq!(planes, [[0, 1, 0], [0, 0, 0], [0, 0, 0], [127, 127, 126]]);
        let raw = 0x8000_0000_0000_0102_u64.to_le_bytes();
        let planes = planes_of::<8>(&raw, |raw, planes| split_scalar(raw, planes, 0));
        assert_eq!(planes.concat(), [5, 2, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn other_numbers_and_lengths_are_refused() {
        let (mut a, mut b, mut c) = ([0; 2], [0; 2], [0; 2]);
        assert!(!split(&[1; 6], &mut [&mut a, &mut b, &mut c]));
        assert!(!split(&[1; 5], &mut [&mut a, &mut b]));
        assert!(!split(&[1; 6], &mut [&mut a, &mut b]));
        assert!(!split(&[], &mut []));
        assert!(!merge(&[&[1; 2], &[2; 3]], &mut [0; 4]));
        assert!(!merge(&[&[1; 2], &[2; 2]], &mut [0; 5]));
        assert!(!merge(&[], &mut []));
        assert!(split(&[1; 4], &mut [&mut a, &mut b]) && merge(&[], &mut [0; 1]) == merge(&[&[1]], &mut []));
    }

    proptest! {
        #[test]
        fn every_instruction_set_does_what_the_scalar_code_does(
            raw in proptest::collection::vec(any::<u8>(), 0..2200), skip in 0_usize..9,
        ) {
            let raw = &raw[skip.min(raw.len())..];
            same_in_every_way::<2>(raw);
            same_in_every_way::<4>(raw);
            same_in_every_way::<8>(raw);
        }
    }
}
