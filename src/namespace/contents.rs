//! Every sealed content that names lead to.
//!
//! Order: the inodes as they are, then what snapshots under way have saved of them. A change saves what was in the same
//! batch that puts what is, so a content that an inode loses meanwhile is met in one of the two. Memory: one page.

use super::{Namespace, damaged_key};
use crate::base::Result;
use crate::catalog::keys;
use crate::catalog::records::{Content, Inode, Sealed};

/// Records read in one scan.
const PAGE: usize = 4096;

impl Namespace {
    /// Hands the sealed content of every inode to `each`, with the inode, then of every inode that a snapshot under way has
    /// saved, without.
    pub fn each_sealed(&self, each: &mut dyn FnMut(&Sealed, Option<&Inode>) -> Result<()>) -> Result<()> {
        let now = |_: &[u8], value: &[u8]| Some(Some(Inode::decode(value)?));
        self.each_record(b"i", &now, &mut |sealed, inode| each(sealed, Some(inode)))?;
        let saved = |key: &[u8], value: &[u8]| {
            let of = key.get(keys::all_saved(0).len()..)?;
            match value.split_first()? {
                (1, inode) if of.first() == Some(&b'i') => Some(Some(Inode::decode(inode)?)),
                (0 | 1, _) => Some(None),
                _ => None,
            }
        };
        self.each_record(b"s", &saved, &mut |sealed, _| each(sealed, None))
    }

    /// Hands the sealed content of the inode in each record below `prefix` to `each`.
    fn each_record(
        &self,
        prefix: &[u8],
        parse: &Parse<'_>,
        each: &mut dyn FnMut(&Sealed, &Inode) -> Result<()>,
    ) -> Result<()> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.meta.scan(prefix, after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            for (key, value) in &page {
                let inode = parse(key, value).ok_or_else(|| damaged_key(key))?;
                let Some(inode) = inode else { continue };
                if let Some(sealed) = inode.content().and_then(Content::sealed) {
                    each(sealed, &inode)?;
                }
            }
            after = Some(last.clone());
        }
    }
}

/// From a record's key and value to the inode in it, if it holds one; `None` for a record that is damaged.
type Parse<'a> = dyn Fn(&[u8], &[u8]) -> Option<Option<Inode>> + 'a;
