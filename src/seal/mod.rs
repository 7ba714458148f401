//! Content between hot files and chunks: written in the background, read on demand, filled back into plain files.

pub mod compare;
pub mod hydrate;
pub mod queue;
pub mod read;
pub mod read_ahead;
pub mod stored;
pub mod write;

#[cfg(test)]
mod border_tests;
