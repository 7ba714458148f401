//! Runs: which directory is the run of a file, and what is recorded of each.
//!
//! A run is on record from its first version, or from the command that named it. Its directory's inode is its identity
//! while it lives, so a rename carries the history along; a deleted one is found again by its path.

use std::collections::{BTreeMap, HashMap};

use super::super::Engine;
use crate::base::clock::Time;
use crate::base::{Error, Result};
use crate::catalog::keys::{self, Ino, RunId};
use crate::catalog::records::Body;
use crate::journal::Op;
use crate::namespace::Namespace;
use crate::version::names::{is_bare_step, is_temporary};
use crate::version::record::{self, Run, path_text};
use crate::version::runs::{Ancestry, run_depth};

/// Every run of the store. Memory: a few hundred bytes a run.
#[derive(Debug, Default)]
pub(super) struct RunTable {
    by_id: BTreeMap<RunId, Run>,
    by_dir: HashMap<Ino, RunId>,
    next: RunId,
}

impl RunTable {
    pub(super) fn load(names: &Namespace) -> Result<RunTable> {
        let mut table = RunTable { next: names.number(keys::RUN_LIMIT)?.unwrap_or(1), ..RunTable::default() };
        for (key, value) in names.scan_all(&keys::runs())? {
            let id = keys::parse_number(&key).ok_or_else(|| Namespace::damaged(&key))?;
            table.insert(id, record::decode(&value).ok_or_else(|| Namespace::damaged(&key))?);
        }
        Ok(table)
    }

    fn insert(&mut self, id: RunId, run: Run) {
        if let Some(dir) = self.by_id.get(&id).and_then(|before| before.dir) {
            self.by_dir.remove(&dir);
        }
        if let Some(dir) = run.dir {
            self.by_dir.insert(dir, id);
        }
        self.next = self.next.max(id + 1);
        self.by_id.insert(id, run);
    }

    fn of_dir(&self, dir: Ino) -> Option<(RunId, &Run)> {
        let id = self.by_dir.get(&dir)?;
        Some((*id, self.by_id.get(id)?))
    }

    /// The newest of the deleted runs that were at `path`.
    fn dead(&self, path: &str) -> Option<(RunId, &Run)> {
        let found = self.by_id.iter().rev().find(|(_, run)| run.dir.is_none() && run.path == path);
        found.map(|(id, run)| (*id, run))
    }

    /// The run of directory `dir` at `path`: the one on record, a deleted one of that path, or a new one.
    fn make(&self, dir: Ino, path: &str) -> (RunId, Run) {
        if let Some((id, run)) = self.of_dir(dir) {
            return (id, Run { path: path.to_owned(), ..run.clone() });
        }
        match self.dead(path) {
            Some((id, run)) => (id, Run { dir: Some(dir), deleted_at: None, ..run.clone() }),
            None => (self.next, Run { dir: Some(dir), path: path.to_owned(), next: 1, ..Run::default() }),
        }
    }
}

/// The puts that record a run.
pub(super) fn run_ops(id: RunId, run: &Run) -> Vec<Op> {
    vec![
        (keys::run(id), Some(record::encode(run))),
        (keys::RUN_LIMIT.to_vec(), Some((id + 1).to_le_bytes().to_vec())),
    ]
}

/// Directories from one up to the root, with their names.
pub(super) type Chain = Vec<(Ino, Vec<u8>)>;

/// The path of the first of `chain` below the root.
pub(super) fn path_of(chain: &[(Ino, Vec<u8>)]) -> Vec<u8> {
    let names: Vec<&[u8]> =
        chain.iter().rev().map(|(_, name)| name.as_slice()).filter(|name| !name.is_empty()).collect();
    names.join(&b'/')
}

/// The directories above a file, as the rules for runs ask for them.
struct Line<'a> {
    engine: &'a Engine,
    chain: &'a [(Ino, Vec<u8>)],
}

