//! One method a request: decode, call the engine, reply.

use std::ffi::OsStr;
use std::io;
use std::ops::Deref;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, CopyFileRangeFlags, Errno, FileHandle, Filesystem, FopenFlags, INodeNo, InitFlags,
    IoctlFlags, KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyIoctl, ReplyLseek, ReplyOpen,
    ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};

use super::convert::{NAME_TTL, attr_ttl, caller, file_attr, file_type, no_entry, time_or_now};
use super::core::{Core, NO_GENERATION, New, READ_BUF, send};
use super::requests::Kind;
use super::slow::SlowLane;
use crate::base::Error;
use crate::catalog::keys::ROOT;
use crate::engine::attr::Attr;
use crate::engine::history::browse::is_virtual;
use crate::namespace::rename::{Over, Place};
use crate::namespace::setattr::SetAttr;
use crate::namespace::xattr::Must;

/// Attribute of the root that names the store, for our own commands where `fsname` hides it.
const STORE_XATTR: &str = "user.ckptfs.store";
/// Entries at the beginning of a listing that are told with their attributes.
const WITH_ATTRIBUTES_AT_FIRST: usize = 128;
/// Requests that the kernel may have in flight for read-ahead and write-back.
const BACKGROUND_REQUESTS: u16 = 64;

/// The engine as the kernel sees it.
#[derive(Debug)]
pub(super) struct Ckptfs {
    pub(super) core: Arc<Core>,
    pub(super) slow: SlowLane,
}

impl Deref for Ckptfs {
    type Target = Core;

    fn deref(&self) -> &Core {
        &self.core
    }
}

