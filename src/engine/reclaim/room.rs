//! Room for what is about to be written.
//!
//! A save that is answered too early fails in its middle, and nobody sees the writes of passthrough. So there is pressure
//! as soon as the next save might not fit, and who opens a file for writing then waits until space was given back: slower
//! saves instead of failed ones. When nothing more can be given back nobody waits, and what would not fit in the last
//! reserve gets ENOSPC at open.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::super::Engine;
use super::StoreSpace;
use crate::base::{Error, Result};

/// The default of `min_free`: one part in so many of the disk, and at most so many bytes ...
const MIN_FREE_SHARE: u64 = 20;
const MIN_FREE_BYTES_MAX: u64 = 10 << 30;
/// ... but so many times what the largest of the last versions has added (its file and its pack are there together), and
/// at most one part in so many of the disk.
const SAVES: u64 = 3;
const SAVES_SHARE_MAX: u64 = 2;
/// Versions of each run that count as its last ones.
const LAST: usize = 3;
/// How long what is known of them is good for.
const KNOWN_FOR: Duration = Duration::from_secs(60);
/// Bytes that no open for writing is answered below.
const RESERVE_BYTES: u64 = 8 << 20;
/// How long an open waits at most, and how often it looks.
const WAIT_MAX: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_millis(20);

/// What is known of the saves of this store.
#[derive(Debug, Default)]
pub(super) struct Saves {
    largest_bytes: u64,
    /// When the versions on record were read last.
    known: Option<Instant>,
    /// The largest of those that were made since that began.
    since_bytes: u64,
}

impl Engine {
    /// Free bytes of the store's disk below which there is pressure.
    pub(super) fn min_free(&self, space: StoreSpace) -> u64 {
        match self.options.history.min_free {
            0 => {
                let share = (space.total / MIN_FREE_SHARE).min(MIN_FREE_BYTES_MAX);
                let saves = self.largest_save().saturating_mul(SAVES).min(space.total / SAVES_SHARE_MAX);
                share.max(saves)
            }
            min_free => min_free,
        }
    }

    /// Bytes that the largest of the last versions has added, as far as is known: opens wait for this answer.
    fn largest_save(&self) -> u64 {
        self.reclaim.saves.lock().largest_bytes
    }

    /// Reads the last versions of all runs, once in a while. What cannot be read counts as nothing.
    pub(super) fn look_at_saves(&self) {
        {
            let mut saves = self.reclaim.saves.lock();
            if saves.known.is_some_and(|known| known.elapsed() < KNOWN_FOR) {
                return;
            }
            (saves.known, saves.since_bytes) = (Some(Instant::now()), 0);
        }
        let of_run = |id| {
            let versions = self.versions(id).unwrap_or_default();
            versions.iter().rev().take(LAST).map(|version| version.new_bytes).max().unwrap_or(0)
        };
        let largest = self.runs().into_iter().map(|(id, _)| of_run(id)).max().unwrap_or(0);
        let mut saves = self.reclaim.saves.lock();
        saves.largest_bytes = largest.max(saves.since_bytes);
    }

    /// A version was made that added so many bytes.
    pub(in super::super) fn saved(&self, bytes: u64) {
        let mut saves = self.reclaim.saves.lock();
        saves.largest_bytes = saves.largest_bytes.max(bytes);
        saves.since_bytes = saves.since_bytes.max(bytes);
    }

    /// Whether less than `min_free` is free: who opens a file for writing should [`make room`](Self::make_room) first.
    pub fn is_short_of_room(&self) -> bool {
        self.store_space().is_ok_and(|space| space.free < self.min_free(space))
    }

    /// Waits, a bounded time, until space was given back or nothing more can be. ENOSPC when the last reserve is used up.
    pub fn make_room(&self) -> Result<()> {
        let began = Instant::now();
        self.reclaim.short.fetch_add(1, Ordering::Relaxed);
        while began.elapsed() < WAIT_MAX && self.is_short_of_room() && self.check_writable().is_ok() {
            if self.reclaim.pressure.lock().gave_up_because.is_some() {
                break;
            }
            self.reclaim.wake_pressure.now();
            std::thread::sleep(LOOK);
        }
        self.reclaim.short.fetch_sub(1, Ordering::Relaxed);
        match self.store_space()?.free {
            free if free < RESERVE_BYTES => Err(Error::Errno(libc::ENOSPC)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::world::{LEN, open_with, options};
    use super::*;
    use crate::catalog::keys::ROOT;

    #[test]
    fn the_next_save_is_reckoned_with_and_who_sets_a_bound_gets_that() {
        let dir = tempfile::tempdir().unwrap();
        let world = open_with(dir.path(), options(0));
        let space = StoreSpace { total: 2 << 30, free: 1 << 30 };
        assert_eq!(world.engine.min_free(space), (2 << 30) / MIN_FREE_SHARE);
        world.checkpoint(ROOT, 1, 50 << 20);
        assert!((150 << 20..160 << 20).contains(&world.engine.min_free(space)));
        assert_eq!(world.engine.min_free(StoreSpace { total: 100 << 20, free: 0 }), 50 << 20);
        world.engine.shut_down(&world.workers, crate::engine::shutdown::End::Unused).unwrap();
        drop(world);
        let world = open_with(dir.path(), options(0));
        world.engine.look_at_saves();
        assert!(world.engine.min_free(space) > 150 << 20, "known of the versions on record");
        world.engine.shut_down(&world.workers, crate::engine::shutdown::End::Unused).unwrap();
        drop(world);
        let world = open_with(dir.path(), options(77));
        world.checkpoint(ROOT, 2, LEN);
        assert_eq!(world.engine.min_free(space), 77);
    }

    #[test]
    fn an_open_waits_for_room_only_as_long_as_more_may_be_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let world = open_with(dir.path(), options(1 << 60));
        world.checkpoint(ROOT, 1, LEN);
        let began = Instant::now();
        assert!(world.engine.is_short_of_room());
        world.engine.make_room().unwrap();
        assert!(began.elapsed() < WAIT_MAX, "nothing of this store helps");
        assert!(world.engine.pressure().gave_up_because.is_some());
    }
}
