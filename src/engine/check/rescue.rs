//! What is still there when names are lost: versions that packs describe, hot files that no record names.
//!
//! A version is described in a blob of its own (docs/format.md, about), so packs alone are enough to bring all of them back.
//! One whose tree cannot be walked to its end is left: it expired before, and was partly reclaimed, or is lost.

use std::collections::{BTreeMap, HashSet};

use super::super::Engine;
use crate::base::monitor::Monitor;
use crate::base::{Error, Result};
use crate::catalog::keys::{self, HotState, Ino};
use crate::content::tree::{Body, Entry, Node};
use crate::namespace::Caller;
use crate::pack::Kind;
use crate::pack::collect::is_damage;
use crate::version::record::{self, Version, path_bytes};
use crate::version::trees::Trees;

impl Engine {
    /// Puts every version on record that packs describe and no record names.
    pub(super) fn rescue_versions(&self, monitor: &dyn Monitor, done: &mut Vec<String>) -> Result<()> {
        let mut found: BTreeMap<(String, u32), Version> = BTreeMap::new();
        let packs = self.packs.packs();
        monitor.begin("looking for versions (packs)", packs.len() as u64);
        for (at, (pack, _)) in packs.iter().enumerate() {
            self.is_here()?;
            for entry in self.packs.entries(*pack)?.into_iter().filter(|entry| entry.kind == Kind::Tree) {
                let node = match self.packs.read_uncached(&entry.id) {
                    Err(error) if is_damage(&error) => continue,
                    other => Node::decode(&other?),
                };
                let Some(Node::About(json)) = node else { continue };
                let Ok(mut version) = serde_json::from_slice::<Version>(&json) else { continue };
                version.about = Some(entry.id);
                let key = (version.path.clone(), version.number);
                // Two runs had this path one after the other: the newer one counts.
                if found.get(&key).is_none_or(|other| other.time < version.time) {
                    found.insert(key, version);
                }
            }
            monitor.advance(at as u64);
        }
        let (mut back, mut left) = (0_u64, 0_u64);
        for version in found.into_values() {
            match self.rescue_version(version) {
                Ok(true) => back += 1,
                Ok(false) => {}
                Err(error) if is_damage(&error) => left += 1,
                Err(error) => return Err(error),
            }
        }
        if back > 0 {
            done.push(format!("{back} versions are on record again, found in the packs"));
        }
        if left > 0 {
            done.push(format!(
                "{left} versions that packs describe could not come back: their trees are not whole"
            ));
        }
        Ok(())
    }

    /// Whether the version was put on record; it may be there already.
    fn rescue_version(&self, version: Version) -> Result<bool> {
        let trees = Trees::new(&self.packs);
        let top = trees.top(&version.tree)?;
        let Body::Dir { tree, .. } = &top.body else {
            return Err(Error::damaged(
                self.packs.path(),
                format!("version {}: no directory", version.number),
            ));
        };
        trees.each(tree, &mut |_, _| Ok(()))?;
        let dir = self.make_path(&path_bytes(&version.path), &top)?;
        let (run, _) = self.recorded_run(dir)?;
        if self.ns.meta().get(&keys::version(run, version.number))?.is_some() {
            return Ok(false);
        }
        self.ns.record(vec![(keys::version(run, version.number), Some(record::encode(&version)))])?;
        self.change_run(run, |run| run.next = run.next.max(version.number.saturating_add(1)))?;
        Ok(true)
    }

    /// The directory at `path`, made where it is not there; the last one as `top` has it.
    fn make_path(&self, path: &[u8], top: &Entry) -> Result<Ino> {
        let names: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()).collect();
        if names.iter().any(|name| *name == b"." || *name == b".." || name.len() > 255) {
            let what = format!("a version of an impossible path: {}", path.escape_ascii());
            return Err(Error::damaged(self.packs.path(), what));
        }
        let mut dir = keys::ROOT;
        for name in names {
            dir = match self.ns.entry(dir, name)? {
                Some(entry) if entry.kind == libc::S_IFDIR => entry.ino,
                // Something else has the name by now.
                Some(_) => {
                    return Err(Error::damaged(self.packs.path(), "a version whose directory is a file"));
                }
                None => self.ns.mkdir(dir, name, top.mode, Caller { uid: top.uid, gid: top.gid })?.ino,
            };
        }
        Ok(dir)
    }

    /// Gives every hot file that no record names a name in `lost+found`.
    pub(super) fn rescue_hot_files(&self, done: &mut Vec<String>) -> Result<()> {
        let mut named = HashSet::new();
        for state in HotState::ALL {
            named.extend(self.ns.hot_files(state)?.into_iter().map(|(hot, _)| hot));
        }
        let lost: Vec<_> = self.hot.list()?.into_iter().filter(|hot| !named.contains(hot)).collect();
        if lost.is_empty() {
            return Ok(());
        }
        let dir = self.lost_and_found()?;
        let root = self.ns.inode(keys::ROOT)?;
        let owner = Caller { uid: root.uid, gid: root.gid };
        for hot in &lost {
            self.ns.create(dir, format!("hot-{hot:016x}").as_bytes(), 0o600, owner, *hot, false)?;
        }
        done.push(format!("{} files whose names are lost are in lost+found", lost.len()));
        Ok(())
    }
}
