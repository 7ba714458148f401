//! One record of the journal as bytes.
//!
//! A record is valid only as a whole: length, sequence, kind and payload are under one CRC, and a payload
//! with trailing bytes is refused. Any bytes in, a record or `None` out; nothing is allocated on the word
//! of a count or a length that the input itself does not back.

use crate::base::bytes::{Cursor, Put};
use crate::base::clock::Time;
use crate::base::{Error, Result};

/// One change of the key space: a key and its new value, or `None` to delete it.
pub type Op = (Vec<u8>, Option<Vec<u8>>);

/// Bytes before the payload of a record.
pub const RECORD_HEADER_LEN: usize = 25;

/// Bytes that a payload may have; a larger batch is refused before anything is written.
pub const MAX_PAYLOAD_LEN: usize = 16 << 20;

/// Identifies one boot of the machine: `/proc/sys/kernel/random/boot_id` as 16 bytes.
pub type BootId = [u8; 16];

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// The store was opened in this boot at this time.
    Opened {
        /// The boot of the machine.
        boot: BootId,
        /// When.
        time: Time,
    },
    /// The store was closed cleanly: all before this is durable.
    Closed,
    /// Changes that hold.
    Batch {
        /// In order; a later change of the same key wins.
        ops: Vec<Op>,
    },
    /// Changes that a power cut undoes unless a [`Body::Barrier`] covers them.
    Tentative {
        /// In order; a later change of the same key wins.
        ops: Vec<Op>,
        /// What the caller needs to undo them, or to make their data durable.
        note: Vec<u8>,
    },
    /// The data of all Tentatives up to this seq is durable.
    Barrier {
        /// The last seq that is covered.
        upto: u64,
    },
}

/// A record that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Its number.
    pub seq: u64,
    /// All records up to this one were durable when it was written.
    pub durable: u64,
    /// What it says.
    pub body: Body,
    /// Bytes that it takes in the segment.
    pub len: usize,
}

impl Body {
    fn kind(&self) -> u8 {
        match self {
            Body::Opened { .. } => 1,
            Body::Closed => 2,
            Body::Batch { .. } => 3,
            Body::Tentative { .. } => 4,
            Body::Barrier { .. } => 5,
        }
    }

    /// The record's bytes with `seq` and `durable` left open for [`seal`].
    ///
    /// [`Error::Refused`] when the payload is above [`MAX_PAYLOAD_LEN`].
    pub fn encode(&self) -> Result<Vec<u8>> {
        let mut bytes = vec![0; RECORD_HEADER_LEN - 1];
        bytes.u8(self.kind());
        match self {
            Body::Opened { boot, time } => {
                bytes.raw(boot).i64(time.secs).u32(time.nanos);
            }
            Body::Closed => {}
            Body::Batch { ops } => put_ops(&mut bytes, ops),
            Body::Tentative { ops, note } => {
                bytes.blob(note);
                put_ops(&mut bytes, ops);
            }
            Body::Barrier { upto } => {
                bytes.u64(*upto);
            }
        }
        let len = bytes.len() - RECORD_HEADER_LEN;
        if len > MAX_PAYLOAD_LEN {
            return Err(Error::Refused(format!(
                "a namespace change of {len} bytes is above the limit of {MAX_PAYLOAD_LEN} bytes"
            )));
        }
        Ok(bytes)
    }
}

/// Fills length, crc, seq and durable into the bytes that [`Body::encode`] made.
pub fn seal(bytes: &mut [u8], seq: u64, durable: u64) {
    let len = u32::try_from(bytes.len().saturating_sub(RECORD_HEADER_LEN)).unwrap_or(u32::MAX);
    put_at(bytes, 0, &len.to_le_bytes());
    put_at(bytes, 8, &seq.to_le_bytes());
    put_at(bytes, 16, &durable.to_le_bytes());
    let crc = crc_of(bytes);
    put_at(bytes, 4, &crc.to_le_bytes());
}

/// The record at the start of `bytes`; `None` when there is no valid one.
pub fn decode(bytes: &[u8]) -> Option<Record> {
    let mut head = Cursor::new(bytes);
    let len = usize::try_from(head.u32()?).ok().filter(|len| *len <= MAX_PAYLOAD_LEN)?;
    let crc = head.u32()?;
    let (seq, durable, kind) = (head.u64()?, head.u64()?, head.u8()?);
    let payload = head.take(len)?;
    let whole = bytes.get(..RECORD_HEADER_LEN + len)?;
    if crc_of(whole) != crc {
        return None;
    }
    let body = decode_body(kind, payload)?;
    Some(Record { seq, durable, body, len: whole.len() })
}

