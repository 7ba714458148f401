//! Reading what the superblock tells how to read: addresses and lengths of a width that each file chooses.
//!
//! All work is paid from one budget of bytes, so that no file costs more than that, however its structures lead to each
//! other.

use std::collections::HashSet;

use crate::base::Result;
use crate::base::bytes::Cursor;
use crate::formats::Source;
use crate::formats::read;

/// What is read of the structures of one file and kept of names, in bytes.
const BUDGET: usize = 64 << 20;
/// What each read costs at least, in bytes.
const READ_COST: usize = 256;

/// The file behind its superblock.
pub(super) struct File<'a> {
    source: &'a dyn Source,
    /// Where address 0 lies.
    base: u64,
    /// Bytes of an address and of a length.
    widths: (usize, usize),
    budget: usize,
    seen: HashSet<u64>,
}

impl<'a> File<'a> {
    /// A file whose address 0 lies at `base`, with addresses and lengths of so many bytes.
    pub(super) fn new(source: &'a dyn Source, base: u64, widths: (usize, usize)) -> Self {
        File { source, base, widths, budget: BUDGET, seen: HashSet::new() }
    }

    /// Up to `len` bytes from `address` on; none when the budget is spent.
    pub(super) fn read(&mut self, address: u64, len: usize) -> Result<Vec<u8>> {
        match self.base.checked_add(address) {
            Some(at) if self.pay(len.max(READ_COST)) => read::at_most(self.source, at, len),
            _ => Ok(Vec::new()),
        }
    }

    /// Takes `bytes` from the budget; false when it is spent.
    pub(super) fn pay(&mut self, bytes: usize) -> bool {
        self.budget = self.budget.saturating_sub(bytes);
        self.budget > 0
    }

    /// Whether the structure at `address` is met for the first time: no structure is read twice.
    pub(super) fn is_new(&mut self, address: u64) -> bool {
        self.seen.insert(address)
    }

    /// Where the bytes at `address` lie in the file.
    pub(super) fn place(&self, address: u64) -> Option<u64> {
        self.base.checked_add(address)
    }

    /// The next address; `None` also for the one that says that there is nothing.
    pub(super) fn address(&self, cursor: &mut Cursor<'_>) -> Option<u64> {
        let nothing = u64::MAX >> (64 - 8 * self.widths.0.clamp(1, 8));
        number(cursor, self.widths.0).filter(|address| *address != nothing)
    }

    /// The next length.
    pub(super) fn length(&self, cursor: &mut Cursor<'_>) -> Option<u64> {
        number(cursor, self.widths.1)
    }

    /// Bytes of an address.
    pub(super) fn address_bytes(&self) -> usize {
        self.widths.0
    }

    /// Bytes of a length.
    pub(super) fn length_bytes(&self) -> usize {
        self.widths.1
    }
}

/// The next number of `bytes` bytes, 1 to 8.
pub(super) fn number(cursor: &mut Cursor<'_>, bytes: usize) -> Option<u64> {
    let mut wide = [0; 8];
    wide.get_mut(..bytes)?.copy_from_slice(cursor.take(bytes)?);
    Some(u64::from_le_bytes(wide))
}
