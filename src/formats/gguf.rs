//! GGUF: counts, keys with values, the place of each tensor, then the tensors.
//!
//! Versions 2 and 3, little-endian, as llama.cpp writes them. The walk over keys is bounded by what it reads; a list of
//! keys beyond that, and another version, are taken as they are.

use super::Source;
use super::read::{Fault, Reader, invalid};
use crate::base::Result;

/// How a file begins.
pub(super) const MAGIC: &[u8] = b"GGUF";
/// The bytes of keys, values and places that are walked over.
const WALK_MAX: u64 = 64 << 20;
/// The most sides that a tensor has.
const SIDES_MAX: u32 = 8;
/// Where tensors begin when no key says otherwise: at a multiple of so many bytes.
const ALIGNMENT: u64 = 32;

/// Types of tensors: number, bytes of a block, elements in a block. From ggml's table.
const TYPES: &[(u32, u64, u64)] = &[
    (0, 4, 1),
    (1, 2, 1),
    (2, 18, 32),
    (3, 20, 32),
    (6, 22, 32),
    (7, 24, 32),
    (8, 34, 32),
    (9, 36, 32),
    (10, 84, 256),
    (11, 110, 256),
    (12, 144, 256),
    (13, 176, 256),
    (14, 210, 256),
    (15, 292, 256),
    (24, 1, 1),
    (25, 2, 1),
    (26, 4, 1),
    (27, 8, 1),
    (28, 8, 1),
    (30, 2, 1),
];

/// Why the walk stopped.
enum Stop {
    /// The file ends first.
    Cut,
    /// At the limit, or at what is not known.
    Unknown,
    Failed(crate::base::Error),
}

impl From<crate::base::Error> for Stop {
    fn from(error: crate::base::Error) -> Self {
        Stop::Failed(error)
    }
}

/// Checks that keys and tensors are all inside the file.
pub(super) fn check(source: &dyn Source) -> Result<(), Fault> {
    match walk(source) {
        Ok(end) if end > source.len() => {
            invalid(format!("gguf of {} bytes whose header names {end}: cut short", source.len()))
        }
        Ok(_) | Err(Stop::Unknown) => Ok(()),
        Err(Stop::Cut) => invalid("gguf that ends within its header: cut short"),
        Err(Stop::Failed(error)) => Err(error.into()),
    }
}

/// Where the last tensor ends.
fn walk(source: &dyn Source) -> Result<u64, Stop> {
    let mut walk = Walk { reader: Reader::new(source, 4, u64::MAX), alignment: ALIGNMENT };
    let version = walk.u32()?;
    if !(2..=3).contains(&version) {
        return Err(Stop::Unknown);
    }
    let (tensors, keys) = (walk.u64()?, walk.u64()?);
    for _ in 0..keys {
        walk.pair()?;
    }
    let mut last = 0;
    for _ in 0..tensors {
        last = walk.tensor()?.max(last);
    }
    let begin = walk.reader.position().checked_next_multiple_of(walk.alignment).ok_or(Stop::Cut)?;
    begin.checked_add(last).ok_or(Stop::Cut)
}

struct Walk<'a> {
    reader: Reader<'a>,
    alignment: u64,
}

impl Walk<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Stop> {
        if self.reader.position() > WALK_MAX {
            return Err(Stop::Unknown);
        }
        self.reader.array()?.ok_or(Stop::Cut)
    }

    fn u32(&mut self) -> Result<u32, Stop> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Stop> {
        self.array().map(u64::from_le_bytes)
    }

    fn skip(&mut self, len: u64) -> Result<(), Stop> {
        self.reader.skip(len).ok_or(Stop::Cut)
    }

    /// A key and its value.
    fn pair(&mut self) -> Result<(), Stop> {
        let len = self.u64()?;
        let is_alignment = len == 17 && self.array()? == *b"general.alignment";
        if len != 17 {
            self.skip(len)?;
        }
        match self.u32()? {
            4 if is_alignment => {
                self.alignment = u64::from(self.u32()?.max(1));
                Ok(())
            }
            9 => {
                let (kind, count) = (self.u32()?, self.u64()?);
                match kind {
                    8 => (0..count).try_for_each(|_| self.value(8)),
                    kind => self.skip(width(kind)?.checked_mul(count).ok_or(Stop::Cut)?),
                }
            }
            kind => self.value(kind),
        }
    }

    /// A value that is no list.
    fn value(&mut self, kind: u32) -> Result<(), Stop> {
        let len = if kind == 8 { self.u64()? } else { width(kind)? };
        self.skip(len)
    }

    /// The place of a tensor: where it ends, from the begin of the tensors on.
    fn tensor(&mut self) -> Result<u64, Stop> {
        self.value(8)?;
        let sides = self.u32()?;
        if sides > SIDES_MAX {
            return Err(Stop::Unknown);
        }
        let mut elements = 1_u64;
        for _ in 0..sides {
            elements = elements.saturating_mul(self.u64()?);
        }
        let (kind, offset) = (self.u32()?, self.u64()?);
        let bytes = TYPES
            .iter()
            .find(|(number, ..)| *number == kind)
            .map_or(0, |(_, block, per_block)| (elements / per_block).saturating_mul(*block));
        Ok(offset.saturating_add(bytes))
    }
}

/// The bytes of a value of fixed length.
fn width(kind: u32) -> Result<u64, Stop> {
    match kind {
        0 | 1 | 7 => Ok(1),
        2 | 3 => Ok(2),
        4..=6 => Ok(4),
        10..=12 => Ok(8),
        _ => Err(Stop::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::bytes::Put;
    use crate::formats::samples::Bytes;

    fn text(out: &mut Vec<u8>, text: &str) {
        out.u64(text.len() as u64).raw(text.as_bytes());
    }

    /// A file of one tensor of 4 x 8 floats at offset 64 of the tensors, aligned to 64 bytes.
    fn file() -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.u32(3).u64(1).u64(3);
        text(&mut out, "general.alignment");
        out.u32(4).u32(64);
        text(&mut out, "tokenizer.ggml.tokens");
        out.u32(9).u32(8).u64(2);
        text(&mut out, "a");
        text(&mut out, "bc");
        text(&mut out, "scores");
        out.u32(9).u32(6).u64(3).raw(&[0; 12]);
        text(&mut out, "blk.0.weight");
        out.u32(2).u64(4).u64(8).u32(0).u64(64);
        out.resize(out.len().next_multiple_of(64) + 64 + 128, 7);
        out
    }

    #[test]
    fn a_whole_file_is_valid_and_every_cut_of_it_is_not() {
        let whole = file();
        assert!(check(&Bytes::new(&whole[..])).is_ok());
        assert!((4..whole.len()).all(|len| check(&Bytes::new(&whole[..len])).is_err()));
        let padded = [&whole[..], &[0; 30]].concat();
        assert!(check(&Bytes::new(padded)).is_ok());
    }

    #[test]
    fn another_version_is_taken_as_it_is_and_counts_without_end_end() {
        assert!(check(&Bytes::new(*b"GGUF\x01\0\0\0....")).is_ok());
        let mut endless = MAGIC.to_vec();
        endless.u32(3).u64(u64::MAX).u64(u64::MAX);
        assert!(check(&Bytes::new(endless)).is_err());
    }
}
