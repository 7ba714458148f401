//! Tensors in what the libraries wrote, and in tables that lie.

use super::samples::{Beside, Bytes, Huge, alone, fixture};
use super::{Format, Siblings, Source, Tensor, recognise, tensors};
use crate::base::bytes::Put;

/// Name and bytes of each tensor of a file.
fn found(name: &str, bytes: Vec<u8>, siblings: &dyn Siblings) -> Vec<(String, Vec<u8>)> {
    let source = Bytes::new(bytes.clone());
    let format = recognise(name.as_bytes(), &source).unwrap().unwrap();
    let slice = |tensor: &Tensor| {
        bytes[usize::try_from(tensor.offset).unwrap()..usize::try_from(tensor.end()).unwrap()].to_vec()
    };
    let found = tensors(format, name.as_bytes(), &source, siblings).unwrap();
    found.iter().map(|tensor| (String::from_utf8(tensor.name.clone()).unwrap(), slice(tensor))).collect()
}

fn of_fixture(name: &str) -> Vec<(String, Vec<u8>)> {
    found(name, fixture(name), &Beside(vec![("ckpt-5.index", 241)]))
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn doubles(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// As owned pairs.
fn all(wanted: &[(&str, Vec<u8>)]) -> Vec<(String, Vec<u8>)> {
    wanted.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.clone())).collect()
}

#[test]
fn what_the_libraries_wrote_tells_its_tensors() {
    let twelve: Vec<f32> = (0_u8..12).map(f32::from).collect();
    assert_eq!(of_fixture("array.npy"), all(&[("", floats(&twelve))]));
    let step = 7_u64.to_le_bytes().to_vec();
    assert_eq!(of_fixture("arrays.npz"), all(&[("weights", floats(&twelve)), ("step", step)]));
    assert_eq!(of_fixture("small.npz"), [], "compressed");
    assert_eq!(of_fixture("model.safetensors"), all(&[("w", floats(&[1.0; 6])), ("b", [0, 0x3c].repeat(3))]));
    let tf = of_fixture("ckpt-5.data-00000-of-00001");
    assert!(tf.contains(&("w/.ATTRIBUTES/VARIABLE_VALUE".to_owned(), floats(&[1.0, 2.0]))), "{tf:?}");
    assert!(tf.iter().any(|(name, bytes)| name.starts_with("step/") && *bytes == [5, 0, 0, 0]), "{tf:?}");
    let dcp = of_fixture("__0_0.distcp");
    assert_eq!(dcp, all(&[("", floats(&[1.0; 4]))]));
}

#[test]
fn torchs_files_of_both_kinds_tell_their_storages() {
    for name in ["plain.pt", "epoch=2-step=300.ckpt", "legacy.pth"] {
        let storages = of_fixture(name);
        assert!(!storages.is_empty(), "{name}");
        assert!(storages.iter().all(|(_, bytes)| !bytes.is_empty()), "{name}");
    }
    assert_eq!(of_fixture("cut.pt"), []);
    assert_eq!(of_fixture("plain.pkl"), []);
}

#[test]
fn hdf5_of_each_kind_tells_its_datasets() {
    for name in ["v0.h5", "v3.h5", "user.h5", "tiny.keras"] {
        assert_eq!(of_fixture(name), all(&[("w", doubles(&[1.0, 2.0]))]), "{name}");
    }
    let behind = [vec![0; 512], fixture("v0.h5")].concat();
    assert_eq!(found("behind.h5", behind, &alone()), all(&[("w", doubles(&[1.0, 2.0]))]));
    let chunks = vec![("c", vec![1, 0, 2, 0, 3, 0]), ("c", vec![4, 0, 5, 0, 6, 0])];
    assert_eq!(of_fixture("chunks.h5"), all(&chunks));
    let dense: Vec<_> = of_fixture("dense.h5").into_iter().map(|(_, bytes)| bytes).collect();
    assert_eq!(dense, [doubles(&[1.0, 2.0]), doubles(&[3.0])]);
}

#[test]
fn torch_zips_end_to_end_are_found_from_the_last_to_the_first() {
    let one = fixture("__0_0.distcp");
    let three = found("__1_0.distcp", [&one[..], &one, &fixture("plain.pt")].concat(), &alone());
    assert_eq!(three[..2], all(&[("", floats(&[1.0; 4])), ("", floats(&[1.0; 4]))]));
    assert!(three.len() > 2);
    assert_eq!(found("__1_0.distcp", [b"PK\x03\x04", &one[..]].concat(), &alone()).len(), 1);
}

