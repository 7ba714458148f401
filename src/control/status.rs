//! What a daemon says of itself. The JSON names are stable: scripts read them, docs/cli.md lists them.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The state of one mounted store. Byte counts are bytes, times are RFC 3339 UTC.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// The daemon's version.
    pub version: String,
    /// The daemon's process id.
    pub pid: u32,
    /// The host it runs on.
    pub host: String,
    /// The store's folder.
    pub store: String,
    /// Where it is mounted.
    pub mountpoint: String,
    /// When it was mounted.
    pub since: String,
    /// `ok`, or `read-only: ` and why.
    pub health: String,
    /// Whether files are handed to the kernel.
    pub passthrough: PassthroughStatus,
    /// FUSE requests since the mount, by kind; a kind that never came is missing.
    pub requests: BTreeMap<String, u64>,
    /// Background work.
    pub sealing: Sealing,
    /// Whether older versions are being encoded anew, or are about to be: `idle` or `working`.
    pub reencoding: Reencoding,
    /// Stored bytes of chunks that were encoded anew since the mount, as they were before.
    pub reencoded_bytes: u64,
    /// How many bytes fewer these take now; below zero when what had lost its base had to become whole again.
    pub reencoded_saved_bytes: i64,
    /// Looking for damage.
    pub scrub: ScrubStatus,
    /// Hot files.
    pub hot_files: u64,
    /// Bytes of hot files.
    pub hot_bytes: u64,
    /// Bytes of all files as their readers see them.
    pub logical_bytes: u64,
    /// Bytes of packs.
    pub stored_bytes: u64,
    /// Sealed logical bytes to stored bytes; null while nothing is stored.
    pub ratio: Option<f64>,
    /// Different chunks stored.
    pub chunks: u64,
    /// Bytes of packs that only history holds, as the last reclaim found it.
    pub history_bytes: u64,
    /// Versions of all runs.
    pub versions: u64,
    /// Bytes of their files, each counted in every version that has it.
    pub versions_bytes: u64,
    /// What is done about a disk that runs full.
    pub pressure: PressureStatus,
    /// Bytes left on the store's disk.
    pub free_bytes: u64,
    /// The newest errors, newest last.
    pub last_errors: Vec<LastError>,
    /// What to do, most urgent first; nothing when all is well.
    pub advice: Vec<String>,
}

/// Looking for damage in packs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScrubStatus {
    /// Since when the pass under way goes; null between two passes.
    pub since: Option<String>,
    /// Bytes that it, or the last one, has looked at.
    pub bytes: u64,
    /// Damaged places that it has found so far.
    pub damaged: u64,
    /// When the last whole pass ended; null before the first.
    pub finished: Option<String>,
    /// Damaged places that the last whole pass has found.
    pub last_damaged: u64,
}

/// Whether files are handed to the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PassthroughStatus {
    /// It is on.
    pub on: bool,
    /// Why it is on or off, with the cure.
    pub why: String,
}

/// What is done about a disk that runs full.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PressureStatus {
    /// Less than `min_free` is free on the store's disk.
    pub active: bool,
    /// When that last began; null if it never did.
    pub since: Option<String>,
    /// Bytes that are kept free.
    pub min_free: u64,
    /// Versions that had to go for it since the mount.
    pub versions: u64,
    /// Bytes that it has given back since the mount.
    pub freed_bytes: u64,
    /// What it did last.
    pub what_it_did: Option<String>,
    /// Why it does no more, while it is active.
    pub gave_up_because: Option<String>,
}

/// Whether older versions are being encoded anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reencoding {
    /// Nothing is left to do.
    #[default]
    Idle,
    /// A pass is due or under way.
    Working,
}

/// Background work since the mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sealing {
    /// Files that wait to be sealed.
    pub queued_files: u64,
    /// Their bytes.
    pub queued_bytes: u64,
    /// Files that are being sealed now.
    pub in_progress: u64,
    /// Files sealed since the mount.
    pub sealed_files: u64,
    /// Their bytes.
    pub sealed_bytes: u64,
    /// Seconds that the oldest waiting file has waited.
    pub lag_seconds: u64,
    /// Bytes that one thread seals in a second of work; null before the first.
    pub bytes_per_second: Option<u64>,
}

/// One error that an operator should know of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LastError {
    /// When.
    pub time: String,
    /// What, on what.
    pub what: String,
}

/// `path` for a JSON text; what is not UTF-8 is replaced.
pub fn path_text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_json_of_an_older_daemon_is_read_and_names_are_stable() {
        let old: Status = serde_json::from_str(r#"{"pid": 7, "health": "ok", "unknown": [1]}"#).unwrap();
        assert_eq!((old.pid, old.health.as_str(), old.ratio), (7, "ok", None));
        let json = serde_json::to_value(Status::default()).unwrap();
        assert_eq!(json["sealing"]["lag_seconds"], 0);
        assert_eq!(json["passthrough"]["on"], false);
        assert_eq!(json["pressure"]["gave_up_because"], serde_json::Value::Null);
        assert_eq!(json.as_object().unwrap().len(), 27);
        assert_eq!(json["reencoding"], "idle");
    }
}
