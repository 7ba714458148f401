//! The blobs of a pack whose footer is gone or damaged, found by walking the blob headers.
//!
//! Only blobs whose stored bytes verify are told of. Where a header does not verify the walk goes on at the next magic:
//! one bad sector costs the blobs in it, not those after it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::buffers::Buffers;
use super::format::{BLOB_MAGIC, BlobHeader, MAX_BLOB_HEADER, PACK_HEADER, PackEntry};
use super::index::Location;
use super::reader::{self, OpenPack};
use crate::base::{Error, IoContext, Result};
use crate::content::cut::MAX_CHUNK;

/// What is searched at a time for the next magic, in bytes.
const WINDOW: usize = 64 << 10;

/// The blobs of a pack in order of id: from the footer, or by [`scan`] when the footer does not verify.
pub fn entries(path: &Path) -> Result<Vec<PackEntry>> {
    let file = File::open(path).context("open", path)?;
    match reader::read_footer(&file, path)? {
        Some(entries) => Ok(entries),
        None => {
            tracing::warn!("the footer of {} is damaged: reading its blobs one by one", path.display());
            let mut entries = scan(&file, path)?;
            entries.sort_unstable_by_key(|entry| entry.id);
            Ok(entries)
        }
    }
}

/// The sound blobs of a pack in order of offset, without the help of its footer.
pub fn scan(file: &File, path: &Path) -> Result<Vec<PackEntry>> {
    let end = file.metadata().context("stat", path)?.len();
    // One buffer, for one blob after the other.
    let buffers = Buffers::new(MAX_CHUNK);
    let (mut at, mut found) = (PACK_HEADER as u64, Vec::new());
    while at < end {
        match blob_at(file, path, &buffers, at, end)? {
            Step::Sound(entry) => {
                at += u64::from(entry.len);
                found.push(entry);
            }
            Step::Unsound(len) => at += len,
            Step::None => at = next_magic(file, path, at + 1, end)?,
        }
    }
    Ok(found)
}

/// What is at one offset of a pack.
enum Step {
    /// A blob that verifies.
    Sound(PackEntry),
    /// A header that verifies before stored bytes that do not; the blob's bytes.
    Unsound(u64),
    /// No header, or one whose blob the file cannot hold.
    None,
}

fn blob_at(file: &File, path: &Path, buffers: &Arc<Buffers>, at: u64, end: u64) -> Result<Step> {
    let mut buf = [0; MAX_BLOB_HEADER];
    let len = read_some(file, path, &mut buf, at)?;
    let Some(header) = buf.get(..len).and_then(BlobHeader::decode) else { return Ok(Step::None) };
    let blob_len = header.blob_len();
    let (Ok(offset), Ok(len)) = (u32::try_from(at), u32::try_from(blob_len)) else { return Ok(Step::None) };
    if at + blob_len > end {
        return Ok(Step::None);
    }
    let place =
        Location { pack: 0, offset, len, raw_len: header.raw_len, has_base: header.encoding.base.is_some() };
    match (OpenPack { file, direct: None, path }).check(&place, buffers) {
        Ok(_) => {
            let BlobHeader { id, raw_len, kind, encoding, .. } = header;
            let (codec, has_base) = (encoding.codec, encoding.base.is_some());
            Ok(Step::Sound(PackEntry { id, offset, len, raw_len, kind, codec, has_base }))
        }
        Err(error @ Error::Damaged { .. }) => {
            tracing::warn!("{error}");
            Ok(Step::Unsound(blob_len))
        }
        Err(error) => Err(error),
    }
}

/// Offset of the next magic from `at` on, or `end`.
fn next_magic(file: &File, path: &Path, mut at: u64, end: u64) -> Result<u64> {
    let mut window = vec![0; WINDOW];
    while at < end {
        let len = read_some(file, path, &mut window, at)?;
        let bytes = window.get(..len).unwrap_or_default();
        if let Some(found) = bytes.windows(BLOB_MAGIC.len()).position(|four| four == BLOB_MAGIC) {
            return Ok(at + found as u64);
        }
        // A magic may lie across the border of two windows.
        match len.checked_sub(BLOB_MAGIC.len() - 1) {
            Some(step) if step > 0 => at += step as u64,
            _ => break,
        }
    }
    Ok(end)
}

/// Reads up to `buf.len()` bytes; fewer only at the end of the file.
fn read_some(file: &File, path: &Path, buf: &mut [u8], at: u64) -> Result<usize> {
    let mut done = 0;
    while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match file.read_at(rest, at + done as u64) {
            Ok(0) => break,
            Ok(len) => done += len,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).context("read", path),
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{Codec, Encoding};
    use crate::content::hash::chunk_id;
    use crate::pack::format::Kind;
    use crate::pack::writer::{PackWriter, pack_name, publish};

    /// A pack of 20 blobs of 1000 bytes; its path and its bytes.
    fn pack(dir: &Path) -> (std::path::PathBuf, Vec<u8>) {
        let mut writer = PackWriter::create(dir, 1).unwrap();
        for n in 0..20_u8 {
            let raw = vec![n; 1000];
            writer.put(Kind::Chunk, chunk_id(&raw), Encoding::plain(Codec::Raw), 1000, &raw).unwrap();
        }
        publish(dir, &mut [writer.close().unwrap()]).unwrap();
        let path = dir.join(pack_name(1));
        let bytes = std::fs::read(&path).unwrap();
        (path, bytes)
    }

    #[test]
    fn the_walk_finds_what_the_footer_lists() {
        let dir = tempfile::tempdir().unwrap();
        let (path, bytes) = pack(dir.path());
        let whole = entries(&path).unwrap();
        assert_eq!(whole.len(), 20);
        let last = bytes.len() - 1;
        for (from, to) in [(last, last + 1), (last - 100, last + 1), (last - 500, last - 400)] {
            let mut torn = bytes.clone();
            torn[from..to].iter_mut().for_each(|byte| *byte ^= 0xff);
            std::fs::write(&path, &torn).unwrap();
            assert_eq!(entries(&path).unwrap(), whole);
        }
    }

    #[test]
    fn a_torn_tail_costs_the_last_blob_and_a_bad_header_costs_one() {
        let dir = tempfile::tempdir().unwrap();
        let (path, bytes) = pack(dir.path());
        std::fs::write(&path, &bytes[..20 + 1060 * 19 + 500]).unwrap();
        assert_eq!(entries(&path).unwrap().len(), 19);
        for at in [20 + 1060 * 3, 20 + 1060 * 3 + 16, 20 + 1060 * 3 + 500] {
            let mut bad = bytes[..20 + 1060 * 20].to_vec();
            bad[at] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            let found = entries(&path).unwrap();
            assert_eq!(found.len(), 19, "at {at}");
            assert!(!found.iter().any(|entry| entry.id == chunk_id(&[3; 1000])));
        }
        for len in [0, 5, 20, 60] {
            std::fs::write(&path, &bytes[..len]).unwrap();
            assert_eq!(entries(&path).unwrap(), []);
        }
    }
}
