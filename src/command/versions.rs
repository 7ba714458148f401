//! Versions by hand: made, tagged, pinned, removed, taken back.

use super::Target;
use super::answer::{Answer, Changed};
use super::select::{self, Found, shown};
use crate::base::clock::rfc3339;
use crate::base::{Error, Result};
use crate::engine::Engine;
use crate::engine::history::hand::check_tag;
use crate::version::record::Version;

pub(super) fn snapshot(engine: &Engine, at: &Target, tag: Option<String>) -> Result<Answer> {
    if let Some(tag) = &tag {
        check_tag(tag).map_err(|why| Error::Refused(format!("tag '{tag}' {why}")))?;
    }
    let dir = engine.run_dir_meant(select::directory(engine, at)?)?;
    let path = shown(&crate::version::record::path_text(&engine.dir_path(dir)?));
    let made = engine.snapshot_now(dir, "snapshot", tag.clone()).map_err(|error| match error {
        Error::Errno(libc::EEXIST) => {
            let tag = tag.unwrap_or_default();
            Error::Refused(format!(
                "a version of {path} has the tag '{tag}' already; take it off first: ckptfs untag {tag}"
            ))
        }
        Error::Errno(libc::EOPNOTSUPP) => Error::Refused(format!(
            "the run {path} is forgotten and no longer versioned; take it up again: ckptfs run add"
        )),
        Error::Errno(libc::ENOENT) => {
            Error::Refused(format!("{path} went away while its version was being made"))
        }
        Error::Errno(libc::EINTR) => {
            Error::Refused(format!("the mount ends; the version of {path} is made after the next one"))
        }
        other => other,
    })?;
    let (id, version) = made;
    let record = engine.run(id).unwrap_or_default();
    Ok(changed(engine, path, &record, version))
}

pub(super) fn tag(engine: &Engine, at: &Target, version: Option<String>, name: &str) -> Result<Answer> {
    on_version(engine, at, version, |run, number| engine.tag_version(run, number, name))
}

pub(super) fn untag(engine: &Engine, at: &Target, name: &str) -> Result<Answer> {
    let run = select::run(engine, at)?;
    let version = engine.untag_version(run.id, name)?;
    Ok(changed(engine, run.path, &run.record, version))
}

pub(super) fn pin(engine: &Engine, at: &Target, version: Option<String>, on: bool) -> Result<Answer> {
    on_version(engine, at, version, |run, number| engine.pin_version(run, number, on))
}

pub(super) fn expire(engine: &Engine, at: &Target, version: Option<String>) -> Result<Answer> {
    on_version(engine, at, version, |run, number| engine.remove_version(run, number))
}

pub(super) fn undelete(engine: &Engine, at: &Target, version: Option<String>) -> Result<Answer> {
    on_version(engine, at, version, |run, number| engine.undelete_version(run, number))
}

fn on_version(
    engine: &Engine,
    at: &Target,
    version: Option<String>,
    change: impl FnOnce(u64, u32) -> Result<Version>,
) -> Result<Answer> {
    let run = select::run(engine, at)?;
    let number = run.number(engine, version)?;
    let Found { id, record, path, .. } = run;
    let version = change(id, number).map_err(|error| select::gone(error, number, &path))?;
    Ok(changed(engine, path, &record, version))
}

fn changed(engine: &Engine, run: String, record: &crate::version::record::Run, version: Version) -> Answer {
    let undelete_seconds = engine.policy_of(record).undelete_ttl.as_secs();
    let utc = rfc3339(version.moment());
    Answer::Changed(Box::new(Changed { run, version, utc, undelete_seconds }))
}
