//! `stats`: where the bytes of the store are, and what saved the rest.

use super::Target;
use super::answer::{Answer, RunShare, StatsShown, VersionShare};
use super::select::{self, shown};
use crate::base::Result;
use crate::base::clock::rfc3339;
use crate::base::monitor::Monitor;
use crate::engine::Engine;

pub(super) fn stats(engine: &Engine, at: Option<&Target>, monitor: &dyn Monitor) -> Result<Answer> {
    let run = match at {
        None => None,
        // A store of which no run is named: the only one that it has, or all.
        Some(Target::Only) if engine.runs().len() != 1 => None,
        Some(target) => select::run_if_any(engine, target)?,
    };
    let stats = engine.stats(run.as_ref().map(|run| run.id), monitor)?;
    let versions = stats.versions.into_iter().rev().map(|(version, share)| VersionShare {
        number: version.number,
        utc: rfc3339(version.moment()),
        removed: version.expired.is_some(),
        share,
    });
    let mut runs = Vec::with_capacity(stats.runs.len());
    for (id, share) in stats.runs {
        // One that has gone meanwhile has nothing to show.
        let Some(run) = engine.run(id) else { continue };
        let (path, deleted) = (shown(&engine.run_path(&run)), run.deleted_at.is_some());
        runs.push(RunShare { path, versions: engine.all_versions(id)?.len() as u64, deleted, share });
    }
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
