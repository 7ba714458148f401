//! `check --repair`: what can be made whole is, what is lost is given up by name, and the rest is usable.
//!
//! Order: copies that are wrong go, so that nothing is mended from them; packs are written anew without what is damaged;
//! what a hot copy has is put again; only then is the rest given up: versions are marked, lists of chunks and trees that
//! cannot be read no longer keep a reclaim from its work; names come last. Each step is durable before the next. Stopped on
//! the way, another check finds what is left.
//!
//! Nobody has the store mounted: a repair is the only one who changes it.

use super::super::Engine;
use super::{Checked, Damage};
use crate::base::monitor::{Monitor, Silent};
use crate::base::{IoContext, Result};
use crate::catalog::keys::{self, HotState, Ino};
use crate::catalog::records::{Body, Content, Inode};
use crate::check::names;
use crate::namespace::Caller;

/// Rounds in which names are set right: a change may show the next thing that is wrong.
const ROUNDS_MAX: usize = 4;
/// Where what has no name any more gets one.
const LOST_AND_FOUND: &[u8] = b"lost+found";

impl Engine {
    /// Mends what a look at every byte finds, and looks again. `names_are_lost`: the journal was made anew from parts, so
    /// versions and hot files may be there that no record names.
    pub fn repair(&self, names_are_lost: bool, monitor: &dyn Monitor) -> Result<Checked> {
        self.check_writable()?;
        let mut done = Vec::new();
        if names_are_lost {
            self.rescue_versions(monitor, &mut done)?;
            self.rescue_hot_files(&mut done)?;
        }
        let (checked, damage) = self.look_at_all(true, monitor)?;
        if !checked.findings.is_empty() {
            self.mend(&damage, &mut done)?;
        }
        let (mut left, _) = self.look_at_all(true, monitor)?;
        left.repaired = done;
        Ok(left)
    }

    fn mend(&self, damage: &Damage, done: &mut Vec<String>) -> Result<()> {
        for ino in &damage.copies {
            self.mend_copy(*ino, done)?;
        }
        for pack in &damage.packs {
            done.push(self.mend_pack(*pack)?);
        }
        if damage.index {
            self.drop_index(done)?;
        }
        self.mend_from_copies(done)?;
        self.give_up(done)?;
        for _ in 0..ROUNDS_MAX {
            let found = names::look(&self.ns, &|_| self.is_here())?;
            if found.findings.is_empty() {
                break;
            }
            done.extend(found.findings.list.iter().map(|finding| format!("set right: {}", finding.what)));
            self.ns.record(found.fixes)?;
            for inode in found.unnamed {
                self.name_lost(inode)?;
            }
        }
        self.sync_names().map(drop)
    }

    fn mend_copy(&self, ino: Ino, done: &mut Vec<String>) -> Result<()> {
        let Some(inode) = self.ns.find(ino)? else { return Ok(()) };
        let Some(Content::Both(hot, sealed)) = inode.content().copied() else { return Ok(()) };
        self.drop_wrong_copy(ino, hot, sealed)?;
        done.push(format!("{}: its hot copy is gone; it is read from its chunks", self.name_of(&inode)?));
        Ok(())
    }

    /// The next open makes it again.
    fn drop_index(&self, done: &mut Vec<String>) -> Result<()> {
        let dir = self.store.join("index");
        for entry in std::fs::read_dir(&dir).context("list", &dir)? {
            let path = entry.context("list", &dir)?.path();
            std::fs::remove_file(&path).context("delete", &path)?;
        }
        done.push("the chunk index is made again when the store is opened next".to_owned());
        Ok(())
    }

    /// Files whose chunks are damaged and that have a hot copy.
    fn mend_from_copies(&self, done: &mut Vec<String>) -> Result<()> {
        for (hot, ino) in self.ns.hot_files(HotState::Cache)? {
            let Some(inode) = self.ns.find(ino)? else { continue };
            let Some(sealed) = inode.content().and_then(Content::sealed).copied() else { continue };
            if self.is_whole_content(&sealed.id)? {
                continue;
            }
            let name = self.name_of(&inode)?;
            if self.put_from_copy(&sealed.id, hot)? {
                done.push(format!("{name}: its damaged chunks are written again from its hot copy"));
                continue;
            }
            self.ns.redirect_snapshots(ino, hot, Content::Hot(hot))?;
            self.ns.set_content(ino, HotState::Unsealed, |inode| {
                inode.body = Body::File(Content::Hot(hot));
                Ok(())
            })?;
            done.push(format!("{name}: its hot copy is sealed again at the next mount"));
        }
        Ok(())
    }

    fn is_whole_content(&self, id: &crate::base::id::ChunkId) -> Result<bool> {
        let manifest = match crate::seal::stored::load(&self.packs, id) {
            Err(error) if crate::pack::collect::is_damage(&error) => return Ok(false),
            other => other?,
        };
        for chunk in manifest.ids() {
            if !self.packs.contains(&chunk)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Versions say that they are damaged; what cannot be read keeps nothing from being reclaimed.
    fn give_up(&self, done: &mut Vec<String>) -> Result<()> {
        // Damaged blobs are in no pack any more: lists are enough.
        let (_, still) = self.look_at_all(false, &Silent)?;
        for (run, number, why) in still.versions {
            let mut is_new = false;
            let version = self.change_version(run, number, |version| {
                is_new = version.valid || !version.why.contains(&why);
                version.valid = false;
                version.why.retain(|other| *other != why);
                version.why.push(why.clone());
                Ok(())
            })?;
            if is_new {
                done.push(format!("{} is marked: {why}", self.version_text(run, &version)));
            }
        }
        let ops: Vec<_> = still.roots.iter().map(|id| (keys::lost_root(id), Some(Vec::new()))).collect();
        if !ops.is_empty() {
            done.push(format!("{} lists of chunks and trees are given up", ops.len()));
            self.ns.record(ops)?;
        }
        Ok(())
    }

    /// Gives an inode that nothing names a name in `lost+found`.
    fn name_lost(&self, inode: Inode) -> Result<()> {
        let dir = self.lost_and_found()?;
        let name = format!("inode-{}", inode.ino);
        self.ns.adopt(inode, dir, name.as_bytes())
    }

    /// The directory `lost+found` in the root.
    pub(super) fn lost_and_found(&self) -> Result<Ino> {
        if let Some(entry) = self.ns.entry(keys::ROOT, LOST_AND_FOUND)? {
            return Ok(entry.ino);
        }
        let root = self.ns.inode(keys::ROOT)?;
        let owner = Caller { uid: root.uid, gid: root.gid };
        Ok(self.ns.mkdir(keys::ROOT, LOST_AND_FOUND, 0o700, owner)?.ino)
    }
}
