//! Who has what is lost: files that are there now by path, versions by run, number and path.

use super::super::Engine;
use super::{Checked, Damage};
use crate::base::Result;
use crate::base::id::ChunkId;
use crate::catalog::keys::{Ino, RunId};
use crate::catalog::records::{Content, Inode};
use crate::check::finding::Finding;
use crate::check::{Area, Roots};
use crate::namespace::Namespace;
use crate::version::record::{Version, path_text};

/// Paths of one version that are told one by one.
const TOLD_MAX: u64 = 20;
const REPAIR_VERSION: &str = "the version is marked as not valid; what is left of it can be read";
const REPAIR_HOT: &str = "it is sealed anew from its hot copy";

impl Engine {
    /// Tells of every file and version that something lost belongs to.
    pub(super) fn name_what_is_lost(
        &self,
        versions: &[(RunId, Version)],
        roots: &Roots<'_>,
        checked: &mut Checked,
        damage: &mut Damage,
    ) -> Result<()> {
        if roots.is_whole() {
            return Ok(());
        }
        self.files_with(roots, checked)?;
        for (run, version) in versions {
            if let Some(about) = version.about.and_then(|about| roots.lost_nodes.get(&about)) {
                let what =
                    format!("{}: its description in the packs: {about}", self.version_text(*run, version));
                checked.findings.add(Area::Version, what, None);
            }
            self.version_with(*run, version, roots, checked, damage)?;
        }
        Ok(())
    }

    pub(super) fn version_text(&self, run: RunId, version: &Version) -> String {
        let path = self.run(run).map_or_else(|| version.path.clone(), |run| self.run_path(&run));
        format!("run {} version {:06}", if path.is_empty() { "/" } else { &path }, version.number)
    }

    fn version_with(
        &self,
        run: RunId,
        version: &Version,
        roots: &Roots<'_>,
        checked: &mut Checked,
        damage: &mut Damage,
    ) -> Result<()> {
        let of = self.version_text(run, version);
        let (mut told, mut paths, mut lost) = (Vec::new(), 0_u64, 0_u64);
        roots.affected(&version.tree, &mut |path, bytes, why| {
            let path = if path.is_empty() { "all of it".to_owned() } else { path_text(path) };
            paths += 1;
            lost += bytes;
            if paths <= TOLD_MAX {
                told.push((path, bytes, why.to_owned()));
            }
        })?;
        let Some((first, ..)) = told.first() else { return Ok(()) };
        let why = match paths {
            1 => format!("{first} is damaged in the store"),
            _ => format!("{first} and {} more are damaged in the store", paths - 1),
        };
        // What a repair has said of it already it cannot say again.
        let is_marked = !version.valid && version.why.contains(&why);
        for (path, lost_bytes, why) in told {
            let what = format!("{of}: {path}: {why}");
            let repair = (!is_marked).then(|| REPAIR_VERSION.to_owned());
            checked.findings.push(Finding { area: Area::Version, what, lost_bytes, repair });
        }
        checked.findings.more += paths.saturating_sub(TOLD_MAX);
        checked.lost_bytes += lost;
        damage.versions.push((run, version.number, why));
        Ok(())
    }

    /// Files that are there now.
    fn files_with(&self, roots: &Roots<'_>, checked: &mut Checked) -> Result<()> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            self.is_here()?;
            let page = self.ns.meta().scan(b"i", after.as_deref(), 4096)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            for (key, value) in &page {
                let inode = Inode::decode(value).ok_or_else(|| Namespace::damaged(key))?;
                let Some(sealed) = inode.content().and_then(Content::sealed) else { continue };
                let Some(lost) = roots.lost.get(&sealed.id) else { continue };
                let is_hot = inode.content().and_then(Content::hot).is_some();
                let what = format!("{}: {}", self.name_of(&inode)?, lost.why);
                let lost_bytes = if is_hot { 0 } else { lost.bytes };
                checked.lost_bytes += lost_bytes;
                let repair = is_hot.then(|| REPAIR_HOT.to_owned());
                checked.findings.push(Finding { area: Area::File, what, lost_bytes, repair });
            }
        }
    }

    /// The path of inode `ino` below the mount, or its number where there is none: for messages.
    pub fn name_in_mount(&self, ino: Ino) -> String {
        let named = self.ns.inode(ino).and_then(|inode| self.name_of(&inode));
        named.unwrap_or_else(|_| format!("inode {ino}"))
    }

    /// The path of an inode below the mount, for people.
    pub(super) fn name_of(&self, inode: &Inode) -> Result<String> {
        match &inode.home {
            Some(home) => {
                let path = self.file_path(home)?;
                Ok(path_text(path.strip_prefix(b"/").unwrap_or(&path)))
            }
            None => Ok(format!("inode {}", inode.ino)),
        }
    }
}

/// Manifests and nodes that cannot be read: what they lead to is not known any more.
pub(super) fn unreadable(roots: &Roots<'_>) -> Vec<ChunkId> {
    let contents = roots.lost.iter().filter(|(_, lost)| lost.whole).map(|(id, _)| *id);
    contents.chain(roots.lost_nodes.keys().copied()).collect()
}
