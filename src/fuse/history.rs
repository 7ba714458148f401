//! Requests about the virtual directories, and the one name that live directories do not give away.
//!
//! Numbers of virtual inodes tell themselves from live ones, so handles of the two never meet: each request is sent to its
//! side by the inode that it names.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use fuser::{
    FileHandle, FopenFlags, INodeNo, ReplyAttr, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty,
    ReplyEntry, ReplyLseek, ReplyOpen,
};

use super::convert::{NAME_TTL, file_attr, file_type, no_entry};
use super::core::{Core, NO_GENERATION, open_flags, send};
use crate::base::{Error, Result};
use crate::catalog::keys::Ino;
use crate::engine::history::browse::{OpenFile, Seen, is_virtual};
use crate::namespace::Caller;
use crate::namespace::readdir::Entry;

impl Core {
    /// Does what makes `name` in directory `parent`: not among versions, and not where the virtual directory is.
    pub(super) fn making<T>(
        &self,
        parent: INodeNo,
        name: &OsStr,
        then: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        self.on_live(&[parent], &[name], libc::EEXIST, then)
    }

    /// Does what takes `names` away or gives them another meaning, in `parents`.
    pub(super) fn moving<T>(
        &self,
        parents: &[INodeNo],
        names: &[&OsStr],
        then: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        self.on_live(parents, names, libc::EPERM, then)
    }

    /// Does what changes these inodes: nothing changes in versions.
    pub(super) fn changing<T>(&self, inos: &[INodeNo], then: impl FnOnce() -> Result<T>) -> Result<T> {
        self.on_live(inos, &[], libc::EPERM, then)
    }

    fn on_live<T>(
        &self,
        inos: &[INodeNo],
        names: &[&OsStr],
        taken: i32,
        then: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        if inos.iter().any(|ino| is_virtual(ino.0)) {
            return Err(Error::Errno(libc::EROFS));
        }
        if names.iter().any(|name| self.browser.is_snapdir(name.as_bytes())) {
            return Err(Error::Errno(taken));
        }
        self.writable(then)
    }

    fn seen(&self, doing: &str, seen: Result<Seen>, reply: ReplyEntry) {
        match seen {
            Ok(Seen { attr, name_ttl, attr_ttl }) => {
                reply.entry_with_ttls(&attr_ttl, &name_ttl, &file_attr(&attr), NO_GENERATION);
            }
            Err(error) => reply.error(self.fail(&error, doing)),
        }
    }

    /// Whether looking up `name` in `parent` is a question about history.
    pub(super) fn asks_history(&self, parent: INodeNo, name: &OsStr) -> bool {
        is_virtual(parent.0) || self.browser.is_snapdir(name.as_bytes())
    }

    pub(super) fn lookup_history(&self, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = if is_virtual(parent.0) {
            self.browser.lookup(parent.0, name.as_bytes())
        } else {
            self.browser.snapdir(parent.0).map(Some)
        };
        match found.transpose() {
            Some(seen) => self.seen("look up a version", seen, reply),
            None => reply.entry(&NAME_TTL, &no_entry(), NO_GENERATION),
        }
    }

    pub(super) fn getattr_history(&self, ino: INodeNo, reply: ReplyAttr) {
        match self.browser.getattr(ino.0) {
            Ok(seen) => reply.attr(&seen.attr_ttl, &file_attr(&seen.attr)),
            Err(error) => reply.error(self.fail(&error, "stat a version")),
        }
    }

    pub(super) fn mkdir_history(&self, parent: INodeNo, name: &OsStr, who: Caller, reply: ReplyEntry) {
        self.seen("make a version", self.browser.mkdir(parent.0, name.as_bytes(), who), reply);
    }

    pub(super) fn rmdir_history(&self, parent: INodeNo, name: &OsStr, who: Caller, reply: ReplyEmpty) {
        self.empty("remove a version", self.browser.rmdir(parent.0, name.as_bytes(), who), reply);
    }

    pub(super) fn open_history(&self, ino: INodeNo, flags: i32, reply: ReplyOpen) {
        match self.browser.open(ino.0, flags) {
            // Bytes of a version never change, so what the kernel has of them stays right.
            Ok((fh, OpenFile::Sealed(_))) => reply.opened(FileHandle(fh), open_flags(false, true)),
            Ok((fh, OpenFile::Text(_))) => reply.opened(FileHandle(fh), FopenFlags::FOPEN_DIRECT_IO),
            Err(error) => reply.error(self.fail(&error, "open a file of a version")),
        }
    }

