//! One error type for the whole program.
//!
//! Rules: an error says what was attempted and on what; the errno that a caller of the mounted
//! filesystem sees is chosen in one exhaustive match, here; a library function never prints.

use std::io;
use std::path::{Path, PathBuf};

/// `Result` with the program's [`enum@Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong below the surfaces.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// POSIX's plain answer to a valid question (`ENOENT`, `EEXIST`, `ENOTEMPTY` ...): nothing is broken.
    #[error("{}", io::Error::from_raw_os_error(*.0))]
    Errno(i32),
    /// A system call on a file of the store failed.
    #[error("cannot {what} {}: {source}", path.display())]
    Io {
        /// The verb: "open", "fsync" ...
        what: &'static str,
        /// The file or directory that it was done to.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Stored bytes are not what was written: never served, always reported.
    #[error("damaged {what} in {}", path.display())]
    Damaged {
        /// What is wrong, with offsets where known.
        what: String,
        /// The file of the store that holds it.
        path: PathBuf,
    },
    /// The request cannot be met; the text says why and what to do next.
    #[error("{0}")]
    Refused(String),
    /// An earlier failure stopped all writing; the text is that failure.
    #[error("the store stopped writing after a failure: {0}")]
    Poisoned(String),
}

impl Error {
    /// The errno that a system call on the mount returns for this error.
    pub fn errno(&self) -> i32 {
        match self {
            Error::Errno(errno) => *errno,
            Error::Io { source, .. } => match source.raw_os_error() {
                Some(full @ (libc::ENOSPC | libc::EDQUOT | libc::EMFILE | libc::ENFILE | libc::ENOMEM)) => {
                    full
                }
                Some(answer) if is_answer(answer) => answer,
                _ => libc::EIO,
            },
            Error::Damaged { .. } => libc::EIO,
            Error::Refused(_) => libc::EPERM,
            Error::Poisoned(_) => libc::EROFS,
        }
    }

    /// Whether an operator should hear of it: true for everything but plain POSIX answers.
    pub fn is_fault(&self) -> bool {
        !matches!(self, Error::Errno(_))
    }

    /// Whether it is a sync that failed: what was written before it may be lost, and a second try would prove nothing.
    pub fn is_failed_sync(&self) -> bool {
        matches!(self, Error::Io { what: "fsync" | "fdatasync" | "syncfs", .. })
    }

    /// A [`Error::Damaged`] for `path`.
    pub fn damaged(path: &Path, what: impl Into<String>) -> Self {
        Error::Damaged { what: what.into(), path: path.to_owned() }
    }
}

/// Adds the verb and the path to an [`io::Error`].
pub trait IoContext<T> {
    /// Turns an I/O failure into [`Error::Io`] with the verb `what` and the file `path`.
    fn context(self, what: &'static str, path: &Path) -> Result<T>;

    /// The same of a system call that hands a program's own request on: that the disk below does not do it, or not at this
    /// size, is the plain answer to the program, and nothing is broken.
    fn context_of_request(self, what: &'static str, path: &Path) -> Result<T>;
}

/// Whether the disk below says by `errno` what it does not do, and not that something failed.
fn is_answer(errno: i32) -> bool {
    matches!(errno, libc::EOPNOTSUPP | libc::ENXIO | libc::EINVAL | libc::EFBIG)
}

impl<T, E: Into<io::Error>> IoContext<T> for std::result::Result<T, E> {
    fn context(self, what: &'static str, path: &Path) -> Result<T> {
        self.map_err(|source| Error::Io { what, path: path.to_owned(), source: source.into() })
    }

    fn context_of_request(self, what: &'static str, path: &Path) -> Result<T> {
        self.map_err(Into::into).map_err(|source: io::Error| match source.raw_os_error() {
            Some(errno) if is_answer(errno) => Error::Errno(errno),
            _ => Error::Io { what, path: path.to_owned(), source },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_reaches_the_caller_as_enospc_and_other_faults_as_eio() {
        let at = |errno| Error::Io {
            what: "write",
            path: "/store/x".into(),
            source: io::Error::from_raw_os_error(errno),
        };
        assert_eq!(at(libc::ENOSPC).errno(), libc::ENOSPC);
        assert_eq!(at(libc::EACCES).errno(), libc::EIO);
        assert_eq!(Error::Errno(libc::ENOENT).errno(), libc::ENOENT);
        assert!(at(libc::EIO).to_string().contains("/store/x"));
    }

    #[test]
    fn what_the_disk_below_does_not_do_is_no_fault_when_a_program_asks_for_it() {
        let asked = |errno| {
            let failed: io::Result<()> = Err(io::Error::from_raw_os_error(errno));
            failed.context_of_request("fallocate", "/store/x".as_ref()).unwrap_err()
        };
        assert!(!asked(libc::EFBIG).is_fault() && asked(libc::EFBIG).errno() == libc::EFBIG);
        assert!(asked(libc::ENOSPC).is_fault() && asked(libc::ENOSPC).errno() == libc::ENOSPC);
    }
}
