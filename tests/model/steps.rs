//! One random operation on both sides, and its answer compared.

use std::os::unix::fs::FileExt;

use ckptfs::base::clock::Time;
use ckptfs::base::monitor::Silent;
use ckptfs::base::{Error, Result};
use ckptfs::namespace::Caller;
use ckptfs::namespace::rename::{Over, Place};
use ckptfs::namespace::setattr::SetAttr;
use ckptfs::namespace::xattr::Must;

use crate::tree::{Kind, Node};
use crate::world::{ROOT, World};

const NAMES: [&str; 5] = ["a", "b", "c", "model.pt", "x.db-wal"];
const XATTRS: [&str; 3] = ["user.a", "user.b", "security.capability"];
/// Files stay below this.
const SIZE_MAX: usize = 400_000;
const SOMEBODY: Caller = Caller { uid: 1000, gid: 1000 };

/// 0 or the errno.
fn answer<T>(result: Result<T>) -> i32 {
    result.err().map_or(0, |error| match error {
        Error::Errno(errno) => errno,
        fault => panic!("{fault}"),
    })
}

impl World {
    pub(crate) fn step(&mut self) {
        match self.pick(100) {
            0..12 => self.create(),
            12..26 => self.open_file(),
            26..36 => self.close(),
            36..52 => self.write(),
            52..56 => self.truncate(),
            56..59 => self.fallocate(),
            59..61 => self.copy(),
            61..67 => self.rename(),
            67..70 => self.link(),
            70..75 => self.remove(),
            75..78 => self.make(),
            78..82 => self.setattr(),
            82..86 => self.xattr(),
            86..88 => self.fsync(),
            88..93 => {
                self.note("settle".into());
                self.settle();
                self.look();
            }
            93..95 => {
                self.note("seal all".into());
                if self.open.iter().all(|open| open.fh.is_some()) {
                    self.engine().seal_all(&Silent).unwrap();
                }
            }
            95..97 => self.end(),
            _ => {
                self.note("look".into());
                self.look();
            }
        }
    }

    fn end(&mut self) {
        let orderly = self.pick(2) == 0;
        if self.pick(2) == 0 {
            while !self.open.is_empty() {
                self.close_one(0);
            }
        }
        self.note(format!("end in order: {orderly}"));
        self.remount(orderly);
        self.look();
    }

    fn a_dir(&mut self) -> u64 {
        let dirs = self.tree.named(Node::is_dir);
        self.one_of(&dirs).unwrap()
    }

    fn a_file(&mut self) -> Option<u64> {
        let files = self.tree.named(|node| matches!(node.kind, Kind::File(_)));
        self.one_of(&files)
    }

