//! Records of files, runs and versions.
//!
//! Names go into the journal in batches of some thousand keys, past the operations that would make hot files first. The
//! counters are put last.

use ckptfs::base::clock::Time;
use ckptfs::base::{Error, Result};
use ckptfs::catalog::keys::{self, Ino};
use ckptfs::catalog::records::{Body, Content, Dentry, Home, Inode, Sealed};
use ckptfs::journal::Op;
use ckptfs::meta::Batch;
use ckptfs::namespace::Namespace;
use ckptfs::version::record::{Run, encode};

use crate::Size;
use crate::saves::{KEPT, Saves, Stored};

/// Files in one directory.
const DIR_FILES: usize = 100_000;
/// Keys in one record of the journal.
const AT_ONCE: usize = 4000;

/// The path of a run.
pub(crate) fn run_path(run: u64) -> String {
    format!("runs/run-{run:03}")
}

/// What has been put so far, and what is on its way.
struct Names<'a> {
    ns: &'a Namespace,
    ops: Vec<Op>,
    next: Ino,
    sealed: u64,
    now: Time,
}

/// A directory whose entries are being put.
struct Dir {
    inode: Inode,
    subdirs: u32,
    entries: u64,
}

/// Records everything.
pub(crate) fn make(ns: &Namespace, size: &Size, saves: &Saves, files: &[Stored]) -> Result<()> {
    let mut names = Names { ns, ops: Vec::new(), next: keys::ROOT + 1, sealed: 0, now: Time::now() };
    let root = ns.find(keys::ROOT)?.ok_or(Error::Errno(libc::ENOENT))?;
    let mut root = Dir { inode: root, subdirs: 0, entries: 0 };
    names.files(&mut root, files)?;
    names.runs(&mut root, size, saves)?;
    names.end(root)?;
    let counters =
        [(keys::INO_LIMIT, names.next), (keys::RUN_LIMIT, size.runs + 1), (keys::SEALED_BYTES, names.sealed)];
    for (key, value) in counters {
        names.ops.push((key.to_vec(), Some(value.to_le_bytes().to_vec())));
    }
    names.flush()
}

impl Names<'_> {
    fn flush(&mut self) -> Result<()> {
        let ops = std::mem::take(&mut self.ops);
        self.ns.meta().commit(Batch { ops, note: None }).map(drop)
    }

    fn put(&mut self, key: Vec<u8>, value: Vec<u8>) -> Result<()> {
        self.ops.push((key, Some(value)));
        if self.ops.len() >= AT_ONCE { self.flush() } else { Ok(()) }
    }

    /// An inode with a name in `dir`, not put yet.
    fn name(&mut self, dir: &mut Dir, name: &str, kind: u32, body: Body) -> Result<Inode> {
        let ino = self.next;
        self.next += 1;
        dir.entries += 1;
        dir.subdirs += u32::from(kind == libc::S_IFDIR);
        self.put(keys::dentry(dir.inode.ino, name.as_bytes()), Dentry { ino, kind }.encode())?;
        let mode = kind | if kind == libc::S_IFDIR { 0o755 } else { 0o644 };
        let home = Some(Home { parent: dir.inode.ino, name: name.into() });
        let (atime, nlink) = (self.now, 1);
        let (uid, gid, rdev, xattrs, daemon_only) = (0, 0, 0, 0, false);
        let (mtime, ctime, btime) = (atime, atime, atime);
        Ok(Inode {
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

    fn dir(&mut self, above: &mut Dir, name: &str) -> Result<Dir> {
        let body = Body::Dir { parent: above.inode.ino, entries: 0 };
        let inode = self.name(above, name, libc::S_IFDIR, body)?;
        Ok(Dir { inode, subdirs: 0, entries: 0 })
    }

    /// All entries of a directory are put: so is the directory.
    fn end(&mut self, dir: Dir) -> Result<()> {
        let Dir { mut inode, subdirs, entries: count } = dir;
        if let Body::Dir { entries, .. } = &mut inode.body {
            *entries = count;
        }
        inode.nlink = 2 + subdirs;
        self.put(keys::inode(inode.ino), inode.encode())
    }

    fn file(&mut self, dir: &mut Dir, name: &str, content: Stored) -> Result<()> {
        let Stored { id, size } = content;
        let sealed = Sealed { id, size, blocks: size.div_ceil(512) };
        let inode = self.name(dir, name, libc::S_IFREG, Body::File(Content::Sealed(sealed)))?;
        self.sealed += size;
        self.put(keys::inode(inode.ino), inode.encode())
    }

    fn files(&mut self, root: &mut Dir, files: &[Stored]) -> Result<()> {
        let mut all = self.dir(root, "files")?;
        for (n, some) in files.chunks(DIR_FILES).enumerate() {
            let mut dir = self.dir(&mut all, &format!("d{n:03}"))?;
            for (at, content) in some.iter().enumerate() {
                self.file(&mut dir, &format!("f{at:06}"), *content)?;
            }
            self.end(dir)?;
        }
        self.end(all)
    }

    /// Each run with its last checkpoints, and the records of its versions.
    fn runs(&mut self, root: &mut Dir, size: &Size, saves: &Saves) -> Result<()> {
        let mut all = self.dir(root, "runs")?;
        for run in 0..size.runs {
            let mut dir = self.dir(&mut all, &format!("run-{run:03}"))?;
            let of_run = |n: &u64| n % size.runs == run;
            let numbers: Vec<u64> = (0..size.versions).filter(of_run).collect();
            let id = run + 1;
            for (at, version) in (0_u64..).zip(&numbers) {
                let record = &saves.versions[*version as usize];
                self.put(keys::version(id, record.number), encode(record))?;
                if at + KEPT >= numbers.len() as u64 {
                    let mut step = self.dir(&mut dir, &format!("checkpoint-{at}"))?;
                    self.file(&mut step, "model.bin", saves.contents[*version as usize])?;
                    self.end(step)?;
                }
            }
            let next = numbers.len() as u32 + 1;
            let (path, dir_ino) = (run_path(run), Some(dir.inode.ino));
            let record = Run { dir: dir_ino, path, next, by_hand: true, ..Run::default() };
            self.put(keys::run(id), encode(&record))?;
            self.end(dir)?;
        }
        self.end(all)
    }
}
