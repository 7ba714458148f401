//! Which format a file is of, by its name and by a few KiB of it.
//!
//! A file that is damaged or cut short is still of its format, told by its front: what is wrong with it is for
//! [`super::validate`] to say. First what is never checkpoint content, then the magic numbers, then the names, and only
//! then size and looks.

use super::{
    Format, Source, gguf, hdf5, named, npy, pickle, read, safetensors, sstable, text, tf, torch, zip,
};
use crate::base::Result;

/// A binary file of this many bytes or more is checkpoint content, whatever it is and whatever its name.
const BINARY_MIN: u64 = 1 << 20;
/// What is read of the front, in bytes.
const HEAD: usize = 512;
/// Entries of a zip that are looked at when the first one does not tell.
const ENTRIES: usize = 64;

/// How names end of files that are appended to: the log of a run, and what SQLite keeps beside a database.
const LOGS: &[&[u8]] = &[b".wandb", b"-journal", b"-wal", b"-shm"];

/// How files begin that are databases: SQLite's, its journal's, its write-ahead log's in both byte orders.
const DATABASES: &[&[u8]] =
    &[b"SQLite format 3\0", b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7", b"\x37\x7f\x06\x82", b"\x37\x7f\x06\x83"];

/// How the names of checkpoint files end whose formats have no empty file.
const ENDINGS: &[&[u8]] = &[
    b".pt",
    b".pth",
    b".ckpt",
    b".safetensors",
    b".npy",
    b".npz",
    b".h5",
    b".hdf5",
    b".keras",
    b".gguf",
    b".distcp",
];

/// Whether a file's name alone says that it is checkpoint content, once it has bytes.
pub fn is_named_checkpoint(name: &[u8]) -> bool {
    ENDINGS.iter().any(|ending| name.ends_with(ending)) || named::is_named_model(name)
}

/// The format of a file, or `None` when it is not checkpoint content (text, logs, event files, databases, pointers).
///
/// `name` is the file's name, with the folders above it as far as they are known, divided by `/`; Orbax' files are told
/// by them. Reads a few KiB: the front, and the tail or the middle where these do not tell.
pub fn recognise(name: &[u8], source: &dyn Source) -> Result<Option<Format>> {
    let file = name.rsplit(|byte| *byte == b'/').next().unwrap_or(name);
    if source.is_empty() || is_log(file) {
        return Ok(None);
    }
    let head = read::at_most(source, 0, HEAD)?;
    if DATABASES.iter().any(|magic| head.starts_with(magic)) {
        return Ok(None);
    }
    if let Some(format) = by_magic(file, &head, source)? {
        return Ok(Some(format));
    }
    if let Some(format) = by_name(name, file, &head, source)? {
        return Ok(Some(format));
    }
    if named::is_model(file, &head, source)? {
        return Ok(Some(Format::Binary));
    }
    // TensorFlow 1 wrote its graph, without any numbers, as `.meta` beside each checkpoint.
    let is_graph = file.ends_with(b".meta");
    let binary = !is_graph && source.len() >= BINARY_MIN && !text::is_text(source)?;
    Ok(binary.then_some(Format::Binary))
}

/// Whether a file is named as one that is appended to for as long as a run goes on.
fn is_log(file: &[u8]) -> bool {
    let is_event_file = file.windows(20).any(|part| part == b"events.out.tfevents.");
    is_event_file || LOGS.iter().any(|ending| file.ends_with(ending))
}

fn by_magic(file: &[u8], head: &[u8], source: &dyn Source) -> Result<Option<Format>> {
    if head.starts_with(b"PK\x03\x04") {
        return by_entries(file, head, source);
    }
    Ok(if pickle::begins(head) {
        let metadata = matches!(file, b".metadata" | b".metadata.tmp");
        Some(if metadata { Format::DcpMetadata } else { Format::Pickle })
    } else if safetensors::begins(head) {
        Some(Format::Safetensors)
    } else if head.starts_with(npy::MAGIC) {
        Some(Format::Npy)
    } else if head.starts_with(gguf::MAGIC) {
        Some(Format::Gguf)
    } else if head.starts_with(hdf5::SIGNATURE) || is_hdf5_behind_a_user_block(file, source)? {
        Some(Format::Hdf5)
    } else {
        None
    })
}

/// Whether HDF5 begins further on; only files with its endings are searched, because it costs five reads.
fn is_hdf5_behind_a_user_block(file: &[u8], source: &dyn Source) -> Result<bool> {
    let named = [&b".h5"[..], b".hdf5", b".keras", b".mat"].iter().any(|ending| file.ends_with(ending));
    Ok(named && hdf5::find(source)?.is_some())
}

/// Which kind of zip: by the name of its first entry, else by its directory.
fn by_entries(file: &[u8], head: &[u8], source: &dyn Source) -> Result<Option<Format>> {
    if file.ends_with(b".distcp") {
        return Ok(Some(Format::DcpData));
    }
    if file.ends_with(b".keras") {
        return Ok(Some(Format::Keras));
    }
    let kind = |entry: &[u8]| match entry {
        b"model.weights.h5" => Some(Format::Keras),
        entry if torch::names_part(entry) => Some(Format::TorchZip),
        entry if entry.ends_with(b".npy") => Some(Format::Npz),
        // Reinforcement learners put files of torch into a zip of their own.
        entry if is_named_checkpoint(entry) => Some(Format::Binary),
        _ => None,
    };
    if let Some(format) = zip::first_name(head).and_then(kind) {
        return Ok(Some(format));
    }
    let names = zip::names(source, ENTRIES)?;
    // Of one that was cut short nothing more can be told: it may have been to become a checkpoint.
    let cut = names.is_empty() && file.ends_with(b".zip");
    Ok(names.iter().find_map(|entry| kind(entry)).or(cut.then_some(Format::Binary)))
}

fn by_name(name: &[u8], file: &[u8], head: &[u8], source: &dyn Source) -> Result<Option<Format>> {
    let plain = tf::final_name(file);
    if plain.ends_with(b".index") && (tf::begins_index(head) || sstable::has_footer(source)?) {
        return Ok(Some(Format::TfIndex));
    }
    if tf::names_data(file) {
        return Ok(Some(Format::TfData));
    }
    if file == b"saved_model.pb" {
        return Ok(Some(Format::SavedModel));
    }
    if file.ends_with(b".distcp") {
        return Ok(Some(Format::DcpData));
    }
    let orbax = is_orbax(name, file, head) && (file == b"manifest.ocdbt" || !text::is_text(source)?);
    Ok(orbax.then_some(Format::OrbaxData))
}

/// Whether a file is named as Orbax' are: a manifest, `d/<32 hex>` of its database, or a zarr chunk (`0.0`, `c/0/0`) in
/// the compression that Orbax uses.
fn is_orbax(name: &[u8], file: &[u8], head: &[u8]) -> bool {
    let is_hex = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
    let object = file.len() == 32 && file.iter().all(is_hex);
    let in_folder =
        name.len() == file.len() || name.ends_with(&[b"/d/", file].concat()) || name.starts_with(b"d/");
    // The only chunk of an array without sides is `c` itself.
    let chunk = file == b"c" || file.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
    let compressed = head.starts_with(b"\x28\xb5\x2f\xfd");
    file == b"manifest.ocdbt" || (object && in_folder) || (chunk && compressed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::samples::{Bytes, Huge, fixture, fixtures};

    fn said(name: &str, bytes: impl Into<Vec<u8>>) -> Option<Format> {
        recognise(name.as_bytes(), &Bytes::new(bytes)).unwrap()
    }

    /// What each fixture is.
    fn format_of(name: &str) -> Format {
        match name {
            "__0_0.distcp" | "__1_0.distcp" => Format::DcpData,
            "arrays.npz" | "small.npz" => Format::Npz,
            "array.npy" | "fortran.npy" | "record.npy" => Format::Npy,
            "ckpt-5.index" => Format::TfIndex,
            "ckpt-5.data-00000-of-00001" => Format::TfData,
            "legacy.pth" | "list.pth" | "plain.pkl" | "protocol2.pkl" => Format::Pickle,
            "dcp.metadata" | "sharded.metadata" => Format::Pickle,
            "model.safetensors" => Format::Safetensors,
            "saved_model.pb" => Format::SavedModel,
            "tiny.keras" => Format::Keras,
            name if name.ends_with(".h5") => Format::Hdf5,
            _ => Format::TorchZip,
        }
    }

    #[test]
    fn what_the_libraries_write_is_recognised_and_so_is_its_front_half() {
        assert!(fixtures().len() >= 15);
        for name in fixtures() {
            let bytes = fixture(&name);
            assert_eq!(said(&name, bytes.clone()), Some(format_of(&name)), "{name}");
            assert_eq!(said(&name, &bytes[..bytes.len() / 2]), Some(format_of(&name)), "half of {name}");
            let whole = Bytes::new(bytes);
            recognise(name.as_bytes(), &whole).unwrap();
            assert!(whole.reads() <= 4 && whole.read_bytes() <= 8192, "{name}: {} reads", whole.reads());
        }
        assert_eq!(said("run/.metadata", fixture("dcp.metadata")), Some(Format::DcpMetadata));
    }

    #[test]
    fn what_is_no_checkpoint_is_none_however_large() {
        let megabytes = |part: &[u8]| part.repeat((3 << 20) / part.len());
        for (name, bytes) in [
            ("metrics.json", megabytes(b"{\"loss\": 0.5}\n")),
            ("train.log", megabytes("epoch 1 \u{e9}\n".as_bytes())),
            ("events.out.tfevents.1700000000.host", megabytes(&[0, 1, 2, 3])),
            ("run-1.wandb", megabytes(b":W&B\0")),
            ("mlflow.db", [b"SQLite format 3\0".to_vec(), megabytes(&[0])].concat()),
            ("mlflow.db-shm", megabytes(&[0, 9])),
            ("mlflow.db-journal", megabytes(&[0])),
            ("mlflow.db-wal", [vec![0x37, 0x7f, 6, 0x82], megabytes(&[0])].concat()),
            ("ckpt-1.meta", megabytes(&[10, 200, 0])),
            ("latest", b"global_step100".to_vec()),
            ("checkpoint", b"model_checkpoint_path: \"ckpt-1\"\n".to_vec()),
            ("empty.pt", Vec::new()),
            ("zarr.json", b"{\"zarr_format\": 3}".to_vec()),
            ("small.bin", vec![0; (1 << 20) - 1]),
            ("notes.index", b"0000".to_vec()),
            ("fingerprint.pb", vec![9, 1, 2]),
        ] {
            assert_eq!(said(name, bytes), None, "{name}");
        }
    }

    #[test]
    fn any_other_binary_file_counts_from_one_mebibyte_on() {
        assert_eq!(said("weights.bin", vec![0; 1 << 20]), Some(Format::Binary));
        let tebibyte = Huge { head: b"text at the front".to_vec(), len: 1 << 40, fill: 0xee };
        assert_eq!(recognise(b"x", &tebibyte).unwrap(), Some(Format::Binary));
    }

    #[test]
    fn small_models_count_by_their_front_or_name_and_so_does_a_zip_around_them() {
        assert_eq!(said("model.txt", *b"tree\nversion=v4\n"), Some(Format::Binary));
        assert_eq!(said("runs/checkpoint_500", [0x82, 0xa1, 0, 0xff]), Some(Format::Binary));
        let zip = |entry: &[u8]| {
            let len = u8::try_from(entry.len()).unwrap();
            [&b"PK\x03\x04"[..], &[0; 22], &[len, 0, 0, 0], entry, b"..."].concat()
        };
        assert_eq!(said("policy.zip", zip(b"policy.pth")), Some(Format::Binary));
        assert_eq!(said("policy.zip", zip(b"data")), Some(Format::Binary), "cut before its directory");
        assert_eq!(said("x.jar", zip(b"data")), None);
    }

    #[test]
    fn orbax_is_told_by_its_names() {
        let object = "0123456789abcdef0123456789abcdef";
        assert_eq!(said(&format!("ocdbt.process_0/d/{object}"), [0, 1]), Some(Format::OrbaxData));
        assert_eq!(said(object, [0, 1]), Some(Format::OrbaxData));
        assert_eq!(said("manifest.ocdbt", [0, 1]), Some(Format::OrbaxData));
        assert_eq!(said("w/c/0/0", *b"\x28\xb5\x2f\xfd..."), Some(Format::OrbaxData));
        assert_eq!(said("s/c", *b"\x28\xb5\x2f\xfd..."), Some(Format::OrbaxData));
        assert_eq!(said("w/0.0", *b"\x28\xb5\x2f\xfd..."), Some(Format::OrbaxData));
        assert_eq!(said(&format!("cache/{object}"), [0, 1]), None);
        assert_eq!(said(&format!("d/{object}"), *b"text"), None);
        assert_eq!(said("w/c/0/0", *b"...."), None);
    }

    #[test]
    fn a_failing_medium_is_an_error() {
        assert!(recognise(b"a.pt", &Bytes::failing([1, 2, 3])).is_err());
    }
}
