//! Snappy's block format: a length, then literals and copies from what is already there.
//!
//! The output is bounded by the caller; a copy may overlap itself, byte by byte, as the format says.

use super::protobuf;
use crate::base::bytes::Cursor;

/// The raw bytes of a compressed block, at most `limit`; `None` when it is malformed or longer.
pub(super) fn decompress(block: &[u8], limit: usize) -> Option<Vec<u8>> {
    let mut cursor = Cursor::new(block);
    let len = usize::try_from(protobuf::varint(&mut cursor)?).ok().filter(|len| *len <= limit)?;
    let mut out = Vec::new();
    while let Some(tag) = cursor.u8() {
        let high = usize::from(tag >> 2);
        match tag & 3 {
            0 => {
                let count = literal_len(high, &mut cursor)?;
                out.extend_from_slice(cursor.take(count)?);
            }
            1 => {
                let offset = (high >> 3) << 8 | usize::from(cursor.u8()?);
                copy(&mut out, offset, (high & 7) + 4, len)?;
            }
            2 => copy(&mut out, usize::from(cursor.u16()?), high + 1, len)?,
            _ => copy(&mut out, usize::try_from(cursor.u32()?).ok()?, high + 1, len)?,
        }
    }
    (out.len() == len).then_some(out)
}

fn literal_len(high: usize, cursor: &mut Cursor<'_>) -> Option<usize> {
    let bytes = match high {
        0..60 => return Some(high + 1),
        more => cursor.take(more - 59)?,
    };
    let value = bytes.iter().rev().fold(0, |value, byte| value << 8 | usize::from(*byte));
    value.checked_add(1)
}

fn copy(out: &mut Vec<u8>, offset: usize, count: usize, limit: usize) -> Option<()> {
    let from = out.len().checked_sub(offset).filter(|_| offset > 0 && out.len() + count <= limit)?;
    for place in from..from + count {
        out.push(*out.get(place)?);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_copies_of_each_kind_give_the_raw_bytes() {
        // "abcd", then 8 bytes from 4 back, then 4 from 2 back with a wide offset, then 1 with the widest.
        let block = [17, 3 << 2, b'a', b'b', b'c', b'd', (4 << 2) | 1, 4, (3 << 2) | 2, 2, 0, 3, 1, 0, 0, 0];
        assert_eq!(decompress(&block, 17).unwrap(), b"abcdabcdabcdcdcdd");
        assert_eq!(decompress(&block, 16), None);
        assert_eq!(decompress(&block[..block.len() - 1], 17), None);
        let long = [&[100, 60 << 2, 99][..], &[7; 100]].concat();
        assert_eq!(decompress(&long, 1000).unwrap(), [7; 100]);
    }

    #[test]
    fn a_copy_from_before_the_begin_is_refused() {
        assert_eq!(decompress(&[5, 0, b'a', 1, 2], 100), None);
        assert_eq!(decompress(&[5, 0, b'a', 1, 0], 100), None);
        assert_eq!(decompress(&[4, 0, b'a', 1, 1], 100), None);
    }
}