impl Ancestry for Line<'_> {
    fn name(&self, depth: usize) -> Option<&[u8]> {
        self.chain.get(depth).map(|(_, name)| name.as_slice())
    }

    fn is_named_run(&self, depth: usize) -> bool {
        let Some((ino, _)) = self.chain.get(depth) else { return false };
        if self.engine.history.runs.lock().of_dir(*ino).is_some_and(|(_, run)| run.by_hand) {
            return true;
        }
        let globs = &self.engine.options.history.runs;
        let path = || path_of(self.chain.get(depth..).unwrap_or_default());
        !globs.is_empty() && globs.iter().any(|glob| glob.matches(&path()))
    }

    fn is_committed(&self, depth: usize) -> bool {
        let Some((ino, name)) = self.chain.get(depth) else { return false };
        if self.engine.history.committed.lock().contains(ino) {
            return true;
        }
        let above = self.chain.get(depth + 1).map(|(ino, _)| *ino);
        let runs = self.engine.history.runs.lock();
        is_bare_step(name)
            && above.and_then(|above| runs.of_dir(above)).is_some_and(|(_, run)| run.bare_steps)
    }

    fn holds_parts(&self, depth: usize) -> bool {
        let Some((ino, _)) = self.chain.get(depth) else { return false };
        let has = |name: &&[u8]| self.engine.ns.entry(*ino, name).is_ok_and(|found| found.is_some());
        LISTS_OF_PARTS.iter().any(has)
    }
}

/// Files that list the folders of a model beside them: those of diffusers' pipelines, of sentence-transformers.
const LISTS_OF_PARTS: &[&[u8]] = &[b"model_index.json", b"modules.json"];

impl Engine {
    /// Directory `dir` and those above it up to the root.
    pub(super) fn chain(&self, dir: Ino) -> Result<Chain> {
        let (mut chain, mut at) = (Vec::new(), dir);
        loop {
            let inode = self.ns.find(at)?.ok_or(Error::Errno(libc::ENOENT))?;
            let Body::Dir { parent, .. } = inode.body else { return Err(Error::Errno(libc::ENOTDIR)) };
            chain.push((at, inode.home.map(|home| home.name).unwrap_or_default()));
            if parent == at {
                return Ok(chain);
            }
            at = parent;
        }
    }

    /// The path of directory `dir` below the mount.
    pub fn dir_path(&self, dir: Ino) -> Result<Vec<u8>> {
        self.chain(dir).map(|chain| path_of(&chain))
    }

    /// The directory that is the run of a file called `name` in `dir`, on record or not.
    pub(super) fn run_dir_of(&self, name: &[u8], dir: Ino) -> Result<Ino> {
        let chain = self.chain(dir)?;
        // What is below a temporary directory belongs to whoever holds that.
        let temporary = chain.iter().rposition(|(_, name)| is_temporary(name));
        let chain = chain.get(temporary.map_or(0, |at| at + 1)..).unwrap_or_default();
        let depth = run_depth(name, &Line { engine: self, chain });
        Ok(chain.get(depth).map_or(dir, |(ino, _)| *ino))
    }

    /// A run on record by its number.
    pub fn run(&self, id: RunId) -> Option<Run> {
        self.history.runs.lock().by_id.get(&id).cloned()
    }

    /// The run on record whose directory is `dir`.
    pub fn run_at(&self, dir: Ino) -> Option<(RunId, Run)> {
        self.history.runs.lock().of_dir(dir).map(|(id, run)| (id, run.clone()))
    }

    /// Every run on record.
    pub fn runs(&self) -> Vec<(RunId, Run)> {
        self.history.runs.lock().by_id.iter().map(|(id, run)| (*id, run.clone())).collect()
    }

    /// The run that a directory is in, its own or the innermost above it, and the names that lead from the run to it.
    pub fn run_above(&self, dir: Ino) -> Result<Option<(RunId, Vec<Vec<u8>>)>> {
        let chain = self.chain(dir)?;
        let runs = self.history.runs.lock();
        let found =
            chain.iter().enumerate().find_map(|(depth, (ino, _))| Some((depth, runs.of_dir(*ino)?.0)));
        Ok(found.map(|(depth, id)| {
            let below = chain.iter().take(depth).rev().map(|(_, name)| name.clone());
            (id, below.collect())
        }))
    }

    /// The present path of a run: of a deleted one, its last.
    pub fn run_path(&self, run: &Run) -> String {
        let live = run.dir.and_then(|dir| self.dir_path(dir).ok());
        live.map_or_else(|| run.path.clone(), |path| path_text(&path))
    }

