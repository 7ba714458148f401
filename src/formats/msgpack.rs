//! Whether a MessagePack file, as Flax writes it, is all there: its values are counted and passed over.
//!
//! No stack: of a value only how many follow it inside matters. The cost goes with the number of values, which is that of
//! tensors, and is bounded; what has more is taken for whole.

use super::Source;
use super::read::Reader;
use crate::base::Result;

/// Values that are passed over at most.
const VALUES_MAX: u64 = 1 << 20;

/// Whether the file is one value, or several, to its last byte.
pub(super) fn is_whole(source: &dyn Source) -> Result<bool> {
    let mut reader = Reader::new(source, 0, u64::MAX);
    let mut wanted = 1_u64;
    for _ in 0..VALUES_MAX {
        if wanted == 0 {
            if reader.left() == 0 {
                return Ok(true);
            }
            wanted = 1;
        }
        let Some(inside) = pass(&mut reader)? else { return Ok(false) };
        wanted = (wanted - 1).saturating_add(inside);
    }
    Ok(true)
}

/// Passes over the head of a value and its bytes; how many values are inside it. `None` where the file ends before.
fn pass(reader: &mut Reader<'_>) -> Result<Option<u64>> {
    let Some([head]) = reader.array()? else { return Ok(None) };
    let (bytes, inside) = match head {
        0x00..=0x7f | 0xc0..=0xc3 | 0xe0..=0xff => (0, 0),
        0x80..=0x8f => (0, 2 * u64::from(head & 0x0f)),
        0x90..=0x9f => (0, u64::from(head & 0x0f)),
        0xa0..=0xbf => (u64::from(head & 0x1f), 0),
        0xcc | 0xd0 => (1, 0),
        0xcd | 0xd1 => (2, 0),
        0xca | 0xce | 0xd2 => (4, 0),
        0xcb | 0xcf | 0xd3 => (8, 0),
        // Of a fixed length, behind a byte that tells the type.
        0xd4..=0xd8 => (1 + (1 << (head - 0xd4)), 0),
        // Of a length that follows: bytes, extensions with their type, text; then arrays and maps.
        0xc4..=0xc6 => return told(reader, head - 0xc4, 0),
        0xc7..=0xc9 => return told(reader, head - 0xc7, 1),
        0xd9..=0xdb => return told(reader, head - 0xd9, 0),
        0xdc..=0xdd => return number(reader, head - 0xdc + 1),
        0xde..=0xdf => return Ok(number(reader, head - 0xde + 1)?.map(|pairs| 2 * pairs)),
    };
    Ok(reader.skip(bytes).map(|()| inside))
}

/// Passes over as many bytes as the number that comes next tells, and `more`.
fn told(reader: &mut Reader<'_>, width: u8, more: u64) -> Result<Option<u64>> {
    let Some(len) = number(reader, width)? else { return Ok(None) };
    Ok(reader.skip(len + more).map(|()| 0))
}

/// The next number of 1, 2 or 4 bytes.
fn number(reader: &mut Reader<'_>, width: u8) -> Result<Option<u64>> {
    let bytes = reader.take(1 << width)?;
    Ok(bytes.map(|bytes| bytes.iter().fold(0, |number, byte| (number << 8) | u64::from(*byte))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::formats::samples::Bytes;

    fn said(bytes: &[u8]) -> bool {
        is_whole(&Bytes::new(bytes)).unwrap()
    }

    #[test]
    fn a_state_is_whole_and_every_cut_of_it_is_not() {
        // {"w": ext 1 of 300 bytes, "n": [1, -1, 2.0, None, "ab"], "m": map 16 {}}
        let mut state = vec![0x83, 0xa1, b'w', 0xc8, 0x01, 0x2c, 1];
        state.extend([7; 300]);
        state.extend([0xa1, b'n', 0x95, 1, 0xff, 0xcb, 0x40, 0, 0, 0, 0, 0, 0, 0, 0xc0, 0xd9, 2, b'a', b'b']);
        state.extend([0xa1, b'm', 0xde, 0, 0]);
        assert!(said(&state));
        assert!((0..state.len()).all(|len| !said(&state[..len])));
        assert!(said(&[state.clone(), state].concat()));
    }

    #[test]
    fn what_is_inside_is_not_read() {
        let mut state = vec![0x91, 0xc6, 0x01, 0, 0, 0];
        state.resize(6 + (1 << 24), 1);
        let source = Bytes::new(state);
        assert!(is_whole(&source).unwrap() && source.read_bytes() < 1 << 17);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            said(&bytes);
        }
    }
}
