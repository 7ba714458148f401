//! What is done to a place: by kind, and at random.

use std::fs;
use std::path::Path;

use crate::places::Place;

const SECTOR: usize = 512;

/// A kind of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Harm {
    Flip,
    Zero,
    Cut,
    Delete,
    Double,
    Swap,
    Stale,
}

impl Harm {
    /// Those that are done to a part of a file.
    pub(crate) const OF_PARTS: [Harm; 3] = [Harm::Flip, Harm::Zero, Harm::Cut];
    /// Those that are done to a whole file.
    pub(crate) const OF_FILES: [Harm; 4] = [Harm::Delete, Harm::Double, Harm::Swap, Harm::Stale];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Harm::Flip => "a bit flipped",
            Harm::Zero => "a sector zeroed",
            Harm::Cut => "cut off there",
            Harm::Delete => "deleted",
            Harm::Double => "there under a second name",
            Harm::Swap => "exchanged with another",
            Harm::Stale => "an older copy of it",
        }
    }

    /// Damages `place` of `store`; false where that changes nothing.
    pub(crate) fn apply(self, store: &Path, older: &Path, place: &Place) -> bool {
        let path = store.join(&place.file);
        let before = fs::read(&path).unwrap();
        let at = place.at.start;
        let mut bytes = before.clone();
        match self {
            Harm::Flip => bytes[at] ^= 0x10,
            Harm::Zero => {
                let from = at - at % SECTOR;
                let upto = (from + SECTOR).min(bytes.len());
                bytes[from..upto].fill(0);
            }
            Harm::Cut => bytes.truncate(at),
            Harm::Delete => {
                fs::remove_file(&path).unwrap();
                return true;
            }
            Harm::Double => {
                let Some(second) = &place.second else { return false };
                let second = store.join(second);
                fs::create_dir_all(second.parent().unwrap()).unwrap();
                fs::copy(&path, second).unwrap();
                return true;
            }
            Harm::Swap => {
                let Some(sibling) = place.sibling.as_ref().map(|sibling| store.join(sibling)) else {
                    return false;
                };
                bytes = fs::read(&sibling).unwrap();
                fs::write(&sibling, &before).unwrap();
            }
            Harm::Stale => match fs::read(older.join(&place.file)) {
                Ok(old) => bytes = old,
                Err(_) => return false,
            },
        }
        fs::write(&path, &bytes).unwrap();
        bytes != before
    }
}

/// Numbers that follow from a seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def1)
    }

    /// Below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit.max(1)
    }
}

/// Damages one of `files` of `store` at random; tells what was done, or nothing where that changed nothing.
pub(crate) fn at_random(store: &Path, older: &Path, files: &[String], random: &mut Random) -> Option<String> {
    let file = &files[random.below(files.len())];
    let path = store.join(file);
    let before = fs::read(&path).unwrap();
    let mut bytes = before.clone();
    if bytes.is_empty() {
        return None;
    }
    let len = bytes.len();
    let mut at = random.below(len);
    let block = |size: usize, random: &mut Random| {
        let from = random.below(len.div_ceil(size)) * size;
        from..(from + size).min(len)
    };
    let what = match random.below(8) {
        0 => {
            bytes[at] ^= 1 << random.below(8);
            "a bit"
        }
        1 => {
            bytes[at] = random.below(256) as u8;
            "a byte"
        }
        kind @ (2 | 3) => {
            let at = block(if kind == 2 { SECTOR } else { 4096 }, random);
            bytes[at].iter_mut().for_each(|byte| *byte = random.below(256) as u8);
            if kind == 2 { "noise in a sector" } else { "noise in a block" }
        }
        4 => {
            bytes.truncate(at);
            "cut off"
        }
        5 => {
            let (one, other) = (block(4096, random), block(4096, random));
            let size = one.len().min(other.len());
            let first = bytes[one.start..one.start + size].to_vec();
            bytes.copy_within(other.start..other.start + size, one.start);
            bytes[other.start..other.start + size].copy_from_slice(&first);
            at = one.start;
            "two blocks exchanged"
        }
        6 => {
            let old = fs::read(older.join(file)).ok()?;
            let block = block(4096, random);
            let upto = block.end.min(old.len());
            if block.start >= upto {
                return None;
            }
            bytes[block.start..upto].copy_from_slice(&old[block.start..upto]);
            at = block.start;
            "an older copy of a block"
        }
        _ => {
            let upto = (at + 1 + random.below(20_000)).min(len);
            bytes[at..upto].fill(0);
            "a run of zeros"
        }
    };
    fs::write(&path, &bytes).unwrap();
    (bytes != before).then(|| format!("{file}: {what} at {at} of {len}"))
}

/// Every file of a store but the socket and the ballast, below it.
pub(crate) fn all_files(store: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![store.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            match entry.file_type().unwrap() {
                kind if kind.is_dir() => folders.push(entry.path()),
                kind if kind.is_file() => {
                    found.push(entry.path().strip_prefix(store).unwrap().to_str().unwrap().to_owned())
                }
                _ => {}
            }
        }
    }
    found.sort();
    found
}
