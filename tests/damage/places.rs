//! Where damage is done: every kind of file in a store, and every part of it that is read.
//!
//! Places are found by reading the files as docs/format.md describes them, and by what is known of the stored blobs.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::truth::{Item, Truth};

/// A part of one file of the store.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// How it is called in the table.
    pub(crate) name: &'static str,
    /// The file, below the store.
    pub(crate) file: String,
    /// The bytes of it that are meant.
    pub(crate) at: Range<usize>,
    /// Another file of the same kind.
    pub(crate) sibling: Option<String>,
    /// Under which the file may be there a second time.
    pub(crate) second: Option<String>,
}

impl Place {
    fn new(name: &'static str, file: &str, at: Range<usize>) -> Place {
        Place { name, file: file.to_owned(), at, sibling: None, second: None }
    }
}

/// Files of `folder` with that ending, in order of name.
pub(crate) fn files(store: &Path, folder: &str, ending: &str) -> Vec<String> {
    let list = fs::read_dir(store.join(folder)).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = list.map(|name| name.into_string().unwrap()).collect();
    names.retain(|name| name.ends_with(ending));
    names.sort();
    names.into_iter().map(|name| format!("{folder}/{name}")).collect()
}

/// Parts of files, each to be flipped, zeroed or cut off.
pub(crate) fn parts(store: &Path, truth: &Truth) -> Vec<Place> {
    let mut places = in_packs(store, truth);
    places.extend(in_journal(store));
    let catalog = |name: &'static str, file: &str, at: usize| {
        let bytes = len(store, file);
        Place::new(name, file, at.min(bytes - 1)..bytes)
    };
    let index = files(store, "index", ".idx").pop().unwrap();
    let index_len = len(store, &index);
    places.push(Place::new("chunk index", &index, index_len / 2..index_len));
    places.push(catalog("catalog: db", "catalog/db", 100));
    places.push(catalog("catalog: conf", "catalog/conf", 10));
    for (name, id) in HOT {
        let file = hot_of(truth, id);
        let bytes = len(store, &file);
        places.push(Place::new(name, &file, bytes / 2..bytes));
    }
    for name in ["lock", "format", "config.toml"] {
        places.push(Place::new(name, name, 3..len(store, name)));
    }
    places
}

/// The hot files that are damaged, by the item that they belong to.
const HOT: [(&str, &str); 5] = [
    ("hot file, large", "hot/large.bin"),
    ("small file, just written", "hot/small.txt"),
    ("small file at rest", "small/s00"),
    ("hot copy of a sealed file", "copies/one.bin"),
    ("hot file of a moment", "pend/model.npy"),
];

/// Whole files, each to be deleted, doubled, exchanged or put back as it was.
pub(crate) fn whole(store: &Path, truth: &Truth) -> Vec<Place> {
    let mut places = Vec::new();
    let mut add = |name, file: &str, sibling: Option<&String>, second: Option<String>| {
        let at = 0..len(store, file);
        places.push(Place { sibling: sibling.cloned(), second, ..Place::new(name, file, at) });
    };
    let pack = chunk_of(truth, "exp@1/model.npy").0;
    let packs = files(store, "packs", ".pack");
    let other = packs.iter().find(|other| **other != pack);
    add("pack", &pack, other, Some("packs/00000fff.pack".to_owned()));
    let index = files(store, "index", ".idx");
    let last = index.last().unwrap();
    add(
        "chunk index",
        last,
        index.first().filter(|other| *other != last),
        Some("index/00000000000fffff.idx".to_owned()),
    );
    let logs = files(store, "journal", ".log");
    add("journal, a segment", &logs[1], logs.get(2), Some("journal/00000000000fffff.log".to_owned()));
    add("journal, the last segment", logs.last().unwrap(), logs.first(), None);
    let exports = files(store, "journal", ".export");
    add("export, the older", &exports[0], exports.get(1), None);
    add(
        "export, the newer",
        &exports[1],
        exports.first(),
        Some("journal/00000000000fffff.export".to_owned()),
    );
    add("catalog: db", "catalog/db", Some(&"catalog/conf".to_owned()), None);
    add("catalog: conf", "catalog/conf", None, None);
    for (name, id) in HOT {
        let sibling = match id {
            "copies/one.bin" => "copies/two.bin",
            "small/s00" => "small/s01",
            _ => "hot/other.bin",
        };
        let sibling = hot_of(truth, sibling);
        add(name, &hot_of(truth, id), Some(&sibling), Some("hot/ff/00000000000fffff".to_owned()));
    }
    add("lock", "lock", Some(&"format".to_owned()), None);
    add("format", "format", Some(&"config.toml".to_owned()), None);
    add("config.toml", "config.toml", Some(&"lock".to_owned()), None);
    places
}

