//! `.metadata` of PyTorch's distributed checkpoint: a pickle that says in which file, and where in it, each tensor lies.
//!
//! Every object with a `relative_path` is one such place; how the pickle leads to it differs between versions of torch
//! and does not matter. A path that leads to another directory is not looked at.

use std::collections::BTreeMap;

use super::pickle::{self, Ended, Id, Limits, Tree};
use super::read::{Fault, Part, Reader, invalid, shown};
use super::tensors::{TENSORS_MAX, Tensor};
use super::{Siblings, Source, torch, zip};

/// An object with more fields than this is not such a place; it bounds the search through all objects.
pub(super) const FIELDS_MAX: usize = 64;

/// Checks the pickle and that each file that it names is there and long enough.
pub(super) fn check(source: &dyn Source, siblings: &dyn Siblings) -> Result<(), Fault> {
    let tree = pickle::read(&mut Reader::new(source, 0, u64::MAX), Limits::FACTS)?;
    match tree.ended {
        // Beyond the limit: what was read of it is held against the files.
        Ended::Stop | Ended::Limit => {}
        Ended::Cut => return invalid("dcp metadata that ends within its pickle: cut short"),
        Ended::Malformed => return invalid("dcp metadata with a damaged pickle"),
    }
    for (file, end) in files(&tree) {
        match siblings.len_of(file.as_bytes())? {
            None => {
                return invalid(format!("dcp metadata whose file {} is not there", shown(file.as_bytes())));
            }
            Some(len) if len < end => {
                let file = shown(file.as_bytes());
                return invalid(format!(
                    "dcp file {file} has {len} bytes, its metadata names {end}: cut short"
                ));
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// The tensors of a data file: the storages of torch zips that follow each other.
pub(super) fn tensors(source: &dyn Source) -> Result<Vec<Tensor>, Fault> {
    let mut found = Vec::new();
    for zip in zips(source) {
        let (begin, len) = zip?;
        let storages = torch::tensors(&Part::new(source, begin, len))?;
        found.extend(storages.into_iter().map(|tensor| Tensor {
            name: Vec::new(),
            offset: begin.saturating_add(tensor.offset),
            ..tensor
        }));
        if found.len() >= TENSORS_MAX {
            break;
        }
    }
    Ok(found)
}

/// Begin and length of each zip of a data file. They are found from the end of the file to its front, as far as it is made
/// of them: only ends tell where a zip is.
pub(super) fn zips(source: &dyn Source) -> impl Iterator<Item = Result<(u64, u64), Fault>> {
    let mut end = source.len();
    let next = move || match zip::begin(&Part::new(source, 0, end)) {
        Ok(begin) => begin.map(|begin| {
            let len = end - begin;
            end = begin;
            Ok((begin, len))
        }),
        Err(error) => Some(Err(error.into())),
    };
    std::iter::from_fn(next).take(TENSORS_MAX)
}

/// The files named, with the end of the last tensor in each.
fn files(tree: &Tree) -> BTreeMap<&str, u64> {
    let mut files = BTreeMap::new();
    for (path, end) in tree.ids().filter_map(|id| place(tree, id)) {
        let known = files.entry(path).or_insert(end);
        *known = end.max(*known);
    }
    files
}

/// The file and the end of the place that an object's state describes.
fn place(tree: &Tree, object: Id) -> Option<(&str, u64)> {
    let state = tree.state(object).filter(|state| tree.pairs(*state).len() <= FIELDS_MAX)?;
    let path = tree.text(tree.get(state, "relative_path")?)?;
    let number = |key| tree.get(state, key).and_then(|id| tree.int(id)).and_then(|n| u64::try_from(n).ok());
    let end = number("offset").unwrap_or(0).saturating_add(number("length").unwrap_or(0));
    (!path.contains('/')).then_some((path, end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::samples::{Beside, Bytes, alone, fixture};

    fn said(bytes: &[u8], beside: &Beside) -> String {
        match check(&Bytes::new(bytes), beside) {
            Ok(()) => String::new(),
            Err(Fault::Invalid(why)) => why,
            Err(Fault::Failed(error)) => panic!("{error}"),
        }
    }

    #[test]
    fn metadata_is_valid_with_its_files_and_says_what_is_wrong_with_them() {
        let metadata = fixture("dcp.metadata");
        let len = fixture("__0_0.distcp").len() as u64;
        assert_eq!(said(&metadata, &Beside(vec![("__0_0.distcp", len)])), "");
        assert!(said(&metadata, &alone()).contains("__0_0.distcp is not there"));
        let short = said(&metadata, &Beside(vec![("__0_0.distcp", len - 1)]));
        assert!(short.contains(&format!("its metadata names {len}: cut short")), "{short}");
        for cut in 2..metadata.len() {
            assert!(said(&metadata[..cut], &alone()).contains("cut short"), "{cut}");
        }
    }
}
