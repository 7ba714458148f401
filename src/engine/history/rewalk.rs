//! A version's tree made from that of the version before: only what has changed since is looked at.
//!
//! First every change is traced up to the run: which names of which directories are to be looked at. Then these directories
//! are gone through from the top, each as an edit of its node in the version before. A directory that the version before has
//! not, or elsewhere, is walked whole. What cannot be traced (a file with several names: where they are is not on record)
//! makes everything be walked.

use std::collections::{BTreeSet, HashMap};

use super::known::Name;
use super::walk::{Walk, is_temporary_path, weight};
use crate::base::id::ChunkId;
use crate::base::{Error, Result};
use crate::catalog::keys::{Ino, SnapshotId};
use crate::catalog::records::{Body, Inode};
use crate::content::edit::Edit;
use crate::content::tree::{self, Node};
use crate::namespace::notes::Changed;
use crate::pack::Kind;
use crate::version::names::is_temporary as is_temporary_name;
use crate::version::trees::Trees;

/// Names to be looked at, by directory.
type Todo = HashMap<Ino, BTreeSet<Vec<u8>>>;

/// A directory whose changed names are being gone through.
struct Frame {
    inode: Inode,
    name: Vec<u8>,
    edit: Edit,
    todo: std::collections::btree_set::IntoIter<Vec<u8>>,
    files: u64,
    bytes: u64,
}

