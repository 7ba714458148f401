//! What happens to checkpoint files: closed, renamed, and whether that was the last act of a save.
//!
//! Nothing here waits for sealing, and nothing here fails an operation: a closed file costs a look at its first bytes.

use std::time::Instant;

use super::super::Engine;
use super::burst::Save;
use super::trigger::Wanted;
use crate::base::{Error, Result};
use crate::catalog::keys::Ino;
use crate::catalog::records::{Content, Home, Inode};
use crate::formats::{self, Format};
use crate::version::marker::{Committed, Event, Marker, marker_of};
use crate::version::names::{facts_of_path, is_bare_step, is_thrown_away};

/// The longest text of a marker that is read, in bytes.
const MARKER_BYTES_MAX: usize = 4096;

impl Engine {
    /// Thread `pid` has opened `ino` for writing.
    pub fn opened_by(&self, ino: Ino, pid: u32) {
        self.history.unclosed.opened(ino, pid);
        if self.options.history.provenance && self.history.writers.is_unknown(pid) {
            self.history.settling.notify_one();
        }
    }

    /// The handle that [`closed`](Self::closed) told of does not count any more.
    pub(in super::super) fn let_go_by_writer(&self, ino: Ino) {
        self.history.unclosed.closed(ino);
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
        match self.look_at_closed(ino) {
            // Truncated, replaced or removed while it was looked at: whoever did that closes or names it again.
            Err(Error::Errno(libc::ESTALE | libc::ENOENT)) => Ok(()),
            other => other,
        }
    }

    fn look_at_closed(&self, ino: Ino) -> Result<()> {
        let pid = self.history.unclosed.closing(ino);
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

    pub(super) fn note(&self, ino: Ino, home: &Home, pid: u32) -> Result<()> {
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
    pub(super) fn save_of(&self, name: &[u8], dir: Ino) -> Result<(Ino, Save)> {
        let run = self.run_dir_of(name, dir)?;
        let chain = self.chain(dir)?;
        let above = chain.iter().take_while(|(ino, _)| *ino != run).map(|(_, name)| name.as_slice());
        let mut path: Vec<&[u8]> = above.collect();
        path.reverse();
        path.push(name);
        // A worker of TensorFlow may be a step ahead of its chief, or behind: its copies begin and end no save.
        if path.iter().any(|name| is_thrown_away(name)) {
            return Ok((run, Save::default()));
        }
        let facts = facts_of_path(&path);
        Ok((run, Save { step: facts.step, epoch: facts.epoch }))
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
    pub(super) fn marked(&self, event: &Event<'_>, dir: Ino, ino: Ino) -> Result<()> {
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
        // NeMo takes its own mark away after all that a framework below it does, and resumes from nothing that has one.
        if self.is_marked_unfinished(committed)? {
            return Ok(());
        }
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

    /// The path of a file below the mount.
    pub(in super::super) fn file_path(&self, home: &Home) -> Result<Vec<u8>> {
        let mut path = self.dir_path(home.parent)?;
        path.push(b'/');
        path.extend_from_slice(&home.name);
        Ok(path)
    }
}
