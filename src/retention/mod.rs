//! Which versions of a run stay and which go. Pure: versions, a policy and the time in, a plan with reasons out.
//!
//! Rules are OR-ed: a version stays if any rule keeps it, and nothing but [`plan`] decides. The newest good version, tags,
//! pins and what somebody has open stay under every policy, under pressure too. Order of use: make the newer version
//! durable, ask for a plan, record what is now kept for ever, then remove what goes. Planning again at the same time
//! then removes nothing more.
//!
//! A clock that goes backwards is clamped here: a version counts as no older than those before it. The caller records
//! versions with times that never decrease; only then do times stay the same when earlier versions have gone.

mod best;
mod buckets;
mod deleted;
mod duration;
mod every_n_hours;
mod overrides;
mod plan;
mod policy;
mod pressure;
mod rules;
mod settings;
mod values;
mod verdict;

#[cfg(test)]
mod calendar_tests;
#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod pressure_tests;
#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod settings_tests;
#[cfg(test)]
mod tensorflow_tests;

pub use best::best;
pub use deleted::{plan_deleted, run_is_over};
pub use duration::format as duration_text;
pub use overrides::{DEFAULT, Overrides};
pub use plan::{Candidate, plan, plan_since};
pub use policy::{Mode, Policy};
pub use pressure::{Missed, pressure_order, pressure_ranks};
pub use verdict::{Reason, Verdict};
