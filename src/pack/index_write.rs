//! Writes one file of the chunk index, streaming.
//!
//! Order: entries, fanout, covers, trailer, fsync, rename, fsync of the folder. Memory is the fanout's.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::index::{
    Cover, ENTRY, FANOUT, IndexEntry, IndexFile, MAX_BITS, Tail, bucket_of, encode_entry, index_name,
};
use crate::base::bytes::Put;
use crate::base::fault::{self, Point};
use crate::base::{IoContext, Result, durable, private};

/// A bucket holds about half to all of this: with 48-byte entries one page or little more is read for a lookup.
const BUCKET_ENTRIES: u64 = 96;

/// An index file that is being written.
pub(super) struct IndexWriter {
    file: BufWriter<File>,
    tmp: PathBuf,
    path: PathBuf,
    bits: u32,
    seq: u64,
    entries: u64,
    fanout: Vec<u8>,
    /// Buckets that are complete, and the crc of the one that is not.
    bucket: usize,
    first: u64,
    crc: u32,
    buf: Vec<u8>,
}

impl IndexWriter {
    /// Begins file `seq` in the folder `dir` for about `expected` entries.
    pub(super) fn create(dir: &Path, seq: u64, expected: u64) -> Result<Self> {
        let bits = (0..MAX_BITS).find(|bits| expected >> bits <= BUCKET_ENTRIES).unwrap_or(MAX_BITS);
        let path = dir.join(index_name(seq));
        let tmp = path.with_extension("idx.tmp");
        let file = BufWriter::with_capacity(256 << 10, private::create(&tmp)?);
        let (fanout, buf) = (Vec::with_capacity(FANOUT << bits), Vec::with_capacity(ENTRY));
        Ok(IndexWriter { file, tmp, path, bits, seq, entries: 0, fanout, bucket: 0, first: 0, crc: 0, buf })
    }

    /// Appends an entry; they come in order of id, then pack.
    pub(super) fn push(&mut self, (id, at): &IndexEntry) -> Result<()> {
        self.close_buckets_before(bucket_of(id, self.bits));
        self.buf.clear();
        encode_entry(id, at, &mut self.buf);
        self.crc = crc32c::crc32c_append(self.crc, &self.buf);
        self.entries += 1;
        self.file.write_all(&self.buf).context("write", &self.tmp)
    }

    fn close_buckets_before(&mut self, bucket: usize) {
        while self.bucket < bucket {
            self.fanout.u64(self.first).u32(self.crc);
            (self.bucket, self.first, self.crc) = (self.bucket + 1, self.entries, 0);
        }
    }

    /// Completes the file, which has every entry of the packs `covers`, makes it durable and opens it.
    pub(super) fn finish(mut self, covers: Vec<Cover>) -> Result<IndexFile> {
        self.close_buckets_before(1 << self.bits);
        let tail = Tail {
            bits: self.bits,
            entries: self.entries,
            seq: self.seq,
            fanout: std::mem::take(&mut self.fanout),
            covers,
        };
        self.file.write_all(&tail.encode()).context("write", &self.tmp)?;
        self.file.flush().context("write", &self.tmp)?;
        durable::sync_all(self.file.get_ref(), &self.tmp)?;
        fault::reached(Point::IndexSynced);
        durable::rename(&self.tmp, &self.path)?;
        fault::reached(Point::IndexPlaced);
        IndexFile::open(&self.path)
    }
}

