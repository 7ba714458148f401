//! The commands on history, each written once: a question with its arguments, an answer with its fields, and what lies
//! between, on an open store.
//!
//! The control socket only carries questions and answers; a store that is not mounted is opened for one question and
//! closed again. Order of a question that changes something: it is judged, the change is on record, the record is durable,
//! then it is answered. Names in answers are stable: `--json` prints them.

mod answer;
mod diff;
mod export;
mod import;
mod log;
mod policy;
mod prune;
mod report;
mod restore;
mod runs;
mod select;
mod show;
mod stats;
mod versions;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use crate::base::monitor::Monitor;
use crate::base::{Error, Result};
use crate::engine::Engine;
pub use answer::{
    Answer, ChangeShown, Changed, Imported, Log, Logged, Planned, PlannedRun, PolicyShown, PurgedRun,
    RestoredShown, RunInfo, RunShare, Setting, Source, StatsShown, VersionShare,
};
pub use diff::{Diff, Side};
pub use export::{Export, Exported, export};
pub use import::Import;
pub use report::{InsideNewest, Neighbours, Report, ReportedFile, ReportedRun, ReportedVersion};
pub use select::shown;
pub use show::Shown;

/// The longest question, as JSON in bytes: the longest path, and every setting with the longest value.
pub const COMMAND_BYTES_MAX: usize = 128 << 10;

/// Which run is meant. Paths are below the mount, as [`path_text`](crate::version::record::path_text) writes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// The run at this path or the innermost above it; a path through `.snapshots` may name a version too.
    Path(String),
    /// The run whose path this is.
    Run(String),
    /// The only run there is.
    Only,
}

/// A version of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pick {
    /// The run.
    pub at: Target,
    /// The version.
    pub version: Option<String>,
}

/// A question. A `version` is a number, `latest`, `newest`, `best` or a tag; `None` where the path names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Command {
    /// Lists versions, newest first.
    Log {
        /// Of which run.
        at: Target,
        /// At most so many.
        limit: Option<u64>,
        /// Those that were removed and are still there too.
        removed: bool,
    },
    /// Tells what is inside a version.
    Show {
        /// Which one.
        of: Pick,
        /// Paths below the run; none = all files.
        only: Vec<String>,
        /// The tensors of each file, too.
        tensors: bool,
    },
    /// Tells what differs between two versions.
    Diff {
        /// The earlier one.
        before: Pick,
        /// The later one.
        after: Pick,
        /// Paths below the runs; none = all files.
        only: Vec<String>,
        /// The numbers of tensors that changed are compared, too.
        values: bool,
    },
    /// Makes a version now.
    Snapshot {
        /// Of which run; a directory in none becomes one.
        at: Target,
        /// Its tag.
        tag: Option<String>,
    },
    /// Gives a version a tag.
    Tag {
        /// The run.
        at: Target,
        /// The version.
        version: Option<String>,
        /// The tag.
        name: String,
    },
    /// Takes a tag off.
    Untag {
        /// The run.
        at: Target,
        /// The tag.
        name: String,
    },
    /// Pins a version, or takes its pin off.
    Pin {
        /// The run.
        at: Target,
        /// The version.
        version: Option<String>,
        /// Pinned from now on.
        on: bool,
    },
    /// Removes a version.
    Expire {
        /// The run.
        at: Target,
        /// The version.
        version: Option<String>,
    },
    /// Takes a removed version back.
    Undelete {
        /// The run.
        at: Target,
        /// The version.
        version: Option<String>,
    },
    /// Brings a version back.
    Restore(Bring),
    /// Makes a version a new run.
    Clone {
        /// The run that has it.
        at: Target,
        /// The version.
        version: Option<String>,
        /// The new run's path below the mount.
        to: String,
    },
    /// Takes a checkpoint in from outside.
    Import(Import),
    /// Ends the history of a run.
    Purge {
        /// The run.
        at: Target,
        /// Tagged and pinned versions too.
        all: bool,
    },
    /// Makes a directory a run.
    RunAdd {
        /// The directory.
        at: Target,
    },
    /// Lists all runs.
    RunList,
    /// Makes no more versions of a run.
    RunForget {
        /// The run.
        at: Target,
    },
    /// Shows a policy.
    PolicyGet {
        /// The run; `None` = that of the mount.
        at: Option<Target>,
    },
    /// Changes a policy.
    PolicySet {
        /// The run; `None` = that of the mount, in the store's `config.toml` too.
        at: Option<Target>,
        /// Names and values.
        settings: Vec<(String, String)>,
    },
    /// Shows what the policy says of every version, and does it.
    Prune {
        /// The run; `None` = all runs.
        at: Option<Target>,
        /// Show only.
        dry_run: bool,
    },
    /// Looks at everything that the store holds.
    Check {
        /// At every byte.
        read_data: bool,
        /// Mend what can be mended. Not while the store is mounted.
        repair: bool,
    },
    /// Tells everything of the history that a page about it shows.
    Report {
        /// Of which run; `None` = all runs.
        at: Option<Target>,
    },
    /// Tells where the bytes are, and what saved the rest.
    Stats {
        /// The run whose versions are told of; `None` = all runs.
        at: Option<Target>,
    },
}

