//! What cutting at tensor borders is for: the same tensor is the same chunks, in whatever file it lies.

use std::collections::BTreeSet;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use super::stored;
use super::write::seal_file;
use crate::base::Result;
use crate::base::bytes::Put;
use crate::base::id::ChunkId;
use crate::base::monitor::Silent;
use crate::content::cut::{GRID, MAX_CHUNK};
use crate::content::manifest::{Extent, Manifest};
use crate::formats::{self, Siblings, Source};
use crate::pack::PackStore;

struct Bytes<'a>(&'a [u8]);

impl Source for Bytes<'_> {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_exact_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let from = usize::try_from(offset).unwrap();
        buf.copy_from_slice(&self.0[from..from + buf.len()]);
        Ok(())
    }
}

struct Alone;

impl Siblings for Alone {
    fn len_of(&self, _: &[u8]) -> Result<Option<u64>> {
        Ok(None)
    }

    fn open(&self, _: &[u8]) -> Result<Option<Box<dyn Source + '_>>> {
        Ok(None)
    }
}

fn borders(bytes: &[u8]) -> Vec<Range<u64>> {
    let format = formats::recognise(b"a", &Bytes(bytes)).unwrap().unwrap();
    let tensors = formats::tensors(format, b"a", &Bytes(bytes), &Alone).unwrap();
    tensors.iter().map(|tensor| tensor.offset..tensor.end()).collect()
}

/// The manifest of a file that `fill` fills, cut at `borders`.
fn sealed(borders: &[Range<u64>], fill: impl FnOnce(&File)) -> Manifest {
    let dir = tempfile::tempdir().unwrap();
    let store = PackStore::open(&dir.path().join("p"), &dir.path().join("i"), 1 << 20, &Silent).unwrap();
    let path = dir.path().join("hot");
    fill(&File::create(&path).unwrap());
    let mut batch = store.writer().unwrap();
    let sealed = seal_file(&File::open(&path).unwrap(), &path, borders, &mut batch, &|| true);
    batch.finish().unwrap();
    stored::load(&store, &sealed.unwrap().unwrap().content).unwrap()
}

fn manifest(bytes: &[u8]) -> Manifest {
    sealed(&borders(bytes), |file| file.write_all_at(bytes, 0).unwrap())
}

fn chunks(bytes: &[u8]) -> BTreeSet<ChunkId> {
    manifest(bytes).ids().collect()
}

/// Bytes like float weights, others for each seed.
fn weights(seed: u32, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9) | 1;
    let mut step = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state as f32 / u32::MAX as f32 - 0.5) * 0.04
    };
    (0..len.div_ceil(4)).flat_map(|_| step().to_le_bytes()).take(len).collect()
}

fn safetensors(tensors: &[&[u8]]) -> Vec<u8> {
    let (mut json, mut at) = (Vec::new(), 0);
    for (n, tensor) in tensors.iter().enumerate() {
        let (begin, end) = (at, at + tensor.len());
        json.push(format!(
            r#""{n}":{{"dtype":"U8","shape":[{}],"data_offsets":[{begin},{end}]}}"#,
            end - begin
        ));
        at = end;
    }
    let json = format!("{{{}}}", json.join(","));
    let mut out = Vec::new();
    out.u64(json.len() as u64).raw(json.as_bytes()).raw(&tensors.concat());
    out
}

fn npy(tensor: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({},), }}", tensor.len());
    let mut out = b"\x93NUMPY\x01\0".to_vec();
    out.u16(118).raw(format!("{header:117}\n").as_bytes()).raw(tensor);
    out
}

/// A zip of stored entries, each padded to a border of 64 bytes as torch does.
fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in entries {
        let (at, name_len) = (out.len(), u16::try_from(name.len()).unwrap());
        let len = u32::try_from(bytes.len()).unwrap();
        let pad = (at + 30 + name.len()).next_multiple_of(64) - at - 30 - name.len();
        out.raw(b"PK\x03\x04").raw(&[0; 14]).u32(len).u32(len).u16(name_len);
        out.u16(u16::try_from(pad).unwrap()).raw(name.as_bytes()).raw(&vec![b'Z'; pad]).raw(bytes);
        directory.raw(b"PK\x01\x02").raw(&[0; 16]).u32(len).u32(len).u16(name_len);
        directory.raw(&[0; 12]).u32(u32::try_from(at).unwrap()).raw(name.as_bytes());
    }
    let count = u16::try_from(entries.len()).unwrap();
    let (at, len) = (u32::try_from(out.len()).unwrap(), u32::try_from(directory.len()).unwrap());
    out.raw(&directory).raw(b"PK\x05\x06\0\0\0\0").u16(count).u16(count).u32(len).u32(at).u16(0);
    out
}

