//! What the requests share: the parts of an answer, on whatever thread it is given.

use std::cell::RefCell;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use fuser::{
    Errno, FileHandle, FopenFlags, Generation, INodeNo, ReplyAttr, ReplyCreate, ReplyData, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyXattr,
};

use super::backing::Backings;
use super::convert::{NAME_TTL, attr_ttl, errno, file_attr};
use super::dirs::OpenDirs;
use super::requests::Requests;
use crate::base::{Error, Result};
use crate::catalog::records::Inode;
use crate::engine::Engine;
use crate::engine::history::browse::Browser;
use crate::engine::open::How;
use crate::namespace::Caller;
use crate::namespace::setattr::SetAttr;
use crate::seal::read::Slice;

/// Inode numbers are never used twice, so one generation is enough.
pub(super) const NO_GENERATION: Generation = Generation(0);

thread_local! {
    /// Where a read is gathered before it is sent: one buffer a thread, of the largest request.
    pub(super) static READ_BUF: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Sends what was read of a sealed content: what lies in one chunk from there, and only what lies in several is gathered.
pub(super) fn send(slices: &[Slice], reply: ReplyData) {
    if slices.len() <= 1 {
        return reply.data(slices.first().map(AsRef::as_ref).unwrap_or_default());
    }
    READ_BUF.with_borrow_mut(|buf| {
        buf.clear();
        slices.iter().for_each(|slice| buf.extend_from_slice(slice.as_ref()));
        reply.data(buf);
    });
}

/// A file that is to be made and opened.
pub(super) struct New {
    pub(super) parent: INodeNo,
    pub(super) name: OsString,
    pub(super) mode: u32,
    pub(super) flags: i32,
    pub(super) who: Caller,
    pub(super) pid: u32,
}

/// What every request may need, on whatever thread it is answered.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) engine: Arc<Engine>,
    pub(super) requests: Arc<Requests>,
    pub(super) backings: Backings,
    pub(super) dirs: OpenDirs,
    pub(super) browser: Browser,
    /// 2 where hot files lie on a stacked file system, else 1.
    pub(super) stack_depth: u32,
    pub(super) want_passthrough: bool,
}

impl Core {
    pub(super) fn fail(&self, error: &Error, doing: &str) -> Errno {
        self.engine.report(error, doing);
        errno(error)
    }

    /// [`fail`](Self::fail) at the bytes of file `ino`, which the message names.
    pub(super) fn fail_in(&self, ino: u64, error: &Error, doing: &str) -> Errno {
        self.fail(error, &format!("{doing} {}", self.engine.name_in_mount(ino)))
    }

    pub(super) fn entry(&self, doing: &str, made: Result<Inode>, reply: ReplyEntry) {
        match made.and_then(|inode| self.engine.attr(inode)) {
            Ok(attr) => {
                reply.entry_with_ttls(&attr_ttl(&attr), &NAME_TTL, &file_attr(&attr), NO_GENERATION);
            }
            Err(error) => reply.error(self.fail(&error, doing)),
        }
    }

    pub(super) fn empty(&self, doing: &str, done: Result<()>, reply: ReplyEmpty) {
        match done {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(self.fail(&error, doing)),
        }
    }

    pub(super) fn writable<T>(&self, then: impl FnOnce() -> Result<T>) -> Result<T> {
        self.engine.check_writable()?;
        then()
    }

    pub(super) fn xattr(&self, doing: &str, bytes: Result<Vec<u8>>, size: u32, reply: ReplyXattr) {
        match bytes {
            Ok(bytes) if size == 0 => reply.size(u32::try_from(bytes.len()).unwrap_or(u32::MAX)),
            Ok(bytes) if bytes.len() > size as usize => reply.error(Errno::ERANGE),
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(self.fail(&error, doing)),
        }
    }
}

pub(super) fn open_flags(direct: bool, keep_cache: bool) -> FopenFlags {
    let mut flags = FopenFlags::empty();
    flags.set(FopenFlags::FOPEN_DIRECT_IO | FopenFlags::FOPEN_PARALLEL_DIRECT_WRITES, direct);
    flags.set(FopenFlags::FOPEN_KEEP_CACHE, keep_cache);
    flags
}

