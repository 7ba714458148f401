//! Beginning a version: the moment is recorded, and what is in it waits for no other.
//!
//! Order: the files that it will hold are listed, the moment is recorded, then those files are in a version. A file that
//! is closed between the first two is listed again later, and then found to be nothing new.

use std::time::{Duration, Instant};

use super::super::Engine;
use super::build::Made;
use super::burst::Fresh;
use crate::base::clock::Time;
use crate::base::fault::{self, Point};
use crate::base::{Error, Result};
use crate::catalog::keys::{Ino, SnapshotId};
use crate::catalog::records::Inode;
use crate::version::names::is_temporary;
use crate::version::record::{self, Origin, Pending};

/// How often files are sorted into runs when all runs are to be settled at once.
const SETTLE_ROUNDS_MAX: usize = 16;

/// Why a version is made, and what it is to be.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    /// As recorded: a marker's name, `quiet`, `overwrite` ...
    pub(super) trigger: String,
    /// Its tag.
    pub(super) tag: Option<String>,
    /// Make it even when no checkpoint content is new.
    pub(super) always: bool,
    /// Where it comes from, if no save has made it.
    pub(super) origin: Option<Origin>,
    /// The time that it gets; `None` = now.
    pub(super) time: Option<Time>,
    /// Bytes that were added to the packs for it already.
    pub(super) added: u64,
}

impl Wanted {
    pub(super) fn by(trigger: &str) -> Self {
        Wanted { trigger: trigger.to_owned(), ..Wanted::default() }
    }
}

/// Whether a trigger means that nothing is going on in the run: what has a temporary name is then left over.
pub(super) fn is_settled(trigger: &str) -> bool {
    matches!(trigger, "quiet" | "unmount")
}

/// Whether a trigger means that a file is about to go: what is complete beside it may be what is to get its name.
pub(super) fn is_destruction(trigger: &str) -> bool {
    matches!(trigger, "overwrite" | "delete")
}

/// So often a version may fail to be made while somebody waits for it: after the first time a full disk is given room.
const FAILURES_MAX: u64 = 2;
/// How often those who wait for a version look whether one can still be made.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Engine {
    /// Records the moment of the run at directory `dir`, to make a version of. `None` when the run is not versioned.
    pub(super) fn begin_version(&self, dir: Ino, wanted: Wanted) -> Result<Option<SnapshotId>> {
        self.check_healthy()?;
        if self.run_at(dir).is_some_and(|(_, run)| run.forgotten) {
            let mut bursts = self.history.bursts.lock();
            let gone: Vec<_> = bursts.files().into_iter().filter(|(_, fresh)| fresh.run == dir).collect();
            bursts.forget_unchanged(&gone);
            return Ok(None);
        }
        // Moments are built in the order in which they are recorded: an older state after a newer one would be new again.
        let _in_order = self.history.beginning.lock();
        let taken = self.fresh_below(dir, is_settled(&wanted.trigger))?;
        let newest = taken.iter().filter(|(_, fresh)| fresh.pid != 0).max_by_key(|(_, fresh)| fresh.order);
        let early = is_destruction(&wanted.trigger);
        let now = wanted.time.unwrap_or_else(Time::now);
        let about = Pending {
            trigger: wanted.trigger,
            time: (now.secs, now.nanos),
            tag: wanted.tag,
            always: wanted.always,
            boot: self.boot.clone(),
            provenance: newest.and_then(|(_, fresh)| self.history.writers.of(fresh.pid)),
            origin: wanted.origin,
            added: wanted.added,
        };
        let snapshot = self.ns.begin_snapshot(dir, record::encode(&about))?;
        fault::reached(Point::VersionBegun);
        let id = snapshot.id;
        self.history.queue.lock().waiting.push_back(snapshot);
        self.history.building.notify_all();
        // Last: whoever finds nothing fresh and waits for all versions waits for this one.
        self.history.bursts.lock().took(dir, &taken, early);
        Ok(Some(id))
    }

    /// The fresh files in directory `dir` and below. What still has a temporary name belongs to a save that goes on,
    /// unless all is `settled`.
    fn fresh_below(&self, dir: Ino, settled: bool) -> Result<Vec<(Ino, Fresh)>> {
        let listed = self.history.bursts.lock().files();
        let mut taken = Vec::new();
        for (ino, fresh) in listed {
            let Some(inode) = self.ns.find(ino)? else {
                taken.push((ino, fresh));
                continue;
            };
            let belongs = fresh.run == dir || self.ns.is_below(&inode, dir)?;
            if belongs && (settled || !self.has_temporary_name(&inode)?) {
                taken.push((ino, fresh));
            }
        }
        Ok(taken)
    }

    /// Whether a file, or a directory above it, has a temporary name.
    fn has_temporary_name(&self, inode: &Inode) -> Result<bool> {
        let Some(home) = &inode.home else { return Ok(false) };
        Ok(is_temporary(&home.name) || self.chain(home.parent)?.iter().any(|(_, name)| is_temporary(name)))
    }

    /// Makes versions of runs that have come to rest, until stopped.
    pub(in super::super) fn settle_loop(&self) {
        loop {
            let settle = self.options.history.settle;
            {
                let mut bursts = self.history.bursts.lock();
                if self.history.is_stopped() {
                    return;
                }
                match bursts.next_due(settle) {
                    _ if bursts.hurry && !bursts.is_empty() => {}
                    Some(due) => drop(self.history.settling.wait_until(&mut bursts, due)),
                    None => self.history.settling.wait(&mut bursts),
                }
            }
            self.look_at_writers();
            if let Err(error) = self.settle_due("quiet") {
                self.report(&error, "make a version of a run that has come to rest");
                std::thread::sleep(Duration::from_millis(200));
            }
        }
    }

    /// Begins a version of every run that is due.
    fn settle_due(&self, trigger: &str) -> Result<()> {
        let settle = self.options.history.settle;
        let due = self.history.bursts.lock().due(Instant::now(), settle);
        // One run that cannot be settled keeps no other from it.
        due.into_iter().map(|run| self.settle_run(run, trigger)).fold(Ok(()), Result::and)
    }

    fn settle_run(&self, run: Ino, trigger: &str) -> Result<()> {
        let moved = self.regroup(run)?;
        let hurry = self.history.bursts.lock().hurry;
        if moved || (!hurry && self.is_being_written(run, None)?) {
            self.history.bursts.lock().postpone(run, Instant::now());
            return Ok(());
        }
        match self.begin_version(run, Wanted::by(trigger)) {
            Err(Error::Errno(libc::ENOENT)) => {
                // The directory went away meanwhile, and its files with it.
                let mut bursts = self.history.bursts.lock();
                let gone: Vec<_> = bursts.files().into_iter().filter(|(_, fresh)| fresh.run == run).collect();
                bursts.forget_unchanged(&gone);
                Ok(())
            }
            other => other.map(drop),
        }
    }

    /// Files may have been renamed into another run since they were noted: true if nothing is left for `run`.
    fn regroup(&self, run: Ino) -> Result<bool> {
        let files = self.history.bursts.lock().files();
        let mut left = false;
        for (ino, fresh) in files.into_iter().filter(|(_, fresh)| fresh.run == run) {
            let home = self.ns.find(ino)?.and_then(|inode| inode.home);
            let Some(home) = home else {
                self.history.bursts.lock().forget(ino);
                continue;
            };
            let now = self.run_dir_of(&home.name, home.parent)?;
            if now == run {
                left = true;
            } else {
                self.history.bursts.lock().note(ino, now, fresh.at, fresh.pid, fresh.save);
            }
        }
        Ok(!left)
    }

    /// Begins a version of every run that has something new, as made by `trigger`, and waits until all are made, at most
    /// `limit`: what is begun and not made by then is made after the next mount.
    pub fn finish_versions(&self, trigger: &str, limit: Duration) -> Result<()> {
        let began = Instant::now();
        let _waiting = self.history.waiting();
        self.begin_all(trigger)?;
        let left = limit.saturating_sub(began.elapsed());
        self.history.wait_idle(left, &|| self.check_healthy()).map(drop)
    }

    /// Begins a version of the run at `dir`, changed or not, as `snapshot` by hand does.
    #[cfg(debug_assertions)]
    pub(in super::super) fn begin_by_hand(
        &self,
        dir: Ino,
        tag: Option<String>,
    ) -> Result<Option<SnapshotId>> {
        self.begin_version(dir, Wanted { tag, always: true, ..Wanted::by("manual") })
    }

    /// Begins a version of every run that has something new, as made by `trigger`.
    pub(in super::super) fn begin_all(&self, trigger: &str) -> Result<()> {
        self.history.hurry(true);
        let mut begun = Ok(());
        for _ in 0..SETTLE_ROUNDS_MAX {
            // A second round finds files that turned out to belong to another run.
            begun = self.settle_due(trigger);
            if begun.is_err() || self.history.bursts.lock().is_empty() {
                break;
            }
        }
        self.history.hurry(false);
        begun
    }
}

