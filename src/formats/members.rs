//! The entries of a zip that are kept as they are: their bytes are bytes of the file.

use super::Source;
use super::describe::Described;
use super::read::{Fault, Part};
use super::tensors::{TENSORS_MAX, Tensor, in_order};
use super::zip::{self, Entries, Entry};

/// The stored entries that `wanted` wants by name, as if each were a tensor; as far as the directory is sound.
pub(super) fn members(source: &dyn Source, wanted: impl Fn(&[u8]) -> bool) -> Result<Vec<Tensor>, Fault> {
    entries(source, |entry| entry.method == 0 && wanted(&entry.name))
}

/// The entries that are `wanted`, as if each were a tensor.
fn entries(source: &dyn Source, wanted: impl Fn(&Entry) -> bool) -> Result<Vec<Tensor>, Fault> {
    let mut found = Vec::new();
    let Some(directory) = zip::directory(source)? else { return Ok(found) };
    let mut entries = Entries::new(source, &directory);
    while found.len() < TENSORS_MAX {
        let entry = match entries.next() {
            Ok(Some(entry)) => entry,
            Ok(None) | Err(Fault::Invalid(_)) => break,
            Err(failed) => return Err(failed),
        };
        if entry.len == 0 || !wanted(&entry) {
            continue;
        }
        if let Some(offset) = zip::data_offset(source, &entry)? {
            found.push(Tensor { name: entry.name, offset, len: entry.len });
        }
    }
    Ok(found)
}

/// The compressed entries whose names have `ending`: what is in them is not told.
pub(super) fn compressed(source: &dyn Source, ending: &[u8]) -> Result<Vec<Described>, Fault> {
    let found = entries(source, |entry| entry.method != 0 && entry.name.ends_with(ending))?;
    let row = |entry: Tensor| Described {
        name: name_of(&entry, ending),
        parts: vec![(entry.offset, entry.len)],
        encoded: true,
        ..Described::default()
    };
    Ok(found.into_iter().map(row).collect())
}

/// The name of an entry without its ending.
fn name_of(entry: &Tensor, ending: &[u8]) -> String {
    String::from_utf8_lossy(entry.name.strip_suffix(ending).unwrap_or(&entry.name)).into_owned()
}

/// What the stored entries whose names have `ending` hold, each described by `inner` as a file of its own. One that
/// `inner` knows no name of has its entry's.
pub(super) fn describe(
    source: &dyn Source,
    ending: &[u8],
    inner: fn(&dyn Source) -> Result<Vec<Described>, Fault>,
) -> Result<Vec<Described>, Fault> {
    let mut found = Vec::new();
    // Disjoint: so all of them together cost no more than the file.
    for member in in_order(members(source, |name| name.ends_with(ending))?, source.len()) {
        let inside = match inner(&Part::new(source, member.offset, member.len)) {
            Ok(inside) => inside,
            Err(Fault::Invalid(_)) => continue,
            Err(failed) => return Err(failed),
        };
        for mut row in inside {
            row.settle(member.len);
            row.shift(member.offset);
            if row.name.is_empty() {
                row.name = name_of(&member, ending);
            }
            found.push(row);
        }
        if found.len() >= TENSORS_MAX {
            break;
        }
    }
    Ok(found)
}

/// The tensors inside the stored entries whose names have `ending`, each read by `inner` as a file of its own. One that
/// `inner` knows no name of has its entry's.
pub(super) fn tensors(
    source: &dyn Source,
    ending: &[u8],
    inner: fn(&dyn Source) -> Result<Vec<Tensor>, Fault>,
) -> Result<Vec<Tensor>, Fault> {
    let mut found = Vec::new();
    // Disjoint: so all of them together cost no more than the file.
    for member in in_order(members(source, |name| name.ends_with(ending))?, source.len()) {
        let inside = match inner(&Part::new(source, member.offset, member.len)) {
            Ok(inside) => in_order(inside, member.len),
            Err(Fault::Invalid(_)) => continue,
            Err(failed) => return Err(failed),
        };
        for Tensor { name, offset, len } in inside {
            let own = || member.name.strip_suffix(ending).unwrap_or_default().to_vec();
            let name = if name.is_empty() { own() } else { name };
            found.push(Tensor { name, offset: member.offset + offset, len });
        }
        if found.len() >= TENSORS_MAX {
            break;
        }
    }
    Ok(found)
}
