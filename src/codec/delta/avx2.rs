//! Whole rows of 32 elements with AVX2: four vectors of eight lanes.
//!
//! The same steps as `read::scalar`, in the same order of lanes; see there.

use std::arch::x86_64::*;

use super::rans::LANES;
use super::read::{Cursor, Tables};
use super::table::{PRECISION, SLOTS};

/// Lanes of a vector, and vectors of a row.
const EIGHT: usize = 8;
const VECTORS: usize = LANES / EIGHT;

/// For each set of lanes that take a word, which word each lane takes; a byte a lane.
static TAKES: [[u8; EIGHT]; 256] = takes();

const fn takes() -> [[u8; EIGHT]; 256] {
    let mut takes = [[0; EIGHT]; 256];
    let mut set = 0;
    #[allow(clippy::indexing_slicing, reason = "at compile time: an index out of range would not compile")]
    while set < 256 {
        let (mut lane, mut next) = (0, 0);
        while lane < EIGHT {
            takes[set][lane] = next;
            next += (set >> lane & 1) as u8;
            lane += 1;
        }
        set += 1;
    }
    takes
}

/// Decodes whole rows as long as the stored bytes reach far enough to load vectors of them; gives the number of elements
/// done, a multiple of [`LANES`].
#[target_feature(enable = "avx2,popcnt")]
pub(super) fn rows<const W: usize>(
    tables: &Tables,
    cursor: &mut Cursor<'_>,
    base: &[u8],
    out: &mut [u8],
) -> usize {
    let row_bytes = W * LANES;
    let stored = cursor.stored;
    let mut states = [_mm256_setzero_si256(); VECTORS];
    for (state, lanes) in states.iter_mut().zip(cursor.states.as_chunks::<EIGHT>().0) {
        // SAFETY: eight numbers of 4 bytes.
        *state = unsafe { _mm256_loadu_si256(lanes.as_ptr().cast()) };
    }
    let rows = base.chunks_exact(row_bytes).zip(out.chunks_exact_mut(row_bytes));
    let mut done = 0;
    for (base, out) in rows {
        if !cursor.reaches() {
            break;
        }
        for (n, state) in states.iter_mut().enumerate() {
            // SAFETY: `base` holds 32 elements, of which this vector has 8.
            let base = unsafe { load::<W>(base.as_ptr().add(n * EIGHT * W)) };
            let slot = slots::<W>(tables, base, *state);
            let words = stored.as_ptr().wrapping_add(cursor.word);
            // SAFETY: a row takes at most 64 bytes of words and `reaches` has seen that as many are there.
            let words = unsafe { _mm_loadu_si128(words.cast()) };
            let taken;
            (*state, taken) = step(*state, slot, words);
            cursor.word += 2 * taken as usize;
            let bits = stored.as_ptr().wrapping_add(cursor.bit / 8);
            // SAFETY: three vectors take at most 94 bytes, this load 32, and `reaches` has seen 128.
            let bits = unsafe { _mm256_loadu_si256(bits.cast()) };
            let (low, taken) = low_bits(slot, bits, (cursor.bit % 8) as i32);
            cursor.bit += taken as usize;
            // SAFETY: `out` is as long as `base`.
            unsafe { store::<W>(out.as_mut_ptr().add(n * EIGHT * W), apply::<W>(base, slot, low)) };
        }
        done += LANES;
    }
    for (lanes, state) in cursor.states.as_chunks_mut::<EIGHT>().0.iter_mut().zip(states) {
        // SAFETY: eight numbers of 4 bytes.
        unsafe { _mm256_storeu_si256(lanes.as_mut_ptr().cast(), state) };
    }
    done
}

/// Eight elements, sign extended.
///
/// # Safety
/// 8 x `W` bytes can be read at `from`.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn load<const W: usize>(from: *const u8) -> __m256i {
    // SAFETY: the caller's promise.
    unsafe {
        if W == 2 {
            _mm256_cvtepi16_epi32(_mm_loadu_si128(from.cast()))
        } else {
            _mm256_loadu_si256(from.cast())
        }
    }
}

/// The low `W` bytes of each lane, which are sign extended.
///
/// # Safety
/// 8 x `W` bytes can be written at `to`.
#[target_feature(enable = "avx2")]
#[inline]
unsafe fn store<const W: usize>(to: *mut u8, bits: __m256i) {
    // SAFETY: the caller's promise.
    unsafe {
        if W == 2 {
            let halves = _mm256_packs_epi32(bits, bits);
            _mm_storeu_si128(to.cast(), _mm256_castsi256_si128(_mm256_permute4x64_epi64::<0b1000>(halves)));
        } else {
            _mm256_storeu_si256(to.cast(), bits);
        }
    }
}

/// The slots that the states stand at, in the tables of the bases' groups.
#[target_feature(enable = "avx2")]
#[inline]
fn slots<const W: usize>(tables: &Tables, base: __m256i, state: __m256i) -> __m256i {
    let exponent = if W == 2 { _mm256_srli_epi32::<7>(base) } else { _mm256_srli_epi32::<23>(base) };
    let context = _mm256_and_si256(exponent, _mm256_set1_epi32(0xFF));
    // SAFETY: a context is below 256, which is the length of `begins`.
    let begin = unsafe { _mm256_i32gather_epi32::<4>(tables.begins.as_ptr().cast(), context) };
    let place = _mm256_and_si256(state, _mm256_set1_epi32(SLOTS as i32 - 1));
    // SAFETY: `begins` holds group x SLOTS, a place is below SLOTS, and `Tables::read` has filled SLOTS for each group.
    unsafe { _mm256_i32gather_epi32::<4>(tables.slots.as_ptr().cast(), _mm256_add_epi32(begin, place)) }
}

