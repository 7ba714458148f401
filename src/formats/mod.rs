//! What the bytes of a file are: checkpoint content or not, whole and valid or not, and the step, epoch and metrics that
//! they carry.
//!
//! Pure and total: any bytes in, an answer out, in bounded time and memory; nothing that a file says is ever executed.
//! [`recognise`] first, which reads a few KiB; then [`validate`], [`facts`], [`tensors`] and [`describe`] with the format that it told. An error
//! comes only from the caller's [`Source`] or [`Siblings`]: bad bytes are an answer, [`Validity::Invalid`].

mod check;
mod dcp;
mod describe;
mod dtype;
mod elements;
mod ending;
mod gguf;
mod hdf5;
mod json;
mod literal;
mod members;
mod msgpack;
mod named;
mod npy;
mod pickle;
mod protobuf;
mod read;
mod rebuilt;
mod recognise;
mod safetensors;
mod scalars;
mod shards;
mod snappy;
mod sstable;
mod stored;
mod tensors;
mod text;
mod tf;
mod torch;
mod trainer;
mod walk;
mod zarr;
mod zip;

#[cfg(test)]
mod describe_tests;
#[cfg(test)]
mod fuzz_tests;
#[cfg(test)]
mod samples;
#[cfg(test)]
mod tensors_tests;
#[cfg(test)]
mod zip_tests;

use std::collections::BTreeMap;

pub use check::validate;
pub use describe::{Described, describe};
pub use elements::decode;
pub use recognise::{is_named_checkpoint, recognise};
pub use scalars::facts;
pub use tensors::{Tensor, tensors};
pub use trainer::trainer_state;

use crate::base;

/// Bytes of one file, read at random.
///
/// The length must not change while the file is looked at; nothing is read past it.
pub trait Source {
    /// Length in bytes.
    fn len(&self) -> u64;
    /// Fills `buf` with the bytes from `offset` on.
    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> base::Result<()>;
    /// Whether the file has no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The files in the same directory as the one looked at, for formats that name others.
pub trait Siblings {
    /// Length in bytes of the file `name`, a name without `/`; `None` when there is none.
    fn len_of(&self, name: &[u8]) -> base::Result<Option<u64>>;
    /// The bytes of the file `name`, a name without `/`; `None` when there is none.
    fn open(&self, name: &[u8]) -> base::Result<Option<Box<dyn Source + '_>>>;
}

/// A kind of checkpoint content. The numbers are kept on disk and never change their meaning.
#[repr(u8)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `torch.save`: a zip around `data.pkl`; Lightning's `.ckpt` and TorchScript too.
    TorchZip = 1,
    /// `torch.save` before 1.6, and any other pickle of protocol 2 or later.
    Pickle = 2,
    /// A length, a JSON header, tensors.
    Safetensors = 3,
    /// `<prefix>.index` of a TensorFlow checkpoint.
    TfIndex = 4,
    /// `<prefix>.data-00000-of-00001` of a TensorFlow checkpoint.
    TfData = 5,
    /// `saved_model.pb`.
    SavedModel = 6,
    /// HDF5: Keras' `.h5`, h5py.
    Hdf5 = 7,
    /// Keras' `.keras`: a zip with an HDF5 file in it.
    Keras = 8,
    /// One numpy array.
    Npy = 9,
    /// A zip of numpy arrays.
    Npz = 10,
    /// A data file of PyTorch's distributed checkpoint (DCP): `__0_0.distcp`.
    DcpData = 11,
    /// `.metadata` of a PyTorch distributed checkpoint.
    DcpMetadata = 12,
    /// Orbax: data and manifests of an OCDBT database, compressed zarr chunks.
    OrbaxData = 13,
    /// llama.cpp's model files.
    Gguf = 14,
    /// Any other binary file of 1 MiB or more, and models that are told by their front or their name.
    Binary = 15,
}

impl Format {
    /// Every format, in order of number.
    pub const ALL: [Format; 15] = [
        Format::TorchZip,
        Format::Pickle,
        Format::Safetensors,
        Format::TfIndex,
        Format::TfData,
        Format::SavedModel,
        Format::Hdf5,
        Format::Keras,
        Format::Npy,
        Format::Npz,
        Format::DcpData,
        Format::DcpMetadata,
        Format::OrbaxData,
        Format::Gguf,
        Format::Binary,
    ];

    /// The format with this number, the one of `format as u8`.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|format| *format as u8 == number)
    }

    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Format::TorchZip => "torch",
            Format::Pickle => "pickle",
            Format::Safetensors => "safetensors",
            Format::TfIndex => "tensorflow index",
            Format::TfData => "tensorflow data",
            Format::SavedModel => "saved model",
            Format::Hdf5 => "hdf5",
            Format::Keras => "keras",
            Format::Npy => "npy",
            Format::Npz => "npz",
            Format::DcpData => "dcp data",
            Format::DcpMetadata => "dcp metadata",
            Format::OrbaxData => "orbax data",
            Format::Gguf => "gguf",
            Format::Binary => "binary",
        }
    }
}

/// Whether a file is all that its format says it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Validity {
    /// As far as its structure tells; the values inside are not judged.
    Valid,
    /// A reader of the format would fail on it; why, in one line for people.
    Invalid(String),
}

/// What a file says of the training run at the moment of the save.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Facts {
    /// Optimizer steps or iterations done.
    pub step: Option<u64>,
    /// Epochs, rounded down.
    pub epoch: Option<u64>,
    /// Finite numbers by the name they bear in the file: losses, accuracies, scores. At most 64.
    pub metrics: BTreeMap<String, f64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_one_to_one() {
        for (place, format) in Format::ALL.into_iter().enumerate() {
            assert_eq!(usize::from(format as u8), place + 1);
            assert_eq!(Format::from_number(format as u8), Some(format));
            assert_eq!(Format::ALL.into_iter().filter(|other| other.name() == format.name()).count(), 1);
        }
        assert_eq!((Format::from_number(0), Format::from_number(16)), (None, None));
    }
}