/// The seq that a record at the start of `bytes` would have: a cheap filter before [`decode`].
pub fn peek_seq(bytes: &[u8]) -> Option<u64> {
    Cursor::new(bytes.get(8..)?).u64()
}

fn decode_body(kind: u8, payload: &[u8]) -> Option<Body> {
    let mut cursor = Cursor::new(payload);
    let body = match kind {
        1 => {
            let boot = cursor.array()?;
            Body::Opened { boot, time: Time { secs: cursor.i64()?, nanos: cursor.u32()? } }
        }
        2 => Body::Closed,
        3 => Body::Batch { ops: take_ops(&mut cursor)? },
        4 => {
            let note = cursor.blob()?.to_vec();
            Body::Tentative { ops: take_ops(&mut cursor)?, note }
        }
        5 => Body::Barrier { upto: cursor.u64()? },
        _ => return None,
    };
    cursor.end()?;
    Some(body)
}

fn put_ops(bytes: &mut Vec<u8>, ops: &[Op]) {
    bytes.u32(u32::try_from(ops.len()).unwrap_or(u32::MAX));
    for (key, value) in ops {
        match value {
            None => bytes.u8(0).blob(key),
            Some(value) => bytes.u8(1).blob(key).blob(value),
        };
    }
}

fn take_ops(cursor: &mut Cursor<'_>) -> Option<Vec<Op>> {
    let count = cursor.u32()?;
    let mut ops = Vec::new();
    for _ in 0..count {
        let put = match cursor.u8()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let key = cursor.blob()?.to_vec();
        let value = if put { Some(cursor.blob()?.to_vec()) } else { None };
        ops.push((key, value));
    }
    Some(ops)
}

fn crc_of(whole: &[u8]) -> u32 {
    let (len, rest) = whole.split_at_checked(4).unwrap_or((whole, &[]));
    crc32c::crc32c_append(crc32c::crc32c(len), rest.get(4..).unwrap_or(&[]))
}

fn put_at(bytes: &mut [u8], offset: usize, field: &[u8]) {
    if let Some(place) = bytes.get_mut(offset..offset + field.len()) {
        place.copy_from_slice(field);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sealed(body: &Body) -> Vec<u8> {
        let mut bytes = body.encode().unwrap();
        seal(&mut bytes, 7, 5);
        bytes
    }

    fn bodies() -> Vec<Body> {
        let ops = vec![(b"a".to_vec(), Some(b"1".to_vec())), (b"b".to_vec(), None)];
        vec![
            Body::Opened { boot: [3; 16], time: Time { secs: -4, nanos: 9 } },
            Body::Closed,
            Body::Batch { ops: ops.clone() },
            Body::Tentative { ops, note: b"undo".to_vec() },
            Body::Barrier { upto: 6 },
        ]
    }

    #[test]
    fn every_kind_is_read_back_and_any_flipped_or_missing_byte_is_noticed() {
        for body in bodies() {
            let bytes = sealed(&body);
            let read = decode(&bytes).unwrap();
            assert_eq!((read.seq, read.durable, read.len), (7, 5, bytes.len()));
            assert_eq!(read.body, body);
            for at in 0..bytes.len() {
                let mut bad = bytes.clone();
                bad[at] ^= 0x40;
                assert_eq!(decode(&bad), None, "{body:?} byte {at}");
                assert_eq!(decode(&bytes[..at]), None, "{body:?} cut at {at}");
            }
        }
    }

    #[test]
    fn zeros_are_no_record() {
        assert_eq!(decode(&[0; 4096]), None);
    }

    #[test]
    fn a_batch_above_the_limit_is_refused_before_it_is_written() {
        let body = Body::Batch { ops: vec![(vec![0; MAX_PAYLOAD_LEN], None)] };
        assert!(matches!(body.encode(), Err(Error::Refused(_))));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0u8..8) {
            prop_assert!(decode(&bytes).is_none());
            let parsed = decode_body(kind, &bytes);
            if let Some(Body::Batch { ops }) = parsed {
                prop_assert!(ops.len() <= bytes.len());
            }
        }
    }
}
