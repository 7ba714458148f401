//! One directory of a version made from that of the version before: only the buckets with a changed entry are read and
//! written.
//!
//! Invariant: the result is what [`encode_dir`] makes of all the entries; where the number of buckets changes, all are read.

use std::collections::BTreeMap;

use crate::base::id::ChunkId;
use crate::content::tree::{Entry, Node, Put, bucket_of, buckets_for, encode_dir, in_order, save};

/// What reads the node with an id.
pub type Load<'a, E> = dyn FnMut(&ChunkId) -> Result<Node, E> + 'a;

/// A directory that is being changed.
pub struct Edit {
    id: ChunkId,
    /// One for a small directory.
    buckets: Vec<Bucket>,
}

/// A part of the entries.
#[derive(Default)]
struct Bucket {
    /// As it is stored, if it has entries.
    stored: Option<ChunkId>,
    /// Once they were read.
    entries: Option<BTreeMap<Vec<u8>, Entry>>,
    changed: bool,
}

impl Edit {
    /// The directory with node `id`; `None` where that node is none of a directory.
    pub fn of<E>(id: ChunkId, load: &mut Load<'_, E>) -> Result<Option<Self>, E> {
        let bucket = |stored| Bucket { stored, ..Bucket::default() };
        let buckets = match load(&id)? {
            Node::Leaf(entries) => vec![Bucket { entries: Some(by_name(entries)), ..Bucket::default() }],
            Node::Fan(ids) => ids.into_iter().map(bucket).collect(),
            Node::About(_) => return Ok(None),
        };
        Ok(Some(Edit { id, buckets }))
    }

    /// The entry `name`.
    pub fn get<E>(&mut self, name: &[u8], load: &mut Load<'_, E>) -> Result<Option<Entry>, E> {
        let at = bucket_of(name, self.buckets.len());
        let Some(bucket) = self.buckets.get_mut(at) else { return Ok(None) };
        Ok(bucket.read(load)?.get(name).cloned())
    }

    /// Makes `name` lead to `entry`, or to nothing. Returns the entry that it had.
    pub fn set<E>(
        &mut self,
        name: &[u8],
        entry: Option<Entry>,
        load: &mut Load<'_, E>,
    ) -> Result<Option<Entry>, E> {
        let at = bucket_of(name, self.buckets.len());
        let Some(bucket) = self.buckets.get_mut(at) else { return Ok(None) };
        let entries = bucket.read(load)?;
        let changed = entries.get(name) != entry.as_ref();
        let before = match entry {
            Some(entry) => entries.insert(name.to_vec(), entry),
            None => entries.remove(name),
        };
        bucket.changed |= changed;
        Ok(before)
    }

    /// The id of the directory as it is now, with `count` entries in all; `put` gets every blob that is not one of the
    /// directory before, children first.
    pub fn finish<E>(
        mut self,
        count: usize,
        load: &mut Load<'_, E>,
        put: &mut Put<'_, E>,
    ) -> Result<ChunkId, E> {
        if !self.buckets.iter().any(|bucket| bucket.changed) {
            return Ok(self.id);
        }
        let buckets = buckets_for(count);
        if buckets == 1 || buckets != self.buckets.len() {
            let mut all = Vec::with_capacity(count);
            for bucket in &mut self.buckets {
                all.extend(std::mem::take(bucket.read(load)?).into_values());
            }
            return encode_dir(all, put);
        }
        let mut ids = Vec::with_capacity(buckets);
        for Bucket { stored, entries, changed } in self.buckets {
            ids.push(match entries {
                Some(entries) if changed && entries.is_empty() => None,
                Some(entries) if changed => Some(save(&leaf(entries.into_values()), put)?),
                _ => stored,
            });
        }
        save(&Node::Fan(ids), put)
    }
}

impl Bucket {
    fn read<E>(&mut self, load: &mut Load<'_, E>) -> Result<&mut BTreeMap<Vec<u8>, Entry>, E> {
        let stored = match (&self.entries, &self.stored) {
            (None, Some(stored)) => match load(stored)? {
                Node::Leaf(entries) => entries,
                // As readers of trees have it, there is nothing in what is no bucket.
                Node::Fan(_) | Node::About(_) => Vec::new(),
            },
            _ => Vec::new(),
        };
        Ok(self.entries.get_or_insert_with(|| by_name(stored)))
    }
}

