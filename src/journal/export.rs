//! Exports: the whole key space at a position of the journal, in one file.
//!
//! Order: written under a temporary name, fsynced, renamed, directory fsynced; only then may older exports
//! and segments go. An export is used whole or not at all: every block, the order of the keys and the
//! footer are checked, and a reader that got an error has to forget what it was given.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use super::segment;
use crate::base::bytes::{Cursor, Put};
use crate::base::fault::{self, Point};
use crate::base::{Error, IoContext, Result, STORE_FORMAT, durable, private};

const MAGIC: &[u8; 8] = b"ckptexpt";
const EXPORT_VERSION: u32 = 1;

const HEADER_LEN: usize = 32;
const FOOTER_MARK: u32 = u32::MAX;
/// A block is written once it has this many bytes.
const BLOCK_LEN: usize = 64 << 10;
/// A block is at most this long: a full one and one entry as large as a journal record allows.
const MAX_BLOCK_LEN: u32 = 32 << 20;

/// Is given a key and its value.
pub type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> Result<()> + 'a;

/// An export being written. Dropped without [`Writer::finish`] it leaves nothing.
pub struct Writer {
    file: BufWriter<File>,
    tmp: PathBuf,
    path: PathBuf,
    block: Vec<u8>,
    entries: u64,
    blocks: u64,
    chain: u32,
    bytes: u64,
    finished: bool,
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.finished
            && let Err(error) = fs::remove_file(&self.tmp)
        {
            tracing::debug!("{} stays until the next open: {error}", self.tmp.display());
        }
    }
}

impl Writer {
    /// Begins an export at `position` in `dir`.
    pub fn create(dir: &Path, position: u64) -> Result<Self> {
        let path = dir.join(format!("{position:016x}.export"));
        let tmp = dir.join("export.tmp");
        let file = BufWriter::new(private::create(&tmp)?);
        let block = Vec::with_capacity(BLOCK_LEN);
        let mut writer =
            Writer { file, tmp, path, block, entries: 0, blocks: 0, chain: 0, bytes: 0, finished: false };
        let mut header = Vec::with_capacity(HEADER_LEN);
        header.raw(MAGIC).u32(EXPORT_VERSION).u32(STORE_FORMAT).u64(position).u32(0);
        let crc = crc32c::crc32c(&header);
        header.u32(crc);
        writer.write(&header)?;
        Ok(writer)
    }

    /// Adds an entry; keys have to ascend.
    pub fn add(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        self.block.blob(key).blob(value);
        self.entries += 1;
        if self.block.len() >= BLOCK_LEN { self.end_block() } else { Ok(()) }
    }

    /// Makes the export durable under its name; its length in bytes.
    pub fn finish(mut self) -> Result<u64> {
        if !self.block.is_empty() {
            self.end_block()?;
        }
        let mut body = Vec::new();
        body.u64(self.entries).u64(self.blocks).u32(self.chain);
        let mut footer = Vec::new();
        footer.u32(FOOTER_MARK).u32(crc32c::crc32c(&body)).raw(&body);
        self.write(&footer)?;
        self.file.flush().context("write", &self.tmp)?;
        durable::sync_all(self.file.get_ref(), &self.tmp)?;
        fault::reached(Point::ExportSynced);
        durable::rename(&self.tmp, &self.path)?;
        fault::reached(Point::ExportPlaced);
        self.finished = true;
        Ok(self.bytes)
    }

    fn end_block(&mut self) -> Result<()> {
        let block = std::mem::take(&mut self.block);
        let crc = block_crc(&block);
        let mut head = Vec::with_capacity(8);
        head.u32(u32::try_from(block.len()).unwrap_or(FOOTER_MARK)).u32(crc);
        self.write(&head)?;
        self.write(&block)?;
        self.blocks += 1;
        self.chain = crc32c::crc32c_append(self.chain, &crc.to_le_bytes());
        self.block = block;
        self.block.clear();
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes).context("write", &self.tmp)
    }
}

