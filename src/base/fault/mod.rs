//! Named crash points and failing syncs, for tests: all of it is empty in release builds.
//!
//! Code says where it is ([`reached`]) and what it makes durable (`base/durable.rs` says that). Who listens decides what
//! happens there: a test's [`Observer`], or in a daemon under test the plan of `CKPTFS_FAULT` ([`arm`]).

mod points;
pub use points::Point;

/// What is made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Sync {
    /// A file's bytes and size (fdatasync).
    Data,
    /// A file's bytes and metadata (fsync).
    All,
    /// The entries of a directory (fsync).
    Dir,
    /// Everything on a filesystem (syncfs).
    Filesystem,
}

#[cfg(debug_assertions)]
mod plan;
#[cfg(debug_assertions)]
mod watch;
#[cfg(debug_assertions)]
pub use plan::arm;
#[cfg(debug_assertions)]
pub use watch::{Observer, observe, reached, synced, syncing};

#[cfg(not(debug_assertions))]
mod off {
    //! A release build: nothing listens, and nothing is left of the calls.

    use std::fs::File;
    use std::path::Path;

    use super::{Point, Sync};

    /// A crash point: nothing happens there.
    #[inline(always)]
    pub fn reached(_: Point) {}

    /// Before a sync: it goes on.
    #[inline(always)]
    pub fn syncing(_: Sync, _: &Path) -> std::io::Result<()> {
        Ok(())
    }

    /// After a sync.
    #[inline(always)]
    pub fn synced(_: Sync, _: &File, _: &Path) {}

    /// `CKPTFS_FAULT` means nothing here.
    #[inline(always)]
    pub fn arm() -> crate::base::Result<()> {
        Ok(())
    }
}
#[cfg(not(debug_assertions))]
pub use off::{arm, reached, synced, syncing};
