//! `.runs`: the histories of the runs below a directory, deleted ones too, by their paths.
//!
//! A run that others are below is both: its versions, and the directories that lead on. Where two runs have one path (a
//! directory was renamed to where a deleted one had been) the live one has it, and the other `~` and its number behind.
//! A directory that no longer lives is open to its owner alone: who was let into it is not known any more.

use std::collections::{BTreeMap, BTreeSet};

use super::Browser;
use super::access::Owner;
use super::home::live;
use super::node::{Home, Names, Node, Row, View};
use crate::base::{Error, Result};
use crate::catalog::keys::{Ino, RunId};
use crate::version::record::path_bytes;

/// The names of a path.
fn names_of(path: &[u8]) -> Names {
    path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect()
}

impl Browser {
    /// The path of the directory that a home belongs to.
    fn base(&self, home: &Home) -> Result<Names> {
        let Some(id) = home.way.last() else { return Ok(names_of(&self.engine.dir_path(home.dir)?)) };
        let run = self.engine.run(*id).ok_or(Error::Errno(libc::ENOENT))?;
        Ok(names_of(&path_bytes(&self.engine.run_path(&run))))
    }

    /// Every run below a home's directory, by the names that lead to it from there.
    fn runs_below(&self, home: &Home) -> Result<BTreeMap<Names, RunId>> {
        let base = self.base(home)?;
        let mut runs = self.engine.runs();
        // Live ones first, then those deleted last.
        runs.sort_by_key(|(id, run)| (run.dir.is_none(), std::cmp::Reverse((run.deleted_at, *id))));
        let mut below = BTreeMap::new();
        for (id, run) in runs {
            let path = names_of(&path_bytes(&self.engine.run_path(&run)));
            let Some(names) = path.strip_prefix(base.as_slice()).filter(|names| !names.is_empty()) else {
                continue;
            };
            let mut names = names.to_vec();
            if below.contains_key(&names)
                && let Some(last) = names.last_mut()
            {
                last.extend(format!("~{id}").into_bytes());
            }
            below.insert(names, id);
        }
        Ok(below)
    }

    /// What `name` is in `.runs/NAMES`.
    pub(super) fn in_runs(&self, home: &Home, names: &[Vec<u8>], name: &[u8]) -> Result<Option<Node>> {
        let path: Names = names.iter().cloned().chain([name.to_vec()]).collect();
        let below = self.runs_below(home)?;
        if let Some(run) = below.get(&path) {
            return Ok(Some(Node::Home(home.below(*run))));
        }
        let leads_on = below.keys().any(|names| names.starts_with(&path));
        Ok(leads_on.then(|| Node::View(home.clone(), View::Runs(path))))
    }

    /// All names in `.runs/NAMES`.
    pub(super) fn rows_of_runs(&self, home: &Home, names: &[Vec<u8>]) -> Result<Vec<Row>> {
        let below = self.runs_below(home)?;
        let next: BTreeSet<&Vec<u8>> = below
            .keys()
            .filter(|path| path.starts_with(names))
            .filter_map(|path| path.get(names.len()))
            .collect();
        let row = |name: &Vec<u8>| {
            let path: Names = names.iter().cloned().chain([name.clone()]).collect();
            let node = match below.get(&path) {
                Some(run) => Node::Home(home.below(*run)),
                None => Node::View(home.clone(), View::Runs(path)),
            };
            Row { name: name.clone(), node }
        };
        Ok(next.into_iter().map(row).collect())
    }

    /// The `.runs` through which a home was entered, and its names there; `None` for that of a live directory.
    fn entered_by(&self, home: &Home) -> Result<Option<(Home, Names)>> {
        let (Some(above), Some(id)) = (home.above(), home.way.last()) else { return Ok(None) };
        let names = self.runs_below(&above)?.into_iter().find(|(_, run)| run == id);
        Ok(names.map(|(names, _)| (above, names)))
    }

    /// What `name` is beside the versions of a run that was entered through `.runs`: what is below it.
    pub(super) fn run_in_run(&self, home: &Home, name: &[u8]) -> Result<Option<Node>> {
        match self.entered_by(home)? {
            Some((above, names)) => self.in_runs(&above, &names, name),
            None => Ok(None),
        }
    }

    /// All names that [`run_in_run`](Self::run_in_run) finds.
    pub(super) fn rows_of_runs_in_run(&self, home: &Home) -> Result<Vec<Row>> {
        match self.entered_by(home)? {
            Some((above, names)) => self.rows_of_runs(&above, &names),
            None => Ok(Vec::new()),
        }
    }

    /// Owner and permissions of `.runs/NAMES`.
    pub(super) fn owner_of_runs(&self, home: &Home, names: &[Vec<u8>]) -> Result<Owner> {
        let mut at = match home.way.last() {
            None => Some(home.dir),
            Some(id) => self.engine.run(*id).and_then(|run| run.dir),
        };
        for name in names {
            at = match at {
                Some(dir) => self.live_dir(dir, name)?,
                None => None,
            };
        }
        if names.is_empty() {
            return self.owner(home);
        }
        if let Some(dir) = at
            && let Some(dir) = self.engine.ns.find(dir)?
        {
            return Ok(live(&dir));
        }
        let below = self.runs_below(home)?.into_iter().find(|(path, _)| path.starts_with(names));
        let (_, run) = below.ok_or(Error::Errno(libc::ENOENT))?;
        Ok(self.owner(&home.below(run))?.private())
    }

    fn live_dir(&self, dir: Ino, name: &[u8]) -> Result<Option<Ino>> {
        let entry = self.engine.ns.entry(dir, name)?;
        Ok(entry.filter(|entry| entry.kind == libc::S_IFDIR).map(|entry| entry.ino))
    }
}
