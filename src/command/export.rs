//! `export`: a version as a stream, for the side that writes it.
//!
//! Whoever asks writes, not the daemon: files get to where the caller may write, sees the target, and has room.

use serde::{Deserialize, Serialize};

use super::{Target, select};
use crate::base::Result;
use crate::engine::Engine;
use crate::engine::history::export::Sink;

/// What is to be handed out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// The run, and what of it.
    pub at: Target,
    /// The version; `None` where the path names it.
    pub version: Option<String>,
    /// Only these paths, below what `at` names; none = all.
    pub only: Vec<String>,
}

/// What was handed out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exported {
    /// The run's path.
    pub run: String,
    /// The version's number.
    pub number: u32,
    /// Regular files, each name counted.
    pub files: u64,
    /// Their bytes, hard links counted once.
    pub bytes: u64,
    /// Paths below the run that are damaged and were left out.
    pub damaged: Vec<String>,
}

/// Hands what `export` names to `sink`.
pub fn export(engine: &Engine, export: &Export, sink: &mut dyn Sink) -> Result<Exported> {
    let run = select::part(engine, &export.at)?;
    let number = run.number(engine, export.version.clone())?;
    let chosen = run.chosen(&export.only)?;
    let done = engine
        .export(run.id, number, &chosen, sink)
        .map_err(|error| select::gone(error, number, &run.path))?;
    Ok(Exported { run: run.path, number, files: done.files, bytes: done.bytes, damaged: done.damaged })
}