/// The states after their symbols, refilled from `words` in the order of lanes, and how many words that took.
#[target_feature(enable = "avx2,popcnt")]
#[inline]
fn step(state: __m256i, slot: __m256i, words: __m128i) -> (__m256i, u32) {
    let eleven = _mm256_set1_epi32(SLOTS as i32 - 1);
    let quotient = _mm256_srli_epi32::<{ PRECISION as i32 }>(state);
    let less_one = _mm256_and_si256(_mm256_srli_epi32::<{ PRECISION as i32 }>(slot), eleven);
    let place = _mm256_add_epi32(quotient, _mm256_and_si256(slot, eleven));
    let state = _mm256_add_epi32(_mm256_mullo_epi32(quotient, less_one), place);
    // Below 2^16: nothing in the upper half.
    let low = _mm256_cmpeq_epi32(_mm256_srli_epi32::<16>(state), _mm256_setzero_si256());
    let set = _mm256_movemask_ps(_mm256_castsi256_ps(low)) as u8;
    let takes = u64::from_le_bytes(TAKES.get(usize::from(set)).copied().unwrap_or_default());
    let takes = _mm256_cvtepu8_epi32(_mm_cvtsi64_si128(takes as i64));
    let refill = _mm256_permutevar8x32_epi32(_mm256_cvtepu16_epi32(words), takes);
    let refilled = _mm256_or_si256(_mm256_slli_epi32::<16>(state), refill);
    (_mm256_blendv_epi8(state, refilled, low), set.count_ones())
}

/// The low bits of each lane, which follow each other from bit `first` of `bits` on, and how many they are.
///
/// At most 31 a lane: with `first` below 8 all lie within the vector, and a lane finds its own in two neighbouring words.
#[target_feature(enable = "avx2")]
#[inline]
fn low_bits(slot: __m256i, bits: __m256i, first: i32) -> (__m256i, u32) {
    let count = counts(slot);
    let mut sum = count;
    sum = _mm256_add_epi32(sum, _mm256_slli_si256::<4>(sum));
    sum = _mm256_add_epi32(sum, _mm256_slli_si256::<8>(sum));
    // Those shifts stay within halves: the sum of the lower half is added to the upper one.
    let half = _mm256_permutevar8x32_epi32(sum, _mm256_set1_epi32(3));
    sum = _mm256_add_epi32(sum, _mm256_blend_epi32::<0xF0>(_mm256_setzero_si256(), half));
    let begin = _mm256_add_epi32(_mm256_sub_epi32(sum, count), _mm256_set1_epi32(first));
    let word = _mm256_srli_epi32::<5>(begin);
    let shift = _mm256_and_si256(begin, _mm256_set1_epi32(31));
    let here = _mm256_permutevar8x32_epi32(bits, word);
    let next = _mm256_permutevar8x32_epi32(bits, _mm256_add_epi32(word, _mm256_set1_epi32(1)));
    let below = _mm256_srlv_epi32(here, shift);
    // A shift by 32 gives 0.
    let above = _mm256_sllv_epi32(next, _mm256_sub_epi32(_mm256_set1_epi32(32), shift));
    let not_own = _mm256_sllv_epi32(_mm256_set1_epi32(-1), count);
    let low = _mm256_andnot_si256(not_own, _mm256_or_si256(below, above));
    (low, _mm256_extract_epi32::<7>(sum) as u32)
}

/// How many low bits each lane has.
#[target_feature(enable = "avx2")]
#[inline]
fn counts(slot: __m256i) -> __m256i {
    _mm256_srli_epi32::<{ 2 * PRECISION as i32 + 3 }>(slot)
}

/// The elements: the bases moved by the differences.
#[target_feature(enable = "avx2")]
#[inline]
fn apply<const W: usize>(base: __m256i, slot: __m256i, low: __m256i) -> __m256i {
    let top = _mm256_and_si256(_mm256_srli_epi32::<{ 2 * PRECISION as i32 + 1 }>(slot), _mm256_set1_epi32(3));
    let sign = _mm256_and_si256(_mm256_srli_epi32::<{ 2 * PRECISION as i32 }>(slot), _mm256_set1_epi32(1));
    let minus = _mm256_sub_epi32(_mm256_setzero_si256(), sign);
    let magnitude = _mm256_or_si256(_mm256_sllv_epi32(top, counts(slot)), low);
    let difference = _mm256_add_epi32(_mm256_xor_si256(magnitude, minus), sign);
    let place = _mm256_add_epi32(ordered::<W>(base), difference);
    let wrapped = if W == 2 { _mm256_srai_epi32::<16>(_mm256_slli_epi32::<16>(place)) } else { place };
    ordered::<W>(wrapped)
}

/// As `order::ordered`.
#[target_feature(enable = "avx2")]
#[inline]
fn ordered<const W: usize>(bits: __m256i) -> __m256i {
    let magnitude = if W == 2 { 0x7FFF } else { 0x7FFF_FFFF };
    let flips = _mm256_and_si256(_mm256_srai_epi32::<31>(bits), _mm256_set1_epi32(magnitude));
    _mm256_xor_si256(bits, flips)
}