/// Somebody who waits for versions.
struct Waiting<'a>(&'a super::History);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.queue.lock().waiters -= 1;
    }
}

impl super::History {
    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// While the guard lives somebody waits for versions: they are made at normal priority.
    pub(super) fn waiting(&self) -> impl Drop {
        self.queue.lock().waiters += 1;
        Waiting(self)
    }

    fn hurry(&self, on: bool) {
        self.bursts.lock().hurry = on;
        self.settling.notify_all();
    }

    /// Waits until no version is in the making, at most `limit`; whether that is so. The error of `healthy` ends it: in a
    /// store that takes no more writes nothing is made.
    pub(super) fn wait_idle(&self, limit: Duration, healthy: &dyn Fn() -> Result<()>) -> Result<bool> {
        let until = Instant::now() + limit;
        let mut queue = self.queue.lock();
        while queue.is_busy() && !queue.stopped && Instant::now() < until {
            healthy()?;
            self.building.wait_until(&mut queue, until.min(Instant::now() + LOOK_EVERY));
        }
        Ok(!queue.is_busy())
    }

    /// What became of moment `id`, once it is known. The error of `healthy` ends the wait, and so do a few failures to make
    /// a version: the moment stays on record and becomes a version once that works again.
    pub(super) fn wait_made(&self, id: SnapshotId, healthy: &dyn Fn() -> Result<()>) -> Result<Made> {
        let mut queue = self.queue.lock();
        let before = queue.failures.0;
        loop {
            if let Some(made) = self.results.lock().get(&id) {
                return Ok(made.clone());
            }
            if queue.stopped {
                return Err(Error::Errno(libc::EINTR));
            }
            healthy()?;
            let (failures, errno) = queue.failures;
            if failures - before >= FAILURES_MAX {
                return Err(Error::Errno(errno));
            }
            self.building.wait_for(&mut queue, LOOK_EVERY);
        }
    }

    /// Ends both threads: what is in the making is made after the next mount.
    pub(in super::super) fn stop(&self) {
        self.stopped.store(true, std::sync::atomic::Ordering::Relaxed);
        // Under the locks: a thread that is about to wait sees it, or hears of it.
        drop(self.bursts.lock());
        self.settling.notify_all();
        self.queue.lock().stopped = true;
        self.building.notify_all();
    }
}
