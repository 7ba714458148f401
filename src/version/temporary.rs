//! Names of things that are still being written, after what the writers and common tools call them.
//!
//! Any bytes in, yes or no out. `tmp_trainer` is a training's folder and `rates.tmpl` a template: neither is temporary.

/// What Orbax puts between a directory's name and a number that tells attempts apart.
const ORBAX: &[u8] = b".orbax-checkpoint-tmp";

/// Endings: our users' scripts, TensorFlow (`ckpt-1_temp`), hub downloads, browsers, vim, tensorstore's locks.
const SUFFIXES: &[&[u8]] = &[
    b".tmp",
    b"-tmp",
    b"_tmp",
    b".temp",
    b"_temp",
    b".part",
    b".partial",
    b".incomplete",
    b".crdownload",
    b".swp",
    b".swx",
    b".__lock",
    b"~",
];

/// Begins: safetensors and mkstemp (`.tmpXXXXXX`), older transformers, LibreOffice, emacs, GIO, deleted files held open.
const PREFIXES: &[&[u8]] =
    &[b".tmp", b"tmp-checkpoint-", b".~", b".#", b".goutputstream-", b".fuse_hidden", b".nfs0000"];

/// How names of checkpoint files end, where that is all of a name but for `tmp.`.
const CHECKPOINTS: &[&[u8]] = &[
    b"pt",
    b"pth",
    b"pth.tar",
    b"ckpt",
    b"safetensors",
    b"bin",
    b"npy",
    b"npz",
    b"h5",
    b"keras",
    b"pkl",
    b"msgpack",
    b"zip",
    b"onnx",
];

/// Whether `name` is that of something still being written (or left by a writer that was killed).
pub fn is_temporary(name: &[u8]) -> bool {
    PREFIXES.iter().any(|prefix| name.starts_with(prefix) && name.len() > prefix.len())
        || SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
        || orbax_stem(name).is_some()
        || has_tmp_ending(name)
        || numbered(name, b".tempstate", u8::is_ascii_alphanumeric)
        || numbered(name, b"_temp_", u8::is_ascii_hexdigit)
        || is_thrown_away(name)
        || is_python_tempfile(name)
        || is_tmp_with_ending(name)
        || matches!(name, [b'#', _, .., b'#'])
}

/// Whether a directory of this name holds what a worker of TensorFlow must save when the chief does, and then removes.
pub fn is_thrown_away(name: &[u8]) -> bool {
    name.strip_prefix(b"workertemp_").is_some_and(|rest| all(rest, u8::is_ascii_digit))
}

/// Whether a directory of this name holds a save under way. Folders that `tempfile` makes are not meant: whole trainings
/// are run in them.
pub(super) fn is_temporary_dir(name: &[u8]) -> bool {
    is_temporary(name) && !is_python_tempfile(name) && !name.starts_with(b".tmp")
}

/// The name that an Orbax temporary directory will get: `3` of `3.orbax-checkpoint-tmp-17`.
pub(super) fn orbax_stem(name: &[u8]) -> Option<&[u8]> {
    let at = name.windows(ORBAX.len()).position(|window| window == ORBAX)?;
    name.get(..at).filter(|stem| !stem.is_empty())
}

/// The final name of a temporary directory, where the name tells: `ckpt-1` of `ckpt-1_temp` and of `tmp-ckpt-1`.
pub(super) fn stem(name: &[u8]) -> Option<&[u8]> {
    let cut = |suffix: &&[u8]| name.strip_suffix(*suffix);
    orbax_stem(name)
        .or_else(|| SUFFIXES.iter().find_map(cut))
        .or_else(|| name.strip_prefix(b"tmp-").filter(|_| is_temporary(name)))
        .filter(|stem| !stem.is_empty())
}

/// `X.tmp.pt`, `X.tmp-1234`, `X.tmp_ab`, `X.tmp0123abcd`.
fn has_tmp_ending(name: &[u8]) -> bool {
    let Some(at) = name.windows(4).rposition(|window| window == b".tmp") else { return false };
    let rest = name.get(at + 4..).unwrap_or_default();
    at > 0 && (matches!(rest.first(), Some(b'.' | b'-' | b'_')) || rest.iter().all(u8::is_ascii_hexdigit))
}

