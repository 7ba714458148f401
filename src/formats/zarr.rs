//! The chunk of a zarr array, as the array's own file beside it describes it: `.zarray` of version 2, `zarr.json` of
//! version 3.
//!
//! Where a chunk lies in a folder below its array, as version 3 has it, nothing lies beside it. Orbax' databases (OCDBT) have no
//! such file at all.

use serde::Deserialize;

use super::describe::Described;
use super::read::{self, Fault};
use super::{Siblings, Source, dtype};

/// An array's file beyond this, in bytes, is none.
const JSON_MAX: usize = 1 << 20;

/// What is looked at of a `.zarray`.
#[derive(Deserialize)]
struct Second {
    dtype: String,
    shape: Vec<u64>,
    chunks: Vec<u64>,
}

/// What is looked at of a `zarr.json`.
#[derive(Deserialize)]
struct Third {
    data_type: String,
    shape: Vec<u64>,
    chunk_grid: Grid,
}

#[derive(Deserialize)]
struct Grid {
    configuration: Configuration,
}

#[derive(Deserialize)]
struct Configuration {
    chunk_shape: Vec<u64>,
}

/// The chunk that the file is; none when nothing beside it says what it is a chunk of.
pub(super) fn describe(source: &dyn Source, siblings: &dyn Siblings) -> Result<Vec<Described>, Fault> {
    let array = match siblings.open(b".zarray")? {
        Some(json) => parse::<Second>(json.as_ref())?.map(|array| (array.dtype, array.shape, array.chunks)),
        None => match siblings.open(b"zarr.json")? {
            Some(json) => parse::<Third>(json.as_ref())?
                .map(|array| (array.data_type, array.shape, array.chunk_grid.configuration.chunk_shape)),
            None => None,
        },
    };
    let Some((word, shape, chunk)) = array else { return Ok(Vec::new()) };
    Ok(vec![Described {
        dtype: dtype::of_zarr(&word).0,
        shape: chunk,
        global_shape: Some(shape),
        parts: vec![(0, source.len())],
        // Only compressed chunks are known for what they are.
        encoded: true,
        ..Described::default()
    }])
}

fn parse<T: for<'de> Deserialize<'de>>(json: &dyn Source) -> Result<Option<T>, Fault> {
    let bytes = read::at_most(json, 0, JSON_MAX)?;
    Ok(serde_json::from_slice(&bytes).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::formats::samples::{Bytes, One};
    use crate::formats::{Format, describe};

    fn said(name: &'static str, json: &'static str) -> Vec<Described> {
        describe(Format::OrbaxData, b"w/0.0", &Bytes::new(vec![7; 30]), &One(name, json.into())).unwrap()
    }

    #[test]
    fn a_chunk_is_told_by_the_file_of_its_array() {
        // As Orbax writes it.
        let second = r#"{"chunks":[8,4],"compressor":{"id":"zstd","level":1},"dtype":"<f4","shape":[16,4],"zarr_format":2}"#;
        let chunk = Described {
            dtype: "f32".into(),
            shape: vec![8, 4],
            global_shape: Some(vec![16, 4]),
            parts: vec![(0, 30)],
            encoded: true,
            ..Described::default()
        };
        assert_eq!(said(".zarray", second), [chunk]);
        let third = r#"{"chunk_grid":{"configuration":{"chunk_shape":[]},"name":"regular"},"data_type":"bfloat16","shape":[],"zarr_format":3}"#;
        let [scalar] = &said("zarr.json", third)[..] else { panic!("one chunk") };
        assert_eq!((scalar.dtype.as_str(), scalar.shape.len(), &scalar.global_shape), ("bf16", 0, &None));
        for (name, json) in [("other", second), (".zarray", "{"), (".zarray", third), ("zarr.json", "[1]")] {
            assert_eq!(said(name, json), [], "{name} {json}");
        }
    }
}
