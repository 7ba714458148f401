//! What a check tells of one thing that is wrong.

use serde::{Deserialize, Serialize};

/// Findings that are kept one by one; of more only the number is told.
pub const FINDINGS_MAX: usize = 500;

/// Which part of the store is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Area {
    /// The folder itself.
    Folder,
    /// Segments of the journal.
    Journal,
    /// Exports of the key space.
    Export,
    /// The catalog.
    Catalog,
    /// Packs.
    Pack,
    /// The chunk index.
    Index,
    /// Names, inodes and what belongs to them.
    Names,
    /// Hot files.
    Hot,
    /// Bytes of files that are there now.
    File,
    /// Bytes of files of versions, and versions themselves.
    Version,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Where.
    pub area: Area,
    /// What, in one line, with the file of the store or the path below the mount.
    pub what: String,
    /// Bytes that cannot be read any more; 0 when nothing is lost.
    #[serde(default)]
    pub lost_bytes: u64,
    /// What a repair does about it; `None` when it can do nothing.
    #[serde(default)]
    pub repair: Option<String>,
}

/// All that is wrong, in bounded memory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// The first of them.
    pub list: Vec<Finding>,
    /// How many there are beyond these.
    #[serde(default)]
    pub more: u64,
}

impl Findings {
    /// Adds one of which nothing is lost.
    pub fn add(&mut self, area: Area, what: impl Into<String>, repair: Option<&str>) {
        self.push(Finding { area, what: what.into(), lost_bytes: 0, repair: repair.map(str::to_owned) });
    }

    /// Adds one.
    pub fn push(&mut self, finding: Finding) {
        if self.list.len() < FINDINGS_MAX { self.list.push(finding) } else { self.more += 1 }
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.list.len() as u64 + self.more
    }

    /// Keeps what `other` tells, too.
    pub fn keep_common(&mut self, other: &Findings) {
        self.list.retain(|finding| other.list.contains(finding));
        self.more = self.more.min(other.more);
    }

    /// Those of both.
    pub fn extend(&mut self, other: Findings) {
        self.more += other.more;
        other.list.into_iter().for_each(|finding| self.push(finding));
    }
}
