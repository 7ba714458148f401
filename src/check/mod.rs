//! Whether all that a store holds agrees: packs, what contents and versions need of them, names.
//!
//! Invariant: nothing is changed here. What is wrong is told as a [`Finding`] and passed over, so that one damaged place
//! hides no other; only what is no damage (a store that is being closed) ends a check.
//!
//! Order: roots (contents, trees) are listed before packs, by the caller, so that a root's blobs are in packs that are
//! looked at; packs make a table of blobs that are there and sound; roots are walked against that table; names are held
//! against each other.

pub mod blobs;
pub mod finding;
pub mod names;
pub mod roots;

pub use blobs::Blobs;
pub use finding::{Area, Finding, Findings};
pub use names::Names;
pub use roots::{Lost, Roots};
