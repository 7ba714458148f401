//! What the tables of the libraries' files say for people, held against what was saved.

use super::samples::{Beside, Bytes, fixture};
use super::{Described, describe, recognise};

/// A file's rows as lines: name, type, shape, the values of the first part, and `encoded`.
fn rows(name: &str) -> Vec<Described> {
    of_bytes(name, fixture(name))
}

fn of_bytes(name: &str, bytes: Vec<u8>) -> Vec<Described> {
    let source = Bytes::new(bytes);
    let format = recognise(name.as_bytes(), &source).unwrap().unwrap();
    describe(format, name.as_bytes(), &source, &Beside(vec![("ckpt-5.index", 241)])).unwrap()
}

/// The bytes at the parts of a row.
fn bytes_of(file: &[u8], row: &Described) -> Vec<u8> {
    let part = |(offset, len): &(u64, u64)| {
        let from = usize::try_from(*offset).unwrap();
        &file[from..from + usize::try_from(*len).unwrap()]
    };
    row.parts.iter().flat_map(part).copied().collect()
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

fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[test]
fn safetensors_and_npy_tell_each_array() {
    let file = fixture("model.safetensors");
    let found = rows("model.safetensors");
    assert_eq!(lines(&found), ["w f32 [2, 3]", "b f16 [3]", "n i8 [0]"]);
    assert_eq!(bytes_of(&file, &found[0]), floats(&[1.0; 6]));
    assert_eq!(bytes_of(&file, &found[1]), [0, 0x3c].repeat(3));
    let file = fixture("array.npy");
    let found = rows("array.npy");
    assert_eq!(lines(&found), [" f32 [3, 4]"]);
    let twelve: Vec<f32> = (0_u8..12).map(f32::from).collect();
    assert_eq!(bytes_of(&file, &found[0]), floats(&twelve));
    assert_eq!(lines(&rows("record.npy")), [" record [3] encoded"]);
}
