//! ckptfs: a filesystem for machine-learning checkpoints.
//!
//! The modules below are in layer order: each imports only from those above it in this list.

pub mod base;

pub mod codec;
pub mod content;
pub mod formats;

pub mod catalog;
pub mod journal;
pub mod pack;

pub mod meta;

pub mod hot;
pub mod namespace;
pub mod retention;
pub mod seal;
pub mod version;

pub mod check;
pub mod gc;
pub mod inspect;
pub mod options;

pub mod engine;

pub mod command;

pub mod cli;
pub mod control;
pub mod fuse;

pub mod serve;
