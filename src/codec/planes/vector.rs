//! Splitting and merging blocks of `W` registers, for any instruction set that can load, rotate and interleave them.
//!
//! A block is `W` registers of elements. Split: rotate each element, then take the even bytes of each pair of
//! neighbouring registers into the first half of the registers and the odd ones into the second; after log2(W) such
//! steps register p holds plane p, because each step sorts by one more bit of the byte's number, the last one the
//! highest. Merging does the same backwards.

/// A vector register and what the two directions need of an instruction set.
///
/// # Safety
/// All functions: the processor has the instruction set. They are inlined into functions that are compiled for it.
pub(super) trait Vector: Copy {
    /// Bytes in a register.
    const BYTES: usize;
    /// Reads a block of `W * BYTES` bytes. Which of them share a register is the set's own affair, if `even` and `odd` put
    /// them in order again.
    ///
    /// # Safety
    /// So many bytes can be read.
    unsafe fn load_block<const W: usize>(from: *const u8) -> [Self; W];
    /// The inverse of `load_block`.
    ///
    /// # Safety
    /// So many bytes can be written.
    unsafe fn store_block<const W: usize>(block: [Self; W], to: *mut u8);
    /// Reads `BYTES` bytes in order.
    ///
    /// # Safety
    /// So many bytes can be read.
    unsafe fn load(from: *const u8) -> Self;
    /// Writes `BYTES` bytes in order.
    ///
    /// # Safety
    /// So many bytes can be written.
    unsafe fn store(self, to: *mut u8);
    /// Rotates each element of `W` bytes left by one bit.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn rotate_left<const W: usize>(self) -> Self;
    /// Rotates each element of `W` bytes right by one bit.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn rotate_right<const W: usize>(self) -> Self;
    /// The bytes with even numbers of two registers, and those with odd ones.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn unzip(self, next: Self) -> (Self, Self);
    /// The inverse of `unzip`.
    ///
    /// # Safety
    /// See the trait.
    unsafe fn zip(self, odd: Self) -> (Self, Self);
}

/// Splits whole blocks; the number of elements done.
///
/// # Safety
/// The processor has the instruction set of `V`.
#[inline(always)]
#[allow(clippy::indexing_slicing, reason = "numbers below W and W/2 of arrays of W, unrolled")]
pub(super) unsafe fn split<V: Vector, const W: usize>(raw: &[u8], planes: &mut [&mut [u8]; W]) -> usize {
    let least = planes.iter().map(|plane| plane.len()).min().unwrap_or(0);
    let blocks = least.min(raw.len() / W) / V::BYTES;
    let mut to = planes.each_mut().map(|plane| plane.as_mut_ptr());
    let mut from = raw.as_ptr();
    for _ in 0..blocks {
        // SAFETY: `blocks` blocks of W * BYTES bytes are in `raw`, and of BYTES bytes in each plane; the pointers advance
        // by as much each time.
        unsafe {
            let mut block = V::load_block::<W>(from);
            for register in &mut block {
                *register = register.rotate_left::<W>();
            }
            for _ in 0..W.trailing_zeros() {
                let before = block;
                for pair in 0..W / 2 {
                    (block[pair], block[W / 2 + pair]) = before[2 * pair].unzip(before[2 * pair + 1]);
                }
            }
            for (register, plane) in block.into_iter().zip(&mut to) {
                register.store(*plane);
                *plane = plane.add(V::BYTES);
            }
            from = from.add(W * V::BYTES);
        }
    }
    blocks * V::BYTES
}

/// Merges whole blocks; the number of elements done.
///
/// # Safety
/// The processor has the instruction set of `V`.
#[inline(always)]
#[allow(clippy::indexing_slicing, reason = "numbers below W and W/2 of arrays of W, unrolled")]
pub(super) unsafe fn merge<V: Vector, const W: usize>(planes: &[&[u8]; W], out: &mut [u8]) -> usize {
    let least = planes.iter().map(|plane| plane.len()).min().unwrap_or(0);
    let blocks = least.min(out.len() / W) / V::BYTES;
    let mut from = planes.map(|plane| plane.as_ptr());
    let mut to = out.as_mut_ptr();
    for _ in 0..blocks {
        // SAFETY: `blocks` blocks of BYTES bytes are in each plane, and of W * BYTES bytes in `out`; the pointers advance by
        // as much each time.
        unsafe {
            let mut block = from.map(|plane| V::load(plane));
            for _ in 0..W.trailing_zeros() {
                let before = block;
                for pair in 0..W / 2 {
                    (block[2 * pair], block[2 * pair + 1]) = before[pair].zip(before[W / 2 + pair]);
                }
            }
            for register in &mut block {
                *register = register.rotate_right::<W>();
            }
            V::store_block(block, to);
            from = from.map(|plane| plane.add(V::BYTES));
            to = to.add(W * V::BYTES);
        }
    }
    blocks * V::BYTES
}