#[test]
fn tensorflow_without_its_index_or_with_another_one_has_no_tensors() {
    let name = "ckpt-5.data-00000-of-00001";
    assert_eq!(found(name, fixture(name), &alone()), []);
    let shard = "ckpt-5.data-00001-of-00002";
    assert_eq!(found(shard, fixture(name), &Beside(vec![("ckpt-5.index", 241)])), []);
}

fn safetensors(entries: impl Iterator<Item = (u64, u64)>, data: u64) -> Huge {
    let mut json = String::from("{");
    for (n, (begin, end)) in entries.enumerate() {
        if n > 0 {
            json.push(',');
        }
        json += &format!(r#""{n}":{{"dtype":"U8","shape":[1],"data_offsets":[{begin},{end}]}}"#);
    }
    json.push('}');
    let mut head = Vec::new();
    head.u64(json.len() as u64).raw(json.as_bytes());
    let len = head.len() as u64 + data;
    Huge { head, len, fill: 7 }
}

#[test]
fn ranges_that_overlap_or_lie_outside_are_dropped() {
    let lies = [(0, 100), (50, 60), (100, 90), (100, 200), (150, 1 << 63), (1 << 63, u64::MAX), (200, 200)];
    let file = safetensors(lies.into_iter(), 200);
    let header = file.len - 200;
    let found = tensors(Format::Safetensors, b"a", &file, &alone()).unwrap();
    let places: Vec<_> = found.iter().map(|tensor| (tensor.offset - header, tensor.len)).collect();
    assert_eq!(places, [(0, 100), (100, 100)]);
}

#[test]
fn a_table_of_a_quarter_of_a_million_entries_is_read_and_a_longer_one_is_not() {
    let many = |count: u64| {
        let file = safetensors((0..count).map(|n| (n, n + 1)), count);
        tensors(Format::Safetensors, b"a", &file, &alone()).unwrap().len()
    };
    assert_eq!(many(200_000), 200_000);
    assert_eq!(many(300_000), 0, "its header is longer than is looked at");
}

#[test]
fn a_failing_medium_is_an_error_for_every_format_with_a_table() {
    use Format::*;
    for format in [TorchZip, Pickle, Safetensors, Hdf5, Keras, Npy, Npz, DcpData] {
        assert!(tensors(format, b"a", &Bytes::failing(vec![8; 300]), &alone()).is_err(), "{format:?}");
    }
}

/// The files of a folder on disk.
pub(super) struct Folder(pub(super) std::path::PathBuf);

impl Siblings for Folder {
    fn len_of(&self, _: &[u8]) -> crate::base::Result<Option<u64>> {
        Ok(None)
    }

    fn open(&self, name: &[u8]) -> crate::base::Result<Option<Box<dyn Source + '_>>> {
        let bytes = std::fs::read(self.0.join(String::from_utf8_lossy(name).as_ref())).ok();
        Ok(bytes.map(|bytes| -> Box<dyn Source> { Box::new(Bytes::new(bytes)) }))
    }
}

/// `FILES=folder cargo test --lib -- --ignored --nocapture tensors_of_given_files`
#[test]
#[ignore = "to hold against what the libraries say"]
fn tensors_of_given_files() {
    let folder = Folder(std::env::var("FILES").unwrap().into());
    for entry in std::fs::read_dir(&folder.0).unwrap() {
        let path = entry.unwrap().path();
        let Ok(bytes) = std::fs::read(&path) else { continue };
        let (name, source) = (path.file_name().unwrap().to_str().unwrap(), Bytes::new(bytes));
        let Some(format) = recognise(name.as_bytes(), &source).unwrap() else { continue };
        let reads = source.read_bytes();
        for Tensor { name: of, offset, len } in tensors(format, name.as_bytes(), &source, &folder).unwrap() {
            println!("T {name} {} {offset} {len}", String::from_utf8_lossy(&of).replace(' ', "_"));
        }
        println!("R {name} {} {}", source.reads(), source.read_bytes() - reads);
    }
}
