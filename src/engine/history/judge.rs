//! What a file is worth: checkpoint content or not, whole or not.
//!
//! Bytes are asked for where they are: in a hot file, or in sealed chunks.

use std::cell::OnceCell;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use super::super::Engine;
use super::walk::Walk;
use crate::base::{Error, IoContext, Result};
use crate::catalog::keys::{HotId, Ino};
use crate::catalog::records::{Content, Inode};
use crate::content::tree::Soundness;
use crate::formats::{self, Format, Siblings, Source, Validity};
use crate::namespace::Namespace;
use crate::seal::read::SealedFile;

/// A hot file to be looked at.
pub(super) struct HotSource {
    file: File,
    path: PathBuf,
    len: u64,
}

impl Source for HotSource {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        match self.file.read_exact_at(buf, offset) {
            // Truncated since it was opened.
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                Err(Error::Errno(libc::ESTALE))
            }
            read => read.context("read", &self.path),
        }
    }
}

/// A sealed content to be looked at; opened when it is.
pub(super) struct SealedSource<'a> {
    engine: &'a Engine,
    id: crate::base::id::ChunkId,
    len: u64,
    open: OnceCell<SealedFile>,
}

impl Source for SealedSource<'_> {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let file = match self.open.get() {
            Some(file) => file,
            None => {
                let file = SealedFile::open(
                    Arc::clone(&self.engine.packs),
                    Arc::clone(&self.engine.readers),
                    self.id,
                )?;
                self.open.get_or_init(|| file)
            }
        };
        match file.read_at(offset, buf)? {
            read if read == buf.len() => Ok(()),
            _ => Err(Error::Errno(libc::EIO)),
        }
    }
}

/// Names and sizes of a directory as it is now.
pub(super) struct LiveSiblings<'a> {
    engine: &'a Engine,
    dir: Ino,
}

impl Siblings for LiveSiblings<'_> {
    fn len_of(&self, name: &[u8]) -> Result<Option<u64>> {
        match self.engine.ns.entry(self.dir, name)? {
            Some(entry) => self.engine.getattr(entry.ino).map(|attr| Some(attr.size)),
            None => Ok(None),
        }
    }

    fn open(&self, name: &[u8]) -> Result<Option<Box<dyn Source + '_>>> {
        let Some(entry) = self.engine.ns.entry(self.dir, name)? else { return Ok(None) };
        match self.engine.ns.find(entry.ino)? {
            Some(inode) if inode.content().is_some() => self.engine.source_of(&inode).map(Some),
            _ => Ok(None),
        }
    }
}

/// Names and sizes of a directory at a moment.
pub(super) struct ThenSiblings<'a> {
    pub(super) engine: &'a Engine,
    pub(super) view: crate::namespace::view::View<'a>,
    pub(super) dir: Ino,
}

impl Siblings for ThenSiblings<'_> {
    fn len_of(&self, name: &[u8]) -> Result<Option<u64>> {
        let Some(ino) = self.view.entry(self.dir, name)? else { return Ok(None) };
        let Some(inode) = self.view.inode(ino)? else { return Ok(None) };
        Ok(match inode.content() {
            Some(Content::Sealed(sealed) | Content::Both(_, sealed)) => Some(sealed.size),
            Some(Content::Hot(hot)) => match self.engine.hot.attr(*hot) {
                // Lost by the disk: as good as not there.
                Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => None,
                attr => Some(attr?.size),
            },
            None => None,
        })
    }

    fn open(&self, name: &[u8]) -> Result<Option<Box<dyn Source + '_>>> {
        let Some(ino) = self.view.entry(self.dir, name)? else { return Ok(None) };
        match self.view.inode(ino)? {
            Some(inode) if inode.content().is_some() => self.engine.source_of(&inode).map(Some),
            _ => Ok(None),
        }
    }
}

impl Engine {
    /// Hot file `hot`, to be looked at.
    pub(super) fn hot_source(&self, hot: HotId) -> Result<HotSource> {
        let path = self.hot.path(hot);
        let file = match self.hot.open_unseen(hot) {
            // Replaced or removed since its record was read.
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Err(Error::Errno(libc::ESTALE));
            }
            file => file?,
        };
        let len = file.metadata().context("stat", &path)?.len();
        Ok(HotSource { file, path, len })
    }

    /// The bytes of a live file, to be looked at.
    pub(super) fn source_of(&self, inode: &Inode) -> Result<Box<dyn Source + '_>> {
        Ok(match inode.content() {
            Some(Content::Hot(hot)) => Box::new(self.hot_source(*hot)?),
            Some(Content::Sealed(sealed) | Content::Both(_, sealed)) => {
                Box::new(self.sealed_source(sealed.id, sealed.size))
            }
            None => return Err(Error::Errno(libc::EINVAL)),
        })
    }

    /// A sealed content, to be looked at.
    pub(super) fn sealed_source(&self, id: crate::base::id::ChunkId, len: u64) -> SealedSource<'_> {
        SealedSource { engine: self, id, len, open: OnceCell::new() }
    }

    pub(super) fn live_siblings(&self, dir: Ino) -> LiveSiblings<'_> {
        LiveSiblings { engine: self, dir }
    }
}

/// What was found of a file's bytes.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    pub(super) format: Option<Format>,
    pub(super) soundness: Soundness,
    /// Why it is not sound.
    pub(super) why: Option<String>,
}

impl Walk<'_> {
    /// Looks at the bytes of `source`, the file at `path` below the run, in directory `dir`.
    pub(super) fn judge(&self, path: &[u8], dir: Ino, source: &dyn Source) -> Result<Judged> {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or(path);
        let Some(format) = formats::recognise(path, source)? else {
            return Ok(Judged { format: None, soundness: Soundness::Unknown, why: None });
        };
        let siblings = ThenSiblings { engine: self.engine, view: self.view, dir };
        Ok(match formats::validate(format, name, source, &siblings)? {
            Validity::Valid => Judged { format: Some(format), soundness: Soundness::Valid, why: None },
            Validity::Invalid(why) => {
                Judged { format: Some(format), soundness: Soundness::Invalid, why: Some(why) }
            }
        })
    }
}

/// The error of a record of the catalog that does not parse, for those above the namespace.
pub(super) fn damaged(key: &[u8]) -> Error {
    Namespace::damaged(key)
}