impl Walk<'_> {
    /// Puts the tree of directory `top` into the batch, as [`tree`](Self::tree) does, by what has changed since the moment of
    /// the version before. `None` where that cannot be told; nothing was done then.
    pub(super) fn tree_of_changes(&mut self, top: Ino) -> Result<Option<tree::Entry>> {
        let (Some(moment), Some(before)) = (self.known.moment, self.known.top.clone()) else {
            return Ok(None);
        };
        // A run that was deleted and made again is another directory.
        if before.ino != top {
            return Ok(None);
        }
        let Some(mut todo) = self.trace(moment, top)? else { return Ok(None) };
        let Some(frame) = self.edit(top, Vec::new(), &before, &mut todo)? else { return Ok(None) };
        self.walked.partly = true;
        let mut stack = vec![frame];
        loop {
            let mut path: Vec<Vec<u8>> = stack.iter().skip(1).map(|frame| frame.name.clone()).collect();
            let Some(frame) = stack.last_mut() else { return Err(Error::Errno(libc::EIO)) };
            if let Some(name) = frame.todo.next() {
                path.push(name);
                if let Some(below) = self.look_at(frame, &path, &mut todo)? {
                    stack.push(below);
                }
                continue;
            }
            let Some(frame) = stack.pop() else { return Err(Error::Errno(libc::EIO)) };
            let entry = self.edited(frame)?;
            match stack.last_mut() {
                None => return Ok(Some(entry)),
                Some(above) => self.set(above, &path, Some(entry))?,
            }
        }
    }

    /// Which names are to be looked at.
    fn trace(&self, moment: SnapshotId, top: Ino) -> Result<Option<Todo>> {
        let Some(changed) = self.engine.ns.changed_since(moment) else { return Ok(None) };
        let (mut todo, mut climbed) = (Todo::new(), BTreeSet::new());
        for change in changed {
            let (ino, name) = match change {
                Changed::Name(dir, name) => (dir, Some(name)),
                Changed::Inode(ino) => (ino, None),
            };
            let Some(inode) = self.view.inode(ino)? else { continue };
            let dir = match name {
                Some(name) => {
                    todo.entry(ino).or_default().insert(name);
                    ino
                }
                None if inode.is_dir() => ino,
                None if inode.nlink == 0 => continue,
                None => match &inode.home {
                    Some(home) if inode.nlink == 1 => {
                        todo.entry(home.parent).or_default().insert(home.name.clone());
                        home.parent
                    }
                    _ => return Ok(None),
                },
            };
            self.climb(dir, top, &mut todo, &mut climbed)?;
        }
        Ok(Some(todo))
    }

    /// Has every directory from `dir` up to the run looked at in the one above it.
    fn climb(&self, dir: Ino, top: Ino, todo: &mut Todo, climbed: &mut BTreeSet<Ino>) -> Result<()> {
        let mut at = dir;
        while at != top && climbed.insert(at) {
            let Some(Inode { body: Body::Dir { .. }, home: Some(home), .. }) = self.view.inode(at)? else {
                break;
            };
            todo.entry(home.parent).or_default().insert(home.name);
            at = home.parent;
        }
        Ok(())
    }

    /// Begins with directory `dir`, which the version before has as `before`; `None` where it has no tree.
    fn edit(&self, dir: Ino, name: Vec<u8>, before: &tree::Entry, todo: &mut Todo) -> Result<Option<Frame>> {
        let tree::Body::Dir { tree, files, bytes } = before.body else { return Ok(None) };
        let inode = self.view.inode(dir)?.ok_or(Error::Errno(libc::ENOENT))?;
        let edit = Edit::of(tree, &mut |id| self.node(id))?;
        let todo = todo.remove(&dir).unwrap_or_default().into_iter();
        Ok(edit.map(|edit| Frame { inode, name, edit, todo, files, bytes }))
    }

    /// Looks at the name that `path` ends in; a directory that the version before has is to be gone through next.
    fn look_at(&mut self, frame: &mut Frame, path: &[Vec<u8>], todo: &mut Todo) -> Result<Option<Frame>> {
        let (dir, name) = (frame.inode.ino, path.last().cloned().unwrap_or_default());
        let inode = match self.view.entry(dir, &name)? {
            Some(ino) => self.view.inode(ino)?,
            None => None,
        };
        let before = frame.edit.get(&name, &mut |id| self.node(id))?;
        if let (Some(inode), Some(before)) = (&inode, &before)
            && before.ino == inode.ino
            && let Some(below) = self.edit(inode.ino, name, before, todo)?
        {
            return Ok(Some(below));
        }
        if let Some(before) = &before {
            self.lose(before, is_temporary_path(path))?;
        }
        let entry = match inode {
            Some(inode) if inode.is_dir() => Some(self.tree_at(inode.ino, path)?),
            Some(inode) => self.leaf(inode, dir, path.to_vec())?,
            None => None,
        };
        self.set(frame, path, entry)?;
        Ok(None)
    }

    /// The version before has `entry` and this one has it not, or walks it whole.
    fn lose(&mut self, entry: &tree::Entry, is_temporary: bool) -> Result<()> {
        self.walked.gone.extend(Name::of(entry, is_temporary));
        let tree::Body::Dir { tree, .. } = &entry.body else { return Ok(()) };
        Trees::new(&self.engine.packs).each(tree, &mut |path, below| {
            let is_temporary = is_temporary || is_temporary_path(path) || is_temporary_name(&below.name);
            self.walked.gone.extend(Name::of(below, is_temporary));
            Ok(())
        })
    }

    /// Makes the name that `path` ends in lead to `entry` in a directory, or to nothing.
    fn set(&mut self, frame: &mut Frame, path: &[Vec<u8>], entry: Option<tree::Entry>) -> Result<()> {
        let name = path.last().map(Vec::as_slice).unwrap_or_default();
        let has = entry.as_ref().map_or((0, 0), weight);
        let before = frame.edit.set(name, entry, &mut |id| self.node(id))?;
        let had = before.as_ref().map_or((0, 0), weight);
        frame.files = (frame.files + has.0).saturating_sub(had.0);
        frame.bytes = (frame.bytes + has.1).saturating_sub(had.1);
        Ok(())
    }

    /// Puts what has changed of a directory; its entry.
    fn edited(&mut self, frame: Frame) -> Result<tree::Entry> {
        let Frame { inode, name, edit, files, bytes, .. } = frame;
        let count = match inode.body {
            Body::Dir { entries, .. } => usize::try_from(entries).unwrap_or(usize::MAX),
            _ => 0,
        };
        let engine = self.engine;
        let load = &mut |id: &ChunkId| Trees::new(&engine.packs).node(id);
        let node =
            edit.finish(count, load, &mut |id, bytes| self.batch.put(Kind::Tree, id, bytes).map(drop))?;
        self.entry(&inode, name, tree::Body::Dir { tree: node, files, bytes })
    }

    fn node(&self, id: &ChunkId) -> Result<Node> {
        Trees::new(&self.engine.packs).node(id)
    }

    /// Every version made of changes is compared with one that is walked whole, where debug assertions are on.
    #[cfg(debug_assertions)]
    pub(super) fn compare_with_whole(&mut self, top: Ino, entry: &tree::Entry) -> Result<()> {
        let counts = |walk: &Self| (walk.missing.len(), walk.copies.len());
        // What somebody writes, or cannot be read, may be another thing at the second look.
        if counts(self) != (0, 0) {
            return Ok(());
        }
        let walked = std::mem::take(&mut self.walked);
        let (new, published) = (self.new.len(), self.published.len());
        let whole = self.tree(top)?;
        if counts(self) == (0, 0) {
            assert_eq!(&whole, entry, "a version made of changes differs from the directory that it is of");
        }
        self.missing.clear();
        self.new.truncate(new);
        self.published.truncate(published);
        self.walked = walked;
        Ok(())
    }

    /// What is compared must not differ by blocks alone. A moment that began before the version before was made sees files as
    /// hot that this version has sealed, and the disk below may have given them blocks meanwhile.
    #[cfg(debug_assertions)]
    pub(super) fn with_blocks_before(
        &self,
        path: &[Vec<u8>],
        mut file: super::resolve::Resolved,
    ) -> Result<super::resolve::Resolved> {
        if file.hot.is_some()
            && let Some(tree::Body::File { content, blocks, .. }) =
                self.entry_before(path)?.map(|entry| entry.body)
            && content == file.sealed.id
        {
            file.sealed.blocks = blocks;
        }
        Ok(file)
    }
}
