//! Segment files: their names, their header, and how a new one comes to be.
//!
//! A segment is prepared under a temporary name: preallocated, header written, fsynced. Only then is it
//! renamed to its place. So a file named as a segment always has a durable header, and appending to it
//! needs no space.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::record::{BootId, MAX_PAYLOAD_LEN};
use crate::base::bytes::{Cursor, Put};
use crate::base::{Error, IoContext, Result, STORE_FORMAT, durable, private};

/// Bytes before the first record.
pub const SEGMENT_HEADER_LEN: usize = 48;

const MAGIC: &[u8; 8] = b"ckptjrnl";
const SEGMENT_VERSION: u32 = 1;

const CRC_AT: usize = 44;
/// A segment holds one oversized record at most beyond what was preallocated.
const MAX_SEGMENT_LEN: u64 = 256 << 20;

/// A segment that is in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentPath {
    /// The seq of its first record.
    pub first_seq: u64,
    /// Where it is.
    pub path: PathBuf,
}

/// Where the segment that begins with `first_seq` is.
pub fn path_of(dir: &Path, first_seq: u64) -> PathBuf {
    dir.join(format!("{first_seq:016x}.log"))
}

/// All files in `dir` named `<16 hex digits>.<extension>`, ascending.
pub fn list(dir: &Path, extension: &str) -> Result<Vec<SegmentPath>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).context("list", dir)? {
        let path = entry.context("list", dir)?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).filter(|stem| stem.len() == 16);
        let number = stem.and_then(|stem| u64::from_str_radix(stem, 16).ok());
        if let Some(first_seq) = number
            && path.extension().is_some_and(|found| found == extension)
        {
            found.push(SegmentPath { first_seq, path });
        }
    }
    found.sort_by_key(|segment| segment.first_seq);
    Ok(found)
}

/// Creates `path` with `len` bytes preallocated and the header of `boot`, durable.
pub fn prepare(path: &Path, len: u64, boot: &BootId) -> Result<File> {
    let file = private::create(path)?;
    durable::preallocate(&file, len, path)?;
    file.write_all_at(&header(boot), 0).context("write", path)?;
    durable::sync_all(&file, path)?;
    Ok(file)
}

fn header(boot: &BootId) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(SEGMENT_HEADER_LEN);
    bytes.raw(MAGIC).u32(SEGMENT_VERSION).u32(STORE_FORMAT).raw(boot).raw(&[0; 12]);
    let crc = crc32c::crc32c(&bytes);
    bytes.u32(crc);
    bytes
}

/// All bytes of a segment and the boot of its writer.
///
/// [`Error::Damaged`] when the header is not valid, [`Error::Refused`] when it is of another version.
pub fn read(path: &Path) -> Result<(Vec<u8>, BootId)> {
    let mut file = File::open(path).context("open", path)?;
    let len = file.metadata().context("stat", path)?.len();
    if len > MAX_SEGMENT_LEN + MAX_PAYLOAD_LEN as u64 {
        return Err(Error::damaged(path, format!("journal segment: {len} bytes long")));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or(0));
    file.read_to_end(&mut bytes).context("read", path)?;
    let boot = parse_header(&bytes).ok_or_else(|| Error::damaged(path, "journal segment header"))?;
    match boot {
        Ok(boot) => Ok((bytes, boot)),
        Err(version) => Err(Error::Refused(format!(
            "{} is of journal version {version}; this program reads version {SEGMENT_VERSION}",
            path.display()
        ))),
    }
}

/// `None` for damage, `Err(version)` for a valid header of another version.
fn parse_header(bytes: &[u8]) -> Option<std::result::Result<BootId, u32>> {
    let mut cursor = Cursor::new(bytes);
    if cursor.array::<8>()? != *MAGIC {
        return None;
    }
    let (version, format) = (cursor.u32()?, cursor.u32()?);
    let boot = cursor.array()?;
    cursor.take(12)?;
    if cursor.u32()? != crc32c::crc32c(bytes.get(..CRC_AT)?) {
        return None;
    }
    if version != SEGMENT_VERSION || format != STORE_FORMAT {
        return Some(Err(version));
    }
    Some(Ok(boot))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prepared_segment_names_its_boot_and_has_its_space() {
        let dir = tempfile::tempdir().unwrap();
        let path = path_of(dir.path(), 0x2a);
        prepare(&path, 8192, &[9; 16]).unwrap();
        let (bytes, boot) = read(&path).unwrap();
        assert_eq!((bytes.len(), boot), (8192, [9; 16]));
        let listed = list(dir.path(), "log").unwrap();
        assert_eq!(listed, vec![SegmentPath { first_seq: 0x2a, path }]);
    }

    #[test]
    fn every_flipped_header_byte_is_noticed() {
        let good = header(&[1; 16]);
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            assert!(parse_header(&bad).is_none(), "byte {at}");
            assert!(parse_header(&good[..at]).is_none());
        }
    }

    #[test]
    fn another_version_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = path_of(dir.path(), 1);
        let mut bytes = header(&[1; 16]);
        bytes[8] = 2;
        let crc = crc32c::crc32c(&bytes[..CRC_AT]);
        bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        fs::write(&path, &bytes).unwrap();
        assert!(matches!(read(&path), Err(Error::Refused(text)) if text.contains("version 2")));
    }
}
