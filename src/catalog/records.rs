//! The values of the catalog: inodes and directory entries.
//!
//! Every record begins with its version. Decoding is total: a record that does not parse to its last
//! byte is damage, never a guess.

use super::keys::{HotId, Ino};
use crate::base::bytes::{Cursor, Put};
use crate::base::clock::Time;
use crate::base::id::ChunkId;
use crate::base::name::is_name;

const INODE_VERSION: u8 = 2;

/// Sealed content: what a file's bytes are, wherever their chunks lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// The manifest's id.
    pub id: ChunkId,
    /// Bytes of the file.
    pub size: u64,
    /// 512-byte blocks that the file occupied when it was sealed: holes are not counted.
    pub blocks: u64,
}

/// Where the bytes of a regular file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// In a hot file only. Its size and times are those of the hot file.
    Hot(HotId),
    /// In packs only.
    Sealed(Sealed),
    /// In packs, with a hot file that holds the same bytes and that nobody has open for writing.
    Both(HotId, Sealed),
}

impl Content {
    /// The hot file, if there is one.
    pub fn hot(&self) -> Option<HotId> {
        match self {
            Content::Hot(id) | Content::Both(id, _) => Some(*id),
            Content::Sealed(_) => None,
        }
    }

    /// The sealed content, if there is one.
    pub fn sealed(&self) -> Option<&Sealed> {
        match self {
            Content::Sealed(sealed) | Content::Both(_, sealed) => Some(sealed),
            Content::Hot(_) => None,
        }
    }
}

/// What a small hot file was when it came to rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HotMark {
    /// Its ctime on the disk below: any write, and any change of its times, moves it.
    pub ctime: Time,
    /// The hash of its bytes.
    pub hash: ChunkId,
}

impl HotMark {
    /// The value of the record of hot file of `ino` with this mark (docs/format.md).
    pub fn encode(&self, ino: Ino) -> Vec<u8> {
        let mut out = Vec::with_capacity(52);
        out.u64(ino).i64(self.ctime.secs).u32(self.ctime.nanos).raw(&self.hash.0);
        out
    }

    /// The mark in such a value, if it has one.
    pub fn decode(value: &[u8]) -> Option<HotMark> {
        let mut cursor = Cursor::new(value);
        cursor.u64()?;
        let ctime = Time { secs: cursor.i64()?, nanos: cursor.u32()? };
        let hash = ChunkId(cursor.array()?);
        cursor.end()?;
        Some(HotMark { ctime, hash })
    }
}

/// What kinds of inode have beyond the common fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A directory.
    Dir {
        /// The directory that holds it (the root holds itself).
        parent: Ino,
        /// How many entries it has.
        entries: u64,
    },
    /// A regular file.
    File(Content),
    /// A symbolic link and its target.
    Symlink(Vec<u8>),
    /// A fifo, socket or device node.
    Special,
}

/// Where a name is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    /// The directory.
    pub parent: Ino,
    /// The name in it, at most 255 bytes.
    pub name: Vec<u8>,
}

impl Home {
    /// Whether this is `name` in `parent`.
    pub fn is(&self, parent: Ino, name: &[u8]) -> bool {
        self.parent == parent && self.name == name
    }
}

/// An inode as the catalog holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inode {
    /// Its number.
    pub ino: Ino,
    /// Type and permission bits, as `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Number of names; a directory's counts `.` and its subdirectories' `..`.
    pub nlink: u32,
    /// Device number of a device node.
    pub rdev: u32,
    /// Last access.
    pub atime: Time,
    /// Last change of the content; of a file in [`Content::Hot`], the last that was set or sealed.
    pub mtime: Time,
    /// Last change of the inode.
    pub ctime: Time,
    /// Creation.
    pub btime: Time,
    /// How many extended attributes it has.
    pub xattrs: u32,
    /// Its bytes always go through the daemon (SQLite's files).
    pub daemon_only: bool,
    /// A name that leads to it: of several, the one that it was given first or renamed to last. `None` for the root,
    /// and where that name was removed while others stay.
    pub home: Option<Home>,
    /// What its kind has beyond that.
    pub body: Body,
}

impl Inode {
    /// The type bits (`S_IFMT`) of the mode.
    pub fn kind(&self) -> u32 {
        self.mode & libc::S_IFMT
    }

    /// Whether it is a directory.
    pub fn is_dir(&self) -> bool {
        self.kind() == libc::S_IFDIR
    }

    /// The content of a regular file.
    pub fn content(&self) -> Option<&Content> {
        match &self.body {
            Body::File(content) => Some(content),
            _ => None,
        }
    }