    fn a_name(&mut self) -> &'static str {
        self.one_of(&NAMES).unwrap()
    }

    fn a_handle(&mut self, writable: bool) -> Option<usize> {
        let all: Vec<usize> = (0..self.open.len()).filter(|n| self.open[*n].writable || !writable).collect();
        self.one_of(&all)
    }

    fn is_open(&self, ino: u64) -> bool {
        self.open.iter().any(|open| open.ino == ino && open.fh.is_some())
    }

    fn some_bytes(&mut self) -> Vec<u8> {
        let len = if self.pick(2) == 0 { self.pick(200) + 1 } else { self.pick(150_000) + 1 };
        let kind = self.pick(3);
        let mut state = self.pick(1 << 30) as u32 | 1;
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        if kind == 0 { vec![0; len] } else { (0..len).map(next).collect() }
    }

    fn create(&mut self) {
        let (dir, name, mode) = (self.a_dir(), self.a_name(), [0o644, 0o4755, 0o2711][self.pick(3)]);
        self.note(format!("create {dir}/{name}"));
        let made = self.engine().create(dir, name.as_bytes(), mode, libc::O_RDWR, ROOT);
        let Ok((attr, opened)) = made else {
            assert_eq!(answer(made), libc::EEXIST);
            assert!(self.tree.lookup(dir, name).is_some());
            return;
        };
        assert!(self.tree.lookup(dir, name).is_none());
        let ino = attr.inode.ino;
        self.tree.born(dir, name, ino, Node::new(Kind::File(Vec::new()), mode));
        self.opened(ino, opened, true);
    }

    fn make(&mut self) {
        let (dir, name, link) = (self.a_dir(), self.a_name(), self.pick(3) == 0);
        self.note(format!("make {dir}/{name}, link: {link}"));
        let engine = self.engine();
        let made = if link {
            engine.names().symlink(dir, name.as_bytes(), b"over/there", ROOT)
        } else {
            engine.names().mkdir(dir, name.as_bytes(), 0o755, ROOT)
        };
        let exists = self.tree.lookup(dir, name).is_some();
        let Ok(inode) = made else {
            assert!(exists && answer(made) == libc::EEXIST);
            return;
        };
        assert!(!exists);
        let node = if link {
            Node::new(Kind::Link(b"over/there".to_vec()), 0o777)
        } else {
            Node::new(Kind::Dir(Default::default()), 0o755)
        };
        self.tree.born(dir, name, inode.ino, node);
    }

    fn open_file(&mut self) {
        let Some(ino) = self.a_file() else { return };
        let (writable, truncate) = (self.pick(3) > 0, self.pick(5) == 0);
        let caller = if self.pick(4) == 0 { SOMEBODY } else { ROOT };
        self.note(format!("open {ino}, write: {writable}, truncate: {truncate}, uid: {}", caller.uid));
        let mut flags = if writable { [libc::O_RDWR, libc::O_WRONLY][self.pick(2)] } else { libc::O_RDONLY };
        if truncate {
            flags |= libc::O_TRUNC;
            let node = self.tree.node(ino);
            node.written();
            node.bytes().clear();
            if caller.uid != 0 {
                node.kill_privileges();
            }
        }
        let opened = self.engine().open(ino, flags, caller).unwrap();
        self.opened(ino, opened, writable);
        if truncate {
            self.look_through(self.open.len() - 1);
        }
    }

    fn close(&mut self) {
        if let Some(n) = self.a_handle(false) {
            self.close_one(n);
        }
    }

    fn close_one(&mut self, n: usize) {
        let open = self.open.swap_remove(n);
        self.note(format!("close {} (survivor: {})", open.ino, open.fh.is_none()));
        drop(open.direct);
        if let Some(fh) = open.fh {
            self.engine().release(fh).unwrap();
        }
        if self.tree.nodes[&open.ino].nlink == 0 && !self.is_open(open.ino) {
            self.tree.nodes.remove(&open.ino);
            self.open.retain(|other| other.ino != open.ino);
        }
    }

    fn write(&mut self) {
        let Some(n) = self.a_handle(true) else { return };
        let data = self.some_bytes();
        let len = self.tree.node(self.open[n].ino).bytes().len();
        let at = match self.pick(3) {
            0 => len,
            1 => self.pick(len + 1),
            _ => self.pick(250_000),
        };
        if at + data.len() > SIZE_MAX {
            return;
        }
        let kill = self.pick(4) == 0;
        let ino = self.open[n].ino;
        self.note(format!("write {} bytes to {ino} at {at}, kill: {kill}", data.len()));
        let engine = self.engine();
        let open = &self.open[n];
        match (&open.direct, open.fh) {
            (Some(file), _) => {
                file.write_all_at(&data, at as u64).unwrap();
                if kill {
                    let set = SetAttr { kill_privileges: true, ..SetAttr::default() };
                    engine.setattr(ino, &set).unwrap();
                }
            }
            (None, Some(fh)) => engine.write(fh, at as u64, &data, kill).unwrap(),
            (None, None) => return,
        }
        let node = self.tree.node(ino);
        node.write(at, &data);
        if kill {
            node.kill_privileges();
        }
    }

    fn truncate(&mut self) {
        let through = self.a_handle(true).filter(|_| self.pick(2) == 0).map(|n| self.open[n].ino);
        let Some(ino) = through.or_else(|| self.a_file()) else { return };
        let len = self.tree.node(ino).bytes().len();
        let size = [0, self.pick(len + 1), len, self.pick(SIZE_MAX)][self.pick(4)];
        let caller = if self.pick(3) == 0 { SOMEBODY } else { ROOT };
        self.note(format!("truncate {ino} to {size} by {}", caller.uid));
        self.engine().truncate(ino, size as u64, caller).unwrap();
        let node = self.tree.node(ino);
        node.written();
        node.bytes().resize(size, 0);
        if caller.uid != 0 {
            node.kill_privileges();
        }
    }

    fn fallocate(&mut self) {
        let Some(n) = self.a_handle(true) else { return };
        let Some(fh) = self.open[n].fh else { return };
        let (ino, at, len, punch) =
            (self.open[n].ino, self.pick(200_000), self.pick(100_000) + 1, self.pick(2) == 0);
        self.note(format!("fallocate {ino} at {at} for {len}, punch: {punch}"));
        let mode = if punch { libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE } else { 0 };
        self.engine().fallocate(fh, mode, at as u64, len as u64).unwrap();
        let node = self.tree.node(ino);
        node.written();
        let bytes = node.bytes();
        if punch {
            let end = (at + len).min(bytes.len());
            bytes[at.min(end)..end].fill(0);
        } else if bytes.len() < at + len {
            bytes.resize(at + len, 0);
        }
    }

    fn copy(&mut self) {
        let (Some(from), Some(to)) = (self.a_handle(false), self.a_handle(true)) else { return };
        let (Some(source), Some(target)) = (self.open[from].fh, self.open[to].fh) else { return };
        let (from, to) = (self.open[from].ino, self.open[to].ino);
        let (start, at, len) = (self.pick(50_000), self.pick(100_000), self.pick(100_000));
        if from == to {
            return;
        }
        self.note(format!("copy {len} bytes from {from} at {start} to {to} at {at}"));
        match self.engine().copy_range((source, start as u64), (target, at as u64), len as u64) {
            Ok(copied) => {
                let bytes = self.tree.node(from).bytes();
                let end = (start + copied as usize).min(bytes.len());
                assert!(copied > 0 || start >= bytes.len() || len == 0);
                let data = bytes[start.min(end)..end].to_vec();
                if copied > 0 {
                    self.tree.node(to).write(at, &data);
                } else {
                    self.tree.node(to).written();
                }
            }
            Err(error) => assert_eq!(answer::<()>(Err(error)), libc::EXDEV),
        }
    }

    fn rename(&mut self) {
        let (from, name, to, target) = (self.a_dir(), self.a_name(), self.a_dir(), self.a_name());
        let over = [Over::Replace, Over::Replace, Over::Refuse, Over::Exchange][self.pick(4)];
        self.note(format!("rename {from}/{name} to {to}/{target}, {over:?}"));
        let wanted = self.judge_rename((from, name), (to, target), over);
        let place = |parent, name: &'static str| Place { parent, name: name.as_bytes() };
        assert_eq!(answer(self.engine().names().rename(place(from, name), place(to, target), over)), wanted);
        let tree = &mut self.tree;
        let ends = (tree.lookup(from, name), tree.lookup(to, target));
        let ((Some(source), old), 0) = (ends, wanted) else { return };
        if old == Some(source) {
            return;
        }
        tree.node(source).changed();
        tree.leave(from, name);
        match (old, over) {
            (Some(old), Over::Exchange) => {
                tree.node(old).changed();
                tree.leave(to, target);
                tree.enter(from, name, old);
            }
            (Some(old), _) => {
                tree.leave(to, target);
                let is_open = self.is_open(old);
                self.tree.unnamed(old, is_open);
                self.forget_survivors(old);
            }
            (None, _) => {}
        }
        self.tree.enter(to, target, source);
    }

    fn judge_rename(&self, from: (u64, &str), to: (u64, &str), over: Over) -> i32 {
        let tree = &self.tree;
        let Some(source) = tree.lookup(from.0, from.1) else { return libc::ENOENT };
        let is_dir = |ino: u64| tree.nodes[&ino].is_dir();
        if is_dir(source) && tree.is_inside(source, to.0) {
            return libc::EINVAL;
        }
        match (tree.lookup(to.0, to.1), over) {
            (Some(_), Over::Refuse) => libc::EEXIST,
            (None, Over::Exchange) => libc::ENOENT,
            (None, _) => 0,
            (Some(target), _) if target == source => 0,
            (Some(target), Over::Exchange) if is_dir(target) && tree.is_inside(target, from.0) => {
                libc::EINVAL
            }
            (Some(_), Over::Exchange) => 0,
            (Some(target), Over::Replace) => match (is_dir(source), is_dir(target)) {
                (true, false) => libc::ENOTDIR,
                (false, true) => libc::EISDIR,
                (true, true) if !tree.is_empty_dir(target) => libc::ENOTEMPTY,
                _ => 0,
            },
        }
    }

    /// A client of a killed daemon keeps bytes that nobody else can reach any more.
    fn forget_survivors(&mut self, ino: u64) {
        if !self.tree.nodes.contains_key(&ino) {
            self.open.retain(|open| open.ino != ino);
        }
    }

    fn link(&mut self) {
        let Some(ino) = self.a_file() else { return };
        let (dir, name) = (self.a_dir(), self.a_name());
        self.note(format!("link {ino} to {dir}/{name}"));
        let exists = self.tree.lookup(dir, name).is_some();
        let wanted = if exists { libc::EEXIST } else { 0 };
        assert_eq!(answer(self.engine().names().link(ino, dir, name.as_bytes())), wanted);
        if !exists {
            self.tree.node(ino).changed();
            self.tree.node(ino).nlink += 1;
            self.tree.enter(dir, name, ino);
        }
    }

    fn remove(&mut self) {
        let (dir, name, of_dir) = (self.a_dir(), self.a_name(), self.pick(3) == 0);
        self.note(format!("remove {dir}/{name}, as directory: {of_dir}"));
        let engine = self.engine();
        let done = if of_dir {
            answer(engine.names().rmdir(dir, name.as_bytes()))
        } else {
            answer(engine.unlink(dir, name.as_bytes()))
        };
        let Some(ino) = self.tree.lookup(dir, name) else {
            assert_eq!(done, libc::ENOENT);
            return;
        };
        let wanted = match (of_dir, self.tree.nodes[&ino].is_dir()) {
            (true, false) => libc::ENOTDIR,
            (false, true) => libc::EISDIR,
            (true, true) if !self.tree.is_empty_dir(ino) => libc::ENOTEMPTY,
            _ => 0,
        };
        assert_eq!(done, wanted);
        if done == 0 {
            self.tree.leave(dir, name);
            let is_open = self.is_open(ino);
            self.tree.unnamed(ino, is_open);
            self.forget_survivors(ino);
        }
    }

    fn setattr(&mut self) {
        let all = self.tree.named(|_| true);
        let ino = self.one_of(&all).unwrap();
        let time =
            Time { secs: 1_000_000_000 + self.pick(1 << 30) as i64, nanos: self.pick(999_999_999) as u32 };
        let mut set = SetAttr::default();
        match self.pick(4) {
            0 => set.mode = Some([0o600, 0o6755, 0o4711][self.pick(3)]),
            1 => (set.uid, set.gid) = (Some(self.pick(3) as u32), Some(7)),
            2 => set.mtime = Some(time),
            _ => (set.atime, set.mtime) = (Some(time), Some(time)),
        }
        self.note(format!("setattr {ino}: {set:?}"));
        let attr = self.engine().setattr(ino, &set).unwrap();
        let node = self.tree.node(ino);
        node.changed();
        node.mode = set.mode.unwrap_or(node.mode);
        if let Some(uid) = set.uid {
            (node.uid, node.gid) = (uid, 7);
            if !node.is_dir() {
                node.kill_privileges();
            }
        }
        if set.mtime.is_some() {
            node.mtime = set.mtime;
        }
        assert!(set.atime.is_none() || set.atime == Some(attr.inode.atime));
    }

    fn xattr(&mut self) {
        let all = self.tree.named(|_| true);
        let ino = self.one_of(&all).unwrap();
        let name = self.one_of(&XATTRS).unwrap();
        let how = [Some(Must::Any), Some(Must::Create), Some(Must::Replace), None][self.pick(4)];
        self.note(format!("xattr {name} of {ino}: {how:?}"));
        let value = self.some_bytes();
        let value = &value[..value.len().min(300)];
        let engine = self.engine();
        let done = answer(match how {
            Some(must) => engine.names().setxattr(ino, name.as_bytes(), value, must),
            None => engine.names().removexattr(ino, name.as_bytes()),
        });
        let node = self.tree.node(ino);
        let wanted = match (node.xattrs.contains_key(name), how) {
            (true, Some(Must::Create)) => libc::EEXIST,
            (false, Some(Must::Replace) | None) => libc::ENODATA,
            _ => 0,
        };
        assert_eq!(done, wanted);
        if done == 0 {
            node.changed();
            match how {
                Some(_) => node.xattrs.insert(name.to_owned(), value.to_vec()),
                None => node.xattrs.remove(name),
            };
        }
    }

    fn fsync(&mut self) {
        let engine = self.engine();
        match self.a_handle(false).and_then(|n| self.open[n].fh) {
            Some(fh) => engine.fsync(fh, self.pick(2) == 0).unwrap(),
            None => engine.sync_names().unwrap(),
        }
        self.note("fsync".into());
    }
}
