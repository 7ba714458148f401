//! The key space of the catalog, in one table.
//!
//! | key | value | what |
//! | --- | --- | --- |
//! | `i` ino | [`Inode`](super::records::Inode) | an inode |
//! | `d` parent cookie name | ino, mode | a directory entry |
//! | `x` ino name | bytes | an extended attribute |
//! | `h` state hot-id | ino | a hot file: to be sealed, small, or cache of a sealed content |
//! | `o` ino | (empty) | an inode without a name that somebody may still hold |
//! | `r` run | JSON | a run |
//! | `v` run number | JSON | a version |
//! | `p` snapshot | JSON | a moment of the namespace that a version is being made of |
//! | `s` snapshot key | old value | what `key` (`i`, `d` or `x`) was at that moment, once it has changed |
//! | `l` id | (empty) | a manifest or tree node that is lost, as a repair has found |
//! | `cscrub` | JSON | how far looking for damage is, and what it found last |
//! | `m` name | u64 | a counter's reserved limit, or a sum |
//!
//! Integers in keys are big-endian, so that a scan goes in numeric order. A directory entry sorts by
//! the hash of its name (its readdir cookie): an entry never moves while others come and go.

use crate::base::bytes::Cursor;
use crate::base::id::ChunkId;
use crate::base::name::is_name;
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
    /// No inode has it any more; a version in the making needs it.
    Captured,
}

impl HotState {
    /// All states, in key order.
    pub const ALL: [HotState; 4] = [HotState::Unsealed, HotState::Small, HotState::Cache, HotState::Captured];

    const fn tag(self) -> u8 {
        match self {
            HotState::Unsealed => 0,
            HotState::Small => 1,
            HotState::Cache => 2,
            HotState::Captured => 3,
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

/// Cookie and name from an entry's key; `None` if it is not one, or the name is none that an entry can have.
pub fn parse_dentry(key: &[u8]) -> Option<(u64, &[u8])> {
    let mut cursor = Cursor::new(key.get(9..)?);
    let cookie = u64::from_be_bytes(cursor.array()?);
    is_name(cursor.rest()).then(|| (cookie, cursor.rest()))
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

/// Number of a run; never used twice.
pub type RunId = u64;
/// Number of a snapshot; never used twice.
pub type SnapshotId = u64;

/// Prefix of all runs.
pub fn runs() -> Vec<u8> {
    vec![b'r']
}

/// Key of a run.
pub fn run(run: RunId) -> Vec<u8> {
    key(b'r', run)
}

/// Prefix of all versions of a run.
pub fn versions(run: RunId) -> Vec<u8> {
    key(b'v', run)
}

/// Key of a version.
pub fn version(run: RunId, number: u32) -> Vec<u8> {
    let mut key = versions(run);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

/// The run and the number of a version from its key.
pub fn parse_version(key: &[u8]) -> Option<(RunId, u32)> {
    let run = key.get(1..9)?.try_into().ok().map(u64::from_be_bytes)?;
    let number = key.get(9..)?.try_into().ok().map(u32::from_be_bytes)?;
    Some((run, number))
}

/// Prefix of all snapshots.
pub fn snapshots() -> Vec<u8> {
    vec![b'p']
}

/// Key of a snapshot.
pub fn snapshot(id: SnapshotId) -> Vec<u8> {
    key(b'p', id)
}

/// The number of a run or snapshot from its key.
pub fn parse_number(key: &[u8]) -> Option<u64> {
    key.get(1..)?.try_into().ok().map(u64::from_be_bytes)
}

/// Prefix of all that a snapshot has saved.
pub fn all_saved(id: SnapshotId) -> Vec<u8> {
    key(b's', id)
}

/// Where a snapshot saves what `of` was.
pub fn saved(id: SnapshotId, of: &[u8]) -> Vec<u8> {
    let mut key = all_saved(id);
    key.extend_from_slice(of);
    key
}

/// The snapshot, and the key whose value it has saved, from a key made by [`saved`].
pub fn parse_saved(at: &[u8]) -> Option<(SnapshotId, &[u8])> {
    Some((u64::from_be_bytes(at.get(1..9)?.try_into().ok()?), at.get(9..)?))
}

/// Whether a snapshot covers a key: the inode, or the directory, whose number is in it.
pub fn covered_number(key: &[u8]) -> Option<u64> {
    match key.first()? {
        b'i' | b'd' | b'x' => Some(u64::from_be_bytes(key.get(1..9)?.try_into().ok()?)),
        _ => None,
    }
}

/// Prefix of all roots that are known to be lost.
pub fn lost_roots() -> Vec<u8> {
    vec![b'l']
}

/// Key of a manifest or tree node that cannot be read, and that a repair has given up.
pub fn lost_root(id: &ChunkId) -> Vec<u8> {
    [b"l", &id.0[..]].concat()
}

/// The id from a key made by [`lost_root`].
pub fn parse_lost_root(key: &[u8]) -> Option<ChunkId> {
    key.get(1..)?.try_into().ok().map(ChunkId)
}

/// Key of what is known of looking for damage.
pub const SCRUB: &[u8] = b"cscrub";
/// Key of the counter of runs.
pub const RUN_LIMIT: &[u8] = b"mrun";
/// Key of the counter of snapshots.
pub const SNAPSHOT_LIMIT: &[u8] = b"msnap";
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
        for wrong in [&b""[..], b"..", b"a/b", b"a\0"] {
            assert_eq!(parse_dentry(&dentry(7, wrong)), None, "{wrong:?}");
        }
        assert!(dentries_after(7, cookie(b"\xff\xfename")) > key);
        assert_eq!(parse_hot(&hot(HotState::Cache, 9)), Some(9));
        assert_eq!(parse_orphan(&orphan(5)), Some(5));
        assert_eq!(parse_version(&version(5, 7)), Some((5, 7)));
        assert_eq!(parse_xattr(&xattr(5, b"user.a")), Some(&b"user.a"[..]));
    }
}
