//! TensorFlow checkpoints: an index that says where each tensor lies, and the data files beside it.
//!
//! The index opens, its checksums hold, and each data file that it names is there and exactly as long as its tensors
//! reach: TensorFlow writes them packed, with nothing behind the last. The messages are those of TensorFlow's
//! `tensor_bundle.proto`.

use std::collections::BTreeMap;

use super::describe::{Described, SIDES_MAX};
use super::protobuf::{self, Value};
use super::read::{Fault, Reader, invalid, shown};
use super::sstable;
use super::tensors::{TENSORS_MAX, Tensor};
use super::{Siblings, Source, dtype};

/// More data files than any job writes.
const SHARDS_MAX: u64 = 100_000;
/// An index beyond this, in bytes, is not read for the places of tensors.
const INDEX_MAX: u64 = 256 << 20;
/// All keys together, in bytes, beyond which no more are told.
const NAMES_MAX: usize = 64 << 20;
/// A message of an index beyond this, in bytes, is none: it bounds what one is taken apart into.
const MESSAGE_MAX: usize = 1 << 20;
/// More graphs than one saved model has.
const GRAPHS_MAX: usize = 1024;

/// How an index begins: the header, a value of at least two bytes under the empty key that says the number of shards.
pub(super) fn begins_index(head: &[u8]) -> bool {
    matches!(head, [0, 0, 2..=255, 0x08, ..])
}

/// The name before what TensorFlow adds while it writes: `ckpt-1.index.tempstate5` is `ckpt-1.index`.
pub(super) fn final_name(name: &[u8]) -> &[u8] {
    let found = name.windows(10).rposition(|part| part == b".tempstate");
    match found.and_then(|at| name.split_at_checked(at)) {
        Some((before, after)) if after.iter().skip(10).all(u8::is_ascii_digit) => before,
        _ => name,
    }
}

/// What a data file's name says: the prefix of its checkpoint, and its number among the data files.
fn data_name(name: &[u8]) -> Option<(&[u8], u64)> {
    let name = final_name(name);
    let at = name.windows(6).rposition(|part| part == b".data-")?;
    let (shard, count) = std::str::from_utf8(name.get(at + 6..)?).ok()?.split_once("-of-")?;
    let digits = |text: &str| text.len() >= 5 && text.bytes().all(|byte| byte.is_ascii_digit());
    let prefix = name.get(..at).filter(|_| digits(shard) && digits(count))?;
    Some((prefix, shard.parse().ok()?))
}

/// Whether a file is named as data files are: `<prefix>.data-00000-of-00001`.
pub(super) fn names_data(name: &[u8]) -> bool {
    data_name(name).is_some()
}

/// The tensors of the data file `name`, by the index beside it.
pub(super) fn tensors(name: &[u8], siblings: &dyn Siblings) -> Result<Vec<Tensor>, Fault> {
    let mut found = Vec::new();
    each(name, siblings, &mut |Entry { key, place: (offset, len), .. }| {
        if found.len() < TENSORS_MAX {
            found.push(Tensor { name: key.to_vec(), offset, len });
        }
    })?;
    Ok(found)
}

/// The tensors of the data file `name` as the index beside it describes them.
pub(super) fn describe(name: &[u8], siblings: &dyn Siblings) -> Result<Vec<Described>, Fault> {
    let mut found = Vec::new();
    each(name, siblings, &mut |Entry { key, value, place }| {
        if found.len() < TENSORS_MAX {
            let name = variable(key);
            let (dtype, shape) = type_and_shape(value);
            found.push(Described { name, dtype, shape, parts: vec![place], ..Described::default() });
        }
    })?;
    Ok(found)
}

/// One entry of an index.
struct Entry<'a> {
    key: &'a [u8],
    value: &'a [u8],
    /// Offset and length of the tensor in its data file.
    place: (u64, u64),
}

