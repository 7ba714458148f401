//! Reads blobs and footers of packs.
//!
//! Order of a read: header crc, id, decode, hash. Bytes that fail any step are never returned. The hash covers what the
//! stored crc covers, so a read looks at the crc only when the hash fails, to tell a bad disk from a bad encoding.

use std::fs::File;
use std::ops::Deref;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::buffers::{Buffer, Buffers};
use super::collect::Blob;
use super::direct::{DirectBytes, DirectPack};
use super::format::{BlobHeader, ENTRY, MAX_BLOB, MAX_BLOB_HEADER, PackEntry, TRAILER, Trailer};
use super::index::Location;
use crate::base::id::ChunkId;
use crate::base::{Error, IoContext, Result};
use crate::codec::{self, MAX_RAW};
use crate::content::hash;

/// Gives the raw bytes of a base.
pub type Base<'a> = dyn Fn(&ChunkId) -> Result<Arc<Buffer>> + 'a;

/// A blob as it lies in its pack, header included.
pub enum StoredBlob {
    /// Read through the page cache.
    Cached(Buffer),
    /// Read past it.
    Direct(DirectBytes),
}

impl Deref for StoredBlob {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            StoredBlob::Cached(bytes) => bytes,
            StoredBlob::Direct(bytes) => bytes,
        }
    }
}

/// A pack that is open for reading.
#[derive(Clone, Copy)]
pub struct OpenPack<'a> {
    /// The file.
    pub file: &'a File,
    /// The same for direct reads, where its filesystem has them.
    pub direct: Option<&'a DirectPack>,
    /// Its path, for messages.
    pub path: &'a Path,
}

impl OpenPack<'_> {
    /// The header of the blob at `at`, when its stored bytes verify by their crc.
    pub fn check(&self, at: &Location, buffers: &Arc<Buffers>) -> Result<BlobHeader> {
        let (header, blob) = self.stored(at, buffers)?;
        if crc32c::crc32c(stored_bytes(&header, &blob)) != header.stored_crc {
            return Err(self.damaged(at, "stored bytes do not verify"));
        }
        Ok(header)
    }

    /// Blob `id` at `at` as it is stored, when header and stored bytes verify.
    pub fn encoded(&self, id: &ChunkId, at: &Location, buffers: &Arc<Buffers>) -> Result<Blob> {
        let (header, blob) = self.stored(at, buffers)?;
        self.check_header(id, at, &header)?;
        if crc32c::crc32c(stored_bytes(&header, &blob)) != header.stored_crc {
            return Err(self.damaged(at, "stored bytes do not verify"));
        }
        Ok(Blob::new(header, blob))
    }

    /// The raw bytes of blob `id` at `at`, in a buffer of `buffers`. `base` gives the raw bytes of the blob that this one
    /// differs from, if it is stored so.
    pub fn read(
        &self,
        id: &ChunkId,
        at: &Location,
        buffers: &Arc<Buffers>,
        base: &Base<'_>,
    ) -> Result<Buffer> {
        if at.raw_len as usize > MAX_RAW {
            return Err(self.damaged(at, "impossible length"));
        }
        let (header, blob) = self.stored(at, buffers)?;
        let stored = stored_bytes(&header, &blob);
        self.check_header(id, at, &header)?;
        let base = header.encoding.base.as_ref().map(base).transpose()?;
        let mut raw = buffers.take(at.raw_len as usize);
        if let Err(error) =
            codec::decode(&header.encoding, stored, base.as_ref().map(|base| &base[..]), &mut raw)
        {
            return Err(self.wrong(at, &header, stored, &error.to_string()));
        }
        self.check_hash(id, at, &header, stored, &raw)?;
        Ok(raw)
    }

    /// The header of the blob at `at`, whose stored bytes are not read.
    pub fn head(&self, at: &Location) -> Result<BlobHeader> {
        let mut head = [0; MAX_BLOB_HEADER];
        let len = head.len().min(at.len as usize);
        let head = head.get_mut(..len).unwrap_or_default();
        read_exact(self.file, self.path, head, u64::from(at.offset), "the pack ends inside a blob")?;
        BlobHeader::decode(head).ok_or_else(|| self.damaged(at, "header does not verify"))
    }

    /// The blob at `at`: a header that verifies, and all bytes, header included.
    fn stored(&self, at: &Location, buffers: &Arc<Buffers>) -> Result<(BlobHeader, StoredBlob)> {
        let (offset, len) = (u64::from(at.offset), at.len as usize);
        if len > MAX_BLOB {
            return Err(self.damaged(at, "impossible length"));
        }
        let blob = match self.direct.and_then(|direct| direct.read(offset, len)) {
            Some(bytes) => StoredBlob::Direct(bytes),
            None => {
                let mut bytes = buffers.take(len);
                read_exact(self.file, self.path, &mut bytes, offset, "the pack ends inside a blob")?;
                StoredBlob::Cached(bytes)
            }
        };
        let header = BlobHeader::decode(&blob).ok_or_else(|| self.damaged(at, "header does not verify"))?;
        if header.blob_len() != u64::from(at.len) {
            return Err(self.damaged(at, "length differs from the index"));
        }
        Ok((header, blob))
    }

    fn check_header(&self, id: &ChunkId, at: &Location, header: &BlobHeader) -> Result<()> {
        if header.id != *id {
            return Err(self.damaged(at, &format!("holds {} instead of {id}", header.id)));
        }
        if header.raw_len != at.raw_len || header.blob_len() != u64::from(at.len) {
            return Err(self.damaged(at, "length differs from the index"));
        }
        Ok(())
    }

    fn check_hash(
        &self,
        id: &ChunkId,
        at: &Location,
        header: &BlobHeader,
        stored: &[u8],
        raw: &[u8],
    ) -> Result<()> {
        let found = hash::chunk_id(raw);
        if found == *id {
            return Ok(());
        }
        Err(self.wrong(at, header, stored, &format!("decodes to bytes of hash {found} instead of {id}")))
    }

    /// The error of a blob that does not decode to its hash: is it the disk, or was it written wrongly?
    fn wrong(&self, at: &Location, header: &BlobHeader, stored: &[u8], what: &str) -> Error {
        if crc32c::crc32c(stored) != header.stored_crc {
            return self.damaged(at, "stored bytes do not verify");
        }
        self.damaged(at, &format!("stored bytes verify, but: {what}"))
    }

    fn damaged(&self, at: &Location, what: &str) -> Error {
        Error::damaged(self.path, format!("blob at offset {}: {what}", at.offset))
    }
}

/// The encoded bytes of a blob.
fn stored_bytes<'a>(header: &BlobHeader, blob: &'a [u8]) -> &'a [u8] {
    blob.get(header.len()..).unwrap_or_default()
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

/// The number in the trailer of a pack; `None` when it does not verify.
pub(super) fn footer_number(file: &File, path: &Path) -> Result<Option<u32>> {
    let len = file.metadata().context("stat", path)?.len();
    let Some(at) = len.checked_sub(TRAILER as u64) else { return Ok(None) };
    let mut bytes = [0; TRAILER];
    read_exact(file, path, &mut bytes, at, "footer")?;
    Ok(Trailer::decode(&bytes, len).map(|trailer| trailer.number))
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
