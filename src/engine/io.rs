//! Reading and writing where the kernel does not do it by itself.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use super::live::{HotFile, Source, Way};
use super::{Engine, Handle};
use crate::base::{Error, IoContext, Result};
use crate::catalog::keys::Ino;
use crate::seal::read::SealedFile;

impl Engine {
    /// Reads at `offset` into `buf`; fewer bytes only at the end of the file.
    pub fn read(&self, fh: u64, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let handle = self.handles.get(fh)?;
        match handle.live.way() {
            Some(Way::Daemon(Source::Sealed(sealed))) => sealed.read_at(offset, buf),
            Some(Way::Daemon(Source::Hot(hot)) | Way::Passthrough(hot)) => {
                let mut filled = 0;
                while let Some(rest) = buf.get_mut(filled..).filter(|rest| !rest.is_empty()) {
                    match hot.file.read_at(rest, offset + filled as u64) {
                        Ok(0) => break,
                        Ok(n) => filled += n,
                        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                        Err(error) => return Err(error).context("read", &self.hot.path(hot.id)),
                    }
                }
                Ok(filled)
            }
            None => Err(Error::Errno(libc::EBADF)),
        }
    }

    /// The sealed content that a handle reads from; `None` while it reads a hot file.
    pub fn sealed(&self, fh: u64) -> Result<Option<Arc<SealedFile>>> {
        match self.handles.get(fh)?.live.way() {
            Some(Way::Daemon(Source::Sealed(sealed))) => Ok(Some(sealed)),
            _ => Ok(None),
        }
    }

    /// Writes all of `data` at `offset`; `kill_privileges` as the kernel asks.
    pub fn write(&self, fh: u64, offset: u64, data: &[u8], kill_privileges: bool) -> Result<()> {
        let handle = self.handles.get(fh)?;
        self.check_writable()?;
        let hot = self.hot_for_write(&handle)?;
        if let Err(failed) = hot.file.write_all_at(data, offset) {
            return Err(failed).context_of_request("write", &self.hot.path(hot.id));
        }
        if kill_privileges {
            self.kill_privileges(handle.live.ino)?;
        }
        if handle.data_sync {
            self.hot.sync(hot.id, &hot.file, true).inspect_err(|error| self.poison_if_sync(error))?;
        }
        Ok(())
    }

    /// A descriptor of the handle's hot file that can write, whatever the way.
    pub(super) fn hot_for_write(&self, handle: &Handle) -> Result<Arc<HotFile>> {
        if !handle.writable {
            return Err(Error::Errno(libc::EBADF));
        }
        if let Some(own) = &handle.own {
            return Ok(own.clone());
        }
        match handle.live.way() {
            Some(Way::Daemon(Source::Hot(hot))) if hot.writable => Ok(hot),
            Some(way) => {
                let id = way.hot().ok_or(Error::Errno(libc::EBADF))?.id;
                Ok(Arc::new(HotFile { id, file: self.hot.open_write(id)?, writable: true }))
            }
            None => Err(Error::Errno(libc::EBADF)),
        }
    }

    /// fallocate(2) on the hot file, with the mode bits as they are.
    pub fn fallocate(&self, fh: u64, mode: i32, offset: u64, len: u64) -> Result<()> {
        let handle = self.handles.get(fh)?;
        self.check_writable()?;
        let hot = self.hot_for_write(&handle)?;
        let (offset, len) = (file_offset(offset)?, file_offset(len)?);
        // SAFETY: an open descriptor and plain integers.
        match unsafe { libc::fallocate(hot.file.as_raw_fd(), mode, offset, len) } {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()).context_of_request("fallocate", &self.hot.path(hot.id)),
        }
    }

    /// SEEK_DATA or SEEK_HOLE from `offset`; `ENXIO` past the end.
    pub fn seek(&self, fh: u64, offset: u64, whence: i32) -> Result<u64> {
        let handle = self.handles.get(fh)?;
        match handle.live.way() {
            Some(Way::Daemon(Source::Sealed(sealed))) => {
                let found = if whence == libc::SEEK_DATA {
                    sealed.seek_data(offset)
                } else {
                    sealed.seek_hole(offset)
                };
                found.ok_or(Error::Errno(libc::ENXIO))
            }
            Some(way) => {
                let hot = way.hot().ok_or(Error::Errno(libc::EBADF))?;
                seek_hot(&hot.file, offset, whence, || self.hot.path(hot.id))
            }
            None => Err(Error::Errno(libc::EBADF)),
        }
    }

    /// The inode of a handle.
    pub fn ino_of(&self, fh: u64) -> Result<Ino> {
        Ok(self.handles.get(fh)?.live.ino)
    }
}

fn seek_hot(file: &File, offset: u64, whence: i32, path: impl Fn() -> PathBuf) -> Result<u64> {
    // SAFETY: an open descriptor and plain integers; nobody relies on its file position.
    let found = unsafe { libc::lseek(file.as_raw_fd(), file_offset(offset)?, whence) };
    u64::try_from(found)
        .or_else(|_| Err(std::io::Error::last_os_error()).context_of_request("seek in", &path()))
}

/// An offset as the kernel takes it; `EFBIG` where it does not fit.
pub(super) fn file_offset(offset: u64) -> Result<i64> {
    i64::try_from(offset).map_err(|_| Error::Errno(libc::EFBIG))
}
