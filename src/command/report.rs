//! `report`: all of the history that a page about it shows, in the words of the other commands.
//!
//! Bounded whatever there is: only the newest versions of a run are compared with the ones before them, only the newest is
//! shown inside, and of a file's tensors so many; what is left out is counted.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::answer::{Answer, Logged, Setting};
use super::select::{self, shown};
use super::{Target, log, policy};
use crate::base::monitor::{Monitor, Silent};
use crate::base::{Error, Result};
use crate::catalog::keys::RunId;
use crate::engine::Engine;
use crate::engine::history::inside::{Compared, FileDiff, FileInside};
use crate::engine::inspect::{Disk, Rows};
use crate::inspect::{Savings, Share};
use crate::version::record::Run;

/// Versions of a run that are compared with the ones before them.
const COMPARED_MAX: usize = 200;
/// Files of a version that are listed.
const FILES_MAX: usize = 1000;
/// Tensors of a file that are listed: of a difference, and of the newest version.
const DIFFERENT_MAX: usize = 64;
const TENSORS_MAX: usize = 10_000;

/// The history of a store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// From the bytes of all files to those of the packs.
    pub saved: Savings,
    /// Bytes of files that are not sealed yet: they are hot only.
    pub hot_only_bytes: u64,
    /// What the disk holds.
    pub disk: Disk,
    /// Its runs, in the order of their paths.
    pub runs: Vec<ReportedRun>,
}

/// The history of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReportedRun {
    /// Its path; of a deleted one its last.
    pub run: String,
    /// Its directory was deleted.
    pub deleted: bool,
    /// The metric that its policy goes by.
    pub monitor: Option<String>,
    /// The best version by that.
    pub best: Option<u32>,
    /// Every setting of its policy.
    pub settings: Vec<Setting>,
    /// Why the settings make no sense together; until they do, all versions are kept.
    pub wrong: Option<String>,
    /// Its versions, newest first.
    pub versions: Vec<ReportedVersion>,
    /// What is inside the newest.
    pub inside: Option<InsideNewest>,
}

/// A version of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReportedVersion {
    /// As `log` tells of it.
    #[serde(flatten)]
    pub logged: Logged,
    /// What it has of the store.
    pub share: Option<Share>,
    /// What differs from the version before.
    pub diff: Option<Neighbours>,
}

/// What differs between a version and the one before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Neighbours {
    /// The number of the version before.
    pub against: u32,
    /// Files that are the same in both.
    pub same_files: u64,
    /// Files that differ.
    pub files: Vec<ReportedFile<FileDiff>>,
    /// Files that are left out.
    pub more_files: u64,
}

/// What is inside the newest version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InsideNewest {
    /// Its number.
    pub number: u32,
    /// Its files.
    pub files: Vec<ReportedFile<FileInside>>,
    /// Files that are left out.
    pub more_files: u64,
}

/// A file as another command tells of it, with fewer tensors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReportedFile<F> {
    /// The file.
    #[serde(flatten)]
    pub file: F,
    /// Tensors that are left out.
    pub more_tensors: u64,
}

pub(super) fn report(engine: &Engine, at: Option<&Target>, monitor: &dyn Monitor) -> Result<Answer> {
    let one = match at {
        None => None,
        // A store of which no run is named: all.
        Some(Target::Only) if engine.runs().len() != 1 => None,
        Some(target) => select::run_if_any(engine, target)?.map(|run| run.id),
    };
    let stats = engine.stats(one.map_or(Rows::Versions, Rows::Of), monitor)?;
    let shares: HashMap<(RunId, u32), Share> =
        stats.versions.into_iter().map(|(run, version, share)| ((run, version.number), share)).collect();
    let asked: Vec<(RunId, Run)> =
        engine.runs().into_iter().filter(|(id, _)| one.is_none_or(|one| one == *id)).collect();
    monitor.begin("comparing versions with their neighbours (runs)", asked.len() as u64);
    let mut runs = Vec::with_capacity(asked.len());
    for (id, run) in asked {
        runs.push(reported_run(engine, id, &run, &shares)?);
        monitor.advance(runs.len() as u64);
    }
    runs.sort_by(|one, other| (&one.run, one.deleted).cmp(&(&other.run, other.deleted)));
    Ok(Answer::Report(Box::new(Report {
        saved: stats.savings,
        hot_only_bytes: stats.hot_only_bytes,
        disk: stats.disk,
        runs,
    })))
}

fn reported_run(
    engine: &Engine,
    id: RunId,
    run: &Run,
    shares: &HashMap<(RunId, u32), Share>,
) -> Result<ReportedRun> {
    let logged = log::logged(engine, id, usize::MAX, false)?;
    let newest = logged.first().map(|newest| newest.version.number);
    let before: Vec<u32> = logged.iter().skip(1).map(|logged| logged.version.number).collect();
    let mut versions = Vec::with_capacity(logged.len());
    for (at, logged) in logged.into_iter().enumerate() {
        let number = logged.version.number;
        let diff = match before.get(at).filter(|_| at < COMPARED_MAX) {
            Some(before) => or_gone(neighbours(engine, id, *before, number))?,
            None => None,
        };
        versions.push(ReportedVersion { share: shares.get(&(id, number)).copied(), logged, diff });
    }
    let inside = match newest {
        Some(number) => or_gone(inside(engine, id, number))?,
        None => None,
    };
    let shown_policy = policy::show(None, &engine.mount_policy(), &run.settings);
    Ok(ReportedRun {
        run: shown(&engine.run_path(run)),
        deleted: run.deleted_at.is_some(),
        monitor: engine.policy_of(run).monitor,
        best: engine.best_version(id)?,
        settings: shown_policy.settings,
        wrong: shown_policy.wrong,
        versions,
        inside,
    })
}

/// `None` for a version that has gone meanwhile.
fn or_gone<T>(found: Result<T>) -> Result<Option<T>> {
    match found {
        Err(Error::Errno(libc::ENOENT)) => Ok(None),
        other => other.map(Some),
    }
}

fn neighbours(engine: &Engine, run: RunId, before: u32, number: u32) -> Result<Neighbours> {
    let compared = engine.compare_versions((run, before), (run, number), &[], false, &Silent)?;
    let Compared { files, same_files, .. } = compared.2;
    let more_files = files.len().saturating_sub(FILES_MAX) as u64;
    let fewer = |mut file: FileDiff| {
        let more_tensors = cut(&mut file.tensors, DIFFERENT_MAX);
        ReportedFile { file, more_tensors }
    };
    let files = files.into_iter().take(FILES_MAX).map(fewer).collect();
    Ok(Neighbours { against: before, same_files, files, more_files })
}

fn inside(engine: &Engine, run: RunId, number: u32) -> Result<InsideNewest> {
    let (_, files) = engine.look_inside(run, number, &[], true, &Silent)?;
    let more_files = files.len().saturating_sub(FILES_MAX) as u64;
    let fewer = |mut file: FileInside| {
        let more_tensors = cut(&mut file.tensors, TENSORS_MAX);
        ReportedFile { file, more_tensors }
    };
    Ok(InsideNewest { number, files: files.into_iter().take(FILES_MAX).map(fewer).collect(), more_files })
}

/// Leaves the first `most`; how many went.
fn cut<T>(list: &mut Vec<T>, most: usize) -> u64 {
    let more = list.len().saturating_sub(most);
    list.truncate(most);
    more as u64
}
