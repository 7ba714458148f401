//! From what a person names to a run and a version.
//!
//! Order: a path through the virtual directory names the run of what is before it; else the innermost run at or above the
//! path, whether its directory is there or was deleted. A path that leads nowhere is refused unless a deleted run was there:
//! a mistyped name never means the run above it.

use super::Target;
use crate::base::{Error, Result};
use crate::catalog::keys::{Ino, ROOT, RunId};
use crate::engine::Engine;
use crate::version::chosen::{Chosen, Names};
use crate::version::record::{Run, Version, path_bytes, path_text};

/// Runs that a message lists.
const LISTED_MAX: usize = 8;

/// A run that was found.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) id: RunId,
    pub(super) record: Run,
    /// Its path, as it is shown.
    pub(super) path: String,
    /// The version that the path names.
    version: Option<String>,
    /// The names that lead on from the run's directory to what the path names.
    pub(super) below: Names,
}

/// A path as people see it: that of the root is `/`.
pub fn shown(path: &str) -> String {
    if path.is_empty() { "/".to_owned() } else { path.to_owned() }
}

/// The run that `target` means.
pub(super) fn run(engine: &Engine, target: &Target) -> Result<Found> {
    match target {
        Target::Path(path) => at_path(engine, path)?.ok_or_else(|| {
            let runs = the_runs(engine, path.trim_matches('/'));
            Error::Refused(format!("'{}' is in no run; {runs}", shown(path)))
        }),
        Target::Run(path) => {
            let path = path.trim_matches('/');
            by_path(engine, path).map(|(id, record)| found(engine, id, record)).ok_or_else(|| {
                Error::Refused(format!("no run has the path '{}'; {}", shown(path), the_runs(engine, "")))
            })
        }
        Target::Only => {
            let mut runs = engine.runs();
            match (runs.pop(), runs.is_empty()) {
                (Some((id, record)), true) => Ok(found(engine, id, record)),
                (None, _) => Err(Error::Refused(
                    "there are no runs yet; one is made by the first checkpoint, or by: ckptfs run add"
                        .into(),
                )),
                _ => Err(Error::Refused(format!("name one run with --run; {}", the_runs(engine, "")))),
            }
        }
    }
}

/// The run that `target` means; `None` for a path that exists and is in no run.
pub(super) fn run_if_any(engine: &Engine, target: &Target) -> Result<Option<Found>> {
    match target {
        Target::Path(path) => at_path(engine, path),
        _ => run(engine, target).map(Some),
    }
}

/// What `target` means for a command on what is in a version: a path that leads nowhere any more means what is in the
/// innermost run above it.
pub(super) fn part(engine: &Engine, target: &Target) -> Result<Found> {
    let nowhere = match (run(engine, target), target) {
        (Err(error), Target::Path(path)) => (error, path),
        (found, _) => return found,
    };
    let (error, path) = nowhere;
    let names = names_of(path);
    let walked = walk(engine, &names)?;
    let live =
        |depth: usize| walked.dirs.get(depth).and_then(|dir| engine.run_at(*dir)).map(|run| (depth, run));
    let (depth, (id, record)) = (0..walked.dirs.len()).rev().find_map(live).ok_or(error)?;
    let below = names.get(depth..).unwrap_or_default().to_vec();
    Ok(Found { below, ..found(engine, id, record) })
}

fn found(engine: &Engine, id: RunId, record: Run) -> Found {
    Found { path: shown(&engine.run_path(&record)), id, record, version: None, below: Names::new() }
}

/// The run whose path is `path`: a live one, else the newest of the deleted.
fn by_path(engine: &Engine, path: &str) -> Option<(RunId, Run)> {
    let live = engine.runs().into_iter().find(|(_, run)| run.dir.is_some() && engine.run_path(run) == path);
    live.or_else(|| engine.dead_run_at(path))
}