/// timm's `tmp.pth.tar`, `temp.pt`: nothing but an ending of checkpoints. What else begins so may be a folder of trainings.
fn is_tmp_with_ending(name: &[u8]) -> bool {
    let ending = [&b"tmp."[..], b"temp."].iter().find_map(|prefix| name.strip_prefix(*prefix));
    ending.is_some_and(|ending| CHECKPOINTS.contains(&ending))
}

/// Whether `mark` and at least one more byte, all of one kind, end the name.
fn numbered(name: &[u8], mark: &[u8], kind: fn(&u8) -> bool) -> bool {
    let at = name.windows(mark.len()).rposition(|window| window == mark);
    at.and_then(|at| name.get(at + mark.len()..)).is_some_and(|rest| all(rest, kind))
}

fn all(bytes: &[u8], kind: fn(&u8) -> bool) -> bool {
    !bytes.is_empty() && bytes.iter().all(kind)
}

/// Python's `tempfile`: `tmp` and eight of `a-z0-9_`. Without a digit it may as well be a word (`tmp_trainer`).
fn is_python_tempfile(name: &[u8]) -> bool {
    let Some(random) = name.strip_prefix(b"tmp") else { return false };
    random.len() == 8
        && random.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_')
        && random.iter().any(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_writers_and_tools_leave_unfinished_is_known() {
        for name in [
            ".tmpAb3dE9",
            ".tmp_x7.pt",
            "model.pt.tmp",
            "model.tmp.pt",
            "model.pt.tmp.1234",
            "checkpoint.tmp0123456789abcdef0123456789abcdef",
            "saved_model.pb.tmp8f",
            "ckpt-1.data-00000-of-00001.tempstate1234567890",
            "ckpt-1.index.tempstate77",
            "ckpt-1_temp",
            "model.ckpt_temp_0123456789abcdef",
            "workertemp_1",
            "3.orbax-checkpoint-tmp",
            "3.orbax-checkpoint-tmp-17",
            "state.orbax-checkpoint-tmp",
            ".metadata.tmp",
            "manifest.ocdbt.__lock",
            "weights.part",
            "weights.partial",
            "blob.incomplete",
            "train.py~",
            ".~lock.results.csv#",
            ".#train.py",
            "#train.py#",
            "tmp-checkpoint-500",
            "tmpa1b2c3d4",
            "tmp.pth.tar",
            "temp.pt",
            ".fuse_hidden0000000100000001",
        ] {
            assert!(is_temporary(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn names_that_only_resemble_them_are_not() {
        for name in [
            "tmp",
            "tmp_trainer",
            "template",
            "rates.tmpl",
            "tmp.a1b2c3d4e5",
            "tmp.runs",
            "tmp.",
            "temperature",
            "attempt_3",
            "model.pt",
            ".metadata",
            "checkpoint",
            "3",
            "partial",
            "workertemp_",
            "x.tempstate",
            "part-00000-of-00001",
            "events.out.tfevents.1700000000.host",
            "",
            "##",
        ] {
            assert!(!is_temporary(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn a_folder_made_by_tempfile_may_hold_a_training() {
        assert!(
            !is_temporary_dir(b"tmpa1b2c3d4")
                && !is_temporary_dir(b".tmpAb3dE9")
                && !is_temporary_dir(b"run")
        );
        for name in [&b"workertemp_1"[..], b"3.orbax-checkpoint-tmp", b"tmp-checkpoint-500", b"ckpt-1_temp"] {
            assert!(is_temporary_dir(name));
        }
    }

    #[test]
    fn the_final_name_of_a_temporary_directory_is_found() {
        let cases: &[(&[u8], Option<&[u8]>)] = &[
            (b"3.orbax-checkpoint-tmp-17", Some(b"3")),
            (b"ckpt-1_temp", Some(b"ckpt-1")),
            (b"tmp-checkpoint-500", Some(b"checkpoint-500")),
            (b"tmp-results", None),
            (b".tmp", None),
            (b"checkpoint-500", None),
        ];
        for (name, expected) in cases {
            assert_eq!(stem(name), *expected, "{}", String::from_utf8_lossy(name));
        }
    }
}
