//! The model: a POSIX tree in memory, as simple as can be.

use std::collections::BTreeMap;

use ckptfs::base::clock::Time;

/// What an inode is.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Dir(BTreeMap<String, u64>),
    File(Vec<u8>),
    Link(Vec<u8>),
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) nlink: u32,
    pub(crate) xattrs: BTreeMap<String, Vec<u8>>,
    /// mtime that was set, until the content changes.
    pub(crate) mtime: Option<Time>,
    /// mtime and ctime that a look saw, until a step changes the node.
    pub(crate) seen: Option<(Time, Time)>,
}

impl Node {
    pub(crate) fn new(kind: Kind, mode: u32) -> Node {
        let nlink = if matches!(kind, Kind::Dir(_)) { 2 } else { 1 };
        Node { kind, mode, uid: 0, gid: 0, nlink, xattrs: BTreeMap::new(), mtime: None, seen: None }
    }

    pub(crate) fn is_dir(&self) -> bool {
        matches!(self.kind, Kind::Dir(_))
    }

    pub(crate) fn bytes(&mut self) -> &mut Vec<u8> {
        match &mut self.kind {
            Kind::File(bytes) => bytes,
            _ => panic!("not a file"),
        }
    }

    /// The content was changed.
    pub(crate) fn written(&mut self) {
        (self.mtime, self.seen) = (None, None);
    }

    /// Something but the content was changed: mtime stays.
    pub(crate) fn changed(&mut self) {
        if let Some((mtime, _)) = self.seen.take() {
            self.mtime = Some(mtime);
        }
    }

    pub(crate) fn write(&mut self, at: usize, data: &[u8]) {
        self.written();
        let bytes = self.bytes();
        if bytes.len() < at + data.len() {
            bytes.resize(at + data.len(), 0);
        }
        bytes[at..at + data.len()].copy_from_slice(data);
    }

    /// As a change by somebody without privilege does.
    pub(crate) fn kill_privileges(&mut self) {
        self.changed();
        self.mode &= !0o4000;
        if self.mode & 0o010 != 0 {
            self.mode &= !0o2000;
        }
        self.xattrs.remove("security.capability");
    }
}

/// All nodes by inode number; those without a name are still open.
#[derive(Debug)]
pub(crate) struct Tree {
    pub(crate) nodes: BTreeMap<u64, Node>,
}

impl Tree {
    pub(crate) fn new() -> Tree {
        Tree { nodes: BTreeMap::from([(1, Node::new(Kind::Dir(BTreeMap::new()), 0o755))]) }
    }

    pub(crate) fn node(&mut self, ino: u64) -> &mut Node {
        self.nodes.get_mut(&ino).unwrap()
    }

    pub(crate) fn entries(&mut self, dir: u64) -> &mut BTreeMap<String, u64> {
        let node = self.node(dir);
        node.written();
        match &mut node.kind {
            Kind::Dir(entries) => entries,
            _ => panic!("not a directory"),
        }
    }

    pub(crate) fn lookup(&self, dir: u64, name: &str) -> Option<u64> {
        match &self.nodes[&dir].kind {
            Kind::Dir(entries) => entries.get(name).copied(),
            _ => panic!("not a directory"),
        }
    }

    pub(crate) fn is_empty_dir(&self, ino: u64) -> bool {
        matches!(&self.nodes[&ino].kind, Kind::Dir(entries) if entries.is_empty())
    }

    /// Whether `place` is `dir` or below it.
    pub(crate) fn is_inside(&self, dir: u64, place: u64) -> bool {
        dir == place
            || match &self.nodes[&dir].kind {
                Kind::Dir(entries) => entries.values().any(|ino| self.is_inside(*ino, place)),
                _ => false,
            }
    }

    /// A new node gets its first name, and the group of a set-group-id directory.
    pub(crate) fn born(&mut self, dir: u64, name: &str, ino: u64, mut node: Node) {
        let (mode, gid) = (self.node(dir).mode, self.node(dir).gid);
        if mode & 0o2000 != 0 {
            node.gid = gid;
            node.mode |= if node.is_dir() { 0o2000 } else { 0 };
        }
        self.nodes.insert(ino, node);
        self.enter(dir, name, ino);
    }

    pub(crate) fn enter(&mut self, dir: u64, name: &str, ino: u64) {
        self.entries(dir).insert(name.to_owned(), ino);
        if self.node(ino).is_dir() {
            self.node(dir).nlink += 1;
        }
    }

    pub(crate) fn leave(&mut self, dir: u64, name: &str) -> u64 {
        let ino = self.entries(dir).remove(name).unwrap();
        if self.node(ino).is_dir() {
            self.node(dir).nlink -= 1;
        }
        ino
    }

    /// One name of `ino` is gone.
    pub(crate) fn unnamed(&mut self, ino: u64, is_open: bool) {
        let node = self.node(ino);
        node.changed();
        node.nlink = if node.is_dir() { 0 } else { node.nlink - 1 };
        if node.nlink == 0 && !is_open {
            self.nodes.remove(&ino);
        }
    }

    /// Inodes with a name that `wanted` likes.
    pub(crate) fn named(&self, wanted: impl Fn(&Node) -> bool) -> Vec<u64> {
        self.nodes.iter().filter(|(_, node)| node.nlink > 0 && wanted(node)).map(|(ino, _)| *ino).collect()
    }
}
