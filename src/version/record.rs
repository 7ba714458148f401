//! What the catalog holds of runs and versions, and a snapshot of what it was taken for.
//!
//! Values are a version byte and one JSON object: readable by people, open for more fields. Any bytes in: a record or
//! `None`. Numbers of versions only grow: a number is never given twice, whatever becomes of its version.

use std::collections::BTreeMap;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Serialize};

use super::provenance::Provenance;
use crate::base::clock::Time;
use crate::base::id::ChunkId;
use crate::base::name::is_path_down;
use crate::retention::Overrides;

/// The version of the values that are written.
const VERSION: u8 = 1;

/// The bytes of a record.
pub fn encode(record: &impl Serialize) -> Vec<u8> {
    let mut out = vec![VERSION];
    // Maps with text keys and plain values: they cannot fail to be written, and a record that did would not be read.
    out.extend(serde_json::to_vec(record).unwrap_or_default());
    out
}

/// The record in `bytes`; `None` if they are not one of this version.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    let (version, json) = bytes.split_first()?;
    // serde would read fields from a list too, by their order.
    if *version != VERSION || json.first() != Some(&b'{') {
        return None;
    }
    serde_json::from_slice(json).ok()
}

/// A directory with a history of its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Run {
    /// Its directory's inode; `None` once it is deleted.
    pub dir: Option<u64>,
    /// The path of the directory below the mount, without a leading slash, as [`path_text`] writes it; of a live run as
    /// it was at the last version.
    #[serde(deserialize_with = "path_down")]
    pub path: String,
    /// The number that its next version gets, from 1.
    pub next: u32,
    /// Named by hand.
    pub by_hand: bool,
    /// No longer versioned.
    pub forgotten: bool,
    /// A marker has committed directories of bare digits in it: such names are steps here.
    pub bare_steps: bool,
    /// When it was deleted, in seconds since 1970.
    pub deleted_at: Option<i64>,
    /// In what its policy differs from that of the mount.
    pub settings: Overrides,
    /// The time of the last version that the rule of every n hours has kept.
    pub kept_at: Option<i64>,
}

/// Where a version comes from that no save has made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Origin {
    /// A version of another run.
    Clone {
        /// The path of that run then.
        run: String,
        /// The number of the version.
        number: u32,
    },
    /// A checkpoint from outside of the mount.
    Import {
        /// Its path.
        source: String,
    },
}

/// Why a version is about to go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expired {
    /// When that was decided, in seconds since 1970.
    pub at: i64,
    /// By hand: it can be taken back for a while.
    pub by_hand: bool,
    /// In words.
    pub why: String,
}

/// An immutable tree of a run at one moment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Version {
    /// Its number in the run.
    pub number: u32,
    /// The moment, seconds since 1970 and nanoseconds.
    pub time: (i64, u32),
    /// What made it: the name of a marker, `quiet`, `overwrite`, `delete`, `snapshot`, `unmount`, `restore`, `clone`,
    /// `import`.
    pub trigger: String,
    /// The run's path at that moment.
    #[serde(deserialize_with = "path_down")]
    pub path: String,
    /// Nothing that belongs to it was still being written, or missing.
    pub complete: bool,
    /// Every new checkpoint file in it is whole, as far as its format tells.
    pub valid: bool,
    /// Why it is not complete or not valid.
    #[serde(default)]
    pub why: Vec<String>,
    /// The training step.
    #[serde(default)]
    pub step: Option<u64>,
    /// The epoch.
    #[serde(default)]
    pub epoch: Option<u64>,
    /// Metrics by name.
    #[serde(default)]
    pub metrics: BTreeMap<String, f64>,
    /// Regular files.
    pub files: u64,
    /// Their bytes.
    pub logical_bytes: u64,
    /// Bytes that it added to the packs.
    pub new_bytes: u64,
    /// The top of its tree.
    pub tree: ChunkId,
    /// The blob that describes it in the packs.
    #[serde(default)]
    pub about: Option<ChunkId>,
    /// Its tags.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Pinned by hand.
    #[serde(default)]
    pub pinned: bool,
    /// Kept for ever by the rule of every n hours.
    #[serde(default)]
    pub kept_for_ever: bool,
    /// Who wrote it.
    #[serde(default)]
    pub provenance: Option<Provenance>,
    /// Where it comes from, if no save has made it.
    #[serde(default)]
    pub origin: Option<Origin>,
    /// Set when it is about to go.
    #[serde(default)]
    pub expired: Option<Expired>,
}

