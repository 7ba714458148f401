//! Every sealed content that names lead to.
//!
//! Order: the inodes as they are, then what snapshots under way have saved of them. A change saves what was in the same
//! batch that puts what is, so a content that an inode loses meanwhile is met in one of the two. Memory: one page.

use super::{Namespace, damaged_key};
use crate::base::Result;
use crate::base::id::ChunkId;
use crate::catalog::keys;
use crate::catalog::records::{Content, Inode};

/// Records read in one scan.
const PAGE: usize = 4096;

impl Namespace {
    /// Hands the sealed content of every inode to `each` (true), then of every inode that a snapshot under way has saved
    /// (false).
    pub fn each_sealed(&self, each: &mut dyn FnMut(ChunkId, bool) -> Result<()>) -> Result<()> {
        let now = &mut |_: &[u8], value: &[u8]| Ok(Some(Inode::decode(value)));
        self.each_record(b"i", now, &mut |id| each(id, true))?;
        let saved = |key: &[u8], value: &[u8]| {
            let of = key.get(keys::all_saved(0).len()..).unwrap_or_default();
            match value.split_first() {
                Some((1, inode)) if of.first() == Some(&b'i') => Ok(Some(Inode::decode(inode))),
                Some((0 | 1, _)) => Ok(None),
                _ => Err(damaged_key(key)),
            }
        };
        self.each_record(b"s", &mut { saved }, &mut |id| each(id, false))
    }

    /// Hands the sealed content of the inode in each record below `prefix` to `each`; `parse` says which have one.
    fn each_record(
        &self,
        prefix: &[u8],
        parse: &mut dyn FnMut(&[u8], &[u8]) -> Result<Option<Option<Inode>>>,
        each: &mut dyn FnMut(ChunkId) -> Result<()>,
    ) -> Result<()> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = self.meta.scan(prefix, after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            for (key, value) in &page {
                let Some(inode) = parse(key, value)? else { continue };
                let inode = inode.ok_or_else(|| damaged_key(key))?;
                if let Some(sealed) = inode.content().and_then(Content::sealed) {
                    each(sealed.id)?;
                }
            }
            after = Some(last.clone());
        }
    }
}
