//! The directory of a zip: where it is, and what it says of each entry. Zip64 too.
//!
//! Only the end record and the central directory are read, front to back, never the entries: the cost goes with the
//! number of entries, not with their bytes. The layout is that of PKWARE's APPNOTE.TXT.

use super::Source;
use super::read::{self, Fault, Reader, invalid};
use crate::base::Result;
use crate::base::bytes::Cursor;

/// The end record without its comment, in bytes.
const END: usize = 22;
/// A zip64 record, its locator, and the end record, in bytes.
const ENDINGS: usize = 56 + 20 + END;
/// The longest comment behind the end record.
const COMMENT_MAX: usize = u16::MAX as usize;
/// The fixed part of an entry's local header, in bytes.
const LOCAL: u64 = 30;
/// The fixed part of an entry in the directory, in bytes.
const CENTRAL: usize = 46;
/// Entries beyond this are not a checkpoint: it bounds the walk.
const ENTRIES_MAX: u64 = 1 << 22;
/// How entries may be kept: as they are, deflated, by bzip2, by LZMA. All that Python reads.
const METHODS: [u16; 4] = [0, 8, 12, 14];

/// Where the central directory is.
pub(super) struct Directory {
    offset: u64,
    len: u64,
    count: u64,
}

/// One entry as the directory tells it.
pub(super) struct Entry {
    pub(super) name: Vec<u8>,
    /// 0 = stored as it is.
    pub(super) method: u16,
    /// Bytes in the file.
    pub(super) len: u64,
    /// Offset of its local header.
    pub(super) local: u64,
}

/// The name in the local header that `head` begins with, as far as `head` holds it.
pub(super) fn first_name(head: &[u8]) -> Option<&[u8]> {
    let mut cursor = Cursor::new(head);
    if cursor.array()? != *b"PK\x03\x04" {
        return None;
    }
    cursor.take(22)?;
    let len = usize::from(cursor.u16()?);
    cursor.take(2)?;
    cursor.take(len)
}

/// The central directory; `None` when the file does not end with an end record that leads to one.
pub(super) fn directory(source: &dyn Source) -> Result<Option<Directory>> {
    // Without a comment it is in the last 22 bytes: only then is the long tail worth a read.
    let short = read::tail(source, END)?;
    if let Some(end) = end_record(&short) {
        return whole(source, &short, end);
    }
    let long = read::tail(source, END + COMMENT_MAX)?;
    match end_record(&long) {
        Some(end) => whole(source, &long, end),
        None => Ok(None),
    }
}

/// Where in `tail` an end record begins whose comment ends with the file.
fn end_record(tail: &[u8]) -> Option<usize> {
    let places = tail.windows(END).enumerate().rev();
    places.filter(|(_, record)| record.starts_with(b"PK\x05\x06")).map(|(at, _)| at).find(|at| {
        let comment = tail.get(at + 20..at + END).and_then(|len| len.try_into().ok()).map(u16::from_le_bytes);
        comment.is_some_and(|len| at + END + usize::from(len) == tail.len())
    })
}

/// The directory that the end record in `tail` leads to, when it lies right before the record.
fn whole(source: &dyn Source, tail: &[u8], end: usize) -> Result<Option<Directory>> {
    let at = source.len() - (tail.len() - end) as u64;
    let found = match wide(source, at)? {
        Some(found) => Some(found),
        None => tail.get(end..).and_then(narrow).map(|directory| (directory, at)),
    };
    let touches =
        |(directory, behind): &(Directory, u64)| directory.offset.checked_add(directory.len) == Some(*behind);
    Ok(found.filter(touches).map(|(directory, _)| directory))
}

