//! What has been asked of a store, what was answered, and what of it must survive.
//!
//! Names: a list of trees, the first of which is durable; each operation adds one. After a kill the last one holds (or the
//! one before, while an operation is not answered); after a cut each name is as in one of them. Bytes: each file has a
//! list of contents in the same way, with the one that an fsync has taken.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// A file, for ever.
pub(crate) type FileId = usize;

/// What a name leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    Dir,
    Link(String),
    /// A file. After a cut it holds no content older than number `floor` under this name: it replaced another file by a
    /// rename, which holds only once its bytes are durable.
    File {
        id: FileId,
        floor: usize,
    },
}

/// An inode as one of its names shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Node {
    pub(crate) kind: Kind,
    pub(crate) xattrs: BTreeMap<String, String>,
}

impl Node {
    pub(crate) fn new(kind: Kind) -> Node {
        Node { kind, xattrs: BTreeMap::new() }
    }

    pub(crate) fn file(&self) -> Option<FileId> {
        match self.kind {
            Kind::File { id, .. } => Some(id),
            Kind::Dir | Kind::Link(_) => None,
        }
    }
}

/// All names, by path, without the root.
pub(crate) type Tree = BTreeMap<String, Node>;

/// What a file held, oldest first, as numbers of contents.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Written {
    pub(crate) contents: Vec<usize>,
    /// The newest of them that an fsync has taken.
    pub(crate) synced: Option<usize>,
}

/// A version that was begun: its run, and the content of each of its files by path in the run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Kept {
    pub(crate) run: String,
    /// Once it is made.
    pub(crate) number: Option<u32>,
    pub(crate) files: BTreeMap<String, usize>,
    /// It was asked to go: it may be there, or not.
    pub(crate) may_go: bool,
}

/// What is known of a store.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Oracle {
    /// The folder of contents, by number.
    blobs: PathBuf,
    count: usize,
    pub(crate) states: Vec<Tree>,
    /// The last state was answered.
    pub(crate) answered: bool,
    /// The file whose last content is not answered yet.
    pub(crate) writing: Option<FileId>,
    pub(crate) files: Vec<Written>,
    pub(crate) versions: Vec<Kept>,
}

impl Oracle {
    /// Of an empty store; contents are kept in the folder `blobs`.
    pub(crate) fn new(blobs: &Path) -> Oracle {
        fs::create_dir_all(blobs).unwrap();
        let states = vec![Tree::new()];
        let mut oracle = Oracle {
            blobs: blobs.to_owned(),
            count: 0,
            states,
            answered: true,
            writing: None,
            files: Vec::new(),
            versions: Vec::new(),
        };
        oracle.content(b"");
        oracle
    }

    /// Keeps `bytes` as a content; its number. The empty one is 0.
    pub(crate) fn content(&mut self, bytes: &[u8]) -> usize {
        fs::write(self.blobs.join(self.count.to_string()), bytes).unwrap();
        self.count += 1;
        self.count - 1
    }

    /// The bytes of a content.
    pub(crate) fn bytes(&self, content: usize) -> Vec<u8> {
        fs::read(self.blobs.join(content.to_string())).unwrap()
    }

    /// All names as the last operation leaves them.
    pub(crate) fn tree(&self) -> &Tree {
        self.states.last().unwrap()
    }

    /// The file at `path`.
    pub(crate) fn file_at(&self, path: &str) -> FileId {
        self.tree()[path].file().unwrap()
    }

    /// The bytes of the file at `path`.
    pub(crate) fn bytes_at(&self, path: &str) -> Vec<u8> {
        self.bytes(*self.files[self.file_at(path)].contents.last().unwrap())
    }

    /// An operation begins that leaves the names as `change` does.
    pub(crate) fn begin(&mut self, change: impl FnOnce(&mut Tree)) {
        let mut tree = self.tree().clone();
        change(&mut tree);
        self.states.push(tree);
        self.answered = false;
    }

    /// A file is written: its bytes are `bytes` after the operation that has begun.
    pub(crate) fn write(&mut self, id: FileId, bytes: &[u8]) {
        let content = self.content(bytes);
        self.files[id].contents.push(content);
        self.writing = Some(id);
    }

    /// The operation has been answered.
    pub(crate) fn answer(&mut self) {
        (self.answered, self.writing) = (true, None);
    }

    /// A file that holds nothing.
    pub(crate) fn new_file(&mut self) -> FileId {
        self.files.push(Written { contents: vec![0], synced: None });
        self.files.len() - 1
    }

    /// Everything about names that was answered is durable.
    pub(crate) fn names_are_durable(&mut self) {
        let last = self.states.pop().unwrap();
        self.states = vec![last];
    }

    /// The bytes of a file are durable.
    pub(crate) fn bytes_are_durable(&mut self, id: FileId) {
        let file = &mut self.files[id];
        file.synced = Some(file.contents.len() - 1);
    }

    /// Gives the versions their numbers: those of a run are counted in the order in which they were begun.
    pub(crate) fn number_versions(&mut self) {
        let mut next: BTreeMap<String, u32> = BTreeMap::new();
        for kept in self.versions.iter_mut().filter(|kept| kept.number.is_some()) {
            let number = next.entry(kept.run.clone()).or_default();
            *number += 1;
            kept.number = Some(*number);
        }
    }

    /// What the files of directory `run` hold in state `tree`, as a version has it.
    pub(crate) fn files_below(&self, tree: &Tree, run: &str) -> BTreeMap<String, usize> {
        let prefix = if run.is_empty() { String::new() } else { format!("{run}/") };
        let below = tree.iter().filter_map(|(path, node)| {
            let content = *self.files[node.file()?].contents.last()?;
            Some((path.strip_prefix(&prefix)?.to_owned(), content))
        });
        below.collect()
    }
}
