//! One check for each format: is the file all that its format says it is?

use super::read::{Fault, invalid};
use super::{
    Format, Siblings, Source, Validity, dcp, ending, gguf, hdf5, npy, safetensors, tf, torch, walk, zip,
};
use crate::base::Result;

/// Whether a file of this format, as [`super::recognise`] told it, is whole.
///
/// Structure only: headers, directories, lengths, the files beside that it names. The cost goes with the number of
/// tensors, not with their bytes. A format without a check of its own is valid.
pub fn validate(
    format: Format,
    name: &[u8],
    source: &dyn Source,
    siblings: &dyn Siblings,
) -> Result<Validity> {
    let file = name.rsplit(|byte| *byte == b'/').next().unwrap_or(name);
    match check(format, file, source, siblings) {
        Ok(()) => Ok(Validity::Valid),
        Err(Fault::Invalid(why)) => Ok(Validity::Invalid(why)),
        Err(Fault::Failed(error)) => Err(error),
    }
}

fn check(format: Format, file: &[u8], source: &dyn Source, siblings: &dyn Siblings) -> Result<(), Fault> {
    match format {
        Format::TorchZip => torch::check(source),
        Format::Pickle => walk::check(source),
        Format::Safetensors => safetensors::check(source),
        Format::TfIndex => tf::check_index(file, source, siblings),
        Format::SavedModel => tf::check_saved_model(source),
        Format::Hdf5 => hdf5::check(source),
        Format::Keras => zip::check(source, "keras zip"),
        Format::Npy => npy::check(source),
        Format::Npz => zip::check(source, "npz"),
        Format::DcpMetadata => dcp::check(source, siblings),
        Format::Gguf => gguf::check(source),
        Format::Binary => ending::check(file, source),
        // Their lengths are told by the index, the metadata, the manifest.
        Format::TfData | Format::DcpData | Format::OrbaxData if source.is_empty() => invalid("empty file"),
        Format::TfData | Format::DcpData | Format::OrbaxData => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::recognise;
    use crate::formats::samples::{Beside, Bytes, alone, fixture, fixtures};

    #[test]
    fn what_the_libraries_wrote_is_valid_and_what_was_cut_is_not() {
        let len = fixture("ckpt-5.data-00000-of-00001").len() as u64;
        let beside = Beside(vec![("ckpt-5.data-00000-of-00001", len)]);
        for name in fixtures() {
            let path = format!("some/run/{name}");
            let source = Bytes::new(fixture(&name));
            let format = recognise(path.as_bytes(), &source).unwrap().unwrap();
            let said = validate(format, path.as_bytes(), &source, &beside).unwrap();
            assert_eq!(said == Validity::Valid, name != "cut.pt", "{name}: {said:?}");
            if let Validity::Invalid(why) = said {
                assert_eq!(why, "torch zip without its central directory: cut short");
            }
        }
    }

    #[test]
    fn a_zip_of_arrays_or_of_keras_without_its_last_byte_is_invalid() {
        for (format, name) in
            [(Format::Npz, "arrays.npz"), (Format::Npz, "small.npz"), (Format::Keras, "tiny.keras")]
        {
            let whole = fixture(name);
            let said = validate(format, b"x", &Bytes::new(&whole[..whole.len() - 1]), &alone()).unwrap();
            assert!(matches!(said, Validity::Invalid(why) if why.contains("cut short")), "{name}");
        }
    }

    #[test]
    fn a_failing_medium_is_an_error_for_every_format_that_is_read() {
        let unread = [Format::TfData, Format::DcpData, Format::OrbaxData];
        for format in Format::ALL.into_iter().filter(|format| !unread.contains(format)) {
            let said = validate(format, b"a.index", &Bytes::failing(vec![8; 100]), &alone());
            assert!(said.is_err(), "{format:?}");
        }
    }
}