fn block_crc(block: &[u8]) -> u32 {
    let len = u32::try_from(block.len()).unwrap_or(FOOTER_MARK);
    crc32c::crc32c_append(crc32c::crc32c(&len.to_le_bytes()), block)
}

/// An export that is in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// The journal position that it holds.
    pub position: u64,
    /// Where it is.
    pub path: PathBuf,
}

/// The exports in `dir` by name, newest first; whether they are valid is not looked at.
pub fn list(dir: &Path) -> Result<Vec<Export>> {
    let files = segment::list(dir, "export")?;
    Ok(files.into_iter().rev().map(|file| Export { position: file.first_seq, path: file.path }).collect())
}

/// The newest export all of which is valid. Others are passed over with a log line.
pub fn newest_valid(dir: &Path) -> Result<Option<Export>> {
    for export in list(dir)? {
        match read(&export.path, &mut |_, _| Ok(())) {
            Ok(position) if position == export.position => return Ok(Some(export)),
            Ok(_) => tracing::warn!("{}: the export does not belong to its name", export.path.display()),
            Err(Error::Damaged { what, path }) => tracing::warn!("{}: damaged {what}", path.display()),
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Deletes all exports but the two newest, and tells the position of the older of these: the journal before
/// it is not needed. 0 while there are fewer than two.
pub fn prune(dir: &Path) -> Result<u64> {
    let exports = list(dir)?;
    for export in exports.iter().skip(2) {
        fs::remove_file(&export.path).context("delete", &export.path)?;
        fault::reached(Point::ExportPruned);
    }
    Ok(exports.get(1).map_or(0, |older| older.position))
}

/// Calls `visit` with every key and value of the export at `path`, ascending; its position.
///
/// [`Error::Damaged`] names the offset. What was visited before an error is not to be trusted.
pub fn read(path: &Path, visit: &mut Visit<'_>) -> Result<u64> {
    let file = File::open(path).context("open", path)?;
    let len = file.metadata().context("stat", path)?.len();
    let mut reader = Reader { file: BufReader::new(file), path, offset: 0, left: len };
    let position = reader.header()?;
    let (mut entries, mut blocks, mut chain) = (0u64, 0u64, 0u32);
    let mut last: Option<Vec<u8>> = None;
    loop {
        let mut head = [0; 8];
        reader.fill(&mut head)?;
        let mut cursor = Cursor::new(&head);
        let (block_len, crc) = (cursor.u32().unwrap_or(0), cursor.u32().unwrap_or(0));
        if block_len == FOOTER_MARK {
            reader.footer(crc, (entries, blocks, chain))?;
            return Ok(position);
        }
        let block = reader.block(block_len, crc)?;
        entries += each_entry(&block, &mut last, visit)?.ok_or_else(|| reader.damaged("export block"))?;
        blocks += 1;
        chain = crc32c::crc32c_append(chain, &crc.to_le_bytes());
    }
}

/// `None` when the block is not entries with ascending keys.
fn each_entry(block: &[u8], last: &mut Option<Vec<u8>>, visit: &mut Visit<'_>) -> Result<Option<u64>> {
    let mut cursor = Cursor::new(block);
    let mut entries = 0;
    while cursor.end().is_none() {
        let (Some(key), Some(value)) = (cursor.blob(), cursor.blob()) else { return Ok(None) };
        if last.as_deref().is_some_and(|last| last >= key) {
            return Ok(None);
        }
        visit(key, value)?;
        let kept = last.get_or_insert_default();
        kept.clear();
        kept.extend_from_slice(key);
        entries += 1;
    }
    Ok(Some(entries))
}

struct Reader<'a> {
    file: BufReader<File>,
    path: &'a Path,
    offset: u64,
    left: u64,
}

impl Reader<'_> {
    fn header(&mut self) -> Result<u64> {
        let mut bytes = [0; HEADER_LEN];
        self.fill(&mut bytes)?;
        let (body, crc) = bytes.split_at(HEADER_LEN - 4);
        let mut cursor = Cursor::new(body);
        let magic = cursor.array::<8>();
        let fields = (cursor.u32(), cursor.u32(), cursor.u64());
        if magic != Some(*MAGIC) || Cursor::new(crc).u32() != Some(crc32c::crc32c(body)) {
            return Err(self.damaged("export header"));
        }
        match fields {
            (Some(EXPORT_VERSION), Some(STORE_FORMAT), Some(position)) => Ok(position),
            (version, ..) => Err(Error::Refused(format!(
                "{} is of export version {}; this program reads version {EXPORT_VERSION}",
                self.path.display(),
                version.unwrap_or(0)
            ))),
        }
    }

    fn block(&mut self, len: u32, crc: u32) -> Result<Vec<u8>> {
        if len == 0 || len > MAX_BLOCK_LEN || u64::from(len) > self.left {
            return Err(self.damaged("export block length"));
        }
        let mut block = vec![0; len as usize];
        self.fill(&mut block)?;
        if block_crc(&block) != crc {
            return Err(self.damaged("export block"));
        }
        Ok(block)
    }

    fn footer(&mut self, crc: u32, counted: (u64, u64, u32)) -> Result<()> {
        let mut body = [0; 20];
        self.fill(&mut body)?;
        let mut cursor = Cursor::new(&body);
        let stored = (cursor.u64(), cursor.u64(), cursor.u32());
        let expected = (Some(counted.0), Some(counted.1), Some(counted.2));
        if crc32c::crc32c(&body) != crc || stored != expected || self.left != 0 {
            return Err(self.damaged("export footer"));
        }
        Ok(())
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<()> {
        let len = bytes.len() as u64;
        if len > self.left {
            return Err(self.damaged("export: it ends early"));
        }
        self.file.read_exact(bytes).context("read", self.path)?;
        self.offset += len;
        self.left -= len;
        Ok(())
    }

    fn damaged(&self, what: &str) -> Error {
        Error::damaged(self.path, format!("{what} before offset {}", self.offset))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(dir: &Path, position: u64, entries: u32) -> PathBuf {
        let mut writer = Writer::create(dir, position).unwrap();
        for number in 0..entries {
            writer.add(&number.to_be_bytes(), &[7; 40]).unwrap();
        }
        let bytes = writer.finish().unwrap();
        let path = list(dir).unwrap()[0].path.clone();
        assert_eq!(fs::metadata(&path).unwrap().len(), bytes);
        path
    }

    fn count(path: &Path) -> Result<usize> {
        let mut seen = 0;
        read(path, &mut |_, _| {
            seen += 1;
            Ok(())
        })?;
        Ok(seen)
    }

    #[test]
    fn what_is_exported_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(count(&written(dir.path(), 5, 10_000)).unwrap(), 10_000);
        assert_eq!(count(&written(dir.path(), 6, 0)).unwrap(), 0);
        assert_eq!(newest_valid(dir.path()).unwrap().unwrap().position, 6);
    }

    #[test]
    fn every_flipped_or_missing_byte_makes_it_unusable_and_the_older_one_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        written(dir.path(), 3, 1);
        let path = written(dir.path(), 9, 4);
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            fs::write(&path, &bad).unwrap();
            assert!(count(&path).is_err(), "flipped byte {at}");
            fs::write(&path, &good[..at]).unwrap();
            assert!(count(&path).is_err(), "cut at {at}");
        }
        fs::write(&path, [&good[..], b"x"].concat()).unwrap();
        assert!(matches!(count(&path), Err(Error::Damaged { .. })));
        assert_eq!(newest_valid(dir.path()).unwrap().unwrap().position, 3);
    }

    #[test]
    fn two_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        for position in [1, 2, 3] {
            written(dir.path(), position, 1);
        }
        assert_eq!(prune(dir.path()).unwrap(), 2);
        assert_eq!(list(dir.path()).unwrap().len(), 2);
    }
}
