//! The last act of a save, as the writers perform it: which rename or close says that a checkpoint is complete.
//!
//! Any names and texts in, a value out. A marker is only what names say; where the file's text decides
//! ([`Marker::needs_text`]), a text that names nothing makes it no marker after all. What the text names must still be
//! looked for by the caller: a pointer to a directory that is not there commits nothing.

use super::names::{is_temporary, looks_like_checkpoint};
use super::scan::number;
use super::temporary::{is_temporary_dir, orbax_stem};

/// A name on Linux has at most so many bytes.
const NAME_BYTES_MAX: usize = 255;
/// Item directories of an Orbax step: each gets its own `commit_success.txt`, but the step's is the last.
const ORBAX_ITEMS: &[&[u8]] =
    &[b"default", b"state", b"params", b"metrics", b"metadata", b"items", b"model_params"];

/// Something that happened in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// An entry got a new name; names without their directories.
    Renamed {
        /// Its name before.
        from: &'a [u8],
        /// Its name now.
        to: &'a [u8],
        /// It is a directory.
        is_dir: bool,
    },
    /// The last writer closed the file.
    Closed {
        /// Its name.
        name: &'a [u8],
    },
}

/// Whose last act it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Marker {
    /// TensorFlow renames onto `checkpoint`.
    TfCheckpoint,
    /// Orbax renames a step's temporary directory.
    Orbax,
    /// Orbax writes `commit_success.txt` where directories cannot be renamed.
    OrbaxSuccess,
    /// PyTorch DCP renames onto `.metadata`.
    Dcp,
    /// DeepSpeed (and scripts like it) writes the tag into `latest`.
    DeepSpeed,
    /// Megatron writes the iteration into `latest_checkpointed_iteration.txt`.
    Megatron,
    /// The transformers Trainer writes `trainer_state.json` last.
    HfTrainer,
}

/// What a marker commits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Committed {
    /// The directory in which the event happened.
    HoldingDirectory,
    /// The directory that was renamed.
    Renamed,
    /// This entry of the directory in which the event happened, if it exists.
    Named(Vec<u8>),
    /// Nothing: the text names nothing, it was no marker.
    Nothing,
}

/// The marker that `event` in a directory named `dir_name` may be.
///
/// Nothing in a directory of a save under way is one, nor in the `workertemp_N` of TensorFlow's workers.
/// DCP without collectives writes one `__R.metadata` for each rank: none of them is the last, so none is a marker.
pub fn marker_of(event: &Event<'_>, dir_name: &[u8]) -> Option<Marker> {
    if is_temporary_dir(dir_name) {
        return None;
    }
    match event {
        Event::Renamed { from, to, is_dir: true } => {
            (orbax_stem(from).is_some() && !is_temporary(to)).then_some(Marker::Orbax)
        }
        Event::Renamed { to: b"checkpoint", .. } => Some(Marker::TfCheckpoint),
        Event::Renamed { from, to: b".metadata", .. } => is_temporary(from).then_some(Marker::Dcp),
        // A script may write these beside and rename them: the file is complete then as well.
        Event::Renamed { to: name, .. } | Event::Closed { name } => of_file(name, dir_name),
    }
}

/// The marker that a completed file of this name is.
fn of_file(name: &[u8], dir_name: &[u8]) -> Option<Marker> {
    match name {
        b"latest" => Some(Marker::DeepSpeed),
        b"latest_checkpointed_iteration.txt" => Some(Marker::Megatron),
        b"trainer_state.json" => looks_like_checkpoint(dir_name).then_some(Marker::HfTrainer),
        b"commit_success.txt" => (!ORBAX_ITEMS.contains(&dir_name)).then_some(Marker::OrbaxSuccess),
        _ => None,
    }
}

