//! What is inside versions: their files, the tensors of these, and what differs between two versions.
//!
//! A version is held while it is looked at, so that it cannot go. Files are told by their tree, tensors by the tables of
//! the files themselves, sameness by hashes; what cannot be read is told of its file and keeps nothing else from being
//! told.

mod diff;
mod files;
mod tensors;
mod values;

#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use diff::{Change, Compared, FileDiff, TensorDiff};
pub use values::Values;

use super::super::Engine;
use super::manage::Held;
use crate::base::monitor::Monitor;
use crate::base::{Error, Result};
use crate::catalog::keys::RunId;
use crate::version::record::Version;

/// A file of a version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileInside {
    /// Its path below the run.
    pub path: String,
    /// `file`, `symlink`, `special`.
    pub kind: String,
    /// Bytes.
    pub bytes: u64,
    /// Type and permission bits.
    pub mode: u32,
    /// Last change, RFC 3339 UTC.
    pub mtime: String,
    /// Where a symlink leads.
    pub target: Option<String>,
    /// The format of checkpoint content.
    pub format: Option<String>,
    /// `valid`, `invalid`, `being written`; nothing for what is no checkpoint content.
    pub state: Option<String>,
    /// The hash that names its content.
    pub content: Option<String>,
    /// Bytes that its chunks take of the packs, each counted once, whoever else has them.
    pub stored_bytes: u64,
    /// Its tensors; none where its format has no table that is read here.
    pub tensors: Vec<TensorInside>,
    /// What of it cannot be read.
    pub damage: Option<String>,
}

/// A tensor of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorInside {
    /// What the file calls it.
    pub name: String,
    /// The type of its elements (`f32`, `bf16`, `i64`, ...); empty when not known.
    pub dtype: String,
    /// Its sides; of a shard those of the part that is in this file.
    pub shape: Vec<u64>,
    /// The sides of the whole of which this is a shard.
    pub global_shape: Option<Vec<u64>>,
    /// Where its first byte is in the file.
    pub offset: Option<u64>,
    /// Bytes in the file.
    pub bytes: u64,
    /// Its share of the bytes that its chunks take of the packs.
    pub stored_bytes: u64,
    /// Its bytes in the file are not its plain elements: compressed, in another order.
    pub encoded: bool,
}

impl Engine {
    /// The files of version `number` of a run, in the order of their paths; those at and below the paths `only`, or all.
    /// `monitor` hears of files. `ENOENT` when there is no such version.
    pub fn look_inside(
        &self,
        run: RunId,
        number: u32,
        only: &[String],
        tensors: bool,
        monitor: &dyn Monitor,
    ) -> Result<(Version, Vec<FileInside>)> {
        let (version, _held) = self.held(run, number)?;
        let files = self.files_inside(&version, only)?;
        monitor.begin("looking at the version (files)", files.len() as u64);
        let mut shown = Vec::with_capacity(files.len());
        for file in &files {
            self.go_on()?;
            shown.push(self.file_inside(&version, file, tensors)?);
            monitor.advance(shown.len() as u64);
        }
        Ok((version, shown))
    }

    /// What version `to` has and version `from` has not, and the other way round. With `values` the numbers of tensors that
    /// changed are read and compared. `monitor` hears of files. `ENOENT` when there is no such version.
    pub fn compare_versions(
        &self,
        from: (RunId, u32),
        to: (RunId, u32),
        only: &[String],
        values: bool,
        monitor: &dyn Monitor,
    ) -> Result<(Version, Version, Compared)> {
        let (before, _held) = self.held(from.0, from.1)?;
        let (after, _held_too) = self.held(to.0, to.1)?;
        let compared = diff::Diff { engine: self, before: &before, after: &after, values };
        let compared = compared.run(only, monitor)?;
        Ok((before, after, compared))
    }

    fn held(&self, run: RunId, number: u32) -> Result<(Version, Held<'_>)> {
        let held = self.hold_while(run, number);
        // After it is held: a record that is there by now does not go.
        let version = self.recorded_version(run, number)?.ok_or(Error::Errno(libc::ENOENT))?;
        Ok((version, held))
    }

    /// `EINTR` when the mount ends: nobody may wait for a look at a large version.
    fn go_on(&self) -> Result<()> {
        if self.history.is_stopped() { Err(super::resolve::stopped()) } else { Ok(()) }
    }
}
