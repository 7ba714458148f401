//! A version brought back: in place, or beside what is there. Contents are named by reference; no byte is copied.
//!
//! Order in place: what is to change is planned; every chunk of it is read and held against its hash; the state before
//! becomes a version; it is planned again, for nobody was kept from saving meanwhile; then each file is replaced by one
//! record (`apply`). What is damaged is found before anything has changed. Beside: the tree is made under a temporary name,
//! then renamed. The version is held until all is done, so no collection takes what it alone names.

mod apply;
mod plan;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

use super::super::Engine;
use super::trigger::Wanted;
use crate::base::id::ChunkId;
use crate::base::monitor::Monitor;
use crate::base::{Error, Result};
use crate::catalog::keys::{Ino, RunId};
use crate::content::tree::{Body, Entry};
use crate::namespace::rename::{Over, Place};
use crate::pack::collect::is_damage;
use crate::seal::hydrate::verify;
use crate::seal::stored;
use crate::version::chosen::{Chosen, Names};
use crate::version::record::{Origin, Version};
use crate::version::trees::Trees;
use plan::{Plan, Planner, Step};

/// The name of what is made beside, until it is whole. What a kill has left under it is removed by the next one.
const TEMPORARY: &[u8] = b".ckptfs-restore.tmp";
/// The trigger of the version that keeps the state before.
const TRIGGER: &str = "restore";
/// How often a state that changes all the time is planned for.
const ROUNDS_MAX: u32 = 4;

/// How a version is to be brought back.
#[derive(Clone, Debug, Default)]
pub struct How {
    /// What of it.
    pub chosen: Chosen,
    /// Only tell what would be done.
    pub dry_run: bool,
    /// What the version has not stays.
    pub keep: bool,
    /// Files that somebody has open for writing too: who writes goes on with a file that has no name any more.
    pub force: bool,
}

/// One thing that changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its path below the run.
    pub path: String,
    /// `create`, `replace`, `remove` or `attributes`.
    pub what: String,
    /// Bytes of the file that comes, or of the one that goes.
    pub bytes: u64,
    puts: bool,
}

/// What was done, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Every change, in order.
    pub changes: Vec<Change>,
    /// Bytes of the files that came back.
    pub bytes: u64,
    /// The version that holds the state before; `None` where nothing had to change, and of a dry run.
    pub before: Option<u32>,
    /// Paths whose bytes are damaged: nothing was changed.
    pub damaged: Vec<String>,
}

impl Engine {
    /// Makes the directory of a run what is `chosen` of version `number`.
    pub fn restore(&self, run: RunId, number: u32, how: &How, monitor: &dyn Monitor) -> Result<Restored> {
        let _alone = self.only_restore()?;
        let (_held, version) = self.held_version(run, number)?;
        let dir = self.run(run).and_then(|run| run.dir).ok_or_else(|| {
            Error::Refused(
                "the run's directory is deleted; bring the version back beside it, with --to or clone".into(),
            )
        })?;
        let top = Trees::new(&self.packs).top(&version.tree)?;
        self.find_chosen(&top, &how.chosen, number)?;
        let (mut verified, mut before) = (HashSet::new(), None);
        for _ in 0..ROUNDS_MAX {
            let plan = self.planned(&top, dir, how)?;
            if plan.steps.is_empty() || how.dry_run {
                return Ok(Restored {
                    changes: plan.changes,
                    bytes: plan.bytes,
                    before,
                    damaged: Vec::new(),
                });
            }
            if let (Some(busy), false) = (plan.busy.first(), how.force) {
                return Err(Error::Refused(format!(
                    "{busy} is open for writing{}; stop the program that writes it, or replace it all the same with --force",
                    if plan.busy.len() > 1 {
                        format!(", and {} more are", plan.busy.len() - 1)
                    } else {
                        String::new()
                    }
                )));
            }
            let damaged = self.verified(&plan, &mut verified, monitor)?;
            if !damaged.is_empty() {
                return Ok(Restored { changes: Vec::new(), bytes: 0, before, damaged });
            }
            if before.is_none() {
                before = Some(self.snapshot_now(dir, TRIGGER, None)?.1.number);
                continue;
            }
            let Plan { steps, changes, links, bytes, .. } = plan;
            monitor.begin("putting files back", 0);
            self.apply(dir, steps, links)?;
            return Ok(Restored { changes, bytes, before, damaged: Vec::new() });
        }
        Err(Error::Refused("the run changes all the time; stop what writes there and try again".into()))
    }

    /// Makes what is chosen of version `number` the new directory `name` in `parent`. `EEXIST` if there is something.
    pub fn restore_beside(
        &self,
        run: RunId,
        number: u32,
        how: &How,
        (parent, name): (Ino, &[u8]),
        monitor: &dyn Monitor,
    ) -> Result<Restored> {
        let _alone = self.only_restore()?;
        let (_held, version) = self.held_version(run, number)?;
        let top = Trees::new(&self.packs).top(&version.tree)?;
        let found = self.find_chosen(&top, &how.chosen, number)?;
        if self.ns.entry(parent, name)?.is_some() {
            return Err(Error::Errno(libc::EEXIST));
        }
        let (top, chosen) = match (how.chosen.paths(), found.as_slice()) {
            ([_], [dir]) if dir.is_dir() => (dir.clone(), Chosen::default()),
            _ => (top, how.chosen.clone()),
        };
        let mut planner = Planner { engine: self, chosen: &chosen, keep: false, plan: Plan::default() };
        planner.directory(&top, None, &Names::new())?;
        let mut plan = planner.plan;
        if !how.dry_run {
            let damaged = self.verified(&plan, &mut HashSet::new(), monitor)?;
            if !damaged.is_empty() {
                return Ok(Restored { damaged, ..Restored::default() });
            }
            monitor.begin("putting files", 0);
            self.make_beside(&top, std::mem::take(&mut plan.steps), (parent, name))?;
        }
        Ok(Restored { changes: plan.changes, bytes: plan.bytes, before: None, damaged: Vec::new() })
    }

