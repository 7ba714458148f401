//! `show`: what is inside a version.

use serde::{Deserialize, Serialize};

use super::answer::Answer;
use super::{Pick, select};
use crate::base::Result;
use crate::base::clock::rfc3339;
use crate::base::monitor::Monitor;
use crate::engine::Engine;
use crate::engine::history::inside::FileInside;
use crate::version::record::{Version, path_text};

/// A version and what is inside.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shown {
    /// The run's path.
    pub run: String,
    /// All that is recorded of the version.
    pub version: Version,
    /// Its time.
    pub utc: String,
    /// Its files, in the order of their paths.
    pub inside: Vec<FileInside>,
}

pub(super) fn show(
    engine: &Engine,
    of: Pick,
    mut only: Vec<String>,
    tensors: bool,
    monitor: &dyn Monitor,
) -> Result<Answer> {
    let run = select::run(engine, &of.at)?;
    let number = run.number(engine, of.version)?;
    if only.is_empty() && !run.below.is_empty() {
        only.push(path_text(&run.below.join(&b'/')));
    }
    let (version, inside) = engine.look_inside(run.id, number, &only, tensors, monitor)?;
    Ok(Answer::Shown(Box::new(Shown { run: run.path, utc: rfc3339(version.moment()), version, inside })))
}
