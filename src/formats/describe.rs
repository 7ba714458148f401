//! The tensors of a file for people: name, type, shape, and where their bytes lie.
//!
//! Unlike [`super::tensors`], which cuts files and so tells each byte at most once, this tells every tensor that a reader
//! of the file would get: two of them may share their bytes, and one may lie in many pieces or in none. A wrong or hostile
//! table gives wrong rows, never more than that: every part told lies inside the file, and rows are bounded. A row that
//! is not [`Described::encoded`] is exactly as long as its type and shape say.

use super::read::Fault;
use super::tensors::TENSORS_MAX;
use super::{
    Format, Siblings, Source, dtype, gguf, hdf5, members, npy, safetensors, shards, stored, tf, torch, zarr,
};
use crate::base::Result;

/// The most sides that a tensor has; numpy's own limit.
pub(super) const SIDES_MAX: usize = 64;

/// One tensor, as the file's own table, or the table beside it, describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Described {
    /// As users know it: the path in a state dict (`optimizer.state.0.exp_avg`), TensorFlow's key of the variable, the
    /// member of an npz without `.npy`, the path in an HDF5 file. Empty where there is but one without a name.
    pub name: String,
    /// Its type: `f64`, `f32`, `f16`, `bf16`, `f8_e4m3`, `f8_e5m2`, `i8` to `i64`, `u8` to `u64`, `bool`, `c64`, `c128`;
    /// any other by the format's own word, empty when it is not known.
    pub dtype: String,
    /// Elements along each side, of what is in this file; empty for a scalar.
    pub shape: Vec<u64>,
    /// The shape of the whole tensor, where this file has but a part of it.
    pub global_shape: Option<Vec<u64>>,
    /// Offset and length in bytes of each piece of it in this file, in the order of its elements. Empty when no bytes of
    /// the file are its own.
    pub parts: Vec<(u64, u64)>,
    /// The bytes at `parts` are not its elements alone, little-endian, in row-major order.
    pub encoded: bool,
}

impl Described {
    /// Its bytes in the file.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().fold(0, |sum: u64, (_, len)| sum.saturating_add(*len))
    }

    /// The bytes that its type and shape make; `None` when the type is none of ours. What overflows is of no file's
    /// length.
    fn wanted(&self) -> Option<u64> {
        let element = dtype::element_bytes(&self.dtype)?;
        // A side of nothing makes nothing, however long the others are.
        if self.shape.contains(&0) {
            return Some(0);
        }
        Some(self.shape.iter().fold(element, |all, side| all.saturating_mul(*side)))
    }

    /// Moves it by `by` bytes: from a part of a file into the file.
    pub(super) fn shift(&mut self, by: u64) {
        self.parts.iter_mut().for_each(|(offset, _)| *offset = offset.saturating_add(by));
    }

    /// Drops what lies outside a file of `len` bytes, and calls encoded what is not of its type and shape.
    pub(super) fn settle(&mut self, len: u64) {
        self.parts
            .retain(|(offset, part)| *part > 0 && offset.checked_add(*part).is_some_and(|end| end <= len));
        self.encoded |= self.wanted() != Some(self.bytes());
        if self.global_shape.as_ref() == Some(&self.shape) {
            self.global_shape = None;
        }
    }
}

/// The tensors of a file of this format, as [`super::recognise`] told it, in order of the first byte of each and then of
/// name, those without bytes last; none where it has no table, or a damaged one. At most 1,048,576.
///
/// TensorFlow's data files are told by the `.index` beside them, those of a distributed checkpoint by the `.metadata`, a
/// zarr chunk by its `.zarray`, all others by themselves. Only tables are read, never the tensors. An error comes only
/// from `source` or `siblings`.
pub fn describe(
    format: Format,
    name: &[u8],
    source: &dyn Source,
    siblings: &dyn Siblings,
) -> Result<Vec<Described>> {
    let file = name.rsplit(|byte| *byte == b'/').next().unwrap_or(name);
    let mut found = match table(format, file, source, siblings) {
        Ok(found) => found,
        Err(Fault::Invalid(_)) => return Ok(Vec::new()),
        Err(Fault::Failed(error)) => return Err(error),
    };
    found.iter_mut().for_each(|tensor| tensor.settle(source.len()));
    let first = |tensor: &Described| tensor.parts.first().map_or(u64::MAX, |(offset, _)| *offset);
    found.sort_by(|left, right| first(left).cmp(&first(right)).then_with(|| left.name.cmp(&right.name)));
    found.truncate(TENSORS_MAX);
    Ok(found)
}

fn table(
    format: Format,
    file: &[u8],
    source: &dyn Source,
    siblings: &dyn Siblings,
) -> Result<Vec<Described>, Fault> {
    match format {
        Format::TorchZip => torch::describe(source),
        Format::Pickle => stored::describe(source),
        Format::Safetensors => safetensors::describe(source),
        Format::TfData => tf::describe(file, siblings),
        Format::Hdf5 => hdf5::describe(source),
        Format::Keras => members::describe(source, b".h5", hdf5::describe),
        Format::Npy => npy::describe(source),
        Format::Npz => {
            let mut found = members::describe(source, b".npy", npy::describe)?;
            found.extend(members::compressed(source, b".npy")?);
            Ok(found)
        }
        Format::DcpData => shards::describe(file, source, siblings),
        Format::OrbaxData => zarr::describe(source, siblings),
        Format::Gguf => gguf::describe(source),
        Format::TfIndex | Format::SavedModel | Format::DcpMetadata | Format::Binary => Ok(Vec::new()),
    }
}
