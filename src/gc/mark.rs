//! Which blobs are in use: everything that roots (contents and trees) lead to.
//!
//! Contents of files that are there now are marked first, so that what only history holds can be told. A root is walked
//! once, however many versions share it. Memory: about 40 bytes a chunk. Chunks are told apart by eight bytes of their ids:
//! one too many may be kept, none too few. Roots are told apart by whole ids, because taking one for another would lose
//! what only that one names. What is stored as a delta needs its base, whoever else does ([`Live::set_deltas`]).

use std::collections::{HashMap, HashSet};

use super::Pace;
use crate::base::id::ChunkId;
use crate::base::{Error, Result};
use crate::content::tree::{Body, Node};
use crate::pack::collect::is_damage;
use crate::pack::{Deltas, PackStore};
use crate::seal::stored;

/// Roots that cannot be read, above which nothing is removed: this is no longer one bad sector.
const BROKEN_MAX: usize = 16;
/// What the pace is told of a root, in bytes.
const ROOT_BYTES: u64 = 4 << 10;

/// Who needs a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A file that is there now.
    File,
    /// Only history.
    History,
}

/// One blob in use.
#[derive(Clone, Copy, Debug)]
struct Place {
    owner: Owner,
    /// The newest pack that has it, 0 while none is known.
    pack: u32,
}

/// The blobs in use.
#[derive(Debug, Default)]
pub struct Live {
    blobs: HashMap<u64, Place>,
    /// Deltas that are not known to be in use.
    deltas: Deltas,
}

impl Live {
    /// Adds a blob; the first owner counts.
    pub fn add(&mut self, short: u64, owner: Owner) {
        self.blobs.entry(short).or_insert(Place { owner, pack: 0 });
    }

    /// Whether a blob is in use.
    pub fn contains(&self, id: &ChunkId) -> bool {
        self.blobs.contains_key(&id.short())
    }

    /// Counts `pack` as the one that has blob `id`, unless another is already; its owner if it is in use and counts here.
    pub fn claim(&mut self, id: &ChunkId, pack: u32) -> Option<Owner> {
        let place = self.blobs.get_mut(&id.short())?;
        if place.pack == 0 {
            place.pack = pack;
        }
        (place.pack == pack).then_some(place.owner)
    }

    /// Tells what is stored as deltas: what these need is in use as long as they are.
    pub fn set_deltas(&mut self, deltas: Deltas) {
        self.deltas = deltas;
        self.add_bases();
    }

    /// Adds the bases of deltas that are in use, and theirs. To be called when blobs were added.
    pub fn add_bases(&mut self) {
        let mut left = std::mem::take(&mut self.deltas);
        loop {
            let before = left.len();
            left.retain(|(blob, base)| match self.blobs.get(blob).copied() {
                Some(place) => {
                    self.add(*base, place.owner);
                    false
                }
                None => true,
            });
            if left.len() == before {
                break;
            }
        }
        self.deltas = left;
    }

    /// How many blobs are in use.
    pub fn len(&self) -> usize {
        self.blobs.len()
    }

    /// Whether nothing is in use.
    pub fn is_empty(&self) -> bool {
        self.blobs.is_empty()
    }
}

/// What a mark has found.
#[derive(Debug, Default)]
pub struct Marked {
    /// The blobs in use.
    pub live: Live,
    /// Roots that could not be read ([`ChunkId::short`]): the packs that hold them stay as they are.
    pub broken: HashSet<u64>,
    /// Why, one error for each.
    pub faults: Vec<Error>,
}

/// A mark under way.
pub struct Mark<'a> {
    packs: &'a PackStore,
    pace: &'a Pace<'a>,
    /// Roots that a repair has given up.
    given_up: HashSet<ChunkId>,
    contents: HashSet<ChunkId>,
    nodes: HashSet<ChunkId>,
    marked: Marked,
}

impl<'a> Mark<'a> {
    /// Nothing is marked yet. Roots in `given_up` that cannot be read keep nothing.
    pub fn new(packs: &'a PackStore, given_up: HashSet<ChunkId>, pace: &'a Pace<'a>) -> Self {
        let (contents, nodes) = (HashSet::new(), HashSet::new());
        Mark { packs, pace, given_up, contents, nodes, marked: Marked::default() }
    }

