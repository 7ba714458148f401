//! A collection and the batches beside it: nothing that a batch relies on goes, nothing damaged is copied.

use std::fs;

use super::*;
use crate::base::monitor::Silent;
use crate::content::hash::chunk_id;
use crate::pack::{Kind, Put};

fn blob(n: u32) -> (ChunkId, Vec<u8>) {
    let raw = format!("chunk {n} ").repeat(100).into_bytes();
    (chunk_id(&raw), raw)
}

fn put(store: &PackStore, n: u32) {
    let mut batch = store.writer().unwrap();
    batch.put(Kind::Chunk, blob(n).0, &blob(n).1).unwrap();
    batch.finish().unwrap();
}

fn open(dir: &tempfile::TempDir) -> PackStore {
    PackStore::open(&dir.path().join("p"), &dir.path().join("i"), 1 << 20, &Silent).unwrap()
}

#[test]
fn what_a_batch_found_before_the_doom_is_noted_and_after_it_is_written_anew() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    put(&store, 1);
    put(&store, 2);
    let collection = store.collect().unwrap();
    assert!(store.collect().is_err());
    let mut batch = store.writer().unwrap();
    assert_eq!(batch.put(Kind::Chunk, blob(1).0, &blob(1).1).unwrap(), Put::Known);
    collection.doom(&[1, 2]);
    assert!(collection.notes().contains(&blob(1).0.short()));
    assert!(!collection.notes().contains(&blob(2).0.short()));
    assert!(matches!(batch.put(Kind::Chunk, blob(2).0, &blob(2).1).unwrap(), Put::New { .. }));
    assert_eq!(&store.read(&blob(2).0).unwrap()[..], blob(2).1, "a doomed pack is still read");
    let held = batch.held();
    batch.finish().unwrap();
    assert!(collection.is_elsewhere(&blob(2).0).unwrap() && !collection.is_elsewhere(&blob(1).0).unwrap());
    assert!(collection.notes().contains(&blob(1).0.short()), "its record may still come");
    collection.remove(&[2]).unwrap();
    drop((held, collection));
    assert_eq!(&store.read_uncached(&blob(2).0).unwrap()[..], blob(2).1);
    let batch = store.writer().unwrap();
    assert!(batch.contains(&blob(1).0).unwrap(), "pack 1 is not doomed any more");
}

#[test]
fn a_blob_is_moved_as_it_is_stored_and_a_damaged_one_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    put(&store, 1);
    let entry = store.footer(1).unwrap().unwrap()[0];
    let collection = store.collect().unwrap();
    collection.doom(&[1]);
    let mut batch = store.writer().unwrap();
    let moved = store.encoded(1, &entry).unwrap();
    let header = moved.header.clone();
    let raw_len = header.raw_len as usize;
    let put = batch.put_encoded(header.kind, header.id, header.encoding, raw_len, moved.stored()).unwrap();
    assert_eq!(put, Put::New { stored: entry.len });
    batch.finish().unwrap();
    collection.remove(&[1]).unwrap();
    drop(collection);
    assert_eq!(&store.read_uncached(&entry.id).unwrap()[..], blob(1).1);
    let path = dir.path().join("p/00000002.pack");
    let mut bytes = fs::read(&path).unwrap();
    let entry = store.footer(2).unwrap().unwrap()[0];
    bytes[(entry.offset + entry.len - 1) as usize] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(store.encoded(2, &entry).is_err_and(|error| is_damage(&error)));
    assert!(!store.collect().unwrap().is_elsewhere(&entry.id).unwrap());
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(store.footer(2).unwrap().is_none());
}
