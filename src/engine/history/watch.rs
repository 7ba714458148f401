//! What happens to checkpoint files: closed, renamed, about to be destroyed.
//!
//! Order: what would be destroyed and is in no version yet gets its moment recorded before the operation goes on, so that
//! the operation itself keeps the old bytes for it. Nothing here waits for sealing: a closed file costs a look at its first
//! bytes, an operation that destroys nothing new costs a look into a table.

use std::time::Instant;

use super::super::Engine;
use super::super::live::Way;
use super::burst::Save;
use super::trigger::Wanted;
use crate::base::Result;
use crate::catalog::keys::Ino;
use crate::catalog::records::{Content, Home, Inode};
use crate::formats::{self, Format, Validity};
use crate::namespace::rename::{Over, Place};
use crate::version::marker::{Committed, Event, Marker, marker_of};
use crate::version::names::{facts_of_path, is_bare_step, is_temporary};

/// The longest text of a marker that is read, in bytes.
const MARKER_BYTES_MAX: usize = 4096;

impl Engine {
    /// Process `pid` has opened `ino` for writing.
    pub fn opened_by(&self, ino: Ino, pid: u32) {
        if self.options.history.provenance && self.history.writers.opened(ino, pid) {
            self.history.settling.notify_one();
        }
    }

    /// Reads what is to be recorded of the processes that have opened files.
    pub(super) fn look_at_writers(&self) {
        let options = &self.options.history;
        self.history.writers.look(&|pid| {
            crate::version::provenance::of_process(pid, options.provenance_args, &options.mountpoint)
        });
    }

    /// The last writer of `ino` has closed it.
    pub(in super::super) fn closed(&self, ino: Ino) -> Result<()> {
        let pid = self.history.writers.take(ino);
        let Some(inode) = self.ns.find(ino)? else { return Ok(()) };
        let Some(home) = inode.home.clone() else { return Ok(()) };
        if self.is_fresh(&inode, &home)? {
            self.note(ino, &home, pid)?;
        }
        self.marked(&Event::Closed { name: &home.name }, home.parent, ino)
    }

    /// A file was waiting to be sealed when the last mount ended.
    pub(in super::super) fn closed_before(&self, ino: Ino) -> Result<()> {
        let Some(inode) = self.ns.find(ino)? else { return Ok(()) };
        let Some(home) = inode.home.clone() else { return Ok(()) };
        if self.is_fresh(&inode, &home)? {
            self.note(ino, &home, 0)?;
        }
        Ok(())
    }

    /// Whether a version that is to hold the bytes of `inode` is in the making or yet to come.
    pub(in super::super) fn awaits_version(&self, inode: &Inode) -> Result<bool> {
        Ok(self.history.bursts.lock().get(inode.ino).is_some() || self.ns.is_in_snapshot(inode)?)
    }

    fn note(&self, ino: Ino, home: &Home, pid: u32) -> Result<()> {
        let (run, save) = self.save_of(&home.name, home.parent)?;
        let mut bursts = self.history.bursts.lock();
        let idle = bursts.is_empty();
        bursts.note(ino, run, Instant::now(), pid, save);
        drop(bursts);
        if idle {
            self.history.settling.notify_all();
        }
        Ok(())
    }

    /// The run of a file called `name` in `dir`, and which save of it the names say that it belongs to.
    fn save_of(&self, name: &[u8], dir: Ino) -> Result<(Ino, Save)> {
        let run = self.run_dir_of(name, dir)?;
        let chain = self.chain(dir)?;
        let above = chain.iter().take_while(|(ino, _)| *ino != run).map(|(_, name)| name.as_slice());
        let mut path: Vec<&[u8]> = above.collect();
        path.reverse();
        path.push(name);
        let facts = facts_of_path(&path);
        Ok((run, Save { step: facts.step, epoch: facts.epoch }))
    }

    /// A file is about to be made, or to get its name: if names say that it is of another save than what waits in its run,
    /// that one is finished.
    pub(in super::super) fn before_next_save(&self, dir: Ino, name: &[u8]) -> Result<()> {
        if self.history.bursts.lock().is_empty() {
            return Ok(());
        }
        let (run, save) = self.save_of(name, dir)?;
        let other = self.history.bursts.lock().has_other_save(run, &save);
        // Ranks that are slower than the first one still write theirs.
        if other && !self.is_being_written(run)? {
            self.begin_version(run, Wanted::by("next-save"))?;
        }
        Ok(())
    }

