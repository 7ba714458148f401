//! AVX2, and AVX-512 with its byte permutations (VBMI: Ice Lake, Zen 4 and later).

use std::arch::x86_64::*;

use super::vector::{self, Vector};

/// Whether the processor can run the AVX2 functions.
pub(super) fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2")
}

/// Whether the processor can run the AVX-512 functions.
pub(super) fn has_avx512() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vbmi")
}

/// Splits whole blocks by AVX2; the number of elements done.
///
/// # Safety
/// [`has_avx2`].
#[target_feature(enable = "avx2")]
pub(super) unsafe fn split_avx2<const W: usize>(raw: &[u8], planes: &mut [&mut [u8]; W]) -> usize {
    // SAFETY: the caller's.
    unsafe { vector::split::<Avx2, W>(raw, planes) }
}

/// Merges whole blocks by AVX2; the number of elements done.
///
/// # Safety
/// [`has_avx2`].
#[target_feature(enable = "avx2")]
pub(super) unsafe fn merge_avx2<const W: usize>(planes: &[&[u8]; W], out: &mut [u8]) -> usize {
    // SAFETY: the caller's.
    unsafe { vector::merge::<Avx2, W>(planes, out) }
}

/// Splits whole blocks by AVX-512; the number of elements done.
///
/// # Safety
/// [`has_avx512`].
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
pub(super) unsafe fn split_avx512<const W: usize>(raw: &[u8], planes: &mut [&mut [u8]; W]) -> usize {
    // SAFETY: the caller's.
    unsafe { vector::split::<Avx512, W>(raw, planes) }
}

/// Merges whole blocks by AVX-512; the number of elements done.
///
/// # Safety
/// [`has_avx512`].
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
pub(super) unsafe fn merge_avx512<const W: usize>(planes: &[&[u8]; W], out: &mut [u8]) -> usize {
    // SAFETY: the caller's.
    unsafe { vector::merge::<Avx512, W>(planes, out) }
}

/// A register of AVX2, whose byte instructions work on two halves of 16 bytes, each by itself. So the halves of the registers
/// hold two streams: the first and the second half of a block.
#[derive(Clone, Copy)]
struct Avx2(__m256i);

#[allow(
    clippy::undocumented_unsafe_blocks,
    reason = "every one is safe by the trait's promise: the processor has AVX2, and the pointers reach as far"
)]
impl Vector for Avx2 {
    const BYTES: usize = 32;

    #[inline(always)]
    unsafe fn load_block<const W: usize>(from: *const u8) -> [Self; W] {
        std::array::from_fn(|register| unsafe {
            let low = _mm_loadu_si128(from.add(16 * register).cast());
            let high = _mm_loadu_si128(from.add(16 * (W + register)).cast());
            Avx2(_mm256_set_m128i(high, low))
        })
    }

    #[inline(always)]
    unsafe fn store_block<const W: usize>(block: [Self; W], to: *mut u8) {
        for (number, register) in block.into_iter().enumerate() {
            unsafe {
                _mm_storeu_si128(to.add(16 * number).cast(), _mm256_castsi256_si128(register.0));
                _mm_storeu_si128(to.add(16 * (W + number)).cast(), _mm256_extracti128_si256::<1>(register.0));
            }
        }
    }

    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        unsafe { Avx2(_mm256_loadu_si256(from.cast())) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u8) {
        unsafe { _mm256_storeu_si256(to.cast(), self.0) }
    }

    #[inline(always)]
    unsafe fn rotate_left<const W: usize>(self) -> Self {
        let it = self.0;
        Avx2(unsafe {
            match W {
                2 => _mm256_or_si256(_mm256_slli_epi16::<1>(it), _mm256_srli_epi16::<15>(it)),
                4 => _mm256_or_si256(_mm256_slli_epi32::<1>(it), _mm256_srli_epi32::<31>(it)),
                _ => _mm256_or_si256(_mm256_slli_epi64::<1>(it), _mm256_srli_epi64::<63>(it)),
            }
        })
    }

    #[inline(always)]
    unsafe fn rotate_right<const W: usize>(self) -> Self {
        let it = self.0;
        Avx2(unsafe {
            match W {
                2 => _mm256_or_si256(_mm256_srli_epi16::<1>(it), _mm256_slli_epi16::<15>(it)),
                4 => _mm256_or_si256(_mm256_srli_epi32::<1>(it), _mm256_slli_epi32::<31>(it)),
                _ => _mm256_or_si256(_mm256_srli_epi64::<1>(it), _mm256_slli_epi64::<63>(it)),
            }
        })
    }

