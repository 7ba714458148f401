//! Decodes git's index (gitformat-index(5), versions 2 to 4): what git last saw of each tracked file.
//!
//! Layout, all numbers big-endian: `DIRC`, version, number of entries; the entries; extensions (four letters, a length,
//! data); a hash of all before. The hash is not checked: a wrong answer here is a wrong note, never wrong data. Any bytes
//! in, an index or `None` out; at most `entries_max` entries are kept.

/// Paths longer than this cannot be opened.
const PATH_BYTES_MAX: usize = 4096;
/// All paths together.
const PATHS_BYTES_MAX: usize = 8 << 20;

/// The parts of an index that tell whether the work tree is as it was checked out.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Index {
    /// The first of them, in git's order.
    pub(super) entries: Vec<Entry>,
    /// All entries are here.
    pub(super) is_complete: bool,
    /// Whether the index as a whole has been written as a tree since the last change was added to it, which every commit
    /// and checkout does; `None` where it does not say.
    pub(super) is_written: Option<bool>,
}

/// A tracked file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    /// Its path below the work tree.
    pub(super) path: Vec<u8>,
    /// When it was last written: seconds (the low 32 bits) and nanoseconds.
    pub(super) modified: (u32, u32),
    /// `st_mode`'s file type; permission bits of regular files are 0644 or 0755.
    pub(super) mode: u32,
    /// The low 32 bits of its size.
    pub(super) size: u32,
    /// The hash of its content.
    pub(super) id: Vec<u8>,
    /// The user told git not to look at it, or it is not checked out.
    pub(super) is_skipped: bool,
    /// In a conflict, or noted by `git add -N`: not as it was committed.
    pub(super) is_unsettled: bool,
}

impl Index {
    /// Decodes an index whose hashes have `id_bytes` bytes (20 or 32).
    ///
    /// `None` also for an index that is only the difference to another (`git update-index --split-index`).
    pub(super) fn decode(bytes: &[u8], id_bytes: usize, entries_max: usize) -> Option<Index> {
        let (body, _) = bytes.split_at_checked(bytes.len().checked_sub(id_bytes)?)?;
        let mut reader = Reader { rest: body, id_bytes, version: 0, path: Vec::new() };
        if reader.take(4)? != b"DIRC" {
            return None;
        }
        reader.version = reader.u32()?;
        if !(2..=4).contains(&reader.version) {
            return None;
        }
        let count = reader.u32()?;
        let mut index = Index { entries: Vec::new(), is_complete: true, is_written: None };
        let mut paths = 0;
        for _ in 0..count {
            let entry = reader.entry()?;
            paths += entry.path.len();
            if index.entries.len() < entries_max && paths <= PATHS_BYTES_MAX {
                index.entries.push(entry);
            } else {
                index.is_complete = false;
            }
        }
        while !reader.rest.is_empty() {
            let name = reader.take(4)?;
            let len = usize::try_from(reader.u32()?).ok()?;
            let data = reader.take(len)?;
            match name {
                // The root comes first: an empty name, then how many entries it covers, -1 for not written.
                b"TREE" => index.is_written = Some(!data.strip_prefix(b"\0")?.starts_with(b"-")),
                b"sdir" => {}
                // Lower case: not to be understood without it.
                [first, ..] if first.is_ascii_lowercase() => return None,
                _ => {}
            }
        }
        Some(index)
    }
}