    /// Whether a file has checkpoint content that no version can have yet.
    fn is_fresh(&self, inode: &Inode, home: &Home) -> Result<bool> {
        let Some(Content::Hot(hot)) = inode.content() else { return Ok(false) };
        let found = formats::recognise(&self.file_path(home)?, &self.hot_source(*hot)?)?;
        if found == Some(Format::SavedModel) {
            self.history.committed.lock().insert(home.parent);
        }
        Ok(found.is_some())
    }

    /// Begins a version if `event` in directory `dir` is the last act of a save; `ino` is the file or directory of it.
    fn marked(&self, event: &Event<'_>, dir: Ino, ino: Ino) -> Result<()> {
        let dir_name =
            self.ns.find(dir)?.and_then(|inode| inode.home).map(|home| home.name).unwrap_or_default();
        let Some(marker) = marker_of(event, &dir_name) else { return Ok(()) };
        let text = if marker.needs_text() { Some(self.head(ino)?) } else { None };
        let committed = match marker.committed(text.as_deref()) {
            Committed::Nothing => return Ok(()),
            Committed::HoldingDirectory => dir,
            Committed::Renamed => ino,
            Committed::Named(name) => match self.ns.entry(dir, &name)? {
                Some(entry) if entry.kind == libc::S_IFDIR => entry.ino,
                _ => return Ok(()),
            },
        };
        let run = self.committed_run(&marker, committed, dir)?;
        self.begin_version(run, Wanted::by(marker.name())).map(drop)
    }

    /// The run of what a marker commits.
    fn committed_run(&self, marker: &Marker, committed: Ino, holding: Ino) -> Result<Ino> {
        // TensorFlow's names prefixes beside it, DeepSpeed's and Megatron's a directory beside it: the run is theirs.
        if matches!(marker, Marker::TfCheckpoint | Marker::DeepSpeed | Marker::Megatron) {
            return self.run_dir_of(b"", holding);
        }
        self.history.committed.lock().insert(committed);
        let run = self.run_dir_of(b"", committed)?;
        let name = self.ns.find(committed)?.and_then(|inode| inode.home).map(|home| home.name);
        if run != committed && name.is_some_and(|name| is_bare_step(&name)) {
            let on_record = self.run_at(run);
            if let Some((id, record)) = on_record
                && !record.bare_steps
            {
                self.change_run(id, |run| run.bare_steps = true)?;
            }
        }
        Ok(run)
    }

    /// The first bytes of a small file.
    fn head(&self, ino: Ino) -> Result<Vec<u8>> {
        let size = self.getattr(ino)?.size.min(MARKER_BYTES_MAX as u64);
        let mut text = vec![0; usize::try_from(size).unwrap_or(MARKER_BYTES_MAX)];
        if let Some(inode) = self.ns.find(ino)? {
            self.source_of(&inode)?.read_exact_at(0, &mut text)?;
        }
        Ok(text)
    }

