//! Listing a directory, stable while entries come and go.
//!
//! Entries are listed in the order of their names' hashes. The cookie of an entry is its hash: what is
//! there throughout a listing is listed once, wherever the listing stops and resumes.

use super::{Namespace, damaged_key};
use crate::base::Result;
use crate::catalog::keys::{self, Ino};
use crate::catalog::records::Dentry;

/// One entry of a directory.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name.
    pub name: Vec<u8>,
    /// Where it leads.
    pub ino: Ino,
    /// Type bits.
    pub kind: u32,
    /// The position after which the next listing goes on.
    pub cookie: u64,
}

/// Where a listing goes on.
#[derive(Clone, Copy, Debug)]
pub enum After<'a> {
    /// After all entries with this cookie (0: from the start).
    Cookie(u64),
    /// After this very entry: exact even where two names share a hash.
    Name(&'a [u8]),
}

impl Namespace {
    /// At most `limit` entries of `dir` after a position; empty at the end. `.` and `..` are not entries.
    pub fn readdir(&self, dir: Ino, after: After<'_>, limit: usize) -> Result<Vec<Entry>> {
        let after = match after {
            After::Cookie(cookie) if cookie < keys::FIRST_COOKIE => None,
            After::Cookie(cookie) => Some(keys::dentries_after(dir, cookie)),
            After::Name(name) => Some(keys::dentry(dir, name)),
        };
        let found = self.meta.scan(&keys::dentries(dir), after.as_deref(), limit)?;
        found.iter().map(|(key, value)| parse(key, value).ok_or_else(|| damaged_key(key))).collect()
    }
}

pub(super) fn parse(key: &[u8], value: &[u8]) -> Option<Entry> {
    let (cookie, name) = keys::parse_dentry(key)?;
    let entry = Dentry::decode(value)?;
    Some(Entry { name: name.to_vec(), ino: entry.ino, kind: entry.kind, cookie })
}
