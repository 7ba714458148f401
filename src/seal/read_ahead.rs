//! Decodes ahead of sequential readers, on a few threads for the whole filesystem.
//!
//! Nothing waits for it: a full queue means that it is behind, and the reader decodes for itself. What it decodes goes
//! into the chunk cache, and a reader that comes for a chunk which is being decoded waits for that one decode.

use std::sync::Arc;
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Sender, bounded};

use crate::base::id::ChunkId;
use crate::base::{IoContext, Result};
use crate::content::manifest::{Extent, Manifest};
use crate::pack::PackStore;

/// Chunks that wait for a thread.
const QUEUE: usize = 256;
/// Bytes that are decoded ahead of one reader, at most; a quarter of the cache at most, too.
const AHEAD_BYTES: u64 = 8 << 20;
/// Chunks ahead of one reader.
const AHEAD_CHUNKS: usize = 128;
/// A reader that has gone further forward than this is sequential. Around one page fault in a mapping the kernel reads
/// this much at most (the mount's read-ahead): a random fault must not look like a sequential reader.
const RUN_BYTES: u64 = 2 << 20;
/// Requests of one sequential reader arrive out of order within this many bytes.
const NEAR_BYTES: u64 = 2 << 20;

type Job = (Arc<PackStore>, ChunkId);

/// The threads that decode ahead. Dropping it waits for them.
pub struct ReadPool {
    jobs: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl ReadPool {
    /// Starts `threads` threads, at least one.
    pub fn new(threads: usize) -> Result<Self> {
        let (jobs, queue) = bounded::<Job>(QUEUE);
        let mut pool = ReadPool { jobs: Some(jobs), threads: Vec::new() };
        for n in 0..threads.max(1) {
            let queue = queue.clone();
            let work = move || {
                for (store, id) in queue {
                    // The reader that needs the chunk meets the same failure and reports it.
                    if let Err(error) = store.read(&id) {
                        tracing::debug!("reading ahead: {error}");
                    }
                }
            };
            let thread = thread::Builder::new().name(format!("read-ahead-{n}")).spawn(work);
            pool.threads.push(thread.context("start a thread for", "reading ahead".as_ref())?);
        }
        Ok(pool)
    }

    /// Asks for a chunk; false when the queue is full.
    fn ask(&self, store: &Arc<PackStore>, id: ChunkId) -> bool {
        store.is_cached(&id)
            || self.jobs.as_ref().is_some_and(|jobs| jobs.try_send((Arc::clone(store), id)).is_ok())
    }
}

impl Drop for ReadPool {
    fn drop(&mut self) {
        self.jobs = None;
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a read-ahead thread died");
            }
        }
    }
}

/// How one file is being read.
#[derive(Debug, Default)]
pub(super) struct Pattern {
    /// The furthest offset of the present run, and its bytes.
    reached: u64,
    run: u64,
    /// The first extent that was not asked for in this run.
    asked: usize,
}

impl Pattern {
    /// Notes a read from `offset` to `end`, and asks `pool` for what a sequential reader needs next.
    pub(super) fn note(
        &mut self,
        (offset, end): (u64, u64),
        manifest: &Manifest,
        store: &Arc<PackStore>,
        pool: &ReadPool,
    ) {
        if offset > self.reached + NEAR_BYTES || end + NEAR_BYTES < self.reached {
            *self = Pattern { reached: offset, run: 0, asked: 0 };
        }
        self.run += end.saturating_sub(self.reached.max(offset));
        self.reached = self.reached.max(end);
        if self.run <= RUN_BYTES {
            return;
        }
        let Some(first) = manifest.locate(self.reached) else { return };
        // Never more than was read in a row: where it stops, that little was for nothing.
        let limit = self.reached + self.run.min(AHEAD_BYTES).min(store.cache_bytes() / 4);
        self.asked = self.asked.max(first.index);
        while let Some(next) = manifest.extent(self.asked) {
            if next.start >= limit || self.asked > first.index + AHEAD_CHUNKS {
                break;
            }
            if let Extent::Data { id, .. } = next.extent
                && !pool.ask(store, id)
            {
                break;
            }
            self.asked += 1;
        }
    }
}
