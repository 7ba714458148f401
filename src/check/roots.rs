//! What contents and trees need, held against what there is.
//!
//! Each content and each node is looked at once, however many versions share it. Memory: about 60 bytes for each of them;
//! 40 more for one that is damaged.

use std::collections::{HashMap, HashSet};

use super::blobs::Blobs;
use crate::base::id::ChunkId;
use crate::base::{Error, Result};
use crate::content::manifest::Extent;
use crate::content::tree::{Body, Node};
use crate::pack::PackStore;
use crate::pack::collect::is_damage;
use crate::seal::stored;

/// What cannot be read of a content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Bytes of the file that are lost.
    pub bytes: u64,
    /// Its list of chunks is lost, so nothing of it can be read.
    pub whole: bool,
    /// Why.
    pub why: String,
}

/// Is given a path below a tree, the bytes of it that are lost, and why.
pub type Affected<'a> = dyn FnMut(&[u8], u64, &str) + 'a;

/// Contents and trees, as far as they were looked at.
pub struct Roots<'a> {
    packs: &'a PackStore,
    blobs: &'a Blobs,
    go_on: &'a dyn Fn(u64) -> Result<()>,
    /// Contents that were looked at.
    pub contents: HashSet<ChunkId>,
    nodes: HashSet<ChunkId>,
    /// Contents of which something is lost.
    pub lost: HashMap<ChunkId, Lost>,
    /// Nodes of trees that cannot be read, and why.
    pub lost_nodes: HashMap<ChunkId, String>,
}

impl<'a> Roots<'a> {
    /// Nothing was looked at yet.
    pub fn new(packs: &'a PackStore, blobs: &'a Blobs, go_on: &'a dyn Fn(u64) -> Result<()>) -> Self {
        Roots {
            packs,
            blobs,
            go_on,
            contents: HashSet::new(),
            nodes: HashSet::new(),
            lost: HashMap::new(),
            lost_nodes: HashMap::new(),
        }
    }

    /// Whether nothing that was looked at is lost.
    pub fn is_whole(&self) -> bool {
        self.lost.is_empty() && self.lost_nodes.is_empty()
    }

    /// Looks at content `id` of a file of `size` bytes; whether all of it is there.
    pub fn content(&mut self, id: &ChunkId, size: u64) -> Result<bool> {
        if self.contents.insert(*id) {
            (self.go_on)(0)?;
            if let Some(lost) = self.missing(id, size)? {
                self.lost.insert(*id, lost);
            }
        }
        Ok(!self.lost.contains_key(id))
    }

    fn missing(&self, id: &ChunkId, size: u64) -> Result<Option<Lost>> {
        let manifest = match stored::load(self.packs, id) {
            Ok(manifest) => manifest,
            Err(error) => return Ok(Some(Lost { bytes: size, whole: true, why: damage(error)? })),
        };
        if manifest.size() != size {
            let why = format!("its list of chunks says {} bytes", manifest.size());
            return Ok(Some(Lost { bytes: size, whole: true, why }));
        }
        let missing = manifest.extents().iter().filter_map(|extent| match extent {
            Extent::Data { len, id } if !self.blobs.has(id, *len) => Some((u64::from(*len), id)),
            _ => None,
        });
        let (bytes, first, chunks) = missing.fold((0, None, 0), |(bytes, first, chunks), (len, id)| {
            (bytes + len, first.or(Some(id)), chunks + 1)
        });
        let lost = first.map(|id| {
            let why = format!("{chunks} of its chunks are lost, {id} first");
            Lost { bytes, whole: false, why }
        });
        Ok(lost)
    }

    /// Looks at the node `id` of a tree and all below it, contents included.
    pub fn tree(&mut self, id: &ChunkId) -> Result<()> {
        let mut todo = vec![*id];
        while let Some(id) = todo.pop() {
            if !self.nodes.insert(id) {
                continue;
            }
            (self.go_on)(0)?;
            match self.node(&id)? {
                Ok(Node::Fan(buckets)) => todo.extend(buckets.into_iter().flatten()),
                Ok(Node::About(_)) => {}
                Ok(Node::Leaf(entries)) => {
                    for entry in entries {
                        match &entry.body {
                            Body::Dir { tree, .. } => todo.push(*tree),
                            Body::File { content, size, .. } => drop(self.content(content, *size)?),
                            Body::Symlink(_) | Body::Special(_) => {}
                        }
                    }
                }
                Err(why) => drop(self.lost_nodes.insert(id, why)),
            }
        }
        Ok(())
    }

    /// Hands every path below the tree `id` that leads to something lost to `each`, with the bytes that are lost (0 for a
    /// directory) and why. Nothing is asked of what was found whole.
    pub fn affected(&self, id: &ChunkId, each: &mut Affected<'_>) -> Result<()> {
        let mut todo: Vec<(Vec<u8>, ChunkId)> = vec![(Vec::new(), *id)];
        while let Some((path, id)) = todo.pop() {
            (self.go_on)(0)?;
            if let Some(why) = self.lost_nodes.get(&id) {
                each(&path, 0, why);
                continue;
            }
            match self.node(&id)? {
                Ok(Node::Fan(buckets)) => {
                    todo.extend(buckets.into_iter().flatten().map(|bucket| (path.clone(), bucket)));
                }
                Ok(Node::Leaf(entries)) => {
                    for entry in entries {
                        let path = joined(&path, &entry.name);
                        match &entry.body {
                            Body::Dir { tree, .. } => todo.push((path, *tree)),
                            Body::File { content, .. } => {
                                if let Some(lost) = self.lost.get(content) {
                                    each(&path, lost.bytes, &lost.why);
                                }
                            }
                            Body::Symlink(_) | Body::Special(_) => {}
                        }
                    }
                }
                Ok(Node::About(_)) => {}
                Err(why) => each(&path, 0, &why),
            }
        }
        Ok(())
    }

    /// The node, or why it cannot be read.
    fn node(&self, id: &ChunkId) -> Result<std::result::Result<Node, String>> {
        match self.packs.read_uncached(id) {
            Ok(bytes) => {
                Ok(Node::decode(&bytes).ok_or_else(|| format!("tree node {id} is of no known form")))
            }
            Err(error) => damage(error).map(Err),
        }
    }
}

/// `name` in the directory `path`; the top of a tree has an empty name.
fn joined(path: &[u8], name: &[u8]) -> Vec<u8> {
    if path.is_empty() { name.to_vec() } else { [path, b"/", name].concat() }
}

/// The text of damage; any other failure as it is.
fn damage(error: Error) -> Result<String> {
    if is_damage(&error) { Ok(error.to_string()) } else { Err(error) }
}
