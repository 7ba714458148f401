//! Where the bytes of a store are, and what saved the rest: by version, by run, and for the store as a whole.
//!
//! Order: roots (versions, files) are listed, then packs, so that every root's blobs are in these packs; the footers of
//! the packs make a table of blobs; the roots are walked group by group, which marks who refers to which blob; bases are
//! added; the table is summed up. Nothing is decoded but lists of chunks and trees, and nothing is changed.
//!
//! Invariant: the figures of [`Savings`] add up to the bytes of the packs, whatever the packs hold.

pub mod blobs;
pub mod savings;
pub mod walk;

pub use blobs::Blobs;
pub use savings::{Savings, Share};
pub use walk::{Sum, Walk};
