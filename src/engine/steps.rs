//! What the background threads do, one step at a time, for tests that decide when: in debug builds only.
//!
//! An engine whose work is done here has [`Workers::none`](super::workers::Workers::none). Each step returns when it is
//! done, and does nothing when there is nothing to do.

use std::collections::HashMap;

use super::Engine;
use super::history::build::Made;
use super::reencode::Reencoded;
use crate::base::{Error, Result};
use crate::catalog::keys::Ino;
use crate::version::trees::Trees;

impl Engine {
    /// Seals the files whose time has come, and drops hot copies above the budget.
    pub fn step_sealing(&self) {
        while let Some(first) = self.queue.take_now() {
            self.seal_from(first);
        }
        self.shrink_cache();
    }

    /// Begins a version of every run that has something new, as made by `trigger`, as if all had come to rest.
    pub fn step_settling(&self, trigger: &str) -> Result<()> {
        self.begin_all(trigger)
    }

    /// Begins a version of the run at `dir` by hand.
    pub fn step_snapshot(&self, dir: Ino, tag: Option<String>) -> Result<()> {
        self.begin_by_hand(dir, tag).map(drop)
    }

    /// Makes the versions that have been begun; how many there are.
    pub fn step_building(&self) -> Result<usize> {
        let mut versions = 0;
        while let Some(made) = self.build_next()? {
            versions += usize::from(matches!(made, Made::Version(..)));
        }
        self.shrink_cache();
        Ok(versions)
    }

    /// Brings the file `name` of version `number` back to the directory `dir` of its run, as restore does with each file.
    pub fn step_bringing_back(&self, dir: Ino, number: u32, name: &[u8]) -> Result<()> {
        let none = || Error::Errno(libc::ENOENT);
        let (run, _) = self.run_at(dir).ok_or_else(none)?;
        let version = self.version(run, number)?.ok_or_else(none)?;
        let trees = Trees::new(&self.packs);
        let entry = trees.walk(trees.top(&version.tree)?, &[name.to_vec()])?.ok_or_else(none)?;
        self.put_by_reference(dir, &entry, &mut HashMap::new())
    }

    /// Deletes the hot files that nothing names any more.
    pub fn step_deleting(&self) -> Result<()> {
        self.grave.delete_doomed(&self.hot)
    }

    /// Stores older versions as deltas; what was done since the engine was started.
    pub fn step_encoding(&self) -> Result<Reencoded> {
        self.reencode(&|| Ok(()))
    }
}
