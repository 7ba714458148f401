//! Model files of formats that are not read here and that may be small: told by how they begin, or by a name that says
//! what they are.
//!
//! Boosted trees, compressed pickles, small policies and msgpack states are often below the length from which any binary
//! file counts. A wrong guess costs a version too many, a missed one a save: but pictures, tokenizers and data have other
//! names and fronts than these.

use super::recognise::is_named_checkpoint;
use super::{Source, text};
use crate::base::Result;

/// How the text of LightGBM's models begins.
pub(super) const LIGHTGBM: &[u8] = b"tree\nversion=v";
/// How XGBoost's models begin in JSON, and in its binary form (UBJSON).
pub(super) const XGBOOST: &[&[u8]] = &[b"{\"learner\":", b"{L\0\0\0\0\0\0\0\x07learner"];
/// How CatBoost's models begin.
pub(super) const CATBOOST: &[u8] = b"CBM1";
/// How what CatBoost goes on from begins.
const CATBOOST_SNAPSHOTS: &[&[u8]] = &[b"\x03\0\0\0CPU", b"\x03\0\0\0GPU"];

/// How names of models end whose formats are not read here, or not told by their front.
const ENDINGS: &[&[u8]] =
    &[b".onnx", b".msgpack", b".joblib", b".pkl", b".pickle", b".ubj", b".cbm", b".cbsnapshot", b".tflite"];
/// What compression adds to a name.
const PACKED: &[&[u8]] = &[b".gz", b".bz2", b".xz", b".lzma", b".zst", b".lz4", b".z"];
/// Endings of pickles; those of protocol 0 are text.
const PICKLES: &[&[u8]] = &[b".pkl", b".pickle"];

/// Whether a file called `file` that begins with `head` is a model whatever its length.
pub(super) fn is_model(file: &[u8], head: &[u8], source: &dyn Source) -> Result<bool> {
    if begins(head) {
        return Ok(true);
    }
    if is_old_pickle(file, head) {
        return Ok(true);
    }
    Ok((is_named_model(file) || is_numbered_save(file)) && !text::is_text(source)?)
}

/// Whether a file begins as a model does.
fn begins(head: &[u8]) -> bool {
    let fronts = [LIGHTGBM, CATBOOST].into_iter().chain(XGBOOST.iter().chain(CATBOOST_SNAPSHOTS).copied());
    fronts.into_iter().any(|front| head.starts_with(front))
}

/// Whether a file's name is that of a model, compressed or not, that has no empty file.
pub(super) fn is_named_model(file: &[u8]) -> bool {
    let plain = PACKED.iter().find_map(|ending| file.strip_suffix(*ending));
    let ends = |name: &[u8]| ENDINGS.iter().any(|ending| name.ends_with(ending));
    // What is compressed as a whole has lost the front that tells it: `model.pt.gz`.
    ends(file) || plain.is_some_and(|name| ends(name) || is_named_checkpoint(name))
}

/// Whether a file is a pickle of protocol 0 or 1, which do not begin with their protocol.
pub(super) fn is_old_pickle(file: &[u8], head: &[u8]) -> bool {
    // A dict, a list, a tuple, or the class of an object.
    let opens = matches!(head, [b'(', b'd' | b'l' | b't' | b'i', ..] | [b'}' | b']' | b'(', b'q', ..]);
    let class = head.first() == Some(&b'c') && head.iter().filter(|byte| **byte == b'\n').count() > 1;
    PICKLES.iter().any(|ending| file.ends_with(ending)) && (opens || class)
}

/// `checkpoint_500`, `ckpt-7`: a word for checkpoints or steps and a number are the whole name.
fn is_numbered_save(file: &[u8]) -> bool {
    let letters = file.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    let Some((word, rest)) = file.split_at_checked(letters) else { return false };
    let words: [&[u8]; 4] = [b"checkpoint", b"ckpt", b"step", b"epoch"];
    let number = rest.strip_prefix(b"_").or_else(|| rest.strip_prefix(b"-")).unwrap_or_default();
    words.contains(&word) && !number.is_empty() && number.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::samples::Bytes;

    fn said(name: &str, bytes: &[u8]) -> bool {
        is_model(name.as_bytes(), &bytes[..bytes.len().min(512)], &Bytes::new(bytes)).unwrap()
    }

    #[test]
    fn models_are_told_by_their_front_whatever_their_name() {
        for (name, bytes) in [
            ("model.txt", &b"tree\nversion=v4\nnum_class=1\n"[..]),
            ("model.json", b"{\"learner\":{\"attributes\":{}},\"version\":[3,2,0]}"),
            ("best.model", b"{L\0\0\0\0\0\0\0\x07learner{}"),
            ("trees", b"CBM1\x10\0\0\0"),
            ("experiment.dat", b"\x03\0\0\0CPU\x05"),
        ] {
            assert!(said(name, bytes), "{name}");
        }
    }

    #[test]
    fn small_binary_files_count_where_their_name_says_what_they_are() {
        for name in [
            "model.onnx",
            "state.msgpack",
            "model.joblib",
            "model.pkl.gz",
            "model.pt.xz",
            "checkpoint_500",
            "ckpt-7",
        ] {
            assert!(said(name, b"\x82\0\xff\x01"), "{name}");
            assert!(!said(name, b"text\n"), "{name}");
        }
        for name in [
            "small.bin",
            "step_500.png",
            "tokenizer.model",
            "samples_epoch_3.jpg",
            "data.gz",
            "checkpoint",
            "checkpoint_",
            "layer_3",
            "x.idx",
            "checkpoint_5_notes",
        ] {
            assert!(!said(name, b"\x82\0\xff\x01"), "{name}");
        }
    }

    #[test]
    fn pickles_of_the_oldest_protocols_count_by_their_ending() {
        for bytes in [&b"(dp0\nVw\np1\n."[..], b"(lp0\n.", b"}q\0.", b"ccollections\nOrderedDict\np0\n."] {
            assert!(said("model.pkl", bytes));
            assert!(!said("model.txt", bytes));
        }
        assert!(!said("notes.pkl", b"nothing of a pickle\n"));
    }
}
