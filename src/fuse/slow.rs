//! Requests that take the disk's time, on threads of their own.
//!
//! The threads that read from the kernel are few, so that they stay warm; a request that syncs or hydrates
//! would keep one of them from everybody else. When all slow threads are busy and the queue is full, the reader
//! works itself: slower for others, never more memory.

use crossbeam_channel::{Sender, TrySendError, bounded};

use crate::base::{IoContext, Result};

/// Slow requests that are worked on at once.
const THREADS: usize = 8;
/// Slow requests that wait.
const QUEUE: usize = 64;

type Job = Box<dyn FnOnce() + Send>;

/// The slow threads; they end when this is dropped.
#[derive(Debug)]
pub(super) struct SlowLane {
    jobs: Sender<Job>,
}

impl SlowLane {
    pub(super) fn start() -> Result<SlowLane> {
        let (jobs, queue) = bounded::<Job>(QUEUE);
        for n in 0..THREADS {
            let queue = queue.clone();
            let body = move || queue.iter().for_each(|job| job());
            let thread = std::thread::Builder::new().name(format!("slow-{n}")).spawn(body);
            thread.context("start a thread for", "slow requests".as_ref())?;
        }
        Ok(SlowLane { jobs })
    }

    /// Does `job` on a slow thread.
    pub(super) fn run(&self, job: impl FnOnce() + Send + 'static) {
        if let Err(TrySendError::Full(job) | TrySendError::Disconnected(job)) =
            self.jobs.try_send(Box::new(job))
        {
            job();
        }
    }
}
