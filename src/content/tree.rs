//! The tree of a version: directories as blobs that name each other by hash (a Merkle tree), file contents at the leaves.
//!
//! A directory has one encoding: entries are in the order of their names' hashes, and a large directory is cut into
//! buckets by the first bits of that hash, whose number follows from the number of entries alone. So equal directories
//! have equal ids, and one changed entry costs one bucket and the list of buckets, however many entries there are.
//! Decoding takes any bytes and allocates in proportion to them.

use std::collections::BTreeMap;

use crate::base::bytes::{Cursor, Put as _};
use crate::base::clock::Time;
use crate::base::id::ChunkId;
use crate::base::name::{NAME_MAX_BYTES, is_name};
use crate::content::hash::{chunk_id, name_hash};

/// The version of the encoding that is written.
const VERSION: u8 = 1;
/// Kinds of node.
const LEAF: u8 = 0;
const FAN: u8 = 1;
const ABOUT: u8 = 2;
/// A directory of more entries is cut into buckets, of half as many on average.
const BUCKET_ENTRIES_MAX: usize = 256;
/// The longest value of an extended attribute, in bytes, as the kernel has it.
const XATTR_BYTES_MAX: usize = 64 << 10;
/// Buckets are numbered by at most this many bits.
const BITS_MAX: u8 = 16;

/// What is known of a file's bytes beyond their hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Soundness {
    /// Nothing was asked: not checkpoint content.
    Unknown = 0,
    /// Checkpoint content that is whole, as far as its format tells.
    Valid = 1,
    /// Checkpoint content that its format shows to be cut short or wrong.
    Invalid = 2,
    /// A copy of what was there while somebody was writing.
    BeingWritten = 3,
}

impl Soundness {
    fn from_number(number: u8) -> Option<Self> {
        [Self::Unknown, Self::Valid, Self::Invalid, Self::BeingWritten].get(usize::from(number)).copied()
    }
}

/// What an entry is, beyond the attributes that all have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A fifo, socket or device node, with its device number.
    Special(u32),
    /// A directory.
    Dir {
        /// Its node.
        tree: ChunkId,
        /// Regular files in it and below it.
        files: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// A symbolic link and its target.
    Symlink(Vec<u8>),
    /// A regular file.
    File {
        /// Id of its manifest.
        content: ChunkId,
        /// Bytes.
        size: u64,
        /// 512-byte blocks that it occupied.
        blocks: u64,
        /// Number of its format (`formats::Format`); 0 = not checkpoint content.
        format: u8,
        /// What is known of its bytes.
        soundness: Soundness,
    },
}

/// One name in a directory of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The name, at most 255 bytes; empty for the top of a version.
    pub name: Vec<u8>,
    /// The inode that it led to, for hard links.
    pub ino: u64,
    /// Type and permission bits.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number of names of the inode.
    pub nlink: u32,
    /// Last change of the content.
    pub mtime: Time,
    /// Extended attributes by name.
    pub xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// What its kind has beyond that.
    pub body: Body,
}

impl Entry {
    /// Bytes as stat(2) shows them; a directory's is a constant.
    pub fn size(&self) -> u64 {
        match &self.body {
            Body::File { size, .. } => *size,
            Body::Symlink(target) => target.len() as u64,
            Body::Dir { .. } => 4096,
            Body::Special(_) => 0,
        }
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        matches!(self.body, Body::Dir { .. })
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.u8(u8::try_from(self.name.len()).unwrap_or(u8::MAX)).raw(&self.name);
        out.u64(self.ino).u32(self.mode).u32(self.uid).u32(self.gid).u32(self.nlink);
        out.i64(self.mtime.secs).u32(self.mtime.nanos);
        out.u32(u32::try_from(self.xattrs.len()).unwrap_or(u32::MAX));
        for (name, value) in &self.xattrs {
            out.blob(name).blob(value);
        }
        match &self.body {
            Body::Special(rdev) => out.u8(0).u32(*rdev),
            Body::Dir { tree, files, bytes } => out.u8(1).raw(&tree.0).u64(*files).u64(*bytes),
            Body::Symlink(target) => out.u8(2).blob(target),
            Body::File { content, size, blocks, format, soundness } => {
                out.u8(3).raw(&content.0).u64(*size).u64(*blocks).u8(*format).u8(*soundness as u8)
            }
        };
    }

    fn take(c: &mut Cursor<'_>) -> Option<Entry> {
        let len = usize::from(c.u8()?);
        let name = c.take(len)?.to_vec();
        let (ino, mode, uid, gid, nlink) = (c.u64()?, c.u32()?, c.u32()?, c.u32()?, c.u32()?);
        let mtime = Time { secs: c.i64()?, nanos: c.u32().filter(|nanos| *nanos < 1_000_000_000)? };
        let count = c.u32()? as usize;
        // An attribute takes at least 8 bytes: a count that the input cannot hold allocates nothing.
        if count > c.rest().len() / 8 {
            return None;
        }
        let xattrs = (0..count).map(|_| xattr(c)).collect::<Option<_>>()?;
        let body = match c.u8()? {
            0 => Body::Special(c.u32()?),
            1 => Body::Dir { tree: ChunkId(c.array()?), files: c.u64()?, bytes: c.u64()? },
            2 => Body::Symlink(c.blob()?.to_vec()),
            3 => Body::File {
                content: ChunkId(c.array()?),
                size: c.u64()?,
                blocks: c.u64()?,
                format: c.u8()?,
                soundness: Soundness::from_number(c.u8()?)?,
            },
            _ => return None,
        };
        Some(Entry { name, ino, mode, uid, gid, nlink, mtime, xattrs, body })
    }
}

