//! Reading the journal from its first record to its end.
//!
//! The end is where the next record is not valid. Invariant: nothing that was acknowledged as durable is
//! taken for a torn tail. A valid record behind an invalid one proves the loss of an acknowledged record
//! when it is in a later segment (segments are durable before the next is entered), when it says so itself
//! (`durable`), or when the machine has not been rebooted since (a kill tears only the last write). A proven
//! loss is [`Error::Damaged`], unless an export covers everything up to that valid record.

use std::path::{Path, PathBuf};

use super::record::{self, Body, BootId, RECORD_HEADER_LEN, Record};
use super::segment::{self, SEGMENT_HEADER_LEN};
use crate::base::{Error, Result};

/// A Tentative that no Barrier covers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The seq of the Tentative.
    pub seq: u64,
    /// The boot in which it was written.
    pub boot: BootId,
    /// What its writer noted.
    pub note: Vec<u8>,
}

/// What a journal holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// Number of segment files.
    pub segments: usize,
    /// The last valid seq; 0 when there never was one.
    pub last_seq: u64,
    /// From this seq to `last_seq` no record is missing.
    pub contiguous_from: u64,
    /// The last record is Closed.
    pub closed: bool,
    /// The boot in which the last record was written.
    pub boot: Option<BootId>,
    /// Tentatives without a Barrier, oldest first.
    pub notes: Vec<Note>,
    /// The last segment with records, and the bytes of it that are valid.
    pub tail: Option<(PathBuf, u64)>,
    /// Valid bytes in all segments.
    pub bytes: u64,
}

/// Reads the journal in `dir`, calling `visit` with every valid record, ascending.
///
/// `boot` is the present boot; `covered` tells up to which seq an export can stand in for records, and is
/// asked only when some are missing. [`Error::Damaged`] names segment and offset of the first record that
/// was acknowledged and is lost.
pub fn scan(
    dir: &Path,
    boot: &BootId,
    covered: &mut dyn FnMut() -> Result<u64>,
    visit: &mut dyn FnMut(Record) -> Result<()>,
) -> Result<Scan> {
    let segments = segment::list(dir, "log")?;
    let mut walk = Walk { boot, covered, visit, expected: 0, lost_at: None, found: Scan::default() };
    walk.found.segments = segments.len();
    for (index, entry) in segments.iter().enumerate() {
        walk.enter(entry.first_seq, &entry.path)?;
        match segment::read(&entry.path) {
            Ok((bytes, writer)) => walk.records(&entry.path, &bytes, writer)?,
            // With a later segment, what is lost here is judged as a gap before that one.
            Err(Error::Damaged { .. }) if index + 1 < segments.len() => {
                walk.lost_at = Some((entry.path.clone(), 0));
            }
            Err(error) => return Err(error),
        }
    }
    walk.found.last_seq = walk.expected.saturating_sub(1);
    Ok(walk.found)
}

struct Walk<'a> {
    boot: &'a BootId,
    covered: &'a mut dyn FnMut() -> Result<u64>,
    visit: &'a mut dyn FnMut(Record) -> Result<()>,
    /// The seq that comes next; 0 before the first segment.
    expected: u64,
    /// Where the records of the last segment ended.
    lost_at: Option<(PathBuf, usize)>,
    found: Scan,
}

impl Walk<'_> {
    /// Begins a segment: a gap before it must be covered by an export.
    fn enter(&mut self, first_seq: u64, path: &Path) -> Result<()> {
        if self.expected == 0 || first_seq > self.expected {
            if self.expected != 0 && first_seq > (self.covered)()?.saturating_add(1) {
                let (lost, offset) = self.lost_at.clone().unwrap_or_else(|| (path.to_owned(), 0));
                return Err(lost_record(&lost, offset, self.expected));
            }
            self.expected = first_seq.max(1);
            self.found.contiguous_from = self.expected;
        } else if first_seq < self.expected {
            return Err(Error::damaged(path, format!("journal segment: it overlaps seq {}", self.expected)));
        }
        Ok(())
    }

    fn records(&mut self, path: &Path, bytes: &[u8], writer: BootId) -> Result<()> {
        let mut offset = SEGMENT_HEADER_LEN;
        let mut end = offset;
        loop {
            let rest = bytes.get(offset..).unwrap_or(&[]);
            if let Some(record) = record::decode(rest).filter(|record| record.seq == self.expected) {
                offset += record.len;
                end = offset;
                self.note(&record, writer);
                (self.visit)(record)?;
                self.expected += 1;
                continue;
            }
            let Some((skip, later)) = find_later(rest, self.expected) else { break };
            if later.seq <= (self.covered)()?.saturating_add(1) {
                tracing::warn!(
                    "{}: records {} to {} are damaged; an export covers them",
                    path.display(),
                    self.expected,
                    later.seq - 1
                );
                offset += skip;
                self.expected = later.seq;
                self.found.contiguous_from = later.seq;
            } else if writer == *self.boot || tells_durable(rest, skip, later, self.expected) {
                return Err(lost_record(path, offset, self.expected));
            } else {
                break;
            }
        }
        self.lost_at = Some((path.to_owned(), offset));
        if end > SEGMENT_HEADER_LEN {
            self.found.tail = Some((path.to_owned(), end as u64));
        }
        self.found.bytes += end as u64;
        Ok(())
    }

    fn note(&mut self, record: &Record, writer: BootId) {
        self.found.boot = Some(writer);
        self.found.closed = matches!(record.body, Body::Closed);
        match &record.body {
            Body::Tentative { note, .. } => {
                self.found.notes.push(Note { seq: record.seq, boot: writer, note: note.clone() });
            }
            Body::Barrier { upto } => self.found.notes.retain(|note| note.seq > *upto),
            Body::Opened { .. } | Body::Closed | Body::Batch { .. } => {}
        }
    }
}

fn lost_record(path: &Path, offset: usize, seq: u64) -> Error {
    Error::damaged(
        path,
        format!("journal: the record at offset {offset} (seq {seq}) is not valid, later ones are"),
    )
}

/// The first valid record behind an invalid one, and how far behind it is.
pub(super) fn find_later(rest: &[u8], expected: u64) -> Option<(usize, Record)> {
    if rest.iter().all(|byte| *byte == 0) {
        return None;
    }
    let most = (rest.len() / RECORD_HEADER_LEN) as u64;
    (1..rest.len()).find_map(|skip| {
        let here = rest.get(skip..)?;
        let seq = record::peek_seq(here)?;
        if seq <= expected || seq - expected > most {
            return None;
        }
        record::decode(here).map(|record| (skip, record))
    })
}

/// Whether a record behind an invalid one says that `expected` was durable; `later` at `skip` is the first.
fn tells_durable(rest: &[u8], mut skip: usize, mut later: Record, expected: u64) -> bool {
    loop {
        if later.durable >= expected {
            return true;
        }
        skip += later.len;
        let Some((further, next)) = rest.get(skip - 1..).and_then(|rest| find_later(rest, expected)) else {
            return false;
        };
        (skip, later) = (skip - 1 + further, next);
    }
}
