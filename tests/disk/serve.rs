//! The files of the disk as FUSE asks for them: a folder with `disk.img` and `control`.
//!
//! Nothing is cached by the kernel (`FOPEN_DIRECT_IO`): each write of the loop device arrives as it is made, each read sees
//! the faults of the moment. What is not here (discards, zeroing without writing) is refused, and the block layer writes
//! zeros instead.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyWrite, Request, TimeOrNow, WriteFlags,
};

use crate::faults::Faults;
use crate::log::Log;

const IMAGE: INodeNo = INodeNo(2);
const CONTROL: INodeNo = INodeNo(3);
const FILES: [(INodeNo, &str); 2] = [(IMAGE, "disk.img"), (CONTROL, "control")];
/// Of `control`: enough for its text, whatever it is at the moment.
const CONTROL_BYTES: u64 = 4096;

/// The disk: its image, its log, its faults.
pub(crate) struct Disk {
    image: File,
    size: u64,
    state: Mutex<State>,
}

struct State {
    log: Option<Log>,
    faults: Faults,
}

impl Disk {
    /// Serves `image` at the size that it has.
    pub(crate) fn new(image: File, log: Option<Log>) -> io::Result<Self> {
        let size = image.metadata()?.len();
        Ok(Disk { image, size, state: Mutex::new(State { log, faults: Faults::default() }) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn attr(&self, ino: INodeNo) -> Option<FileAttr> {
        let (kind, perm, size) = match ino {
            INodeNo::ROOT => (FileType::Directory, 0o700, 0),
            IMAGE => (FileType::RegularFile, 0o600, self.size),
            CONTROL => (FileType::RegularFile, 0o600, CONTROL_BYTES),
            _ => return None,
        };
        Some(FileAttr {
            ino,
            size,
            blocks: size / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        })
    }

    fn read_image(&self, offset: u64, length: u64) -> Result<Vec<u8>, Errno> {
        let length = length.min(self.size.saturating_sub(offset));
        if self.state().faults.read(offset, length) {
            return Err(Errno::EIO);
        }
        let mut data = vec![0; usize::try_from(length).map_err(|_| Errno::EINVAL)?];
        self.image.read_exact_at(&mut data, offset).map_err(|_| Errno::EIO)?;
        Ok(data)
    }

    fn write_image(&self, offset: u64, data: &[u8]) -> Result<u32, Errno> {
        let length = data.len() as u64;
        if offset.saturating_add(length) > self.size {
            return Err(Errno::ENOSPC);
        }
        let mut state = self.state();
        if state.faults.write(offset, length) {
            return Err(Errno::EIO);
        }
        self.image.write_all_at(data, offset).map_err(|_| Errno::EIO)?;
        if let Some(log) = &mut state.log {
            log.write(offset, data).map_err(|_| Errno::EIO)?;
        }
        u32::try_from(length).map_err(|_| Errno::EINVAL)
    }

    fn flush_image(&self) -> Result<(), Errno> {
        let mut state = self.state();
        if state.faults.flush() {
            return Err(Errno::EIO);
        }
        match &mut state.log {
            Some(log) => log.flush().map_err(|_| Errno::EIO),
            None => Ok(()),
        }
    }

    fn set_faults(&self, data: &[u8]) -> Result<u32, Errno> {
        let text = std::str::from_utf8(data).map_err(|_| Errno::EINVAL)?;
        self.state().faults.set(text).ok_or(Errno::EINVAL)?;
        u32::try_from(data.len()).map_err(|_| Errno::EINVAL)
    }
}

impl Filesystem for Disk {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = FILES.iter().find(|(_, own)| parent == INodeNo::ROOT && name == *own);
        match found.and_then(|(ino, _)| self.attr(*ino)) {
            Some(attr) => reply.entry(&Duration::ZERO, &attr, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.attr(ino) {
            Some(attr) => reply.attr(&Duration::ZERO, &attr),
            None => reply.error(Errno::ENOENT),
        }
    }

    /// Sizes and times do not change; a shell that empties `control` before it writes is let do so.
    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<std::time::SystemTime>,
        _: Option<FileHandle>,
        _: Option<std::time::SystemTime>,
        _: Option<std::time::SystemTime>,
        _: Option<std::time::SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        match self.attr(ino) {
            Some(_) if ino == IMAGE && size.is_some_and(|size| size != self.size) => {
                reply.error(Errno::EPERM);
            }
            Some(attr) => reply.attr(&Duration::ZERO, &attr),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        if ino == CONTROL {
            let text = self.state().faults.text();
            let from = usize::try_from(offset).unwrap_or(usize::MAX);
            return reply.data(text.as_bytes().get(from..).unwrap_or_default());
        }
        match self.read_image(offset, u64::from(size)) {
            Ok(data) => reply.data(&data),
            Err(errno) => reply.error(errno),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let done = if ino == CONTROL { self.set_faults(data) } else { self.write_image(offset, data) };
        match done {
            Ok(length) => reply.written(length),
            Err(errno) => reply.error(errno),
        }
    }

    /// What the loop driver makes of a flush of its device.
    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        match self.flush_image() {
            Ok(()) => reply.ok(),
            Err(errno) => reply.error(errno),
        }
    }

    /// A close of the file: makes nothing durable.
    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn readdir(&self, _: &Request, _: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        for (place, (ino, name)) in (1..).zip(FILES).skip(usize::try_from(offset).unwrap_or(usize::MAX)) {
            if reply.add(ino, place, FileType::RegularFile, name) {
                break;
            }
        }
        reply.ok();
    }
}
