//! Whole rows of 32 elements with AVX-512: two vectors of sixteen lanes.
//!
//! The same steps as `read::scalar`, in the same order of lanes; see there.

use std::arch::x86_64::*;

use super::rans::{LANES, LOWEST};
use super::read::{Cursor, Tables};
use super::table::{PRECISION, SLOTS};

/// Lanes of a vector.
const HALF: usize = 16;

/// Decodes whole rows as long as the stored bytes reach far enough to load vectors of them; gives the number of elements
/// done, a multiple of [`LANES`].
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
pub(super) fn rows<const W: usize>(
    tables: &Tables,
    cursor: &mut Cursor<'_>,
    base: &[u8],
    out: &mut [u8],
) -> usize {
    let row_bytes = W * LANES;
    let stored = cursor.stored;
    // SAFETY: the states are 32 numbers of 4 bytes.
    let mut states: [__m512i; 2] = unsafe {
        [
            _mm512_loadu_si512(cursor.states.as_ptr().cast()),
            _mm512_loadu_si512(cursor.states.as_ptr().add(HALF).cast()),
        ]
    };
    let groups = groups(tables);
    let rows = base.chunks_exact(row_bytes).zip(out.chunks_exact_mut(row_bytes));
    let mut done = 0;
    for (base, out) in rows {
        if !cursor.reaches() {
            break;
        }
        for (half, state) in states.iter_mut().enumerate() {
            // SAFETY: `base` holds 32 elements, of which this half is 16.
            let base = unsafe { load::<W>(base.as_ptr().add(half * HALF * W)) };
            let slot = slots::<W>(tables, groups, base, *state);
            let words = stored.as_ptr().wrapping_add(cursor.word);
            // SAFETY: a row takes at most 64 bytes of words and `reaches` has seen that as many are there.
            let words = unsafe { _mm256_loadu_si256(words.cast()) };
            let taken;
            (*state, taken) = step(*state, slot, words);
            cursor.word += 2 * taken as usize;
            let bits = stored.as_ptr().wrapping_add(cursor.bit / 8);
            // SAFETY: the first half takes at most 62 bytes and `reaches` has seen 128.
            let bits = unsafe { _mm512_loadu_si512(bits.cast()) };
            let (low, taken) = low_bits(slot, bits, (cursor.bit % 8) as i32);
            cursor.bit += taken as usize;
            // SAFETY: `out` is as long as `base`.
            unsafe { store::<W>(out.as_mut_ptr().add(half * HALF * W), apply::<W>(base, slot, low)) };
        }
        done += LANES;
    }
    for (lanes, state) in cursor.states.as_chunks_mut::<HALF>().0.iter_mut().zip(states) {
        // SAFETY: sixteen numbers of 4 bytes.
        unsafe { _mm512_storeu_si512(lanes.as_mut_ptr().cast(), state) };
    }
    done
}

/// Sixteen elements, sign extended.
///
/// # Safety
/// 16 x `W` bytes can be read at `from`.
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn load<const W: usize>(from: *const u8) -> __m512i {
    // SAFETY: the caller's promise.
    unsafe {
        if W == 2 {
            _mm512_cvtepi16_epi32(_mm256_loadu_si256(from.cast()))
        } else {
            _mm512_loadu_si512(from.cast())
        }
    }
}

/// The low `W` bytes of each lane.
///
/// # Safety
/// 16 x `W` bytes can be written at `to`.
#[target_feature(enable = "avx512f")]
#[inline]
unsafe fn store<const W: usize>(to: *mut u8, bits: __m512i) {
    // SAFETY: the caller's promise.
    unsafe {
        if W == 2 {
            _mm256_storeu_si256(to.cast(), _mm512_cvtepi32_epi16(bits));
        } else {
            _mm512_storeu_si512(to.cast(), bits);
        }
    }
}

/// The groups of all 256 contexts, 64 a vector.
#[target_feature(enable = "avx512f")]
#[inline]
fn groups(tables: &Tables) -> [__m512i; 4] {
    let mut groups = [_mm512_setzero_si512(); 4];
    for (to, from) in groups.iter_mut().zip(tables.groups.as_chunks::<64>().0) {
        // SAFETY: 64 bytes.
        *to = unsafe { _mm512_loadu_si512(from.as_ptr().cast()) };
    }
    groups
}

/// The slots that the states stand at, in the tables of the bases' groups.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
#[inline]
fn slots<const W: usize>(tables: &Tables, groups: [__m512i; 4], base: __m512i, state: __m512i) -> __m512i {
    let context = if W == 2 { _mm512_srli_epi32::<7>(base) } else { _mm512_srli_epi32::<23>(base) };
    // The lowest byte of each lane is the context; what the three above it find is dropped.
    let [a, b, c, d] = groups;
    let (lower, upper) = (_mm512_permutex2var_epi8(a, context, b), _mm512_permutex2var_epi8(c, context, d));
    let group = _mm512_mask_mov_epi8(lower, _mm512_movepi8_mask(context), upper);
    let begin = _mm512_slli_epi32::<PRECISION>(_mm512_and_si512(group, _mm512_set1_epi32(0xFF)));
    let place = _mm512_and_si512(state, _mm512_set1_epi32(SLOTS as i32 - 1));
    // SAFETY: a place is below SLOTS, and `Tables::read` has filled SLOTS for each group that `groups` holds.
    unsafe { _mm512_i32gather_epi32::<4>(_mm512_add_epi32(begin, place), tables.slots.as_ptr().cast()) }
}

