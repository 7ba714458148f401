//! Packs of blobs and the chunk index over them.
//!
//! Order: a pack is durable under its final name before the index knows it, and the index knows it before anybody may
//! name its blobs. The index is only ever an index: what it lacks is read from the packs.

pub mod batch;
pub mod buffers;
pub mod chunk_index;
pub mod collect;
pub mod deltas;
mod direct;
pub mod format;
pub mod index;
mod index_sums;
mod index_upkeep;
mod index_write;
mod merge;
pub mod reader;
pub mod scan;
pub mod store;
mod uses;
pub mod verify;
pub mod writer;

pub use batch::{Committed, PackBatch, Put};
pub use buffers::Buffer;
pub use collect::{Blob, Collection};
pub use deltas::Deltas;
pub use format::{Kind, PackEntry};
pub use index_sums::Sums;
pub use store::{PackStats, PackStore};
pub use uses::Held;
pub use verify::Verified;