    /// The run of directory `dir`, recorded now if it is not on record: its number is then no other's.
    pub(in super::super) fn recorded_run(&self, dir: Ino) -> Result<(RunId, Run)> {
        let path = path_text(&self.dir_path(dir)?);
        let mut runs = self.history.runs.lock();
        let (id, run) = runs.make(dir, &path);
        if runs.by_id.get(&id) != Some(&run) {
            self.ns.record(run_ops(id, &run))?;
            runs.insert(id, run.clone());
        }
        Ok((id, run))
    }

    /// The deleted run that was at `path`, recorded now if it is not on record.
    pub(super) fn recorded_dead_run(&self, path: &str) -> Result<(RunId, Run)> {
        let mut runs = self.history.runs.lock();
        if let Some((id, run)) = runs.dead(path) {
            return Ok((id, run.clone()));
        }
        let (id, deleted_at) = (runs.next, Some(Time::now().secs));
        let run = Run { path: path.to_owned(), next: 1, deleted_at, ..Run::default() };
        self.ns.record(run_ops(id, &run))?;
        runs.insert(id, run.clone());
        Ok((id, run))
    }

    /// The deleted run that was at `path`, the newest if there were several.
    pub fn dead_run_at(&self, path: &str) -> Option<(RunId, Run)> {
        self.history.runs.lock().dead(path).map(|(id, run)| (id, run.clone()))
    }

    /// Changes the record of a run.
    pub fn change_run(&self, id: RunId, change: impl FnOnce(&mut Run)) -> Result<Run> {
        self.change_run_with(id, change, |ops| self.ns.record(ops).map(drop)).map(|(run, ())| run)
    }

    /// Changes the record of a run by what `commit` does with its puts: together with other records, in one batch.
    pub(super) fn change_run_with<T>(
        &self,
        id: RunId,
        change: impl FnOnce(&mut Run),
        commit: impl FnOnce(Vec<Op>) -> Result<T>,
    ) -> Result<(Run, T)> {
        let mut runs = self.history.runs.lock();
        let mut run = runs.by_id.get(&id).cloned().ok_or(Error::Errno(libc::ENOENT))?;
        change(&mut run);
        let done = commit(run_ops(id, &run))?;
        runs.insert(id, run.clone());
        Ok((run, done))
    }

    /// Forgets the record of a deleted run that has no versions any more; whether it did.
    ///
    /// Asked under the lock under which versions are recorded: a version of a moment from before, or a directory made
    /// again, may have come since the caller looked.
    pub fn drop_run(&self, id: RunId) -> Result<bool> {
        let mut runs = self.history.runs.lock();
        let is_dead = runs.by_id.get(&id).is_some_and(|run| run.dir.is_none());
        if !is_dead || !self.all_versions(id)?.is_empty() {
            return Ok(false);
        }
        self.ns.record(vec![(keys::run(id), None)])?;
        if let Some(dir) = runs.by_id.remove(&id).and_then(|run| run.dir) {
            runs.by_dir.remove(&dir);
        }
        Ok(true)
    }

    /// Runs whose directory went away without their record saying so, as after a kill in between.
    pub(in super::super) fn bury_runs(&self) -> Result<()> {
        for (id, run) in self.runs() {
            if let Some(dir) = run.dir
                && self.ns.find(dir)?.is_none()
            {
                self.run_died(id, run.path)?;
            }
        }
        Ok(())
    }

    /// The run at `dir`, if it is one, is about to lose its directory: what it will be recorded as.
    pub(super) fn run_dying(&self, dir: Ino) -> Result<Option<(RunId, String)>> {
        match self.run_at(dir) {
            None => Ok(None),
            Some((id, _)) => Ok(Some((id, path_text(&self.dir_path(dir)?)))),
        }
    }

    /// The directory of a run is gone: its history stays, from now on by its path alone.
    pub(super) fn run_died(&self, id: RunId, path: String) -> Result<()> {
        let now = Time::now().secs;
        self.change_run(id, |run| {
            (run.dir, run.path, run.deleted_at) = (None, path, Some(now));
        })
        .map(drop)
    }
}
