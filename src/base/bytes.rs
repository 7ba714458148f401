//! A bounded cursor over little-endian bytes, and its writing twin.
//!
//! Every on-disk record is read through [`Cursor`]: any bytes in, a value or `None` out, no panic,
//! no allocation larger than the input.

/// Reads little-endian fields from a slice; every read is `None` past the end.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    /// A cursor at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Cursor { rest: bytes }
    }

    /// The next `len` bytes.
    pub fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(head)
    }

    /// The next `N` bytes as an array.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*head)
    }

    /// The next byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    /// The next two bytes.
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// The next four bytes.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// The next eight bytes.
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// The next eight bytes, signed.
    pub fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    /// A byte string with a u32 length before it, as [`Put::blob`] writes it.
    pub fn blob(&mut self) -> Option<&'a [u8]> {
        let len = self.u32()?;
        self.take(usize::try_from(len).ok()?)
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// `Some` when all is read: a record with trailing bytes is not a record.
    pub fn end(&self) -> Option<()> {
        self.rest.is_empty().then_some(())
    }
}

/// Appends little-endian fields to a byte vector.
pub trait Put {
    /// Appends one byte.
    fn u8(&mut self, value: u8) -> &mut Self;
    /// Appends two bytes.
    fn u16(&mut self, value: u16) -> &mut Self;
    /// Appends four bytes.
    fn u32(&mut self, value: u32) -> &mut Self;
    /// Appends eight bytes.
    fn u64(&mut self, value: u64) -> &mut Self;
    /// Appends eight bytes, signed.
    fn i64(&mut self, value: i64) -> &mut Self;
    /// Appends bytes as they are.
    fn raw(&mut self, bytes: &[u8]) -> &mut Self;
    /// Appends a u32 length and the bytes. Every caller's bytes are far below 4 GiB.
    fn blob(&mut self, bytes: &[u8]) -> &mut Self;
}

impl Put for Vec<u8> {
    fn u8(&mut self, value: u8) -> &mut Self {
        self.push(value);
        self
    }
    fn u16(&mut self, value: u16) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }
    fn u32(&mut self, value: u32) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }
    fn u64(&mut self, value: u64) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }
    fn i64(&mut self, value: i64) -> &mut Self {
        self.raw(&value.to_le_bytes())
    }
    fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.extend_from_slice(bytes);
        self
    }
    fn blob(&mut self, bytes: &[u8]) -> &mut Self {
        self.u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX)).raw(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_read_and_nothing_past_the_end() {
        let mut bytes = Vec::new();
        bytes.u8(7).u16(300).u32(70_000).u64(1 << 40).i64(-5).blob(b"name");
        let mut cursor = Cursor::new(&bytes);
        assert_eq!(
            (cursor.u8(), cursor.u16(), cursor.u32(), cursor.u64(), cursor.i64()),
            (Some(7), Some(300), Some(70_000), Some(1 << 40), Some(-5))
        );
        assert_eq!(cursor.end(), None);
        assert_eq!(cursor.blob(), Some(&b"name"[..]));
        assert_eq!(cursor.end(), Some(()));
        assert_eq!(cursor.u8(), None);
    }

    #[test]
    fn a_length_beyond_the_input_is_refused() {
        assert_eq!(Cursor::new(&[255, 255, 255, 255, 1]).blob(), None);
    }
}