    /// One blob that names no others.
    pub fn blob(&mut self, id: &ChunkId, owner: Owner) {
        self.marked.live.add(id.short(), owner);
    }

    /// A sealed content: its manifest, the parts of that, and all chunks.
    pub fn content(&mut self, id: &ChunkId, owner: Owner) -> Result<()> {
        if !self.contents.insert(*id) {
            return Ok(());
        }
        (self.pace)(ROOT_BYTES)?;
        let live = &mut self.marked.live;
        let mut last = *id;
        let loaded = stored::load_with_parts(self.packs, id, &mut |part| {
            last = part;
            live.add(part.short(), owner);
        });
        match loaded {
            Ok(manifest) => manifest.ids().for_each(|id| live.add(id.short(), owner)),
            Err(error) if is_damage(&error) && self.given_up.contains(id) => {}
            Err(error) => self.broken(&last, error)?,
        }
        Ok(())
    }

    /// The tree of a version: its nodes and all contents that they name.
    pub fn tree(&mut self, id: &ChunkId) -> Result<()> {
        let mut todo = vec![*id];
        while let Some(id) = todo.pop() {
            if !self.nodes.insert(id) {
                continue;
            }
            (self.pace)(ROOT_BYTES)?;
            self.blob(&id, Owner::History);
            let node = match self.node(&id) {
                Ok(node) => node,
                Err(error) if is_damage(&error) && self.given_up.contains(&id) => continue,
                Err(error) => {
                    self.broken(&id, error)?;
                    continue;
                }
            };
            match node {
                Node::Fan(buckets) => todo.extend(buckets.into_iter().flatten()),
                Node::About(_) => {}
                Node::Leaf(entries) => {
                    for entry in entries {
                        match entry.body {
                            Body::Dir { tree, .. } => todo.push(tree),
                            Body::File { content, .. } => self.content(&content, Owner::History)?,
                            Body::Symlink(_) | Body::Special(_) => {}
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Past the cache: all trees of all versions would push everything else out of it.
    fn node(&self, id: &ChunkId) -> Result<Node> {
        let of_no_form =
            || Error::damaged(self.packs.path(), format!("store: tree node {id} is of no known form"));
        Node::decode(&self.packs.read_uncached(id)?).ok_or_else(of_no_form)
    }

    /// A root cannot be read. A disk that fails to answer may answer later: only damage is passed over.
    fn broken(&mut self, id: &ChunkId, error: Error) -> Result<()> {
        if !is_damage(&error) {
            return Err(error);
        }
        let Marked { broken, faults, .. } = &mut self.marked;
        broken.insert(id.short());
        faults.push(error);
        if faults.len() > BROKEN_MAX {
            return Err(Error::Refused(format!(
                "more than {BROKEN_MAX} lists of chunks cannot be read; nothing is removed until the store is repaired"
            )));
        }
        Ok(())
    }

    /// What was found.
    pub fn finish(self) -> Marked {
        self.marked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_owner_counts_and_a_blob_counts_in_one_pack() {
        let (mut live, one, two) = (Live::default(), ChunkId([1; 32]), ChunkId([2; 32]));
        live.add(one.short(), Owner::File);
        live.add(one.short(), Owner::History);
        assert_eq!(live.claim(&one, 9), Some(Owner::File));
        assert_eq!((live.claim(&one, 3), live.claim(&one, 9)), (None, Some(Owner::File)));
        assert_eq!(live.claim(&two, 9), None);
        assert!(live.contains(&one) && !live.contains(&two));
        assert_eq!((live.len(), live.is_empty()), (1, false));
    }

    #[test]
    fn a_base_is_in_use_as_long_as_a_delta_that_is_and_a_chain_is_followed() {
        let mut live = Live::default();
        live.add(1, Owner::File);
        live.set_deltas(vec![(3, 4), (2, 3), (1, 2), (8, 9)]);
        let owner = |live: &Live, short| live.blobs.get(&short).map(|place| place.owner);
        assert_eq!([1, 2, 3, 4].map(|short| owner(&live, short)), [Some(Owner::File); 4]);
        assert_eq!([8, 9].map(|short| owner(&live, short)), [None; 2]);
        live.add(8, Owner::History);
        live.add_bases();
        assert_eq!(owner(&live, 9), Some(Owner::History), "a batch has found 8 meanwhile");
    }
}
