//! The catalog: an ordered index over the journal, always rebuildable from it.
//!
//! Nothing depends on its durability alone: it holds the journal position that it has applied, written
//! with the last changes that lead there, and what is missing is replayed. What it returns is checked;
//! damage is an error for which the caller rebuilds it, never a wrong value.

#[cfg(test)]
mod conformance;
pub mod keys;
pub mod memory;
pub mod records;
pub mod sled;
pub mod store;

pub use memory::MemoryStore;
pub use sled::SledStore;
pub use store::{Change, Pair, Store};