impl Marker {
    /// The word in records.
    pub fn name(&self) -> &'static str {
        match self {
            Marker::TfCheckpoint => "tf",
            Marker::Orbax => "orbax",
            Marker::OrbaxSuccess => "orbax-success",
            Marker::Dcp => "dcp",
            Marker::DeepSpeed => "deepspeed",
            Marker::Megatron => "megatron",
            Marker::HfTrainer => "hf-trainer",
        }
    }

    /// The file that says of every save which it is, for the markers called `name` in records that have one.
    pub fn file_of(name: &str) -> Option<&'static [u8]> {
        match name {
            "tf" => Some(b"checkpoint"),
            "deepspeed" => Some(b"latest"),
            "megatron" => Some(b"latest_checkpointed_iteration.txt"),
            "hf-trainer" => Some(b"trainer_state.json"),
            _ => None,
        }
    }

    /// Whether [`Marker::committed`] wants the text of the file; a few kilobytes of it are enough.
    pub fn needs_text(&self) -> bool {
        matches!(self, Marker::TfCheckpoint | Marker::DeepSpeed | Marker::Megatron)
    }

    /// What is committed. `text` is the file's, where it could be read and [`Marker::needs_text`] asks for it.
    pub fn committed(&self, text: Option<&[u8]>) -> Committed {
        match self {
            Marker::Orbax => Committed::Renamed,
            Marker::OrbaxSuccess | Marker::Dcp | Marker::HfTrainer => Committed::HoldingDirectory,
            // The rename is the sign; a text of another kind (a script's own file of this name) takes it back.
            Marker::TfCheckpoint => match text {
                Some(text) if !is_checkpoint_state(text) => Committed::Nothing,
                _ => Committed::HoldingDirectory,
            },
            Marker::DeepSpeed => named(text.and_then(tag)),
            Marker::Megatron => named(text.and_then(iteration)),
        }
    }
}

fn named(entry: Option<Vec<u8>>) -> Committed {
    entry.map_or(Committed::Nothing, Committed::Named)
}

/// TensorFlow's `CheckpointState` as text: its first field names the newest checkpoint.
fn is_checkpoint_state(text: &[u8]) -> bool {
    text.trim_ascii_start().starts_with(b"model_checkpoint_path:")
}

/// One line that can be the name of an entry.
fn tag(text: &[u8]) -> Option<Vec<u8>> {
    let tag = text.trim_ascii();
    let fits = (1..=NAME_BYTES_MAX).contains(&tag.len()) && tag != b"." && tag != b"..";
    let plain = tag.iter().all(|byte| *byte != b'/' && !byte.is_ascii_control());
    (fits && plain).then(|| tag.to_vec())
}

