//! Hot files held against their records and, where their bytes are sealed, too, against these.

use super::super::Engine;
use super::{Checked, Damage};
use crate::base::monitor::Monitor;
use crate::base::{Error, Result};
use crate::catalog::keys::{HotId, HotState, Ino};
use crate::catalog::records::Content;
use crate::check::finding::Finding;
use crate::check::{Area, Roots};
use crate::content::manifest::Manifest;
use crate::pack::collect::is_damage;
use crate::seal::{compare, stored};

const REPAIR_COPY: &str = "the hot copy goes; the file is read from its chunks";

impl Engine {
    /// Tells of hot files that are missing, and of copies of sealed files that differ from them.
    pub(super) fn look_at_hot_files(
        &self,
        read_data: bool,
        roots: &Roots<'_>,
        monitor: &dyn Monitor,
        checked: &mut Checked,
        damage: &mut Damage,
    ) -> Result<()> {
        let copies = self.ns.hot_files(HotState::Cache)?;
        monitor.begin("looking at hot files (files)", copies.len() as u64);
        for (at, (hot, ino)) in copies.into_iter().enumerate() {
            self.is_here()?;
            checked.hot_files += 1;
            if let Some(why) = self.wrong_copy(hot, ino, read_data, roots)? {
                let what = format!("{}: {why}", self.name_of(&self.ns.inode(ino)?)?);
                checked.findings.add(Area::Hot, what, Some(REPAIR_COPY));
                damage.copies.push(ino);
            }
            monitor.advance(at as u64);
        }
        for state in [HotState::Unsealed, HotState::Small] {
            for (hot, ino) in self.ns.hot_files(state)? {
                checked.hot_files += 1;
                let Some(why) = self.wrong_file(hot, read_data)? else { continue };
                // Written, sealed or removed meanwhile: it is what it is now.
                let Some(inode) =
                    self.ns.find(ino)?.filter(|inode| inode.content() == Some(&Content::Hot(hot)))
                else {
                    continue;
                };
                let what = format!("{}: {why}", self.name_of(&inode)?);
                let lost_bytes = self.hot.attr(hot).map_or(0, |attr| attr.size);
                checked.lost_bytes += lost_bytes;
                checked.findings.push(Finding { area: Area::Hot, what, lost_bytes, repair: None });
            }
        }
        Ok(())
    }

    /// What is wrong with a hot file that is all there is of its bytes.
    fn wrong_file(&self, hot: HotId, read_data: bool) -> Result<Option<String>> {
        if self.hot.attr(hot).is_err() {
            let path = self.hot.path(hot);
            return Ok(Some(format!(
                "its hot file {} is missing: what was not sealed yet is lost",
                path.display()
            )));
        }
        let Some(mark) = self.ns.hot_mark(hot)?.filter(|_| read_data) else { return Ok(None) };
        match self.hold_against(hot, &mark) {
            Ok(()) => Ok(None),
            Err(error) if is_damage(&error) => Ok(Some(error.to_string())),
            Err(error) => Err(error),
        }
    }

    /// Why the hot copy of a sealed file is not one, if so.
    fn wrong_copy(&self, hot: HotId, ino: Ino, read_data: bool, roots: &Roots<'_>) -> Result<Option<String>> {
        let sealed = || match self.ns.find(ino)?.and_then(|inode| inode.content().copied()) {
            Some(Content::Both(id, sealed)) if id == hot => Ok::<_, Error>(Some(sealed)),
            _ => Ok(None),
        };
        let Some(before) = sealed()? else { return Ok(None) };
        if roots.lost.contains_key(&before.id) {
            // It is the only copy now.
            return Ok(None);
        }
        let same = if read_data {
            let manifest = stored::load(&self.packs, &before.id)?;
            self.is_copy(hot, &manifest, &|_| self.is_here())
        } else {
            self.hot.attr(hot).map(|attr| attr.size == before.size)
        };
        let why = match same {
            Ok(true) => return Ok(None),
            Ok(false) => "its hot copy differs from what was sealed".to_owned(),
            Err(error @ Error::Errno(_)) => return Err(error),
            Err(error) => format!("its hot copy cannot be read: {error}"),
        };
        // Opened for writing, or dropped, meanwhile: it is none any more.
        Ok((sealed()?.as_ref() == Some(&before)).then_some(why))
    }

    /// Whether hot file `hot` holds what `manifest` lists.
    pub(in super::super) fn is_copy(
        &self,
        hot: HotId,
        manifest: &Manifest,
        go_on: &dyn Fn(u64) -> Result<()>,
    ) -> Result<bool> {
        let file = self.hot.open_unseen(hot)?;
        match compare::is_same(&file, &self.hot.path(hot), manifest, go_on) {
            Err(error) if is_damage(&error) => Ok(false),
            other => other,
        }
    }
}