    pub(super) fn read_history(&self, fh: FileHandle, offset: u64, size: u32, reply: ReplyData) {
        let size = size as usize;
        match self.browser.file(fh.0) {
            Ok(OpenFile::Sealed(sealed)) => match sealed.slices(offset, size) {
                Ok(slices) => send(&slices, reply),
                Err(error) => reply.error(self.fail(&error, "read a file of a version")),
            },
            Ok(OpenFile::Text(text)) => {
                let rest = usize::try_from(offset).ok().and_then(|at| text.get(at..)).unwrap_or_default();
                reply.data(rest.get(..size).unwrap_or(rest));
            }
            Err(error) => reply.error(self.fail(&error, "read a file of a version")),
        }
    }

    pub(super) fn seek_history(&self, fh: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        let offset = u64::try_from(offset).map_err(|_| Error::Errno(libc::ENXIO));
        match offset.and_then(|offset| self.browser.seek(fh.0, offset, whence)) {
            Ok(offset) => reply.offset(offset.cast_signed()),
            Err(error) => reply.error(self.fail(&error, "seek in a file of a version")),
        }
    }

    pub(super) fn release_history(&self, fh: FileHandle, reply: ReplyEmpty) {
        self.empty("close a file of a version", self.browser.close(fh.0), reply);
    }

    pub(super) fn opendir_history(&self, ino: INodeNo, reply: ReplyOpen) {
        match self.browser.opendir(ino.0) {
            Ok(fh) => reply.opened(FileHandle(fh), FopenFlags::empty()),
            Err(error) => reply.error(self.fail(&error, "open a directory of a version")),
        }
    }

    pub(super) fn readdir_history(
        &self,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let listed = self.browser.list(ino.0, fh.0, offset, &mut |entry| {
            let name = OsStr::from_bytes(&entry.name);
            Ok(reply.add(INodeNo(entry.ino), entry.offset, file_type(entry.kind), name))
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(self.fail(&error, "list a version")),
        }
    }

    /// A live directory, and what is listed in it beside its own entries.
    pub(super) fn listed(&self, dir: INodeNo) -> (Ino, Option<(Vec<u8>, Ino)>) {
        (dir.0, self.browser.listed_in(dir.0))
    }

    /// Adds the virtual directory to a listing of live directory `dir`.
    pub(super) fn list_snapdir(
        &self,
        dir: INodeNo,
        entry: &Entry,
        reply: &mut ReplyDirectoryPlus,
    ) -> Result<bool> {
        self.add_seen(&self.browser.snapdir(dir.0)?, &entry.name, entry.cookie, reply)
    }

    /// Adds what the kernel is told of with this to a listing.
    fn add_seen(
        &self,
        seen: &Seen,
        name: &[u8],
        offset: u64,
        reply: &mut ReplyDirectoryPlus,
    ) -> Result<bool> {
        let (ino, ttl) = (seen.attr.inode.ino, seen.name_ttl.min(seen.attr_ttl));
        let (name, attr) = (OsStr::from_bytes(name), file_attr(&seen.attr));
        let full = reply.add(INodeNo(ino), offset, name, &ttl, &attr, NO_GENERATION);
        if full {
            // The kernel does not hear of it this time.
            self.browser.forget(ino, 1);
        }
        Ok(full)
    }

    pub(super) fn readdirplus_history(
        &self,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let listed = self.browser.list(ino.0, fh.0, offset, &mut |entry| {
            let name = OsStr::from_bytes(&entry.name);
            if entry.is_dot() {
                // The kernel takes nothing of these but the number and the type.
                let mut attr = no_entry();
                (attr.ino, attr.kind) = (INodeNo(entry.ino), file_type(entry.kind));
                return Ok(reply.add(attr.ino, entry.offset, name, &NAME_TTL, &attr, NO_GENERATION));
            }
            let Some(seen) = self.browser.enter_listed(ino.0, entry)? else { return Ok(false) };
            self.add_seen(&seen, &entry.name, entry.offset, &mut reply)
        });
        match listed {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(self.fail(&error, "list a version")),
        }
    }
}
