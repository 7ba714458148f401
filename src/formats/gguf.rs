//! GGUF: counts, keys with values, the place of each tensor, then the tensors.
//!
//! Versions 2 and 3, little-endian, as llama.cpp writes them. The walk over keys is bounded by what it reads; a list of
//! keys beyond that, and another version, are taken as they are.

use super::Source;
use super::describe::Described;
use super::read::{Fault, Reader, invalid};
use super::tensors::TENSORS_MAX;
use crate::base::Result;

/// How a file begins.
pub(super) const MAGIC: &[u8] = b"GGUF";
/// The bytes of keys, values and places that are walked over.
const WALK_MAX: u64 = 64 << 20;
/// A name beyond this, in bytes, is passed over; ggml has names of 63.
const NAME_MAX: usize = 1024;
/// The most sides that a tensor has.
const SIDES_MAX: u32 = 8;
/// Where tensors begin when no key says otherwise: at a multiple of so many bytes.
const ALIGNMENT: u64 = 32;

/// Types of tensors: number, name, bytes of a block, elements in a block. From ggml's table.
const TYPES: &[(u32, &str, u64, u64)] = &[
    (0, "f32", 4, 1),
    (1, "f16", 2, 1),
    (2, "q4_0", 18, 32),
    (3, "q4_1", 20, 32),
    (6, "q5_0", 22, 32),
    (7, "q5_1", 24, 32),
    (8, "q8_0", 34, 32),
    (9, "q8_1", 36, 32),
    (10, "q2_k", 84, 256),
    (11, "q3_k", 110, 256),
    (12, "q4_k", 144, 256),
    (13, "q5_k", 176, 256),
    (14, "q6_k", 210, 256),
    (15, "q8_k", 292, 256),
    (16, "iq2_xxs", 66, 256),
    (17, "iq2_xs", 74, 256),
    (18, "iq3_xxs", 98, 256),
    (19, "iq1_s", 50, 256),
    (20, "iq4_nl", 18, 32),
    (21, "iq3_s", 110, 256),
    (22, "iq2_s", 82, 256),
    (23, "iq4_xs", 136, 256),
    (24, "i8", 1, 1),
    (25, "i16", 2, 1),
    (26, "i32", 4, 1),
    (27, "i64", 8, 1),
    (28, "f64", 8, 1),
    (29, "iq1_m", 56, 256),
    (30, "bf16", 2, 1),
    (34, "tq1_0", 54, 256),
    (35, "tq2_0", 66, 256),
    (39, "mxfp4", 17, 32),
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
    let mut last = 0;
    match walk(source, &mut |row| last = row.end().max(last)) {
        Ok(begin) => match begin.checked_add(last) {
            Some(end) if end <= source.len() => Ok(()),
            Some(end) => {
                invalid(format!("gguf of {} bytes whose header names {end}: cut short", source.len()))
            }
            None => invalid("gguf that ends within its header: cut short"),
        },
        Err(Stop::Unknown) => Ok(()),
        Err(Stop::Cut) => invalid("gguf that ends within its header: cut short"),
        Err(Stop::Failed(error)) => Err(error.into()),
    }
}

/// The tensors as their table describes them; none where it is damaged or not known.
pub(super) fn describe(source: &dyn Source) -> Result<Vec<Described>, Fault> {
    let mut found: Vec<Described> = Vec::new();
    let begin = match walk(source, &mut |row| {
        if found.len() < TENSORS_MAX {
            found.push(row.into());
        }
    }) {
        Ok(begin) => begin,
        Err(Stop::Unknown | Stop::Cut) => return Ok(Vec::new()),
        Err(Stop::Failed(error)) => return Err(error.into()),
    };
    found.iter_mut().for_each(|row| row.shift(begin));
    Ok(found)
}

/// Tells `each` the place of each tensor; gives where the tensors begin.
fn walk(source: &dyn Source, each: &mut dyn FnMut(Place)) -> Result<u64, Stop> {
    let mut walk = Walk { reader: Reader::new(source, 4, u64::MAX), alignment: ALIGNMENT };
    let version = walk.u32()?;
    if !(2..=3).contains(&version) {
        return Err(Stop::Unknown);
    }
    let (tensors, keys) = (walk.u64()?, walk.u64()?);
    for _ in 0..keys {
        walk.pair()?;
    }
    for _ in 0..tensors {
        each(walk.tensor()?);
    }
    walk.reader.position().checked_next_multiple_of(walk.alignment).ok_or(Stop::Cut)
}

