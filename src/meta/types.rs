//! What goes into and comes out of [`Meta`].
//!
//! Plain values: what they promise is written at their fields, what keeps the promise is elsewhere.

use std::time::Duration;

use super::Meta;
use crate::journal::{BootId, Op};

/// One change of the namespace: all of it or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// Keys with their new values (`None` deletes), in order; a later one of the same key wins.
    pub ops: Vec<Op>,
    /// Makes the batch tentative; what the caller needs to undo it or to make its data durable.
    pub note: Option<Vec<u8>>,
}

/// Bounds; the defaults are right outside tests.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes that a journal segment is preallocated with, 4 KiB to 256 MiB.
    pub segment_bytes: u64,
    /// Committed keys that wait for the catalog before a checkpoint begins; commits wait at four times that.
    pub overlay_entries: usize,
    /// The same in bytes.
    pub overlay_bytes: usize,
    /// The longest that a commit waits for a checkpoint.
    pub checkpoint_after: Duration,
    /// Journal bytes before an export is written (or the size of the last export, if that is more).
    pub export_after_bytes: u64,
    /// The boot that the machine is in; `None` asks the kernel.
    pub boot: Option<BootId>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            segment_bytes: 4 << 20,
            overlay_entries: 65_536,
            overlay_bytes: 16 << 20,
            checkpoint_after: Duration::from_secs(5),
            export_after_bytes: 64 << 20,
            boot: None,
        }
    }
}

/// An opened [`Meta`] and what was found.
pub struct Opened {
    /// Ready for use.
    pub meta: Meta,
    /// The machine was rebooted while the store was open, and nobody has called [`Meta::recovered`] since.
    pub rebooted: bool,
    /// The store was not closed before.
    pub unclean: bool,
    /// Tentatives (seq, note) from before a reboot that no barrier covers, oldest first. The caller undoes
    /// them, newest first, and then calls [`Meta::barrier`] with the last seq; until then each open hands
    /// them out again. They are among [`Meta::unsynced_notes`] too.
    pub pending: Vec<(u64, Vec<u8>)>,
}

/// Figures for `status`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetaStatus {
    /// The last seq committed.
    pub last_seq: u64,
    /// The last seq that survives a power cut.
    pub durable_seq: u64,
    /// Bytes of all journal segments, preallocated space included.
    pub journal_bytes: u64,
    /// fdatasyncs of the journal since it was opened.
    pub journal_syncs: u64,
    /// The seq up to which the catalog holds everything.
    pub catalog_position: u64,
    /// Bytes of the catalog.
    pub catalog_bytes: u64,
    /// The seq of the newest export; 0 when there is none.
    pub export_position: u64,
    /// Keys committed and not yet in the catalog.
    pub overlay_entries: usize,
    /// The failure after which nothing can be changed.
    pub poisoned: Option<String>,
    /// The catalog was found damaged and is rebuilt at the next open.
    pub needs_rebuild: bool,
}
