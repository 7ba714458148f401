//! The tensors of a data file of PyTorch's distributed checkpoint, with the names that the `.metadata` beside it gives them.
//!
//! Each place that the metadata name is a file of `torch.save` by itself, of one tensor or of any other object. What has
//! been compressed on its way there is told by the metadata alone. Without metadata, the files are found by their ends.

use std::collections::HashMap;

use super::describe::Described;
use super::pickle::{Ended, Id, Limits, Tree};
use super::read::{Fault, Part, Reader};
use super::tensors::TENSORS_MAX;
use super::{Siblings, Source, dcp, dtype, pickle, rebuilt, torch};

/// Chunks of one tensor that are searched for the one at a place, where the metadata do not say which it is.
const CHUNKS_MAX: usize = 1024;
/// All names together, in bytes.
const NAMES_MAX: usize = 64 << 20;

/// The tensors of the data file `name`.
pub(super) fn describe(
    name: &[u8],
    source: &dyn Source,
    siblings: &dyn Siblings,
) -> Result<Vec<Described>, Fault> {
    if let Some(metadata) = siblings.open(b".metadata")? {
        let tree = pickle::read(&mut Reader::new(metadata.as_ref(), 0, u64::MAX), Limits::TABLE)?;
        if let Ended::Stop = tree.ended {
            return named(&tree, name, source);
        }
    }
    let mut found = Vec::new();
    for zip in dcp::zips(source) {
        let (begin, len) = zip?;
        found.extend(inside(source, begin, len)?);
        if found.len() >= TENSORS_MAX {
            break;
        }
    }
    Ok(found)
}

/// The tensors at the places that the metadata name in the file `name`.
fn named(tree: &Tree, name: &[u8], source: &dyn Source) -> Result<Vec<Described>, Fault> {
    let mut found = Vec::new();
    let (Some(about), Some(places)) = (state(tree, "state_dict_metadata"), state(tree, "storage_data"))
    else {
        return Ok(found);
    };
    let about: HashMap<&str, Id> =
        tree.pairs(about).iter().filter_map(|(key, value)| Some((tree.text(*key)?, *value))).collect();
    let place = |(index, info): &(Id, Id)| Place::of(tree, *index, *info);
    let mut places: Vec<Place> =
        tree.pairs(places).iter().filter_map(place).filter(|place| place.file.as_bytes() == name).collect();
    places.sort_by_key(|place| (place.offset, place.len));
    let (mut end, mut names) = (0, 0);
    for place in places {
        // Disjoint: so all of them together cost no more than the file.
        if place.offset < end || place.len == 0 || found.len() >= TENSORS_MAX {
            continue;
        }
        end = place.offset.saturating_add(place.len);
        let about = about.get(place.name).copied();
        for row in place.rows(tree, about, source)? {
            names += row.name.len();
            if names <= NAMES_MAX {
                found.push(row);
            }
        }
    }
    Ok(found)
}

/// What a file of `torch.save` at `begin` holds.
fn inside(source: &dyn Source, begin: u64, len: u64) -> Result<Vec<Described>, Fault> {
    let part = Part::new(source, begin, len);
    let mut rows = torch::describe(&part)?;
    for row in &mut rows {
        row.settle(part.len());
        row.shift(begin);
    }
    Ok(rows)
}

/// One place of the metadata.
struct Place<'a> {
    /// The name in the state dict, of the tensor or object.
    name: &'a str,
    /// Where in the whole tensor it begins.
    corner: Option<Vec<u64>>,
    /// Which of the chunks of the tensor it is said to be.
    index: Option<usize>,
    file: &'a str,
    offset: u64,
    len: u64,
}

impl<'a> Place<'a> {
    /// The tensors at the place, as `about` says of them.
    fn rows(&self, tree: &Tree, about: Option<Id>, source: &dyn Source) -> Result<Vec<Described>, Fault> {
        let whole = about.and_then(|about| rebuilt::sides(tree, of_state(tree, about, "size")?));
        let mut rows = inside(source, self.offset, self.len)?;
        if rows.is_empty() {
            rows.extend(about.and_then(|about| self.unread(tree, about)));
        }
        for row in &mut rows {
            match row.name.as_str() {
                "" => {
                    row.name = self.name.to_owned();
                    row.global_shape.clone_from(&whole);
                }
                inner => row.name = format!("{}.{inner}", self.name),
            }
        }
        Ok(rows)
    }

    fn of(tree: &'a Tree, index: Id, info: Id) -> Option<Self> {
        let number = |name| of_state(tree, info, name).and_then(|id| u64::try_from(tree.int(id)?).ok());
        Some(Place {
            name: tree.text(of_state(tree, index, "fqn")?)?,
            corner: of_state(tree, index, "offset").and_then(|offset| rebuilt::sides(tree, offset)),
            index: of_state(tree, index, "index").and_then(|id| usize::try_from(tree.int(id)?).ok()),
            file: tree.text(of_state(tree, info, "relative_path")?)?,
            offset: number("offset")?,
            len: number("length")?,
        })
    }

    /// What the metadata say of a tensor whose bytes tell nothing.
    fn unread(&self, tree: &Tree, about: Id) -> Option<Described> {
        let chunks = tree.row(of_state(tree, about, "chunks")?);
        let side = |chunk: Id, name| of_state(tree, chunk, name).and_then(|id| rebuilt::sides(tree, id));
        let is_it = |chunk: &&Id| self.corner.is_none() || side(**chunk, "offsets") == self.corner;
        let hinted = self.index.and_then(|index| chunks.get(index)).filter(is_it);
        let chunk = hinted.or_else(|| chunks.iter().take(CHUNKS_MAX).find(is_it))?;
        // Of the properties the type comes first.
        let properties = tree.state(of_state(tree, about, "properties")?)?;
        let dtype = tree.row(properties).first().and_then(|dtype| tree.global(*dtype));
        Some(Described {
            dtype: dtype.map(|(_, name)| dtype::of_torch(name)).unwrap_or_default(),
            shape: side(*chunk, "sizes")?,
            parts: vec![(self.offset, self.len)],
            encoded: true,
            ..Described::default()
        })
    }
}

/// What the object at the root keeps as `name`.
fn state(tree: &Tree, name: &str) -> Option<Id> {
    of_state(tree, tree.root, name)
}

/// What an object keeps as `name`.
fn of_state(tree: &Tree, object: Id, name: &str) -> Option<Id> {
    tree.get(tree.state(object).filter(|state| tree.pairs(*state).len() <= dcp::FIELDS_MAX)?, name)
}
