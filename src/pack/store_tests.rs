//! What a user of the store would notice: bytes back, dedup, nothing left behind, damage named.

use super::*;
use crate::base::monitor::Silent;
use crate::content::hash::chunk_id;
use crate::pack::{Kind, Put};
use std::sync::Mutex;

struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        Bench { dir: tempfile::tempdir().unwrap() }
    }

    fn open(&self) -> PackStore {
        PackStore::open(&self.packs(), &self.index(), 8 << 20, &Silent).unwrap()
    }

    fn packs(&self) -> PathBuf {
        self.dir.path().join("packs")
    }

    fn index(&self) -> PathBuf {
        self.dir.path().join("index")
    }

    fn names(&self, dir: &Path) -> Vec<String> {
        let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.collect();
        names.sort();
        names
    }
}

fn blob(n: u32) -> Vec<u8> {
    format!("chunk {n} ").repeat(200).into_bytes()
}

fn put_all(store: &PackStore, numbers: impl Iterator<Item = u32>) -> crate::pack::Committed {
    let mut batch = store.writer().unwrap();
    for n in numbers {
        batch.put(Kind::Chunk, chunk_id(&blob(n)), &blob(n)).unwrap();
    }
    batch.finish().unwrap()
}

fn all_there(store: &PackStore, numbers: impl Iterator<Item = u32>) {
    for n in numbers {
        assert_eq!(&store.read(&chunk_id(&blob(n))).unwrap()[..], blob(n), "blob {n}");
        assert_eq!(&store.read_uncached(&chunk_id(&blob(n))).unwrap()[..], blob(n));
    }
}

#[test]
fn what_is_put_is_read_now_and_after_opening_again() {
    let bench = Bench::new();
    let store = bench.open();
    let mut batch = store.writer().unwrap();
    let id = chunk_id(&blob(1));
    assert!(matches!(batch.put(Kind::Chunk, id, &blob(1)).unwrap(), Put::New { stored: 60..200 }));
    assert_eq!(batch.put(Kind::Chunk, id, &blob(1)).unwrap(), Put::Known);
    assert!(!store.contains(&id).unwrap(), "visible before it is durable");
    let written = batch.bytes_written();
    let committed = batch.finish().unwrap();
    assert!(committed.new_bytes > written && committed.packs == [1]);
    assert_eq!(put_all(&store, 1..2), crate::pack::Committed::default());
    all_there(&store, 1..2);
    let stats = store.stats();
    assert_eq!((stats.packs, stats.chunks, stats.stored_bytes), (1, 1, committed.new_bytes));
    drop(store);
    all_there(&bench.open(), 1..2);
    all_there(&PackStore::open(&bench.packs(), &bench.index(), 0, &Silent).unwrap(), 1..2);
}

#[test]
fn a_batch_that_is_dropped_and_one_that_was_killed_leave_nothing() {
    let bench = Bench::new();
    let store = bench.open();
    let mut batch = store.writer().unwrap();
    batch.put(Kind::Chunk, chunk_id(&blob(1)), &blob(1)).unwrap();
    drop(batch);
    assert_eq!(bench.names(&bench.packs()), [""; 0]);
    fs::write(bench.packs().join("00000007.pack.tmp"), b"half").unwrap();
    fs::write(bench.index().join("0000000000000001.idx.tmp"), b"half").unwrap();
    let store = bench.open();
    assert_eq!(bench.names(&bench.packs()), [""; 0]);
    assert_eq!(bench.names(&bench.index()), [""; 0]);
    assert!(!store.contains(&chunk_id(&blob(1))).unwrap());
}

#[test]
fn a_missing_blob_is_named_and_no_flipped_byte_is_ever_served() {
    let bench = Bench::new();
    let store = bench.open();
    let id = chunk_id(b"nobody");
    let error = store.read(&id).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }) && error.to_string().contains(&id.to_string()));
    put_all(&store, 0..3);
    let path = bench.packs().join(pack_name(1));
    let bytes = fs::read(&path).unwrap();
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 0x10;
        fs::write(&path, &bad).unwrap();
        let store = bench.open();
        for n in 0..3 {
            match store.read(&chunk_id(&blob(n))) {
                Ok(raw) => assert_eq!(&raw[..], blob(n)),
                Err(error) => assert!(matches!(error, Error::Damaged { .. }), "{error}"),
            }
        }
    }
    // A running store, whose index is in memory, says where.
    let at = store.entries(1).unwrap()[0];
    fs::write(&path, &bytes[..at.offset as usize + 70]).unwrap();
    let error = store.read_uncached(&at.id).unwrap_err().to_string();
    assert!(error.contains("00000001.pack") && error.contains(&format!("offset {}", at.offset)), "{error}");
}

