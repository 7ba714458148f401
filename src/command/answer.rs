//! What commands answer. The names of fields are stable: scripts read them, the help texts list them.
//!
//! Paths are below the mount, of the root `/`; byte counts are bytes; times are RFC 3339 UTC unless said otherwise.

use serde::{Deserialize, Serialize};

use super::diff::Diff;
use super::report::Report;
use super::show::Shown;
use crate::engine::check::Checked;
use crate::engine::inspect::Disk;
use crate::inspect::{Savings, Share};
use crate::version::record::Version;

/// The answer to a [`Command`](super::Command).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Versions of a run.
    Log(Log),
    /// What is inside a version.
    Shown(Box<Shown>),
    /// What differs between two versions.
    Diff(Box<Diff>),
    /// A version was made or changed.
    Changed(Box<Changed>),
    /// A version was brought back, or would be.
    Restored(Box<RestoredShown>),
    /// A part of a checkpoint has come in.
    Imported(Imported),
    /// Every run.
    Runs(Vec<RunInfo>),
    /// A run was made or changed.
    Run(RunInfo),
    /// The history of a run was ended.
    Purged(PurgedRun),
    /// A policy.
    Policy(PolicyShown),
    /// What the policy says of versions.
    Plan(Vec<PlannedRun>),
    /// What a check has found.
    Checked(Box<Checked>),
    /// The history, for a page about it.
    Report(Box<Report>),
    /// Where the bytes are.
    Stats(Box<StatsShown>),
}

/// Versions of a run, newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Log {
    /// The run's path.
    pub run: String,
    /// The metric that its policy goes by.
    pub monitor: Option<String>,
    /// The versions.
    pub versions: Vec<Logged>,
}

/// One version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Logged {
    /// All that is recorded of it.
    #[serde(flatten)]
    pub version: Version,
    /// Its time.
    pub utc: String,
    /// Every rule that keeps it; empty when it goes.
    pub kept_by: Vec<String>,
    /// Why it goes or has gone; empty when it stays.
    pub goes: String,
}

/// A version that was made or changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Changed {
    /// The run's path.
    pub run: String,
    /// The version as it is now.
    #[serde(flatten)]
    pub version: Version,
    /// Its time.
    pub utc: String,
    /// How many seconds a version that was removed by hand can be taken back.
    pub undelete_seconds: u64,
}

/// A version that was brought back, or would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoredShown {
    /// The run's path.
    pub run: String,
    /// The version's number.
    pub number: u32,
    /// The new directory; `None` = in place.
    pub to: Option<String>,
    /// Nothing was done.
    pub dry_run: bool,
    /// Bytes of the files that come back.
    pub bytes: u64,
    /// The version that holds the state before.
    pub before: Option<u32>,
    /// Every change.
    pub changes: Vec<ChangeShown>,
    /// Paths whose bytes are damaged: nothing was changed.
    pub damaged: Vec<String>,
}

/// One thing that changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeShown {
    /// Its path, below the run or the new directory.
    pub path: String,
    /// `create`, `replace`, `remove` or `attributes`.
    pub what: String,
    /// Bytes of the file that comes, or of the one that goes.
    pub bytes: u64,
}

/// A checkpoint that has come in from outside, or a part of one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    /// The run's path.
    pub run: String,
    /// Files that came in.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Paths of what cannot be taken in.
    pub skipped: Vec<String>,
    /// The version that was made; `None` where it was in one already.
    pub version: Option<u32>,
    /// Its time.
    pub utc: Option<String>,
    /// Its step.
    pub step: Option<u64>,
    /// It is complete and valid.
    pub good: bool,
    /// Why not.
    pub why: Vec<String>,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// Its path; of a deleted one its last.
    pub path: String,
    /// How many versions it has.
    pub versions: u64,
    /// The number of the newest.
    pub newest: Option<u32>,
    /// The time of the newest.
    pub newest_utc: Option<String>,
    /// Bytes of the files in the newest.
    pub logical_bytes: u64,
    /// Bytes that its versions added to the packs when they were made.
    pub new_bytes: u64,
    /// Named by hand.
    pub by_hand: bool,
    /// No longer versioned.
    pub forgotten: bool,
    /// When its directory was deleted.
    pub deleted: Option<String>,
}

/// A run whose history was ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PurgedRun {
    /// The run's path.
    pub run: String,
    /// Numbers of the versions that go.
    pub gone: Vec<u32>,
    /// Numbers of the versions that stay, and why.
    pub kept: Vec<(u32, String)>,
}

/// Where the value of a setting comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Nobody has set it.
    Default,
    /// The mount's options.
    Mount,
    /// The run's own settings.
    Run,
}

/// One setting of a policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// Its name.
    pub name: String,
    /// Its value, as it can be set.
    pub value: String,
    /// Where that comes from.
    pub from: Source,
}

/// The policy that holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyShown {
    /// The run's path; `None` = for all runs without settings of their own.
    pub run: Option<String>,
    /// Every setting.
    pub settings: Vec<Setting>,
    /// Why the settings make no sense together; until they do, all versions are kept.
    pub wrong: Option<String>,
}

/// What the policy says of one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedRun {
    /// The run's path.
    pub run: String,
    /// Its versions, newest first.
    pub versions: Vec<Planned>,
    /// How many were removed now.
    pub removed: u64,
}

/// What becomes of one version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Planned {
    /// Its number.
    pub number: u32,
    /// Its time.
    pub utc: String,
    /// Whether it stays.
    pub stays: bool,
    /// Every rule that keeps it.
    pub kept_by: Vec<String>,
    /// Why it goes; empty when it stays.
    pub goes: String,
}

/// Where the bytes of a store are, and what saved the rest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatsShown {
    /// From the bytes of all files to those of the packs.
    pub saved: Savings,
    /// Bytes of files that are not sealed yet: they are hot only.
    pub hot_only_bytes: u64,
    /// What the disk holds.
    pub disk: Disk,
    /// The run whose versions are told of.
    pub run: Option<String>,
    /// Its versions, newest first.
    pub versions: Vec<VersionShare>,
    /// All runs, when no one was asked for.
    pub runs: Vec<RunShare>,
    /// Lists of chunks and trees that cannot be read; what they lead to is not counted.
    pub damaged: u64,
}

/// What one version has of the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionShare {
    /// Its number.
    pub number: u32,
    /// Its time.
    pub utc: String,
    /// It was removed, and is not reclaimed yet.
    pub removed: bool,
    /// Its bytes.
    #[serde(flatten)]
    pub share: Share,
}

/// What the versions of one run have of the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunShare {
    /// Its path; of a deleted one its last.
    pub path: String,
    /// How many versions it has, removed ones that are not reclaimed yet included.
    pub versions: u64,
    /// Its directory was deleted.
    pub deleted: bool,
    /// Its bytes.
    #[serde(flatten)]
    pub share: Share,
}