/// `1000` means `iter_0001000`, `release` is the name of its directory.
fn iteration(text: &[u8]) -> Option<Vec<u8>> {
    match text.trim_ascii() {
        b"release" => Some(b"release".to_vec()),
        digits => number(digits).map(|iteration| format!("iter_{iteration:07}").into_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn renamed(from: &str, to: &str, is_dir: bool, dir: &str) -> Option<Marker> {
        marker_of(&Event::Renamed { from: from.as_bytes(), to: to.as_bytes(), is_dir }, dir.as_bytes())
    }

    fn closed(name: &str, dir: &str) -> Option<Marker> {
        marker_of(&Event::Closed { name: name.as_bytes() }, dir.as_bytes())
    }

    #[test]
    fn the_last_renames_of_tf_orbax_and_dcp_are_markers() {
        let hex = "0123456789abcdef0123456789abcdef";
        assert_eq!(
            renamed(&format!("checkpoint.tmp{hex}"), "checkpoint", false, "tf"),
            Some(Marker::TfCheckpoint)
        );
        assert_eq!(renamed("3.orbax-checkpoint-tmp", "3", true, "ck"), Some(Marker::Orbax));
        assert_eq!(renamed("step_3.orbax-checkpoint-tmp-17", "step_3", true, ""), Some(Marker::Orbax));
        assert_eq!(renamed(".metadata.tmp", ".metadata", false, "step_5"), Some(Marker::Dcp));
        assert_eq!(renamed("__0.metadata.tmp", ".metadata", false, "step_5"), Some(Marker::Dcp));
    }

    #[test]
    fn renames_on_the_way_are_not() {
        let tmp = "3.orbax-checkpoint-tmp";
        assert_eq!(renamed("state.orbax-checkpoint-tmp", "state", true, tmp), None);
        assert_eq!(renamed(tmp, "3.orbax-checkpoint-tmp-2", true, "ck"), None);
        assert_eq!(renamed(tmp, "3", false, "ck"), None);
        assert_eq!(renamed("checkpoint.tmp1", "checkpoint", true, "tf"), None);
        assert_eq!(renamed("ckpt-1.index.tempstate5", "ckpt-1.index", false, "tf"), None);
        assert_eq!(renamed("old.metadata", ".metadata", false, "step_5"), None);
        assert_eq!(renamed("__0.metadata.tmp", "__0.metadata", false, "step_5"), None);
        assert_eq!(renamed("checkpoint.tmp1", "checkpoint", false, "workertemp_1"), None);
        assert_eq!(renamed(".metadata.tmp", ".metadata", false, "step_5.tmp"), None);
        assert_eq!(renamed(".metadata.tmp", ".metadata", false, "tmpa1b2c3d4"), Some(Marker::Dcp));
        assert_eq!(renamed("manifest.ocdbt.__lock", "manifest.ocdbt", false, "3"), None);
        assert_eq!(renamed(".tmpAb3dE9", "model.safetensors", false, "checkpoint-5"), None);
    }

    #[test]
    fn the_last_closes_are_markers_where_they_belong() {
        assert_eq!(closed("latest", "ds"), Some(Marker::DeepSpeed));
        assert_eq!(renamed("latest.tmp", "latest", false, "ds"), Some(Marker::DeepSpeed));
        assert_eq!(closed("latest_checkpointed_iteration.txt", "megatron"), Some(Marker::Megatron));
        assert_eq!(closed("trainer_state.json", "checkpoint-500"), Some(Marker::HfTrainer));
        assert_eq!(closed("trainer_state.json", "out"), None);
        assert_eq!(closed("commit_success.txt", "3"), Some(Marker::OrbaxSuccess));
        assert_eq!(closed("commit_success.txt", "3.orbax-checkpoint-tmp"), None);
        assert_eq!(closed("commit_success.txt", "default"), None);
        assert_eq!(closed("checkpoint", "tf"), None);
        assert_eq!(closed(".metadata", "step_5"), None);
        assert_eq!(closed("latest.pt", "x"), None);
        for marker in [Marker::TfCheckpoint, Marker::DeepSpeed, Marker::Megatron, Marker::HfTrainer] {
            let file = str::from_utf8(Marker::file_of(marker.name()).unwrap()).unwrap();
            assert_eq!(renamed("x", file, false, "checkpoint-5"), Some(marker), "its file makes it");
        }
    }

    #[test]
    fn pointers_name_an_entry_of_their_directory() {
        let named = |name: &str| Committed::Named(name.as_bytes().to_vec());
        assert_eq!(Marker::DeepSpeed.committed(Some(b"global_step100")), named("global_step100"));
        assert_eq!(Marker::DeepSpeed.committed(Some(b"tag with space\n")), named("tag with space"));
        assert_eq!(Marker::Megatron.committed(Some(b"1000")), named("iter_0001000"));
        assert_eq!(Marker::Megatron.committed(Some(b"12345678\n")), named("iter_12345678"));
        assert_eq!(Marker::Megatron.committed(Some(b"release")), named("release"));
        for text in [&b""[..], b"\n", b"..", b".", b"a/b", b"/etc", b"a\nb", b"a\0b", &[b'x'; 256]] {
            assert_eq!(Marker::DeepSpeed.committed(Some(text)), Committed::Nothing);
        }
        for text in [&b""[..], b"-1", b"1e3", b"99999999999999999999999", b"latest"] {
            assert_eq!(Marker::Megatron.committed(Some(text)), Committed::Nothing);
        }
        assert_eq!(Marker::DeepSpeed.committed(None), Committed::Nothing);
        assert_eq!(Marker::Megatron.committed(None), Committed::Nothing);
    }

    #[test]
    fn the_others_commit_what_they_lie_in_or_what_was_renamed() {
        let state = b"model_checkpoint_path: \"ckpt-1\"\nall_model_checkpoint_paths: \"ckpt-1\"\n";
        assert_eq!(Marker::TfCheckpoint.committed(Some(state)), Committed::HoldingDirectory);
        assert_eq!(Marker::TfCheckpoint.committed(None), Committed::HoldingDirectory);
        assert_eq!(Marker::TfCheckpoint.committed(Some(b"PK\x03\x04")), Committed::Nothing);
        assert_eq!(Marker::Orbax.committed(None), Committed::Renamed);
        for marker in [Marker::OrbaxSuccess, Marker::Dcp, Marker::HfTrainer] {
            assert_eq!(marker.committed(None), Committed::HoldingDirectory);
            assert!(!marker.needs_text());
        }
        assert!(Marker::DeepSpeed.needs_text() && Marker::Megatron.needs_text());
    }

    proptest! {
        #[test]
        fn what_a_text_names_is_always_one_entry(text in proptest::collection::vec(any::<u8>(), 0..400)) {
            for marker in [Marker::DeepSpeed, Marker::Megatron] {
                if let Committed::Named(name) = marker.committed(Some(&text)) {
                    prop_assert!(!name.is_empty() && name.len() <= 255);
                    prop_assert!(!name.contains(&b'/') && !name.contains(&0) && name != b"..");
                }
            }
        }
    }
}