#[test]
fn a_tensor_is_the_same_chunks_in_every_format() {
    let tensor = weights(1, 2 * GRID + 200_000);
    let own: BTreeSet<ChunkId> = chunks(&npy(&tensor));
    let own: BTreeSet<ChunkId> =
        own.intersection(&chunks(&safetensors(&[&weights(2, 77), &tensor]))).copied().collect();
    assert_eq!(own.len(), 3);
    for file in [
        safetensors(&[&weights(2, 100_000), &tensor, &weights(3, GRID)]),
        zip(&[("m/data.pkl", b"\x80\x02}."), ("m/data/0", &weights(4, 500)), ("m/data/1", &tensor)]),
        zip(&[("odd.npy", &npy(&weights(5, 901))), ("w.npy", &npy(&tensor))]),
    ] {
        assert!(own.is_subset(&chunks(&file)));
    }
}

#[test]
fn a_save_with_all_layers_frozen_but_one_adds_that_one() {
    let layers: Vec<Vec<u8>> = (0..6).map(|n| weights(10 + n, GRID + 300_000 + 64 * n as usize)).collect();
    let trained = weights(99, layers[3].len());
    let save = |pickle: usize, third: &[u8]| {
        let names: Vec<String> = (0..layers.len()).map(|n| format!("m/data/{n}")).collect();
        let pickle = vec![b'N'; pickle];
        let mut entries: Vec<(&str, &[u8])> = vec![("m/data.pkl", &pickle)];
        entries.extend(names.iter().zip(&layers).map(|(name, layer)| (name.as_str(), layer.as_slice())));
        entries[4].1 = third;
        zip(&entries)
    };
    let (before, after) = (manifest(&save(1000, &layers[3])), manifest(&save(1100, &trained)));
    let known: BTreeSet<ChunkId> = before.ids().collect();
    let new = |extent: &Extent| matches!(extent, Extent::Data { id, .. } if !known.contains(id));
    let added: u64 = after.extents().iter().filter(|extent| new(extent)).map(Extent::len).sum();
    assert!(added < trained.len() as u64 + 5000, "{added} bytes");
    assert!(after.extents().iter().all(|extent| extent.len() <= MAX_CHUNK as u64));
}

#[test]
fn cuts_do_not_depend_on_where_the_disk_has_holes() {
    let mut tensor = weights(7, 5 * GRID + 10);
    tensor[300_000..1_400_000].fill(0);
    tensor[2 * GRID..4 * GRID].fill(0);
    tensor[4 * GRID + 8192..4 * GRID + 16_384].fill(0);
    let text = b"step 1: loss 0.5\n".repeat(60_000);
    for (data, borders) in [
        (tensor.clone(), vec![]),
        (tensor.clone(), vec![1..4096, 4096..(5 * GRID + 10) as u64]),
        (tensor, vec![12..1_500_000, 1_500_001..4_700_000]),
        ([&text[..], &vec![0; 3 << 20], &text].concat(), vec![]),
    ] {
        let whole = sealed(&borders, |file| file.write_all_at(&data, 0).unwrap());
        let sparse = sealed(&borders, |file| {
            file.set_len(data.len() as u64).unwrap();
            for (n, page) in
                data.chunks(4096).enumerate().filter(|(_, page)| page.iter().any(|byte| *byte != 0))
            {
                file.write_all_at(page, n as u64 * 4096).unwrap();
            }
        });
        assert_eq!(whole, sparse, "{borders:?}");
        let holes = |extent: &&Extent| matches!(extent, Extent::Hole { .. });
        assert!(whole.extents().iter().filter(holes).map(Extent::len).sum::<u64>() > 2 << 20);
    }
}

#[test]
fn wrong_borders_cost_no_byte() {
    let data = weights(8, 3 * GRID);
    let max = u64::MAX;
    for borders in [
        vec![0..max, max - 70_000..max],
        vec![5..200_000, 100..400_000],
        vec![Range { start: 70_000, end: 0 }, 1..2],
    ] {
        let manifest = sealed(&borders, |file| file.write_all_at(&data, 0).unwrap());
        assert_eq!(manifest.size(), data.len() as u64);
    }
}