    #[inline(always)]
    unsafe fn unzip(self, next: Self) -> (Self, Self) {
        unsafe {
            let low = _mm256_set1_epi16(0xFF);
            let even = _mm256_packus_epi16(_mm256_and_si256(self.0, low), _mm256_and_si256(next.0, low));
            let odd = _mm256_packus_epi16(_mm256_srli_epi16::<8>(self.0), _mm256_srli_epi16::<8>(next.0));
            (Avx2(even), Avx2(odd))
        }
    }

    #[inline(always)]
    unsafe fn zip(self, odd: Self) -> (Self, Self) {
        unsafe { (Avx2(_mm256_unpacklo_epi8(self.0, odd.0)), Avx2(_mm256_unpackhi_epi8(self.0, odd.0))) }
    }
}

/// A register of AVX-512, whose byte permutations reach over two whole ones.
#[derive(Clone, Copy)]
struct Avx512(__m512i);

/// For `_mm512_permutex2var_epi8`: numbers 0 to 63 are bytes of the first register, 64 to 127 of the second.
static EVEN: [u8; 64] = every_second(0);
static ODD: [u8; 64] = every_second(1);
static LOW: [u8; 64] = in_turn(0);
static HIGH: [u8; 64] = in_turn(32);

/// `from`, `from + 2`, `from + 4`, ...
#[allow(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const fn every_second(from: u8) -> [u8; 64] {
    let mut numbers = [from; 64];
    let mut at = 1;
    while at < 64 {
        numbers[at] = numbers[at - 1] + 2;
        at += 1;
    }
    numbers
}

/// `from`, `from + 64`, `from + 1`, `from + 65`, ...
#[allow(clippy::indexing_slicing, reason = "evaluated by the compiler")]
const fn in_turn(from: u8) -> [u8; 64] {
    let mut numbers = [from; 64];
    numbers[1] = from + 64;
    let mut at = 2;
    while at < 64 {
        numbers[at] = numbers[at - 2] + 1;
        at += 1;
    }
    numbers
}

#[allow(
    clippy::undocumented_unsafe_blocks,
    reason = "every one is safe by the trait's promise: the processor has AVX-512, and the pointers reach as far"
)]
impl Vector for Avx512 {
    const BYTES: usize = 64;

    #[inline(always)]
    unsafe fn load_block<const W: usize>(from: *const u8) -> [Self; W] {
        std::array::from_fn(|register| unsafe { Self::load(from.add(64 * register)) })
    }

    #[inline(always)]
    unsafe fn store_block<const W: usize>(block: [Self; W], to: *mut u8) {
        for (number, register) in block.into_iter().enumerate() {
            unsafe { register.store(to.add(64 * number)) }
        }
    }

    #[inline(always)]
    unsafe fn load(from: *const u8) -> Self {
        unsafe { Avx512(_mm512_loadu_si512(from.cast())) }
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut u8) {
        unsafe { _mm512_storeu_si512(to.cast(), self.0) }
    }

    #[inline(always)]
    unsafe fn rotate_left<const W: usize>(self) -> Self {
        let it = self.0;
        Avx512(unsafe {
            match W {
                2 => _mm512_or_si512(_mm512_slli_epi16::<1>(it), _mm512_srli_epi16::<15>(it)),
                4 => _mm512_rol_epi32::<1>(it),
                _ => _mm512_rol_epi64::<1>(it),
            }
        })
    }

    #[inline(always)]
    unsafe fn rotate_right<const W: usize>(self) -> Self {
        let it = self.0;
        Avx512(unsafe {
            match W {
                2 => _mm512_or_si512(_mm512_srli_epi16::<1>(it), _mm512_slli_epi16::<15>(it)),
                4 => _mm512_ror_epi32::<1>(it),
                _ => _mm512_ror_epi64::<1>(it),
            }
        })
    }

    #[inline(always)]
    unsafe fn unzip(self, next: Self) -> (Self, Self) {
        unsafe {
            let (even, odd) = (Self::load(EVEN.as_ptr()), Self::load(ODD.as_ptr()));
            (
                Avx512(_mm512_permutex2var_epi8(self.0, even.0, next.0)),
                Avx512(_mm512_permutex2var_epi8(self.0, odd.0, next.0)),
            )
        }
    }

    #[inline(always)]
    unsafe fn zip(self, odd: Self) -> (Self, Self) {
        unsafe {
            let (low, high) = (Self::load(LOW.as_ptr()), Self::load(HIGH.as_ptr()));
            (
                Avx512(_mm512_permutex2var_epi8(self.0, low.0, odd.0)),
                Avx512(_mm512_permutex2var_epi8(self.0, high.0, odd.0)),
            )
        }
    }
}
