//! Where the tensors of a file lie, by the file's own table.
//!
//! A wrong or hostile table gives wrong places, never more than that: what is told is in order, does not overlap and lies
//! inside the file, and its number is bounded. Only tables are read, never the tensors.

use super::read::Fault;
use super::{Format, Siblings, Source, dcp, hdf5, members, npy, safetensors, stored, tf, torch};
use crate::base::Result;

/// Tensors of one file beyond this are left out.
pub(super) const TENSORS_MAX: usize = 1 << 20;

/// A run of bytes of a file that is one tensor, or one chunk of a tensor that is stored in chunks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor {
    /// What the file calls it; empty when that is not known.
    pub name: Vec<u8>,
    /// Offset of its first byte in the file.
    pub offset: u64,
    /// Length in bytes, at least 1.
    pub len: u64,
}

impl Tensor {
    /// Offset of the first byte behind it.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.len)
    }
}

/// The tensors of a file of this format, as [`super::recognise`] told it, in order of offset; none where it has no table,
/// a damaged one, or one that is not read here (GGUF, Orbax).
///
/// TensorFlow's data files are told by the `.index` beside them, all others by themselves.
pub fn tensors(
    format: Format,
    name: &[u8],
    source: &dyn Source,
    siblings: &dyn Siblings,
) -> Result<Vec<Tensor>> {
    let file = name.rsplit(|byte| *byte == b'/').next().unwrap_or(name);
    match table(format, file, source, siblings) {
        Ok(found) => Ok(in_order(found, source.len())),
        Err(Fault::Invalid(_)) => Ok(Vec::new()),
        Err(Fault::Failed(error)) => Err(error),
    }
}

fn table(
    format: Format,
    file: &[u8],
    source: &dyn Source,
    siblings: &dyn Siblings,
) -> Result<Vec<Tensor>, Fault> {
    match format {
        Format::TorchZip => torch::tensors(source),
        Format::Pickle => stored::tensors(source),
        Format::Safetensors => safetensors::tensors(source),
        Format::TfData => tf::tensors(file, siblings),
        Format::Hdf5 => hdf5::tensors(source),
        Format::Keras => members::tensors(source, b".h5", hdf5::tensors),
        Format::Npy => npy::tensors(source),
        Format::Npz => members::tensors(source, b".npy", npy::tensors),
        Format::DcpData => dcp::tensors(source),
        Format::TfIndex
        | Format::SavedModel
        | Format::DcpMetadata
        | Format::OrbaxData
        | Format::Gguf
        | Format::Binary => Ok(Vec::new()),
    }
}

/// Those of `found` that lie inside a file of `len` bytes and overlap none before them.
pub(super) fn in_order(mut found: Vec<Tensor>, len: u64) -> Vec<Tensor> {
    found.retain(|tensor| {
        tensor.len > 0 && tensor.offset.checked_add(tensor.len).is_some_and(|end| end <= len)
    });
    found.sort_by_key(|tensor| (tensor.offset, tensor.len));
    let mut end = 0;
    found.retain(|tensor| {
        let follows = tensor.offset >= end;
        end = if follows { tensor.end() } else { end };
        follows
    });
    found.truncate(TENSORS_MAX);
    found
}
