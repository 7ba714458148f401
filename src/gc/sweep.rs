//! Does what was planned.
//!
//! Order: doom all packs of the plan; read the notes of batches, which count as in use from here on; remove packs of which
//! nothing is in use; then, group by group, copy what is in use, make it durable and visible, and remove the group. A group
//! copies at most one pack's worth of bytes, so no more than that is ever needed beside what there is. Of several copies
//! the newest is copied: a copy becomes the newest, and an older one may rely on a base that goes. A self-contained blob that
//! a lasting pack holds so is not copied; one that is sound nowhere keeps its pack.

use std::collections::HashSet;

use super::Pace;
use super::mark::{Live, Owner};
use super::plan::{PackUse, Plan};
use crate::base::fault::{self, Point};
use crate::base::monitor::Monitor;
use crate::base::{Error, Result};
use crate::pack::collect::is_damage;
use crate::pack::format::ENTRY;
use crate::pack::format::MAX_BLOB;
use crate::pack::writer::TARGET_BYTES;
use crate::pack::{Collection, PackBatch, PackEntry, PackStore};

/// What a sweep has done.
#[derive(Debug, Default)]
pub struct Swept {
    /// Packs that were deleted as they were.
    pub deleted: u64,
    /// Packs whose blobs in use were copied before they went.
    pub rewritten: u64,
    /// Bytes of all packs that went.
    pub removed_bytes: u64,
    /// Bytes of new packs.
    pub written_bytes: u64,
    /// Packs that stay because of what is damaged in them.
    pub damaged: HashSet<u32>,
    /// What is damaged.
    pub faults: Vec<Error>,
}

/// Why a group could not be copied.
enum Fault {
    /// Something in this pack is damaged.
    Pack(u32, Error),
    /// Anything else.
    Other(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Fault::Other(error)
    }
}

/// Carries out `plan`. `room` tells how many bytes may be copied before the next pack is removed.
pub fn sweep(
    store: &PackStore,
    collection: &Collection<'_>,
    plan: &Plan,
    live: &mut Live,
    room: &dyn Fn() -> u64,
    pace: &Pace<'_>,
    monitor: &dyn Monitor,
) -> Result<Swept> {
    let all: Vec<u32> = plan.delete.iter().chain(&plan.rewrite).map(|pack| pack.number).collect();
    monitor.begin("reclaiming", plan.delete.iter().chain(&plan.rewrite).map(|pack| pack.bytes).sum());
    collection.doom(&all);
    collection.notes().into_iter().for_each(|short| live.add(short, Owner::File));
    live.add_bases();
    fault::reached(Point::ReclaimDoomed);
    let mut sweep = Sweep { store, collection, live, pace, monitor, swept: Swept::default(), done_bytes: 0 };
    sweep.delete(&plan.delete)?;
    let mut left = plan.rewrite.as_slice();
    while !left.is_empty() {
        let count = group(left, room().min(TARGET_BYTES + MAX_BLOB as u64));
        if count == 0 {
            tracing::warn!("{} packs are not rewritten: the disk has no room for a copy", left.len());
            break;
        }
        let (now, later) = left.split_at(count);
        sweep.rewrite(now.to_vec())?;
        left = later;
    }
    Ok(sweep.swept)
}

/// How many of `packs`, from the first, are copied together within `room` bytes.
fn group(packs: &[PackUse], room: u64) -> usize {
    let sums = packs.iter().scan(0_u64, |sum, pack| {
        *sum = sum.saturating_add(pack.live_bytes);
        Some(*sum)
    });
    sums.take_while(|sum| *sum <= room).count()
}

struct Sweep<'a> {
    store: &'a PackStore,
    collection: &'a Collection<'a>,
    live: &'a Live,
    pace: &'a Pace<'a>,
    monitor: &'a dyn Monitor,
    swept: Swept,
    done_bytes: u64,
}