struct Reader<'a> {
    rest: &'a [u8],
    id_bytes: usize,
    version: u32,
    /// The path of the entry before.
    path: Vec<u8>,
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(head)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)?.first_chunk().copied().map(u32::from_be_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)?.first_chunk().copied().map(u16::from_be_bytes)
    }

    fn entry(&mut self) -> Option<Entry> {
        let before = self.rest.len();
        // When the inode changed, which copies and backups change too.
        self.take(8)?;
        let modified = (self.u32()?, self.u32()?);
        // Device and inode number.
        self.take(8)?;
        let mode = self.u32()?;
        // Owner and group.
        self.take(8)?;
        let size = self.u32()?;
        let id = self.take(self.id_bytes)?.to_vec();
        let flags = self.u16()?;
        let more = if self.version >= 3 && flags & 0x4000 != 0 { self.u16()? } else { 0 };
        if self.version == 4 {
            let cut = self.varint()?;
            self.path.truncate(self.path.len().checked_sub(cut)?);
        } else {
            self.path.clear();
        }
        let len = self.rest.iter().position(|byte| *byte == 0)?;
        let name = self.take(len)?;
        self.path.extend_from_slice(name);
        if self.path.is_empty() || self.path.len() > PATH_BYTES_MAX {
            return None;
        }
        // One zero at least; before version 4 as many as make the entry a multiple of eight.
        let used = before - self.rest.len();
        self.take(if self.version == 4 { 1 } else { 8 - used % 8 })?;
        Some(Entry {
            path: self.path.clone(),
            modified,
            mode,
            size,
            id,
            is_skipped: flags & 0x8000 != 0 || more & 0x4000 != 0,
            is_unsettled: flags & 0x3000 != 0 || more & 0x2000 != 0,
        })
    }

    /// Seven bits a byte, highest first; each further byte adds one before it shifts (as in pack files).
    fn varint(&mut self) -> Option<usize> {
        let mut byte = *self.take(1)?.first()?;
        let mut value = usize::from(byte & 0x7f);
        while byte & 0x80 != 0 {
            byte = *self.take(1)?.first()?;
            value = value.checked_add(1)?.checked_mul(128)? | usize::from(byte & 0x7f);
        }
        Some(value)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An index of version 2 with these entries; `tree` is the data of its `TREE` extension.
    pub(in crate::version) fn encode(entries: &[Entry], tree: Option<&[u8]>) -> Vec<u8> {
        let mut bytes = b"DIRC\0\0\0\x02".to_vec();
        bytes.extend(u32::try_from(entries.len()).unwrap().to_be_bytes());
        for entry in entries {
            let begin = bytes.len();
            let (secs, nanos) = entry.modified;
            for number in [0, 0, secs, nanos, 0, 0, entry.mode, 0, 0, entry.size] {
                bytes.extend(number.to_be_bytes());
            }
            bytes.extend(&entry.id);
            let flags = u16::from(entry.is_skipped) << 15 | u16::from(entry.is_unsettled) << 12;
            bytes.extend((flags | u16::try_from(entry.path.len()).unwrap()).to_be_bytes());
            bytes.extend(&entry.path);
            bytes.resize(bytes.len() + 8 - (bytes.len() - begin) % 8, 0);
        }
        if let Some(tree) = tree {
            bytes.extend(b"TREE");
            bytes.extend(u32::try_from(tree.len()).unwrap().to_be_bytes());
            bytes.extend(tree);
        }
        bytes.resize(bytes.len() + 20, 0);
        bytes
    }

    fn entry(path: &str) -> Entry {
        Entry {
            path: path.as_bytes().to_vec(),
            modified: (1_700_000_000, 5),
            mode: 0o100_644,
            size: 12,
            id: vec![7; 20],
            ..Entry::default()
        }
    }

    #[test]
    fn entries_of_all_lengths_come_back_with_their_flags() {
        let entries: Vec<Entry> = (1..20).map(|len| entry(&"p".repeat(len))).collect();
        let index = Index::decode(&encode(&entries, Some(b"\x0019 0\n")), 20, 100).unwrap();
        assert_eq!(index, Index { entries, is_complete: true, is_written: Some(true) });
        let odd = [Entry { is_skipped: true, ..entry("a") }, Entry { is_unsettled: true, ..entry("b") }];
        let index = Index::decode(&encode(&odd, Some(b"\0-1 0\n")), 20, 100).unwrap();
        assert_eq!((index.entries.as_slice(), index.is_written), (&odd[..], Some(false)));
        assert_eq!(Index::decode(&encode(&odd, None), 20, 100).unwrap().is_written, None);
    }

    #[test]
    fn only_so_many_entries_are_kept() {
        let bytes = encode(&[entry("a"), entry("b"), entry("c")], None);
        let index = Index::decode(&bytes, 20, 2).unwrap();
        assert_eq!((index.entries.len(), index.is_complete), (2, false));
    }

    #[test]
    fn version_four_shares_the_begins_of_paths() {
        let mut bytes = b"DIRC\0\0\0\x04\0\0\0\x02".to_vec();
        for (cut, rest) in [(0_u8, "src/train.py"), (8, "model.py")] {
            bytes.extend([0; 60]);
            bytes.extend([0, 0, cut]);
            bytes.extend(rest.as_bytes());
            bytes.push(0);
        }
        bytes.extend([0; 20]);
        let index = Index::decode(&bytes, 20, 9).unwrap();
        let paths: Vec<_> = index.entries.iter().map(|entry| entry.path.as_slice()).collect();
        assert_eq!(paths, [&b"src/train.py"[..], b"src/model.py"]);
    }

    #[test]
    fn what_is_cut_short_or_needs_more_than_we_know_is_refused() {
        let bytes = encode(&[entry("a"), entry("b")], None);
        assert!((0..bytes.len()).all(|len| Index::decode(&bytes[..len], 20, 9).is_none()));
        let mut split = bytes[..bytes.len() - 20].to_vec();
        split.extend(b"link\0\0\0\0");
        split.extend([0; 20]);
        assert!(Index::decode(&split, 20, 9).is_none());
        let mut version = bytes.clone();
        version[7] = 5;
        assert!(Index::decode(&version, 20, 9).is_none());
        let mut many = bytes;
        many[8..12].fill(255);
        assert!(Index::decode(&many, 20, 9).is_none());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(mut bytes in proptest::collection::vec(any::<u8>(), 0..600), version in 2_u8..5, fix: bool) {
            if fix && bytes.len() > 12 {
                bytes[..12].copy_from_slice(&[b'D', b'I', b'R', b'C', 0, 0, 0, version, 0, 0, 0, 3]);
            }
            for id_bytes in [20, 32] {
                if let Some(index) = Index::decode(&bytes, id_bytes, 2) {
                    prop_assert!(index.entries.len() <= 2);
                }
            }
        }
    }
}
