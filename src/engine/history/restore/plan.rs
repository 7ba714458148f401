//! What is to be done so that a live directory is as a version has it: compared by hashes and attributes; bytes are read
//! only of files that are not sealed yet.

use std::collections::{BTreeMap, HashMap};

use super::super::super::Engine;
use super::Change;
use crate::base::{Error, Result};
use crate::catalog::keys::Ino;
use crate::catalog::records::{self, Content, Inode};
use crate::content::tree::{Body, Entry};
use crate::formats::Source;
use crate::namespace::readdir::After;
use crate::version::chosen::{Chosen, Names, Part};
use crate::version::record::path_text;
use crate::version::trees::Trees;

/// Bytes of two files that are compared at once.
const PIECE: usize = 1 << 20;
/// Directories in directories that are followed.
const DEPTH_MAX: usize = 4096;

/// One step. Steps are done in order, in the directory that was entered last.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// Go into a directory; make it first.
    Enter { name: Vec<u8>, make: bool },
    /// Put what the version has in place of this name.
    Put(Box<Entry>),
    /// Remove this name; a directory with all that is in it.
    Remove(Vec<u8>),
    /// Go out of the directory; give it these attributes first.
    Leave(Option<Box<Entry>>),
}

/// What is to be done.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    /// The same for people and programs.
    pub(super) changes: Vec<Change>,
    /// Live inodes that stand for inodes of the version which have several names.
    pub(super) links: HashMap<u64, Ino>,
    /// Files that go, or get other bytes, while somebody has them open for writing.
    pub(super) busy: Vec<String>,
    /// Bytes of the files that are put.
    pub(super) bytes: u64,
}

impl Plan {
    /// The contents that are put: an entry for each, with the path of the first file that has it.
    pub(super) fn contents(&self) -> Vec<(&Entry, &str)> {
        let mut seen = std::collections::HashSet::new();
        let puts = self.steps.iter().filter_map(|step| match step {
            Step::Put(entry) => Some(&**entry),
            _ => None,
        });
        let paths = self.changes.iter().filter(|change| change.puts);
        puts.zip(paths)
            .filter(|(entry, _)| matches!(entry.body, Body::File { content, .. } if seen.insert(content)))
            .map(|(entry, change)| (entry, change.path.as_str()))
            .collect()
    }
}

pub(super) struct Planner<'a> {
    pub(super) engine: &'a Engine,
    pub(super) chosen: &'a Chosen,
    /// What the version has not stays.
    pub(super) keep: bool,
    pub(super) plan: Plan,
}

