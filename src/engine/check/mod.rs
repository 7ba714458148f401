//! `check`: whether all that this store holds agrees, and what of it is lost to whom.
//!
//! Order: nobody reclaims meanwhile; versions and contents are listed, then packs, so that every blob of a root that was
//! listed is in a pack that was listed; packs, roots, names and hot files are looked at; what is lost is named by path and
//! version. Nothing is changed, and a mounted store goes on.

mod affected;
pub mod closed;
mod hot;
mod packs;
mod repair;
mod rescue;
mod settings;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use super::Engine;
use super::reclaim::How;
use crate::base::Result;
use crate::base::id::ChunkId;
use crate::base::monitor::Monitor;
use crate::catalog::keys::{Ino, RunId};
use crate::check::names::{self, Names};
use crate::check::{Area, Blobs, Findings, Roots};
use crate::version::record::Version;

/// How often names are looked at before what is told each time is believed: on a mounted store they change meanwhile.
const LOOKS_MAX: usize = 3;

/// What a check looked at, and what it found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Checked {
    /// Every blob was read, decoded and hashed.
    pub read_data: bool,
    /// Packs.
    pub packs: u64,
    /// Their bytes.
    pub pack_bytes: u64,
    /// Blobs in them.
    pub blobs: u64,
    /// Inodes.
    pub inodes: u64,
    /// Versions, those that are about to go included.
    pub versions: u64,
    /// Different contents of files.
    pub contents: u64,
    /// Hot files.
    pub hot_files: u64,
    /// What is wrong.
    pub findings: Findings,
    /// Bytes of files that cannot be read any more, each file counted in every version that has it.
    pub lost_bytes: u64,
    /// What a repair has done, a line each.
    pub repaired: Vec<String>,
}

/// What has to be mended, beside the words that tell of it.
#[derive(Debug, Default)]
pub(super) struct Damage {
    pub(super) packs: Vec<u32>,
    pub(super) index: bool,
    pub(super) roots: Vec<ChunkId>,
    pub(super) versions: Vec<(RunId, u32, String)>,
    pub(super) copies: Vec<Ino>,
    pub(super) names: Names,
}

impl Engine {
    /// Looks at everything; with `read_data` at every byte. `monitor` hears of bytes of packs. `EINTR` when the mount ends.
    pub fn check(&self, read_data: bool, monitor: &dyn Monitor) -> Result<Checked> {
        let _one = self.reclaim.one_at_a_time(How::NOW);
        self.look_at_all(read_data, monitor).map(|(checked, _)| checked)
    }

    pub(super) fn look_at_all(&self, read_data: bool, monitor: &dyn Monitor) -> Result<(Checked, Damage)> {
        let go_on = |_: u64| self.is_here();
        let mut checked = Checked { read_data, ..Checked::default() };
        let mut damage = Damage::default();
        let versions = self.versions_on_record(&mut checked.findings)?;
        let mut contents: Vec<(ChunkId, u64)> = Vec::new();
        self.ns.each_sealed(&mut |sealed, _| {
            contents.push((sealed.id, sealed.size));
            Ok(())
        })?;
        let packs = self.packs.packs();
        let blobs = Blobs::look(&self.packs, &packs, read_data, &go_on, monitor, &mut checked.findings)?;
        checked.packs = packs.len() as u64;
        (checked.pack_bytes, checked.blobs) = (blobs.bytes, blobs.count);
        let mut roots = Roots::new(&self.packs, &blobs, &go_on);
        monitor.begin(
            "looking at files and versions (trees and lists)",
            (contents.len() + versions.len()) as u64,
        );
        for (at, (content, size)) in contents.iter().enumerate() {
            roots.content(content, *size)?;
            monitor.advance(at as u64);
        }
        for (at, (_, version)) in versions.iter().enumerate() {
            roots.tree(&version.tree)?;
            version.about.iter().try_for_each(|about| roots.tree(about))?;
            monitor.advance((contents.len() + at) as u64);
        }
        checked.contents = roots.contents.len() as u64;
        checked.versions = versions.len() as u64;
        self.name_what_is_lost(&versions, &roots, &mut checked, &mut damage)?;
        damage.roots = affected::unreadable(&roots);
        damage.names = self.look_at_names(&go_on)?;
        checked.inodes = damage.names.inodes;
        checked.findings.extend(damage.names.findings.clone());
        self.look_at_hot_files(read_data, &roots, monitor, &mut checked, &mut damage)?;
        damage.packs = blobs.damaged.iter().copied().collect();
        damage.index = blobs.unindexed > 0;
        Ok((checked, damage))
    }

    /// All versions of all runs; a record that cannot be read is told of.
    fn versions_on_record(&self, findings: &mut Findings) -> Result<Vec<(RunId, Version)>> {
        let mut all = Vec::new();
        for (run, record) in self.runs() {
            match self.all_versions(run) {
                Ok(versions) => all.extend(versions.into_iter().map(|version| (run, version))),
                Err(error) if crate::pack::collect::is_damage(&error) => {
                    findings.add(Area::Version, format!("run {}: {error}", self.run_path(&record)), None);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(all)
    }

    /// What is told each time; changes go on meanwhile.
    fn look_at_names(&self, go_on: &dyn Fn(u64) -> Result<()>) -> Result<Names> {
        let mut found = names::look(&self.ns, go_on)?;
        for _ in 1..LOOKS_MAX {
            if found.findings.is_empty() {
                break;
            }
            let again = names::look(&self.ns, go_on)?;
            let before = std::mem::replace(&mut found, again);
            found.findings.keep_common(&before.findings);
        }
        Ok(found)
    }
}
