//! The seam between the catalog and the engine that keeps it.
//!
//! Whatever implements it passes the suite in `conformance.rs`; nothing above knows which one it is.

use crate::base::Result;

/// One change: a key and its new value, or `None` to delete it.
pub type Change<'a> = (&'a [u8], Option<&'a [u8]>);

/// A key and its value.
pub type Pair = (Vec<u8>, Vec<u8>);

/// An ordered map of byte strings that knows which journal position it has applied.
pub trait Store: Send + Sync {
    /// The value of `key`. [`Error::Damaged`](crate::base::Error::Damaged) when what is stored is not what was written.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>>;

    /// Up to `limit` entries whose key begins with `prefix` and is above `after`, in the order of the keys.
    fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Pair>>;

    /// Applies all changes or none, in order (a later change of a key wins), together with the new
    /// `position` if there is one. Not durable before [`Store::flush`].
    fn apply(&self, changes: &[Change<'_>], position: Option<u64>) -> Result<()>;

    /// The journal position that was applied last; `None` when the contents are not complete.
    fn position(&self) -> Result<Option<u64>>;

    /// Makes durable what was applied.
    fn flush(&self) -> Result<()>;

    /// Bytes on the disk.
    fn disk_bytes(&self) -> Result<u64>;
}
