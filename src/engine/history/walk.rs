//! From a moment of a directory to a tree in packs.
//!
//! Directories are walked depth first with a stack of our own, children before the node that names them. A file that
//! cannot be read is left out and said so: one bad file must not keep all others from being kept.

use std::collections::HashMap;

use super::super::Engine;
use super::super::sealer::Packed;
use super::judge::Judged;
use super::known::{Known, Name, Walked};
use super::resolve::Resolved;
use crate::base::clock::Time;
use crate::base::id::ChunkId;
use crate::base::{Error, Result};
use crate::catalog::keys::{HotId, Ino};
use crate::catalog::records::{Body, Inode};
use crate::content::tree::{self, Soundness, encode_dir};
use crate::formats::{self, Facts, Format};
use crate::namespace::readdir::Entry;
use crate::namespace::view::View;
use crate::pack::{Kind, PackBatch};
use crate::version::names::is_temporary;
use crate::version::trees::Trees;

/// How often a walk waits for files that seem to be written.
const PATIENCE: u32 = 8;

/// A checkpoint file whose content no earlier version has.
#[derive(Debug)]
pub(super) struct NewFile {
    /// The names that lead to it from the run.
    pub(super) path: Vec<Vec<u8>>,
    /// Its other paths: hard links tell as much as the first name.
    pub(super) links: Vec<Vec<Vec<u8>>>,
    pub(super) dir: Ino,
    pub(super) ino: Ino,
    pub(super) format: Format,
    pub(super) soundness: Soundness,
    pub(super) why: Option<String>,
    pub(super) facts: Facts,
}

/// A version's tree in the making.
pub(super) struct Walk<'a> {
    pub(super) engine: &'a Engine,
    pub(super) view: View<'a>,
    pub(super) batch: PackBatch,
    pub(super) known: &'a Known,
    pub(super) published: Vec<Packed>,
    /// Copies of files that were being written, to be deleted at the end.
    pub(super) copies: Vec<HotId>,
    pub(super) new: Vec<NewFile>,
    /// How often a file that seems to be written may still be waited for.
    pub(super) patience: u32,
    /// What could not be taken, in words.
    pub(super) missing: Vec<String>,
    pub(super) walked: Walked,
    /// The file whose new bytes say that a save is complete, if the version was begun for that.
    pub(super) marker: Option<&'static [u8]>,
    /// It has bytes that the version before has not.
    pub(super) is_committed: bool,
    /// Hard links are resolved once: what they are, and the time that their hot file has.
    links: HashMap<Ino, (tree::Body, Time)>,
}

/// A directory whose entries are being gone through.
struct Frame {
    inode: Inode,
    name: Vec<u8>,
    todo: std::vec::IntoIter<Entry>,
    done: Vec<tree::Entry>,
    files: u64,
    bytes: u64,
}

impl<'a> Walk<'a> {
    pub(super) fn new(engine: &'a Engine, view: View<'a>, known: &'a Known) -> Result<Self> {
        Ok(Walk {
            engine,
            view,
            batch: engine.packs.writer()?,
            known,
            published: Vec::new(),
            copies: Vec::new(),
            new: Vec::new(),
            patience: PATIENCE,
            missing: Vec::new(),
            walked: Walked::default(),
            marker: None,
            is_committed: false,
            links: HashMap::new(),
        })
    }

    /// Puts the tree of directory `top` into the batch; its entry, with an empty name.
    pub(super) fn tree(&mut self, top: Ino) -> Result<tree::Entry> {
        self.tree_at(top, &[])
    }

    /// Puts the tree of directory `dir`, which is at `above` in the run, into the batch; its entry.
    pub(super) fn tree_at(&mut self, dir: Ino, above: &[Vec<u8>]) -> Result<tree::Entry> {
        let mut stack = vec![self.frame(dir, above.last().cloned().unwrap_or_default())?];
        loop {
            let Some(frame) = stack.last_mut() else { return Err(Error::Errno(libc::EIO)) };
            if let Some(entry) = frame.todo.next() {
                let Some(inode) = self.view.inode(entry.ino)? else { continue };
                if inode.is_dir() {
                    stack.push(self.frame(inode.ino, entry.name)?);
                    continue;
                }
                let inner = stack.iter().skip(1).map(|frame| &frame.name);
                let path = above.iter().chain(inner).chain([&entry.name]).cloned().collect();
                let dir = stack.last().map_or(dir, |frame| frame.inode.ino);
                if let (Some(leaf), Some(frame)) = (self.leaf(inode, dir, path)?, stack.last_mut()) {
                    let (files, bytes) = weight(&leaf);
                    frame.files += files;
                    frame.bytes += bytes;
                    frame.done.push(leaf);
                }
                continue;
            }
            let Some(frame) = stack.pop() else { return Err(Error::Errno(libc::EIO)) };
            let Frame { inode, name, done, files, bytes, .. } = frame;
            let node = encode_dir(done, &mut |id, bytes| self.batch.put(Kind::Tree, id, bytes).map(drop))?;
            let entry = self.entry(&inode, name, tree::Body::Dir { tree: node, files, bytes })?;
            match stack.last_mut() {
                None => return Ok(entry),
                Some(above) => {
                    above.files += files;
                    above.bytes += bytes;
                    above.done.push(entry);
                }
            }
        }
    }

