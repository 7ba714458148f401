//! Makes one index file of several, so that few are asked for a chunk.
//!
//! Streaming: one bucket of each source is in memory. Entries of packs that are gone are left out; equal ids of several
//! packs all stay, because any of the packs may go.

use std::path::Path;
use std::sync::Arc;

use super::index::{Cover, IndexEntry, IndexFile};
use super::index_write::IndexWriter;
use crate::base::Result;

/// As many files of about one size are merged into one of the next size.
pub(super) const FAN_IN: usize = 4;

/// A failure, and the sequence number of the index file that is damaged, if it is one's fault.
pub(super) type Fault = (Option<u64>, crate::base::Error);

/// The files that should become one: the first size of which there are [`FAN_IN`]. `unit` is the smallest size.
pub(super) fn due(files: &[Arc<IndexFile>], unit: u64) -> Option<Vec<Arc<IndexFile>>> {
    let size = |file: &IndexFile| (file.len() / unit.max(1)).max(1).ilog2() / FAN_IN.ilog2();
    (0..32).find_map(|tier| {
        let same: Vec<_> = files.iter().filter(|file| size(file) == tier).cloned().collect();
        (same.len() >= FAN_IN).then_some(same)
    })
}

/// Writes file `seq` in `dir` with the entries of `sources` whose packs are `live`.
pub(super) fn merge(
    dir: &Path,
    seq: u64,
    sources: &[Arc<IndexFile>],
    live: &dyn Fn(u32) -> bool,
) -> Result<IndexFile, Fault> {
    let of_target = |error| (None, error);
    let expected = sources.iter().map(|file| file.len()).sum();
    let mut writer = IndexWriter::create(dir, seq, expected).map_err(of_target)?;
    let mut heads = Vec::with_capacity(sources.len());
    for file in sources {
        heads.push(Head::new(file).map_err(|error| (Some(file.seq()), error))?);
    }
    while let Some(head) = least(&mut heads) {
        if let Some(entry) = head.next.filter(|(_, at)| live(at.pack)) {
            writer.push(&entry).map_err(of_target)?;
        }
        head.advance().map_err(|error| (Some(head.file.seq()), error))?;
    }
    let mut covers: Vec<Cover> =
        sources.iter().flat_map(|file| file.covers()).filter(|cover| live(cover.pack)).copied().collect();
    covers.sort_unstable_by_key(|cover| (cover.pack, cover.len));
    covers.dedup();
    writer.finish(covers).map_err(of_target)
}

/// The head with the least entry; `None` when all are at their end.
fn least<'a, 'b>(heads: &'a mut [Head<'b>]) -> Option<&'a mut Head<'b>> {
    heads
        .iter_mut()
        .filter(|head| head.next.is_some())
        .min_by_key(|head| head.next.map(|(id, at)| (id, at.pack, at.offset)))
}

/// A source that is read in order.
struct Head<'a> {
    file: &'a IndexFile,
    bucket: usize,
    entries: std::vec::IntoIter<IndexEntry>,
    next: Option<IndexEntry>,
}

impl<'a> Head<'a> {
    fn new(file: &'a IndexFile) -> Result<Self> {
        let mut head = Head { file, bucket: 0, entries: Vec::new().into_iter(), next: None };
        head.advance()?;
        Ok(head)
    }

    fn advance(&mut self) -> Result<()> {
        self.next = self.entries.next();
        while self.next.is_none() && self.bucket < self.file.buckets() {
            self.entries = self.file.bucket_entries(self.bucket)?.into_iter();
            self.bucket += 1;
            self.next = self.entries.next();
        }
        Ok(())
    }
}
