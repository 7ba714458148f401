//! The key space of the catalog, in one table.
//!
//! | key | value | what |
//! | --- | --- | --- |
//! | `i` ino | [`Inode`](super::records::Inode) | an inode |
//! | `d` parent cookie name | ino, mode | a directory entry |
//! | `x` ino name | bytes | an extended attribute |
//! | `h` state hot-id | ino | a hot file: to be sealed, small, or cache of a sealed content |
//! | `o` ino | (empty) | an inode without a name that somebody may still hold |
//! | `m` name | u64 | a counter's reserved limit, or a sum |
//!
//! Integers in keys are big-endian, so that a scan goes in numeric order. A directory entry sorts by
//! the hash of its name (its readdir cookie): an entry never moves while others come and go.

use crate::base::bytes::Cursor;
use crate::content::hash;

/// Inode number. The root is [`ROOT`].
pub type Ino = u64;
/// Number of a hot file; never used twice.
pub type HotId = u64;

/// The root directory's inode number, fixed by FUSE.
pub const ROOT: Ino = 1;
/// Readdir cookies below this are `.` and `..`.
pub const FIRST_COOKIE: u64 = 3;

/// Why a hot file is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HotState {
    /// Its bytes are nowhere else yet: it is to be sealed.
    Unsealed,
    /// Too small to be worth sealing.
    Small,
    /// The content is sealed too; this copy makes reading fast and may go.
    Cache,
}

impl HotState {
    /// All states, in key order.
    pub const ALL: [HotState; 3] = [HotState::Unsealed, HotState::Small, HotState::Cache];

    const fn tag(self) -> u8 {
        match self {
            HotState::Unsealed => 0,
            HotState::Small => 1,
            HotState::Cache => 2,
        }
    }
}

fn key(tag: u8, id: u64) -> Vec<u8> {
    let mut key = Vec::with_capacity(32);
    key.push(tag);
    key.extend_from_slice(&id.to_be_bytes());
    key
}

/// Key of an inode.
pub fn inode(ino: Ino) -> Vec<u8> {
    key(b'i', ino)
}

/// The readdir cookie of `name`: 63 bits of its hash, so that it fits off_t.
pub fn cookie(name: &[u8]) -> u64 {
    (hash::name_hash(name) >> 1).max(FIRST_COOKIE)
}

/// Prefix of all entries of a directory.
pub fn dentries(parent: Ino) -> Vec<u8> {
    key(b'd', parent)
}

/// Key of a directory entry.
pub fn dentry(parent: Ino, name: &[u8]) -> Vec<u8> {
    let mut key = dentries(parent);
    key.extend_from_slice(&cookie(name).to_be_bytes());
    key.extend_from_slice(name);
    key
}

/// The position just before the first entry whose cookie is above `cookie`.
pub fn dentries_after(parent: Ino, cookie: u64) -> Vec<u8> {
    let mut key = dentries(parent);
    key.extend_from_slice(&cookie.to_be_bytes());
    // Names are at most 255 bytes: 256 times 0xff sorts after all of this cookie's.
    key.extend_from_slice(&[0xff; 256]);
    key
}

/// Cookie and name from an entry's key; `None` if it is not one.
pub fn parse_dentry(key: &[u8]) -> Option<(u64, &[u8])> {
    let mut cursor = Cursor::new(key.get(9..)?);
    let cookie = u64::from_be_bytes(cursor.array()?);
    Some((cookie, cursor.rest()))
}

/// Prefix of all extended attributes of an inode.
pub fn xattrs(ino: Ino) -> Vec<u8> {
    key(b'x', ino)
}

/// Key of an extended attribute.
pub fn xattr(ino: Ino, name: &[u8]) -> Vec<u8> {
    let mut key = xattrs(ino);
    key.extend_from_slice(name);
    key
}

/// The attribute's name from its key.
pub fn parse_xattr(key: &[u8]) -> Option<&[u8]> {
    key.get(9..)
}

/// Prefix of all hot files in `state`.
pub fn hot_files(state: HotState) -> Vec<u8> {
    vec![b'h', state.tag()]
}

/// Key of a hot file.
pub fn hot(state: HotState, id: HotId) -> Vec<u8> {
    let mut key = hot_files(state);
    key.extend_from_slice(&id.to_be_bytes());
    key
}

/// The number of a hot file from its key.
pub fn parse_hot(key: &[u8]) -> Option<HotId> {
    key.get(2..)?.try_into().ok().map(u64::from_be_bytes)
}

/// Prefix of all inodes without a name.
pub fn orphans() -> Vec<u8> {
    vec![b'o']
}

/// Key of an inode without a name.
pub fn orphan(ino: Ino) -> Vec<u8> {
    key(b'o', ino)
}

/// The inode number from a key made by [`orphan`].
pub fn parse_orphan(key: &[u8]) -> Option<Ino> {
    key.get(1..)?.try_into().ok().map(u64::from_be_bytes)
}

/// Key of the counter of inode numbers.
pub const INO_LIMIT: &[u8] = b"mino";
/// Key of the counter of hot files.
pub const HOT_LIMIT: &[u8] = b"mhot";
/// Key of the sum of all sealed contents' sizes, counted once for each inode.
pub const SEALED_BYTES: &[u8] = b"msealed";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_found_again_from_their_keys() {
        let key = dentry(7, b"\xff\xfename");
        assert!(key.starts_with(&dentries(7)));
        assert_eq!(parse_dentry(&key), Some((cookie(b"\xff\xfename"), &b"\xff\xfename"[..])));
        assert!(dentries_after(7, cookie(b"\xff\xfename")) > key);
        assert_eq!(parse_hot(&hot(HotState::Cache, 9)), Some(9));
        assert_eq!(parse_orphan(&orphan(5)), Some(5));
        assert_eq!(parse_xattr(&xattr(5, b"user.a")), Some(&b"user.a"[..]));
    }
}
