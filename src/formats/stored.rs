//! `torch.save` before 1.6: five pickles (a magic number, the protocol, the machine, the object, the keys of its
//! storages), then for each key the number of elements in eight bytes and the elements.
//!
//! What the pickles cannot tell, because they are beyond the limits, is taken for valid: only a file that ends too early
//! for certain is not.

use std::collections::{BTreeMap, HashMap};

use super::describe::Described;
use super::pickle::{self, Ended, Limits, Node, Tree};
use super::read::{Fault, Reader, invalid, shown};
use super::tensors::Tensor;
use super::{Source, read, rebuilt, torch};
use crate::base::Result;

/// The pickle of the object; `None` when the ones before it are not what they should be.
pub(super) fn tree(reader: &mut Reader<'_>, limits: Limits) -> Result<Option<Tree>> {
    for _ in 0..3 {
        if pickle::read(reader, limits)?.ended != Ended::Stop {
            return Ok(None);
        }
    }
    pickle::read(reader, limits).map(Some)
}

/// Checks that all pickles and all storages are there.
pub(super) fn check(source: &dyn Source) -> Result<(), Fault> {
    each(source, Limits::FACTS, &mut |_, _, _| ()).map(drop)
}

/// The storages behind the pickles; none of any other pickle.
pub(super) fn tensors(source: &dyn Source) -> Result<Vec<Tensor>, Fault> {
    let mut found = Vec::new();
    if read::at_most(source, 0, pickle::LEGACY_TORCH.len())? == pickle::LEGACY_TORCH {
        each(source, Limits::FACTS, &mut |key, offset, len| {
            found.push(Tensor { name: key.as_bytes().to_vec(), offset, len });
        })?;
    }
    Ok(found)
}

/// The tensors that the object would be rebuilt with, in the storages behind it; none of any other pickle.
pub(super) fn describe(source: &dyn Source) -> Result<Vec<Described>, Fault> {
    let mut storages = HashMap::new();
    if read::at_most(source, 0, pickle::LEGACY_TORCH.len())? != pickle::LEGACY_TORCH {
        return Ok(Vec::new());
    }
    let object = each(source, Limits::TABLE, &mut |key, offset, len| {
        storages.insert(key.to_owned(), (offset, len));
    })?;
    Ok(rebuilt::described(&object, &storages, true))
}

/// Tells `storage` the key, the offset and the bytes of each storage; gives the object.
fn each(source: &dyn Source, limits: Limits, storage: &mut dyn FnMut(&str, u64, u64)) -> Result<Tree, Fault> {
    let mut reader = Reader::new(source, 0, u64::MAX);
    let Some(object) = tree(&mut reader, limits)? else {
        return invalid("legacy torch file with a damaged head");
    };
    match object.ended {
        Ended::Stop => {}
        Ended::Limit => return Ok(object),
        Ended::Cut => return invalid("legacy torch file that ends within its pickle: cut short"),
        Ended::Malformed => return invalid("legacy torch file with a damaged pickle"),
    }
    let keys = pickle::read(&mut reader, limits)?;
    match keys.ended {
        Ended::Stop => {}
        Ended::Limit => return Ok(object),
        _ => return invalid("legacy torch file without its list of storages: cut short"),
    }
    let sizes = element_sizes(&object);
    for key in keys.row(keys.root).iter().filter_map(|key| keys.text(*key)) {
        let Some(count) = reader.array()?.map(u64::from_le_bytes) else { return cut(key) };
        let Some(size) = sizes.get(key) else { break };
        let (begin, len) = (reader.position(), count.checked_mul(*size));
        if len.and_then(|len| reader.skip(len)).is_none() {
            return cut(key);
        }
        storage(key, begin, len.unwrap_or_default());
    }
    drop(sizes);
    Ok(object)
}

fn cut<T>(key: &str) -> Result<T, Fault> {
    invalid(format!("legacy torch file without the numbers of storage {}: cut short", shown(key.as_bytes())))
}

/// The bytes of one element by key of storage, as far as the types are known.
fn element_sizes(tree: &Tree) -> BTreeMap<&str, u64> {
    let size = |name| match tree.row(name) {
        [_, class, key, ..] => {
            let (_, class) = tree.global(*class)?;
            Some((tree.text(*key)?, torch::element_bytes(class)?))
        }
        _ => None,
    };
    tree.persistent
        .iter()
        .filter(|name| matches!(tree.node(**name), Node::Row(_)))
        .filter_map(|name| size(*name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::samples::{Bytes, fixture};

    #[test]
    fn a_legacy_file_is_valid_and_every_cut_of_it_is_not() {
        let whole = fixture("legacy.pth");
        assert!(whole.starts_with(pickle::LEGACY_TORCH));
        assert!(check(&Bytes::new(&whole[..])).is_ok());
        for len in 15..whole.len() {
            let said = check(&Bytes::new(&whole[..len]));
            assert!(matches!(said, Err(Fault::Invalid(_))), "cut to {len}");
        }
    }
}
