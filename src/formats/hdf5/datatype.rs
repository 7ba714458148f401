//! What the header of a dataset says of its elements: their type and the sides (format specification, IV.A.2.b and d).

use super::file::File;
use super::object::Message;
use crate::base::bytes::Cursor;

/// The most sides that a dataset has.
const SIDES_MAX: usize = 32;
/// The words for classes of types, by number.
const CLASSES: &[&str] = &[
    "integer",
    "float",
    "time",
    "string",
    "bitfield",
    "opaque",
    "compound",
    "reference",
    "enum",
    "vlen",
    "array",
];

/// The sides that a dataspace message tells; empty for a scalar.
pub(super) fn shape(file: &File<'_>, message: &Message) -> Option<Vec<u64>> {
    let mut cursor = Cursor::new(&message.data);
    let (version, sides) = (cursor.u8()?, usize::from(cursor.u8()?));
    // Flags; then, in version 1, five bytes that mean nothing, in version 2 the kind of space.
    let kind = match version {
        1 => cursor.take(6).map(|_| 1)?,
        2 => cursor.take(1).and_then(|_| cursor.u8())?,
        _ => return None,
    };
    // Kind 2: no elements at all.
    match kind {
        2 => Some(vec![0]),
        _ if sides > SIDES_MAX => None,
        _ => (0..sides).map(|_| file.length(&mut cursor)).collect(),
    }
}

/// The type that a datatype message tells, and whether its elements are little-endian; without a name when it is not known.
pub(super) fn dtype(message: &Message) -> (String, bool) {
    if message.shared {
        return (String::new(), false);
    }
    let (name, native) = parse(&message.data).unwrap_or_default();
    (name.to_owned(), native)
}

fn parse(data: &[u8]) -> Option<(&'static str, bool)> {
    let mut cursor = Cursor::new(data);
    let class = cursor.u8()? & 15;
    let [bits, ..] = cursor.array::<3>()?;
    let size = cursor.u32()?;
    let native = size == 1 || bits & 1 == 0;
    let is_signed = bits & 8 != 0;
    let name = match (class, size) {
        (0, 1) => {
            if is_signed {
                "i8"
            } else {
                "u8"
            }
        }
        (0, 2) => {
            if is_signed {
                "i16"
            } else {
                "u16"
            }
        }
        (0, 4) => {
            if is_signed {
                "i32"
            } else {
                "u32"
            }
        }
        (0, 8) => {
            if is_signed {
                "i64"
            } else {
                "u64"
            }
        }
        // Where the number begins, how many bits it has, where the exponent begins.
        (1, size) => match (size, cursor.take(5).and_then(|_| cursor.u8())?) {
            (8, 11) => "f64",
            (4, 8) => "f32",
            (2, 5) => "f16",
            (2, 8) => "bf16",
            (1, 4) => "f8_e4m3",
            (1, 5) => "f8_e5m2",
            _ => "float",
        },
        // As h5py writes it: an enumeration with these two names.
        (8, 1) if holds(data, b"FALSE\0") && holds(data, b"TRUE\0") => "bool",
        (class, _) => CLASSES.get(usize::from(class)).copied().unwrap_or_default(),
    };
    // Bit 6 with bit 0 is the order of a VAX.
    Some((name, native && (class != 1 || bits & 0x40 == 0)))
}

fn holds(data: &[u8], part: &[u8]) -> bool {
    data.windows(part.len()).any(|window| window == part)
}
