//! The chunks of a series on disk, as scripts/python/series_files.py describes it.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use ckptfs::codec::Encoding;
use serde::Deserialize;

/// Bytes of a chunk: the grid starts anew at each tensor.
const GRID: u64 = 1 << 20;
/// Chunks of a row are taken evenly from all saves, up to so many bytes: more than any cache holds.
const ROW_BYTES: u64 = 32 << 20;

/// The list of a series.
#[derive(Deserialize)]
struct List {
    saves: Vec<Save>,
}

#[derive(Deserialize)]
struct Save {
    tensors: Vec<Tensor>,
}

/// A tensor of at least 64 KiB in a file of a save.
#[derive(Clone, Deserialize)]
struct Tensor {
    part: String,
    name: String,
    kind: String,
    offset: u64,
    bytes: u64,
    width: usize,
}

/// Bytes of one chunk and, where a row compares two saves, of the same one in the other save.
pub struct Pair {
    /// What is encoded.
    pub raw: Vec<u8>,
    /// What it may rely on; empty where there is none.
    pub base: Vec<u8>,
    /// Bytes of an element.
    pub width: usize,
    /// How the chunk is stored by itself; known once it was encoded.
    pub like: Option<Encoding>,
}

/// Which save a chunk is compared with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Against {
    /// None.
    Nothing,
    /// The one before it.
    Previous,
    /// The first of the series.
    First,
}

/// Where a chunk is: number of the save, tensor, and the chunk's offset in the tensor.
type Place<'a> = (usize, &'a Tensor, u64);

/// The chunks of the series in `folder` by kind of tensor. Compared with another save, only those that have changed.
pub fn chunks(folder: &Path, against: Against) -> BTreeMap<String, Vec<Pair>> {
    let list = list(folder);
    let mut places: BTreeMap<String, Vec<Place>> = BTreeMap::new();
    for (number, save) in list.saves.iter().enumerate().skip(usize::from(against != Against::Nothing)) {
        for tensor in &save.tensors {
            let offsets = (0..tensor.bytes).step_by(GRID as usize);
            places.entry(tensor.kind.clone()).or_default().extend(offsets.map(|at| (number, tensor, at)));
        }
    }
    let read = |(kind, places): (String, Vec<Place>)| {
        let bytes: u64 = places.iter().map(|(_, tensor, at)| length(tensor, *at)).sum();
        let step = bytes.div_ceil(ROW_BYTES).max(1) as usize;
        // A prime stride meets every tensor of every save in turn.
        let chosen = places.iter().step_by(if step > 1 { step | 1 } else { 1 });
        let pairs = chosen.filter_map(|place| pair(folder, &list, against, *place)).collect();
        (kind, pairs)
    };
    places.into_iter().map(read).filter(|(_, pairs): &(_, Vec<Pair>)| !pairs.is_empty()).collect()
}

/// All saves of a series, save by save.
pub struct Saves {
    folder: PathBuf,
    list: List,
}

impl Saves {
    /// The series in `folder`.
    pub fn open(folder: &Path) -> Self {
        Saves { folder: folder.to_owned(), list: list(folder) }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.saves.len()
    }

    /// Every chunk of a save with the same one of save `base`, which is empty where there is none.
    pub fn each(&self, number: usize, base: Option<usize>, mut what: impl FnMut(&Pair)) {
        for tensor in &self.list.saves[number].tensors {
            let same = base.and_then(|base| same(&self.list, base, tensor));
            for at in (0..tensor.bytes).step_by(GRID as usize) {
                let raw = bytes(&self.folder, tensor, at);
                let base = same.map_or_else(Vec::new, |same| bytes(&self.folder, same, at));
                what(&Pair { raw, base, width: tensor.width, like: None });
            }
        }
    }
}

fn list(folder: &Path) -> List {
    serde_json::from_slice(&std::fs::read(folder.join("series.json")).unwrap()).unwrap()
}

/// The same tensor in another save.
fn same<'a>(list: &'a List, number: usize, tensor: &Tensor) -> Option<&'a Tensor> {
    let mut named = list.saves[number].tensors.iter().filter(|other| other.name == tensor.name);
    named.find(|other| other.bytes == tensor.bytes && other.kind == tensor.kind)
}

fn length(tensor: &Tensor, at: u64) -> u64 {
    GRID.min(tensor.bytes - at)
}

/// The bytes at a place and at the same place of the other save; `None` where they are equal or there is no such place.
fn pair(folder: &Path, list: &List, against: Against, (number, tensor, at): Place) -> Option<Pair> {
    let raw = bytes(folder, tensor, at);
    let other = match against {
        Against::Nothing => return Some(Pair { raw, base: Vec::new(), width: tensor.width, like: None }),
        Against::Previous => number - 1,
        Against::First => 0,
    };
    let same = same(list, other, tensor)?;
    let base = bytes(folder, same, at);
    (base != raw).then_some(Pair { raw, base, width: tensor.width, like: None })
}

fn bytes(folder: &Path, tensor: &Tensor, at: u64) -> Vec<u8> {
    let mut raw = vec![0; length(tensor, at) as usize];
    File::open(folder.join(&tensor.part)).unwrap().read_exact_at(&mut raw, tensor.offset + at).unwrap();
    raw
}