/// The directory that `target` means, which need not be a run.
pub(super) fn directory(engine: &Engine, target: &Target) -> Result<Ino> {
    let (Target::Path(path) | Target::Run(path)) = target else {
        return match engine.runs().as_slice() {
            [(_, Run { dir: Some(dir), .. })] => Ok(*dir),
            _ => run(engine, target).and_then(|found| {
                let gone = format!("the run {} is deleted; there is no directory", found.path);
                found.record.dir.ok_or(Error::Refused(gone))
            }),
        };
    };
    let names = names_of(path);
    let walked = walk(engine, &names)?;
    match walked.dirs.last() {
        Some(dir) if walked.whole => Ok(*dir),
        _ => Err(nowhere(engine, path)),
    }
}

/// The run at or above `path`; `None` when what is there is in no run.
fn at_path(engine: &Engine, path: &str) -> Result<Option<Found>> {
    let names = names_of(path);
    let snapdir = engine.history_options().snapdir_name.as_bytes();
    if let Some(at) = names.iter().position(|name| name == snapdir) {
        let (before, after) = (names.get(..at).unwrap_or_default(), names.get(at + 1..).unwrap_or_default());
        return through_snapdir(engine, before, after, path).map(Some);
    }
    let walked = walk(engine, &names)?;
    // Of a path that leads nowhere only what is missing can be a deleted run.
    let least = if walked.whole { 0 } else { walked.dirs.len() };
    for depth in (least..=names.len()).rev() {
        let live = walked.dirs.get(depth).and_then(|dir| engine.run_at(*dir));
        let here = || engine.dead_run_at(&join(names.get(..depth).unwrap_or_default()));
        if let Some((id, record)) = live.or_else(here) {
            let below = names.get(depth..).unwrap_or_default().to_vec();
            return Ok(Some(Found { below, ..found(engine, id, record) }));
        }
    }
    if walked.whole { Ok(None) } else { Err(nowhere(engine, path)) }
}

/// `before` leads to a directory, `after` follows the name of the virtual directory.
fn through_snapdir(engine: &Engine, before: &[Vec<u8>], after: &[Vec<u8>], path: &str) -> Result<Found> {
    let words: Vec<String> = after.iter().map(|name| path_text(name)).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    // What follows the version's name leads on from the directory that it was looked up in.
    let base = |version: &str, further: usize| {
        let base = run(engine, &Target::Path(join(before)))?;
        let below = base.below.iter().chain(after.iter().skip(further)).cloned().collect();
        Ok(Found { version: Some(version.to_owned()), below, ..base })
    };
    match words.as_slice() {
        [] => run(engine, &Target::Path(join(before))),
        [".runs", below @ ..] => {
            let full: Vec<Vec<u8>> = before.iter().chain(after.iter().skip(1)).cloned().collect();
            for depth in (before.len() + 1..=full.len()).rev() {
                if let Some((id, record)) = by_path(engine, &join(full.get(..depth).unwrap_or_default())) {
                    let version = below.get(depth - before.len()).map(|name| (*name).to_owned());
                    let below = full.get(depth + 1..).unwrap_or_default().to_vec();
                    return Ok(Found { version, below, ..found(engine, id, record) });
                }
            }
            Err(nowhere(engine, path))
        }
        ["by-tag", tag, ..] => base(tag, 2),
        [name, ..] if !name.starts_with('.') && !name.starts_with("by-") => base(name, 1),
        _ => Err(Error::Refused(format!("'{path}' names no version; give its number"))),
    }
}

/// The directory that these names lead to, if there is one.
pub(super) fn directory_of(engine: &Engine, names: &[Vec<u8>]) -> Option<Ino> {
    let walked = walk(engine, names).ok()?;
    walked.dirs.last().copied().filter(|_| walked.dirs.len() == names.len() + 1)
}

/// How far a path leads.
struct Walked {
    /// The root and every directory on the way.
    dirs: Vec<Ino>,
    /// The path exists.
    whole: bool,
}

fn walk(engine: &Engine, names: &[Vec<u8>]) -> Result<Walked> {
    let (mut dirs, mut at) = (vec![ROOT], ROOT);
    for (depth, name) in names.iter().enumerate() {
        match engine.names().entry(at, name)? {
            None => return Ok(Walked { dirs, whole: false }),
            Some(entry) if entry.kind == libc::S_IFDIR => {
                at = entry.ino;
                dirs.push(at);
            }
            // A file means the directory that it is in.
            Some(_) => return Ok(Walked { dirs, whole: depth + 1 == names.len() }),
        }
    }
    Ok(Walked { dirs, whole: true })
}

