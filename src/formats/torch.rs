//! `torch.save`: a zip, all below one folder, around the pickle `data.pkl`; the numbers of each tensor are an entry
//! `data/<key>`. Both are stored as they are; TorchScript deflates the code that it puts beside them.

use super::describe::Described;
use super::members::members;
use super::pickle::{self, Limits, Tree};
use super::read::{self, Fault, Reader};
use super::tensors::Tensor;
use super::zip::{self, Entries, Entry};
use super::{Source, rebuilt};
use crate::base::Result;

/// What one of torch's files has behind its folder, whichever of its writers made it.
const PARTS: &[&[u8]] = &[
    b"data.pkl",
    b"constants.pkl",
    b".format_version",
    b".data/serialization_id",
    b"byteorder",
    b"archive_format",
    b"data/0",
    b"data/weights/weight_0",
];

/// The longest scalar, in bytes.
const SCALAR_MAX: usize = 8;

/// Whether a zip's entry is one of torch's.
pub(super) fn names_part(entry: &[u8]) -> bool {
    let folder = entry.iter().position(|byte| *byte == b'/').filter(|at| *at > 0);
    folder.and_then(|at| entry.get(at + 1..)).is_some_and(|part| PARTS.contains(&part))
}

/// The entry whose name ends with `/` and `part`; `None` also when the directory is damaged.
fn find(source: &dyn Source, part: &[u8]) -> Result<Option<Entry>> {
    let Some(directory) = zip::directory(source)? else { return Ok(None) };
    let mut entries = Entries::new(source, &directory);
    loop {
        match entries.next() {
            Ok(Some(entry)) => {
                let folder = entry.name.iter().position(|byte| *byte == b'/');
                let inner = folder.and_then(|at| entry.name.get(at + 1..));
                if inner == Some(part) && entry.method == 0 {
                    return Ok(Some(entry));
                }
            }
            Ok(None) | Err(Fault::Invalid(_)) => return Ok(None),
            Err(Fault::Failed(error)) => return Err(error),
        }
    }
}

/// The pickle at the heart of the file; `None` when there is none to be found.
pub(super) fn tree(source: &dyn Source, limits: Limits) -> Result<Option<Tree>> {
    let Some(entry) = find(source, b"data.pkl")? else { return Ok(None) };
    let Some(at) = zip::data_offset(source, &entry)? else { return Ok(None) };
    pickle::read(&mut Reader::new(source, at, at.saturating_add(entry.len)), limits).map(Some)
}

/// Up to `len` bytes of the numbers of the storage `key`, from `offset` on; a scalar's worth at most.
pub(super) fn stored(source: &dyn Source, key: &str, offset: u64, len: usize) -> Result<Option<Vec<u8>>> {
    let Some(entry) = find(source, format!("data/{key}").as_bytes())? else { return Ok(None) };
    let Some(at) = zip::data_offset(source, &entry)? else { return Ok(None) };
    let inside = offset.checked_add(len as u64).is_some_and(|end| end <= entry.len) && len <= SCALAR_MAX;
    match at.checked_add(offset) {
        Some(at) if inside => read::at_most(source, at, len).map(Some),
        _ => Ok(None),
    }
}

/// The bytes of one element of a storage class, such as `FloatStorage`.
pub(super) fn element_bytes(class: &str) -> Option<u64> {
    Some(match class.strip_suffix("Storage")? {
        "Byte" | "Char" | "Bool" | "QUInt8" | "QInt8" | "QUInt4x2" | "QUInt2x4" | "Untyped" => 1,
        "Half" | "BFloat16" | "Short" => 2,
        "Float" | "Int" | "QInt32" => 4,
        "Double" | "Long" | "ComplexFloat" => 8,
        "ComplexDouble" => 16,
        _ => return None,
    })
}

