//! Writes one pack: temporary name, blobs, footer, fsync; and publishes: rename, fsync of the folder.
//!
//! Until [`publish`] has returned, dropping leaves nothing behind.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::format::{self, BlobHeader, Kind, PackEntry};
use crate::base::fault::{self, Point};
use crate::base::id::ChunkId;
use crate::base::{Error, IoContext, Result, durable, private};
use crate::codec::Encoding;

/// A pack is closed when it has reached this many bytes.
pub const TARGET_BYTES: u64 = 256 << 20;
/// What is buffered before a write(2), in bytes.
const BUFFER: usize = 256 << 10;

/// The name of pack `number`.
pub fn pack_name(number: u32) -> String {
    format!("{number:08x}.pack")
}

/// The number in the name of a pack; `None` for other files.
pub fn pack_number(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(".pack")?;
    let number = u32::from_str_radix(digits, 16).ok()?;
    (pack_name(number) == name).then_some(number)
}

/// A file under a temporary name that goes away with this value, unless it was renamed.
struct Temporary {
    path: PathBuf,
    renamed: bool,
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.renamed {
            return;
        }
        if let Err(error) = fs::remove_file(&self.path) {
            // The next open of the store deletes it.
            tracing::warn!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// A pack that is being written.
pub struct PackWriter {
    file: BufWriter<File>,
    temporary: Temporary,
    number: u32,
    offset: u64,
    entries: Vec<PackEntry>,
    header: Vec<u8>,
}

/// A pack that is whole and durable, but still has its temporary name.
pub struct ClosedPack {
    temporary: Temporary,
    /// Its number.
    pub number: u32,
    /// Its bytes.
    pub len: u32,
    /// Its blobs in order of id.
    pub entries: Vec<PackEntry>,
}

impl PackWriter {
    /// Begins pack `number` in the folder `packs`.
    pub fn create(packs: &Path, number: u32) -> Result<Self> {
        let path = packs.join(pack_name(number) + ".tmp");
        let file = private::create(&path)?;
        let temporary = Temporary { path, renamed: false };
        let mut file = BufWriter::with_capacity(BUFFER, file);
        file.write_all(&format::encode_pack_header(number)).context("write", &temporary.path)?;
        let offset = format::PACK_HEADER as u64;
        Ok(PackWriter { file, temporary, number, offset, entries: Vec::new(), header: Vec::new() })
    }

    /// Appends a blob whose `stored` bytes decode to `raw_len` bytes with the hash `id`. Returns the blob's bytes.
    pub fn put(
        &mut self,
        kind: Kind,
        id: ChunkId,
        encoding: Encoding,
        raw_len: u32,
        stored: &[u8],
    ) -> Result<u32> {
        let too_long =
            || Error::Refused(format!("a blob of {} bytes does not fit into a pack", stored.len()));
        let stored_len = u32::try_from(stored.len()).map_err(|_| too_long())?;
        let stored_crc = crc32c::crc32c(stored);
        let header = BlobHeader { kind, encoding, raw_len, stored_len, stored_crc, id };
        let len = u32::try_from(header.blob_len()).map_err(|_| too_long())?;
        let offset = u32::try_from(self.offset).map_err(|_| too_long())?;
        self.header.clear();
        header.encode(&mut self.header);
        self.file.write_all(&self.header).context("write", &self.temporary.path)?;
        self.file.write_all(stored).context("write", &self.temporary.path)?;
        self.offset += header.blob_len();
        let (codec, has_base) = (encoding.codec, encoding.base.is_some());
        self.entries.push(PackEntry { id, offset, len, raw_len, kind, codec, has_base });
        Ok(len)
    }

    /// Whether it has reached its size: close it and begin another.
    pub fn is_full(&self) -> bool {
        self.offset >= TARGET_BYTES
    }

    /// Bytes so far, without the footer.
    pub fn bytes(&self) -> u64 {
        self.offset
    }

    /// Writes the footer and makes the file durable.
    pub fn close(mut self) -> Result<ClosedPack> {
        let path = &self.temporary.path;
        self.entries.sort_unstable_by_key(|entry| entry.id);
        let too_long = |_| Error::Refused("a pack of more than 4 GiB".to_owned());
        let offset = u32::try_from(self.offset).map_err(too_long)?;
        let footer = format::encode_footer(self.number, offset, &self.entries);
        let len = u32::try_from(self.offset + footer.len() as u64).map_err(too_long)?;
        self.file.write_all(&footer).context("write", path)?;
        self.file.flush().context("write", path)?;
        durable::sync_all(self.file.get_ref(), path)?;
        fault::reached(Point::PackSynced);
        Ok(ClosedPack { temporary: self.temporary, number: self.number, len, entries: self.entries })
    }
}

/// Gives every pack its name, then makes the names durable. On an error some may have it: they are then garbage,
/// which nothing names.
pub fn publish(packs: &Path, closed: &mut [ClosedPack]) -> Result<()> {
    for pack in closed.iter_mut() {
        let from = &pack.temporary.path;
        fs::rename(from, packs.join(pack_name(pack.number))).context("rename", from)?;
        pack.temporary.renamed = true;
        fault::reached(Point::PackRenamed);
    }
    durable::sync_dir(packs)
}
