//! The opcodes of pickle, protocols 0 to 5, cut out of the bytes.
//!
//! As CPython's `pickletools` documents them. Every opcode takes at least one byte of the budget, so a stream of them
//! ends; a string longer than is kept is passed over without being read.

use super::tree::Ended;
use crate::base::Result;
use crate::formats::read::Reader;

/// Strings beyond this, in bytes, are passed over.
const KEPT_MAX: u64 = 4096;

/// An opcode's argument.
#[derive(Debug)]
pub(in crate::formats) enum Arg {
    None,
    /// A number of up to eight bytes, little-endian.
    Number(u64),
    /// A line of text, without its end.
    Line(Vec<u8>),
    /// Two lines: a module and a name.
    Lines(Vec<u8>, Vec<u8>),
    /// A string.
    Kept(Vec<u8>),
    /// A string that was too long to be kept.
    Long,
}

/// One opcode.
#[derive(Debug)]
pub(in crate::formats) struct Op {
    pub(in crate::formats) code: u8,
    pub(in crate::formats) arg: Arg,
}

/// What follows an opcode.
enum Shape {
    Nothing,
    Fixed(usize),
    Line,
    Lines,
    /// A length of so many bytes, then a string.
    Counted(usize),
}

fn shape(code: u8) -> Option<Shape> {
    Some(match code {
        b'(' | b'.' | b'0' | b'1' | b'2' | b'N' | b'Q' | b'R' | b'a' | b'b' | b'd' | b'}' | b'e' | b'l' => {
            Shape::Nothing
        }
        b']' | b'o' | b's' | b't' | b')' | b'u' | 0x81 | 0x85..=0x89 | 0x8f..=0x94 | 0x97 | 0x98 => {
            Shape::Nothing
        }
        b'K' | b'h' | b'q' | 0x80 | 0x82 => Shape::Fixed(1),
        b'M' | 0x83 => Shape::Fixed(2),
        b'J' | b'j' | b'r' | 0x84 => Shape::Fixed(4),
        b'G' | 0x95 => Shape::Fixed(8),
        b'F' | b'I' | b'L' | b'P' | b'S' | b'V' | b'g' | b'p' => Shape::Line,
        b'c' | b'i' => Shape::Lines,
        b'U' | b'C' | 0x8a | 0x8c => Shape::Counted(1),
        b'T' | b'B' | b'X' | 0x8b => Shape::Counted(4),
        0x8d | 0x8e | 0x96 => Shape::Counted(8),
        _ => return None,
    })
}

/// Whether `code` is an opcode.
pub(super) fn is_opcode(code: u8) -> bool {
    shape(code).is_some()
}

/// The opcodes of one pickle after the other, as far as the budget reaches.
pub(in crate::formats) struct Ops<'r, 'a> {
    reader: &'r mut Reader<'a>,
    budget: u64,
}

impl<'r, 'a> Ops<'r, 'a> {
    /// The opcodes from where `reader` is, of which so many bytes are read, kept strings included.
    pub(in crate::formats) fn new(reader: &'r mut Reader<'a>, budget: u64) -> Self {
        Ops { reader, budget }
    }

    /// The next opcode, or why there is none.
    pub(in crate::formats) fn next(&mut self) -> Result<std::result::Result<Op, Ended>> {
        let Some(code) = self.bytes(1)?.and_then(|bytes| bytes.first().copied()) else { return self.short() };
        let Some(shape) = shape(code) else { return Ok(Err(Ended::Malformed)) };
        let arg = match shape {
            Shape::Nothing => Some(Arg::None),
            Shape::Fixed(len) => self.number(len)?.map(Arg::Number),
            Shape::Line => self.line()?.map(Arg::Line),
            Shape::Lines => match (self.line()?, self.line()?) {
                (Some(module), Some(name)) => Some(Arg::Lines(module, name)),
                _ => None,
            },
            Shape::Counted(len) => match self.number(len)? {
                Some(len) => self.string(len)?,
                None => None,
            },
        };
        match arg {
            Some(arg) => Ok(Ok(Op { code, arg })),
            None => self.short(),
        }
    }

    /// Why the bytes did not suffice.
    fn short(&self) -> Result<std::result::Result<Op, Ended>> {
        Ok(Err(if self.budget == 0 { Ended::Limit } else { Ended::Cut }))
    }

    fn bytes(&mut self, len: usize) -> Result<Option<&[u8]>> {
        match self.budget.checked_sub(len as u64) {
            Some(left) => self.budget = left,
            None => {
                self.budget = 0;
                return Ok(None);
            }
        }
        self.reader.take(len)
    }

    fn number(&mut self, len: usize) -> Result<Option<u64>> {
        let fold = |bytes: &[u8]| bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
        Ok(self.bytes(len)?.map(fold))
    }

    fn string(&mut self, len: u64) -> Result<Option<Arg>> {
        if len > KEPT_MAX {
            return Ok(self.reader.skip(len).map(|()| Arg::Long));
        }
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        Ok(self.bytes(len)?.map(|bytes| Arg::Kept(bytes.to_vec())))
    }

    fn line(&mut self) -> Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        while let Some(byte) = self.bytes(1)?.and_then(|bytes| bytes.first().copied()) {
            if byte == b'\n' {
                return Ok(Some(line));
            }
            line.push(byte);
        }
        Ok(None)
    }
}
