//! Object headers: the messages that describe a group or a dataset, versions 1 and 2 (format specification, IV.A).

use super::file::{File, number};
use crate::base::Result;
use crate::base::bytes::Cursor;

/// Blocks of one header beyond this are not read.
const BLOCKS_MAX: usize = 4096;
/// A block of a header beyond this, in bytes, is none.
const BLOCK_MAX: usize = 1 << 20;
/// The message that tells where more messages are.
const CONTINUATION: u16 = 0x10;

/// One message of a header.
pub(super) struct Message {
    /// Its type.
    pub(super) kind: u16,
    /// Its data only tell where what it says is.
    pub(super) shared: bool,
    pub(super) data: Vec<u8>,
}

/// The messages of the object at `address`, as far as they are sound.
pub(super) fn messages(file: &mut File<'_>, address: u64) -> Result<Vec<Message>> {
    let mut found = Vec::new();
    let head = file.read(address, 40)?;
    let Some(header) = Header::parse(&head) else { return Ok(found) };
    // Blocks that are still to be read: address and length of the messages in each.
    let mut todo = vec![(address.saturating_add(header.begin), header.len)];
    let mut blocks = 0;
    while let Some((at, len)) = todo.pop()
        && blocks < BLOCKS_MAX
    {
        blocks += 1;
        let Some(len) = usize::try_from(len).ok().filter(|len| *len <= BLOCK_MAX) else { continue };
        let block = file.read(at, len)?;
        let mut cursor = Cursor::new(&block);
        while let Some(message) = header.message(&mut cursor) {
            if message.kind != CONTINUATION {
                found.push(message);
                continue;
            }
            let mut place = Cursor::new(&message.data);
            if let (Some(at), Some(len)) = (file.address(&mut place), file.length(&mut place)) {
                // Version 2 has a signature before the messages of each block, and a checksum behind them.
                let (signature, checksum) = if header.version == 1 { (0, 0) } else { (4, 4) };
                todo.push((at.saturating_add(signature), len.saturating_sub(signature + checksum)));
            }
        }
    }
    Ok(found)
}

/// How the messages of an object are written.
struct Header {
    version: u8,
    /// Each message of version 2 tells when it was added.
    ordered: bool,
    /// Where the messages begin, from the header on, and their bytes.
    begin: u64,
    len: u64,
}

impl Header {
    fn parse(head: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(head);
        if head.starts_with(b"OHDR") {
            cursor.take(4)?;
            let (version, flags) = (cursor.u8()?, cursor.u8()?);
            cursor.take(if flags & 0x20 != 0 { 16 } else { 0 })?;
            cursor.take(if flags & 0x10 != 0 { 4 } else { 0 })?;
            let len = number(&mut cursor, 1 << (flags & 3))?;
            let begin = (head.len() - cursor.rest().len()) as u64;
            return (version == 2).then_some(Header { version, ordered: flags & 4 != 0, begin, len });
        }
        let version = cursor.u8()?;
        cursor.take(7)?;
        let len = u64::from(cursor.u32()?);
        (version == 1).then_some(Header { version, ordered: false, begin: 16, len })
    }

    fn message(&self, cursor: &mut Cursor<'_>) -> Option<Message> {
        let kind = if self.version == 1 { cursor.u16()? } else { u16::from(cursor.u8()?) };
        let len = usize::from(cursor.u16()?);
        let flags = cursor.u8()?;
        cursor.take(match (self.version, self.ordered) {
            (1, _) => 3,
            (_, true) => 2,
            (_, false) => 0,
        })?;
        Some(Message { kind, shared: flags & 2 != 0, data: cursor.take(len)?.to_vec() })
    }
}