/// Tells `tensor` the entry of each tensor of the data file `name`.
fn each(name: &[u8], siblings: &dyn Siblings, tensor: &mut dyn FnMut(Entry<'_>)) -> Result<(), Fault> {
    let Some((prefix, wanted)) = data_name(name) else { return Ok(()) };
    let Some(index) = siblings.open(&[prefix, b".index"].concat())? else { return Ok(()) };
    if index.len() > INDEX_MAX {
        return Ok(());
    }
    let mut names = 0_usize;
    sstable::entries(index.as_ref(), |key, value| {
        if let Some((shard, offset, len)) = place(value)
            && !key.is_empty()
            && shard == wanted
            && names <= NAMES_MAX
        {
            // A few bytes may stand for a long key: what it shares with the one before is not written again.
            names = names.saturating_add(key.len());
            tensor(Entry { key, value, place: (offset, len) });
        }
        Ok(())
    })
}

/// The name of the variable that `key` is of. A slice of one has a key of its own: 0, the name up to 0 and 1, its place.
fn variable(key: &[u8]) -> String {
    let name = key.strip_prefix(&[0]).and_then(|rest| {
        let end = rest.windows(2).position(|mark| mark == [0, 1])?;
        rest.get(..end)
    });
    String::from_utf8_lossy(name.unwrap_or(key)).into_owned()
}

/// Type and shape of a `BundleEntryProto`.
fn type_and_shape(entry: &[u8]) -> (String, Vec<u64>) {
    let (mut dtype, mut shape) = (String::new(), Vec::new());
    for (field, value) in fields_of(entry).unwrap_or_default() {
        match (field, value) {
            (1, Value::Number(number)) => dtype = dtype::of_tensorflow(number),
            (2, Value::Bytes(sides)) => {
                let sides = fields_of(sides).unwrap_or_default();
                shape.extend(sides.into_iter().filter_map(|side| match side {
                    (2, Value::Bytes(side)) => Some(size_of(side)),
                    _ => None,
                }));
                shape.truncate(SIDES_MAX);
            }
            _ => {}
        }
    }
    (dtype, shape)
}

/// The size in a `TensorShapeProto.Dim`; 0 is not written.
fn size_of(side: &[u8]) -> u64 {
    let size = |(field, value)| match (field, value) {
        (1, Value::Number(size)) => Some(size),
        _ => None,
    };
    fields_of(side).unwrap_or_default().into_iter().find_map(size).unwrap_or(0)
}

/// Checks an index and the data files beside it.
pub(super) fn check_index(name: &[u8], source: &dyn Source, siblings: &dyn Siblings) -> Result<(), Fault> {
    let mut shards = None;
    let mut ends = BTreeMap::new();
    sstable::entries(source, |key, value| {
        match (key, shards) {
            (b"", None) => shards = Some(shard_count(value)?),
            (_, None) => return invalid("index without its header"),
            (_, Some(shards)) => {
                let Some((shard, end)) = extent(value) else { return Ok(()) };
                if shard >= shards || end == u64::MAX {
                    return invalid(format!("index whose entry {} lies nowhere", shown(key)));
                }
                let known = ends.entry(shard).or_insert(0);
                *known = end.max(*known);
            }
        }
        Ok(())
    })?;
    let Some(shards) = shards else { return invalid("index without its header") };
    let name = final_name(name);
    let prefix = name.strip_suffix(b".index").unwrap_or(name);
    for (shard, end) in ends {
        let file = [prefix, format!(".data-{shard:05}-of-{shards:05}").as_bytes()].concat();
        match siblings.len_of(&file)? {
            None => return invalid(format!("index whose data file {} is not there", shown(&file))),
            Some(len) if len != end => {
                let file = shown(&file);
                return invalid(format!("data file {file} has {len} bytes, its index names {end}"));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// The number of data files in a `BundleHeaderProto`.
fn shard_count(header: &[u8]) -> Result<u64, Fault> {
    let number = |(field, value)| match (field, value) {
        (1, Value::Number(count)) => Some(count),
        _ => None,
    };
    let fields = Some(header).filter(|header| header.len() <= MESSAGE_MAX).and_then(protobuf::fields);
    let count = fields.and_then(|fields| fields.into_iter().find_map(number));
    match count.filter(|count| (1..=SHARDS_MAX).contains(count)) {
        Some(count) => Ok(count),
        None => invalid("index with a damaged header"),
    }
}

/// The data file's number and the end of the tensor in it, of a `BundleEntryProto`; `None` for a tensor that is stored
/// in slices, each of which has an entry of its own. A malformed entry ends at `u64::MAX`.
fn extent(entry: &[u8]) -> Option<(u64, u64)> {
    match fields_of(entry) {
        None => Some((0, u64::MAX)),
        Some(_) => place(entry).map(|(shard, offset, len)| (shard, offset.saturating_add(len))),
    }
}

fn fields_of(entry: &[u8]) -> Option<Vec<(u64, Value<'_>)>> {
    Some(entry).filter(|entry| entry.len() <= MESSAGE_MAX).and_then(protobuf::fields)
}

/// The data file's number, the offset and the length of the tensor, of a `BundleEntryProto`.
fn place(entry: &[u8]) -> Option<(u64, u64, u64)> {
    let fields = fields_of(entry)?;
    let number = |wanted| {
        let found = fields.iter().rev().find_map(|(field, value)| match value {
            Value::Number(number) if *field == wanted => Some(*number),
            _ => None,
        });
        found.unwrap_or(0)
    };
    let sliced = fields.iter().any(|(field, _)| *field == 7);
    (!sliced).then(|| (number(3), number(4), number(5)))
}

/// Checks that a `saved_model.pb` is made of whole fields and holds a graph.
pub(super) fn check_saved_model(source: &dyn Source) -> Result<(), Fault> {
    match protobuf::outline(&mut Reader::new(source, 0, u64::MAX), GRAPHS_MAX)? {
        None => invalid("saved model that ends within a field: cut short"),
        Some(fields) if !fields.contains(&2) => invalid("saved model without a graph"),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::samples::{Beside, Bytes, alone, fixture};

    fn check(bytes: &[u8], beside: &Beside) -> Result<(), String> {
        match check_index(b"ckpt-5.index", &Bytes::new(bytes), beside) {
            Ok(()) => Ok(()),
            Err(Fault::Invalid(why)) => Err(why),
            Err(Fault::Failed(error)) => panic!("{error}"),
        }
    }

    fn beside(len: u64) -> Beside {
        Beside(vec![("ckpt-5.data-00000-of-00001", len)])
    }

    #[test]
    fn an_index_is_valid_with_its_data_file_and_says_what_is_wrong_with_it() {
        let index = fixture("ckpt-5.index");
        let len = fixture("ckpt-5.data-00000-of-00001").len() as u64;
        assert_eq!(check(&index, &beside(len)), Ok(()));
        let missing = check(&index, &alone()).unwrap_err();
        assert!(missing.contains("ckpt-5.data-00000-of-00001 is not there"), "{missing}");
        for wrong in [0, len - 1, len + 1] {
            let said = check(&index, &beside(wrong)).unwrap_err();
            assert!(said.contains(&format!("has {wrong} bytes, its index names {len}")), "{said}");
        }
    }

    #[test]
    fn every_cut_and_every_changed_byte_of_an_index_before_its_footer_is_seen() {
        let index = fixture("ckpt-5.index");
        let beside = beside(fixture("ckpt-5.data-00000-of-00001").len() as u64);
        assert!((0..index.len()).all(|len| check(&index[..len], &beside).is_err()));
        for at in 0..index.len() - sstable::FOOTER {
            let mut bad = index.clone();
            bad[at] ^= 0x10;
            // The metaindex block, which is empty and read by nobody, is the one before the index block.
            let said = check(&bad, &beside);
            assert!(said.is_err() || said == Ok(()) && at > 100, "byte {at}");
        }
    }

    #[test]
    fn names_of_parts_are_known_while_they_are_written_too() {
        assert!(names_data(b"ckpt-1.data-00000-of-00001"));
        assert!(names_data(b"part-00000-of-00001.data-00000-of-00001.tempstate1234"));
        assert!(!names_data(b"ckpt.data-1-of-2") && !names_data(b"x.data-00000") && !names_data(b"data"));
        assert_eq!(final_name(b"m.index.tempstate77"), b"m.index");
        assert_eq!(final_name(b"m.tempstate7x"), b"m.tempstate7x");
    }

    #[test]
    fn a_saved_model_that_is_cut_or_holds_no_graph_is_invalid() {
        let model = fixture("saved_model.pb");
        assert!(check_saved_model(&Bytes::new(&model[..])).is_ok());
        for len in [1, 3, model.len() / 2, model.len() - 1] {
            assert!(check_saved_model(&Bytes::new(&model[..len])).is_err(), "{len}");
        }
        assert!(check_saved_model(&Bytes::new([8, 1])).is_err());
    }
}
