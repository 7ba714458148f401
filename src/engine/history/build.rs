//! From a recorded moment to a version on record.
//!
//! Order: contents sealed and tree put; packs durable; one batch records the version and ends the moment; that batch
//! durable; then live files are recorded as sealed, and retention is asked. A failure before the record leaves the moment
//! as it is, to be tried again; a kill at any point does the same.

use std::time::{Duration, Instant};

use super::super::Engine;
use super::super::sealer::Packed;
use super::facts::{Progress, Standing};
use super::known::Known;
use super::trigger::is_settled;
use super::walk::{Walk, is_temporary_path};
use crate::base::fault::{self, Point};
use crate::base::id::ChunkId;
use crate::base::priority::{make_thread_idle, make_thread_normal};
use crate::base::{Error, Result};
use crate::catalog::keys::{self, HotId, Ino, RunId};
use crate::content::hash::chunk_id;
use crate::content::tree::{Body, Entry, Node};
use crate::journal::Op;
use crate::namespace::snapshot::Snapshot;
use crate::pack::Kind;
use crate::version::marker::Marker;
use crate::version::record::{self, Pending, Run, Version};

/// How long a version that could not be made waits.
const FAILED: Duration = Duration::from_secs(5);

/// More moments than this that wait are worth normal priority: each keeps hot files from being freed.
const BEHIND: usize = 4;
/// Results of moments that are remembered for those who wait.
const RESULTS_MAX: u64 = 256;

/// What became of a moment.
#[derive(Clone, Debug)]
pub enum Made {
    /// A version.
    Version(RunId, Box<Version>),
    /// Nothing in it was new.
    Nothing,
}

impl Engine {
    /// Makes versions of recorded moments until stopped.
    pub(in super::super) fn build_loop(&self) {
        loop {
            let snapshot = {
                let mut queue = self.history.queue.lock();
                while queue.waiting.is_empty() && !queue.stopped {
                    self.history.building.wait(&mut queue);
                }
                if queue.stopped {
                    return;
                }
                let Some(first) = queue.waiting.front().cloned() else { continue };
                queue.working = true;
                let behind = queue.waiting.len() > BEHIND || queue.waiters > 0;
                if behind {
                    make_thread_normal()
                } else {
                    make_thread_idle()
                }
                first
            };
            let began = Instant::now();
            let made = self.build(&snapshot);
            self.totals.worked(began.elapsed());
            let failed = match made {
                Ok(made) => {
                    self.made(&snapshot, made);
                    None
                }
                Err(error) => {
                    if !matches!(error, Error::Errno(libc::EINTR)) {
                        self.report(&error, "make a version");
                    }
                    Some(error.errno())
                }
            };
            let mut queue = self.history.queue.lock();
            queue.working = false;
            if let Some(errno) = failed {
                queue.failures = (queue.failures.0 + 1, errno);
                self.history.building.notify_all();
                if !queue.stopped {
                    self.history.building.wait_for(&mut queue, FAILED);
                }
            } else {
                queue.waiting.pop_front();
                self.history.building.notify_all();
            }
            drop(queue);
            self.shrink_cache();
        }
    }

    /// Makes the version of the oldest moment that waits, in this thread; `None` when none does.
    #[cfg(debug_assertions)]
    pub(in super::super) fn build_next(&self) -> Result<Option<Made>> {
        let Some(snapshot) = self.history.queue.lock().waiting.front().cloned() else { return Ok(None) };
        let made = self.build(&snapshot)?;
        self.made(&snapshot, made.clone());
        self.history.queue.lock().waiting.pop_front();
        Ok(Some(made))
    }

    fn made(&self, snapshot: &Snapshot, made: Made) {
        if let Made::Version(run, version) = &made {
            tracing::info!("version {:06} of {:?} by {}", version.number, version.path, version.trigger);
            self.reencode.wake();
            self.saved(version.new_bytes);
            if let Err(error) = self.retain(*run) {
                self.report(&error, "apply the retention policy");
            }
        }
        let mut results = self.history.results.lock();
        results.retain(|id, _| id + RESULTS_MAX > snapshot.id);
        results.insert(snapshot.id, made);
    }