/// What the table says of a tensor.
struct Place {
    name: String,
    /// The side along which elements are neighbours first.
    sides: Vec<u64>,
    /// Its type by number.
    kind: u32,
    /// From the begin of the tensors on.
    offset: u64,
}

impl Place {
    /// Where it ends, from the begin of the tensors on. A type that is not known has no length.
    fn end(&self) -> u64 {
        let elements = self.sides.iter().fold(1, |all: u64, side| all.saturating_mul(*side));
        let bytes = TYPES
            .iter()
            .find(|(number, ..)| *number == self.kind)
            .map_or(0, |(_, _, block, per_block)| (elements / per_block).saturating_mul(*block));
        self.offset.saturating_add(bytes)
    }
}

impl From<Place> for Described {
    fn from(place: Place) -> Self {
        let name = TYPES.iter().find(|(number, ..)| *number == place.kind).map(|(_, name, ..)| *name);
        Described {
            parts: vec![(place.offset, place.end() - place.offset)],
            dtype: name.unwrap_or_default().to_owned(),
            name: place.name,
            shape: place.sides.into_iter().rev().collect(),
            ..Described::default()
        }
    }
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

    /// The place of a tensor.
    fn tensor(&mut self) -> Result<Place, Stop> {
        let len = self.u64()?;
        let name = match usize::try_from(len).ok().filter(|len| *len <= NAME_MAX) {
            Some(len) => self.reader.take(len)?.map(|name| String::from_utf8_lossy(name).into_owned()),
            None => self.reader.skip(len).map(|()| String::new()),
        };
        let name = name.ok_or(Stop::Cut)?;
        let sides = self.u32()?;
        if sides > SIDES_MAX {
            return Err(Stop::Unknown);
        }
        let sides = (0..sides).map(|_| self.u64()).collect::<Result<Vec<u64>, Stop>>()?;
        Ok(Place { name, sides, kind: self.u32()?, offset: self.u64()? })
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
    use crate::formats::Format;
    use crate::formats::samples::{Bytes, alone};

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
    fn the_table_tells_name_type_and_sides_the_last_of_which_are_neighbours() {
        let whole = file();
        let begin = whole.len() as u64 - 128;
        let [row] = &describe(&Bytes::new(&whole[..])).map_err(|_| "invalid").unwrap()[..] else {
            panic!("one tensor")
        };
        assert_eq!(
            (row.name.as_str(), row.dtype.as_str(), &row.shape[..]),
            ("blk.0.weight", "f32", &[8, 4][..])
        );
        assert_eq!(row.parts, [(begin, 128)]);
        // Behind its name: the number of its sides, the sides, the type, the offset.
        let name = whole.windows(12).position(|part| part == b"blk.0.weight").unwrap();
        for len in 0..name + 12 + 4 + 16 + 4 + 8 {
            assert!(describe(&Bytes::new(&whole[..len])).map_err(|_| "invalid").unwrap().is_empty(), "{len}");
        }
        let mut quantised = MAGIC.to_vec();
        quantised.u32(3).u64(1).u64(0);
        text(&mut quantised, "q");
        quantised.u32(2).u64(256).u64(2).u32(12).u64(0);
        quantised.resize(quantised.len().next_multiple_of(32) + 288, 7);
        let row =
            &crate::formats::describe(Format::Gguf, b"m.gguf", &Bytes::new(quantised), &alone()).unwrap()[0];
        assert_eq!((row.dtype.as_str(), row.bytes(), row.encoded), ("q4_k", 288, true));
    }

    #[test]
    fn another_version_is_taken_as_it_is_and_counts_without_end_end() {
        assert!(check(&Bytes::new(*b"GGUF\x01\0\0\0....")).is_ok());
        let mut endless = MAGIC.to_vec();
        endless.u32(3).u64(u64::MAX).u64(u64::MAX);
        assert!(check(&Bytes::new(endless)).is_err());
    }
}
