//! Versions on record: listing, tags, pins, expiry, and what the policy says.
//!
//! A change of a version is one record, made under one lock, so that two of them cannot undo each other. Retention is
//! asked only after a newer version is durable.

use super::super::Engine;
use super::build::Made;
use super::trigger::Wanted;
use crate::base::clock::Time;
use crate::base::{Error, Result};
use crate::catalog::keys::{self, Ino, RunId};
use crate::retention::{Candidate, Missed, Policy, Verdict, best, plan_deleted, plan_since, pressure_ranks};
use crate::version::record::{self, Expired, Run, Version};

/// A version that does not go while this lives.
pub(super) struct Held<'a> {
    engine: &'a Engine,
    run: RunId,
    number: u32,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.engine.let_go_version(self.run, self.number);
    }
}

/// Numbers below the next one that are tried one by one, before all versions are read.
const LOOKED_FOR: usize = 64;

impl Engine {
    /// All versions of a run on record, oldest first, those that are about to go included.
    pub fn all_versions(&self, run: RunId) -> Result<Vec<Version>> {
        let found = self.ns.scan_all(&keys::versions(run))?;
        let parse = |(key, value): &(Vec<u8>, Vec<u8>)| {
            record::decode(value).ok_or_else(|| super::judge::damaged(key))
        };
        found.iter().map(parse).collect()
    }

    /// The versions of a run, oldest first.
    pub fn versions(&self, run: RunId) -> Result<Vec<Version>> {
        let mut all = self.all_versions(run)?;
        all.retain(|version| version.expired.is_none());
        Ok(all)
    }

    /// The last version of a run that is `wanted`; those before it are not read, however many there are.
    pub(super) fn last_version(
        &self,
        run: RunId,
        wanted: impl Fn(&Version) -> bool,
    ) -> Result<Option<Version>> {
        let next = self.run(run).map_or(0, |run| run.next);
        for number in (1..next).rev().take(LOOKED_FOR) {
            if let Some(version) = self.recorded_version(run, number)?.filter(&wanted) {
                return Ok(Some(version));
            }
        }
        Ok(self.all_versions(run)?.into_iter().rfind(wanted))
    }

    /// The newest version of a run.
    pub(super) fn newest_version(&self, run: RunId) -> Result<Option<Version>> {
        self.last_version(run, |version| version.expired.is_none())
    }

    /// Version `number` of a run; `None` when there is none or it is about to go.
    pub fn version(&self, run: RunId, number: u32) -> Result<Option<Version>> {
        Ok(self.recorded_version(run, number)?.filter(|version| version.expired.is_none()))
    }

    pub(super) fn recorded_version(&self, run: RunId, number: u32) -> Result<Option<Version>> {
        let key = keys::version(run, number);
        let Some(bytes) = self.ns.meta().get(&key)? else { return Ok(None) };
        record::decode(&bytes).map(Some).ok_or_else(|| super::judge::damaged(&key))
    }

    /// Makes a version of the run at directory `dir` now, changed or not, and returns it when it is durable.
    ///
    /// `dir` becomes a run if it is none. `EEXIST` when another version of it has the tag.
    pub fn snapshot_now(&self, dir: Ino, trigger: &str, tag: Option<String>) -> Result<(RunId, Version)> {
        self.snapshot_as(dir, Wanted { tag, always: true, ..Wanted::by(trigger) })
    }

    /// [`snapshot_now`](Self::snapshot_now) of the version that is wanted.
    pub(super) fn snapshot_as(&self, dir: Ino, wanted: Wanted) -> Result<(RunId, Version)> {
        self.check_writable()?;
        if let (Some((run, _)), Some(tag)) = (self.run_at(dir), &wanted.tag) {
            self.check_tag_free(run, tag)?;
        }
        let _waiting = self.history.waiting();
        let Some(id) = self.begin_version(dir, wanted)? else { return Err(Error::Errno(libc::EOPNOTSUPP)) };
        match self.history.wait_made(id, &|| self.check_healthy())? {
            Made::Version(run, version) => {
                // The builder has tried, and has told nobody if it failed.
                self.sync_names()?;
                Ok((run, *version))
            }
            Made::Nothing => Err(Error::Errno(libc::ENOENT)),
        }
    }

    /// `EEXIST` when a version of the run has this tag.
    pub fn check_tag_free(&self, run: RunId, tag: &str) -> Result<()> {
        let taken = self.versions(run)?.iter().any(|version| version.tags.iter().any(|other| other == tag));
        if taken { Err(Error::Errno(libc::EEXIST)) } else { Ok(()) }
    }

    /// Somebody reads version `number`: until [`let_go_version`](Self::let_go_version) it does not go.
    pub fn hold_version(&self, run: RunId, number: u32) {
        *self.history.in_use.lock().entry((run, number)).or_default() += 1;
    }

