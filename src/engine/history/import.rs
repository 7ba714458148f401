//! A checkpoint from outside of the mount, as files of a run and as a version of it.
//!
//! Order: each file is cut, hashed and put into packs straight from where it lies; the packs are durable; each file gets its
//! name by one record, by reference; then the version is made, with the time that the checkpoint has. A kill in between
//! leaves files that the next try finds: what is there with the same size and time is not read again, and what the newest
//! version holds is not made a version again. Nothing that is there already is changed, and nothing outside either.

mod outside;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, openat};

use super::super::Engine;
use super::trigger::Wanted;
use crate::base::clock::Time;
use crate::base::monitor::Monitor;
use crate::base::{Error, IoContext, Result};
use crate::catalog::keys::{Ino, RunId};
use crate::content::tree::{Body, Entry, Soundness};
use crate::formats;
use crate::pack::PackBatch;
use crate::seal::write;
use crate::version::chosen::Names;
use crate::version::record::{Origin, Version, path_text};
use crate::version::trees::Trees;
pub use outside::Plain;
use outside::{Beside, Look, Outside, open_folder, owner, reach, shown};

/// A part of a checkpoint that is to be taken in.
#[derive(Clone, Debug)]
pub struct Part {
    /// The folder that it lies in, absolute, and which device and inode that is.
    pub folder: PathBuf,
    /// See [`folder`](Self::folder).
    pub identity: (u64, u64),
    /// Its files and folders, below that.
    pub members: Vec<Names>,
    /// The version that is made when the last part is in: its time, and the path of the checkpoint.
    pub last: Option<(Time, String)>,
    /// A part before has brought something new.
    pub is_new: bool,
}

/// What has come in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TakenIn {
    /// Files that came in, and their bytes.
    pub files: u64,
    /// See [`files`](Self::files).
    pub bytes: u64,
    /// What cannot be taken in: sockets, devices.
    pub skipped: Vec<String>,
    /// The version that was made; `None` where the newest one has it all, and before the last part.
    pub version: Option<Version>,
}

impl Engine {
    /// The run at directory `dir`, made one by hand if it is none.
    pub fn import_run(&self, dir: Ino) -> Result<RunId> {
        match self.run_at(dir) {
            Some((id, run)) if !run.forgotten => Ok(id),
            _ => self.add_run(dir).map(|(id, _)| id),
        }
    }

    /// Takes a part of a checkpoint into the run at directory `dir`.
    pub fn import(&self, dir: Ino, part: &Part, monitor: &dyn Monitor) -> Result<TakenIn> {
        self.check_writable()?;
        let folder = open_folder(part)?;
        let is_closing = || self.is_closing();
        let Look { skipped, mut found, .. } = Look::at(part, &folder, &is_closing)?;
        for outside in &mut found {
            outside.is_there = self.is_there(dir, outside, &part.folder)?;
        }
        let mut taken = TakenIn { skipped, ..TakenIn::default() };
        let added = self.take_in(dir, &folder, part, &mut found, &mut taken, monitor)?;
        if let Some((time, source)) = &part.last {
            let (run, _) = self.run_at(dir).ok_or(Error::Errno(libc::ENOENT))?;
            if part.is_new || taken.files > 0 || !self.newest_has(run, &found)? {
                let origin = Some(Origin::Import { source: source.clone() });
                let wanted =
                    Wanted { always: true, origin, time: Some(*time), added, ..Wanted::by("import") };
                taken.version = Some(self.snapshot_as(dir, wanted)?.1);
            }
        }
        Ok(taken)
    }

    /// Whether the run has `outside` already, as an import leaves it. [`Error::Refused`] if it has something else there.
    fn is_there(&self, dir: Ino, outside: &Outside, folder: &Path) -> Result<bool> {
        let mut at = dir;
        for (depth, name) in outside.path.iter().enumerate() {
            let Some(entry) = self.ns.entry(at, name)? else { return Ok(false) };
            let is_last = depth + 1 == outside.path.len();
            if !is_last && entry.kind == libc::S_IFDIR {
                at = entry.ino;
                continue;
            }
            let attr = self.getattr(entry.ino)?;
            let same = entry.kind == outside.entry.mode & libc::S_IFMT
                && (outside.entry.is_dir()
                    || (attr.size, attr.inode.mtime) == (outside.entry.size(), outside.entry.mtime));
            if is_last && same {
                return Ok(true);
            }
            return Err(Error::Refused(format!(
                "{} is in the run already and differs from that in {}; import into another directory",
                path_text(&outside.path.join(&b'/')),
                folder.display()
            )));
        }
        Ok(false)
    }

