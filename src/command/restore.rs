//! `restore` and `clone`: a version brought back, in place, beside, or as a new run.

use super::answer::{Answer, ChangeShown, Changed, RestoredShown};
use super::select::{self, Found, shown};
use super::{Bring, Target};
use crate::base::clock::rfc3339;
use crate::base::monitor::Monitor;
use crate::base::{Error, Result};
use crate::catalog::keys::Ino;
use crate::engine::Engine;
use crate::engine::history::restore::{How, Restored};

pub(super) fn restore(engine: &Engine, bring: Bring, monitor: &dyn Monitor) -> Result<Answer> {
    let Bring { at, version, only, to, dry_run, keep, force } = bring;
    let run = select::part(engine, &at)?;
    let number = run.number(engine, version)?;
    let how = How { chosen: run.chosen(&only)?, dry_run, keep, force };
    let done = match &to {
        None => engine.restore(run.id, number, &how, monitor).map_err(|error| forgotten(error, &run.path)),
        Some(to) => {
            let (parent, name) = new_directory(engine, to)?;
            engine
                .restore_beside(run.id, number, &how, (parent, &name), monitor)
                .map_err(|error| taken(error, to))
        }
    };
    let done = done.map_err(|error| select::gone(error, number, &run.path))?;
    Ok(Answer::Restored(Box::new(told(run, number, to, dry_run, done))))
}

pub(super) fn clone(
    engine: &Engine,
    at: &Target,
    version: Option<String>,
    to: &str,
    monitor: &dyn Monitor,
) -> Result<Answer> {
    let run = select::run(engine, at)?;
    let number = run.number(engine, version)?;
    let (parent, name) = new_directory(engine, to)?;
    let made = engine.clone_run(run.id, number, (parent, &name), monitor);
    let made = made.map_err(|error| taken(select::gone(error, number, &run.path), to))?;
    match made {
        Ok((id, version)) => {
            let record = engine.run(id).unwrap_or_default();
            let undelete_seconds = engine.policy_of(&record).undelete_ttl.as_secs();
            let utc = rfc3339(version.moment());
            let run = shown(&engine.run_path(&record));
            Ok(Answer::Changed(Box::new(Changed { run, version, utc, undelete_seconds })))
        }
        Err(damaged) => {
            let done = Restored { damaged, ..Restored::default() };
            Ok(Answer::Restored(Box::new(told(run, number, Some(to.to_owned()), false, done))))
        }
    }
}

fn told(run: Found, number: u32, to: Option<String>, dry_run: bool, done: Restored) -> RestoredShown {
    let changes = done.changes.into_iter();
    RestoredShown {
        run: run.path,
        number,
        to: to.map(|to| shown(to.trim_matches('/'))),
        dry_run,
        bytes: done.bytes,
        before: done.before,
        changes: changes
            .map(|change| ChangeShown { path: change.path, what: change.what, bytes: change.bytes })
            .collect(),
        damaged: done.damaged,
    }
}

/// The directory that is to hold `to`, which is not there yet, and its name in it.
fn new_directory(engine: &Engine, to: &str) -> Result<(Ino, Vec<u8>)> {
    let mut names = select::names_of(to);
    let name = names.pop().ok_or_else(|| {
        Error::Refused("the root of the mount is there already; name a new directory".into())
    })?;
    let snapdir = engine.history_options().snapdir_name.as_bytes();
    if names.iter().chain([&name]).any(|name| name == snapdir) {
        return Err(Error::Refused(format!("'{}' is among versions, where nothing is made", shown(to))));
    }
    let parent = select::directory_of(engine, &names).ok_or_else(|| {
        Error::Refused(format!("the directory above '{}' does not exist; make it first: mkdir -p", shown(to)))
    })?;
    Ok((parent, name))
}

fn taken(error: Error, to: &str) -> Error {
    match error {
        Error::Errno(libc::EEXIST) => Error::Refused(format!(
            "'{}' exists; name a directory that does not",
            shown(to.trim_matches('/'))
        )),
        other => other,
    }
}

fn forgotten(error: Error, path: &str) -> Error {
    match error {
        Error::Errno(libc::EOPNOTSUPP) => Error::Refused(format!(
            "the run {path} is forgotten, so the state before could not be kept; take it up again: ckptfs run add"
        )),
        other => other,
    }
}