/// The names of a path.
pub(super) fn names_of(path: &str) -> Vec<Vec<u8>> {
    let bytes = path_bytes(path);
    bytes.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect()
}

fn join(names: &[Vec<u8>]) -> String {
    path_text(&names.join(&b'/'))
}

fn nowhere(engine: &Engine, path: &str) -> Error {
    Error::Refused(format!(
        "'{}' does not exist, and no run was there; {}",
        shown(path),
        the_runs(engine, "")
    ))
}

/// The runs at and below `path`, in words.
fn the_runs(engine: &Engine, path: &str) -> String {
    let is_below = |run: &str| {
        path.is_empty() || run == path || run.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'))
    };
    let all: Vec<String> =
        engine.runs().iter().map(|(_, run)| engine.run_path(run)).filter(|run| is_below(run)).collect();
    let names: Vec<String> = all.iter().take(LISTED_MAX).map(|run| shown(run)).collect();
    match (all.len(), all.len().saturating_sub(LISTED_MAX)) {
        (0, _) if path.is_empty() => "there are no runs yet".to_owned(),
        (0, _) => "there is none below it either; see: ckptfs run list".to_owned(),
        (_, 0) => format!("the runs are: {}", names.join(", ")),
        (_, more) => format!("the runs are: {} and {more} more; see: ckptfs run list", names.join(", ")),
    }
}

/// What a command says when the version that it was for is about to go.
pub(super) fn gone(error: Error, number: u32, path: &str) -> Error {
    match error {
        Error::Errno(libc::ENOENT) => Error::Refused(format!(
            "version {number:06} of {path} is removed already; see: ckptfs log --removed"
        )),
        other => other,
    }
}

impl Found {
    /// Whether the path leads through a version.
    pub(super) fn names_version(&self) -> bool {
        self.version.is_some()
    }

    /// The paths that are meant: those in `only`, below what the path names.
    pub(super) fn chosen(&self, only: &[String]) -> Result<Chosen> {
        let below = |path: &String| self.below.iter().cloned().chain(names_of(path)).collect();
        Chosen::new(if only.is_empty() { vec![self.below.clone()] } else { only.iter().map(below).collect() })
    }

    /// The number of the version that `name` means, or else the path.
    pub(super) fn number(&self, engine: &Engine, name: Option<String>) -> Result<u32> {
        let name = name.or_else(|| self.version.clone());
        let name = name.ok_or_else(|| {
            Error::Refused("no version is named; give a number, latest, newest, best or a tag".into())
        })?;
        if name.bytes().all(|byte| byte.is_ascii_digit()) && !name.is_empty() {
            let all = engine.all_versions(self.id)?;
            let number = name.parse().ok().filter(|number| all.iter().any(|one| one.number == *number));
            return number.ok_or_else(|| self.no_version(&name, &all));
        }
        let all = engine.versions(self.id)?;
        let number = match name.as_str() {
            "newest" => all.last().map(|version| version.number),
            "latest" => all.iter().rev().find(|version| version.is_good()).map(|version| version.number),
            "best" => engine.best_version(self.id)?,
            tag => all.iter().find(|one| one.tags.iter().any(|other| other == tag)).map(|one| one.number),
        };
        number.ok_or_else(|| self.no_version(&name, &all))
    }

    fn no_version(&self, name: &str, all: &[Version]) -> Error {
        let run = &self.path;
        let (Some(first), Some(last)) = (all.first(), all.last()) else {
            return Error::Refused(format!("the run {run} has no versions yet"));
        };
        if name == "best" {
            return Error::Refused(format!(
                "the run {run} has no best version; its policy needs monitor, and a version that metric: ckptfs policy set"
            ));
        }
        let kind = if name == "latest" { "complete and valid version" } else { "version" };
        Error::Refused(format!(
            "the run {run} has no {kind} '{name}'; it has {} to {}: ckptfs log",
            first.number, last.number
        ))
    }
}
