//! Reads the trees of versions.
//!
//! A lookup reads one node of a small directory and two of a large one, through the cache of decoded chunks. Every node
//! was checked against its hash; one that does not parse all the same is damage and is said so.

use crate::base::id::ChunkId;
use crate::base::{Error, Result};
use crate::content::hash::name_hash;
use crate::content::tree::{Body, Entry, Node, bucket_of};
use crate::pack::PackStore;

/// Directories in directories that are followed.
const DEPTH_MAX: usize = 4096;

/// What gets every entry with the names that lead to its directory.
pub type Each<'a> = dyn FnMut(&[Vec<u8>], &Entry) -> Result<()> + 'a;

/// The trees in a store.
#[derive(Clone, Copy)]
pub struct Trees<'a> {
    packs: &'a PackStore,
}

impl<'a> Trees<'a> {
    /// The trees in `packs`.
    pub fn new(packs: &'a PackStore) -> Self {
        Trees { packs }
    }

    /// The node `id`.
    pub fn node(&self, id: &ChunkId) -> Result<Node> {
        self.decoded(id, &self.packs.read(id)?)
    }

    /// The node `id`, past the cache: all trees of all versions would push everything else out of it.
    pub fn node_uncached(&self, id: &ChunkId) -> Result<Node> {
        self.decoded(id, &self.packs.read_uncached(id)?)
    }

    fn decoded(&self, id: &ChunkId, bytes: &[u8]) -> Result<Node> {
        Node::decode(bytes).ok_or_else(|| {
            Error::damaged(self.packs.path(), format!("store: tree node {id} is of no known form"))
        })
    }

    fn leaf(&self, id: &ChunkId) -> Result<Vec<Entry>> {
        match self.node(id)? {
            Node::Leaf(entries) => Ok(entries),
            _ => Err(Error::damaged(self.packs.path(), format!("store: tree node {id} is no leaf"))),
        }
    }

    /// The top of a version: its directory, with an empty name.
    pub fn top(&self, tree: &ChunkId) -> Result<Entry> {
        let found = self.leaf(tree)?.into_iter().next();
        found.ok_or_else(|| Error::damaged(self.packs.path(), format!("store: the tree {tree} has no top")))
    }

    /// The entry `name` of the directory with node `dir`.
    pub fn lookup(&self, dir: &ChunkId, name: &[u8]) -> Result<Option<Entry>> {
        let entries = match self.node(dir)? {
            Node::Leaf(entries) => entries,
            Node::Fan(buckets) => match buckets.get(bucket_of(name, buckets.len())).copied().flatten() {
                Some(bucket) => self.leaf(&bucket)?,
                None => return Ok(None),
            },
            Node::About(_) => {
                return Err(Error::damaged(self.packs.path(), format!("store: {dir} is no directory")));
            }
        };
        Ok(entries.into_iter().find(|entry| entry.name == name))
    }

