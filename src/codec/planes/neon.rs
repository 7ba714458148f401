//! NEON, which every 64-bit ARM processor has.

use std::arch::aarch64::*;

use super::vector::{self, Vector};

/// Splits whole blocks; the number of elements done.
pub(super) fn split_blocks<const W: usize>(raw: &[u8], planes: &mut [&mut [u8]; W]) -> usize {
    // SAFETY: every processor of this architecture has NEON.
    unsafe { vector::split::<Neon, W>(raw, planes) }
}

/// Merges whole blocks; the number of elements done.
pub(super) fn merge_blocks<const W: usize>(planes: &[&[u8]; W], out: &mut [u8]) -> usize {
    // SAFETY: every processor of this architecture has NEON.
    unsafe { vector::merge::<Neon, W>(planes, out) }
}

/// A register of NEON.
#[derive(Clone, Copy)]
struct Neon(uint8x16_t);

#[allow(
    clippy::undocumented_unsafe_blocks,
    reason = "every one is safe by the trait's promise: the pointers reach as far"
)]
#[allow(unused_unsafe, reason = "which intrinsics are safe depends on the compiler's version")]
impl Vector for Neon {
    const BYTES: usize = 16;

    #[inline(always)]
    unsafe fn load_block<const W: usize>(from: *const u8) -> [Self; W] {
        std::array::from_fn(|register| unsafe { Self::load(from.add(16 * register)) })
    }

    #[inline(always)]
    unsafe fn store_block<const W: usize>(block: [Self; W], to: *mut u8) {
        for (number, register) in block.into_iter().enumerate() {
            unsafe { register.store(to.add(16 * number)) }
        }
    }

    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        unsafe { Neon(vld1q_u8(from)) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u8) {
        unsafe { vst1q_u8(to, self.0) }
    }

    #[inline(always)]
    unsafe fn rotate_left<const W: usize>(self) -> Self {
        let it = self.0;
        Neon(unsafe {
            match W {
                2 => {
                    let it = vreinterpretq_u16_u8(it);
                    vreinterpretq_u8_u16(vorrq_u16(vshlq_n_u16::<1>(it), vshrq_n_u16::<15>(it)))
                }
                4 => {
                    let it = vreinterpretq_u32_u8(it);
                    vreinterpretq_u8_u32(vorrq_u32(vshlq_n_u32::<1>(it), vshrq_n_u32::<31>(it)))
                }
                _ => {
                    let it = vreinterpretq_u64_u8(it);
                    vreinterpretq_u8_u64(vorrq_u64(vshlq_n_u64::<1>(it), vshrq_n_u64::<63>(it)))
                }
            }
        })
    }

    #[inline(always)]
    unsafe fn rotate_right<const W: usize>(self) -> Self {
        let it = self.0;
        Neon(unsafe {
            match W {
                2 => {
                    let it = vreinterpretq_u16_u8(it);
                    vreinterpretq_u8_u16(vorrq_u16(vshrq_n_u16::<1>(it), vshlq_n_u16::<15>(it)))
                }
                4 => {
                    let it = vreinterpretq_u32_u8(it);
                    vreinterpretq_u8_u32(vorrq_u32(vshrq_n_u32::<1>(it), vshlq_n_u32::<31>(it)))
                }
                _ => {
                    let it = vreinterpretq_u64_u8(it);
                    vreinterpretq_u8_u64(vorrq_u64(vshrq_n_u64::<1>(it), vshlq_n_u64::<63>(it)))
                }
            }
        })
    }

    #[inline(always)]
    unsafe fn unzip(self, next: Self) -> (Self, Self) {
        unsafe { (Neon(vuzp1q_u8(self.0, next.0)), Neon(vuzp2q_u8(self.0, next.0))) }
    }

    #[inline(always)]
    unsafe fn zip(self, odd: Self) -> (Self, Self) {
        unsafe { (Neon(vzip1q_u8(self.0, odd.0)), Neon(vzip2q_u8(self.0, odd.0))) }
    }
}