#[test]
fn many_packs_become_few_index_files_and_any_of_them_may_be_lost() {
    let bench = Bench::new();
    let store = bench.open();
    // Blobs of a few bytes: what counts here is the number of entries.
    let raw = |n: u32| n.to_le_bytes();
    let count = 40_000 * 5;
    for part in 0..5 {
        let mut batch = store.writer().unwrap();
        for n in part * 40_000..(part + 1) * 40_000 {
            batch.put(Kind::Chunk, chunk_id(&raw(n)), &raw(n)).unwrap();
        }
        batch.finish().unwrap();
    }
    let check = |store: &PackStore| {
        for n in (0..count).step_by(997) {
            assert_eq!(&store.read_uncached(&chunk_id(&raw(n))).unwrap()[..], raw(n));
        }
        assert_eq!(store.stats().chunks, u64::from(count));
    };
    check(&store);
    let names = bench.names(&bench.index());
    assert_eq!(names.len(), 2, "four were merged: {names:?}");
    // Damage in a bucket is seen at the lookup and mended while the store runs.
    let path = bench.index().join(&names[1]);
    let sound = fs::read(&path).unwrap();
    let mut bad = sound.clone();
    bad[..sound.len() / 2].fill(0xEE);
    fs::write(&path, &bad).unwrap();
    check(&store);
    drop(store);
    for name in bench.names(&bench.index()) {
        fs::write(bench.index().join(name), b"not an index").unwrap();
    }
    check(&bench.open());
    for name in bench.names(&bench.index()) {
        fs::remove_file(bench.index().join(name)).unwrap();
    }
    #[derive(Default)]
    struct Heard(Mutex<(u64, u64)>);
    impl Monitor for Heard {
        fn begin(&self, _: &str, total: u64) {
            self.0.lock().unwrap().0 = total;
        }
        fn advance(&self, done: u64) {
            self.0.lock().unwrap().1 += done;
        }
    }
    let heard = Heard::default();
    check(&PackStore::open(&bench.packs(), &bench.index(), 8 << 20, &heard).unwrap());
    assert_eq!(heard.0.into_inner().unwrap(), (5, 5));
    let before = bench.names(&bench.index());
    check(&bench.open());
    assert_eq!(bench.names(&bench.index()), before, "opening again changes nothing");
}

#[test]
fn a_removed_pack_is_forgotten_and_a_copy_elsewhere_is_found() {
    let bench = Bench::new();
    let store = bench.open();
    let mut twins = [store.writer().unwrap(), store.writer().unwrap()];
    for batch in &mut twins {
        batch.put(Kind::Chunk, chunk_id(&blob(1)), &blob(1)).unwrap();
    }
    for batch in twins {
        batch.finish().unwrap();
    }
    let newest = bench.packs().join(pack_name(2));
    let bytes = fs::read(&newest).unwrap();
    fs::write(&newest, vec![0; bytes.len()]).unwrap();
    all_there(&store, 1..2);
    store.remove(2).unwrap();
    all_there(&store, 1..2);
    store.remove(1).unwrap();
    assert!(!store.contains(&chunk_id(&blob(1))).unwrap());
    assert_eq!(store.stats().packs, 0);
    drop(store);
    assert!(!bench.open().contains(&chunk_id(&blob(1))).unwrap());
}

#[test]
fn several_threads_put_and_read_at_once() {
    let bench = Bench::new();
    let store = bench.open();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for round in 0..8 {
                    let from = thread * 20 + round * 10;
                    put_all(store, from..from + 10);
                    all_there(store, from..from + 10);
                }
            });
        }
    });
    drop(store);
    all_there(&bench.open(), 0..140);
}

