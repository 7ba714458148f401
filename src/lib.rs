//! ckptfs: a filesystem for machine-learning checkpoints.
//!
//! The modules below are in layer order: each imports only from those above it in this list.

pub mod base;

pub mod codec;
pub mod content;

pub mod catalog;
pub mod journal;
pub mod pack;

pub mod meta;
