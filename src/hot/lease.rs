//! Quiet is proved, not counted.
//!
//! A passthrough handle can outlive its RELEASE (a mapping) and even the daemon (after SIGKILL). The
//! kernel grants a read lease on a file only when nobody has it open for writing, by whatever way.
//! The lease is given back at once: new writers come through the daemon, which sees them.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

use crate::base::{IoContext, Result};

/// Whether nobody can write to `file`, which must be open for reading only.
///
/// # Errors
/// Any failure but "somebody has it open for writing", with `path` in the message.
pub fn is_quiet(file: &File, path: &Path) -> Result<bool> {
    match set_lease(file, libc::F_RDLCK) {
        Ok(()) => set_lease(file, libc::F_UNLCK).context("release the lease on", path).map(|()| true),
        Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => Ok(false),
        Err(error) => Err(error).context("lease", path),
    }
}

/// Whether the file system that holds `file` grants leases at all.
pub fn supported(file: &File) -> bool {
    !matches!(set_lease(file, libc::F_RDLCK), Err(error) if error.raw_os_error() != Some(libc::EAGAIN))
        && set_lease(file, libc::F_UNLCK).is_ok()
}

fn set_lease(file: &File, kind: libc::c_int) -> std::io::Result<()> {
    ignore_lease_breaks();
    // SAFETY: F_SETLEASE takes an open descriptor and a plain integer.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, kind) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

/// A lease that somebody breaks sends SIGIO, which would end the process.
fn ignore_lease_breaks() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        // SAFETY: SIG_IGN is a valid disposition and no handler of ours exists for SIGIO.
        unsafe { libc::signal(libc::SIGIO, libc::SIG_IGN) };
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::OpenOptions;

    #[test]
    fn a_writer_or_a_writable_mapping_refuses_the_lease_until_it_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let writer = File::create(&path).unwrap();
        writer.set_len(4096).unwrap();
        let reader = File::open(&path).unwrap();
        assert!(!is_quiet(&reader, &path).unwrap());
        drop(writer);
        assert!(is_quiet(&reader, &path).unwrap());

        let both = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        // SAFETY: a fresh mapping of an open file, unmapped below with the same length.
        let map = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                4096,
                rustix::mm::ProtFlags::WRITE,
                rustix::mm::MapFlags::SHARED,
                &both,
                0,
            )
        }
        .unwrap();
        drop(both);
        assert!(!is_quiet(&reader, &path).unwrap(), "a mapping outlives close");
        // SAFETY: the mapping made above, not used again.
        unsafe { rustix::mm::munmap(map, 4096) }.unwrap();
        assert!(is_quiet(&reader, &path).unwrap());
    }
}