    /// Brings in what is not there yet; the bytes that the packs have grown by.
    fn take_in(
        &self,
        dir: Ino,
        folder: &File,
        part: &Part,
        found: &mut [Outside],
        taken: &mut TakenIn,
        monitor: &dyn Monitor,
    ) -> Result<u64> {
        let is_file =
            |outside: &&mut Outside| !outside.is_there && matches!(outside.entry.body, Body::File { .. });
        let total = found.iter_mut().filter(is_file).map(|outside| outside.entry.size()).sum();
        monitor.begin("importing", total);
        let mut batch = self.packs.writer()?;
        // Until the records are written: nothing that they name may be collected.
        let _held = batch.held();
        let mut sealed: HashMap<(u64, u64), Entry> = HashMap::new();
        for outside in found.iter_mut().filter(is_file) {
            let bytes = outside.entry.size();
            match outside.identity.and_then(|identity| sealed.get(&identity)) {
                Some(first) => outside.entry.body = first.body.clone(),
                None => {
                    self.seal_outside(folder, &part.folder, outside, &mut batch)?;
                    outside.identity.map(|identity| sealed.insert(identity, outside.entry.clone()));
                }
            }
            taken.files += 1;
            taken.bytes += bytes;
            monitor.advance(taken.bytes);
        }
        let added = batch.finish()?.new_bytes;
        self.name_all(dir, found)?;
        Ok(added)
    }

    /// Puts the bytes of a file outside into the batch.
    fn seal_outside(
        &self,
        folder: &File,
        at: &Path,
        outside: &mut Outside,
        batch: &mut PackBatch,
    ) -> Result<()> {
        if self.is_short_of_room() {
            return Err(Error::Refused(
                "the disk is nearly full, and the import stops before it costs older versions; make room (ckptfs status says \
                 what there is) and give the same command again"
                    .into(),
            ));
        }
        let path = shown(at, &outside.path);
        let (dir, name) = reach(folder, &outside.path, at)?;
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file: File = openat(dir.as_fd(), name, flags, Mode::empty()).context("open", &path)?.into();
        let before = file.metadata().context("stat", &path)?;
        let source = Plain::new(file.try_clone().context("open", &path)?, &path)?;
        let borders = match formats::recognise(name, &source)? {
            Some(format) => {
                formats::tensors(format, name, &source, &Beside { dir, at: &path }).unwrap_or_default()
            }
            None => Vec::new(),
        };
        let borders: Vec<_> = borders.iter().map(|tensor| tensor.offset..tensor.end()).collect();
        let sealed = write::seal_file(&file, &path, &borders, batch, &|| !self.is_closing())?;
        let sealed = sealed.ok_or(Error::Errno(libc::EINTR))?;
        let mtime = Time { secs: before.mtime(), nanos: u32::try_from(before.mtime_nsec()).unwrap_or(0) };
        outside.entry.mtime = mtime;
        outside.entry.body = Body::File {
            content: sealed.content,
            size: sealed.size,
            blocks: before.blocks(),
            format: 0,
            soundness: Soundness::Unknown,
        };
        Ok(())
    }

    /// Gives everything that is not there yet its name; folders get their times when what is in them is there.
    fn name_all(&self, dir: Ino, found: &[Outside]) -> Result<()> {
        let mut links = HashMap::new();
        for outside in found.iter().filter(|outside| !outside.is_there) {
            let (parent, _) = self.made_way(dir, &outside.path)?;
            match &outside.entry.body {
                Body::Dir { .. } => drop(self.made_dir(parent, &outside.entry.name)?),
                _ => self.put_by_reference(parent, &outside.entry, &mut links)?,
            }
        }
        for outside in found.iter().filter(|outside| outside.entry.is_dir()).rev() {
            let (parent, name) = self.made_way(dir, &outside.path)?;
            if let Some(entry) = self.ns.entry(parent, name)? {
                self.dress(entry.ino, &outside.entry)?;
            }
        }
        Ok(())
    }

    /// The directory of `path` below `dir`, made where it is missing, and the last name.
    fn made_way<'p>(&self, dir: Ino, path: &'p [Vec<u8>]) -> Result<(Ino, &'p [u8])> {
        let (name, above) = path.split_last().ok_or(Error::Errno(libc::EINVAL))?;
        let at = above.iter().try_fold(dir, |at, name| self.made_dir(at, name))?;
        Ok((at, name))
    }

    /// Directory `name` in `parent`, made if it is missing.
    pub fn made_dir(&self, parent: Ino, name: &[u8]) -> Result<Ino> {
        match self.ns.entry(parent, name)? {
            Some(entry) if entry.kind == libc::S_IFDIR => Ok(entry.ino),
            Some(_) => Err(Error::Errno(libc::ENOTDIR)),
            None => {
                let made = self.ns.mkdir(parent, name, 0o755, owner())?;
                self.tell_name(parent, name);
                Ok(made.ino)
            }
        }
    }

    /// Whether the newest version of a run has all of `found`.
    fn newest_has(&self, run: RunId, found: &[Outside]) -> Result<bool> {
        let Some(newest) = self.newest_version(run)? else { return Ok(false) };
        let trees = Trees::new(&self.packs);
        let top = trees.top(&newest.tree)?;
        for Outside { path, entry, .. } in found.iter().filter(|outside| !outside.entry.is_dir()) {
            let there = trees.walk(top.clone(), path)?;
            let same = |other: &Entry| (other.size(), other.mtime) == (entry.size(), entry.mtime);
            if !there.is_some_and(|other| same(&other)) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