    /// Makes the version of a moment.
    pub(super) fn build(&self, snapshot: &Snapshot) -> Result<Made> {
        let about: Pending = record::decode(&snapshot.about)
            .ok_or_else(|| super::judge::damaged(&keys::snapshot(snapshot.id)))?;
        let before = self.run_at(snapshot.dir);
        let (known, _based) = match &before {
            Some((run, _)) => self.known_of(*run)?,
            None => (Known::default(), None),
        };
        let mut walk = Walk::new(self, self.ns.view(snapshot.id), &known)?;
        // Until files are recorded as sealed: nothing that is put or found is collected.
        let _held = walk.batch.held();
        walk.marker = Marker::file_of(&about.trigger);
        let made = self.walk_and_record(snapshot, about, &mut walk);
        self.delete_copies(&walk.copies);
        let (made, gone, seq) = made?;
        gone.into_iter().for_each(|hot| self.bury(hot, seq));
        // The moment has ended: it must not be tried again, whatever fails now. The records come in order.
        if let Err(error) = self.sync_names() {
            self.report(&error, "make a version durable");
        }
        fault::reached(Point::VersionDurable);
        let Walk { published, walked, missing, .. } = walk;
        // Without a version nothing was added to the packs, not even what two files of this moment share.
        if let Made::Version(run, version) = &made {
            self.publish_all(published);
            if missing.is_empty()
                && let Err(error) = self.keep_known((*run, version), snapshot, walked, known)
            {
                self.report(&error, "keep what a version holds for the next one");
            }
        } else if let (Some((run, _)), Some(_)) = (before, known.moment) {
            self.history.known.lock().insert(run, known);
        }
        Ok(made)
    }

    fn publish_all(&self, files: Vec<Packed>) {
        for file in files {
            if let Err(error) = self.with_held(file.live.ino, |_| self.publish(&file)) {
                self.report(&error, "record a sealed file");
            }
        }
    }

    fn walk_and_record(
        &self,
        snapshot: &Snapshot,
        about: Pending,
        walk: &mut Walk<'_>,
    ) -> Result<(Made, Vec<HotId>, u64)> {
        let top = match walk.tree_of_changes(snapshot.dir)? {
            Some(top) => {
                #[cfg(debug_assertions)]
                walk.compare_with_whole(snapshot.dir, &top)?;
                top
            }
            None => walk.tree(snapshot.dir)?,
        };
        // A save that goes on is not what this version is made of.
        let settled = is_settled(&about.trigger);
        let new = walk.new.iter().any(|file| settled || !is_temporary_path(&file.path));
        let worth = new || self.commits_anew(snapshot, &about, walk)?;
        if !worth && (!about.always || self.ns.find(snapshot.dir)?.is_none()) {
            let (gone, seq) = self.ns.end_snapshot(snapshot.id, Vec::new())?;
            return Ok((Made::Nothing, gone, seq));
        }
        let standing = walk.standing(&about.trigger)?;
        let mut progress = walk.progress(snapshot.dir, &about.trigger)?;
        let (run_id, run) = self.run_of_moment(snapshot, walk)?;
        let before = self.last_version(run_id, |_| true)?;
        if let (false, Some(same)) = (new, &before) {
            // A version by hand of what the one before has: training is where it was.
            progress.add(same.step, same.epoch, same.metrics.clone());
        }
        let mut version = describe(&run, before.as_ref(), about, &top, standing, progress);
        self.doubt_after_reboot(snapshot, &mut version)?;
        let batch = std::mem::replace(&mut walk.batch, self.packs.writer()?);
        let committed = self.finish_tree(batch, &mut version, top)?;
        fault::reached(Point::VersionPacked);
        version.new_bytes += committed;
        let put = (keys::version(run_id, version.number), Some(record::encode(&version)));
        // Changed as it is by now: a command may have changed it while contents were sealed.
        let change = |run: &mut Run| {
            (run.next, run.path) = (version.number + 1, version.path.clone());
            run.kept_at = run.kept_at.or(Some(version.time.0));
        };
        let commit = |mut ops: Vec<Op>| {
            ops.push(put);
            self.ns.end_snapshot(snapshot.id, ops)
        };
        let (_, (gone, seq)) = self.change_run_with(run_id, change, commit)?;
        Ok((Made::Version(run_id, Box::new(version)), gone, seq))
    }

