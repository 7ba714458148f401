//! What the tables of the libraries' files say for people, held against what was saved.

use super::samples::{Bytes, One, alone, fixture};
use super::tensors_tests::Folder;
use super::{Described, Format, Siblings, Source, describe, recognise};

fn rows(name: &str) -> Vec<Described> {
    of_bytes(name, fixture(name), &alone())
}

fn of_bytes(name: &str, bytes: Vec<u8>, siblings: &dyn Siblings) -> Vec<Described> {
    let source = Bytes::new(bytes);
    let format = recognise(name.as_bytes(), &source).unwrap().unwrap();
    describe(format, name.as_bytes(), &source, siblings).unwrap()
}

/// Name, type and shape of each row, in a line.
fn lines(rows: &[Described]) -> Vec<String> {
    let line = |row: &Described| {
        let whole = row.global_shape.as_ref().map(|shape| format!(" of {shape:?}")).unwrap_or_default();
        let encoded = if row.encoded { " encoded" } else { "" };
        format!("{} {} {:?}{whole}{encoded}", row.name, row.dtype, row.shape)
    };
    rows.iter().map(line).collect()
}

/// The bytes at the parts of each row that is not encoded.
fn values(name: &str, rows: &[Described]) -> Vec<Vec<u8>> {
    let file = fixture(name);
    let part = |(offset, len): &(u64, u64)| {
        file[usize::try_from(*offset).unwrap()..usize::try_from(offset + len).unwrap()].to_vec()
    };
    let plain = rows.iter().filter(|row| !row.encoded);
    plain.map(|row| row.parts.iter().flat_map(part).collect()).collect()
}

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn twelve() -> Vec<u8> {
    floats(&(0_u8..12).map(f32::from).collect::<Vec<f32>>())
}

#[test]
fn safetensors_and_numpy_tell_each_array() {
    let name = "model.safetensors";
    let found = rows(name);
    assert_eq!(lines(&found), ["w f32 [2, 3]", "b f16 [3]", "n i8 [0]"]);
    assert_eq!(values(name, &found), [floats(&[1.0; 6]), [0, 0x3c].repeat(3), vec![]]);
    let found = rows("array.npy");
    assert_eq!(lines(&found), [" f32 [3, 4]"]);
    assert_eq!(values("array.npy", &found), [twelve()]);
    assert_eq!(lines(&rows("fortran.npy")), [" f32 [3, 4] encoded"]);
    assert_eq!(lines(&rows("record.npy")), [" record [3] encoded"]);
    let found = rows("arrays.npz");
    assert_eq!(lines(&found), ["weights f32 [3, 4]", "step i64 []"]);
    assert_eq!(values("arrays.npz", &found), [twelve(), 7_u64.to_le_bytes().to_vec()]);
    let small = rows("small.npz");
    assert_eq!(lines(&small), ["weights  [] encoded"], "what is compressed is named and placed");
    assert!(small[0].bytes() > 0 && small[0].bytes() < 200);
}

#[test]
fn an_array_of_objects_is_its_pickle_and_one_of_big_endian_numbers_is_encoded() {
    let file = |descr: &str| {
        let header = format!("{{'descr': {descr}, 'fortran_order': False, 'shape': (2,), }}\n");
        let len = u16::try_from(header.len()).unwrap().to_le_bytes();
        [b"\x93NUMPY\x01\0", &len[..], header.as_bytes(), &[1; 8]].concat()
    };
    for (descr, line) in [
        ("'|O'", " O [2] encoded"),
        ("'>f4'", " f32 [2] encoded"),
        ("'<i4'", " i32 [2]"),
        ("'<U1'", " U1 [2] encoded"),
    ] {
        let found = of_bytes("a.npy", file(descr), &alone());
        assert_eq!((lines(&found), found[0].bytes()), (vec![line.to_owned()], 8), "{descr}");
    }
}

