//! `diff`: what differs between two versions, of one run or of two.

use serde::{Deserialize, Serialize};

use super::Pick;
use super::answer::Answer;
use super::select::{self, Found};
use crate::base::Result;
use crate::base::clock::rfc3339;
use crate::base::monitor::Monitor;
use crate::engine::Engine;
use crate::engine::history::inside::Compared;
use crate::version::record::Version;

/// One of two versions that were compared.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Side {
    /// The run's path.
    pub run: String,
    /// The version's number.
    pub number: u32,
    /// Its time.
    pub utc: String,
    /// Its training step.
    pub step: Option<u64>,
}

/// What differs between two versions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Diff {
    /// The earlier one, as it was asked for.
    pub before: Side,
    /// The later one.
    pub after: Side,
    /// What differs.
    #[serde(flatten)]
    pub compared: Compared,
}

pub(super) fn diff(
    engine: &Engine,
    (before, after): (Pick, Pick),
    only: &[String],
    values: bool,
    monitor: &dyn Monitor,
) -> Result<Answer> {
    let find = |Pick { at, version }: Pick| -> Result<(Found, u32)> {
        let run = select::run(engine, &at)?;
        let number = run.number(engine, version)?;
        Ok((run, number))
    };
    let ((one, from), (other, to)) = (find(before)?, find(after)?);
    let (old, new, compared) =
        engine.compare_versions((one.id, from), (other.id, to), only, values, monitor)?;
    let side = |run: Found, version: Version| Side {
        run: run.path,
        number: version.number,
        utc: rfc3339(version.moment()),
        step: version.step,
    };
    Ok(Answer::Diff(Box::new(Diff { before: side(one, old), after: side(other, new), compared })))
}