    /// The record's bytes (docs/format.md).
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        out.u8(INODE_VERSION).u64(self.ino).u32(self.mode).u32(self.uid).u32(self.gid);
        out.u32(self.nlink).u32(self.rdev).u32(self.xattrs);
        for time in [self.atime, self.mtime, self.ctime, self.btime] {
            out.i64(time.secs).u32(time.nanos);
        }
        out.u8(u8::from(self.daemon_only));
        match &self.home {
            None => out.u8(0),
            Some(home) => {
                out.u8(u8::try_from(home.name.len()).unwrap_or(u8::MAX)).u64(home.parent).raw(&home.name)
            }
        };
        match &self.body {
            Body::Special => out.u8(0),
            Body::Dir { parent, entries } => out.u8(1).u64(*parent).u64(*entries),
            Body::Symlink(target) => out.u8(2).raw(target),
            Body::File(Content::Hot(hot)) => out.u8(3).u64(*hot),
            Body::File(Content::Sealed(sealed)) => put_sealed(out.u8(4), sealed),
            Body::File(Content::Both(hot, sealed)) => put_sealed(out.u8(5).u64(*hot), sealed),
        };
        out
    }

    /// The inode in `bytes`; `None` if they are not exactly one record of this version.
    pub fn decode(bytes: &[u8]) -> Option<Inode> {
        let mut c = Cursor::new(bytes);
        if c.u8()? != INODE_VERSION {
            return None;
        }
        let (ino, mode, uid, gid) = (c.u64()?, c.u32()?, c.u32()?, c.u32()?);
        let (nlink, rdev, xattrs) = (c.u32()?, c.u32()?, c.u32()?);
        let (atime, mtime, ctime, btime) = (time(&mut c)?, time(&mut c)?, time(&mut c)?, time(&mut c)?);
        let daemon_only = match c.u8()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let home = match c.u8()? {
            0 => None,
            len => {
                let parent = c.u64()?;
                let name = c.take(usize::from(len)).filter(|name| is_name(name))?.to_vec();
                Some(Home { parent, name })
            }
        };
        let body = match c.u8()? {
            0 => Body::Special,
            1 => Body::Dir { parent: c.u64()?, entries: c.u64()? },
            2 => Body::Symlink(c.take(c.rest().len())?.to_vec()),
            3 => Body::File(Content::Hot(c.u64()?)),
            4 => Body::File(Content::Sealed(sealed(&mut c)?)),
            5 => Body::File(Content::Both(c.u64()?, sealed(&mut c)?)),
            _ => return None,
        };
        c.end()?;
        Some(Inode {
            ino,
            mode,
            uid,
            gid,
            nlink,
            rdev,
            atime,
            mtime,
            ctime,
            btime,
            xattrs,
            daemon_only,
            home,
            body,
        })
    }
}

fn put_sealed<'a>(out: &'a mut Vec<u8>, sealed: &Sealed) -> &'a mut Vec<u8> {
    out.raw(&sealed.id.0).u64(sealed.size).u64(sealed.blocks)
}

fn sealed(c: &mut Cursor<'_>) -> Option<Sealed> {
    Some(Sealed { id: ChunkId(c.array()?), size: c.u64()?, blocks: c.u64()? })
}

fn time(c: &mut Cursor<'_>) -> Option<Time> {
    Some(Time { secs: c.i64()?, nanos: c.u32()? })
}

/// A directory entry's value: where the name leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dentry {
    /// The inode.
    pub ino: Ino,
    /// Its type bits, for readdir.
    pub kind: u32,
}

impl Dentry {
    /// The record's bytes (docs/format.md).
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(12);
        out.u64(self.ino).u32(self.kind);
        out
    }

    /// The entry in `bytes`; `None` if they are not exactly one.
    pub fn decode(bytes: &[u8]) -> Option<Dentry> {
        let mut c = Cursor::new(bytes);
        let entry = Dentry { ino: c.u64()?, kind: c.u32()? };
        c.end()?;
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inode(body: Body) -> Inode {
        let t = Time { secs: -5, nanos: 999_999_999 };
        Inode {
            ino: 9,
            mode: 0o104_755,
            uid: 1,
            gid: 2,
            nlink: 3,
            rdev: 4,
            atime: t,
            mtime: t,
            ctime: t,
            btime: t,
            xattrs: 1,
            daemon_only: true,
            home: Some(Home { parent: 7, name: b"model.pt".to_vec() }),
            body,
        }
    }

    #[test]
    fn every_kind_of_inode_survives_the_round_trip_and_no_truncation_parses() {
        let sealed = Sealed { id: ChunkId([7; 32]), size: 1 << 40, blocks: 8 };
        for body in [
            Body::Special,
            Body::Dir { parent: 1, entries: 5 },
            Body::File(Content::Hot(3)),
            Body::File(Content::Sealed(sealed)),
            Body::File(Content::Both(4, sealed)),
        ] {
            let bytes = inode(body.clone()).encode();
            assert_eq!(Inode::decode(&bytes), Some(inode(body)));
            for len in 0..bytes.len() {
                assert_eq!(Inode::decode(&bytes[..len]), None);
            }
        }
        let up = Home { parent: 7, name: b"..".to_vec() };
        assert_eq!(Inode::decode(&Inode { home: Some(up), ..inode(Body::Special) }.encode()), None);
        let link = Inode { home: None, ..inode(Body::Symlink(b"../\xff".to_vec())) };
        assert_eq!(Inode::decode(&link.encode()), Some(link));
    }
}
