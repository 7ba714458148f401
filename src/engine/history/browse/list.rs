//! Listing virtual directories.
//!
//! The offset of an entry is its place from 1, after `.` and `..`. What is in a version is listed in pages, in an order
//! that never changes; everything else is taken down when the listing begins, so that it stays the same throughout. An
//! open directory of a version holds the version.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::node::{Item, Node, Row};
use super::{Browser, Seen};
use crate::base::{Error, Result};
use crate::catalog::keys::{Ino, RunId};
use crate::content::hash::name_hash;
use crate::content::tree::Body;
use crate::version::trees::Trees;

/// Entries of a version that are read at a time.
const PAGE: usize = 256;
/// Entries that every directory has.
const DOTS: u64 = 2;

/// How far a listing of a directory in a version has come: entries, and the last of them.
type Place = (u64, Option<(u64, Vec<u8>)>);

#[derive(Clone, Debug, Default)]
struct OpenDir {
    held: Option<(RunId, u32)>,
    rows: Option<Arc<Vec<Row>>>,
    place: Place,
}

/// Open virtual directories, by handle.
#[derive(Debug, Default)]
pub(super) struct OpenDirs {
    next: AtomicU64,
    open: Mutex<HashMap<u64, OpenDir>>,
}

/// One entry of a virtual directory.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its name.
    pub name: Vec<u8>,
    /// Its number.
    pub ino: Ino,
    /// Its type bits.
    pub kind: u32,
    /// The offset at which the listing goes on after it.
    pub offset: u64,
    node: Option<Node>,
}

/// What gets entries, until it says that it is full.
pub type Add<'a> = dyn FnMut(&Listed) -> Result<bool> + 'a;

impl Listed {
    /// Whether it is `.` or `..`.
    pub fn is_dot(&self) -> bool {
        self.node.is_none()
    }
}

impl Browser {
    /// Opens virtual directory `ino`.
    pub fn opendir(&self, ino: Ino) -> Result<u64> {
        let mut dir = OpenDir::default();
        if let Node::Item(item) = &*self.node(ino)? {
            self.hold(item)?;
            dir.held = Some((item.run, item.number));
        }
        let fh = self.dirs.next.fetch_add(1, Ordering::Relaxed);
        self.dirs.open.lock().insert(fh, dir);
        Ok(fh)
    }

    /// Closes a directory.
    pub fn closedir(&self, fh: u64) {
        let closed = self.dirs.open.lock().remove(&fh);
        if let Some((run, number)) = closed.and_then(|dir| dir.held) {
            self.engine.let_go_version(run, number);
        }
    }

    /// Hands the entries of virtual directory `ino` after `offset` to `add` until that says that it is full.
    pub fn list(&self, ino: Ino, fh: u64, offset: u64, add: &mut Add<'_>) -> Result<()> {
        let node = self.node(ino)?;
        let parent = self.table.parent(ino).unwrap_or(ino);
        for (number, name, above) in [(1, &b"."[..], ino), (DOTS, b"..", parent)] {
            if offset < number {
                let dot = Listed {
                    name: name.to_vec(),
                    ino: above,
                    kind: libc::S_IFDIR,
                    offset: number,
                    node: None,
                };
                if add(&dot)? {
                    return Ok(());
                }
            }
        }
        let skip = offset.saturating_sub(DOTS);
        match &*node {
            Node::Item(item) => self.list_item(item, fh, skip, add),
            Node::Home(_) | Node::View(..) => self.list_rows(&node, fh, skip, add),
            Node::Link(_) | Node::Info(..) => Err(Error::Errno(libc::ENOTDIR)),
        }
    }

    /// What a listing with attributes tells of an entry; the kernel has been told of it then. `None` for `.`, `..` and
    /// what went away since the listing began.
    pub fn enter_listed(&self, dir: Ino, listed: &Listed) -> Result<Option<Seen>> {
        let Some(node) = &listed.node else { return Ok(None) };
        match self.enter(node.clone(), dir) {
            Err(Error::Errno(libc::ENOENT)) => Ok(None),
            seen => seen.map(Some),
        }
    }

    fn list_rows(&self, node: &Node, fh: u64, skip: u64, add: &mut Add<'_>) -> Result<()> {
        let known = self.open_dir(fh)?.rows.filter(|_| skip > 0);
        let rows = match known {
            Some(rows) => rows,
            None => {
                let rows = Arc::new(self.rows(node)?);
                self.with_dir(fh, |dir| dir.rows = Some(rows.clone()));
                rows
            }
        };
        for (place, row) in (1..).zip(rows.iter()).skip(usize::try_from(skip).unwrap_or(usize::MAX)) {
            if add(&self.listed(&row.name, row.node.clone(), place))? {
                break;
            }
        }
        Ok(())
    }

    /// All names of a directory that is not in a version, in order.
    fn rows(&self, node: &Node) -> Result<Vec<Row>> {
        let mut rows = match node {
            Node::Home(home) => self.rows_of_home(home)?,
            Node::View(home, view) => self.rows_of_view(home, view)?,
            _ => Vec::new(),
        };
        // Stable: of two with one name the first is what a lookup finds.
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        rows.dedup_by(|a, b| a.name == b.name);
        Ok(rows)
    }

    fn list_item(&self, item: &Item, fh: u64, skip: u64, add: &mut Add<'_>) -> Result<()> {
        let Body::Dir { tree, .. } = &item.entry.body else { return Err(Error::Errno(libc::ENOTDIR)) };
        let trees = Trees::new(&self.engine.packs);
        let place = self.open_dir(fh)?.place;
        let (mut at, mut after) = if place.0 <= skip { place } else { Place::default() };
        loop {
            let page = trees.list(tree, after.as_ref().map(|(hash, name)| (*hash, name.as_slice())), PAGE)?;
            let ended = page.is_empty();
            for entry in page {
                let last = Some((name_hash(&entry.name), entry.name.clone()));
                if at >= skip {
                    let name = entry.name.clone();
                    if add(&self.listed(&name, Node::Item(item.child(entry)), at + 1))? {
                        self.with_dir(fh, |dir| dir.place = (at, after));
                        return Ok(());
                    }
                }
                (at, after) = (at + 1, last);
            }
            if ended {
                self.with_dir(fh, |dir| dir.place = (at, after));
                return Ok(());
            }
        }
    }

    fn listed(&self, name: &[u8], node: Node, place: u64) -> Listed {
        let (ino, kind) = (self.table.number(&node), node.kind());
        Listed { name: name.to_vec(), ino, kind, offset: place + DOTS, node: Some(node) }
    }

    fn open_dir(&self, fh: u64) -> Result<OpenDir> {
        self.dirs.open.lock().get(&fh).cloned().ok_or(Error::Errno(libc::EBADF))
    }

    fn with_dir(&self, fh: u64, change: impl FnOnce(&mut OpenDir)) {
        if let Some(dir) = self.dirs.open.lock().get_mut(&fh) {
            change(dir);
        }
    }
}
