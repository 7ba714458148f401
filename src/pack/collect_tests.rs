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
    assert!(
        collection.is_elsewhere(2, &entry(&store, 2), &|_| false).unwrap()
            && !collection.is_elsewhere(1, &entry(&store, 1), &|_| true).unwrap()
    );
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
    assert!(!store.collect().unwrap().is_elsewhere(9, &entry, &|_| true).unwrap());
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(store.footer(2).unwrap().is_none());
}

/// The only blob of a pack.
fn entry(store: &PackStore, pack: u32) -> crate::pack::PackEntry {
    store.footer(pack).unwrap().unwrap()[0]
}

/// Stores `n` as a delta of `base` (with a codec that no reader is asked for here).
fn put_delta(store: &PackStore, n: u32, base: ChunkId) -> bool {
    let mut batch = store.writer().unwrap();
    let encoding = crate::codec::Encoding {
        base: Some(base),
        ..crate::codec::Encoding::plain(crate::codec::Codec::Delta)
    };
    let done = batch.put_delta(blob(n).0, encoding, blob(n).1.len(), b"x").unwrap();
    batch.finish().unwrap();
    done
}

#[test]
fn a_delta_is_put_beside_a_base_that_lasts_and_told_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    put(&store, 1);
    put(&store, 2);
    assert!(!put_delta(&store, 2, blob(9).0), "no such base");
    assert!(put_delta(&store, 2, blob(1).0));
    let pair = (blob(2).0.short(), blob(1).0.short());
    assert_eq!(store.all_deltas(&|| Ok(())).unwrap(), [pair]);
    assert_eq!(
        store.deltas(&[(1, 0), (2, 0)], &|| Ok(())).unwrap(),
        [],
        "of these packs the newest copy is whole"
    );
    drop(store);
    let store = open(&dir);
    assert_eq!(store.all_deltas(&|| Ok(())).unwrap(), [pair]);
    assert!(store.head(&blob(2).0).unwrap().encoding.base.is_some());
    let collection = store.collect().unwrap();
    collection.doom(&[1, 2]);
    let whole = entry(&store, 2);
    assert!(collection.is_elsewhere(2, &whole, &|base| *base == blob(1).0).unwrap());
    assert!(!collection.is_elsewhere(2, &whole, &|_| false).unwrap(), "its base goes");
    assert!(!collection.is_elsewhere(9, &whole, &|_| true).unwrap(), "an older delta");
    assert!(!put_delta(&store, 5, blob(1).0), "a base that is about to go");
}

#[test]
fn nothing_new_relies_on_a_delta_nor_on_an_older_copy_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    put(&store, 1);
    put(&store, 2);
    assert!(put_delta(&store, 2, blob(1).0));
    let mut batch = store.writer().unwrap();
    assert!(matches!(batch.put(Kind::Chunk, blob(2).0, &blob(2).1).unwrap(), Put::New { .. }));
    batch.finish().unwrap();
    assert_eq!(store.all_deltas(&|| Ok(())).unwrap(), [], "the newest copy is whole again");
    let batch = store.writer().unwrap();
    assert!(batch.contains(&blob(2).0).unwrap());
}

#[test]
fn a_blob_whose_newest_copy_is_damaged_or_lacks_its_base_is_read_from_an_older_one() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    put(&store, 1);
    put(&store, 2);
    assert!(put_delta(&store, 2, blob(1).0), "its stored bytes are none");
    assert_eq!(&store.read_uncached(&blob(2).0).unwrap()[..], blob(2).1);
    store.remove(2).unwrap();
    assert!(store.read_uncached(&blob(2).0).is_err_and(|error| is_damage(&error)));
}
