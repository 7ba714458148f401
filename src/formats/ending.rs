//! Whether a file of a format that is not read here was cut short, as far as its front says how it must end.
//!
//! Fronts decide, never names alone: what begins in no way that is known here may end as it likes. A wrong "invalid" would
//! hide a good save, so only what every writer of the format does is asked for.

use super::named::{self, CATBOOST, LIGHTGBM, XGBOOST};
use super::read::{self, Fault, Reader, invalid};
use super::{Source, msgpack, protobuf, zip};
use crate::base::Result;

/// What is read of the front, in bytes.
const HEAD: usize = 32;
/// What is read of the end of a text, in bytes.
const TAIL: usize = 64 << 10;
/// Fields of a message that are passed over.
const FIELDS_MAX: usize = 1 << 20;
/// The mark before the checksum at the end of a bzip2 stream, which begins at any bit.
const BZIP2_END: u128 = 0x1772_4538_5090;

/// Checks a file called `file` whose format is not read here.
pub(super) fn check(file: &[u8], source: &dyn Source) -> Result<(), Fault> {
    if source.is_empty() {
        return invalid("empty file");
    }
    let head = read::at_most(source, 0, HEAD)?;
    if head.starts_with(b"PK\x03\x04") {
        return zip::check(source, "zip");
    }
    match ends_early(file, &head, source)? {
        Some(what) => invalid(format!("{what} without its end: cut short")),
        None => Ok(()),
    }
}

/// What the file is, if that does not end as it does.
fn ends_early(file: &[u8], head: &[u8], source: &dyn Source) -> Result<Option<&'static str>> {
    let (what, whole) = if XGBOOST.iter().any(|front| head.starts_with(front)) {
        ("xgboost model", read::tail(source, HEAD)?.trim_ascii_end().ends_with(b"}"))
    } else if head.starts_with(LIGHTGBM) {
        ("lightgbm model", is_whole_lightgbm(head, &read::tail(source, TAIL)?))
    } else if head.starts_with(CATBOOST) {
        ("catboost model", is_whole_catboost(head, source.len()))
    } else if head.starts_with(b"\xfd7zXZ\0") {
        // Zeros may follow for the sake of a block size.
        ("xz file", matches!(read::tail(source, 2)?.as_slice(), b"YZ" | [0, 0]))
    } else if head.starts_with(b"BZh") {
        ("bzip2 file", ends_bzip2(&read::tail(source, 11)?))
    } else if head.starts_with(b"\x04\x22\x4d\x18") {
        ("lz4 file", ends_lz4(head, &read::tail(source, 8)?))
    } else if named::is_old_pickle(file, head) {
        ("pickle", read::tail(source, 1)? == b".")
    } else if file.ends_with(b".msgpack") {
        ("msgpack file", msgpack::is_whole(source)?)
    } else if file.ends_with(b".onnx") {
        let mut reader = Reader::new(source, 0, u64::MAX);
        ("onnx model", protobuf::outline(&mut reader, FIELDS_MAX)?.is_some())
    } else {
        return Ok(None);
    };
    Ok((!whole).then_some(what))
}

/// LightGBM says where the trees end and, behind them, where the parameters do; versions 1 and 2 did not always.
fn is_whole_lightgbm(head: &[u8], tail: &[u8]) -> bool {
    let has = |text: &[u8]| tail.windows(text.len()).any(|part| part == text);
    let version = head.get(LIGHTGBM.len()).copied().unwrap_or_default();
    matches!(version, b'1' | b'2') || has(b"end of trees") || has(b"end of parameters")
}

/// Behind the magic number CatBoost tells the length of what follows, behind which more may lie.
fn is_whole_catboost(head: &[u8], len: u64) -> bool {
    let told = head.get(4..8).and_then(|told| told.try_into().ok()).map(u32::from_le_bytes);
    told.is_some_and(|told| len >= 8 + u64::from(told))
}

fn ends_bzip2(tail: &[u8]) -> bool {
    let bits = tail.iter().fold(0_u128, |bits, byte| (bits << 8) | u128::from(*byte));
    // A checksum of 32 bits follows the mark, and up to 7 bits that fill the last byte.
    (32..40).any(|shift| (bits >> shift) & 0xffff_ffff_ffff == BZIP2_END)
}

/// A frame ends with a block of no length, and a checksum if its second byte of flags says so.
fn ends_lz4(head: &[u8], tail: &[u8]) -> bool {
    let is_checked = head.get(4).is_some_and(|flags| flags & 4 != 0);
    tail.get(if is_checked { 0..4 } else { 4..8 }) == Some(&[0; 4])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::samples::{self, Bytes};

    fn said(name: &str, bytes: &[u8]) -> String {
        samples::said(check(name.as_bytes(), &Bytes::new(bytes)))
    }

    #[test]
    fn what_is_whole_is_valid_and_what_was_cut_is_not() {
        let lightgbm = b"tree\nversion=v4\nTree=0\n\nend of trees\n\nparameters:\nend of parameters\n";
        let cases: [(&str, &[u8], usize); 9] = [
            ("m.json", b"{\"learner\":{},\"version\":[3,2,0]}\n", 2),
            ("m.ubj", b"{L\0\0\0\0\0\0\0\x07learner{L\0}i\0}", 1),
            ("m.txt", lightgbm, 45),
            ("m.cbm", b"CBM1\x04\0\0\0abcd", 1),
            ("m.pkl", b"(dp0\nVw\np1\n.", 1),
            ("m.onnx", &[0x08, 0xac, 0x02, 0x12, 2, b'h', b'i'], 1),
            ("m.msgpack", &[0x81, 0xa1, b'w', 0xc4, 2, 1, 2], 1),
            ("m.lz4", b"\x04\x22\x4d\x18\x40\x40\xc0\x01\0\0\0a\0\0\0\0", 1),
            ("m.xz", b"\xfd7zXZ\0\0\x04....YZ", 1),
        ];
        for (name, whole, cut) in cases {
            assert_eq!(said(name, whole), "", "{name}");
            assert!(said(name, &whole[..whole.len() - cut]).contains("cut short"), "{name}");
        }
        assert!(said("m.zip", b"PK\x03\x04....").contains("cut short"));
        assert_eq!(said("m", b""), "empty file");
    }

    #[test]
    fn the_end_of_bzip2_is_found_at_every_bit() {
        // `bz2.compress(b"a")`, and one that ends in the middle of a byte.
        let whole = b"BZh91AY&SY\x19\x93\x9bk\0\0\0\x01\0 \0 \0!\0\x82\xb1w$S\x85\t\x01\x999\xb6\xb0";
        assert_eq!(said("m.bz2", whole), "");
        assert!(said("m.bz2", &whole[..whole.len() - 2]).contains("cut short"));
    }

    #[test]
    fn what_is_of_no_known_kind_may_end_as_it_likes() {
        for (name, bytes) in
            [("m.pkl", &b"x\x9c\x01"[..]), ("w.bin", &[0; 40]), ("m.pkl.gz", b"\x1f\x8b\x08")]
        {
            assert_eq!(said(name, bytes), "", "{name}");
        }
    }
}
