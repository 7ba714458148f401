//! Making names durable.
//!
//! Order: the bytes of every file that an unsynced rename put over another are made durable, then
//! the barrier is appended, then the journal is made durable, then what those renames replaced may go.

use super::Namespace;
use super::undo::Replacement;
use crate::base::Result;
use crate::base::fault::{self, Point};
use crate::catalog::keys::Ino;

/// What a sync has achieved.
#[derive(Debug)]
pub struct Synced {
    /// Records up to this sequence number are durable.
    pub durable: u64,
    /// Replaced inodes that wait for nothing any more.
    pub free: Vec<Ino>,
}

impl Namespace {
    /// Makes everything that was answered before this call durable; `flush` makes a file's bytes durable.
    pub fn sync(&self, flush: &dyn Fn(Ino) -> Result<()>) -> Result<Synced> {
        // What replaced something else than a file by a file needs no barrier, only a durable record.
        let covered = self.meta.last_seq();
        let notes = self.meta.unsynced_notes();
        for (_, note) in &notes {
            if let Some(replacement) = Replacement::decode(note) {
                flush(replacement.new)?;
            }
        }
        let last = notes.last().map(|(seq, _)| *seq);
        if let Some(last) = last {
            fault::reached(Point::SyncFlushed);
            self.meta.barrier(last)?;
            fault::reached(Point::SyncBarrier);
        }
        let durable = self.meta.sync()?;
        fault::reached(Point::SyncEnded);
        let covered = covered.max(last.unwrap_or(0));
        let mut naming = self.naming();
        naming.unproved.retain(|(seq, _)| *seq > covered);
        let free = naming.replaced.extract_if(.., |(seq, _)| *seq <= covered).map(|(_, ino)| ino).collect();
        Ok(Synced { durable, free })
    }
}