    fn frame(&self, dir: Ino, name: Vec<u8>) -> Result<Frame> {
        let inode = self.view.inode(dir)?.ok_or(Error::Errno(libc::ENOENT))?;
        let todo = self.view.entries(dir)?.into_iter();
        Ok(Frame { inode, name, todo, done: Vec::new(), files: 0, bytes: 0 })
    }

    pub(super) fn entry(&self, inode: &Inode, name: Vec<u8>, body: tree::Body) -> Result<tree::Entry> {
        let xattrs = if inode.xattrs > 0 { self.view.xattrs(inode.ino)? } else { Vec::new() };
        let Inode { ino, mode, uid, gid, nlink, mtime, .. } = *inode;
        Ok(tree::Entry { name, ino, mode, uid, gid, nlink, mtime, xattrs, body })
    }

    /// The entry of anything but a directory; `None` where its bytes cannot be read.
    pub(super) fn leaf(
        &mut self,
        mut inode: Inode,
        dir: Ino,
        path: Vec<Vec<u8>>,
    ) -> Result<Option<tree::Entry>> {
        let name = path.last().cloned().unwrap_or_default();
        let is_temporary = is_temporary_path(&path);
        let body = match &inode.body {
            Body::Symlink(target) => tree::Body::Symlink(target.clone()),
            Body::Special => tree::Body::Special(inode.rdev),
            Body::Dir { .. } => return Err(Error::Errno(libc::EISDIR)),
            Body::File(content) => {
                let hot = content.hot();
                match self.file(&mut inode, dir, path) {
                    Ok(body) => body,
                    Err(error) if self.is_about_file(&error, hot) => {
                        self.engine.report(&error, "take a file into a version");
                        self.missing.push(format!("{}: {error}", String::from_utf8_lossy(&name)));
                        return Ok(None);
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        let entry = self.entry(&inode, name, body)?;
        self.walked.came.extend(Name::of(&entry, is_temporary));
        Ok(Some(entry))
    }

    /// Whether an error is one of this file's own bytes.
    fn is_about_file(&self, error: &Error, hot: Option<HotId>) -> bool {
        let own = hot.map(|hot| self.engine.hot.path(hot));
        match error {
            Error::Io { path, .. } => own.as_ref() == Some(path),
            // Gone or shorter than a moment ago, although nobody may write it.
            Error::Damaged { .. } | Error::Errno(libc::ESTALE) => true,
            Error::Errno(_) | Error::Refused(_) | Error::Poisoned(_) => false,
        }
    }

    fn file(&mut self, inode: &mut Inode, dir: Ino, path: Vec<Vec<u8>>) -> Result<tree::Body> {
        if let Some((body, mtime)) = self.links.get(&inode.ino) {
            inode.mtime = *mtime;
            let body = body.clone();
            self.named_too(inode, path);
            return Ok(body);
        }
        let resolved = self.resolve(inode, dir, &path.join(&b'/'))?;
        #[cfg(debug_assertions)]
        let resolved = self.with_blocks_before(&path, resolved)?;
        if resolved.hot.is_some() {
            self.walked.hot.push((inode.ino, resolved.sealed, inode.mtime));
        }
        let body = self.body(inode, dir, path, &resolved)?;
        // What is compared with a second walk must not be another thing then: the disk below may give it blocks meanwhile.
        let twice = cfg!(debug_assertions) && resolved.hot.is_some();
        if inode.nlink > 1 || twice {
            self.links.insert(inode.ino, (body.clone(), inode.mtime));
        }
        Ok(body)
    }

    /// Notes one more path of a new file. It is temporary only where all its names are.
    fn named_too(&mut self, inode: &Inode, mut path: Vec<Vec<u8>>) {
        let new = self.new.iter_mut().find(|file| file.ino == inode.ino && file.path != path);
        if let Some(file) = new.filter(|_| inode.nlink > 1) {
            if is_temporary_path(&file.path) && !is_temporary_path(&path) {
                std::mem::swap(&mut file.path, &mut path);
            }
            file.links.push(path);
        }
    }

    fn body(&mut self, inode: &Inode, dir: Ino, path: Vec<Vec<u8>>, file: &Resolved) -> Result<tree::Body> {
        let sealed = file.sealed;
        let is_marker = self.marker.is_some() && path.last().map(Vec::as_slice) == self.marker;
        self.is_committed |= is_marker && !self.known.contents.contains_key(&sealed.id);
        let emptied = if sealed.size == 0 { self.emptied(&path)? } else { None };
        let (format, soundness) = match self.known.contents.get(&sealed.id) {
            _ if let Some(format) = emptied => {
                let name = String::from_utf8_lossy(&path.join(&b'/')).into_owned();
                self.missing.push(format!("{name}: empty"));
                (format, Soundness::Invalid)
            }
            // A file that gets its name only now is new by that.
            Some(known)
                if is_temporary_path(&path)
                    || !(known.is_temporary() || self.is_named_anew(inode.ino, &sealed.id, &path)?) =>
            {
                (known.format, known.soundness)
            }
            _ => self.look(inode, dir, path, file)?,
        };
        Ok(tree::Body::File {
            content: sealed.id,
            size: sealed.size,
            blocks: sealed.blocks,
            format,
            soundness,
        })
    }

    /// What the version before has at `path`.
    pub(super) fn entry_before(&self, path: &[Vec<u8>]) -> Result<Option<tree::Entry>> {
        match &self.known.top {
            Some(top) => Trees::new(&self.engine.packs).walk(top.clone(), path),
            None => Ok(None),
        }
    }

    /// Whether file `ino` was in a version already because another one was about to go, and has got the name `path` since.
    fn is_named_anew(&self, ino: Ino, id: &ChunkId, path: &[Vec<u8>]) -> Result<bool> {
        if !self.engine.history.bursts.lock().was_taken_early(ino) {
            return Ok(false);
        }
        let before = self.entry_before(path)?.map(|entry| entry.body);
        Ok(!matches!(before, Some(tree::Body::File { content, .. }) if content == *id))
    }

    /// Whether a new file has another name by now: it is the next save, which a version took that was begun because the one
    /// before was about to go.
    pub(super) fn has_moved_on(&self, file: &NewFile) -> Result<bool> {
        let home = self.engine.ns.find(file.ino)?.and_then(|inode| inode.home);
        Ok(home.is_some_and(|home| file.path.last().is_none_or(|name| !home.is(file.dir, name))))
    }

    /// Whether the file at `path`, which is empty, is a save that was cut off before its first byte: it was a checkpoint in
    /// the version before, or is new and named as one. The number of the format that it had, 0 = of none yet. What has been
    /// empty all along is somebody's placeholder, and spoils nothing; nor does one that has a temporary name yet.
    fn emptied(&self, path: &[Vec<u8>]) -> Result<Option<u8>> {
        if is_temporary_path(path) {
            return Ok(None);
        }
        Ok(match self.entry_before(path)?.map(|entry| entry.body) {
            Some(tree::Body::File { format, .. }) => (format > 0).then_some(format),
            _ => path.last().is_some_and(|name| formats::is_named_checkpoint(name)).then_some(0),
        })
    }

    /// Looks at bytes that no earlier version has.
    fn look(
        &mut self,
        inode: &Inode,
        dir: Ino,
        path: Vec<Vec<u8>>,
        file: &Resolved,
    ) -> Result<(u8, Soundness)> {
        if self.engine.hot_at_cut.lock().contains(&inode.ino) {
            let path = String::from_utf8_lossy(&path.join(&b'/')).into_owned();
            self.missing.push(format!("{path}: the machine went down before it was known to be durable"));
        }
        let source: Box<dyn formats::Source> = match file.hot {
            Some(hot) => Box::new(self.engine.hot_source(hot)?),
            None => Box::new(self.engine.sealed_source(file.sealed.id, file.sealed.size)),
        };
        let Judged { format, soundness, why } = self.judge(&path.join(&b'/'), dir, source.as_ref())?;
        let Some(format) = format else { return Ok((0, soundness)) };
        let soundness = if file.being_written { Soundness::BeingWritten } else { soundness };
        let facts = if soundness == Soundness::Valid {
            formats::facts(format, source.as_ref())?
        } else {
            Facts::default()
        };
        let links = Vec::new();
        self.new.push(NewFile { path, links, dir, ino: inode.ino, format, soundness, why, facts });
        Ok((format as u8, soundness))
    }
}

/// Files that an entry stands for, and their bytes.
pub(super) fn weight(entry: &tree::Entry) -> (u64, u64) {
    match entry.body {
        tree::Body::File { size, .. } => (1, size),
        tree::Body::Dir { files, bytes, .. } => (files, bytes),
        tree::Body::Symlink(_) | tree::Body::Special(_) => (0, 0),
    }
}

/// Whether one of the names that lead to a file is a temporary one.
pub(super) fn is_temporary_path(path: &[Vec<u8>]) -> bool {
    path.iter().any(|name| is_temporary(name))
}