/// Entries of one bucket as a node.
fn leaf(entries: impl Iterator<Item = Entry>) -> Node {
    Node::Leaf(in_order(entries).into_values().collect())
}

fn by_name(entries: Vec<Entry>) -> BTreeMap<Vec<u8>, Entry> {
    entries.into_iter().map(|entry| (entry.name.clone(), entry)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;
    use crate::base::clock::Time;
    use crate::content::tree::Body;

    fn entry(name: &str, rdev: u32) -> Entry {
        Entry {
            name: name.as_bytes().to_vec(),
            ino: 1,
            mode: 0,
            uid: 0,
            gid: 0,
            nlink: 1,
            mtime: Time::default(),
            xattrs: Vec::new(),
            body: Body::Special(rdev),
        }
    }

    /// Blobs by id, and how many were read and put.
    #[derive(Default)]
    struct Store {
        blobs: HashMap<ChunkId, Vec<u8>>,
        read: usize,
        put: usize,
    }

    impl Store {
        fn encode(&mut self, entries: Vec<Entry>) -> ChunkId {
            let put: &mut Put<'_, Infallible> = &mut |id, bytes| {
                self.blobs.insert(id, bytes.to_vec());
                Ok(())
            };
            encode_dir(entries, put).unwrap()
        }

        fn edit(&mut self, id: ChunkId, changes: &[(String, Option<u32>)], count: usize) -> ChunkId {
            let (blobs, mut new, mut read) = (self.blobs.clone(), Vec::new(), 0);
            let load: &mut Load<'_, Infallible> = &mut |id| {
                read += 1;
                Ok(Node::decode(&blobs[id]).unwrap())
            };
            let mut edit = Edit::of(id, load).unwrap().unwrap();
            for (name, value) in changes {
                edit.get(name.as_bytes(), load).unwrap();
                edit.set(name.as_bytes(), value.map(|rdev| entry(name, rdev)), load).unwrap();
            }
            let put: &mut Put<'_, Infallible> = &mut |id, bytes| {
                new.push((id, bytes.to_vec()));
                Ok(())
            };
            let id = edit.finish(count, load, put).unwrap();
            (self.read, self.put) = (read, new.len());
            self.blobs.extend(new);
            id
        }
    }

    #[test]
    fn one_change_of_a_hundred_thousand_reads_two_blobs_and_writes_two() {
        let mut store = Store::default();
        let all =
            |changed| (0..100_000).map(move |n| entry(&format!("f{n}"), if n == 5 { changed } else { 0 }));
        let (before, after) = (store.encode(all(1).collect()), store.encode(all(2).collect()));
        assert_eq!(store.edit(before, &[("f5".into(), Some(2))], 100_000), after);
        assert_eq!((store.read, store.put), (2, 2));
        assert_eq!(store.edit(before, &[("f5".into(), Some(1))], 100_000), before, "nothing has changed");
        assert_eq!(store.put, 0);
    }

    proptest! {
        #[test]
        fn an_edit_makes_what_encoding_everything_makes(
            before in 0_usize..700,
            changes in proptest::collection::vec((0_usize..900, proptest::option::of(0_u32..3)), 0..400),
        ) {
            let mut now: BTreeMap<String, u32> = (0..before).map(|n| (format!("f{n}"), 0)).collect();
            let mut store = Store::default();
            let old = store.encode(now.iter().map(|(name, rdev)| entry(name, *rdev)).collect());
            let changes: Vec<_> = changes.into_iter().map(|(n, value)| (format!("f{n}"), value)).collect();
            for (name, value) in &changes {
                match value {
                    Some(value) => now.insert(name.clone(), *value),
                    None => now.remove(name),
                };
            }
            let edited = store.edit(old, &changes, now.len());
            let whole = store.encode(now.iter().map(|(name, rdev)| entry(name, *rdev)).collect());
            prop_assert_eq!(edited, whole);
        }
    }
}