impl Drop for IndexWriter {
    fn drop(&mut self) {
        match fs::remove_file(&self.tmp) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                // The next open of the store deletes it.
                tracing::warn!("cannot remove {}: {error}", self.tmp.display());
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::id::ChunkId;
    use crate::content::hash::chunk_id;
    use crate::pack::index::Location;

    /// An index of `count` made-up chunks; the ids in order.
    fn made(dir: &Path, count: u32) -> (IndexFile, Vec<ChunkId>) {
        let mut ids: Vec<_> = (0..count).map(|n| chunk_id(&n.to_le_bytes())).collect();
        ids.sort_unstable();
        let mut writer = IndexWriter::create(dir, 7, u64::from(count)).unwrap();
        for (n, id) in (0..).zip(&ids) {
            writer
                .push(&(*id, Location { pack: 3, offset: n, len: 60, raw_len: 5, has_base: false }))
                .unwrap();
        }
        (writer.finish(vec![Cover { pack: 3, len: 1 << 20 }]).unwrap(), ids)
    }

    #[test]
    fn every_chunk_is_found_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        for count in [0, 1, 97, 5000] {
            let (index, ids) = made(dir.path(), count);
            assert_eq!((index.len(), index.covers().len(), index.seq()), (u64::from(count), 1, 7));
            let mut found = Vec::new();
            for id in &ids {
                index.find(id, &mut found).unwrap();
            }
            let offsets: Vec<u32> = found.iter().map(|at| at.offset).collect();
            assert_eq!(offsets, (0..count).collect::<Vec<_>>());
            found.clear();
            index.find(&chunk_id(b"another"), &mut found).unwrap();
            assert_eq!(found, []);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "temporaries are left");
    }

    #[test]
    fn a_flipped_byte_is_noticed_and_a_cut_file_does_not_open() {
        let dir = tempfile::tempdir().unwrap();
        let (index, ids) = made(dir.path(), 300);
        let bytes = fs::read(index.path()).unwrap();
        for at in (0..bytes.len()).step_by(7) {
            let mut bad = bytes.clone();
            bad[at] ^= 0x20;
            fs::write(index.path(), &bad).unwrap();
            let all = || -> Result<()> {
                let index = IndexFile::open(index.path())?;
                ids.iter().try_for_each(|id| index.find(id, &mut Vec::new()))
            };
            assert!(matches!(all(), Err(crate::base::Error::Damaged { .. })), "byte {at}");
        }
        for len in (0..bytes.len()).step_by(501) {
            fs::write(index.path(), &bytes[..len]).unwrap();
            assert!(IndexFile::open(index.path()).is_err());
        }
    }

    /// `cargo test --release --lib -- --ignored --nocapture ten_million`
    #[test]
    #[ignore = "a measurement: docs/decisions/0001-chunk-index.md has its figures"]
    fn ten_million_entries_are_looked_up_in_microseconds() {
        let dir = tempfile::tempdir().unwrap();
        let id = |n: u64| {
            // Spread in order, so that no sort of ten million is measured: the top bits count, the rest is noise.
            let mut id = chunk_id(&n.to_le_bytes());
            id.0[..8].copy_from_slice(&(n * (u64::MAX / 10_000_000)).to_be_bytes());
            id
        };
        let begun = std::time::Instant::now();
        let mut writer = IndexWriter::create(dir.path(), 1, 10_000_000).unwrap();
        for n in 0..10_000_000 {
            writer
                .push(&(id(n), Location { pack: 1, offset: 0, len: 60, raw_len: 5, has_base: false }))
                .unwrap();
        }
        let index = writer.finish(Vec::new()).unwrap();
        println!(
            "written in {:?}; fanout {} KiB in memory",
            begun.elapsed(),
            (FANOUT * index.buckets()) >> 10
        );
        let begun = std::time::Instant::now();
        drop(IndexFile::open(index.path()).unwrap());
        println!("opened in {:?}", begun.elapsed());
        let (mut found, count) = (Vec::new(), 1_000_000_u64);
        let begun = std::time::Instant::now();
        for n in 0..count {
            index.find(&id(n * 7_919 % 10_000_000), &mut found).unwrap();
        }
        println!("hit {:?}", begun.elapsed() / count as u32);
        assert_eq!(found.len() as u64, count);
        let begun = std::time::Instant::now();
        for n in 0..count {
            index.find(&chunk_id(&n.to_be_bytes()), &mut found).unwrap();
        }
        println!("miss {:?}, hashing included", begun.elapsed() / count as u32);
        assert_eq!(found.len() as u64, count);
    }
}