impl Version {
    /// Complete and valid: one to resume from.
    pub fn is_good(&self) -> bool {
        self.complete && self.valid
    }

    /// The moment.
    pub fn moment(&self) -> Time {
        Time { secs: self.time.0, nanos: self.time.1 }
    }
}

/// What a snapshot was taken for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Pending {
    /// As in [`Version::trigger`].
    pub trigger: String,
    /// As in [`Version::time`].
    pub time: (i64, u32),
    /// The version gets this tag.
    pub tag: Option<String>,
    /// A version is made even if no checkpoint content is new.
    pub always: bool,
    /// The boot in which it was taken: in another one, bytes that were never synced may be gone.
    pub boot: String,
    /// Who wrote what it was taken for.
    pub provenance: Option<Provenance>,
    /// As in [`Version::origin`].
    pub origin: Option<Origin>,
    /// Bytes that were added to the packs for it before the moment.
    pub added: u64,
}

/// The text of a path that stays below the mount: what is restored by it, or looked up, cannot be elsewhere.
fn path_down<'de, D: serde::Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let text = String::deserialize(from)?;
    if is_path_down(&path_bytes(&text)) {
        Ok(text)
    } else {
        Err(D::Error::custom("not a path below the mount"))
    }
}

/// A path as text: what is not UTF-8 is written `\xNN`, and a backslash twice, so that it can be read back.
pub fn path_text(path: &[u8]) -> String {
    let mut text = String::with_capacity(path.len());
    for chunk in path.utf8_chunks() {
        text.push_str(&chunk.valid().replace('\\', "\\\\"));
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// The path that [`path_text`] has written; what is no escape stands for itself.
pub fn path_bytes(text: &str) -> Vec<u8> {
    let mut path = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        let (plain, escape) = rest.split_at(at);
        path.extend_from_slice(plain.as_bytes());
        let byte = escape.get(2..4).filter(|_| escape.starts_with("\\x"));
        match byte.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                path.push(byte);
                rest = escape.get(4..).unwrap_or_default();
            }
            None => {
                path.push(b'\\');
                let len = if escape.starts_with("\\\\") { 2 } else { 1 };
                rest = escape.get(len..).unwrap_or_default();
            }
        }
    }
    path.extend_from_slice(rest.as_bytes());
    path
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn records_are_read_back_and_older_ones_with_fewer_fields_too() {
        let run = Run { dir: Some(9), path: "a/b".into(), next: 4, ..Run::default() };
        assert_eq!(decode::<Run>(&encode(&run)), Some(run));
        assert_eq!(decode::<Run>(b"\x01{\"next\": 7}").unwrap().next, 7);
        for wrong in [
            &b""[..],
            b"\x01",
            b"\x02{}",
            b"\x01[]",
            b"\x01{\"next\": -1}",
            b"\x01{\"path\": \"a/../..\"}",
            b"\x01{\"path\": \"/etc\"}",
            b"\x01{\"path\": \"a\\u0000\"}",
        ] {
            assert_eq!(decode::<Run>(wrong), None);
        }
    }

    proptest! {
        #[test]
        fn any_metric_is_read_back_to_its_last_bit(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            if value.is_finite() {
                let metrics = BTreeMap::from([("loss".to_owned(), value)]);
                prop_assert_eq!(decode::<BTreeMap<String, f64>>(&encode(&metrics)), Some(metrics));
            }
        }

        #[test]
        fn any_path_is_read_back_from_its_text(path in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(path_bytes(&path_text(&path)), path);
        }
    }
}