#[test]
fn a_torch_file_tells_what_its_pickle_would_rebuild() {
    let found = rows("plain.pt");
    assert_eq!(lines(&found), ["model.w f32 [2, 3]", "model.b f64 [2]", "val_loss f32 []"]);
    let six = floats(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    assert_eq!(values("plain.pt", &found), [six.clone(), vec![0; 16], floats(&[0.5])]);
    let legacy = rows("legacy.pth");
    assert_eq!(lines(&legacy), ["model.b f64 [2]", "model.w f32 [2, 3]", "val_loss f32 []"]);
    assert_eq!(values("legacy.pth", &legacy), [vec![0; 16], six.clone(), floats(&[0.5])]);
    let list = rows("list.pth");
    assert_eq!(lines(&list), ["0 f32 [3, 2]", "1.b f32 [2]"]);
    assert_eq!(values("list.pth", &list), [six, floats(&[2.0, 3.0])]);
    let bare = rows("bare.pt");
    assert_eq!(lines(&bare), [" i16 [1, 2]"]);
    assert_eq!(values("bare.pt", &bare), [[1, 0, 2, 0]]);
    assert_eq!((rows("cut.pt"), rows("plain.pkl")), (vec![], vec![]));
}

#[test]
fn tensors_that_share_a_storage_are_told_each_and_turned_ones_are_encoded() {
    let found = rows("kinds.pt");
    let wanted = [
        "tied.embed.weight f32 [3, 2]",
        "tied.head.weight f32 [3, 2]",
        "turned f32 [2, 3] encoded",
        "rows f32 [2, 2]",
        "half bf16 [2]",
        "u16 u16 [2]",
        "f8 f8_e4m3 [1]",
        "list.0 bool []",
        "list.1.deep.0 i64 [1]",
        "none f32 [0, 4]",
    ];
    assert_eq!(lines(&found), wanted);
    assert!(found[0].parts == found[1].parts && found[0].parts == found[2].parts);
    let six = floats(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0]);
    let wanted = [
        six.clone(),
        six,
        floats(&[2.0, 3.0, 4.0, 5.0]),
        vec![0x80, 0x3f, 0, 0x40],
        vec![7, 0, 8, 0],
        vec![0x38],
        vec![1],
        vec![5, 0, 0, 0, 0, 0, 0, 0],
        vec![],
    ];
    assert_eq!(values("kinds.pt", &found), wanted);
}

#[test]
fn an_optimizers_state_and_what_lightning_saves_have_their_paths() {
    let found = rows("adamw.pt");
    let wanted = [
        "optimizer.state.0.step f32 []",
        "optimizer.state.0.exp_avg f32 [1, 2]",
        "optimizer.state.0.exp_avg_sq f32 [1, 2]",
        "optimizer.state.1.step f32 []",
        "optimizer.state.1.exp_avg f32 [1]",
        "optimizer.state.1.exp_avg_sq f32 [1]",
    ];
    assert_eq!(lines(&found), wanted);
    let found = values("adamw.pt", &found);
    assert_eq!(found[0], floats(&[1.0]));
    let first = f32::from_le_bytes(found[1][..4].try_into().unwrap());
    assert!((first - 0.1).abs() < 1e-6, "the mean of gradients of 1 after one step, not {first}");
    let lightning = lines(&rows("epoch=2-step=300.ckpt"));
    assert_eq!(lightning[2..], ["state_dict.w f32 [2, 3]", "state_dict.b f64 [2]"]);
}

#[test]
fn tensorflow_tells_its_variables_by_the_index_beside() {
    let name = "ckpt-5.data-00000-of-00001";
    let found = of_bytes(name, fixture(name), &One("ckpt-5.index", fixture("ckpt-5.index")));
    let wanted = [
        "step/.ATTRIBUTES/VARIABLE_VALUE i32 []",
        "w/.ATTRIBUTES/VARIABLE_VALUE f32 [2]",
        "_CHECKPOINTABLE_OBJECT_GRAPH string [] encoded",
    ];
    assert_eq!(lines(&found), wanted);
    assert_eq!(values(name, &found), [vec![5, 0, 0, 0], floats(&[1.0, 2.0])]);
    assert_eq!(of_bytes(name, fixture(name), &alone()), []);
}

