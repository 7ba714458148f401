//! Numpy's `.npy`: a header that is a Python literal, then the array without a gap.
//!
//! Several arrays may follow each other in one file, as `numpy.save` to an open file leaves them.

use super::describe::Described;
use super::literal::{self, Literal};
use super::read::{self, Fault, invalid};
use super::tensors::Tensor;
use super::{Source, dtype};
use crate::base::Result;

/// How each array begins.
pub(super) const MAGIC: &[u8] = b"\x93NUMPY";
/// A header beyond this, in bytes, is no header; numpy itself reads 10,000 without being asked.
const HEADER_MAX: usize = 64 << 10;
/// Arrays in one file that are looked at.
const ARRAYS_MAX: usize = 1000;

/// Checks that the file ends where its last array ends.
pub(super) fn check(source: &dyn Source) -> Result<(), Fault> {
    let (mut at, len) = (0, source.len());
    for _ in 0..ARRAYS_MAX {
        let Some((begin, header)) = header(source, at)? else {
            return invalid("npy with a damaged or cut header");
        };
        let Some(array) = array_bytes(&header) else {
            return invalid("npy with a header that is not numpy's");
        };
        // Objects are pickled: their length is not told.
        let Size::Bytes(bytes) = array else { return Ok(()) };
        let end = begin.saturating_add(bytes);
        if end > len {
            return invalid(format!("npy of {len} bytes whose header names {end}: cut short"));
        }
        if end == len {
            return Ok(());
        }
        if read::at_most(source, end, MAGIC.len())? != MAGIC {
            return invalid(format!("npy of {len} bytes whose header names {end}"));
        }
        at = end;
    }
    Ok(())
}

/// The arrays of the file, without names; up to the first that is pickled or not numpy's.
pub(super) fn tensors(source: &dyn Source) -> Result<Vec<Tensor>, Fault> {
    let (mut at, mut found) = (0, Vec::new());
    while found.len() < ARRAYS_MAX
        && let Some((offset, header)) = header(source, at)?
        && let Some(Size::Bytes(len)) = array_bytes(&header)
    {
        found.push(Tensor { name: Vec::new(), offset, len });
        at = offset.saturating_add(len);
    }
    Ok(found)
}

/// The arrays of the file as their headers describe them, without names; up to the first that is pickled or not numpy's.
pub(super) fn describe(source: &dyn Source) -> Result<Vec<Described>, Fault> {
    let (mut at, mut found) = (0, Vec::new());
    while found.len() < ARRAYS_MAX
        && let Some((offset, header)) = header(source, at)?
        && let Some(size) = array_bytes(&header)
        && let Some(array) = described(&header)
    {
        match size {
            Size::Bytes(len) => {
                found.push(Described { parts: vec![(offset, len)], ..array });
                at = offset.saturating_add(len);
            }
            // The rest of the file is their pickle.
            Size::Objects => {
                let parts = vec![(offset, source.len().saturating_sub(offset))];
                found.push(Described { parts, encoded: true, ..array });
                break;
            }
        }
    }
    Ok(found)
}

/// Type and shape that a header tells.
fn described(header: &Literal) -> Option<Described> {
    let (dtype, is_native) = match field_of(header, "descr")? {
        Literal::Text(code) => dtype::of_numpy(code),
        _ => ("record".to_owned(), false),
    };
    let shape = match field_of(header, "shape")? {
        Literal::Row(sides) => sides.iter().map(side).collect::<Option<Vec<u64>>>()?,
        single => vec![side(single)?],
    };
    let is_fortran = matches!(field_of(header, "fortran_order"), Some(Literal::Word(word)) if word == "True");
    // With one side at most, both orders are the same.
    let is_turned = is_fortran && shape.iter().filter(|side| **side > 1).count() > 1;
    Some(Described { dtype, shape, encoded: !is_native || is_turned, ..Described::default() })
}

/// The header of the array at `at`, and where its data begin.
fn header(source: &dyn Source, at: u64) -> Result<Option<(u64, Literal)>> {
    let fixed = read::at_most(source, at, 12)?;
    let (version, len, skip) = match fixed.as_slice() {
        [0x93, b'N', b'U', b'M', b'P', b'Y', 1, _, a, b, ..] => {
            (1, usize::from(u16::from_le_bytes([*a, *b])), 10)
        }
        [0x93, b'N', b'U', b'M', b'P', b'Y', version @ (2 | 3), _, a, b, c, d] => {
            let len = u32::from_le_bytes([*a, *b, *c, *d]);
            (*version, usize::try_from(len).unwrap_or(usize::MAX), 12)
        }
        _ => return Ok(None),
    };
    if len > HEADER_MAX {
        return Ok(None);
    }
    let bytes = read::at_most(source, at + skip, len)?;
    if bytes.len() < len {
        return Ok(None);
    }
    // Versions 1 and 2 are Latin-1, where each byte is a letter.
    let text = match version {
        3 => String::from_utf8_lossy(&bytes).into_owned(),
        _ => bytes.iter().map(|byte| char::from(*byte)).collect(),
    };
    Ok(literal::parse(&text).map(|header| (at + skip + len as u64, header)))
}