    /// The entry that the names of `path` lead to from `from`; `None` where there is none.
    pub fn walk(&self, from: Entry, path: &[Vec<u8>]) -> Result<Option<Entry>> {
        let mut at = from;
        for name in path {
            let Body::Dir { tree, .. } = &at.body else { return Ok(None) };
            match self.lookup(tree, name)? {
                Some(entry) => at = entry,
                None => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    /// At most `limit` entries of the directory with node `dir` whose (hash of the name, name) is above `after`, in that
    /// order; empty at the end.
    pub fn list(&self, dir: &ChunkId, after: Option<(u64, &[u8])>, limit: usize) -> Result<Vec<Entry>> {
        let is_after =
            |entry: &Entry| after.is_none_or(|after| (name_hash(&entry.name), entry.name.as_slice()) > after);
        let mut found = Vec::new();
        match self.node(dir)? {
            Node::Leaf(entries) => found.extend(entries.into_iter().filter(is_after).take(limit)),
            Node::Fan(buckets) => {
                let bits = buckets.len().trailing_zeros();
                let first = after.map_or(0, |(hash, _)| hash.checked_shr(64 - bits).unwrap_or(0));
                for bucket in buckets.iter().skip(usize::try_from(first).unwrap_or(0)).flatten() {
                    found.extend(self.leaf(bucket)?.into_iter().filter(is_after).take(limit - found.len()));
                    if found.len() >= limit {
                        break;
                    }
                }
            }
            Node::About(_) => {
                return Err(Error::damaged(self.packs.path(), format!("store: {dir} is no directory")));
            }
        }
        Ok(found)
    }

    /// Hands every entry below the directory with node `dir` to `each`, directories before what is in them, with the names
    /// that lead to the directory that holds it.
    pub fn each(&self, dir: &ChunkId, each: &mut Each<'_>) -> Result<()> {
        let mut todo: Vec<(Vec<Vec<u8>>, ChunkId)> = vec![(Vec::new(), *dir)];
        while let Some((path, dir)) = todo.pop() {
            let mut after: Option<(u64, Vec<u8>)> = None;
            loop {
                let entries =
                    self.list(&dir, after.as_ref().map(|(hash, name)| (*hash, name.as_slice())), usize::MAX)?;
                let Some(last) = entries.last() else { break };
                after = Some((name_hash(&last.name), last.name.clone()));
                for entry in &entries {
                    each(&path, entry)?;
                    if let Body::Dir { tree, .. } = &entry.body
                        && path.len() < DEPTH_MAX
                    {
                        let mut below = path.clone();
                        below.push(entry.name.clone());
                        todo.push((below, *tree));
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Time;
    use crate::base::monitor::Silent;
    use crate::content::tree::encode_dir;
    use crate::pack::Kind;

    fn entry(name: &str, body: Body) -> Entry {
        let mtime = Time::default();
        Entry {
            name: name.into(),
            ino: 1,
            mode: 0,
            uid: 0,
            gid: 0,
            nlink: 1,
            mtime,
            xattrs: Vec::new(),
            body,
        }
    }

    #[test]
    fn large_and_small_directories_are_looked_up_and_listed_alike() {
        let dir = tempfile::tempdir().unwrap();
        let store = PackStore::open(&dir.path().join("p"), &dir.path().join("i"), 1 << 24, &Silent).unwrap();
        for count in [0, 1, 200, 3000_usize] {
            let mut batch = store.writer().unwrap();
            let inner = encode_dir(vec![entry("deep", Body::Special(7))], &mut |id, bytes| {
                batch.put(Kind::Tree, id, bytes).map(drop)
            });
            let below = Body::Dir { tree: inner.unwrap(), files: 0, bytes: 0 };
            let mut entries: Vec<Entry> =
                (1..count).map(|n| entry(&format!("f{n}"), Body::Special(n as u32))).collect();
            entries.push(entry("sub", below));
            let id =
                encode_dir(entries, &mut |id, bytes| batch.put(Kind::Tree, id, bytes).map(drop)).unwrap();
            batch.finish().unwrap();
            let trees = Trees::new(&store);
            let (mut listed, mut after) = (0, None::<(u64, Vec<u8>)>);
            loop {
                let page = trees.list(&id, after.as_ref().map(|(h, n)| (*h, n.as_slice())), 7).unwrap();
                let Some(last) = page.last() else { break };
                listed += page.len();
                after = Some((name_hash(&last.name), last.name.clone()));
            }
            assert_eq!(listed, count.max(1));
            assert_eq!(trees.lookup(&id, b"nothing").unwrap(), None);
            let top = entry("", Body::Dir { tree: id, files: 0, bytes: 0 });
            let found = trees.walk(top.clone(), &[b"sub".to_vec(), b"deep".to_vec()]).unwrap().unwrap();
            assert_eq!(found.body, Body::Special(7));
            assert!(trees.walk(top, &[b"sub".to_vec(), b"deep".to_vec(), b"x".to_vec()]).unwrap().is_none());
            let mut all = Vec::new();
            trees
                .each(&id, &mut |path, entry| {
                    all.push((path.len(), entry.name.clone()));
                    Ok(())
                })
                .unwrap();
            assert_eq!(all.len(), count.max(1) + 1);
            assert!(all.contains(&(1, b"deep".to_vec())));
        }
    }
}