    /// [`hold_version`](Self::hold_version) for as long as the result lives.
    pub(super) fn hold_while(&self, run: RunId, number: u32) -> Held<'_> {
        self.hold_version(run, number);
        Held { engine: self, run, number }
    }

    /// Undoes one [`hold_version`](Self::hold_version).
    pub fn let_go_version(&self, run: RunId, number: u32) {
        let mut in_use = self.history.in_use.lock();
        if let Some(handles) = in_use.get_mut(&(run, number)) {
            *handles -= 1;
            if *handles == 0 {
                in_use.remove(&(run, number));
            }
        }
    }

    /// Whether somebody holds version `number`.
    pub fn is_held_version(&self, run: RunId, number: u32) -> bool {
        self.history.in_use.lock().contains_key(&(run, number))
    }

    /// Changes the record of a version, durably; `ENOENT` if there is none.
    pub fn change_version(
        &self,
        run: RunId,
        number: u32,
        change: impl FnOnce(&mut Version) -> Result<()>,
    ) -> Result<Version> {
        self.check_writable()?;
        let _one = self.history.changing.lock();
        let mut version = self.recorded_version(run, number)?.ok_or(Error::Errno(libc::ENOENT))?;
        change(&mut version)?;
        self.ns.record(vec![(keys::version(run, number), Some(record::encode(&version)))])?;
        Ok(version)
    }

    /// Marks a version as about to go.
    pub fn expire_version(&self, run: RunId, number: u32, by_hand: bool, why: &str) -> Result<Version> {
        let at = Time::now().secs;
        let in_use = self.is_held_version(run, number);
        self.change_version(run, number, |version| {
            if version.expired.is_some() {
                return Err(Error::Errno(libc::ENOENT));
            }
            if version.pinned || !version.tags.is_empty() || in_use {
                return Err(Error::Errno(libc::EBUSY));
            }
            version.expired = Some(Expired { at, by_hand, why: why.to_owned() });
            Ok(())
        })
    }

    /// Deletes the record of a version that has expired, for good; whether it did. Not while somebody reads it, nor once it
    /// was taken back.
    pub(in super::super) fn forget_version(&self, run: RunId, number: u32) -> Result<bool> {
        let _one = self.history.changing.lock();
        let Some(version) = self.recorded_version(run, number)? else { return Ok(false) };
        let in_use = self.history.in_use.lock();
        let is_base = *self.history.based_on.lock() == Some((run, number));
        if version.expired.is_none() || is_base || in_use.contains_key(&(run, number)) {
            return Ok(false);
        }
        self.ns.record(vec![(keys::version(run, number), None)])?;
        Ok(true)
    }

    /// The policy that holds for a run.
    pub fn policy_of(&self, run: &Run) -> Policy {
        run.settings.over(&self.history.policy.lock())
    }

    /// The policy of the mount: of runs without settings of their own.
    pub fn mount_policy(&self) -> Policy {
        self.history.policy.lock().clone()
    }

    /// Replaces the policy of the mount, until the mount ends; one that makes no sense is refused.
    pub fn replace_policy(&self, policy: Policy) -> Result<()> {
        policy.check().map_err(Error::Refused)?;
        *self.history.policy.lock() = policy;
        Ok(())
    }

    /// Changes one setting of the policy of runs without one, until the mount ends.
    pub fn set_policy(&self, name: &str, value: &str) -> Result<()> {
        let mut policy = self.history.policy.lock();
        let mut changed = policy.clone();
        changed.set(name, value).and_then(|()| changed.check()).map_err(Error::Refused)?;
        *policy = changed;
        Ok(())
    }

    /// The versions of a run as retention looks at them.
    fn candidates(&self, id: RunId) -> Result<Vec<Candidate>> {
        let versions = self.versions(id)?;
        let in_use = self.history.in_use.lock();
        let look = |version: &Version| candidate(version, in_use.contains_key(&(id, version.number)));
        Ok(versions.iter().map(look).collect())
    }

    /// The best version of a run by its policy's metric; `None` without a metric, or a version that has it.
    pub fn best_version(&self, id: RunId) -> Result<Option<u32>> {
        let run = self.run(id).ok_or(Error::Errno(libc::ENOENT))?;
        Ok(best(&self.candidates(id)?, &self.policy_of(&run)))
    }

    /// What the policy says of every version of a run now.
    pub fn plan(&self, id: RunId) -> Result<Vec<Verdict>> {
        let run = self.run(id).ok_or(Error::Errno(libc::ENOENT))?;
        let candidates = self.candidates(id)?;
        let (policy, now) = (self.policy_of(&run), Time::now().secs);
        Ok(match run.deleted_at {
            Some(deleted) => plan_deleted(&candidates, deleted, &policy, now),
            None => plan_since(&candidates, &policy, run.kept_at, now),
        })
    }

    /// What of a run goes when space is short, in this order, and how much each is missed.
    pub fn pressure_ranks(&self, id: RunId) -> Result<Vec<(Missed, u32)>> {
        let run = self.run(id).ok_or(Error::Errno(libc::ENOENT))?;
        let (candidates, policy) = (self.candidates(id)?, self.policy_of(&run));
        Ok(pressure_ranks(&candidates, &policy, Time::now().secs, run.deleted_at.is_some()))
    }

    /// Does what the policy says for one run; how many versions go.
    pub fn retain(&self, id: RunId) -> Result<usize> {
        let mut gone = 0;
        for verdict in self.plan(id)? {
            if verdict.now_kept_for_ever {
                let kept = self.change_version(id, verdict.number, |version| {
                    version.kept_for_ever = true;
                    Ok(())
                })?;
                self.change_run(id, |run| run.kept_at = run.kept_at.max(Some(kept.time.0)))?;
            }
            if !verdict.stays() {
                match self.expire_version(id, verdict.number, false, &verdict.because) {
                    // Tagged or opened since the plan was made: it stays.
                    Err(Error::Errno(libc::EBUSY | libc::ENOENT)) => {}
                    other => {
                        drop(other?);
                        gone += 1;
                    }
                }
            }
        }
        if gone > 0 {
            self.wake_reclaim();
        }
        Ok(gone)
    }
}

/// What retention looks at.
pub(super) fn candidate(version: &Version, in_use: bool) -> Candidate {
    Candidate {
        number: version.number,
        time: version.time.0,
        good: version.is_good(),
        step: version.step,
        metrics: version.metrics.clone(),
        tagged: !version.tags.is_empty(),
        pinned: version.pinned,
        in_use,
        kept_for_ever: version.kept_for_ever,
    }
}