#[test]
fn a_long_blob_is_read_past_the_page_cache_and_damage_to_it_is_seen() {
    // Beside the program, because /tmp may be memory, of which nothing is ever outside the page cache.
    let dir = tempfile::tempdir_in(std::env::current_exe().unwrap().parent().unwrap()).unwrap();
    let bench = Bench { dir };
    let raw: Vec<u8> = (0..9_000_u32).flat_map(|n| chunk_id(&n.to_le_bytes()).0).collect();
    let id = chunk_id(&raw);
    let mut batch = bench.open().writer().unwrap();
    batch.put(Kind::Chunk, id, &raw).unwrap();
    batch.finish().unwrap();
    let path = bench.packs().join(pack_name(1));
    let mut bytes = fs::read(&path).unwrap();
    for flip in [0, 0x10] {
        bytes[100_000] ^= flip;
        fs::write(&path, &bytes).unwrap();
        let pack = File::open(&path).unwrap();
        rustix::fs::fsync(&pack).unwrap();
        rustix::fs::fadvise(&pack, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        let store = bench.open();
        match store.read(&id) {
            Ok(found) => assert!(flip == 0 && found[..] == raw),
            Err(error) => assert!(flip != 0 && matches!(error, Error::Damaged { .. }), "{error}"),
        }
        assert_eq!(store.pages.free(), 1, "not read past the page cache");
    }
}

#[test]
fn buffers_take_no_more_than_the_cache_and_its_readers() {
    const CACHE: usize = 8 << 20;
    const READERS: usize = 4;
    let bench = Bench::new();
    let store = bench.open();
    // Lengths of both cuttings, of a tail, and beyond what is pooled; four times the cache in all.
    let lengths = [1 << 20, 17 << 10, 300_000, 64 << 10, (1 << 20) + 5, 1];
    let raw = |n: usize| -> Vec<u8> {
        let seed = chunk_id(&n.to_le_bytes()).0;
        (0..lengths[n % lengths.len()]).map(|at| seed[at % 32] ^ (at / 64) as u8).collect()
    };
    let blobs: Vec<Vec<u8>> = (0..84).map(raw).collect();
    let ids: Vec<ChunkId> = blobs.iter().map(|raw| chunk_id(raw)).collect();
    let mut batch = store.writer().unwrap();
    for (id, raw) in ids.iter().zip(&blobs) {
        batch.put(Kind::Chunk, *id, raw).unwrap();
    }
    batch.finish().unwrap();
    std::thread::scope(|scope| {
        for reader in 0..READERS {
            let (store, ids, blobs) = (&store, &ids, &blobs);
            scope.spawn(move || {
                for step in 0..200 {
                    let n = (reader * 31 + step * (reader + 5)) % ids.len();
                    let chunk = store.read(&ids[n]).unwrap();
                    assert!(chunk[..] == blobs[n], "blob {n}");
                    let (owned, free) = store.buffers.bytes();
                    // A reader holds a chunk, or one and its stored form while it decodes.
                    assert!(owned <= CACHE + READERS * (2 << 20) + 64, "{owned} bytes");
                    assert!(free <= CACHE.saturating_sub(owned), "{free} bytes free");
                }
            });
        }
    });
    assert!(store.buffers.bytes().0 <= CACHE);
}

#[test]
fn who_saves_again_what_was_found_damaged_has_it_written_again() {
    let bench = Bench::new();
    let store = bench.open();
    put_all(&store, 0..3);
    let pack = bench.packs().join(&bench.names(&bench.packs())[0]);
    let at = store.find(&chunk_id(&blob(1))).unwrap()[0];
    let mut bytes = fs::read(&pack).unwrap();
    bytes[(at.offset + at.len - 1) as usize] ^= 1;
    fs::write(&pack, bytes).unwrap();
    let put = |n| {
        let mut batch = store.writer().unwrap();
        let put = batch.put(Kind::Chunk, chunk_id(&blob(n)), &blob(n)).unwrap();
        batch.finish().unwrap();
        put
    };
    assert_eq!(put(1), Put::Known, "nobody has noticed yet");
    assert!(store.read_uncached(&chunk_id(&blob(1))).is_err());
    assert!(matches!(put(1), Put::New { .. }));
    assert_eq!((put(1), put(0)), (Put::Known, Put::Known));
    all_there(&store, 0..3);
}