impl Filesystem for Ckptfs {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let wanted = [
            InitFlags::FUSE_ATOMIC_O_TRUNC,
            InitFlags::FUSE_HANDLE_KILLPRIV_V2,
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_READDIRPLUS_AUTO,
            InitFlags::FUSE_CACHE_SYMLINKS,
            InitFlags::FUSE_ASYNC_DIO,
        ];
        for flag in wanted {
            if config.add_capabilities(flag).is_err() {
                tracing::info!("this kernel has no {flag:?}");
            }
        }
        if self.want_passthrough
            && config.add_capabilities(InitFlags::FUSE_PASSTHROUGH).is_ok()
            && let Err(highest) = config.set_max_stack_depth(self.stack_depth)
        {
            tracing::warn!("stack depth {} is not possible, only {highest}", self.stack_depth);
        }
        config.set_max_write(1 << 20).map_err(|_| io::Error::other("the kernel refuses 1 MiB requests"))?;
        config
            .set_max_background(BACKGROUND_REQUESTS)
            .map_err(|_| io::Error::other("the kernel refuses background requests"))?;
        Ok(())
    }

    fn lookup(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.requests.count(Kind::Lookup);
        if self.asks_history(parent, name) {
            return self.lookup_history(parent, name, reply);
        }
        match self.engine.names().lookup(parent.0, name.as_bytes()) {
            Err(Error::Errno(libc::ENOENT)) => reply.entry(&NAME_TTL, &no_entry(), NO_GENERATION),
            found => self.entry("look up a name", found, reply),
        }
    }

    fn forget(&self, _req: &Request, ino: INodeNo, nlookup: u64) {
        self.requests.count(Kind::Forget);
        if is_virtual(ino.0) {
            return self.browser.forget(ino.0, nlookup);
        }
        self.engine.forget(ino.0);
    }

    fn getattr(&self, _req: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        self.requests.count(Kind::Getattr);
        if is_virtual(ino.0) {
            return self.getattr_history(ino, reply);
        }
        match self.engine.getattr(ino.0) {
            Ok(attr) => reply.attr(&attr_ttl(&attr), &file_attr(&attr)),
            Err(error) => reply.error(self.fail(&error, "stat")),
        }
    }

    fn setattr(
        &self,
        req: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        self.requests.count(Kind::Setattr);
        if is_virtual(ino.0) {
            return reply.error(Errno::EROFS);
        }
        let nothing = mode.is_none() && uid.is_none() && gid.is_none() && atime.is_none() && mtime.is_none();
        // A request without any field is the kernel's way to say: clear set-user-id and the like.
        let kill_privileges = nothing && size.is_none() && ctime.is_none();
        let (atime, mtime) = (atime.map(time_or_now), mtime.map(time_or_now));
        let set = SetAttr { mode, uid, gid, atime, mtime, kill_privileges };
        let set = (!nothing || kill_privileges).then_some(set);
        let who = caller(req);
        if size.is_some() && self.engine.is_slow_to_write(ino.0) {
            let core = self.core.clone();
            self.slow.run(move || core.answer_setattr(ino.0, size, set, who, reply));
        } else {
            self.answer_setattr(ino.0, size, set, who, reply);
        }
    }

    fn readlink(&self, _req: &Request, ino: INodeNo, reply: ReplyData) {
        self.requests.count(Kind::Readlink);
        let link = if is_virtual(ino.0) {
            self.browser.readlink(ino.0)
        } else {
            self.engine.names().readlink(ino.0)
        };
        match link {
            Ok(target) => reply.data(&target),
            Err(error) => reply.error(self.fail(&error, "read a symbolic link")),
        }
    }

    fn mknod(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        self.requests.count(Kind::Mknod);
        let who = caller(req);
        let made = self.making(parent, name, || match mode & libc::S_IFMT {
            libc::S_IFREG => self.engine.make_file(parent.0, name.as_bytes(), mode, who),
            _ => self.engine.names().mknod(parent.0, name.as_bytes(), mode, rdev, who),
        });
        self.entry("make a node", made, reply);
    }

    fn mkdir(&self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, _umask: u32, reply: ReplyEntry) {
        self.requests.count(Kind::Mkdir);
        let who = caller(req);
        if is_virtual(parent.0) {
            let (core, name) = (self.core.clone(), name.to_owned());
            return self.slow.run(move || core.mkdir_history(parent, &name, who, reply));
        }
        let (core, name, pid) = (self.core.clone(), name.to_owned(), req.pid());
        let unclosed = self.engine.unclosed_saves(parent.0, name.as_bytes(), pid);
        let waits = !unclosed.is_empty();
        let make = move || {
            core.engine.await_close(&unclosed, pid);
            let made = core.making(parent, &name, || core.engine.mkdir(parent.0, name.as_bytes(), mode, who));
            core.entry("make a directory", made, reply);
        };
        if waits { self.slow.run(make) } else { make() }
    }

    fn unlink(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.requests.count(Kind::Unlink);
        let done = self.moving(&[parent], &[name], || self.engine.unlink(parent.0, name.as_bytes()));
        self.empty("remove a name", done, reply);
    }

    fn rmdir(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.requests.count(Kind::Rmdir);
        if is_virtual(parent.0) {
            let (core, name, who) = (self.core.clone(), name.to_owned(), caller(req));
            return self.slow.run(move || core.rmdir_history(parent, &name, who, reply));
        }
        let done = self.moving(&[parent], &[name], || self.engine.rmdir(parent.0, name.as_bytes()));
        self.empty("remove a directory", done, reply);
    }

    fn symlink(&self, req: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        self.requests.count(Kind::Symlink);
        let target = target.as_os_str().as_bytes();
        let make = || self.engine.names().symlink(parent.0, name.as_bytes(), target, caller(req));
        let made = self.making(parent, name, make);
        self.entry("make a symbolic link", made, reply);
    }

    fn rename(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        self.requests.count(Kind::Rename);
        let over = match flags {
            RenameFlags::RENAME_NOREPLACE => Over::Refuse,
            RenameFlags::RENAME_EXCHANGE => Over::Exchange,
            flags if flags.is_empty() => Over::Replace,
            _ => return reply.error(Errno::EINVAL),
        };
        let from = Place { parent: parent.0, name: name.as_bytes() };
        let to = Place { parent: newparent.0, name: newname.as_bytes() };
        let done = if is_virtual(parent.0) && over != Over::Exchange {
            self.browser.rename((from.parent, from.name), (to.parent, to.name), caller(req))
        } else {
            self.moving(&[parent, newparent], &[name, newname], || self.engine.rename(from, to, over))
        };
        self.empty("rename", done, reply);
    }

    fn link(&self, _req: &Request, ino: INodeNo, newparent: INodeNo, newname: &OsStr, reply: ReplyEntry) {
        self.requests.count(Kind::Link);
        let link = || self.engine.names().link(ino.0, newparent.0, newname.as_bytes());
        let made = self.making(newparent, newname, || self.changing(&[ino], link));
        self.entry("make a link", made, reply);
    }

    fn open(&self, req: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        self.requests.count(Kind::Open);
        if is_virtual(ino.0) {
            return self.open_history(ino, flags.0, reply);
        }
        let (flags, who) = (flags.0, caller(req));
        let pid = req.pid();
        let writes = flags & libc::O_ACCMODE != libc::O_RDONLY;
        let updates = writes && flags & libc::O_TRUNC == 0;
        let short = writes && self.engine.is_short_of_room();
        if short || updates && self.engine.is_slow_to_write(ino.0) {
            let core = self.core.clone();
            self.slow.run(move || match if short { core.engine.make_room() } else { Ok(()) } {
                Ok(()) => core.answer_open(ino.0, flags, who, pid, reply),
                Err(error) => reply.error(core.fail(&error, "open a file")),
            });
        } else {
            self.answer_open(ino.0, flags, who, pid, reply);
        }
    }

    fn create(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        self.requests.count(Kind::Create);
        let new = New { parent, name: name.to_owned(), mode, flags, who: caller(req), pid: req.pid() };
        let short = self.engine.is_short_of_room();
        let unclosed = self.engine.unclosed_saves(parent.0, new.name.as_bytes(), new.pid);
        if short || !unclosed.is_empty() {
            let core = self.core.clone();
            self.slow.run(move || match if short { core.engine.make_room() } else { Ok(()) } {
                Ok(()) => {
                    core.engine.await_close(&unclosed, new.pid);
                    core.answer_create(&new, reply);
                }
                Err(error) => reply.error(core.fail(&error, "create a file")),
            });
        } else {
            self.answer_create(&new, reply);
        }
    }

    fn read(
        &self,
        _req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.requests.count(Kind::Read);
        if is_virtual(ino.0) {
            return self.read_history(fh, offset, size, reply);
        }
        let size = size as usize;
        let sealed = self.engine.sealed(fh.0);
        let slices = sealed.and_then(|sealed| sealed.map(|sealed| sealed.slices(offset, size)).transpose());
        match slices {
            Ok(Some(slices)) => return send(&slices, reply),
            Ok(None) => {}
            Err(error) => return reply.error(self.fail_in(ino.0, &error, "read")),
        }
        READ_BUF.with_borrow_mut(|buf| {
            if buf.len() < size {
                buf.resize(size, 0);
            }
            let space = buf.get_mut(..size).unwrap_or_default();
            match self.engine.read(fh.0, offset, space) {
                Ok(read) => reply.data(space.get(..read).unwrap_or_default()),
                Err(error) => reply.error(self.fail_in(ino.0, &error, "read")),
            }
        });
    }

    fn write(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        self.requests.count(Kind::Write);
        let kill = write_flags.contains(WriteFlags::FUSE_WRITE_KILL_SUIDGID);
        match self.engine.write(fh.0, offset, data, kill) {
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX)),
            Err(error) => reply.error(self.fail(&error, "write")),
        }
    }

    fn release(
        &self,
        _req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        self.requests.count(Kind::Release);
        if is_virtual(ino.0) {
            return self.release_history(fh, reply);
        }
        self.backings.release(ino.0);
        self.empty("close a file", self.engine.release(fh.0), reply);
    }

    fn flush(&self, _req: &Request, _ino: INodeNo, _fh: FileHandle, _owner: LockOwner, reply: ReplyEmpty) {
        self.requests.count(Kind::Flush);
        // Nothing to do at close(2), and saying so once spares a request at every close.
        reply.error(Errno::ENOSYS);
    }

    fn fsync(&self, _req: &Request, ino: INodeNo, fh: FileHandle, datasync: bool, reply: ReplyEmpty) {
        self.requests.count(Kind::Fsync);
        if is_virtual(ino.0) {
            return reply.ok();
        }
        let core = self.core.clone();
        self.slow.run(move || core.empty("fsync", core.engine.fsync(fh.0, datasync), reply));
    }

    fn opendir(&self, _req: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        self.requests.count(Kind::Opendir);
        if is_virtual(ino.0) {
            return self.opendir_history(ino, reply);
        }
        reply.opened(FileHandle(self.dirs.open()), FopenFlags::empty());
    }

    fn readdir(&self, _req: &Request, ino: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        self.requests.count(Kind::Readdir);
        if is_virtual(ino.0) {
            return self.readdir_history(ino, fh, offset, reply);
        }
        let listed = self.dirs.list(&self.engine, self.listed(ino), fh.0, offset, &mut |entry| {
            let name = OsStr::from_bytes(&entry.name);
            Ok(reply.add(INodeNo(entry.ino), entry.cookie, file_type(entry.kind), name))
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(self.fail(&error, "list a directory")),
        }
    }

    fn readdirplus(
        &self,
        _req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        self.requests.count(Kind::Readdirplus);
        if is_virtual(ino.0) {
            return self.readdirplus_history(ino, fh, offset, reply);
        }
        // The kernel asks for attributes at the beginning of every listing, and later on only if somebody looks at them. With a
        // buffer of 1 MiB the beginning would be all of it.
        let mut left = if offset == 0 { WITH_ATTRIBUTES_AT_FIRST } else { usize::MAX };
        let listed = self.dirs.list(&self.engine, self.listed(ino), fh.0, offset, &mut |entry| {
            if left == 0 {
                return Ok(true);
            }
            left -= 1;
            if is_virtual(entry.ino) {
                return self.list_snapdir(ino, entry, &mut reply);
            }
            let (attr, ttl) = match self.engine.getattr(entry.ino) {
                Ok(attr) => (file_attr(&attr), attr_ttl(&attr)),
                // Removed since the listing was read.
                Err(Error::Errno(libc::ESTALE)) => return Ok(false),
                Err(error) => {
                    // One damaged file does not hide the others: stat of this one asks again, and fails.
                    self.engine.report(&error, "stat a file of a listed directory");
                    let inode = self.engine.names().inode(entry.ino)?;
                    (file_attr(&Attr { inode, size: 0, blocks: 0, volatile: true }), Duration::ZERO)
                }
            };
            let name = OsStr::from_bytes(&entry.name);
            Ok(reply.add(INodeNo(entry.ino), entry.cookie, name, &ttl, &attr, NO_GENERATION))
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(self.fail(&error, "list a directory")),
        }
    }

    fn releasedir(&self, _req: &Request, ino: INodeNo, fh: FileHandle, _flags: OpenFlags, reply: ReplyEmpty) {
        self.requests.count(Kind::Releasedir);
        if is_virtual(ino.0) {
            self.browser.closedir(fh.0);
        } else {
            self.dirs.close(fh.0);
        }
        reply.ok();
    }

    fn fsyncdir(&self, _req: &Request, _ino: INodeNo, _fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        self.requests.count(Kind::Fsyncdir);
        let core = self.core.clone();
        self.slow.run(move || core.empty("fsync a directory", core.engine.sync_names(), reply));
    }

    fn statfs(&self, _req: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        self.requests.count(Kind::Statfs);
        match self.engine.space() {
            Ok(space) => reply.statfs(
                space.f_blocks,
                space.f_bfree,
                space.f_bavail,
                space.f_files,
                space.f_ffree,
                u32::try_from(space.f_bsize).unwrap_or(4096),
                255,
                u32::try_from(space.f_frsize).unwrap_or(4096),
            ),
            Err(error) => reply.error(self.fail(&error, "statfs")),
        }
    }

    fn setxattr(
        &self,
        _req: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        self.requests.count(Kind::Setxattr);
        let must = match flags {
            0 => Must::Any,
            libc::XATTR_CREATE => Must::Create,
            libc::XATTR_REPLACE => Must::Replace,
            _ => return reply.error(Errno::EINVAL),
        };
        let set = || self.engine.names().setxattr(ino.0, name.as_bytes(), value, must);
        let done = self.changing(&[ino], set);
        self.empty("set an extended attribute", done, reply);
    }

    fn getxattr(&self, _req: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        self.requests.count(Kind::Getxattr);
        let value = if ino.0 == ROOT && name == STORE_XATTR {
            Ok(self.engine.store().as_os_str().as_bytes().to_vec())
        } else if is_virtual(ino.0) {
            self.browser.getxattr(ino.0, name.as_bytes())
        } else {
            self.engine.names().getxattr(ino.0, name.as_bytes())
        };
        self.xattr("read an extended attribute", value, size, reply);
    }

    fn listxattr(&self, _req: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        self.requests.count(Kind::Listxattr);
        let names = if is_virtual(ino.0) {
            self.browser.listxattr(ino.0)
        } else {
            self.engine.names().listxattr(ino.0)
        };
        self.xattr("list extended attributes", names, size, reply);
    }

    fn removexattr(&self, _req: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.requests.count(Kind::Removexattr);
        let remove = || self.engine.names().removexattr(ino.0, name.as_bytes());
        let done = self.changing(&[ino], remove);
        self.empty("remove an extended attribute", done, reply);
    }

    fn ioctl(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _flags: IoctlFlags,
        _cmd: u32,
        _in_data: &[u8],
        _out_size: u32,
        reply: ReplyIoctl,
    ) {
        self.requests.count(Kind::Ioctl);
        reply.error(Errno::ENOTTY);
    }

    fn fallocate(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        self.requests.count(Kind::Fallocate);
        self.empty("fallocate", self.engine.fallocate(fh.0, mode, offset, length), reply);
    }

    fn lseek(
        &self,
        _req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        self.requests.count(Kind::Lseek);
        if is_virtual(ino.0) {
            return self.seek_history(fh, offset, whence, reply);
        }
        let found = u64::try_from(offset)
            .map_err(|_| Error::Errno(libc::ENXIO))
            .and_then(|offset| self.engine.seek(fh.0, offset, whence));
        match found {
            Ok(offset) => reply.offset(offset.cast_signed()),
            Err(error) if error.errno() == libc::ENXIO => reply.error(Errno::ENXIO),
            Err(error) => reply.error(self.fail(&error, "seek")),
        }
    }

    fn copy_file_range(
        &self,
        _req: &Request,
        ino_in: INodeNo,
        fh_in: FileHandle,
        offset_in: u64,
        _ino_out: INodeNo,
        fh_out: FileHandle,
        offset_out: u64,
        len: u64,
        _flags: CopyFileRangeFlags,
        reply: ReplyWrite,
    ) {
        self.requests.count(Kind::CopyFileRange);
        if is_virtual(ino_in.0) {
            // The kernel then copies through its page cache.
            return reply.error(Errno::EXDEV);
        }
        match self.engine.copy_range((fh_in.0, offset_in), (fh_out.0, offset_out), len) {
            Ok(copied) => reply.written(u32::try_from(copied).unwrap_or(u32::MAX)),
            Err(error) => reply.error(self.fail(&error, "copy a range")),
        }
    }
}