/// How long an array or an element is.
#[derive(Clone, Copy)]
enum Size {
    Bytes(u64),
    /// Python objects, as long as their pickle.
    Objects,
}

impl Size {
    fn times(self, count: u64) -> Size {
        match self {
            Size::Bytes(bytes) => Size::Bytes(bytes.saturating_mul(count)),
            Size::Objects => Size::Objects,
        }
    }
}

/// The length of the array that a header describes.
fn array_bytes(header: &Literal) -> Option<Size> {
    Some(element(field_of(header, "descr")?)?.times(count(field_of(header, "shape")?)?))
}

/// What a header says under `name`.
fn field_of<'a>(header: &'a Literal, name: &str) -> Option<&'a Literal> {
    let Literal::Dict(pairs) = header else { return None };
    let is_it = |key: &Literal| matches!(key, Literal::Text(text) if text == name);
    pairs.iter().find(|(key, _)| is_it(key)).map(|(_, value)| value)
}

/// The elements along one side.
fn side(side: &Literal) -> Option<u64> {
    match side {
        Literal::Number(side) => u64::try_from(*side).ok(),
        _ => None,
    }
}

/// The number of elements of a shape. What overflows is of no file's length.
fn count(shape: &Literal) -> Option<u64> {
    match shape {
        Literal::Row(sides) => {
            sides.iter().try_fold(1_u64, |all, item| Some(all.saturating_mul(side(item)?)))
        }
        single => side(single),
    }
}

/// The length of one element of a type: `'<f4'`, `[('a', '<f4'), ('b', '<i8', (3,))]`, `('<f4', (2,))`.
fn element(descr: &Literal) -> Option<Size> {
    match descr {
        Literal::Text(code) => simple(code),
        Literal::Row(fields) => match fields.as_slice() {
            [base @ Literal::Text(_), shape] => Some(element(base)?.times(count(shape)?)),
            fields => fields.iter().try_fold(Size::Bytes(0), |sum, item| Some(plus(sum, field(item)?))),
        },
        _ => None,
    }
}

/// The length of one field of a record: its name, type, and perhaps shape.
fn field(item: &Literal) -> Option<Size> {
    let Literal::Row(parts) = item else { return None };
    match parts.as_slice() {
        [_, base] => element(base),
        [_, base, shape] => Some(element(base)?.times(count(shape)?)),
        _ => None,
    }
}

fn plus(left: Size, right: Size) -> Size {
    match (left, right) {
        (Size::Bytes(left), Size::Bytes(right)) => Size::Bytes(left.saturating_add(right)),
        _ => Size::Objects,
    }
}

/// The length of a type without parts: byte order, kind, number of bytes (letters of 4 bytes for `U`).
fn simple(code: &str) -> Option<Size> {
    let code = code.trim_start_matches(['<', '>', '|', '=']);
    let kind = code.chars().next()?;
    if kind == 'O' {
        return Some(Size::Objects);
    }
    // Dates tell their unit behind the length: M8[ns].
    let digits = code.get(kind.len_utf8()..)?.split('[').next()?;
    let len: u64 = digits.parse().ok()?;
    Some(Size::Bytes(if kind == 'U' { len.saturating_mul(4) } else { len }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::samples::{Bytes, fixture};

    fn said(bytes: Vec<u8>) -> String {
        match check(&Bytes::new(bytes)) {
            Ok(()) => String::new(),
            Err(Fault::Invalid(why)) => why,
            Err(Fault::Failed(error)) => panic!("{error}"),
        }
    }

    fn file(descr: &str, shape: &str, data: usize) -> Vec<u8> {
        let header = format!("{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n");
        let len = u16::try_from(header.len()).unwrap().to_le_bytes();
        [MAGIC, &[1, 0], &len, header.as_bytes(), &vec![0; data]].concat()
    }

    #[test]
    fn numpys_files_are_valid_and_every_cut_of_them_is_not() {
        for name in ["array.npy", "record.npy"] {
            let whole = fixture(name);
            assert_eq!(said(whole.clone()), "", "{name}");
            assert!((0..whole.len()).all(|len| !said(whole[..len].to_vec()).is_empty()), "{name}");
            assert!(said([&whole[..], b"more"].concat()).contains("names"));
            assert_eq!(said([&whole[..], &whole].concat()), "");
        }
    }

    #[test]
    fn each_kind_of_type_has_its_length() {
        for (descr, shape, data) in [
            ("'<f4'", "()", 4),
            ("'|b1'", "(5,)", 5),
            ("'<U3'", "(2,)", 24),
            ("'<M8[ns]'", "(2, 2)", 32),
            ("('<f4', (2, 2))", "(3,)", 48),
            ("'>c16'", "(0, 9)", 0),
            ("'|O'", "(2,)", 77),
        ] {
            assert_eq!(said(file(descr, shape, data)), "", "{descr} {shape}");
        }
        assert!(said(file("'<f4'", "(99999999999, 99999999999)", 4)).contains("cut short"));
        for (descr, shape) in [("'<f'", "(1,)"), ("7", "(1,)"), ("'<f4'", "(-1,)"), ("[1]", "()")] {
            assert!(said(file(descr, shape, 4)).contains("not numpy's"), "{descr} {shape}");
        }
    }
}
