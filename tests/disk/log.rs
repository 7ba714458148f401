//! The log of a disk: what was written and flushed, in order.
//!
//! A record is a header of 24 bytes, little-endian, and for a write its bytes: kind (u64: 1 a write, 2 a flush), offset
//! (u64), length (u64). A record is whole or the last: whoever sees a size of the file sees all records that were answered
//! before. scripts/python/powercut_log.py reads it.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::path::Path;

const WRITE: u64 = 1;
const FLUSH: u64 = 2;

/// Appends records.
pub(crate) struct Log {
    file: File,
}

impl Log {
    /// A new, empty log.
    pub(crate) fn create(path: &Path) -> Result<Self, String> {
        let file = File::create(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Log { file })
    }

    /// `data` was written at `offset`.
    pub(crate) fn write(&mut self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.put(WRITE, offset, data)
    }

    /// All that was answered before is durable.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.put(FLUSH, 0, &[])
    }

    fn put(&mut self, kind: u64, offset: u64, data: &[u8]) -> io::Result<()> {
        let header = [kind, offset, data.len() as u64].map(u64::to_le_bytes).concat();
        let wanted = header.len() + data.len();
        let written = self.file.write_vectored(&[IoSlice::new(&header), IoSlice::new(data)])?;
        if written == wanted {
            return Ok(());
        }
        // A short write leaves the rest: what of the header, what of the data.
        let rest = [&header, data].concat();
        self.file.write_all(rest.get(written..).unwrap_or_default())
    }
}