/// Where the zip without a comment that ends with `source` begins: other bytes may lie before it. `None` when none ends
/// there.
pub(super) fn begin(source: &dyn Source) -> Result<Option<u64>> {
    let tail = read::tail(source, ENDINGS)?;
    let Some((wide, record)) = tail.len().checked_sub(END).and_then(|at| tail.split_at_checked(at)) else {
        return Ok(None);
    };
    if !record.starts_with(b"PK\x05\x06") {
        return Ok(None);
    }
    // A zip64 record lies right before its locator, and that before the end record.
    let parsed = match wide_record(wide) {
        Some(directory) => Some((directory, ENDINGS)),
        None => narrow(record).map(|directory| (directory, END)),
    };
    let begin = |(directory, behind): (Directory, usize)| {
        let len = directory.len.checked_add(directory.offset)?.checked_add(behind as u64)?;
        source.len().checked_sub(len)
    };
    Ok(parsed.and_then(begin))
}

/// The directory that a zip64 record tells.
fn wide_record(bytes: &[u8]) -> Option<Directory> {
    let mut cursor = Cursor::new(bytes);
    (cursor.array()? == *b"PK\x06\x06").then_some(())?;
    cursor.take(28)?;
    let (count, len, offset) = (cursor.u64()?, cursor.u64()?, cursor.u64()?);
    Some(Directory { offset, len, count })
}

/// What the plain end record says.
fn narrow(record: &[u8]) -> Option<Directory> {
    let mut cursor = Cursor::new(record);
    cursor.take(10)?;
    let count = u64::from(cursor.u16()?);
    let (len, offset) = (u64::from(cursor.u32()?), u64::from(cursor.u32()?));
    Some(Directory { offset, len, count })
}

/// What the zip64 record says, and its offset; `None` when no zip64 locator lies before the end record at `end`.
fn wide(source: &dyn Source, end: u64) -> Result<Option<(Directory, u64)>> {
    let Some(locator) = end.checked_sub(20) else { return Ok(None) };
    let Some(locator) = read::array::<20>(source, locator)? else { return Ok(None) };
    let place = |bytes: &[u8]| {
        let mut cursor = Cursor::new(bytes);
        (cursor.array()? == *b"PK\x06\x07").then_some(())?;
        cursor.u32()?;
        cursor.u64()
    };
    let Some(at) = place(&locator) else { return Ok(None) };
    let record = read::at_most(source, at, 56)?;
    Ok(wide_record(&record).map(|directory| (directory, at)))
}

/// The entries of a directory, in its order.
pub(super) struct Entries<'a> {
    reader: Reader<'a>,
    left: u64,
}

impl<'a> Entries<'a> {
    /// The entries of `directory`.
    pub(super) fn new(source: &'a dyn Source, directory: &Directory) -> Self {
        let end = directory.offset.saturating_add(directory.len);
        Entries { reader: Reader::new(source, directory.offset, end), left: directory.count }
    }

    /// The next entry, or `None` after the last.
    pub(super) fn next(&mut self) -> Result<Option<Entry>, Fault> {
        if self.left == 0 {
            return match self.reader.left() {
                0 => Ok(None),
                _ => invalid("zip directory that is longer than its entries"),
            };
        }
        self.left -= 1;
        match self.entry()? {
            Some(entry) => Ok(Some(entry)),
            None => invalid("zip directory with a damaged entry"),
        }
    }

    fn entry(&mut self) -> Result<Option<Entry>> {
        let Some(fixed) = self.reader.array::<CENTRAL>()? else { return Ok(None) };
        let Some(central) = Central::parse(&fixed) else { return Ok(None) };
        let Some(name) = self.reader.take(central.name_len)?.map(<[u8]>::to_vec) else { return Ok(None) };
        let Some(extra) = self.reader.take(central.extra_len)? else { return Ok(None) };
        let entry = central.entry(name, extra);
        Ok(self.reader.skip(central.comment_len).and(entry))
    }
}

/// The names of up to `limit` entries, as far as the directory is sound.
pub(super) fn names(source: &dyn Source, limit: usize) -> Result<Vec<Vec<u8>>> {
    let Some(directory) = directory(source)? else { return Ok(Vec::new()) };
    let mut entries = Entries::new(source, &directory);
    let mut names = Vec::new();
    while names.len() < limit {
        match entries.next() {
            Ok(Some(entry)) => names.push(entry.name),
            Ok(None) | Err(Fault::Invalid(_)) => break,
            Err(Fault::Failed(error)) => return Err(error),
        }
    }
    Ok(names)
}

