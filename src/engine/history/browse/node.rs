//! What there is in the virtual directories, and how each thing is told apart from all others.
//!
//! A node's key describes it completely, so its number is the same after a remount. Directories have a key for each place
//! where they are found, since the kernel wants a directory in one place only; everything else in a version has one for
//! the inode that it was, so that hard links stay links.

use crate::base::bytes::Put as _;
use crate::base::clock::Time;
use crate::catalog::keys::{Ino, RunId};
use crate::content::tree::{Body, Entry};

/// Names that lead from one directory to another.
pub(super) type Names = Vec<Vec<u8>>;

/// A directory of versions: `.snapshots` of a live directory, or of a run that was entered through `.runs`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Home {
    /// The live directory.
    pub(super) dir: Ino,
    /// The runs that were entered from there, each from a `.runs` in the one before.
    pub(super) way: Vec<RunId>,
}

/// A directory that shows versions in another order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// Links by moment.
    ByTime,
    /// Links by tag.
    ByTag,
    /// Links by step.
    ByStep,
    /// Links by any time, not listed.
    At,
    /// What is recorded of each version.
    Info,
    /// The contents that the file at these names has had, and the directories above such files.
    Files(Names),
    /// The runs below these names.
    Runs(Names),
}

/// A symbolic link to a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) home: Home,
    /// The view that it is in; `None` for one beside the versions.
    pub(super) view: Option<View>,
    pub(super) name: Vec<u8>,
    pub(super) target: Vec<u8>,
    /// The moment of the version.
    pub(super) time: Time,
}

/// Something in a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) home: Home,
    /// The name by which the version was entered: its number, or a tag.
    pub(super) via: Vec<u8>,
    pub(super) run: RunId,
    pub(super) number: u32,
    /// The names that lead to it from there.
    pub(super) path: Names,
    /// As recorded; only permissions may be fewer.
    pub(super) entry: Entry,
    /// Found in `.files`, with the permissions that the directories above it gave.
    pub(super) alone: bool,
}

/// Anything in a virtual directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Home(Home),
    View(Home, View),
    Link(Link),
    /// What is recorded of a version.
    Info(Home, RunId, u32),
    Item(Item),
}

/// One name in a virtual directory.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) name: Vec<u8>,
    pub(super) node: Node,
}

impl Home {
    /// The home of a live directory.
    pub(super) fn of(dir: Ino) -> Home {
        Home { dir, way: Vec::new() }
    }

    /// The home of `run`, entered from a `.runs` in this one.
    pub(super) fn below(&self, run: RunId) -> Home {
        Home { dir: self.dir, way: self.way.iter().copied().chain([run]).collect() }
    }

    /// The home whose `.runs` leads to this one; `None` for that of a live directory.
    pub(super) fn above(&self) -> Option<Home> {
        let (_, way) = self.way.split_last()?;
        Some(Home { dir: self.dir, way: way.to_vec() })
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.u64(self.dir).u32(u32::try_from(self.way.len()).unwrap_or(u32::MAX));
        for run in &self.way {
            out.u64(*run);
        }
    }
}

fn put_names(names: &[Vec<u8>], out: &mut Vec<u8>) {
    out.u32(u32::try_from(names.len()).unwrap_or(u32::MAX));
    for name in names {
        out.blob(name);
    }
}

impl View {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            View::ByTime => out.u8(1),
            View::ByTag => out.u8(2),
            View::ByStep => out.u8(3),
            View::At => out.u8(4),
            View::Info => out.u8(5),
            View::Files(_) => out.u8(6),
            View::Runs(_) => out.u8(7),
        };
        if let View::Files(names) | View::Runs(names) = self {
            put_names(names, out);
        }
    }
}

impl Item {
    fn put(&self, out: &mut Vec<u8>) {
        let is_dir = matches!(self.entry.body, Body::Dir { .. });
        if !is_dir && !self.alone {
            out.u8(b'i').u64(self.run).u32(self.number).u64(self.entry.ino);
            return;
        }
        out.u8(if self.alone { b'a' } else { b'd' });
        self.home.put(out);
        out.blob(&self.via).u64(self.run).u32(self.number);
        put_names(&self.path, out);
    }

    /// What `entry` of this directory is.
    pub(super) fn child(&self, entry: Entry) -> Item {
        let path = self.path.iter().cloned().chain([entry.name.clone()]).collect();
        Item { path, entry, home: self.home.clone(), via: self.via.clone(), ..*self }
    }
}

impl Node {
    /// The bytes that tell this node from every other.
    pub(super) fn key(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Node::Home(home) => {
                out.u8(b'h');
                home.put(&mut out);
            }
            Node::View(home, view) => {
                out.u8(b'v');
                home.put(&mut out);
                view.put(&mut out);
            }
            Node::Link(link) => {
                out.u8(b'l');
                link.home.put(&mut out);
                match &link.view {
                    None => drop(out.u8(0)),
                    Some(view) => view.put(&mut out),
                }
                // With the target: the kernel may keep what a link says, so another target is another link.
                out.blob(&link.name).blob(&link.target);
            }
            Node::Info(home, run, number) => {
                out.u8(b'n');
                home.put(&mut out);
                out.u64(*run).u32(*number);
            }
            Node::Item(item) => item.put(&mut out),
        }
        out
    }

    /// The type bits of its mode.
    pub(super) fn kind(&self) -> u32 {
        match self {
            Node::Home(_) | Node::View(..) => libc::S_IFDIR,
            Node::Link(_) => libc::S_IFLNK,
            Node::Info(..) => libc::S_IFREG,
            Node::Item(item) => item.entry.mode & libc::S_IFMT,
        }
    }
}
