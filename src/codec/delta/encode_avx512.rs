//! Whole rows of 32 symbols encoded with AVX-512: two vectors of sixteen lanes.
//!
//! The same steps as `rans::encode_rows`, which is the reference, from the last row to the first.

use std::arch::x86_64::*;

use super::rans::{Code, LANES};
use super::table::{PRECISION, SLOTS};

/// Lanes of a vector.
const HALF: usize = 16;

/// Encodes `rows` from the last to the first into the words below `first`, of which there are at least as many as
/// symbols; gives the place of the first word.
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
pub(super) fn encode_rows(
    rows: &[[Code; LANES]],
    states: &mut [u32; LANES],
    words: &mut [u16],
    mut first: usize,
) -> usize {
    // SAFETY: the states are 32 numbers of 4 bytes.
    let mut vectors: [__m512i; 2] = unsafe {
        [_mm512_loadu_si512(states.as_ptr().cast()), _mm512_loadu_si512(states.as_ptr().add(HALF).cast())]
    };
    for row in rows.iter().rev() {
        // A row takes 32 words at most: this holds as long as there is a word for each symbol.
        let Some(room) = words.get_mut(first.wrapping_sub(LANES)..first) else { break };
        let mut left = LANES;
        for (half, state) in vectors.iter_mut().enumerate().rev() {
            // SAFETY: a row has 32 codes of 4 bytes, this half 16 of them.
            let codes = unsafe { _mm512_loadu_si512(row.as_ptr().add(half * HALF).cast()) };
            let (full, word);
            (*state, full, word) = step(*state, codes);
            left -= full.count_ones() as usize;
            let taken = (1_u32 << full.count_ones()) - 1;
            // SAFETY: only `taken` words are written, which end where the ones before began: `left` is not below 0, for
            // two halves take at most 32 words of `room`.
            unsafe { _mm256_mask_storeu_epi16(room.as_mut_ptr().add(left).cast(), taken as u16, word) };
        }
        first -= LANES - left;
    }
    for (lanes, vector) in states.as_chunks_mut::<HALF>().0.iter_mut().zip(vectors) {
        // SAFETY: sixteen numbers of 4 bytes.
        unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), vector) };
    }
    first
}

/// The states after their symbols, which lanes gave a word, and those words, lowest lane first.
#[target_feature(enable = "avx512f,avx512vl")]
#[inline]
fn step(state: __m512i, codes: __m512i) -> (__m512i, u16, __m256i) {
    let slots = _mm512_and_si512(codes, _mm512_set1_epi32(2 * SLOTS as i32 - 1));
    let start =
        _mm512_and_si512(_mm512_srli_epi32::<{ Code::START }>(codes), _mm512_set1_epi32(SLOTS as i32 - 1));
    let full = _mm512_cmpge_epu32_mask(_mm512_srli_epi32::<{ 32 - PRECISION }>(state), slots);
    let words = _mm512_cvtepi32_epi16(_mm512_maskz_compress_epi32(full, state));
    let state = _mm512_mask_srli_epi32::<16>(state, full, state);
    let others = _mm512_sub_epi32(_mm512_set1_epi32(SLOTS as i32), slots);
    let more = _mm512_mullo_epi32(quotients(state, slots), others);
    (_mm512_add_epi32(_mm512_add_epi32(state, start), more), full, words)
}

/// `a` / `b`, rounded down. Exact: below 2^32 a double's quotient errs by less than the 2^-11 that lie between it and the
/// next whole number.
#[target_feature(enable = "avx512f")]
#[inline]
fn quotients(a: __m512i, b: __m512i) -> __m512i {
    let low = _mm512_div_pd(
        _mm512_cvtepu32_pd(_mm512_castsi512_si256(a)),
        _mm512_cvtepi32_pd(_mm512_castsi512_si256(b)),
    );
    let high = _mm512_div_pd(
        _mm512_cvtepu32_pd(_mm512_extracti64x4_epi64::<1>(a)),
        _mm512_cvtepi32_pd(_mm512_extracti64x4_epi64::<1>(b)),
    );
    let low = _mm512_castsi256_si512(_mm512_cvttpd_epu32(low));
    _mm512_inserti64x4::<1>(low, _mm512_cvttpd_epu32(high))
}
