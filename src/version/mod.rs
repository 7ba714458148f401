//! Versions of checkpoints: what names and last acts of writers say, and which directory a save belongs to.
//!
//! Pure functions of names and texts, and total: any bytes in, a value out.

mod glob;
pub mod marker;
pub mod names;
pub mod runs;
mod scan;
mod temporary;
mod words;
