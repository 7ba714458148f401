//! Where the bytes of this store are: what `stats` tells.
//!
//! Order: versions on record, contents of files, then packs: every blob of a root that was listed is in a pack that was
//! listed. Nobody reclaims meanwhile, so none of them goes.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};

use super::Engine;
use super::layout::Layout;
use super::reclaim::How;
use crate::base::clock::Time;
use crate::base::id::ChunkId;
use crate::base::monitor::Monitor;
use crate::base::{Error, Result};
use crate::catalog::keys::{HotState, RunId};
use crate::inspect::{Blobs, Savings, Share, Walk};
use crate::pack::collect::is_damage;
use crate::version::record::Version;

/// Folders in folders that are counted.
const DEPTH_MAX: u32 = 8;
/// The groups that are no rows of the answer: other runs, snapshots under way, files that are there now.
const ELSEWHERE: u32 = 0;
const UNDER_WAY: u32 = 1;
const FILES: u32 = 2;
/// The group of the first row.
const ROWS: u32 = 3;

/// What the disk holds, in bytes as du(1) counts them: blocks that are occupied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Disk {
    /// Packs.
    pub packs_bytes: u64,
    /// The chunk index.
    pub index_bytes: u64,
    /// The journal and its exports.
    pub journal_bytes: u64,
    /// The catalog.
    pub catalog_bytes: u64,
    /// Hot files.
    pub hot_bytes: u64,
    /// The rest: the reserve for a full disk, settings, the log.
    pub other_bytes: u64,
    /// All of it.
    pub total_bytes: u64,
}

/// What is kept of the record of a version meanwhile.
#[derive(Clone, Copy, Debug)]
pub struct Root {
    /// Its number.
    pub number: u32,
    /// Its moment.
    pub time: Time,
    /// It was removed, and is not reclaimed yet.
    pub removed: bool,
    tree: ChunkId,
    about: Option<ChunkId>,
    bytes: u64,
}

impl From<Version> for Root {
    fn from(version: Version) -> Self {
        Root {
            number: version.number,
            time: version.moment(),
            removed: version.expired.is_some(),
            tree: version.tree,
            about: version.about,
            bytes: version.logical_bytes,
        }
    }
}

/// The versions of a run, oldest first.
type Roots = (RunId, Vec<Root>);

/// What one run has of the store.
#[derive(Clone, Copy, Debug)]
pub struct OfRun {
    /// The run.
    pub run: RunId,
    /// How many versions it has, removed ones included.
    pub versions: usize,
    /// Its bytes.
    pub share: Share,
}

/// What figures are told of, each in a row.
#[derive(Clone, Copy, Debug)]
pub enum Rows {
    /// Every run.
    Runs,
    /// Every version of one run.
    Of(RunId),
    /// Every version of every run.
    Versions,
}

/// Figures of a store.
#[derive(Debug, Default)]
pub struct Stats {
    /// What was saved, and by what.
    pub savings: Savings,
    /// Bytes of files that are hot only: written and not sealed yet.
    pub hot_only_bytes: u64,
    /// What the disk holds.
    pub disk: Disk,
    /// What each run has, when runs were asked for.
    pub runs: Vec<OfRun>,
    /// What each version has that was asked for, with its run, oldest first.
    pub versions: Vec<(RunId, Root, Share)>,
    /// Lists of chunks and trees that cannot be read: what they lead to is not counted.
    pub damaged: u64,
}

impl Engine {
    /// Figures of the store and of what `rows` asks for. `monitor` hears of bytes. `EINTR` when the mount ends.
    pub fn stats(&self, rows: Rows, monitor: &dyn Monitor) -> Result<Stats> {
        let _one = self.reclaim.one_at_a_time(How::NOW);
        let roots = |(id, _)| Ok((id, self.all_versions(id)?.into_iter().map(Root::from).collect()));
        let runs: Vec<Roots> = self.runs().into_iter().map(roots).collect::<Result<_>>()?;
        let mut files: Vec<(ChunkId, bool)> = Vec::new();
        self.ns.each_sealed(&mut |sealed, is_now| {
            files.push((sealed.id, is_now));
            Ok(())
        })?;
        let packs = self.packs.packs();
        let (own, others): (Vec<_>, Vec<_>) =
            runs.into_iter().partition(|(id, _)| !matches!(rows, Rows::Of(run) if run != *id));
        let groups = match rows {
            Rows::Runs => own.len(),
            Rows::Of(_) | Rows::Versions => own.iter().map(|(_, versions)| versions.len()).sum(),
        };
        let blobs = self.blobs(&packs, groups, monitor)?;
        let go_on = || self.is_here();
        let mut walk = Walk::new(&self.packs, blobs, &go_on);
        let mut seen = Seen::begin(own.iter().chain(&others), monitor);
        match rows {
            Rows::Runs => walk_runs(&mut walk, &own, &mut seen)?,
            Rows::Of(_) | Rows::Versions => walk_versions(&mut walk, &own, &mut seen)?,
        }
        walk.begin(ELSEWHERE);
        others.iter().flat_map(|(_, versions)| versions).try_for_each(|one| seen.visit(&mut walk, one))?;
        for (group, now) in [(UNDER_WAY, false), (FILES, true)] {
            walk.begin(group);
            for (content, _) in files.iter().filter(|(_, is_now)| *is_now == now) {
                walk.file(content)?;
            }
        }
        let (blobs, damaged) = walk.finish();
        let (savings, shares) = blobs.finish(&self.packs.deltas(&packs, &|| Ok(()))?);
        let shares = shares.into_iter().skip(ROWS as usize);
        let mut stats = Stats { savings, damaged, disk: self.disk(), ..Stats::default() };
        stats.hot_only_bytes = self.hot_only_bytes()?;
        match rows {
            Rows::Runs => {
                let of = |((run, versions), share): (&Roots, Share)| OfRun {
                    run: *run,
                    versions: versions.len(),
                    share,
                };
                stats.runs = own.iter().zip(shares).map(of).collect();
            }
            Rows::Of(_) | Rows::Versions => {
                let versions =
                    own.into_iter().flat_map(|(run, all)| all.into_iter().map(move |one| (run, one)));
                stats.versions = versions.zip(shares).map(|((run, one), share)| (run, one, share)).collect();
            }
        }
        Ok(stats)
    }