    /// Whether the marker that began the moment says what no version says yet: the one before may have begun between a
    /// save's data and its pointer. One that began by the same pointer may not: TensorFlow writes it again after each sweep.
    fn commits_anew(&self, snapshot: &Snapshot, about: &Pending, walk: &Walk<'_>) -> Result<bool> {
        let Some((run, _)) = self.run_at(snapshot.dir).filter(|_| walk.is_committed) else {
            return Ok(false);
        };
        Ok(self.last_version(run, |_| true)?.is_some_and(|before| before.trigger != about.trigger))
    }

    /// Puts the top of the tree and the blob that describes the version, and makes all of it durable. Returns the bytes
    /// that the packs have grown by.
    fn finish_tree(
        &self,
        mut batch: crate::pack::PackBatch,
        version: &mut Version,
        top: Entry,
    ) -> Result<u64> {
        let node = Node::Leaf(vec![top]).encode();
        version.tree = chunk_id(&node);
        batch.put(Kind::Tree, version.tree, &node)?;
        let about = Node::About(serde_json::to_vec(version).unwrap_or_default()).encode();
        let id = chunk_id(&about);
        version.about = Some(id);
        batch.put(Kind::Tree, id, &about)?;
        Ok(batch.finish()?.new_bytes)
    }

    /// The run of a moment: of a directory that is gone since, the one that had its path.
    fn run_of_moment(&self, snapshot: &Snapshot, walk: &Walk<'_>) -> Result<(RunId, Run)> {
        if self.ns.find(snapshot.dir)?.is_some() {
            return self.recorded_run(snapshot.dir);
        }
        let path = record::path_text(&self.path_then(walk, snapshot.dir)?);
        self.recorded_dead_run(&path)
    }

    /// The path of a directory at a moment.
    fn path_then(&self, walk: &Walk<'_>, dir: Ino) -> Result<Vec<u8>> {
        let (mut names, mut at) = (Vec::new(), dir);
        while let Some(inode) = walk.view.inode(at)? {
            let Some(home) = inode.home else { break };
            names.push(home.name);
            at = home.parent;
        }
        names.reverse();
        Ok(names.join(&b'/'))
    }

    /// After a reboot, hot files that were never synced may hold anything: a moment from before it proves nothing.
    fn doubt_after_reboot(&self, snapshot: &Snapshot, version: &mut Version) -> Result<()> {
        let about: Pending = record::decode(&snapshot.about).unwrap_or_default();
        if about.boot != self.boot {
            version.complete = false;
            version.why.push("the machine went down before its bytes were durable".to_owned());
        }
        Ok(())
    }
}

/// The record of a version, but for what only its packs tell.
fn describe(
    run: &Run,
    before: Option<&Version>,
    about: Pending,
    top: &Entry,
    standing: Standing,
    progress: Progress,
) -> Version {
    // The clock may have gone back: versions are in the order of their numbers all the same.
    let time = about.time.max(before.map_or((i64::MIN, 0), |before| before.time));
    let (files, logical_bytes) = match top.body {
        Body::Dir { files, bytes, .. } => (files, bytes),
        _ => (0, 0),
    };
    let Standing { complete, valid, why } = standing;
    // A number that is none says nothing, and JSON has no word for it.
    let metrics = progress.metrics.into_iter().filter(|(_, value)| value.is_finite()).collect();
    Version {
        number: run.next.max(1),
        time,
        trigger: about.trigger,
        path: run.path.clone(),
        complete,
        valid,
        why,
        step: progress.step,
        epoch: progress.epoch,
        metrics,
        files,
        logical_bytes,
        new_bytes: about.added,
        tree: ChunkId([0; ChunkId::LEN]),
        about: None,
        tags: about.tag.into_iter().collect(),
        pinned: false,
        kept_for_ever: false,
        provenance: about.provenance,
        origin: about.origin,
        expired: None,
    }
}
