//! Storing older versions as what they differ from later or earlier ones in, in the background.
//!
//! Order of a pass: the series of contents are gathered from the trees of versions; what is a delta already is read from the
//! packs; steps are planned; then, content by content, chunks are encoded anew, decoded again and compared, and put into
//! packs, which become durable before readers use them. What they replace is garbage from then on. A kill at any point
//! leaves each chunk in its old form, its new one, or both.
//!
//! Invariants: the newest content of a series is self-contained; so is every base (depth 1); a base that is needed is never
//! made a delta. Nothing here is on a path that somebody waits for.

mod gather;
mod pass;
#[cfg(test)]
mod stress_tests;
mod swap;
#[cfg(test)]
mod tests;
mod worker;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;

use super::sync::Wake;
use crate::base::id::ChunkId;

/// Of so many saves one is a keyframe. docs/decisions/0007 has the figures for 3, 5 and 8.
pub const KEYFRAME_EVERY: usize = 5;
/// Pairs that were tried and are remembered; above this the memory begins anew.
const TRIED_MAX: usize = 1 << 16;

/// What has been done since the mount.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reencoded {
    /// Chunks that were encoded anew.
    pub chunks: u64,
    /// Bytes that they took before.
    pub from_bytes: u64,
    /// Bytes that they take now.
    pub to_bytes: u64,
}

impl Reencoded {
    /// Bytes that it has saved; below zero when what had lost its base had to become whole again.
    pub fn saved_bytes(&self) -> i64 {
        let signed = |bytes| i64::try_from(bytes).unwrap_or(i64::MAX);
        signed(self.from_bytes).saturating_sub(signed(self.to_bytes))
    }
}

/// The state of re-encoding.
#[derive(Debug, Default)]
pub(super) struct Reencode {
    wake: Wake,
    due: AtomicBool,
    working: AtomicBool,
    stopped: AtomicBool,
    chunks: AtomicU64,
    from_bytes: AtomicU64,
    to_bytes: AtomicU64,
    /// Contents and bases of which nothing is left to gain.
    tried: Mutex<HashSet<(ChunkId, ChunkId)>>,
    /// Held by whoever re-encodes.
    one: Mutex<()>,
}

impl Reencode {
    /// Ends what is under way, and the thread.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.wake.now();
    }

    /// A version was made, or has gone: something may be worth encoding anew.
    pub(super) fn wake(&self) {
        if !self.due.swap(true, Ordering::Relaxed) {
            self.wake.now();
        }
    }

    /// Whether a pass is due or under way.
    pub(super) fn is_busy(&self) -> bool {
        self.due.load(Ordering::Relaxed) || self.working.load(Ordering::Relaxed)
    }

    /// What has been done since the mount.
    pub(super) fn done(&self) -> Reencoded {
        let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Reencoded {
            chunks: get(&self.chunks),
            from_bytes: get(&self.from_bytes),
            to_bytes: get(&self.to_bytes),
        }
    }

    fn count(&self, from: u64, to: u64) {
        self.chunks.fetch_add(1, Ordering::Relaxed);
        self.from_bytes.fetch_add(from, Ordering::Relaxed);
        self.to_bytes.fetch_add(to, Ordering::Relaxed);
    }

    fn is_hopeless(&self, content: ChunkId, base: ChunkId) -> bool {
        self.tried.lock().contains(&(content, base))
    }

    fn remember(&self, content: ChunkId, base: ChunkId) {
        let mut tried = self.tried.lock();
        if tried.len() >= TRIED_MAX {
            tried.clear();
        }
        tried.insert((content, base));
    }
}