/// The number that one little-endian element of a storage class is.
pub(super) fn element(class: &str, bytes: &[u8]) -> Option<f64> {
    Some(match class {
        "DoubleStorage" => f64::from_le_bytes(bytes.try_into().ok()?),
        "FloatStorage" => f64::from(f32::from_le_bytes(bytes.try_into().ok()?)),
        // The upper half of a float.
        "BFloat16Storage" => {
            f64::from(f32::from_bits(u32::from(u16::from_le_bytes(bytes.try_into().ok()?)) << 16))
        }
        "IntStorage" => f64::from(i32::from_le_bytes(bytes.try_into().ok()?)),
        // Beyond 2^53 the nearest number that a metric can be.
        "LongStorage" => i64::from_le_bytes(bytes.try_into().ok()?) as f64,
        _ => return None,
    })
}

/// The storages: each is the numbers of one tensor, or of several that share them.
pub(super) fn tensors(source: &dyn Source) -> Result<Vec<Tensor>, Fault> {
    members(source, |name| {
        let folder = name.iter().position(|byte| *byte == b'/');
        folder.and_then(|at| name.get(at..)).is_some_and(|part| part.starts_with(b"/data/"))
    })
}

/// The tensors that the pickle would rebuild, in the storages that hold their numbers.
pub(super) fn describe(source: &dyn Source) -> Result<Vec<Described>, Fault> {
    let Some(tree) = tree(source, Limits::TABLE)? else { return Ok(Vec::new()) };
    let storages = tensors(source)?;
    let key = |tensor: &Tensor| {
        let at = tensor.name.windows(6).position(|part| part == b"/data/")?;
        std::str::from_utf8(tensor.name.get(at + 6..)?).ok().map(str::to_owned)
    };
    let storages =
        storages.iter().filter_map(|tensor| Some((key(tensor)?, (tensor.offset, tensor.len)))).collect();
    let is_big = match find(source, b"byteorder")? {
        Some(entry) => match zip::data_offset(source, &entry)? {
            Some(at) => read::at_most(source, at, 3)? == b"big",
            None => false,
        },
        None => false,
    };
    Ok(rebuilt::described(&tree, &storages, !is_big))
}

/// Checks the zip: all entries there and inside the file.
pub(super) fn check(source: &dyn Source) -> Result<(), Fault> {
    zip::check(source, "torch zip")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::samples::{self, Bytes, fixture};

    fn said(bytes: &[u8]) -> String {
        samples::said(check(&Bytes::new(bytes)))
    }

    #[test]
    fn torchs_file_is_valid_and_every_cut_of_it_is_not() {
        for name in ["plain.pt", "epoch=2-step=300.ckpt"] {
            let whole = fixture(name);
            assert_eq!(said(&whole), "");
            assert!((0..whole.len()).all(|len| said(&whole[..len]).contains("cut short")), "{name}");
        }
        assert!(said(&fixture("cut.pt")).contains("without its central directory: cut short"));
    }

    #[test]
    fn a_front_that_was_lost_and_a_middle_that_is_missing_are_seen() {
        let whole = fixture("plain.pt");
        let mut zeros = whole.clone();
        zeros[..64].fill(0);
        assert!(said(&zeros).contains("first entry is gone"));
        let shorter = [&whole[..700], &whole[800..]].concat();
        assert!(!said(&shorter).is_empty());
    }

    #[test]
    fn entries_of_torch_have_a_folder() {
        assert!(
            names_part(b"archive/data.pkl") && names_part(b"m/data/0") && names_part(b"x/.format_version")
        );
        assert!(!names_part(b"data.pkl") && !names_part(b"/data.pkl") && !names_part(b"a/b.npy"));
    }

    #[test]
    fn a_check_costs_the_directory_and_not_the_tensors() {
        let source = Bytes::new(fixture("plain.pt"));
        check(&source).map_err(|_| "invalid").unwrap();
        assert!(source.reads() <= 5, "{} reads", source.reads());
    }
}
