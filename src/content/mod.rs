//! What file bytes are made of: hashes, cuts, and the list of chunks of a content. Pure: no files, no clock.

pub mod cut;
pub mod edit;
pub mod hash;
pub mod manifest;
pub mod pair;
pub mod ranges;
pub mod tree;
