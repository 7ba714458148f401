//! Bounded reads of a [`Source`], and how a check ends that finds a fault.
//!
//! Nothing is ever read past the end of the file, so an error of a read is a failure of the medium, never of the format.

use super::Source;
use crate::base::{Error, Result};

/// What [`Reader`] fetches at a time, in bytes.
const WINDOW: usize = 32 << 10;

/// Why a check did not end well.
#[derive(Debug)]
pub(super) enum Fault {
    /// The file is not what its format says; one line for people.
    Invalid(String),
    /// The bytes could not be had.
    Failed(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Fault::Failed(error)
    }
}

/// A [`Fault::Invalid`] as a result.
pub(super) fn invalid<T>(why: impl Into<String>) -> Result<T, Fault> {
    Err(Fault::Invalid(why.into()))
}

/// Bytes of a file as a message can hold them: printable, one line, 80 letters at most.
pub(super) fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.chars().take(80).map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// Up to `len` bytes from `offset` on; fewer only at the end of the file.
pub(super) fn at_most(source: &dyn Source, offset: u64, len: usize) -> Result<Vec<u8>> {
    let there = source.len().saturating_sub(offset);
    let len = usize::try_from(there).map_or(len, |there| there.min(len));
    let mut bytes = vec![0; len];
    if len > 0 {
        source.read_exact_at(offset, &mut bytes)?;
    }
    Ok(bytes)
}

/// The last `len` bytes, or all when there are fewer.
pub(super) fn tail(source: &dyn Source, len: usize) -> Result<Vec<u8>> {
    at_most(source, source.len().saturating_sub(len as u64), len)
}

/// Exactly `N` bytes from `offset` on; `None` when the file ends before.
pub(super) fn array<const N: usize>(source: &dyn Source, offset: u64) -> Result<Option<[u8; N]>> {
    Ok(at_most(source, offset, N)?.try_into().ok())
}

/// A range of a file, as a file of its own.
pub(super) struct Part<'a> {
    source: &'a dyn Source,
    begin: u64,
    len: u64,
}

impl<'a> Part<'a> {
    /// The `len` bytes from `begin` on; fewer where the file ends before.
    pub(super) fn new(source: &'a dyn Source, begin: u64, len: u64) -> Self {
        Part { source, begin, len: len.min(source.len().saturating_sub(begin)) }
    }
}

impl Source for Part<'_> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        self.source.read_exact_at(self.begin.saturating_add(offset), buf)
    }
}

/// Reads a range of a file from front to back, through one buffer.
pub(super) struct Reader<'a> {
    source: &'a dyn Source,
    /// Offset in the file of the next byte.
    at: u64,
    end: u64,
    buf: Vec<u8>,
    /// Offset in the file of the buffer's first byte.
    buf_at: u64,
}

impl<'a> Reader<'a> {
    /// A reader of the bytes from `at` to `end`, or to the end of the file when that comes first.
    pub(super) fn new(source: &'a dyn Source, at: u64, end: u64) -> Self {
        Reader { source, at, end: end.min(source.len()), buf: Vec::new(), buf_at: at }
    }

    /// Offset in the file of the next byte.
    pub(super) fn position(&self) -> u64 {
        self.at
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> u64 {
        self.end.saturating_sub(self.at)
    }

    /// The next `len` bytes, which the caller bounds; `None` when fewer are left.
    pub(super) fn take(&mut self, len: usize) -> Result<Option<&[u8]>> {
        if self.left() < len as u64 {
            return Ok(None);
        }
        let buffered = |this: &Self| {
            let from = usize::try_from(this.at.checked_sub(this.buf_at)?).ok()?;
            let to = from.checked_add(len)?;
            (to <= this.buf.len()).then_some(from..to)
        };
        if buffered(self).is_none() {
            let fetch =
                usize::try_from(self.left()).map_or(WINDOW.max(len), |left| left.min(WINDOW.max(len)));
            self.buf.clear();
            self.buf = at_most(self.source, self.at, fetch)?;
            self.buf_at = self.at;
        }
        let range = buffered(self);
        self.at += len as u64;
        Ok(range.and_then(|range| self.buf.get(range)))
    }

    /// The next `N` bytes as an array.
    pub(super) fn array<const N: usize>(&mut self) -> Result<Option<[u8; N]>> {
        Ok(self.take(N)?.and_then(|bytes| bytes.try_into().ok()))
    }

    /// Passes over `len` bytes without reading them; `None` when fewer are left.
    pub(super) fn skip(&mut self, len: u64) -> Option<()> {
        if self.left() < len {
            return None;
        }
        self.at += len;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::samples::Bytes;

    #[test]
    fn a_reader_gives_every_byte_once_and_none_past_its_range() {
        let bytes: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
        let source = Bytes::new(bytes.clone());
        let mut reader = Reader::new(&source, 10, 90_000);
        let mut seen = Vec::new();
        while let Some(part) = reader.take(977.min(reader.left() as usize).max(1)).unwrap() {
            seen.extend_from_slice(part);
        }
        assert_eq!(seen, bytes[10..90_000]);
        assert_eq!((reader.left(), reader.skip(1)), (0, None));
        assert!(source.reads() < 10, "{} reads", source.reads());
    }

    #[test]
    fn what_is_skipped_is_not_read() {
        let source = Bytes::new(vec![7; 1 << 20]);
        let mut reader = Reader::new(&source, 0, u64::MAX);
        assert_eq!(reader.take(4).unwrap(), Some(&[7; 4][..]));
        assert_eq!(reader.skip(1 << 19), Some(()));
        assert_eq!(reader.array().unwrap(), Some([7; 8]));
        assert_eq!(reader.position(), (1 << 19) + 12);
        assert!(source.read_bytes() <= 2 * WINDOW as u64);
        assert_eq!(reader.take(1 << 20).unwrap(), None);
    }

    #[test]
    fn a_failing_medium_is_an_error_and_a_short_file_is_not() {
        assert_eq!(at_most(&Bytes::new(vec![1, 2, 3]), 2, 10).unwrap(), [3]);
        assert!(at_most(&Bytes::new(vec![1, 2, 3]), 9, 10).unwrap().is_empty());
        assert!(at_most(&Bytes::failing(vec![1, 2, 3]), 0, 1).is_err());
        assert_eq!(shown(b"a\nb\xff").chars().count(), 4);
    }
}