/// The states after their symbols, refilled from `words` in the order of lanes, and how many words that took.
#[target_feature(enable = "avx512f")]
#[inline]
fn step(state: __m512i, slot: __m512i, words: __m256i) -> (__m512i, u32) {
    let eleven = _mm512_set1_epi32(SLOTS as i32 - 1);
    let quotient = _mm512_srli_epi32::<PRECISION>(state);
    let less_one = _mm512_and_si512(_mm512_srli_epi32::<PRECISION>(slot), eleven);
    let place = _mm512_add_epi32(quotient, _mm512_and_si512(slot, eleven));
    let state = _mm512_add_epi32(_mm512_mullo_epi32(quotient, less_one), place);
    let low = _mm512_cmplt_epu32_mask(state, _mm512_set1_epi32(LOWEST as i32));
    let refill = _mm512_maskz_expand_epi32(low, _mm512_cvtepu16_epi32(words));
    let state = _mm512_mask_or_epi32(state, low, _mm512_slli_epi32::<16>(state), refill);
    (state, low.count_ones())
}

/// The low bits of each lane, which follow each other from bit `first` of `bits` on, and how many they are.
///
/// At most 31 a lane: with `first` below 8 all lie within the vector, and a lane finds its own in two neighbouring words.
#[target_feature(enable = "avx512f")]
#[inline]
fn low_bits(slot: __m512i, bits: __m512i, first: i32) -> (__m512i, u32) {
    let count = counts(slot);
    let zero = _mm512_setzero_si512();
    let mut sum = count;
    sum = _mm512_add_epi32(sum, _mm512_alignr_epi32::<15>(sum, zero));
    sum = _mm512_add_epi32(sum, _mm512_alignr_epi32::<14>(sum, zero));
    sum = _mm512_add_epi32(sum, _mm512_alignr_epi32::<12>(sum, zero));
    sum = _mm512_add_epi32(sum, _mm512_alignr_epi32::<8>(sum, zero));
    let begin = _mm512_add_epi32(_mm512_sub_epi32(sum, count), _mm512_set1_epi32(first));
    let word = _mm512_srli_epi32::<5>(begin);
    let shift = _mm512_and_si512(begin, _mm512_set1_epi32(31));
    let here = _mm512_permutexvar_epi32(word, bits);
    let next = _mm512_permutexvar_epi32(_mm512_add_epi32(word, _mm512_set1_epi32(1)), bits);
    let below = _mm512_srlv_epi32(here, shift);
    // A shift by 32 gives 0.
    let above = _mm512_sllv_epi32(next, _mm512_sub_epi32(_mm512_set1_epi32(32), shift));
    let not_own = _mm512_sllv_epi32(_mm512_set1_epi32(-1), count);
    let low = _mm512_andnot_si512(not_own, _mm512_or_si512(below, above));
    let total = _mm_extract_epi32::<3>(_mm512_extracti32x4_epi32::<3>(sum));
    (low, total as u32)
}

/// How many low bits each lane has.
#[target_feature(enable = "avx512f")]
#[inline]
fn counts(slot: __m512i) -> __m512i {
    _mm512_srli_epi32::<{ 2 * PRECISION + 3 }>(slot)
}

/// The elements: the bases moved by the differences.
#[target_feature(enable = "avx512f")]
#[inline]
fn apply<const W: usize>(base: __m512i, slot: __m512i, low: __m512i) -> __m512i {
    let top = _mm512_and_si512(_mm512_srli_epi32::<{ 2 * PRECISION + 1 }>(slot), _mm512_set1_epi32(3));
    let sign = _mm512_and_si512(_mm512_srli_epi32::<{ 2 * PRECISION }>(slot), _mm512_set1_epi32(1));
    let minus = _mm512_sub_epi32(_mm512_setzero_si512(), sign);
    let magnitude = _mm512_or_si512(_mm512_sllv_epi32(top, counts(slot)), low);
    let difference = _mm512_add_epi32(_mm512_xor_si512(magnitude, minus), sign);
    let place = _mm512_add_epi32(ordered::<W>(base), difference);
    let wrapped = if W == 2 { _mm512_srai_epi32::<16>(_mm512_slli_epi32::<16>(place)) } else { place };
    ordered::<W>(wrapped)
}

/// As `order::ordered`.
#[target_feature(enable = "avx512f")]
#[inline]
fn ordered<const W: usize>(bits: __m512i) -> __m512i {
    let magnitude = if W == 2 { 0x7FFF } else { 0x7FFF_FFFF };
    let flips = _mm512_and_si512(_mm512_srai_epi32::<31>(bits), _mm512_set1_epi32(magnitude));
    _mm512_xor_si512(bits, flips)
}
