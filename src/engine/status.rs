//! What the engine tells of itself.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::Engine;
use crate::base::Result;
use crate::base::clock::Time;
use crate::catalog::keys::HotState;
use crate::pack::PackStats;

/// Faults that are remembered.
const FAULTS_MAX: usize = 16;

/// One thing that went wrong.
#[derive(Clone, Debug)]
pub struct Fault {
    /// When.
    pub at: Time,
    /// What, in one line.
    pub what: String,
}

/// The newest faults.
#[derive(Debug, Default)]
pub struct Faults {
    newest: Mutex<VecDeque<Fault>>,
}

impl Faults {
    pub(super) fn add(&self, what: String) {
        let mut newest = self.newest.lock();
        if newest.len() == FAULTS_MAX {
            newest.pop_front();
        }
        newest.push_back(Fault { at: Time::now(), what });
    }
}

/// What has been sealed since the mount.
#[derive(Debug, Default)]
pub struct Totals {
    files: AtomicU64,
    bytes: AtomicU64,
    /// Time that threads have worked on it.
    nanos: AtomicU64,
}

impl Totals {
    pub(super) fn sealed(&self, bytes: u64) {
        self.files.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A thread has sealed for so long, or made a version.
    pub(super) fn worked(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
    }

    /// Bytes that one thread seals in a second of work.
    fn rate(&self) -> Option<u64> {
        let seconds = Duration::from_nanos(self.nanos.load(Ordering::Relaxed)).as_secs_f64();
        let bytes = self.bytes.load(Ordering::Relaxed);
        // A float of this size is a whole number of bytes; `as` keeps to the range.
        (seconds > 0.0 && bytes > 0).then(|| (bytes as f64 / seconds) as u64)
    }

    pub(super) fn sealed_files(&self) -> u64 {
        self.files.load(Ordering::Relaxed)
    }
}

/// A look at a running engine.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Why the store takes no more writes, if so.
    pub poisoned: Option<String>,
    /// Files that wait to be sealed.
    pub queued_files: usize,
    /// Their bytes.
    pub queued_bytes: u64,
    /// Files that are being sealed.
    pub in_progress: usize,
    /// Files sealed since the mount.
    pub sealed_files: u64,
    /// Their bytes.
    pub sealed_bytes: u64,
    /// How long the oldest waiting file has waited.
    pub lag: Duration,
    /// Bytes that one thread seals in a second of work.
    pub sealing_rate: Option<u64>,
    /// Older versions are being encoded anew, or are about to be.
    pub is_reencoding: bool,
    /// How far looking for damage is, and what it found last.
    pub scrubbed: super::scrub::Scrubbed,
    /// What has been encoded anew since the mount.
    pub reencoded: super::reencode::Reencoded,
    /// Hot files, and what they occupy on the disk.
    pub hot_files: u64,
    /// Bytes on the disk of hot files.
    pub hot_bytes: u64,
    /// Bytes of all files as their readers see them.
    pub logical_bytes: u64,
    /// Of these, what is sealed.
    pub sealed_live_bytes: u64,
    /// Packs and chunks.
    pub packs: PackStats,
    /// Bytes in packs that only history holds, as the last reclaim found it.
    pub history_bytes: u64,
    /// Versions of all runs.
    pub versions: u64,
    /// Bytes of their files.
    pub versions_bytes: u64,
    /// Whether the store's disk runs full, and what is done about it.
    pub pressure: super::reclaim::pressure::Pressure,
    /// The newest faults, oldest first.
    pub faults: Vec<Fault>,
}

/// Space of the disk that takes hot files, as statvfs(3) has it.
pub type Space = rustix::fs::StatVfs;

impl Engine {
    /// How the engine is doing.
    pub fn report_status(&self) -> Result<Report> {
        let (queued_files, in_progress) = self.queue.len();
        let waiting = self.queue.waiting();
        let sizes = waiting.iter().filter_map(|ino| self.getattr(*ino).ok().map(|attr| attr.size));
        let (mut hot_files, mut hot_bytes) = (0, 0);
        let sealed_live_bytes = self.ns.sealed_bytes();
        let mut logical_bytes = sealed_live_bytes;
        for state in HotState::ALL {
            for (id, _) in self.ns.hot_files(state)? {
                let Ok(attr) = self.hot.attr(id) else { continue };
                hot_files += 1;
                hot_bytes += attr.blocks.saturating_mul(512);
                logical_bytes +=
                    if matches!(state, HotState::Cache | HotState::Captured) { 0 } else { attr.size };
            }
        }
        let (mut versions, mut versions_bytes) = (0, 0);
        for (run, _) in self.runs() {
            for version in self.versions(run)? {
                versions += 1;
                versions_bytes += version.logical_bytes;
            }
        }
        let poison = self.poison.lock().clone();
        Ok(Report {
            poisoned: poison.or(self.ns.meta().status()?.poisoned),
            queued_files,
            queued_bytes: sizes.sum(),
            in_progress,
            sealed_files: self.totals.sealed_files(),
            sealed_bytes: self.totals.bytes.load(Ordering::Relaxed),
            lag: self.queue.lag(),
            sealing_rate: self.totals.rate(),
            is_reencoding: self.reencode.is_busy(),
            reencoded: self.reencode.done(),
            scrubbed: self.scrub.done(),
            hot_files,
            hot_bytes,
            logical_bytes,
            sealed_live_bytes,
            packs: self.packs.stats(),
            history_bytes: self.reclaim.last().history_bytes,
            versions,
            versions_bytes,
            pressure: self.pressure(),
            faults: self.faults.newest.lock().iter().cloned().collect(),
        })
    }

    /// Space on the disk that takes hot files.
    pub fn space(&self) -> Result<Space> {
        use crate::base::IoContext;
        rustix::fs::statvfs(self.hot.root()).context("statfs", self.hot.root())
    }
}
