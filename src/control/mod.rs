//! The daemon's socket: what `status`, `unmount` and the commands on history ask a running daemon, and how it answers.
//!
//! One JSON object a line, both ways. Only the daemon's user and root are answered. Lines, connections and waits are
//! bounded, so nothing that a client sends or leaves unsent can hold the daemon.

mod advice;
pub mod client;
#[cfg(test)]
mod client_tests;
pub mod protocol;
pub mod server;
pub mod status;
pub mod stream;

pub use advice::advice;
pub use protocol::{Handler, Leave};
pub use status::Status;

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use crate::base::{IoContext, Result};

/// The store's folder, open, and the path of the socket through it: a socket address holds only 107 bytes, a store's
/// path may be longer. The path is good while the file is open.
fn socket_path(store: &Path) -> Result<(File, PathBuf)> {
    let folder = File::open(store).context("open", store)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/control.sock", folder.as_raw_fd()));
    Ok((folder, path))
}
