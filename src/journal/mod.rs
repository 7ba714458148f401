//! The journal: the append-only truth about names.
//!
//! Order: a record is written with one write(2) before its append returns (a killed process loses nothing),
//! it is durable once [`Journal::sync`] returned a seq at or beyond its own (a power cut loses nothing
//! either). An export of the key space is durable before the segments that it replaces are deleted, and the
//! two newest exports are kept, so that any one of them may be lost.

pub mod export;
pub mod record;
pub mod remains;
pub mod scan;
pub mod segment;
mod spare;
#[cfg(test)]
mod tests;
mod writer;

pub use record::{Body, BootId, Op, Record};
pub use scan::{Note, Scan, scan};
pub use writer::Journal;

use std::path::Path;

use crate::base::{Error, IoContext, Result};

/// The boot that the machine is in, as the kernel tells it.
pub fn current_boot() -> Result<BootId> {
    let path = Path::new("/proc/sys/kernel/random/boot_id");
    let text = std::fs::read_to_string(path).context("read", path)?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let number = u128::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 32);
    number.map(u128::to_be_bytes).ok_or_else(|| Error::damaged(path, "boot id"))
}
