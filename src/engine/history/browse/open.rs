//! Open files of versions.
//!
//! Order at an open: the version is held, then looked at: one that is about to go is let go again and not opened. So what
//! was opened stays readable until it is closed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::Browser;
use super::node::{Item, Node};
use crate::base::{Error, Result};
use crate::catalog::keys::{Ino, RunId};
use crate::content::tree::Body;
use crate::seal::read::SealedFile;

/// What an open file reads from.
#[derive(Clone)]
pub enum OpenFile {
    /// A content of a version.
    Sealed(Arc<SealedFile>),
    /// A text that was made at the open.
    Text(Arc<Vec<u8>>),
}

impl std::fmt::Debug for OpenFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            OpenFile::Sealed(sealed) => f.debug_tuple("Sealed").field(&sealed.content()).finish(),
            OpenFile::Text(text) => f.debug_tuple("Text").field(&text.len()).finish(),
        }
    }
}

#[derive(Debug)]
struct Handle {
    file: OpenFile,
    held: Option<(RunId, u32)>,
}

/// Open files, by handle.
#[derive(Debug, Default)]
pub(super) struct OpenFiles {
    next: AtomicU64,
    open: Mutex<HashMap<u64, Handle>>,
}

impl Browser {
    /// Opens virtual file `ino` with the flags of open(2). `EROFS` for writing, `ENOENT` when its version is about to go.
    pub fn open(&self, ino: Ino, flags: i32) -> Result<(u64, OpenFile)> {
        let node = self.node(ino)?;
        if flags & libc::O_ACCMODE != libc::O_RDONLY || flags & libc::O_TRUNC != 0 {
            return Err(Error::Errno(libc::EROFS));
        }
        let handle = match &*node {
            Node::Item(item) => {
                let Body::File { content, .. } = item.entry.body else {
                    return Err(Error::Errno(libc::EISDIR));
                };
                self.hold(item)?;
                let engine = &self.engine;
                let opened = SealedFile::open(engine.packs.clone(), engine.readers.clone(), content);
                let sealed = opened.inspect_err(|_| engine.let_go_version(item.run, item.number))?;
                Handle { file: OpenFile::Sealed(Arc::new(sealed)), held: Some((item.run, item.number)) }
            }
            Node::Info(_, run, number) => {
                Handle { file: OpenFile::Text(Arc::new(self.info(*run, *number)?.0)), held: None }
            }
            _ => return Err(Error::Errno(libc::EISDIR)),
        };
        let (fh, file) = (self.files.next.fetch_add(1, Ordering::Relaxed), handle.file.clone());
        self.files.open.lock().insert(fh, handle);
        Ok((fh, file))
    }

    /// An open file.
    pub fn file(&self, fh: u64) -> Result<OpenFile> {
        let found = self.files.open.lock().get(&fh).map(|handle| handle.file.clone());
        found.ok_or(Error::Errno(libc::EBADF))
    }

    /// SEEK_DATA or SEEK_HOLE from `offset`; `ENXIO` past the end.
    pub fn seek(&self, fh: u64, offset: u64, whence: i32) -> Result<u64> {
        let found = match self.file(fh)? {
            OpenFile::Sealed(sealed) if whence == libc::SEEK_DATA => sealed.seek_data(offset),
            OpenFile::Sealed(sealed) => sealed.seek_hole(offset),
            OpenFile::Text(text) => {
                let len = text.len() as u64;
                (offset < len).then_some(if whence == libc::SEEK_DATA { offset } else { len })
            }
        };
        found.ok_or(Error::Errno(libc::ENXIO))
    }

    /// Closes a file; its version may go.
    pub fn close(&self, fh: u64) -> Result<()> {
        let closed = self.files.open.lock().remove(&fh).ok_or(Error::Errno(libc::EBADF))?;
        if let Some((run, number)) = closed.held {
            self.engine.let_go_version(run, number);
        }
        Ok(())
    }

    /// Holds the version of `item`; `ENOENT` when it is about to go.
    pub(super) fn hold(&self, item: &Item) -> Result<()> {
        self.engine.hold_version(item.run, item.number);
        let there = self.check_there(item);
        there.inspect_err(|_| self.engine.let_go_version(item.run, item.number))
    }
}