    /// The table of all blobs in `packs`; one whose list cannot be read counts as garbage whole.
    fn blobs(&self, packs: &[(u32, u32)], rows: usize, monitor: &dyn Monitor) -> Result<Blobs> {
        let room = usize::try_from(self.packs.stats().chunks).unwrap_or(0);
        let mut blobs = Blobs::new(room, rows + ROWS as usize);
        let total = packs.iter().map(|(_, len)| u64::from(*len)).sum();
        monitor.begin("reading the lists of packs", total);
        let mut done = 0;
        for (number, len) in packs.iter().rev() {
            self.is_here()?;
            match self.packs.entries(*number) {
                Ok(entries) => blobs.pack(*len, &entries),
                Err(error) if is_damage(&error) => {
                    tracing::error!("{error}");
                    blobs.pack(*len, &[]);
                }
                Err(error) => return Err(error),
            }
            done += u64::from(*len);
            monitor.advance(done);
        }
        Ok(blobs)
    }

    pub(super) fn is_here(&self) -> Result<()> {
        if self.closing.load(Ordering::Relaxed) { Err(Error::Errno(libc::EINTR)) } else { Ok(()) }
    }

    fn hot_only_bytes(&self) -> Result<u64> {
        let mut bytes = 0;
        for state in HotState::ALL {
            if !matches!(state, HotState::Cache | HotState::Captured) {
                let files = self.ns.hot_files(state)?;
                bytes += files.iter().filter_map(|(id, _)| Some(self.hot.attr(*id).ok()?.size)).sum::<u64>();
            }
        }
        Ok(bytes)
    }

    fn disk(&self) -> Disk {
        let layout = Layout::new(&self.store);
        let hot = occupied(self.hot.root(), DEPTH_MAX);
        let is_outside = !self.hot.root().starts_with(&self.store);
        let total = occupied(&self.store, DEPTH_MAX) + if is_outside { hot } else { 0 };
        let mut disk = Disk {
            packs_bytes: occupied(&layout.packs(), DEPTH_MAX),
            index_bytes: occupied(&layout.index(), DEPTH_MAX),
            journal_bytes: occupied(&layout.journal(), DEPTH_MAX),
            catalog_bytes: occupied(&layout.catalog(), DEPTH_MAX),
            hot_bytes: hot,
            other_bytes: 0,
            total_bytes: total,
        };
        let named = disk.packs_bytes + disk.index_bytes + disk.journal_bytes + disk.catalog_bytes + hot;
        // Files come and go while they are counted.
        disk.other_bytes = total.saturating_sub(named);
        disk.total_bytes = named + disk.other_bytes;
        disk
    }
}

/// How far the walk is, in bytes of versions.
struct Seen<'a> {
    monitor: &'a dyn Monitor,
    bytes: u64,
}

impl<'a> Seen<'a> {
    fn begin<'r>(runs: impl Iterator<Item = &'r Roots>, monitor: &'a dyn Monitor) -> Self {
        let total = runs.flat_map(|(_, versions)| versions).map(|version| version.bytes);
        monitor.begin("looking at versions", total.sum());
        Seen { monitor, bytes: 0 }
    }

    fn visit(&mut self, walk: &mut Walk<'_>, version: &Root) -> Result<()> {
        walk.version(&version.tree, version.about.as_ref())?;
        self.bytes += version.bytes;
        self.monitor.advance(self.bytes);
        Ok(())
    }
}

/// Every run is a group.
fn walk_runs(walk: &mut Walk<'_>, runs: &[Roots], seen: &mut Seen<'_>) -> Result<()> {
    for (group, (_, versions)) in (ROWS..).zip(runs) {
        walk.begin(group);
        versions.iter().try_for_each(|version| seen.visit(walk, version))?;
    }
    Ok(())
}

/// Every version is a group.
fn walk_versions(walk: &mut Walk<'_>, runs: &[Roots], seen: &mut Seen<'_>) -> Result<()> {
    for (group, version) in (ROWS..).zip(runs.iter().flat_map(|(_, versions)| versions)) {
        walk.begin(group);
        seen.visit(walk, version)?;
    }
    Ok(())
}

/// Bytes that the files and folders at and below `path` occupy. What vanishes while it is counted is not counted.
fn occupied(path: &Path, depth: u32) -> u64 {
    let Ok(meta) = fs::symlink_metadata(path) else { return 0 };
    let own = meta.blocks().saturating_mul(512);
    if !meta.is_dir() || depth == 0 {
        return own;
    }
    let below = fs::read_dir(path).into_iter().flatten().flatten();
    below.fold(own, |bytes, entry| bytes.saturating_add(occupied(&entry.path(), depth - 1)))
}
