//! Versions of checkpoints: what names and last acts of writers say, which directory a save belongs to, who wrote it, what
//! is recorded of it, and how its tree is read.
//!
//! All but `provenance` and `trees` are pure functions of names, texts and bytes, and total: any bytes in, a value out.
//! `provenance` (with `git`, `git_tree` and `reach`) reads the writer's process and its work tree, and never a ckptfs
//! mount; `trees` reads packs.

pub mod chosen;
mod git;
mod git_index;
mod git_tree;
mod glob;
pub mod import;
pub mod marker;
pub mod names;
pub mod provenance;
mod reach;
pub mod record;
pub mod runs;
mod scan;
mod script;
pub mod series;
mod sha1;
mod temporary;
pub mod trees;
mod words;