/// With passthrough the flag means that reads and writes come to the daemon all the same.
fn passthrough_flags(how: &How) -> FopenFlags {
    open_flags(matches!(how, How::Mapped(_)), false)
}

impl Core {
    pub(super) fn answer_open(&self, ino: u64, flags: i32, who: Caller, pid: u32, reply: ReplyOpen) {
        let opened = match self.engine.open(ino, flags, who) {
            Ok(opened) => opened,
            Err(error) => return reply.error(self.fail(&error, "open a file")),
        };
        if flags & libc::O_ACCMODE != libc::O_RDONLY {
            self.engine.opened_by(ino, pid);
        }
        match &opened.how {
            How::Daemon { direct, keep_cache } => {
                reply.opened(FileHandle(opened.fh), open_flags(*direct, *keep_cache));
            }
            How::Passthrough(hot) | How::Mapped(hot) => {
                match self.backings.open(ino, || reply.open_backing(&hot.file)) {
                    Ok(id) => {
                        reply.opened_passthrough(FileHandle(opened.fh), passthrough_flags(&opened.how), &id)
                    }
                    Err(error) => reply.error(self.unbacked(opened.fh, &error)),
                }
            }
        }
    }

    pub(super) fn answer_setattr(
        &self,
        ino: u64,
        size: Option<u64>,
        set: Option<SetAttr>,
        who: Caller,
        reply: ReplyAttr,
    ) {
        let truncated = size.map_or(Ok(()), |size| self.engine.truncate(ino, size, who));
        let done = truncated.and_then(|()| match &set {
            Some(set) => self.engine.setattr(ino, set),
            None => self.engine.getattr(ino),
        });
        match done {
            Ok(attr) => reply.attr(&attr_ttl(&attr), &file_attr(&attr)),
            Err(error) => reply.error(self.fail(&error, "change attributes")),
        }
    }

    pub(super) fn answer_create(&self, new: &New, reply: ReplyCreate) {
        let create = || self.engine.create(new.parent.0, new.name.as_bytes(), new.mode, new.flags, new.who);
        let (attr, opened) = match self.making(new.parent, &new.name, create) {
            Ok(created) => created,
            Err(error) => return reply.error(self.fail(&error, "create a file")),
        };
        self.engine.opened_by(attr.inode.ino, new.pid);
        let (ttl, file, fh) = (attr_ttl(&attr), file_attr(&attr), FileHandle(opened.fh));
        match &opened.how {
            How::Daemon { direct, keep_cache } => {
                reply.created(&ttl, &file, NO_GENERATION, fh, open_flags(*direct, *keep_cache));
            }
            How::Passthrough(hot) | How::Mapped(hot) => {
                match self.backings.open(attr.inode.ino, || reply.open_backing(&hot.file)) {
                    Ok(id) => {
                        let flags = passthrough_flags(&opened.how);
                        reply.created_passthrough(&ttl, &file, NO_GENERATION, fh, flags, &id);
                    }
                    Err(error) => {
                        let answer = self.unbacked(opened.fh, &error);
                        // The kernel takes the name for free.
                        if let Err(error) = self.engine.unlink(new.parent.0, new.name.as_bytes()) {
                            self.engine.report(&error, "remove a file that could not be opened");
                        }
                        reply.error(answer);
                    }
                }
            }
        }
    }

    /// A passthrough open that the kernel did not take: the handle is closed again.
    pub(super) fn unbacked(&self, fh: u64, error: &io::Error) -> Errno {
        let path = self.engine.store().to_owned();
        let source = io::Error::from_raw_os_error(error.raw_os_error().unwrap_or(libc::EIO));
        let error = Error::Io { what: "register a backing file of", path, source };
        if let Err(error) = self.engine.release(fh) {
            self.engine.report(&error, "close a file");
        }
        self.fail(&error, "open a file by passthrough")
    }
}
