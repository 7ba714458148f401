//! From roots to blobs: trees and lists of chunks are read, and who refers to what is noted.
//!
//! A node is read once a group, however often the group has it; its sum is remembered until the group ends. Directories
//! in directories cost no stack. What cannot be read counts as empty and is told.

use std::collections::{HashMap, HashSet};

use super::blobs::Blobs;
use crate::base::id::ChunkId;
use crate::base::{Error, Result};
use crate::content::manifest::Extent;
use crate::content::tree::{Body, Node};
use crate::pack::PackStore;
use crate::pack::collect::is_damage;
use crate::seal::stored;

/// Bytes of files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// All.
    pub bytes: u64,
    /// Of these, holes.
    pub holes: u64,
}

impl Sum {
    fn add(&mut self, other: Sum) {
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.holes = self.holes.saturating_add(other.holes);
    }
}

/// What a node of a tree leads to.
enum Child {
    Node(ChunkId),
    Content(ChunkId),
}

/// A node whose children are being visited.
struct Open {
    id: ChunkId,
    children: Vec<Child>,
    sum: Sum,
}

/// A walk over roots, group by group.
pub struct Walk<'a> {
    packs: &'a PackStore,
    /// Asked at every node; its error ends the walk.
    go_on: &'a dyn Fn() -> Result<()>,
    blobs: Blobs,
    group: u32,
    done: HashMap<ChunkId, Sum>,
    broken: HashSet<ChunkId>,
}

impl<'a> Walk<'a> {
    /// A walk that notes in `blobs`, which has the footers of all packs.
    pub fn new(packs: &'a PackStore, blobs: Blobs, go_on: &'a dyn Fn() -> Result<()>) -> Self {
        Walk { packs, go_on, blobs, group: 0, done: HashMap::new(), broken: HashSet::new() }
    }

    /// What is visited from now on belongs to `group`, which was not begun before.
    pub fn begin(&mut self, group: u32) {
        self.group = group;
        // Not cleared: that costs what the largest group before took.
        self.done = HashMap::new();
    }

    /// A version: its tree and, if it has one, its description.
    pub fn version(&mut self, tree: &ChunkId, about: Option<&ChunkId>) -> Result<()> {
        if let Some(about) = about {
            self.blobs.metadata(about, self.group);
        }
        let sum = self.tree(tree)?;
        self.blobs.files(sum.bytes, sum.holes, self.group, true);
        Ok(())
    }

    /// The content of a file. It counts for the store when no other group has it.
    pub fn file(&mut self, content: &ChunkId) -> Result<()> {
        let sum = self.content(content)?;
        let is_counted = self.blobs.is_only_of(content, self.group);
        self.blobs.files(sum.bytes, sum.holes, self.group, is_counted);
        Ok(())
    }

    /// The content of a file that would go with the group. It counts when neither the group nor, so far, another has it.
    pub fn own_file(&mut self, content: &ChunkId) -> Result<()> {
        let is_known = self.done.contains_key(content);
        let sum = self.content(content)?;
        if !is_known && self.blobs.is_only_of(content, self.group) {
            self.blobs.files(sum.bytes, sum.holes, self.group, true);
        }
        Ok(())
    }

    /// The table, and the roots that could not be read.
    pub fn finish(self) -> (Blobs, u64) {
        (self.blobs, self.broken.len() as u64)
    }

    fn tree(&mut self, top: &ChunkId) -> Result<Sum> {
        let (mut open, mut total): (Vec<Open>, Sum) = (Vec::new(), Sum::default());
        let mut next = Some(Child::Node(*top));
        loop {
            match next.take() {
                Some(Child::Node(id)) if !self.done.contains_key(&id) => {
                    let children = self.children(&id)?;
                    open.push(Open { id, children, sum: Sum::default() });
                }
                Some(Child::Node(id)) => {
                    let sum = self.done.get(&id).copied().unwrap_or_default();
                    open.last_mut().map_or(&mut total, |parent| &mut parent.sum).add(sum);
                }
                Some(Child::Content(id)) => {
                    let sum = self.content(&id)?;
                    open.last_mut().map_or(&mut total, |parent| &mut parent.sum).add(sum);
                }
                None => {}
            }
            let Some(node) = open.last_mut() else { return Ok(total) };
            next = node.children.pop();
            if next.is_none() {
                self.done.insert(node.id, node.sum);
                next = open.pop().map(|node| Child::Node(node.id));
            }
        }
    }

    fn children(&mut self, id: &ChunkId) -> Result<Vec<Child>> {
        (self.go_on)()?;
        self.blobs.metadata(id, self.group);
        let node = match self.node(id) {
            Ok(node) => node,
            Err(error) => return self.broken(id, error).map(|()| Vec::new()),
        };
        Ok(match node {
            Node::Fan(buckets) => buckets.into_iter().flatten().map(Child::Node).collect(),
            Node::About(_) => Vec::new(),
            Node::Leaf(entries) => entries
                .into_iter()
                .filter_map(|entry| match entry.body {
                    Body::Dir { tree, .. } => Some(Child::Node(tree)),
                    Body::File { content, .. } => Some(Child::Content(content)),
                    Body::Symlink(_) | Body::Special(_) => None,
                })
                .collect(),
        })
    }

    /// Past the cache: all trees of all versions would push everything else out of it.
    fn node(&self, id: &ChunkId) -> Result<Node> {
        let of_no_form =
            || Error::damaged(self.packs.path(), format!("store: tree node {id} is of no known form"));
        Node::decode(&self.packs.read_uncached(id)?).ok_or_else(of_no_form)
    }

    fn content(&mut self, id: &ChunkId) -> Result<Sum> {
        if let Some(sum) = self.done.get(id) {
            return Ok(*sum);
        }
        (self.go_on)()?;
        let (blobs, group) = (&mut self.blobs, self.group);
        let loaded = stored::load_with_parts(self.packs, id, &mut |part| blobs.metadata(&part, group));
        let mut sum = Sum::default();
        match loaded {
            Ok(manifest) => {
                for extent in manifest.extents() {
                    match extent {
                        Extent::Data { len, id } => blobs.chunk(id, *len, group),
                        Extent::Hole { len } => sum.holes += len,
                    }
                }
                sum.bytes = manifest.size();
            }
            Err(error) => self.broken(id, error)?,
        }
        self.done.insert(*id, sum);
        Ok(sum)
    }

    fn broken(&mut self, id: &ChunkId, error: Error) -> Result<()> {
        if !is_damage(&error) {
            return Err(error);
        }
        if self.broken.insert(*id) {
            tracing::error!("{error}");
        }
        Ok(())
    }
}
