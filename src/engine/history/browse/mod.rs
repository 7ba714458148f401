//! The virtual directories: versions as files and directories that were.
//!
//! Order of a lookup: the directory is found by its number, the name in it gives a node, the node a number, and the
//! kernel's count of it is raised before the answer. What is in a version never changes, so the kernel may keep it; the
//! names beside versions change whenever a version is made or goes, so it asks for them every time.
//!
//! Nothing here writes, but for `admin`: a version made, tagged, untagged or removed by hand.

mod access;
mod admin;
mod files;
mod home;
mod list;
pub mod names;
mod node;
mod open;
mod runs;
mod table;
mod views;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::super::Engine;
use super::super::attr::Attr;
use crate::base::{Error, Result};
use crate::catalog::keys::{Ino, RunId};
use crate::catalog::records::{self, Inode};
use crate::content::tree::{Body, Entry};
use crate::retention::Verdict;
use crate::version::trees::Trees;
use access::{Owner, without_write};
use list::OpenDirs;
use node::{Home, Item, Node, View};
use open::OpenFiles;
use table::Table;

pub use list::{Add, Listed};
pub use open::OpenFile;
pub use table::is_virtual;

/// How long the kernel may keep what never changes.
const FOR_LONG: Duration = Duration::from_secs(3600);
/// How long it may keep attributes that change with a live directory.
const BRIEFLY: Duration = Duration::from_secs(1);
/// How long what the policy says of a run is taken for true, where it is only shown.
const PLAN_HOLDS: Duration = Duration::from_secs(1);

/// Whether and how the virtual directories are there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Snapdir {
    /// Found by name in every directory, listed in none: recursive tools see the live tree alone.
    #[default]
    Hidden,
    /// Listed too.
    Visible,
    /// Not there; the name is like any other.
    Disabled,
}

/// Who may make, tag and remove versions through the virtual directories.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SnapshotAdmin {
    /// The owner of the directory, and root.
    #[default]
    Owner,
    /// Root alone.
    Root,
}

/// What a lookup or a stat answers.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What stat(2) shows.
    pub attr: Attr,
    /// How long the kernel may keep that the name leads here.
    pub name_ttl: Duration,
    /// How long it may keep the attributes.
    pub attr_ttl: Duration,
}

/// What the policy says of a run's versions, and when it was asked.
type Planned = (Instant, RunId, Arc<Vec<Verdict>>);

/// The virtual directories of one mount.
#[derive(Debug)]
pub struct Browser {
    engine: Arc<Engine>,
    table: Table,
    dirs: OpenDirs,
    files: OpenFiles,
    planned: Mutex<Option<Planned>>,
}

impl Browser {
    /// The virtual directories of `engine`.
    pub fn new(engine: Arc<Engine>) -> Browser {
        Browser {
            engine,
            table: Table::default(),
            dirs: OpenDirs::default(),
            files: OpenFiles::default(),
            planned: Mutex::default(),
        }
    }

    /// Whether `name` in a live directory is the virtual directory.
    pub fn is_snapdir(&self, name: &[u8]) -> bool {
        let options = &self.engine.options.history;
        options.snapdir != Snapdir::Disabled && name == options.snapdir_name.as_bytes()
    }

    /// The name to list in live directory `dir`, and its number; `None` where it is not to be listed.
    pub fn listed_in(&self, dir: Ino) -> Option<(Vec<u8>, Ino)> {
        let options = &self.engine.options.history;
        let home = || self.table.number(&Node::Home(Home::of(dir)));
        (options.snapdir == Snapdir::Visible).then(|| (options.snapdir_name.clone().into_bytes(), home()))
    }

    /// The virtual directory of live directory `dir`.
    pub fn snapdir(&self, dir: Ino) -> Result<Seen> {
        let node = Node::Home(Home::of(dir));
        self.attributes(self.table.number(&node), &node)?;
        self.enter(node, dir)
    }

    /// What `name` leads to in virtual directory `parent`; `None` where there is nothing and will not be.
    pub fn lookup(&self, parent: Ino, name: &[u8]) -> Result<Option<Seen>> {
        let node = self.node(parent)?;
        let missing = Err(Error::Errno(libc::ENOENT));
        let found = match &*node {
            Node::Home(home) => self.in_home(home, name)?,
            Node::View(home, view) => self.in_view(home, view, name)?,
            Node::Item(item) => {
                let Body::Dir { tree, .. } = &item.entry.body else {
                    return Err(Error::Errno(libc::ENOTDIR));
                };
                self.check_there(item)?;
                match Trees::new(&self.engine.packs).lookup(tree, name)? {
                    Some(entry) => Some(Node::Item(item.child(entry))),
                    None => return Ok(None),
                }
            }
            Node::Link(_) | Node::Info(..) => return Err(Error::Errno(libc::ENOTDIR)),
        };
        found.map_or(missing, |found| self.enter(found, parent).map(Some))
    }

    /// The kernel gives back `lookups` of the times that it was told of `ino`.
    pub fn forget(&self, ino: Ino, lookups: u64) {
        self.table.forget(ino, lookups);
    }

    /// What stat(2) shows of virtual inode `ino`.
    pub fn getattr(&self, ino: Ino) -> Result<Seen> {
        self.attributes(ino, &*self.node(ino)?)
    }

