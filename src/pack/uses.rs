//! Which blobs the batches in use rely on: asked by whoever removes packs.
//!
//! Invariant: a batch notes an id before it asks whether the store has the blob, and the note counts until the records
//! that rely on it are committed, which is when the last [`Held`] of the batch is dropped. What is noted by a batch that
//! ends during a collection counts until the collection ends. So who dooms a pack first (batches find nothing in it from
//! then on) and reads the notes afterwards has read of everything that a batch has ever found in that pack.
//!
//! Notes are the first eight bytes of ids: two ids that share them keep a blob too many, never one too few.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::base::id::ChunkId;
use crate::base::{Error, Result};

type Notes = Arc<Mutex<Vec<u64>>>;

/// The notes of all batches in use.
#[derive(Debug, Default)]
pub(super) struct Uses {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    active: HashMap<u64, Notes>,
    collecting: bool,
    /// The notes of batches that have ended during the collection.
    ended: HashSet<u64>,
}

/// Keeps what a batch has put or found from being removed, until it is dropped: after the records that name it.
#[derive(Debug)]
pub struct Held {
    uses: Arc<Uses>,
    number: u64,
    notes: Notes,
}

impl Held {
    /// From now on blob `id` counts as in use.
    pub(super) fn note(&self, id: &ChunkId) {
        let (mut notes, short) = (self.notes.lock(), id.short());
        if notes.last() != Some(&short) {
            notes.push(short);
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut state = self.uses.state.lock();
        state.active.remove(&self.number);
        if state.collecting {
            state.ended.extend(self.notes.lock().iter().copied());
        }
    }
}

impl Uses {
    pub(super) fn hold(self: &Arc<Self>) -> Arc<Held> {
        let (mut state, notes) = (self.state.lock(), Notes::default());
        state.next += 1;
        let number = state.next;
        state.active.insert(number, notes.clone());
        Arc::new(Held { uses: Arc::clone(self), number, notes })
    }

    /// [`Error::Refused`] while another collection is under way.
    pub(super) fn begin_collecting(&self) -> Result<()> {
        let mut state = self.state.lock();
        if state.collecting {
            return Err(Error::Refused("space is being reclaimed already; try again later".to_owned()));
        }
        state.collecting = true;
        Ok(())
    }

    pub(super) fn end_collecting(&self) {
        let mut state = self.state.lock();
        (state.collecting, state.ended) = (false, HashSet::new());
    }

    /// All notes: of batches in use, and of those that have ended since the collection began.
    pub(super) fn all(&self) -> HashSet<u64> {
        let state = self.state.lock();
        let mut all = state.ended.clone();
        for notes in state.active.values() {
            all.extend(notes.lock().iter().copied());
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_counts_while_its_batch_is_used_and_until_the_collection_ends() {
        let uses = Arc::new(Uses::default());
        let (one, two) = (ChunkId([1; 32]), ChunkId([2; 32]));
        let before = uses.hold();
        before.note(&one);
        uses.begin_collecting().unwrap();
        assert!(uses.begin_collecting().is_err());
        let during = uses.hold();
        during.note(&two);
        assert_eq!(uses.all(), HashSet::from([one.short(), two.short()]));
        drop((before, during));
        assert_eq!(uses.all().len(), 2, "their records may have come after the mark");
        uses.end_collecting();
        assert!(uses.all().is_empty());
        let after = uses.hold();
        after.note(&one);
        drop(after);
        assert!(uses.all().is_empty(), "its record is there for the next mark");
    }
}
