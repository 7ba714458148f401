//! History: when a version is made, how, and what of it stays.
//!
//! Order of a version: a moment of the namespace is recorded (`trigger`), before anything that would destroy what belongs
//! to it is answered (`watch`, `protect`); then, in the background, its contents are sealed and its tree is put into packs
//! (`build`); when these are durable, one batch records the version and ends the moment. A kill in between loses nothing:
//! the moment is on record, and the next mount goes on.
//!
//! Lock order: an inode's state, then `beginning`, then `runs`, then the naming lock; `bursts` and `queue` are never held
//! while another is taken.

mod blank;
mod borders;
pub mod browse;
pub mod build;
mod burst;
pub mod export;
mod facts;
mod guard;
pub mod hand;
pub mod import;
pub mod inside;
mod judge;
mod known;
pub mod manage;
mod names;
mod protect;
mod resolve;
pub mod restore;
mod rewalk;
pub mod runs;
mod trigger;
mod unclosed;
mod walk;
mod watch;
mod writers;

#[cfg(test)]
mod moment_tests;
#[cfg(test)]
mod next_save_tests;
#[cfg(test)]
mod resolve_tests;
#[cfg(test)]
mod rewalk_tests;
#[cfg(test)]
mod stress_tests;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::base::Result;
use crate::catalog::keys::{Ino, RunId, SnapshotId};
use crate::namespace::Namespace;
use crate::namespace::snapshot::Snapshot;
use crate::retention::Policy;
use crate::version::runs::Glob;
pub use browse::{Snapdir, SnapshotAdmin};
use burst::Bursts;
use runs::RunTable;
use unclosed::Unclosed;
use writers::Writers;

/// How history is kept.
#[derive(Clone, Debug)]
pub struct HistoryOptions {
    /// How long a run must be quiet before a version is made without a marker.
    pub settle: Duration,
    /// Directories that are runs, by their path below the mount.
    pub runs: Vec<Glob>,
    /// The policy of runs without one.
    pub policy: Policy,
    /// Whether to record who wrote a version.
    pub provenance: bool,
    /// Whether to record the arguments of the program that did.
    pub provenance_args: bool,
    /// Where the store is mounted: nothing below it is looked at by the daemon itself.
    pub mountpoint: PathBuf,
    /// Whether the virtual directory of versions is there.
    pub snapdir: Snapdir,
    /// Its name.
    pub snapdir_name: String,
    /// Who may work with versions through it.
    pub snapshot_admin: SnapshotAdmin,
    /// Free bytes of the disk below which pressure begins; 0 = 5 % of the disk, 10 GiB at most.
    pub min_free: u64,
}

impl Default for HistoryOptions {
    fn default() -> Self {
        HistoryOptions {
            settle: Duration::from_secs(2),
            runs: Vec::new(),
            policy: Policy::default(),
            provenance: false,
            provenance_args: false,
            mountpoint: PathBuf::new(),
            snapdir: Snapdir::Hidden,
            snapdir_name: ".snapshots".to_owned(),
            snapshot_admin: SnapshotAdmin::Owner,
            min_free: 0,
        }
    }
}

/// What the engine knows of runs and of versions in the making.
#[derive(Debug)]
pub(super) struct History {
    runs: Mutex<RunTable>,
    bursts: Mutex<Bursts>,
    /// Woken when a burst begins, changes or is to be settled at once.
    settling: Condvar,
    queue: Mutex<Queue>,
    /// Told when a snapshot is queued and when a version is made or given up.
    building: Condvar,
    /// Directories that a marker has committed since the mount.
    committed: Mutex<HashSet<Ino>>,
    unclosed: Unclosed,
    writers: Writers,
    /// Versions that somebody reads: run, number, and how many handles.
    in_use: Mutex<HashMap<(RunId, u32), usize>>,
    /// The policy of runs without one.
    policy: Mutex<Policy>,
    /// Of each run, what its newest version holds.
    known: Mutex<HashMap<RunId, known::Known>>,
    /// The version that the one in the making takes over from.
    based_on: Mutex<Option<(RunId, u32)>>,
    /// Held while the record of a version changes.
    changing: Mutex<()>,
    /// Held while a moment is recorded and queued.
    beginning: Mutex<()>,
    /// Held while a version is brought back.
    restoring: Mutex<()>,
    /// What became of moments that somebody waits for.
    results: Mutex<HashMap<SnapshotId, build::Made>>,
    stopped: AtomicBool,
}

/// Snapshots that versions are to be made of, oldest first.
#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Snapshot>,
    working: bool,
    /// How many wait for versions to be made.
    waiters: usize,
    /// How often the oldest moment could not be made a version since the mount, and the errno of the last time.
    failures: (u64, i32),
    /// Nothing is begun any more.
    stopped: bool,
}

impl Queue {
    /// Whether a version is in the making.
    fn is_busy(&self) -> bool {
        self.working || !self.waiting.is_empty()
    }
}

impl History {
    /// Whether a version is in the making.
    pub(super) fn is_busy(&self) -> bool {
        self.queue.lock().is_busy()
    }
}

impl super::Engine {
    /// How history is kept.
    pub fn history_options(&self) -> &HistoryOptions {
        &self.options.history
    }
}

impl History {
    pub(super) fn load(names: &Namespace, options: &HistoryOptions) -> Result<History> {
        let queue = Queue { waiting: names.snapshots().into(), ..Queue::default() };
        Ok(History {
            runs: Mutex::new(RunTable::load(names)?),
            bursts: Mutex::default(),
            settling: Condvar::new(),
            queue: Mutex::new(queue),
            building: Condvar::new(),
            committed: Mutex::default(),
            unclosed: Unclosed::default(),
            writers: Writers::default(),
            in_use: Mutex::default(),
            policy: Mutex::new(options.policy.clone()),
            known: Mutex::default(),
            based_on: Mutex::default(),
            changing: Mutex::default(),
            beginning: Mutex::default(),
            restoring: Mutex::default(),
            results: Mutex::default(),
            stopped: AtomicBool::new(false),
        })
    }
}