    /// The target of a symbolic link; `EINVAL` if it is none.
    pub fn readlink(&self, ino: Ino) -> Result<Vec<u8>> {
        match &*self.node(ino)? {
            Node::Link(link) => Ok(link.target.clone()),
            Node::Item(Item { entry: Entry { body: Body::Symlink(target), .. }, .. }) => Ok(target.clone()),
            _ => Err(Error::Errno(libc::EINVAL)),
        }
    }

    /// The recorded value of extended attribute `name`; `ENODATA` if there is none.
    pub fn getxattr(&self, ino: Ino, name: &[u8]) -> Result<Vec<u8>> {
        let node = self.node(ino)?;
        let Node::Item(item) = &*node else { return Err(Error::Errno(libc::ENODATA)) };
        let found = item.entry.xattrs.iter().find(|(other, _)| other == name);
        found.map(|(_, value)| value.clone()).ok_or(Error::Errno(libc::ENODATA))
    }

    /// The names of all recorded extended attributes, each ended by a zero byte.
    pub fn listxattr(&self, ino: Ino) -> Result<Vec<u8>> {
        let node = self.node(ino)?;
        let Node::Item(item) = &*node else { return Ok(Vec::new()) };
        Ok(item.entry.xattrs.iter().flat_map(|(name, _)| [name.as_slice(), b"\0"].concat()).collect())
    }

    /// The node with this number; `ESTALE` for one that is not known since the mount.
    fn node(&self, ino: Ino) -> Result<Arc<Node>> {
        self.table.get(ino).ok_or(Error::Errno(libc::ESTALE))
    }

    /// Tells the kernel of `node`, found in directory `parent`.
    fn enter(&self, node: Node, parent: Ino) -> Result<Seen> {
        let (ino, node) = self.table.enter(node, parent);
        self.attributes(ino, &node).inspect_err(|_| self.table.forget(ino, 1))
    }

    /// `ENOENT` once the version is about to go: what the kernel still has of it is no longer to be used.
    fn check_there(&self, item: &Item) -> Result<()> {
        match self.engine.version(item.run, item.number)? {
            Some(_) => Ok(()),
            None => Err(Error::Errno(libc::ENOENT)),
        }
    }

    fn attributes(&self, ino: Ino, node: &Node) -> Result<Seen> {
        let shown = |mode, owner: Owner, size, attr_ttl| Seen {
            attr: plain(ino, mode, owner, size),
            name_ttl: Duration::ZERO,
            attr_ttl,
        };
        Ok(match node {
            // It is there for as long as the directory is.
            Node::Home(home) if home.way.is_empty() => {
                let owner = self.owner(home)?;
                Seen { name_ttl: FOR_LONG, ..shown(owner.home(), owner, DIR_SIZE, BRIEFLY) }
            }
            Node::Home(home) => {
                let owner = self.owner(home)?;
                shown(owner.home(), owner, DIR_SIZE, BRIEFLY)
            }
            Node::View(home, view) => {
                let owner = match view {
                    View::Files(names) => self.owner_of_files(home, names)?,
                    View::Runs(names) => self.owner_of_runs(home, names)?,
                    _ => self.owner(home)?,
                };
                shown(owner.view(), owner, DIR_SIZE, BRIEFLY)
            }
            Node::Link(link) => {
                let owner = Owner { time: link.time, ..self.owner(&link.home)? };
                shown(libc::S_IFLNK | 0o777, owner, link.target.len() as u64, FOR_LONG)
            }
            Node::Info(home, run, number) => {
                let (text, time) = self.info(*run, *number)?;
                let owner = Owner { time, ..self.owner(home)? };
                shown(owner.file(), owner, text.len() as u64, Duration::ZERO)
            }
            Node::Item(item) => {
                // The way to a version ends when it expires; inside, nothing ever changes.
                let name_ttl = if item.path.is_empty() || item.alone { Duration::ZERO } else { FOR_LONG };
                Seen { attr: recorded(ino, &item.entry), name_ttl, attr_ttl: FOR_LONG }
            }
        })
    }
}

/// Size that is shown for directories.
const DIR_SIZE: u64 = 4096;

/// Attributes of what is not itself recorded.
fn plain(ino: Ino, mode: u32, owner: Owner, size: u64) -> Attr {
    let Owner { uid, gid, time, .. } = owner;
    let inode = Inode {
        ino,
        mode,
        uid,
        gid,
        nlink: 1,
        rdev: 0,
        atime: time,
        mtime: time,
        ctime: time,
        btime: time,
        xattrs: 0,
        daemon_only: false,
        home: None,
        body: records::Body::Special,
    };
    Attr { inode, size, blocks: size.div_ceil(512), volatile: false }
}

/// Attributes of what is in a version.
fn recorded(ino: Ino, entry: &Entry) -> Attr {
    let owner = Owner { mode: entry.mode, uid: entry.uid, gid: entry.gid, time: entry.mtime };
    let mode = match entry.body {
        // Nobody asks for the permissions of a link, and tools compare them.
        Body::Symlink(_) => entry.mode,
        _ => without_write(entry.mode),
    };
    let mut attr = plain(ino, mode, owner, entry.size());
    match entry.body {
        Body::Dir { .. } => {}
        Body::Special(rdev) => (attr.inode.nlink, attr.inode.rdev) = (entry.nlink, rdev),
        Body::Symlink(_) => (attr.inode.nlink, attr.blocks) = (entry.nlink, 0),
        Body::File { blocks, .. } => (attr.inode.nlink, attr.blocks) = (entry.nlink, blocks),
    }
    attr
}
