//! `log`: the versions of a run and why each is kept.

use std::collections::HashMap;

use super::answer::{Answer, Log, Logged};
use super::{Target, select};
use crate::base::Result;
use crate::base::clock::rfc3339;
use crate::engine::Engine;

pub(super) fn log(engine: &Engine, at: &Target, limit: Option<u64>, removed: bool) -> Result<Answer> {
    let run = select::run(engine, at)?;
    let plan = engine.plan(run.id)?;
    let plan: HashMap<u32, _> = plan.into_iter().map(|verdict| (verdict.number, verdict)).collect();
    let all = if removed { engine.all_versions(run.id)? } else { engine.versions(run.id)? };
    let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
    let versions = all.into_iter().rev().take(limit).map(|version| {
        let verdict = plan.get(&version.number);
        let kept_by = verdict.map(|verdict| verdict.keep.iter().map(ToString::to_string).collect());
        let goes = match &version.expired {
            Some(expired) => expired.why.clone(),
            None => verdict.map(|verdict| verdict.because.clone()).unwrap_or_default(),
        };
        Logged { utc: rfc3339(version.moment()), kept_by: kept_by.unwrap_or_default(), goes, version }
    });
    let versions = versions.collect();
    Ok(Answer::Log(Log { run: run.path, monitor: engine.policy_of(&run.record).monitor, versions }))
}
