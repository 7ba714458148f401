//! What people do to versions and runs by hand: tags, pins, taking back, ending a history, naming a run.
//!
//! A change is checked and made under the lock of version records, so that two people cannot both succeed where only one
//! may. A refusal is one line that names the version and the way out. Whether it is durable when it returns is for the
//! caller to see to: it may have more to do.

use super::super::Engine;
use super::unclosed::stays_open;
use crate::base::clock::Time;
use crate::base::{Error, Result};
use crate::catalog::keys::{Ino, RunId};
use crate::version::record::{Expired, Run, Version};

/// The longest tag, in bytes: it is the name of a directory entry.
const TAG_BYTES_MAX: usize = 255;
/// Names in the virtual directory that mean something else.
const VIEWS: [&str; 7] = ["latest", "newest", "best", "by-time", "by-tag", "by-step", "at"];

/// Whether `tag` can be one; the error completes "'TAG' ...".
///
/// Digits alone are version numbers, names that begin with a dot are views or none of ours.
pub fn check_tag(tag: &str) -> Result<(), String> {
    let why = if tag.is_empty() || tag.len() > TAG_BYTES_MAX {
        format!("is not a name of 1 to {TAG_BYTES_MAX} bytes")
    } else if tag.contains('/') || tag.chars().any(char::is_control) {
        "has a slash or a control character in it".to_owned()
    } else if tag.bytes().all(|byte| byte.is_ascii_digit()) {
        "is a number, which names a version; add a letter".to_owned()
    } else if tag.starts_with('.') {
        "begins with a dot; leave the dot out".to_owned()
    } else if VIEWS.contains(&tag) {
        "means something else already; choose another name".to_owned()
    } else {
        return Ok(());
    };
    Err(why)
}

/// What became of the versions of a run whose history was ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Purged {
    /// Versions that go.
    pub gone: Vec<u32>,
    /// Versions that stay, and why.
    pub kept: Vec<(u32, String)>,
}

impl Engine {
    /// Gives version `number` of a run the tag `tag`. A version may have several; a tag has one version.
    pub fn tag_version(&self, run: RunId, number: u32, tag: &str) -> Result<Version> {
        check_tag(tag).map_err(|why| Error::Refused(format!("tag '{tag}' {why}")))?;
        self.change_version(run, number, |version| {
            refuse_expired(version)?;
            // Nobody changes another version while this one is being changed.
            let taken = self.versions(run)?.into_iter().find(|other| other.tags.iter().any(|old| old == tag));
            match taken {
                Some(other) if other.number == number => Ok(()),
                Some(other) => Err(Error::Refused(format!(
                    "version {:06} has the tag '{tag}' already; take it off first: ckptfs untag {tag}",
                    other.number
                ))),
                None => {
                    version.tags.push(tag.to_owned());
                    Ok(())
                }
            }
        })
    }

    /// Takes the tag `tag` off whichever version of a run has it.
    pub fn untag_version(&self, run: RunId, tag: &str) -> Result<Version> {
        let has_it = |version: &Version| version.tags.iter().any(|other| other == tag);
        let found = self.versions(run)?.into_iter().find(has_it);
        let none = || Error::Refused(format!("no version has the tag '{tag}'; see: ckptfs log"));
        self.change_version(run, found.ok_or_else(none)?.number, |version| {
            version.tags.retain(|other| other != tag);
            Ok(())
        })
    }

    /// Pins version `number` of a run, or takes the pin off.
    pub fn pin_version(&self, run: RunId, number: u32, on: bool) -> Result<Version> {
        self.change_version(run, number, |version| {
            refuse_expired(version)?;
            version.pinned = on;
            Ok(())
        })
    }

    /// Marks a version as about to go, by hand; `EBUSY` while it has a tag or a pin, or somebody has it open.
    pub(super) fn expire_by_hand(&self, run: RunId, number: u32) -> Result<Version> {
        // What is open still is refused below, as a tag is.
        stays_open(|| self.is_held_version(run, number));
        self.expire_version(run, number, true, "removed by hand")
    }