    /// Makes version `number` of a run the new run `name` in `parent`: its number and first version, or the paths that are
    /// damaged, and then there is none. It has the policy of the run that it comes from. `EEXIST` if there is something.
    pub fn clone_run(
        &self,
        run: RunId,
        number: u32,
        (parent, name): (Ino, &[u8]),
        monitor: &dyn Monitor,
    ) -> Result<Result<(RunId, Version), Vec<String>>> {
        let from = self.run(run).ok_or(Error::Errno(libc::ENOENT))?;
        let origin = Origin::Clone { run: self.run_path(&from), number };
        let made = self.restore_beside(run, number, &How::default(), (parent, name), monitor)?;
        if !made.damaged.is_empty() {
            return Ok(Err(made.damaged));
        }
        let dir = self.ns.entry(parent, name)?.ok_or(Error::Errno(libc::ENOENT))?.ino;
        let (id, _) = self.recorded_run(dir)?;
        self.change_run(id, |run| {
            (run.by_hand, run.forgotten) = (true, false);
            (run.settings, run.bare_steps) = (from.settings, from.bare_steps);
        })?;
        let wanted = Wanted { always: true, origin: Some(origin), ..Wanted::by("clone") };
        self.snapshot_as(dir, wanted).map(Ok)
    }

    fn make_beside(&self, top: &Entry, steps: Vec<Step>, (parent, name): (Ino, &[u8])) -> Result<()> {
        self.remove_tree(parent, TEMPORARY)?;
        let begin = Step::Enter { name: TEMPORARY.to_vec(), make: true };
        let end = Step::Leave(Some(Box::new(top.clone())));
        let steps = std::iter::once(begin).chain(steps).chain([end]).collect();
        self.apply(parent, steps, Default::default())?;
        let (from, to) = (Place { parent, name: TEMPORARY }, Place { parent, name });
        self.rename(from, to, Over::Refuse)?;
        self.tell_name(parent, TEMPORARY);
        self.tell_name(parent, name);
        Ok(())
    }

    /// One at a time: two that change one directory would each undo the other.
    fn only_restore(&self) -> Result<parking_lot::MutexGuard<'_, ()>> {
        self.history.restoring.try_lock().ok_or_else(|| {
            Error::Refused("another version is being brought back; try again when that is done".into())
        })
    }

    fn planned(&self, top: &Entry, dir: Ino, how: &How) -> Result<Plan> {
        let mut planner =
            Planner { engine: self, chosen: &how.chosen, keep: how.keep, plan: Plan::default() };
        let changed = planner.directory(top, Some(dir), &Names::new())?;
        let mut plan = planner.plan;
        if how.chosen.is_all() && (changed || !self.is_dressed_as(top, dir)?) {
            // The run's own directory; it has been entered by whoever applies the steps.
            plan.steps.push(Step::Leave(Some(Box::new(top.clone()))));
            if !changed {
                plan.changes.push(Change {
                    path: ".".into(),
                    what: "attributes".into(),
                    bytes: 0,
                    puts: false,
                });
            }
        }
        Ok(plan)
    }

    fn is_dressed_as(&self, top: &Entry, dir: Ino) -> Result<bool> {
        let inode = self.ns.inode(dir)?;
        Ok((inode.mode, inode.uid, inode.gid) == (top.mode, top.uid, top.gid)
            && self.xattrs(&inode)? == top.xattrs)
    }

    /// Reads every chunk that `plan` needs and that was not read before; the paths of files that are damaged.
    fn verified(
        &self,
        plan: &Plan,
        verified: &mut HashSet<ChunkId>,
        monitor: &dyn Monitor,
    ) -> Result<Vec<String>> {
        let mut contents = plan.contents();
        contents.retain(
            |(entry, _)| matches!(entry.body, Body::File { content, .. } if !verified.contains(&content)),
        );
        monitor.begin("verifying", contents.iter().map(|(entry, _)| entry.size()).sum());
        let (done, mut damaged) = (AtomicU64::new(0), Vec::new());
        let advance = |bytes: u64| monitor.advance(done.fetch_add(bytes, Ordering::Relaxed) + bytes);
        for (entry, path) in contents {
            let Body::File { content, .. } = entry.body else { continue };
            let read = stored::load(&self.packs, &content)
                .and_then(|manifest| verify(&self.packs, &manifest, self.options.hydrate_threads, &advance));
            match read {
                Err(error) if is_damage(&error) => {
                    self.report(&error, "read a version");
                    damaged.push(path.to_owned());
                }
                read => read?,
            }
            verified.insert(content);
        }
        Ok(damaged)
    }
}
