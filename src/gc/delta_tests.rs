//! A collection where blobs have several copies, some of them deltas: what is in use is read afterwards.

use super::{Live, Owner, PackUse, Plan, sweep};
use crate::base::id::ChunkId;
use crate::base::monitor::Silent;
use crate::codec::{Encoder, Encoding};
use crate::content::hash::chunk_id;
use crate::pack::{Kind, PackStore, Put};

/// Numbers that training has moved by `stamp` steps.
fn raw(stamp: u32) -> Vec<u8> {
    let noise = |n: u32| (n.wrapping_mul(0x9E37_79B9) >> 8) as f32 / (1 << 24) as f32;
    (0..20_000_u32).flat_map(|n| (noise(n) + stamp as f32 * 1e-5).to_le_bytes()).collect()
}

fn id(stamp: u32) -> ChunkId {
    chunk_id(&raw(stamp))
}

fn open(dir: &tempfile::TempDir) -> PackStore {
    PackStore::open(&dir.path().join("p"), &dir.path().join("i"), 1 << 20, &Silent).unwrap()
}

/// Puts each in a pack of its own, self-contained.
fn put(store: &PackStore, stamps: &[u32]) {
    for stamp in stamps {
        let mut batch = store.writer().unwrap();
        assert!(matches!(batch.put(Kind::Chunk, id(*stamp), &raw(*stamp)).unwrap(), Put::New { .. }));
        batch.finish().unwrap();
    }
}

/// Puts a pack with `stamp` as a delta of `base`.
fn put_delta(store: &PackStore, stamp: u32, base: u32) {
    let (mut encoder, mut stored) = (Encoder::new(), Vec::new());
    let like = encoder.encode(&raw(stamp), &mut stored);
    let encoding = encoder.encode_delta(&like, &raw(stamp), &raw(base), &mut stored).unwrap();
    let encoding = Encoding { base: Some(id(base)), ..encoding };
    let mut batch = store.writer().unwrap();
    assert!(batch.put_delta(id(stamp), encoding, raw(stamp).len(), &stored).unwrap());
    batch.finish().unwrap();
}

/// A collection with `in_use` in use that deletes and rewrites these packs.
fn collect(store: &PackStore, in_use: &[u32], delete: &[u32], rewrite: &[u32]) {
    let collection = store.collect().unwrap();
    let packs = store.packs();
    let mut live = Live::default();
    in_use.iter().for_each(|stamp| live.add(id(*stamp).short(), Owner::File));
    live.set_deltas(store.deltas(&packs, &|| Ok(())).unwrap());
    let uses = |numbers: &[u32]| {
        numbers.iter().map(|number| PackUse { number: *number, bytes: 1, live_bytes: 0 }).collect()
    };
    let plan = Plan { delete: uses(delete), rewrite: uses(rewrite) };
    sweep(store, &collection, &plan, &mut live, &|| u64::MAX, &|_| Ok(()), &Silent).unwrap();
}

fn is_there(store: &PackStore, stamp: u32) -> bool {
    store.read_uncached(&id(stamp)).is_ok_and(|bytes| bytes[..] == raw(stamp))
}

#[test]
fn of_several_copies_that_go_the_newest_is_moved_and_no_older_one_whose_base_goes() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    put(&store, &[1]);
    put_delta(&store, 2, 1);
    put(&store, &[2]);
    collect(&store, &[2], &[1], &[2, 3]);
    assert!(is_there(&store, 2));
    assert_eq!(store.head(&id(2)).unwrap().encoding.base, None);
    assert!(!store.contains(&id(1)).unwrap());
    assert_eq!(store.packs().len(), 1);
}

#[test]
fn an_older_delta_does_not_stand_for_a_self_contained_copy_nor_that_for_a_newer_delta() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    put(&store, &[1]);
    put_delta(&store, 2, 1);
    put(&store, &[2]);
    collect(&store, &[1, 2], &[], &[3]);
    assert_eq!(store.head(&id(2)).unwrap().encoding.base, None, "something may rely on it");
    put(&store, &[3]);
    put_delta(&store, 3, 1);
    let newest = store.packs().last().unwrap().0;
    collect(&store, &[1, 2, 3], &[], &[newest]);
    assert_eq!(store.head(&id(3)).unwrap().encoding.base, Some(id(1)), "what was gained stays");
}

#[test]
fn a_copy_whose_base_is_gone_does_not_stand_for_another_though_its_pack_is_newer() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    put(&store, &[1]);
    // A batch that has begun its pack long ago.
    let mut slow = store.writer().unwrap();
    slow.put(Kind::Chunk, id(9), &raw(9)).unwrap();
    put_delta(&store, 2, 1);
    collect(&store, &[], &[1], &[]);
    assert!(matches!(slow.put(Kind::Chunk, id(2), &raw(2)).unwrap(), Put::New { .. }));
    slow.finish().unwrap();
    assert!(is_there(&store, 2));
    collect(&store, &[2], &[], &[2]);
    assert!(is_there(&store, 2));
}

#[test]
fn nobody_relies_on_a_copy_that_goes_when_a_delta_is_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    put(&store, &[2, 1]);
    put_delta(&store, 2, 1);
    put(&store, &[2]);
    collect(&store, &[], &[2], &[]);
    let collection = store.collect().unwrap();
    collection.doom(&[4]);
    let mut batch = store.writer().unwrap();
    assert!(matches!(batch.put(Kind::Chunk, id(2), &raw(2)).unwrap(), Put::New { .. }));
    batch.finish().unwrap();
    drop(collection);
    collect(&store, &[2], &[4], &[1]);
    assert!(is_there(&store, 2));
}

#[test]
fn the_base_of_an_older_copy_counts_when_the_newest_is_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir);
    put(&store, &[1]);
    put_delta(&store, 2, 1);
    let entry = store.footer(2).unwrap().unwrap()[0];
    // A kill has left a moved blob twice.
    let blob = store.encoded(2, &entry).unwrap();
    let mut batch = store.writer().unwrap();
    let (header, len) = (&blob.header, blob.header.raw_len as usize);
    batch.put_encoded(Kind::Chunk, header.id, header.encoding, len, blob.stored()).unwrap();
    batch.finish().unwrap();
    let path = dir.path().join("p/00000003.pack");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[store.footer(3).unwrap().unwrap()[0].offset as usize + 9] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    assert!(is_there(&store, 2));
    collect(&store, &[2], &[1], &[]);
    assert!(is_there(&store, 2));
}