/// How a version is to be brought back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bring {
    /// The run, and what of it.
    pub at: Target,
    /// The version; `None` where the path names it.
    pub version: Option<String>,
    /// Only these paths, below what `at` names; none = all.
    pub only: Vec<String>,
    /// Beside: the path below the mount of a directory that is made. `None` = in place.
    pub to: Option<String>,
    /// Show only.
    pub dry_run: bool,
    /// What the version has not stays.
    pub keep: bool,
    /// Files that are open for writing too.
    pub force: bool,
}

impl Command {
    /// Whether it may change the store.
    pub fn changes(&self) -> bool {
        !matches!(
            self,
            Command::Log { .. }
                | Command::Show { .. }
                | Command::Diff { .. }
                | Command::RunList
                | Command::PolicyGet { .. }
                | Command::Prune { dry_run: true, .. }
                | Command::Restore(Bring { dry_run: true, .. })
                | Command::Stats { .. }
                | Command::Report { .. }
                | Command::Check { .. }
        )
    }

    /// Whether it needs the threads that make versions.
    pub fn needs_workers(&self) -> bool {
        matches!(
            self,
            Command::Snapshot { .. }
                | Command::Clone { .. }
                | Command::Import(_)
                | Command::Restore(Bring { dry_run: false, .. })
        )
    }
}

/// Answers `command` on an open store. What it changed is durable when this returns. `monitor` hears of work that takes long.
pub fn execute(engine: &Engine, command: Command, monitor: &dyn Monitor) -> Result<Answer> {
    if !command.changes() {
        return answer(engine, command, monitor);
    }
    let changed = || {
        engine.check_writable()?;
        let answer = answer(engine, command, monitor)?;
        engine.sync_names()?;
        Ok(answer)
    };
    changed().map_err(|error: Error| match error.errno() {
        libc::ENOSPC | libc::EDQUOT => Error::Refused(format!(
            "no room on the disk of {}; free some and give the command again ({error})",
            engine.store().display()
        )),
        _ => error,
    })
}

fn answer(engine: &Engine, command: Command, monitor: &dyn Monitor) -> Result<Answer> {
    Ok(match command {
        Command::Log { at, limit, removed } => log::log(engine, &at, limit, removed)?,
        Command::Show { of, only, tensors } => show::show(engine, of, only, tensors, monitor)?,
        Command::Diff { before, after, only, values } => {
            diff::diff(engine, (before, after), &only, values, monitor)?
        }
        Command::Snapshot { at, tag } => versions::snapshot(engine, &at, tag)?,
        Command::Tag { at, version, name } => versions::tag(engine, &at, version, &name)?,
        Command::Untag { at, name } => versions::untag(engine, &at, &name)?,
        Command::Pin { at, version, on } => versions::pin(engine, &at, version, on)?,
        Command::Expire { at, version } => versions::expire(engine, &at, version)?,
        Command::Undelete { at, version } => versions::undelete(engine, &at, version)?,
        Command::Restore(bring) => restore::restore(engine, bring, monitor)?,
        Command::Clone { at, version, to } => restore::clone(engine, &at, version, &to, monitor)?,
        Command::Import(import) => import::import(engine, import, monitor)?,
        Command::Purge { at, all } => runs::purge(engine, &at, all)?,
        Command::RunAdd { at } => runs::add(engine, &at)?,
        Command::RunList => runs::list(engine)?,
        Command::RunForget { at } => runs::forget(engine, &at)?,
        Command::PolicyGet { at } => policy::get(engine, at.as_ref())?,
        Command::PolicySet { at, settings } => policy::set(engine, at.as_ref(), &settings)?,
        Command::Prune { at, dry_run } => prune::prune(engine, at.as_ref(), dry_run)?,
        Command::Check { repair: true, .. } => {
            let text = "a mounted store is not repaired; unmount it first (ckptfs unmount MOUNTPOINT)";
            return Err(Error::Refused(text.to_owned()));
        }
        Command::Check { read_data, .. } => Answer::Checked(Box::new(engine.check(read_data, monitor)?)),
        Command::Report { at } => report::report(engine, at.as_ref(), monitor)?,
        Command::Stats { at } => stats::stats(engine, at.as_ref(), monitor)?,
    })
}