fn len(store: &Path, file: &str) -> usize {
    fs::metadata(store.join(file)).unwrap_or_else(|error| panic!("{file}: {error}")).len() as usize
}

fn item<'a>(truth: &'a Truth, id: &str) -> &'a Item {
    truth.items.iter().find(|item| item.id == id).unwrap_or_else(|| panic!("{id}"))
}

fn hot_of(truth: &Truth, id: &str) -> String {
    item(truth, id).hot.clone().unwrap_or_else(|| panic!("{id} has no hot file"))
}

/// The pack that holds the largest blob of an item that no delta is, and where in it.
fn chunk_of(truth: &Truth, id: &str) -> (String, Range<usize>) {
    let needs = &item(truth, id).blobs;
    let blobs = truth.stored.iter().filter(|blob| needs.contains(&blob.id) && !blob.is_delta);
    let largest = blobs.max_by_key(|blob| blob.len).unwrap();
    (largest.pack.clone(), largest.offset..largest.offset + largest.len)
}

fn in_packs(store: &Path, truth: &Truth) -> Vec<Place> {
    let (pack, chunk) = chunk_of(truth, "exp@1/model.npy");
    let bytes = fs::read(store.join(&pack)).unwrap();
    let end = bytes.len();
    let footer = u32::from_le_bytes(bytes[end - 28..end - 24].try_into().unwrap()) as usize;
    let small = |kind: u8| {
        let of = &item(truth, "exp@1/model.npy").blobs;
        let is = |blob: &&crate::truth::Stored| {
            blob.pack == pack && of.contains(&blob.id) && bytes[blob.offset + 4] == kind
        };
        let blob = truth.stored.iter().find(is).unwrap();
        // Not at the front: in a frame of zstd there is a bit that means nothing.
        blob.offset + (60 + blob.len) / 2..blob.offset + blob.len
    };
    let delta = truth.stored.iter().find(|blob| blob.is_delta).unwrap();
    let (base, base_at) = chunk_of(truth, "series@1/model.npy");
    vec![
        Place::new("pack header", &pack, 2..20),
        Place::new("blob header", &pack, chunk.start + 14..chunk.start + 60),
        Place::new("payload of a chunk", &pack, chunk.start + chunk.len() / 2..chunk.end),
        Place::new("payload of a list of chunks", &pack, small(2)),
        Place::new("payload of a tree", &pack, small(3)),
        Place::new("payload of a base", &base, base_at.start + base_at.len() / 2..base_at.end),
        Place::new("payload of a delta", &delta.pack, delta.offset + delta.len / 2..delta.offset + delta.len),
        Place::new("list of blobs", &pack, footer + 8..end - 28),
        Place::new("trailer", &pack, end - 20..end),
    ]
}

fn in_journal(store: &Path) -> Vec<Place> {
    let logs = files(store, "journal", ".log");
    let exports = files(store, "journal", ".export");
    let (middle, last) = (&logs[1], logs.last().unwrap());
    let records = records_of(&store.join(middle));
    let tail = records_of(&store.join(last)).pop().unwrap();
    let export =
        |name: &'static str, file: &str| Place::new(name, file, len(store, file) / 2..len(store, file));
    vec![
        Place::new("segment header", middle, 4..48),
        Place::new("header of the last segment", last, 4..48),
        Place::new("record in the middle", middle, records[records.len() / 2].clone()),
        Place::new("last record", last, tail),
        export("export, the older", &exports[0]),
        export("export, the newer", &exports[1]),
    ]
}

/// The records of a segment, by their lengths.
fn records_of(path: &PathBuf) -> Vec<Range<usize>> {
    let bytes = fs::read(path).unwrap();
    let (mut at, mut found) = (48, Vec::new());
    while at + 25 <= bytes.len() {
        let len = u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        if bytes[at..at + 25].iter().all(|byte| *byte == 0) {
            break;
        }
        found.push(at..at + 25 + len);
        at += 25 + len;
    }
    found
}
