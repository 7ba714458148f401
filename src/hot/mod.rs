//! Hot files: the content of one inode as one plain file.
//!
//! Invariant: a hot file's number is never used twice, so a path names the same bytes for ever or
//! nothing. A hot file is deleted only when the record that names it is durably gone (see `grave`).

pub mod dir;
pub mod grave;
pub mod lease;
pub mod sqlite;

pub use dir::{HotAttr, HotDir};
