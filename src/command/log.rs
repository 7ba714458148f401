//! `log`: the versions of a run and why each is kept.

use std::collections::HashMap;

use super::answer::{Answer, Log, Logged};
use super::{Target, select};
use crate::base::Result;
use crate::base::clock::rfc3339;
use crate::catalog::keys::RunId;
use crate::engine::Engine;

pub(super) fn log(engine: &Engine, at: &Target, limit: Option<u64>, removed: bool) -> Result<Answer> {
    let run = select::run(engine, at)?;
    let (id, monitor) = (run.id, engine.policy_of(&run.record).monitor);
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    Ok(Answer::Log(Log { run: run.path, monitor, versions: logged(engine, id, limit, removed)? }))
}

/// The versions of a run, newest first, at most `limit`.
pub(super) fn logged(engine: &Engine, run: RunId, limit: usize, removed: bool) -> Result<Vec<Logged>> {
    let plan = engine.plan(run)?;
    let plan: HashMap<u32, _> = plan.into_iter().map(|verdict| (verdict.number, verdict)).collect();
    let all = if removed { engine.all_versions(run)? } else { engine.versions(run)? };
    let versions = all.into_iter().rev().take(limit).map(|version| {
        let verdict = plan.get(&version.number);
        let kept_by = verdict.map(|verdict| verdict.keep.iter().map(ToString::to_string).collect());
        let goes = match &version.expired {
            Some(expired) => expired.why.clone(),
            None => verdict.map(|verdict| verdict.because.clone()).unwrap_or_default(),
        };
        Logged { utc: rfc3339(version.moment()), kept_by: kept_by.unwrap_or_default(), goes, version }
    });
    Ok(versions.collect())
}
