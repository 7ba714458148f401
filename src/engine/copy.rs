//! copy_file_range(2) between files of the mount: the kernel below copies, or shares extents.

use std::os::fd::AsRawFd;

use super::Engine;
use super::io::file_offset;
use super::live::Way;
use crate::base::{Error, IoContext, Result};

/// Copied by one request, at most; the caller asks again.
const COPY_MAX_BYTES: u64 = 64 << 20;

impl Engine {
    /// Copies up to `len` bytes; returns how many were copied, 0 at the end of the source.
    ///
    /// # Errors
    /// `EXDEV` where the source is only in packs: the kernel then reads and writes.
    pub fn copy_range(&self, from: (u64, u64), to: (u64, u64), len: u64) -> Result<u64> {
        let (source, target) = (self.handles.get(from.0)?, self.handles.get(to.0)?);
        self.check_writable()?;
        let way = source.live.way().ok_or(Error::Errno(libc::EBADF))?;
        let read = Way::hot(&way).cloned().ok_or(Error::Errno(libc::EXDEV))?;
        let write = self.hot_for_write(&target)?;
        let (mut from, mut to) = (file_offset(from.1)?, file_offset(to.1)?);
        let len = usize::try_from(len.min(COPY_MAX_BYTES)).map_err(|_| Error::Errno(libc::EINVAL))?;
        // SAFETY: open descriptors; the offsets live through the call, which is their only user.
        let copied = unsafe {
            libc::copy_file_range(
                read.file.as_raw_fd(),
                &raw mut from,
                write.file.as_raw_fd(),
                &raw mut to,
                len,
                0,
            )
        };
        u64::try_from(copied)
            .map_err(|_| std::io::Error::last_os_error())
            .context_of_request("copy to", &self.hot.path(write.id))
    }
}
