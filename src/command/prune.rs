//! `prune`: what the policy says of every version, and doing it.

use std::collections::HashMap;

use super::Target;
use super::answer::{Answer, Planned, PlannedRun};
use super::select::{self, shown};
use crate::base::clock::rfc3339;
use crate::base::{Error, Result};
use crate::catalog::keys::RunId;
use crate::engine::Engine;

pub(super) fn prune(engine: &Engine, at: Option<&Target>, dry_run: bool) -> Result<Answer> {
    let Some(at) = at else {
        let versioned = engine.runs().into_iter().filter(|(_, run)| !run.forgotten);
        let planned = versioned.map(|(id, run)| one(engine, id, shown(&engine.run_path(&run)), dry_run));
        return planned.collect::<Result<_>>().map(Answer::Plan);
    };
    let run = select::run(engine, at)?;
    if run.record.forgotten {
        return Err(Error::Refused(format!(
            "the run {} is forgotten, so its versions stay; end its history with: ckptfs purge",
            run.path
        )));
    }
    one(engine, run.id, run.path, dry_run).map(|planned| Answer::Plan(vec![planned]))
}

fn one(engine: &Engine, id: RunId, run: String, dry_run: bool) -> Result<PlannedRun> {
    let times: HashMap<u32, String> =
        engine.versions(id)?.into_iter().map(|version| (version.number, rfc3339(version.moment()))).collect();
    let versions = engine.plan(id)?.into_iter().rev().map(|verdict| Planned {
        number: verdict.number,
        utc: times.get(&verdict.number).cloned().unwrap_or_default(),
        stays: verdict.stays(),
        kept_by: verdict.keep.iter().map(ToString::to_string).collect(),
        goes: verdict.because,
    });
    let versions = versions.collect();
    let removed = if dry_run { 0 } else { engine.retain(id)? as u64 };
    Ok(PlannedRun { run, versions, removed })
}