#[test]
fn hdf5_and_keras_tell_each_dataset() {
    for name in ["v0.h5", "v3.h5", "user.h5", "tiny.keras"] {
        let found = rows(name);
        assert_eq!(lines(&found), ["w f64 [2]"], "{name}");
        assert_eq!(values(name, &found), [[1.0_f64.to_le_bytes(), 2.0_f64.to_le_bytes()].concat()]);
    }
    let chunks = rows("chunks.h5");
    assert_eq!((lines(&chunks), chunks[0].parts.len()), (vec!["c i16 [2, 3]".to_owned()], 2));
    assert_eq!(values("chunks.h5", &chunks), [[1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0]]);
    assert_eq!(lines(&rows("packed.h5")), ["packed i32 [64] encoded"]);
    let found = rows("types.h5");
    let wanted = ["layers/dense/vars/0 f16 [2]", "flags bool [2]", "big i32 [2] encoded", "scalar u64 []"];
    assert_eq!(lines(&found), wanted);
    let seven = 7_u64.to_le_bytes().to_vec();
    assert_eq!(values("types.h5", &found), [vec![0, 0x3c, 0, 0x40], vec![1, 0], seven]);
}

/// Metadata beside.
fn metadata(name: &str) -> One {
    One(".metadata", fixture(name))
}

#[test]
fn a_distributed_checkpoint_tells_shards_by_the_metadata_beside() {
    let (name, metadata) = ("__1_0.distcp", metadata("sharded.metadata"));
    let found = of_bytes(name, fixture(name), &metadata);
    assert_eq!(lines(&found), ["model.w f32 [2, 2] of [4, 2]"]);
    assert_eq!(values(name, &found), [floats(&[4.0, 5.0, 6.0, 7.0])]);
    let alone = of_bytes(name, fixture(name), &alone());
    assert_eq!(lines(&alone), [" f32 [2, 2]"], "without metadata there is no name");
    assert_eq!(alone[0].parts, found[0].parts);
    assert_eq!(of_bytes("__7_0.distcp", fixture(name), &metadata), [], "not a file that the metadata name");
    let other = of_bytes("__0_0.distcp", fixture("__0_0.distcp"), &One(".metadata", fixture("dcp.metadata")));
    assert_eq!(lines(&other), ["w f32 [4]"]);
}

#[test]
fn a_shard_that_is_compressed_is_told_by_the_metadata_alone() {
    let packed = vec![7; fixture("__1_0.distcp").len()];
    let source = Bytes::new(packed);
    let found = describe(Format::DcpData, b"__1_0.distcp", &source, &metadata("sharded.metadata")).unwrap();
    assert_eq!(lines(&found), ["model.w f32 [2, 2] of [4, 2] encoded"]);
    assert_eq!(found[0].parts, [(0, source.len())]);
}

/// `FILES=folder cargo test --lib -- --ignored --nocapture rows_of_given_files`
#[test]
#[ignore = "to hold against what the libraries say"]
fn rows_of_given_files() {
    let folder = Folder(std::env::var("FILES").unwrap().into());
    for entry in std::fs::read_dir(&folder.0).unwrap() {
        let path = entry.unwrap().path();
        let Ok(bytes) = std::fs::read(&path) else { continue };
        let (name, source) = (path.file_name().unwrap().to_str().unwrap(), Bytes::new(bytes));
        let Some(format) = recognise(name.as_bytes(), &source).unwrap() else { continue };
        let begin = std::time::Instant::now();
        let found = describe(format, name.as_bytes(), &source, &folder).unwrap();
        println!("F {name}: {} rows of {} in {:?}", found.len(), format.name(), begin.elapsed());
        for (row, line) in found.iter().zip(lines(&found)) {
            println!("R {name} {line} {:?}", row.parts);
        }
    }
}
