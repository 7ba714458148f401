//! A version handed out as a stream: directories, attributes and bytes, for whoever writes them elsewhere.
//!
//! Every byte comes from a chunk whose hash was checked. The engine writes nowhere itself: whoever asked has other rights
//! on the target than the daemon, and may see other mounts. Order of a stream: the total; a directory before what is in it,
//! and its end after; a file, its bytes from the front, its end. A file whose bytes are damaged ends as broken, and the
//! rest goes on. The version is held until the stream ends.

use std::collections::HashSet;
use std::sync::Arc;

use super::super::Engine;
use super::manage::Held;
use crate::base::{Error, Result};
use crate::catalog::keys::RunId;
use crate::content::tree::{Body, Entry};
use crate::pack::collect::is_damage;
use crate::seal::read::{SealedFile, Slice};
use crate::version::chosen::{Chosen, Names, Part};
use crate::version::record::{Version, path_text};
use crate::version::trees::Trees;

/// Bytes of a file that are read at once.
const STEP_BYTES: usize = 1 << 20;

/// One piece of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Bytes of all files that will come; before everything else.
    Total(u64),
    /// A directory begins: what follows is in it. The first one, with an empty name, is the target itself.
    Enter(&'a Entry),
    /// The innermost directory ends.
    Leave,
    /// A regular file begins, or something else without bytes is there.
    Leaf(&'a Entry),
    /// Another name of an inode that was there before.
    Link(&'a Entry),
    /// Bytes of the file that has begun.
    Data(&'a [u8]),
    /// So many zeros of it.
    Hole(u64),
    /// It is whole.
    End,
    /// It is damaged: what was there of it is not to be used.
    Broken,
}

/// What takes a stream.
pub trait Sink {
    /// Takes the next piece. An error ends the stream.
    fn take(&mut self, event: Event<'_>) -> Result<()>;
}

/// What was handed out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Streamed {
    /// Regular files, each name counted.
    pub files: u64,
    /// Their bytes, each inode counted once.
    pub bytes: u64,
    /// Paths of files and directories that are damaged and were left out.
    pub damaged: Vec<String>,
}

impl Engine {
    /// Holds version `number` of a run; `ENOENT` when it is about to go.
    pub(super) fn held_version(&self, run: RunId, number: u32) -> Result<(Held<'_>, Version)> {
        let held = self.hold_while(run, number);
        let version = self.version(run, number)?.ok_or(Error::Errno(libc::ENOENT))?;
        Ok((held, version))
    }

    /// Hands out what is `chosen` of version `number` of a run. [`Error::Refused`] for a chosen path that is not in it.
    ///
    /// Where exactly one path is chosen and it is a directory, that is the target itself, else all names lead from the run.
    pub fn export(&self, run: RunId, number: u32, chosen: &Chosen, sink: &mut dyn Sink) -> Result<Streamed> {
        let (_held, version) = self.held_version(run, number)?;
        let mut export = Export {
            engine: self,
            trees: Trees::new(&self.packs),
            sink,
            seen: HashSet::new(),
            done: Streamed::default(),
        };
        let top = export.trees.top(&version.tree)?;
        let found = self.find_chosen(&top, chosen, number)?;
        let total = if chosen.is_all() { bytes_of(&top) } else { found.iter().map(bytes_of).sum() };
        export.sink.take(Event::Total(total))?;
        match (chosen.paths(), found.as_slice()) {
            ([path], [dir]) if dir.is_dir() => {
                let top = Entry { name: Vec::new(), ..dir.clone() };
                export.directory(&top, &Chosen::default(), path.clone())?;
            }
            ([_], [leaf]) => export.leaf(leaf, &[])?,
            _ => export.directory(&top, chosen, Vec::new())?,
        }
        Ok(export.done)
    }

    /// The entries of the chosen paths below `top`, each once.
    pub(super) fn find_chosen(&self, top: &Entry, chosen: &Chosen, number: u32) -> Result<Vec<Entry>> {
        let trees = Trees::new(&self.packs);
        let find = |path: &Names| {
            trees.walk(top.clone(), path)?.ok_or_else(|| {
                let path = path_text(&path.join(&b'/'));
                Error::Refused(format!(
                    "'{path}' is not in version {number:06}; `ls .snapshots/{number:06}` shows what is"
                ))
            })
        };
        chosen.paths().iter().map(find).collect()
    }
}

fn bytes_of(entry: &Entry) -> u64 {
    match entry.body {
        Body::Dir { bytes, .. } => bytes,
        Body::File { size, .. } => size,
        _ => 0,
    }
}

struct Export<'a> {
    engine: &'a Engine,
    trees: Trees<'a>,
    sink: &'a mut dyn Sink,
    /// Inodes with several names that have been handed out.
    seen: HashSet<u64>,
    done: Streamed,
}

impl Export<'_> {
    /// The directory `top` at `path`, with what is chosen below it.
    fn directory(&mut self, top: &Entry, chosen: &Chosen, path: Names) -> Result<()> {
        let Some(entries) = self.entries(top, chosen, &path)? else { return Ok(()) };
        self.sink.take(Event::Enter(top))?;
        let mut stack = vec![entries.into_iter()];
        let mut path = path;
        while let Some(rest) = stack.last_mut() {
            let Some(entry) = rest.next() else {
                stack.pop();
                path.pop();
                self.sink.take(Event::Leave)?;
                continue;
            };
            if !entry.is_dir() {
                self.leaf(&entry, &path)?;
                continue;
            }
            path.push(entry.name.clone());
            match self.entries(&entry, chosen, &path)? {
                Some(entries) => {
                    self.sink.take(Event::Enter(&entry))?;
                    stack.push(entries.into_iter());
                }
                None => drop(path.pop()),
            }
        }
        Ok(())
    }

    /// What is chosen in the directory `dir` at `path`, by name; `None` when its list is damaged.
    fn entries(&mut self, dir: &Entry, chosen: &Chosen, path: &[Vec<u8>]) -> Result<Option<Vec<Entry>>> {
        let Body::Dir { tree, .. } = &dir.body else { return Ok(Some(Vec::new())) };
        match self.trees.list(tree, None, usize::MAX) {
            Ok(mut entries) => {
                entries.retain(|entry| chosen.part(path, &entry.name) != Part::Not);
                entries.sort_by(|one, other| one.name.cmp(&other.name));
                Ok(Some(entries))
            }
            Err(error) if is_damage(&error) => {
                self.damaged(path, b"", &error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn leaf(&mut self, entry: &Entry, path: &[Vec<u8>]) -> Result<()> {
        let Body::File { content, size, .. } = entry.body else {
            return self.sink.take(Event::Leaf(entry));
        };
        if entry.nlink > 1 && self.seen.contains(&entry.ino) {
            self.done.files += 1;
            return self.sink.take(Event::Link(entry));
        }
        let opened =
            SealedFile::open(Arc::clone(&self.engine.packs), Arc::clone(&self.engine.readers), content);
        let file = match opened {
            Err(error) if is_damage(&error) => {
                self.damaged(path, &entry.name, &error);
                return Ok(());
            }
            file => file?,
        };
        self.sink.take(Event::Leaf(entry))?;
        if let Some(damage) = self.bytes(&file)? {
            self.damaged(path, &entry.name, &damage);
            return self.sink.take(Event::Broken);
        }
        self.sink.take(Event::End)?;
        if entry.nlink > 1 {
            self.seen.insert(entry.ino);
        }
        self.done.files += 1;
        self.done.bytes += size;
        Ok(())
    }

    /// Hands out the bytes of a file; what is damaged in it, if something is.
    fn bytes(&mut self, file: &SealedFile) -> Result<Option<Error>> {
        let mut at = 0;
        while at < file.size() {
            let slices = match file.slices(at, STEP_BYTES) {
                Err(error) if is_damage(&error) => return Ok(Some(error)),
                slices => slices?,
            };
            for slice in slices {
                at += slice.as_ref().len() as u64;
                self.sink.take(match &slice {
                    Slice::Bytes { .. } => Event::Data(slice.as_ref()),
                    Slice::Zeros(len) => Event::Hole(*len as u64),
                })?;
            }
        }
        Ok(None)
    }

    fn damaged(&mut self, path: &[Vec<u8>], name: &[u8], error: &Error) {
        self.engine.report(error, "read a version");
        let names: Vec<&[u8]> =
            path.iter().map(Vec::as_slice).chain([name]).filter(|name| !name.is_empty()).collect();
        self.done.damaged.push(path_text(&names.join(&b'/')));
    }
}
