//! `stats`: where the bytes of the store are, and what saved the rest.

use super::Target;
use super::answer::{Answer, RunShare, StatsShown, VersionShare};
use super::select::{self, shown};
use crate::base::Result;
use crate::base::clock::rfc3339;
use crate::base::monitor::Monitor;
use crate::engine::Engine;
use crate::engine::inspect::{OfRun, Rows};

pub(super) fn stats(engine: &Engine, at: Option<&Target>, monitor: &dyn Monitor) -> Result<Answer> {
    let run = match at {
        None => None,
        // A store of which no run is named: the only one that it has, or all.
        Some(Target::Only) if engine.runs().len() != 1 => None,
        Some(target) => select::run_if_any(engine, target)?,
    };
    let rows = run.as_ref().map_or(Rows::Runs, |run| Rows::Of(run.id));
    let stats = engine.stats(rows, monitor)?;
    // A path through a version means that one.
    let only = match &run {
        Some(run) if run.names_version() => Some(run.number(engine, None)?),
        _ => None,
    };
    let asked = stats
        .versions
        .into_iter()
        .rev()
        .filter(|(_, version, _)| only.is_none_or(|one| one == version.number));
    let versions = asked.map(|(_, version, share)| VersionShare {
        number: version.number,
        utc: rfc3339(version.time),
        removed: version.removed,
        share,
    });
    // One that has gone meanwhile has nothing to show.
    let of_run = |of: OfRun| {
        let run = engine.run(of.run)?;
        let (path, deleted) = (shown(&engine.run_path(&run)), run.deleted_at.is_some());
        Some(RunShare { path, versions: of.versions as u64, deleted, share: of.share })
    };
    let mut runs: Vec<RunShare> = stats.runs.into_iter().filter_map(of_run).collect();
    runs.sort_by(|one, other| (&one.path, one.deleted).cmp(&(&other.path, other.deleted)));
    Ok(Answer::Stats(Box::new(StatsShown {
        saved: stats.savings,
        hot_only_bytes: stats.hot_only_bytes,
        disk: stats.disk,
        run: run.map(|run| run.path),
        versions: versions.collect(),
        runs,
        damaged: stats.damaged,
    })))
}