/// An attribute's name, as the kernel allows it, and its value.
fn xattr(c: &mut Cursor<'_>) -> Option<(Vec<u8>, Vec<u8>)> {
    let (name, value) = (c.blob()?, c.blob()?);
    let fits = (1..=NAME_MAX_BYTES).contains(&name.len()) && value.len() <= XATTR_BYTES_MAX;
    (fits && !name.contains(&0)).then(|| (name.to_vec(), value.to_vec()))
}

/// One blob of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// Entries in the order of their names' hashes, then names: a small directory, a bucket, or the top of a version.
    Leaf(Vec<Entry>),
    /// The buckets of a large directory, 2^bits of them; `None` is an empty one.
    Fan(Vec<Option<ChunkId>>),
    /// What a version is, as JSON: the top blob, so that versions can be told from packs alone.
    About(Vec<u8>),
}

impl Node {
    /// The bytes that docs/format.md describes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        match self {
            Node::Leaf(entries) => {
                out.u8(LEAF).u32(u32::try_from(entries.len()).unwrap_or(u32::MAX));
                entries.iter().for_each(|entry| entry.put(&mut out));
            }
            Node::Fan(buckets) => {
                out.u8(FAN).u8(u8::try_from(buckets.len().trailing_zeros()).unwrap_or(u8::MAX));
                for bucket in buckets {
                    match bucket {
                        None => out.u8(0),
                        Some(id) => out.u8(1).raw(&id.0),
                    };
                }
            }
            Node::About(json) => {
                out.u8(ABOUT).raw(json);
            }
        }
        out
    }

    /// The node that `bytes` encode; `None` when they are not one, or of an unknown version.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut c = Cursor::new(bytes);
        if c.u8()? != VERSION {
            return None;
        }
        let node = match c.u8()? {
            LEAF => {
                let count = c.u32()? as usize;
                // An entry takes at least 46 bytes.
                if count > c.rest().len() / 46 {
                    return None;
                }
                let entries = (0..count).map(|_| Entry::take(&mut c)).collect::<Option<Vec<_>>>()?;
                Node::Leaf(are_sound(&entries).then_some(entries)?)
            }
            FAN => {
                let bits = c.u8().filter(|bits| (1..=BITS_MAX).contains(bits))?;
                let bucket = |c: &mut Cursor<'_>| match c.u8()? {
                    0 => Some(None),
                    1 => Some(Some(ChunkId(c.array()?))),
                    _ => None,
                };
                Node::Fan((0..1_usize << bits).map(|_| bucket(&mut c)).collect::<Option<_>>()?)
            }
            ABOUT => Node::About(c.take(c.rest().len())?.to_vec()),
            _ => return None,
        };
        c.end()?;
        Some(node)
    }
}

/// Whether entries have names that a directory can have, each once and in order; the top of a version, alone, has none.
fn are_sound(entries: &[Entry]) -> bool {
    let is_top = matches!(entries, [top] if top.name.is_empty());
    let place = |entry: &Entry| (name_hash(&entry.name), entry.name.clone());
    is_top
        || entries.iter().all(|entry| is_name(&entry.name))
            && entries.is_sorted_by(|a, b| place(a) < place(b))
}

/// Which of `buckets` (a power of two) the entry `name` is in.
pub fn bucket_of(name: &[u8], buckets: usize) -> usize {
    let bits = buckets.max(1).trailing_zeros();
    if bits == 0 { 0 } else { usize::try_from(name_hash(name) >> (64 - bits)).unwrap_or(0) }
}

/// What gets every blob with its id.
pub type Put<'a, E> = dyn FnMut(ChunkId, &[u8]) -> Result<(), E> + 'a;

/// How many buckets a directory of `count` entries is cut into: a power of two, 1 for a small one.
pub(super) fn buckets_for(count: usize) -> usize {
    if count <= BUCKET_ENTRIES_MAX {
        return 1;
    }
    (count / (BUCKET_ENTRIES_MAX / 2)).next_power_of_two().clamp(2, 1 << BITS_MAX)
}

/// Entries in the order that a node has them in.
pub(super) fn in_order(entries: impl Iterator<Item = Entry>) -> BTreeMap<(u64, Vec<u8>), Entry> {
    entries.map(|entry| ((name_hash(&entry.name), entry.name.clone()), entry)).collect()
}

/// Puts a node; its id.
pub(super) fn save<E>(node: &Node, put: &mut Put<'_, E>) -> Result<ChunkId, E> {
    let bytes = node.encode();
    let id = chunk_id(&bytes);
    put(id, &bytes)?;
    Ok(id)
}

