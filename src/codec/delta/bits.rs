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

    /// Appends the low `count` bits of `value`, which has no others.
    pub(super) fn put(&mut self, value: u32, count: u32) {
        self.put_all(&[u64::from(value)], &[count]);
    }

    /// Appends for each of `values` as many low bits as `counts` says; it has no others. At most 63.
    #[inline]
    pub(super) fn put_all(&mut self, values: &[u64], counts: &[u32]) {
        // What a step changes stays in registers.
        let (mut len, mut rest, mut fill) = (self.len, self.rest, self.fill);
        for (value, count) in values.iter().zip(counts) {
            // Up to 7 bits wait: above 57 more do not fit and go in two steps, the first of 32.
            let (mut value, mut count) = (*value, *count);
            if count > 57 {
                rest |= (value & 0xFFFF_FFFF) << fill;
                if let Some(to) = self.bytes.get_mut(len..len + 8) {
                    to.copy_from_slice(&rest.to_le_bytes());
                }
                len += 4;
                rest >>= 32;
                (value, count) = (value >> 32, count - 32);
            }
            rest |= value << fill;
            fill += count;
            if let Some(to) = self.bytes.get_mut(len..len + 8) {
                to.copy_from_slice(&rest.to_le_bytes());
            }
            len += fill as usize / 8;
            // In two steps: all 64 bits may go.
            rest = (rest >> ((fill & !7) / 2)) >> ((fill & !7) / 2);
            fill &= 7;
        }
        (self.len, self.rest, self.fill) = (len, rest, fill);
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