impl Planner<'_> {
    /// Plans for `dir` of the version, which is `live` now (`None`: not there), at `path`. Whether anything changes.
    pub(super) fn directory(&mut self, dir: &Entry, live: Option<Ino>, path: &Names) -> Result<bool> {
        let Body::Dir { tree, .. } = &dir.body else { return Err(Error::Errno(libc::ENOTDIR)) };
        if path.len() > DEPTH_MAX {
            return Err(Error::Errno(libc::ENAMETOOLONG));
        }
        let mut entries = Trees::new(&self.engine.packs).list(tree, None, usize::MAX)?;
        entries.sort_by(|one, other| one.name.cmp(&other.name));
        let mut there = self.live(live)?;
        let mut changed = false;
        for entry in entries {
            let found = there.remove(&entry.name);
            match self.chosen.part(path, &entry.name) {
                Part::Not => {}
                part => changed |= self.entry(&entry, found, path, part)?,
            }
        }
        for (name, (ino, kind)) in there {
            if !self.keep && self.chosen.part(path, &name) == Part::All {
                self.remove(&name, ino, kind, path)?;
                changed = true;
            }
        }
        Ok(changed)
    }

    fn live(&self, dir: Option<Ino>) -> Result<BTreeMap<Vec<u8>, (Ino, u32)>> {
        let Some(dir) = dir else { return Ok(BTreeMap::new()) };
        let entries = self.engine.ns.readdir(dir, After::Cookie(0), usize::MAX)?;
        Ok(entries.into_iter().map(|entry| (entry.name, (entry.ino, entry.kind))).collect())
    }

    fn entry(&mut self, entry: &Entry, found: Option<(Ino, u32)>, path: &Names, part: Part) -> Result<bool> {
        let kind = entry.mode & libc::S_IFMT;
        let other_kind = found.filter(|(_, other)| (*other == libc::S_IFDIR) != entry.is_dir());
        if let Some((ino, other)) = other_kind {
            self.remove(&entry.name, ino, other, path)?;
        }
        let found = found.filter(|_| other_kind.is_none()).map(|(ino, _)| ino);
        if entry.is_dir() {
            return self.enter(entry, found, path, part);
        }
        if let Some(ino) = found {
            let Some(inode) = self.engine.ns.find(ino)? else { return self.put(entry, found, path) };
            if inode.kind() == kind && self.is_same(entry, inode)? {
                if entry.nlink > 1 {
                    self.plan.links.entry(entry.ino).or_insert(ino);
                }
                return Ok(false);
            }
        }
        self.put(entry, found, path)
    }

    fn enter(&mut self, entry: &Entry, found: Option<Ino>, path: &Names, part: Part) -> Result<bool> {
        let (begun, before) = (self.plan.steps.len(), self.plan.changes.len());
        self.plan.steps.push(Step::Enter { name: entry.name.clone(), make: found.is_none() });
        if found.is_none() {
            self.change(path, &entry.name, "create", 0, false);
        }
        let mut below = path.clone();
        below.push(entry.name.clone());
        let inside = self.directory(entry, found, &below)?;
        let dressed = match found {
            // Only leads to what is meant: its own attributes are not.
            Some(_) if part == Part::Way => true,
            Some(ino) => self.is_dressed(entry, ino)?,
            None => false,
        };
        if !inside && dressed {
            self.plan.steps.truncate(begun);
            self.plan.changes.truncate(before);
            return Ok(false);
        }
        if !dressed && found.is_some() && !inside {
            self.change(path, &entry.name, "attributes", 0, false);
        }
        let dress = (part == Part::All || found.is_none()).then(|| Box::new(entry.clone()));
        self.plan.steps.push(Step::Leave(dress));
        Ok(true)
    }

    fn put(&mut self, entry: &Entry, found: Option<Ino>, path: &Names) -> Result<bool> {
        if let Some(ino) = found {
            self.look_whether_busy(ino, &entry.name, path);
        }
        let bytes = if matches!(entry.body, Body::File { .. }) { entry.size() } else { 0 };
        self.plan.bytes += bytes;
        self.plan.steps.push(Step::Put(Box::new(entry.clone())));
        let what = if found.is_some() { "replace" } else { "create" };
        self.change(path, &entry.name, what, bytes, true);
        Ok(true)
    }

    fn remove(&mut self, name: &[u8], ino: Ino, kind: u32, path: &Names) -> Result<()> {
        self.plan.steps.push(Step::Remove(name.to_vec()));
        let bytes = if kind == libc::S_IFREG { self.engine.getattr(ino)?.size } else { 0 };
        self.change(path, name, "remove", bytes, false);
        let mut waiting = vec![(ino, kind, path.clone(), name.to_vec())];
        while let Some((ino, kind, path, name)) = waiting.pop() {
            if kind != libc::S_IFDIR {
                self.look_whether_busy(ino, &name, &path);
                continue;
            }
            let mut below = path;
            below.push(name);
            for (name, (ino, kind)) in self.live(Some(ino))? {
                waiting.push((ino, kind, below.clone(), name));
            }
        }
        Ok(())
    }

    fn look_whether_busy(&mut self, ino: Ino, name: &[u8], path: &Names) {
        if self.engine.is_open_for_writing(ino) {
            self.plan.busy.push(shown(path, name));
        }
    }

    fn change(&mut self, path: &Names, name: &[u8], what: &str, bytes: u64, puts: bool) {
        self.plan.changes.push(Change { path: shown(path, name), what: what.to_owned(), bytes, puts });
    }

    /// Whether a live directory has the attributes of `entry`.
    fn is_dressed(&self, entry: &Entry, ino: Ino) -> Result<bool> {
        match self.engine.ns.find(ino)? {
            Some(inode) => self.has_attributes(entry, &inode),
            None => Ok(false),
        }
    }

    fn has_attributes(&self, entry: &Entry, inode: &Inode) -> Result<bool> {
        let own = (inode.mode, inode.uid, inode.gid, inode.mtime);
        Ok(own == (entry.mode, entry.uid, entry.gid, entry.mtime)
            && self.engine.xattrs(inode)? == entry.xattrs)
    }

    /// Whether a live inode of the same kind is what `entry` says, to its last byte and attribute.
    fn is_same(&self, entry: &Entry, inode: Inode) -> Result<bool> {
        let attr = self.engine.attr(inode)?;
        if !self.has_attributes(entry, &attr.inode)? {
            return Ok(false);
        }
        match (&entry.body, &attr.inode.body) {
            (Body::Symlink(target), records::Body::Symlink(now)) => Ok(target == now),
            (Body::Special(rdev), records::Body::Special) => Ok(*rdev == attr.inode.rdev),
            (Body::File { content, .. }, records::Body::File(now)) => match now.sealed() {
                Some(sealed) => Ok(sealed.id == *content),
                None if attr.size != entry.size() => Ok(false),
                None => self.is_same_hot(entry, now),
            },
            _ => Ok(false),
        }
    }

    fn is_same_hot(&self, entry: &Entry, now: &Content) -> Result<bool> {
        let (Content::Hot(hot), Body::File { content, size, .. }) = (now, &entry.body) else {
            return Ok(false);
        };
        let (hot, sealed) = (self.engine.hot_source(*hot)?, self.engine.sealed_source(*content, *size));
        let (mut at, mut one, mut other) = (0, vec![0; PIECE], vec![0; PIECE]);
        while at < *size {
            let len = usize::try_from(size - at).unwrap_or(PIECE).min(PIECE);
            let (Some(one), Some(other)) = (one.get_mut(..len), other.get_mut(..len)) else { break };
            match (hot.read_exact_at(at, one), sealed.read_exact_at(at, other)) {
                (Ok(()), Ok(())) if one == other => {}
                // Changed a moment ago, or damaged: it is not the same, and verified before it is used.
                _ => return Ok(false),
            }
            at += len as u64;
        }
        Ok(true)
    }
}

fn shown(path: &Names, name: &[u8]) -> String {
    let names: Vec<&[u8]> = path.iter().map(Vec::as_slice).chain([name]).collect();
    path_text(&names.join(&b'/'))
}
