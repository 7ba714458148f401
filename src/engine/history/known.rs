//! What the version before holds, and how that is kept from one version of a run to the next.
//!
//! Invariant: what is kept is what the newest version of a run shows, and whatever has changed since its moment is noted in
//! the namespace; so the next version looks at what is noted alone. It is dropped whenever that is in doubt: a version that
//! left something out or was made otherwise, a failure on the way, too many files. Then the tree is read and the run walked
//! whole. Until the next version is on record the one before keeps its blobs ([`Based`]): what is taken over from it is not
//! put again.

use std::collections::HashMap;

use super::super::Engine;
use super::walk::is_temporary_path;
use crate::base::Result;
use crate::base::clock::Time;
use crate::base::id::ChunkId;
use crate::catalog::keys::{Ino, RunId, SnapshotId};
use crate::catalog::records::{Content, Sealed};
use crate::content::tree::{self, Body, Soundness};
use crate::namespace::snapshot::Snapshot;
use crate::pack::collect::is_damage;
use crate::version::names::is_temporary;
use crate::version::record::Version;
use crate::version::trees::Trees;

/// Contents that are kept of all runs, at some 100 bytes each.
const CONTENTS_MAX: usize = 1 << 20;

/// A content that the version before has.
#[derive(Clone, Copy, Debug)]
pub(super) struct KnownFile {
    /// The number of its format.
    pub(super) format: u8,
    pub(super) soundness: Soundness,
    /// How many names lead to it, and how many of these are temporary.
    names: u32,
    temporary: u32,
}

impl KnownFile {
    /// It is there under temporary names only.
    pub(super) fn is_temporary(&self) -> bool {
        self.temporary == self.names
    }
}

/// The version before.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) contents: HashMap<ChunkId, KnownFile>,
    /// Its directory.
    pub(super) top: Option<tree::Entry>,
    /// Its moment, where all that has changed since is noted.
    pub(super) moment: Option<SnapshotId>,
    /// Its number and tree.
    version: Option<(u32, ChunkId)>,
}

/// One name of a file in a version.
#[derive(Clone, Copy, Debug)]
pub(super) struct Name {
    content: ChunkId,
    format: u8,
    soundness: Soundness,
    is_temporary: bool,
}

impl Name {
    /// The name of `entry`, if that is a file.
    pub(super) fn of(entry: &tree::Entry, is_temporary: bool) -> Option<Self> {
        match entry.body {
            Body::File { content, format, soundness, .. } => {
                Some(Name { content, format, soundness, is_temporary })
            }
            _ => None,
        }
    }
}

impl Known {
    fn gain(&mut self, name: &Name) {
        let Name { content, format, soundness, .. } = *name;
        let none = KnownFile { format, soundness, names: 0, temporary: 0 };
        let known = self.contents.entry(content).or_insert(none);
        known.names += 1;
        known.temporary += u32::from(name.is_temporary);
    }

    fn lose(&mut self, name: &Name) {
        let Some(known) = self.contents.get_mut(&name.content) else { return };
        known.names = known.names.saturating_sub(1);
        known.temporary = known.temporary.saturating_sub(u32::from(name.is_temporary));
        if known.names == 0 {
            self.contents.remove(&name.content);
        }
    }
}

/// What a walk leaves for the next one.
#[derive(Default)]
pub(super) struct Walked {
    /// Names that the version before does not have or has otherwise; all of them where everything was walked.
    pub(super) came: Vec<Name>,
    /// Names that it has and this one has not, or otherwise.
    pub(super) gone: Vec<Name>,
    /// Files that were not sealed at the moment, and what they were sealed to.
    pub(super) hot: Vec<(Ino, Sealed, Time)>,
    /// Only what has changed was walked.
    pub(super) partly: bool,
}

/// The version that one in the making takes over from: its record stays.
pub(super) struct Based<'a> {
    engine: &'a Engine,
}

impl Drop for Based<'_> {
    fn drop(&mut self) {
        *self.engine.history.based_on.lock() = None;
    }
}

impl Engine {
    /// What the newest version of a run holds, however it stands. What cannot be read of it counts as new: a damaged version
    /// must not keep all later ones from being made.
    pub(super) fn known_of(&self, run: RunId) -> Result<(Known, Option<Based<'_>>)> {
        let kept = self.history.known.lock().remove(&run);
        let Some(newest) = self.newest_version(run)? else { return Ok((Known::default(), None)) };
        if let Some(known) = kept.filter(|known| known.version == Some((newest.number, newest.tree)))
            && let Some(based) = self.base_on(run, newest.number)?
        {
            return Ok((known, Some(based)));
        }
        match self.read_known(&newest) {
            Err(error) if is_damage(&error) => {
                self.report(&error, "read the version before");
                Ok((Known::default(), None))
            }
            other => Ok((other?, None)),
        }
    }

    /// Keeps the record of version `number` for as long as the result lives; `None` when it has gone.
    fn base_on(&self, run: RunId, number: u32) -> Result<Option<Based<'_>>> {
        let _one = self.history.changing.lock();
        if self.recorded_version(run, number)?.is_none() {
            return Ok(None);
        }
        *self.history.based_on.lock() = Some((run, number));
        Ok(Some(Based { engine: self }))
    }

    fn read_known(&self, newest: &Version) -> Result<Known> {
        let trees = Trees::new(&self.packs);
        let (top, mut known) = (trees.top(&newest.tree)?, Known::default());
        if let Body::Dir { tree, .. } = top.body {
            trees.each(&tree, &mut |dir, entry| {
                let is_temporary = is_temporary_path(dir) || is_temporary(&entry.name);
                Name::of(entry, is_temporary).iter().for_each(|name| known.gain(name));
                Ok(())
            })?;
        }
        known.top = Some(top);
        Ok(known)
    }

    /// Keeps for the next version of the run what this one holds, which is on record; `known` is of the one before.
    pub(super) fn keep_known(
        &self,
        (run, version): (RunId, &Version),
        moment: &Snapshot,
        walked: Walked,
        known: Known,
    ) -> Result<()> {
        let mut known = if walked.partly { known } else { Known::default() };
        walked.gone.iter().for_each(|name| known.lose(name));
        walked.came.iter().for_each(|name| known.gain(name));
        known.top = Some(Trees::new(&self.packs).top(&version.tree)?);
        known.moment = Some(moment.id);
        known.version = Some((version.number, version.tree));
        // What is not on record as the version has it may change without a record.
        let mut unsettled = Vec::new();
        for (ino, sealed, mtime) in walked.hot {
            let now = self.ns.find(ino)?;
            let settled = now.is_some_and(|now| {
                now.mtime == mtime && now.content().and_then(Content::sealed) == Some(&sealed)
            });
            unsettled.extend((!settled).then_some(ino));
        }
        self.ns.note_changed(unsettled.into_iter());
        let mut all = self.history.known.lock();
        all.insert(run, known);
        while all.values().map(|known| known.contents.len()).sum::<usize>() > CONTENTS_MAX {
            let Some(oldest) = all.iter().min_by_key(|(_, known)| known.moment).map(|(run, _)| *run) else {
                break;
            };
            all.remove(&oldest);
        }
        let oldest = all.values().filter_map(|known| known.moment).min().unwrap_or(moment.id);
        drop(all);
        self.ns.forget_changes(oldest);
        Ok(())
    }
}