impl Sweep<'_> {
    /// Removes packs of which nothing is in use; one of which a batch has found something meanwhile stays.
    fn delete(&mut self, packs: &[PackUse]) -> Result<()> {
        let mut gone = Vec::new();
        for pack in packs {
            (self.pace)(ENTRY as u64)?;
            match self.needed(pack.number) {
                Ok(needed) if needed.is_empty() => gone.push(*pack),
                Ok(_) => self.collection.spare(pack.number),
                Err(Fault::Pack(number, error)) => self.leave(number, error),
                Err(Fault::Other(error)) => return Err(error),
            }
        }
        self.swept.deleted += gone.len() as u64;
        self.remove(&gone)
    }

    /// Copies what is in use of `packs`, then removes them. What is damaged takes its pack out, and the rest begins again.
    fn rewrite(&mut self, mut packs: Vec<PackUse>) -> Result<()> {
        loop {
            match self.copy(&packs) {
                Ok(written) => {
                    self.swept.written_bytes += written;
                    self.swept.rewritten += packs.len() as u64;
                    return self.remove(&packs);
                }
                Err(Fault::Pack(number, error)) => {
                    self.leave(number, error);
                    packs.retain(|pack| pack.number != number);
                }
                Err(Fault::Other(error)) => return Err(error),
            }
        }
    }

    /// Makes copies of what is in use of `packs` durable and visible; the bytes of the new packs.
    fn copy(&self, packs: &[PackUse]) -> Result<u64, Fault> {
        let mut batch = self.store.writer()?;
        for pack in packs {
            for entry in self.needed(pack.number)? {
                (self.pace)(u64::from(entry.len))?;
                self.move_blob(pack.number, &entry, &mut batch)?;
            }
        }
        let copied = batch.finish()?;
        fault::reached(Point::ReclaimCopied);
        Ok(copied.new_bytes)
    }

    fn move_blob(&self, pack: u32, entry: &PackEntry, batch: &mut PackBatch) -> Result<(), Fault> {
        let blob = self.store.encoded(pack, entry).map_err(|error| blame(pack, error))?;
        let header = &blob.header;
        let raw_len = header.raw_len as usize;
        batch.put_encoded(header.kind, header.id, header.encoding, raw_len, blob.stored())?;
        Ok(())
    }

    /// The blobs of a pack that are in use and that no other pack holds for it ([`Collection::is_elsewhere`]).
    fn needed(&self, pack: u32) -> Result<Vec<PackEntry>, Fault> {
        let no_list = || {
            let what = format!("pack {pack:08x}: its list of blobs does not verify");
            Fault::Pack(pack, Error::damaged(self.store.path(), what))
        };
        let entries = self.store.footer(pack).map_err(|error| blame(pack, error))?.ok_or_else(no_list)?;
        let mut needed = Vec::new();
        for entry in entries {
            if self.live.contains(&entry.id)
                && !self.collection.is_elsewhere(pack, &entry, &|base| self.live.contains(base))?
            {
                needed.push(entry);
            }
        }
        Ok(needed)
    }

    fn remove(&mut self, packs: &[PackUse]) -> Result<()> {
        let numbers: Vec<u32> = packs.iter().map(|pack| pack.number).collect();
        self.collection.remove(&numbers)?;
        let bytes: u64 = packs.iter().map(|pack| pack.bytes).sum();
        self.swept.removed_bytes += bytes;
        self.done_bytes += bytes;
        self.monitor.advance(self.done_bytes);
        Ok(())
    }

    /// A pack stays because of what is damaged in it.
    fn leave(&mut self, pack: u32, error: Error) {
        self.collection.spare(pack);
        self.swept.damaged.insert(pack);
        self.swept.faults.push(error);
    }
}

fn blame(pack: u32, error: Error) -> Fault {
    if is_damage(&error) { Fault::Pack(pack, error) } else { Fault::Other(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_as_many_packs_as_there_is_room_for() {
        let pack = |live_bytes| PackUse { number: 1, bytes: 100, live_bytes };
        let packs = [pack(10), pack(20), pack(30)];
        assert_eq!([0, 9, 10, 29, 30, 60].map(|room| group(&packs, room)), [0, 0, 1, 1, 2, 3]);
    }
}
