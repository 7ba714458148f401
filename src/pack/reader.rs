//! Reads blobs and footers of packs.
//!
//! Order of a read: header crc, id, stored crc, decode, hash. Bytes that fail any step are never returned.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::format::{BlobHeader, ENTRY, MAX_BLOB, PackEntry, TRAILER, Trailer};
use crate::base::id::ChunkId;
use crate::base::{Error, IoContext, Result};
use crate::codec;
use crate::content::hash;

/// A blob as it is stored, with a header and stored bytes that verify.
pub struct StoredBlob {
    header: BlobHeader,
    bytes: Vec<u8>,
}

impl StoredBlob {
    /// Reads the blob of `len` bytes at `offset` of the pack `file`, whose path is for messages. One pread.
    pub fn read(file: &File, path: &Path, offset: u32, len: u32) -> Result<Self> {
        let damaged = |what: &str| Error::damaged(path, format!("blob at offset {offset}: {what}"));
        if len as usize > MAX_BLOB {
            return Err(damaged("impossible length"));
        }
        let mut bytes = vec![0; len as usize];
        read_exact(file, path, &mut bytes, u64::from(offset), "the pack ends inside it")?;
        let header = BlobHeader::decode(&bytes).ok_or_else(|| damaged("header does not verify"))?;
        if header.blob_len() != u64::from(len) {
            return Err(damaged("length differs from the index"));
        }
        let blob = StoredBlob { header, bytes };
        if crc32c::crc32c(blob.stored()) != blob.header.stored_crc {
            return Err(damaged("stored bytes do not verify"));
        }
        Ok(blob)
    }

    /// Its header.
    pub fn header(&self) -> &BlobHeader {
        &self.header
    }

    /// The encoded bytes.
    pub fn stored(&self) -> &[u8] {
        self.bytes.get(self.header.len()..).unwrap_or_default()
    }

    /// The raw bytes, shared.
    pub fn decode_shared(&self, id: &ChunkId) -> Result<Arc<[u8]>, String> {
        let mut out: Arc<[u8]> = std::iter::repeat_n(0, self.header.raw_len as usize).collect();
        // Nobody else has it yet.
        let target = Arc::get_mut(&mut out).ok_or_else(|| "buffer is shared".to_owned())?;
        self.decode_into(id, target)?;
        Ok(out)
    }

    /// The raw bytes.
    pub fn decode(&self, id: &ChunkId) -> Result<Vec<u8>, String> {
        let mut out = vec![0; self.header.raw_len as usize];
        self.decode_into(id, &mut out)?;
        Ok(out)
    }

    /// Fills `out` and holds it against `id`; the error says what is wrong.
    fn decode_into(&self, id: &ChunkId, out: &mut [u8]) -> Result<(), String> {
        if self.header.id != *id {
            return Err(format!("holds {} instead of {id}", self.header.id));
        }
        codec::decode(&self.header.encoding, self.stored(), out).map_err(|error| error.to_string())?;
        let found = hash::chunk_id(out);
        if found == *id { Ok(()) } else { Err(format!("decodes to bytes of hash {found} instead of {id}")) }
    }
}

/// The entries of a pack from its footer, in order of id; `None` when the footer does not verify.
pub fn read_footer(file: &File, path: &Path) -> Result<Option<Vec<PackEntry>>> {
    let len = file.metadata().context("stat", path)?.len();
    let Some(at) = len.checked_sub(TRAILER as u64) else { return Ok(None) };
    let mut bytes = vec![0; TRAILER];
    read_exact(file, path, &mut bytes, at, "footer")?;
    let Some(trailer) = Trailer::decode(&bytes, len) else { return Ok(None) };
    // The trailer's lengths were held against the file's: this allocates at most the file's length.
    bytes.resize(trailer.count as usize * ENTRY, 0);
    read_exact(file, path, &mut bytes, u64::from(trailer.offset), "footer")?;
    Ok(trailer.entries(&bytes))
}

/// Fills `buf` from `offset`; an end before that is damage, not an I/O error.
pub(super) fn read_exact(file: &File, path: &Path, buf: &mut [u8], offset: u64, what: &str) -> Result<()> {
    match file.read_exact_at(buf, offset) {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
            Err(Error::damaged(path, format!("at offset {offset}: {what}")))
        }
        other => other.context("read", path),
    }
}