/// The fixed part of an entry in the directory.
struct Central {
    method: u16,
    stored: u32,
    raw: u32,
    name_len: usize,
    extra_len: usize,
    comment_len: u64,
    local: u32,
}

impl Central {
    fn parse(fixed: &[u8]) -> Option<Self> {
        let mut cursor = Cursor::new(fixed);
        (cursor.array()? == *b"PK\x01\x02").then_some(())?;
        cursor.take(6)?;
        let method = cursor.u16()?;
        cursor.take(8)?;
        let (stored, raw) = (cursor.u32()?, cursor.u32()?);
        let (name_len, extra_len) = (usize::from(cursor.u16()?), usize::from(cursor.u16()?));
        let comment_len = u64::from(cursor.u16()?);
        cursor.take(8)?;
        Some(Central { method, stored, raw, name_len, extra_len, comment_len, local: cursor.u32()? })
    }

    /// The entry, with the fields that did not fit into 32 bits taken from the zip64 extra field.
    fn entry(&self, name: Vec<u8>, extra: &[u8]) -> Option<Entry> {
        let mut wide = Cursor::new(zip64_field(extra));
        let mut field = |short: u32| match short {
            u32::MAX => wide.u64(),
            short => Some(u64::from(short)),
        };
        let _raw = field(self.raw)?;
        let (len, local) = (field(self.stored)?, field(self.local)?);
        Some(Entry { name, method: self.method, len, local })
    }
}

/// The zip64 part of an entry's extra fields; empty when there is none.
fn zip64_field(extra: &[u8]) -> &[u8] {
    let mut cursor = Cursor::new(extra);
    while let (Some(id), Some(len)) = (cursor.u16(), cursor.u16()) {
        match cursor.take(usize::from(len)) {
            Some(field) if id == 1 => return field,
            Some(_) => {}
            None => break,
        }
    }
    &[]
}

/// Checks that the directory is whole and that every entry lies before it; `what` is the format's name.
pub(super) fn check(source: &dyn Source, what: &str) -> Result<(), Fault> {
    let Some(directory) = directory(source)? else {
        return invalid(format!("{what} without its central directory: cut short"));
    };
    if directory.count > ENTRIES_MAX {
        return invalid(format!("{what} with {} entries", directory.count));
    }
    let mut entries = Entries::new(source, &directory);
    while let Some(entry) = entries.next()? {
        let head = LOCAL + entry.name.len() as u64;
        let end = entry.local.checked_add(head).and_then(|at| at.checked_add(entry.len));
        if end.is_none_or(|end| end > directory.offset) {
            return invalid(format!("{what} whose entry {} lies outside the file", read::shown(&entry.name)));
        }
        if !METHODS.contains(&entry.method) {
            return invalid(format!(
                "{what} whose entry {} is in an unknown compression",
                read::shown(&entry.name)
            ));
        }
    }
    if read::array(source, 0)? != Some(*b"PK\x03\x04") && directory.count > 0 {
        return invalid(format!("{what} whose first entry is gone"));
    }
    Ok(())
}

/// Offset of the bytes of `entry`; `None` when no local header is where the directory says.
pub(super) fn data_offset(source: &dyn Source, entry: &Entry) -> Result<Option<u64>> {
    let header = read::at_most(source, entry.local, 30)?;
    let parse = |bytes: &[u8]| {
        let mut cursor = Cursor::new(bytes);
        (cursor.array()? == *b"PK\x03\x04").then_some(())?;
        cursor.take(22)?;
        let lens = u64::from(cursor.u16()?) + u64::from(cursor.u16()?);
        entry.local.checked_add(LOCAL + lens)
    };
    Ok(parse(&header))
}
