//! The wire form of protocol buffers: numbered fields, without a schema.
//!
//! Groups (wire types 3 and 4) are not read: none of the messages looked at has them.

use super::read::Reader;
use crate::base::Result;
use crate::base::bytes::Cursor;

/// The value of a field as it stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Value<'a> {
    /// A varint, or a fixed number of 4 or 8 bytes.
    Number(u64),
    /// Text, bytes, or a message.
    Bytes(&'a [u8]),
}

/// The next varint.
pub(super) fn varint(cursor: &mut Cursor<'_>) -> Option<u64> {
    let mut value = 0;
    for place in 0..10 {
        let byte = cursor.u8()?;
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

/// The next field and its number.
pub(super) fn field<'a>(cursor: &mut Cursor<'a>) -> Option<(u64, Value<'a>)> {
    let tag = varint(cursor)?;
    let value = match tag & 7 {
        0 => Value::Number(varint(cursor)?),
        1 => Value::Number(cursor.u64()?),
        2 => {
            let len = usize::try_from(varint(cursor)?).ok()?;
            Value::Bytes(cursor.take(len)?)
        }
        5 => Value::Number(u64::from(cursor.u32()?)),
        _ => return None,
    };
    (tag >> 3 > 0).then_some((tag >> 3, value))
}

/// The fields of a message; `None` when it does not end where a field ends.
pub(super) fn fields(message: &[u8]) -> Option<Vec<(u64, Value<'_>)>> {
    let mut cursor = Cursor::new(message);
    let mut found = Vec::new();
    while !cursor.rest().is_empty() {
        found.push(field(&mut cursor)?);
    }
    Some(found)
}

/// The numbers of the top-level fields of a file, passing over what is in them: at most `limit` of them, and `None` when
/// there are more or the file does not end where a field ends.
pub(super) fn outline(reader: &mut Reader<'_>, limit: usize) -> Result<Option<Vec<u64>>> {
    let mut found = Vec::new();
    while reader.left() > 0 {
        let Some(tag) = long_varint(reader)? else { return Ok(None) };
        let passed = match tag & 7 {
            0 => long_varint(reader)?.map(|_| ()),
            1 => reader.skip(8),
            2 => long_varint(reader)?.and_then(|len| reader.skip(len)),
            5 => reader.skip(4),
            _ => None,
        };
        if passed.is_none() || tag >> 3 == 0 || found.len() >= limit {
            return Ok(None);
        }
        found.push(tag >> 3);
    }
    Ok(Some(found))
}

fn long_varint(reader: &mut Reader<'_>) -> Result<Option<u64>> {
    let mut value = 0;
    for place in 0..10 {
        let Some([byte]) = reader.array()? else { return Ok(None) };
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte < 0x80 {
            return Ok(Some(value));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::samples::Bytes;

    #[test]
    fn fields_come_in_order_and_a_cut_message_is_none() {
        let message = [0x08, 0xac, 0x02, 0x12, 2, b'h', b'i', 0x35, 1, 0, 0, 0];
        let wanted = [(1, Value::Number(300)), (2, Value::Bytes(b"hi")), (6, Value::Number(1))];
        assert_eq!(fields(&message).unwrap(), wanted);
        for len in [1, 2, 4, 5, 6, 8, 11] {
            assert_eq!(fields(&message[..len]), None, "{len}");
        }
        assert_eq!(fields(&[0x0b]), None);
        assert_eq!(fields(&[0xff; 11]), None);
    }

    #[test]
    fn the_outline_of_a_file_is_bounded() {
        let outline_of =
            |bytes: &[u8], limit| outline(&mut Reader::new(&Bytes::new(bytes), 0, u64::MAX), limit).unwrap();
        let message = [0x08, 0xac, 0x02, 0x12, 2, b'h', b'i', 0x35, 1, 0, 0, 0];
        assert_eq!(outline_of(&message, 3), Some(vec![1, 2, 6]));
        assert_eq!((outline_of(&message, 2), outline_of(&message[..6], 9)), (None, None));
    }
}
