//! Bits packed from the low end of each byte up.

/// Writes bits into a buffer that is reused and grows in steps.
#[derive(Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// Whole bytes written.
    len: usize,
    /// The bits of the byte that is not whole, and their number, below 8.
    rest: u64,
    fill: u32,
}

impl BitWriter {
    /// Begins anew, with room for `bytes` bytes; more are refused.
    pub(super) fn restart(&mut self, bytes: usize) {
        if self.bytes.len() < bytes + 8 {
            self.bytes.resize(bytes + 8, 0);
        }
        (self.len, self.rest, self.fill) = (0, 0, 0);
    }

    /// Appends the low `count` bits of `value`, which has no others; at most 32.
    #[inline(always)]
    pub(super) fn put(&mut self, value: u32, count: u32) {
        self.rest |= u64::from(value) << self.fill;
        self.fill += count;
        // All eight bytes are written each time: what is not whole yet is written again.
        if let Some(to) = self.bytes.get_mut(self.len..self.len + 8) {
            to.copy_from_slice(&self.rest.to_le_bytes());
        }
        self.len += self.fill as usize / 8;
        self.rest >>= self.fill & !7;
        self.fill &= 7;
    }

    /// The bytes, the last one filled up with zeros.
    pub(super) fn finish(&self) -> &[u8] {
        self.bytes.get(..self.len + usize::from(self.fill > 0)).unwrap_or_default()
    }
}

/// Reads bits; behind the end there are zeros.
pub(super) struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> BitReader<'a> {
    /// A reader that begins at bit `at` of `bytes`.
    pub(super) fn new(bytes: &'a [u8], at: usize) -> Self {
        BitReader { bytes, at }
    }

    /// The next `count` bits, at most 32.
    #[inline(always)]
    pub(super) fn take(&mut self, count: u32) -> u32 {
        let from = self.bytes.get(self.at / 8..).unwrap_or_default();
        let eight = match from.first_chunk::<8>() {
            Some(eight) => *eight,
            None => std::array::from_fn(|n| from.get(n).copied().unwrap_or(0)),
        };
        let bits = u64::from_le_bytes(eight) >> (self.at % 8);
        self.at += count as usize;
        (bits & ((1 << count) - 1)) as u32
    }

    /// Gives back the last `count` bits.
    pub(super) fn rewind(&mut self, count: u32) {
        self.at = self.at.saturating_sub(count as usize);
    }

    /// Bits read so far, and before the first; may lie behind the end.
    pub(super) fn position(&self) -> usize {
        self.at
    }

    /// Skips to the next whole byte and gives its number, if all before it was there and what is skipped is zero.
    pub(super) fn byte_aligned(&mut self) -> Option<usize> {
        let padding = (8 - self.at as u32 % 8) % 8;
        let end = (self.at + padding as usize) / 8;
        (end <= self.bytes.len() && self.take(padding) == 0).then_some(end)
    }
}