/// Encodes a directory of these entries (in any order): `put` gets every blob with its id, children first. Returns the id.
pub fn encode_dir<E>(entries: Vec<Entry>, put: &mut Put<'_, E>) -> Result<ChunkId, E> {
    let buckets = buckets_for(entries.len());
    let sorted = in_order(entries.into_iter()).into_values();
    if buckets == 1 {
        return save(&Node::Leaf(sorted.collect()), put);
    }
    let mut filled: Vec<Vec<Entry>> = Vec::new();
    filled.resize_with(buckets, Vec::new);
    for entry in sorted {
        if let Some(bucket) = filled.get_mut(bucket_of(&entry.name, buckets)) {
            bucket.push(entry);
        }
    }
    let mut ids = Vec::with_capacity(buckets);
    for bucket in filled {
        ids.push(if bucket.is_empty() { None } else { Some(save(&Node::Leaf(bucket), put)?) });
    }
    save(&Node::Fan(ids), put)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;
    use std::convert::Infallible;

    fn file(name: &str, content: u8) -> Entry {
        Entry {
            name: name.as_bytes().to_vec(),
            ino: 7,
            mode: libc::S_IFREG | 0o640,
            uid: 1,
            gid: 2,
            nlink: 1,
            mtime: Time { secs: -3, nanos: 5 },
            xattrs: vec![(b"user.a".to_vec(), vec![0, 255])],
            body: Body::File {
                content: ChunkId([content; 32]),
                size: 1 << 40,
                blocks: 8,
                format: 3,
                soundness: Soundness::Valid,
            },
        }
    }

    fn encode(entries: Vec<Entry>) -> (ChunkId, HashMap<ChunkId, Vec<u8>>) {
        let mut blobs = HashMap::new();
        let id = encode_dir::<Infallible>(entries, &mut |id, bytes| {
            blobs.insert(id, bytes.to_vec());
            Ok(())
        });
        (id.unwrap(), blobs)
    }

    #[test]
    fn every_kind_of_entry_survives_and_no_truncation_parses() {
        let with = |name: &str, body| Entry { body, ..file(name, 0) };
        let mut entries = vec![
            file("a", 1),
            with("d", Body::Dir { tree: ChunkId([9; 32]), files: 3, bytes: 99 }),
            with("l", Body::Symlink(b"../\xff".to_vec())),
            with("s", Body::Special(0x103)),
        ];
        entries.sort_by_key(|entry| name_hash(&entry.name));
        let node = Node::Leaf(entries);
        let bytes = node.encode();
        assert_eq!(Node::decode(&bytes), Some(node));
        assert!((0..bytes.len()).all(|len| Node::decode(&bytes[..len]).is_none()));
    }

    #[test]
    fn names_that_lead_elsewhere_and_attributes_that_no_kernel_has_are_refused() {
        let read = |entries: Vec<Entry>| Node::decode(&Node::Leaf(entries).encode());
        assert!(read(vec![file("", 1)]).is_some(), "the top of a version");
        for wrong in [".", "..", "a/b", "/etc/passwd", "a\0b"] {
            assert_eq!(read(vec![file(wrong, 1)]), None, "{wrong:?}");
        }
        assert_eq!(read(vec![file("a", 1), file("a", 2)]), None, "one name twice");
        let mut two = vec![file("a", 1), file("b", 1)];
        two.sort_by_key(|entry| std::cmp::Reverse(name_hash(&entry.name)));
        assert_eq!(read(two), None, "another order");
        assert_eq!(read(vec![file("", 1), file("a", 1)]), None, "a name that is empty");
        for (name, value) in
            [(&b""[..], 1), (b"user.a\0", 1), (&[b'x'; 256], 1), (b"user.a", XATTR_BYTES_MAX + 1)]
        {
            let xattrs = vec![(name.to_vec(), vec![0; value])];
            assert_eq!(read(vec![Entry { xattrs, ..file("a", 1) }]), None);
        }
    }

    #[test]
    fn one_changed_file_of_a_hundred_thousand_costs_two_small_blobs() {
        let many = |changed: u8| {
            (0..100_000).map(|n| file(&format!("f{n}"), if n == 5 { changed } else { 0 })).collect::<Vec<_>>()
        };
        let (first, before) = encode(many(1));
        assert_eq!(encode(many(1).into_iter().rev().collect()).0, first, "their order does not matter");
        let (second, after) = encode(many(2));
        assert_ne!(first, second);
        let new: Vec<_> = after.iter().filter(|(id, _)| !before.contains_key(*id)).collect();
        assert_eq!(new.len(), 2);
        assert!(new.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() < 80 << 10);
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_or_are_the_one_encoding(bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in 0_u8..4) {
            let mut bytes = bytes;
            if bytes.len() > 1 {
                bytes[0] = VERSION;
                bytes[1] = kind;
            }
            if let Some(node) = Node::decode(&bytes) {
                prop_assert_eq!(node.encode(), bytes);
            }
        }
    }
}
