//! Runs: listed, named by hand, no longer versioned, ended.

use super::Target;
use super::answer::{Answer, PurgedRun, RunInfo};
use super::select::{self, shown};
use crate::base::Result;
use crate::base::clock::{Time, rfc3339};
use crate::catalog::keys::RunId;
use crate::engine::Engine;
use crate::version::record::Run;

pub(super) fn list(engine: &Engine) -> Result<Answer> {
    let mut runs =
        engine.runs().iter().map(|(id, run)| info(engine, *id, run)).collect::<Result<Vec<RunInfo>>>()?;
    runs.sort_by(|a, b| (&a.path, &a.deleted).cmp(&(&b.path, &b.deleted)));
    Ok(Answer::Runs(runs))
}

pub(super) fn add(engine: &Engine, at: &Target) -> Result<Answer> {
    let (id, run) = engine.add_run(select::directory(engine, at)?)?;
    info(engine, id, &run).map(Answer::Run)
}

pub(super) fn forget(engine: &Engine, at: &Target) -> Result<Answer> {
    let found = select::run(engine, at)?;
    let run = engine.forget_run(found.id)?;
    info(engine, found.id, &run).map(Answer::Run)
}

pub(super) fn purge(engine: &Engine, at: &Target, all: bool) -> Result<Answer> {
    let found = select::run(engine, at)?;
    let purged = engine.purge_run(found.id, all)?;
    Ok(Answer::Purged(PurgedRun { run: found.path, gone: purged.gone, kept: purged.kept }))
}

fn info(engine: &Engine, id: RunId, run: &Run) -> Result<RunInfo> {
    let versions = engine.versions(id)?;
    let newest = versions.last();
    Ok(RunInfo {
        path: shown(&engine.run_path(run)),
        versions: versions.len() as u64,
        newest: newest.map(|version| version.number),
        newest_utc: newest.map(|version| rfc3339(version.moment())),
        logical_bytes: newest.map_or(0, |version| version.logical_bytes),
        new_bytes: versions.iter().map(|version| version.new_bytes).sum(),
        by_hand: run.by_hand,
        forgotten: run.forgotten,
        deleted: run.deleted_at.map(|secs| rfc3339(Time { secs, nanos: 0 })),
    })
}
