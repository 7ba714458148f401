//! Garbage collection: what is in use, what is to be done about the rest, and doing it.
//!
//! Order: a collection begins; what is in use is marked, and the bases of what is stored as deltas; every record
//! that the mark has seen is made durable (the caller's part); packs are surveyed and a plan is made; the packs that go are doomed, and the notes of batches are read;
//! live blobs are copied and durable; only then are packs removed. Stopped or killed at any step, nothing in use is lost,
//! and the next collection finds what is left over.
//!
//! What is damaged is left where it is: a pack with a live blob that does not verify, or with a root that cannot be read
//! (and so with most of what that root names, which was written beside it), stays whole; all other packs go on.

#[cfg(test)]
mod delta_tests;
pub mod mark;
pub mod plan;
pub mod survey;
pub mod sweep;

pub use mark::{Live, Mark, Marked, Owner};
pub use plan::{Effort, PackUse, Plan, plan};
pub use survey::{Survey, survey};
pub use sweep::{Swept, sweep};

use crate::base::Result;

/// Told how many bytes were read or written just now; it waits to hold the rate, and its error ends the collection.
pub type Pace<'a> = dyn Fn(u64) -> Result<()> + Sync + 'a;
