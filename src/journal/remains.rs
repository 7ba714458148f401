//! What can still be read of a journal, whatever is missing of it.
//!
//! [`scan`](super::scan) stops where an acknowledged record is lost; this goes on behind it and tells what is missing.
//! Records that are handed on ascend; each verifies by itself.

use std::fs;
use std::path::{Path, PathBuf};

use super::record::{self, Body, Record};
use super::scan::find_later;
use super::segment::{self, SEGMENT_HEADER_LEN};
use crate::base::{Error, IoContext, Result};

/// Records that are missing between others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// The segment in which they were, or behind which.
    pub path: PathBuf,
    /// Where they begin in it.
    pub offset: u64,
    /// The first that is missing.
    pub from: u64,
    /// The last that is missing.
    pub upto: u64,
}

/// What is left of a journal.
#[derive(Debug, Default)]
pub struct Remains {
    /// Number of segment files.
    pub segments: usize,
    /// The first record that is there; 0 when there is none.
    pub first_seq: u64,
    /// The last record that is there; 0 when there is none.
    pub last_seq: u64,
    /// What is missing between them, and before a segment that follows.
    pub gaps: Vec<Gap>,
    /// Segments whose header does not verify; their records are read all the same.
    pub headers: Vec<PathBuf>,
    /// Segments that cannot be read, and why.
    pub unreadable: Vec<Error>,
    /// The last record is Closed.
    pub closed: bool,
}

/// Reads all records that are left in `dir`. [`Error::Refused`] for a segment of another version.
pub fn read(dir: &Path, visit: &mut dyn FnMut(Record) -> Result<()>) -> Result<Remains> {
    let mut left = Remains::default();
    let (mut expected, mut end_of_last) = (0, None);
    for entry in segment::list(dir, "log")? {
        left.segments += 1;
        let bytes = match segment::read(&entry.path) {
            Ok((bytes, _)) => bytes,
            Err(Error::Damaged { .. }) => {
                left.headers.push(entry.path.clone());
                fs::read(&entry.path).context("read", &entry.path)?
            }
            Err(error @ Error::Io { .. }) => {
                left.unreadable.push(error);
                continue;
            }
            Err(error) => return Err(error),
        };
        if expected == 0 {
            expected = entry.first_seq.max(1);
        }
        if entry.first_seq > expected {
            let (path, offset) = end_of_last.take().unwrap_or_else(|| (entry.path.clone(), 0));
            left.gaps.push(Gap { path, offset, from: expected, upto: entry.first_seq - 1 });
            expected = entry.first_seq;
        }
        let mut offset = SEGMENT_HEADER_LEN;
        while let Some((skip, record)) = next(bytes.get(offset..).unwrap_or_default(), expected) {
            if record.seq > expected {
                let path = entry.path.clone();
                left.gaps.push(Gap { path, offset: offset as u64, from: expected, upto: record.seq - 1 });
            }
            offset += skip + record.len;
            expected = record.seq + 1;
            if left.first_seq == 0 {
                left.first_seq = record.seq;
            }
            left.last_seq = record.seq;
            left.closed = matches!(record.body, Body::Closed);
            visit(record)?;
        }
        end_of_last = Some((entry.path, offset as u64));
    }
    Ok(left)
}

/// The next record from seq `expected` on in `rest`, and the bytes before it.
fn next(rest: &[u8], expected: u64) -> Option<(usize, Record)> {
    match record::decode(rest) {
        Some(record) if record.seq == expected => Some((0, record)),
        _ => find_later(rest, expected),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Journal, scan};

    #[test]
    fn what_is_behind_a_damaged_record_or_segment_is_read_and_the_gap_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let boot = [1; 16];
        let found = scan(dir.path(), &boot, &mut || Ok(0), &mut |_| Ok(())).unwrap();
        let journal = Journal::open(dir.path(), &found, 1, boot, 4096).unwrap();
        for n in 0..300_u64 {
            let ops = vec![(n.to_be_bytes().to_vec(), Some(vec![7; 40]))];
            journal.append(Body::Batch { ops }.encode().unwrap()).unwrap();
        }
        journal.sync().unwrap();
        let all = |dir: &Path| {
            let mut seqs = Vec::new();
            let left = read(dir, &mut |record| {
                seqs.push(record.seq);
                Ok(())
            });
            (left.unwrap(), seqs)
        };
        let (left, seqs) = all(dir.path());
        assert_eq!((left.gaps.len(), left.headers.len(), seqs), (0, 0, (1..=300).collect()));
        let segments = segment::list(dir.path(), "log").unwrap();
        assert!(segments.len() > 3);
        let path = &segments[1].path;
        let mut bytes = fs::read(path).unwrap();
        bytes[3] ^= 1;
        bytes[SEGMENT_HEADER_LEN + 30] ^= 1;
        fs::write(path, &bytes).unwrap();
        fs::remove_file(&segments[2].path).unwrap();
        let (left, seqs) = all(dir.path());
        let (second, third, fourth) = (segments[1].first_seq, segments[2].first_seq, segments[3].first_seq);
        let gaps: Vec<_> = left.gaps.iter().map(|gap| (gap.from, gap.upto)).collect();
        assert_eq!(gaps, [(second, second), (third, fourth - 1)]);
        assert_eq!(left.headers, std::slice::from_ref(path));
        assert_eq!(seqs.len() as u64, 300 - 1 - (fourth - third));
        assert_eq!((left.first_seq, left.last_seq), (1, 300));
    }
}