    /// Whether somebody writes checkpoint content below `run`, and has done so lately.
    pub(super) fn is_being_written(&self, run: Ino) -> Result<bool> {
        for live in self.live.open() {
            let writers = live.lock().writers;
            let hot = live.way().as_ref().and_then(Way::hot).map(|hot| hot.id);
            let (true, Some(hot)) = (writers > 0, hot) else { continue };
            let Some(inode) = self.ns.find(live.ino)? else { continue };
            let Some(home) = inode.home.as_ref() else { continue };
            let written = self.hot.attr(hot)?.mtime;
            let ago = crate::base::clock::Time::now().secs - written.secs;
            let settle = self.options.history.settle.as_secs().cast_signed();
            if ago <= settle
                && self.ns.is_below(&inode, run)?
                && formats::recognise(&self.file_path(home)?, &self.hot_source(hot)?)?.is_some()
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Renames, with what history has to do before and after. See [`Namespace::rename`](crate::namespace::Namespace::rename).
    pub fn rename(&self, from: Place<'_>, to: Place<'_>, over: Over) -> Result<()> {
        self.check_writable()?;
        let target = self.ns.entry(to.parent, to.name)?;
        let mut dying = None;
        if let (Some(target), Over::Replace) = (target, over) {
            let moving = self.ns.entry(from.parent, from.name)?;
            if moving.is_some_and(|moving| moving.ino != target.ino) {
                self.before_destroyed(target.ino, self.writers(target.ino), "overwrite")?;
                dying = self.run_dying(target.ino)?;
            }
        }
        self.before_next_save(to.parent, to.name)?;
        self.ns.rename(from, to, over)?;
        if let Some((id, path)) = dying {
            self.run_died(id, path)?;
        }
        if let Some(target) = target
            && self.ns.find(target.ino)?.is_none_or(|inode| inode.nlink == 0)
        {
            self.history.bursts.lock().forget(target.ino);
        }
        let Some(moved) = self.ns.entry(to.parent, to.name)? else { return Ok(()) };
        let is_dir = moved.kind == libc::S_IFDIR;
        let fresh = self.history.bursts.lock().get(moved.ino);
        if let Some(fresh) = fresh {
            self.note(moved.ino, &to.into(), fresh.pid)?;
        }
        let event = Event::Renamed { from: from.name, to: to.name, is_dir };
        self.marked(&event, to.parent, moved.ino)
    }

    /// Removes an empty directory. The history of a run stays.
    pub fn rmdir(&self, parent: Ino, name: &[u8]) -> Result<()> {
        self.check_writable()?;
        let dying = match self.ns.entry(parent, name)? {
            Some(entry) => self.run_dying(entry.ino)?,
            None => None,
        };
        self.ns.rmdir(parent, name)?;
        if let Some((id, path)) = dying {
            self.run_died(id, path)?;
        }
        Ok(())
    }

    /// The name `name` of `ino` is about to be removed.
    pub(in super::super) fn before_unlink(&self, parent: Ino, name: &[u8]) -> Result<()> {
        if self.history.bursts.lock().is_empty() {
            return Ok(());
        }
        let Some(entry) = self.ns.entry(parent, name)? else { return Ok(()) };
        let fresh = self.history.bursts.lock().get(entry.ino);
        let Some(fresh) = fresh else { return Ok(()) };
        let Some(inode) = self.ns.find(entry.ino)? else { return Ok(()) };
        if inode.nlink > 1 {
            return Ok(());
        }
        // Made and removed before anything else was completed: a temporary file.
        let temporary = !self.history.bursts.lock().has_newer(&fresh)
            || self.chain(parent)?.iter().map(|(_, name)| name.as_slice()).chain([name]).any(is_temporary);
        if !temporary {
            self.before_destroyed(entry.ino, 0, "delete")?;
        }
        self.history.bursts.lock().forget(entry.ino);
        Ok(())
    }

    /// The bytes of `ino`, which `writers` handles may write, are about to go: if they are whole checkpoint content that is
    /// in no version, one is begun.
    ///
    /// A handle that its program has closed may still count as a writer: the kernel tells of a close a moment later.
    pub(in super::super) fn before_destroyed(&self, ino: Ino, writers: usize, trigger: &str) -> Result<()> {
        let fresh = self.history.bursts.lock().get(ino);
        if fresh.is_none() && writers == 0 {
            return Ok(());
        }
        let Some(inode) = self.ns.find(ino)? else { return Ok(()) };
        let Some(home) = &inode.home else { return Ok(()) };
        if self.is_whole(&inode)? {
            self.begin_version(self.run_dir_of(&home.name, home.parent)?, Wanted::by(trigger))?;
        }
        Ok(())
    }

    fn writers(&self, ino: Ino) -> usize {
        self.live.get(ino).lock().writers
    }

    /// The path of a file below the mount.
    fn file_path(&self, home: &Home) -> Result<Vec<u8>> {
        let mut path = self.dir_path(home.parent)?;
        path.push(b'/');
        path.extend_from_slice(&home.name);
        Ok(path)
    }

    /// Whether a hot file is checkpoint content that is not cut short.
    fn is_whole(&self, inode: &Inode) -> Result<bool> {
        let (Some(Content::Hot(hot)), Some(home)) = (inode.content(), &inode.home) else { return Ok(false) };
        let source = self.hot_source(*hot)?;
        let Some(format) = formats::recognise(&self.file_path(home)?, &source)? else { return Ok(false) };
        let siblings = self.live_siblings(home.parent);
        Ok(formats::validate(format, &home.name, &source, &siblings)? == Validity::Valid)
    }
}