    /// Removes version `number` of a run by hand: it can be [taken back](Self::undelete_version) for a while.
    pub fn remove_version(&self, run: RunId, number: u32) -> Result<Version> {
        match self.expire_by_hand(run, number) {
            Err(Error::Errno(libc::EBUSY)) => {}
            other => return other,
        }
        let version = self.version(run, number)?.ok_or(Error::Errno(libc::ENOENT))?;
        Err(Error::Refused(match version.tags.first() {
            Some(tag) => {
                format!("version {number:06} has the tag '{tag}'; take it off first: ckptfs untag {tag}")
            }
            None if version.pinned => {
                format!("version {number:06} is pinned; take the pin off first: ckptfs unpin {number}")
            }
            None => format!("version {number:06} is being read; try again when it is closed"),
        }))
    }

    /// Takes a version back that was removed by hand no longer ago than the policy says.
    pub fn undelete_version(&self, run: RunId, number: u32) -> Result<Version> {
        let record = self.run(run).ok_or(Error::Errno(libc::ENOENT))?;
        let (ttl, now) = (self.policy_of(&record).undelete_ttl, Time::now().secs);
        self.change_version(run, number, |version| {
            let refused = |why: &str| Err(Error::Refused(format!("version {number:06} {why}")));
            match &version.expired {
                None => refused("is not removed; nothing to do"),
                Some(expired) if !expired.by_hand => {
                    refused(&format!("was not removed by hand ({}); it cannot come back", expired.why))
                }
                Some(expired) if now.saturating_sub(expired.at).unsigned_abs() >= ttl.as_secs() => {
                    refused("was removed too long ago; undelete_ttl says how long it can come back")
                }
                Some(_) => {
                    version.expired = None;
                    Ok(())
                }
            }
        })
    }

    /// Ends the history of a run now: every version that is neither tagged nor pinned goes, with `all` these too. Nothing
    /// of it can be taken back. What is open stays.
    pub fn purge_run(&self, run: RunId, all: bool) -> Result<Purged> {
        let mut purged = Purged::default();
        for number in self.all_versions(run)?.into_iter().map(|version| version.number) {
            let in_use = self.history.in_use.lock().contains_key(&(run, number));
            let expired = Expired { at: Time::now().secs, by_hand: false, why: "purged".to_owned() };
            let mut kept = None;
            self.change_version(run, number, |version| {
                kept = if in_use {
                    Some("being read".to_owned())
                } else if all {
                    None
                } else if version.pinned {
                    Some("pinned".to_owned())
                } else {
                    version.tags.first().map(|tag| format!("tagged '{tag}'"))
                };
                if kept.is_none() {
                    (version.tags, version.pinned) = (Vec::new(), false);
                    version.expired = Some(expired);
                }
                Ok(())
            })?;
            match kept {
                Some(why) => purged.kept.push((number, why)),
                None => purged.gone.push(number),
            }
        }
        Ok(purged)
    }

    /// Makes directory `dir` a run by hand, versioned from now on.
    pub fn add_run(&self, dir: Ino) -> Result<(RunId, Run)> {
        self.check_writable()?;
        let (id, _) = self.recorded_run(dir)?;
        let run = self.change_run(id, |run| (run.by_hand, run.forgotten) = (true, false))?;
        Ok((id, run))
    }

    /// Makes no versions of a run any more; those it has stay.
    pub fn forget_run(&self, id: RunId) -> Result<Run> {
        self.check_writable()?;
        self.change_run(id, |run| run.forgotten = true)
    }

    /// The directory whose version a person means who names directory `dir`: the run on record that it is in, else
    /// where a checkpoint in it would belong.
    pub fn run_dir_meant(&self, dir: Ino) -> Result<Ino> {
        let on_record = self.run_above(dir)?.and_then(|(id, _)| self.run(id)).and_then(|run| run.dir);
        match on_record {
            Some(run) => Ok(run),
            None => self.run_dir_of(b"", dir),
        }
    }
}

fn refuse_expired(version: &Version) -> Result<()> {
    if version.expired.is_none() {
        return Ok(());
    }
    let number = version.number;
    Err(Error::Refused(format!(
        "version {number:06} is removed; take it back first: ckptfs undelete {number}"
    )))
}

#[cfg(test)]
#[path = "hand_tests.rs"]
mod tests;
