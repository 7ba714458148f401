//! Files of every kind through sealing and back, by every way of reading.

use super::super::hydrate::hydrate;
use super::super::write::{Sealed, seal_file};
use super::*;
use crate::base::monitor::Silent;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

struct Bench {
    dir: tempfile::TempDir,
    store: Arc<PackStore>,
    pool: Arc<ReadPool>,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = PackStore::open(&dir.path().join("p"), &dir.path().join("i"), 16 << 20, &Silent).unwrap();
        Bench { dir, store: Arc::new(store), pool: Arc::new(ReadPool::new(2).unwrap()) }
    }

    fn hot(&self) -> PathBuf {
        self.dir.path().join("hot")
    }

    fn seal(&self, fill: impl FnOnce(&File)) -> Sealed {
        fill(&File::create(self.hot()).unwrap());
        let mut batch = self.store.writer().unwrap();
        let file = File::open(self.hot()).unwrap();
        let sealed = seal_file(&file, &self.hot(), &[], &mut batch, &|| true).unwrap().unwrap();
        batch.finish().unwrap();
        sealed
    }

    fn file(&self, content: ChunkId) -> SealedFile {
        SealedFile::open(Arc::clone(&self.store), Arc::clone(&self.pool), content).unwrap()
    }
}

/// Bytes like float weights: no two chunks alike.
fn weights(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_u32;
    let mut step = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state as f32 / u32::MAX as f32 - 0.5) * 0.04
    };
    (0..len.div_ceil(4)).flat_map(|_| step().to_le_bytes()).take(len).collect()
}

fn log(len: usize) -> Vec<u8> {
    let lines = (0..len / 10).flat_map(|n| format!("step {n}: loss 0.{}\n", n * 7919 % 100_003).into_bytes());
    lines.take(len).collect()
}

#[test]
fn files_of_every_kind_come_back_from_every_way_of_reading() {
    for data in
        [vec![], vec![1], weights(4096), weights((5 << 20) + 13), log((3 << 20) + 1), vec![0; 3 << 20]]
    {
        let bench = Bench::new();
        let sealed = bench.seal(|file| file.write_all_at(&data, 0).unwrap());
        assert_eq!(sealed.size, data.len() as u64);
        let file = bench.file(sealed.content);
        let mut all = vec![7; data.len() + 100];
        assert_eq!(file.read_at(0, &mut all).unwrap(), data.len());
        assert!(all[..data.len()] == data);
        let mut streamed = Vec::new();
        let mut part = vec![0; 130_000];
        while let len @ 1.. = file.read_at(streamed.len() as u64, &mut part).unwrap() {
            streamed.extend_from_slice(&part[..len]);
        }
        assert!(streamed == data);
        let mut fault = [0; 4096];
        for n in 0..50 {
            let at = n * 1_000_003 % (data.len() + 1);
            let len = file.read_at(at as u64, &mut fault).unwrap();
            assert!(fault[..len] == data[at..(at + 4096).min(data.len())]);
        }
        assert_eq!(file.read_at(sealed.size + 5, &mut fault).unwrap(), 0);
        let path = bench.dir.path().join("out");
        hydrate(&bench.store, file.manifest(), &File::create(&path).unwrap(), &path, 3).unwrap();
        assert!(fs::read(&path).unwrap() == data);
    }
}

#[test]
fn a_sparse_file_of_a_tebibyte_is_sealed_read_and_filled_in_no_time() {
    let bench = Bench::new();
    let data = weights(100_000);
    let middle = 300 << 30;
    let sealed = bench.seal(|file| {
        file.set_len(1 << 40).unwrap();
        file.write_all_at(&data, middle).unwrap();
    });
    assert_eq!(sealed.size, 1 << 40);
    assert!(sealed.new_bytes < 110_000, "{}", sealed.new_bytes);
    let file = bench.file(sealed.content);
    let mut read = vec![1; 100_000];
    file.read_at(middle, &mut read).unwrap();
    assert!(read == data);
    file.read_at(5 << 30, &mut read).unwrap();
    assert!(read.iter().all(|byte| *byte == 0));
    let start = file.seek_data(0).unwrap();
    assert!(start <= middle && start + 4096 > middle, "data at {start}");
    assert_eq!((file.seek_hole(0), file.seek_data(start + 1)), (Some(0), Some(start + 1)));
    let hole = file.seek_hole(start).unwrap();
    assert!(hole >= middle + 100_000 && hole < middle + 110_000);
    assert_eq!((file.seek_data(hole), file.seek_data(1 << 40), file.seek_hole(1 << 40)), (None, None, None));
    let path = bench.dir.path().join("out");
    hydrate(&bench.store, file.manifest(), &File::create(&path).unwrap(), &path, 2).unwrap();
    use std::os::unix::fs::MetadataExt;
    let meta = fs::metadata(&path).unwrap();
    assert!(meta.len() == 1 << 40 && meta.blocks() < 1000);
}

#[test]
fn sealing_again_writes_nothing_and_an_edit_writes_one_chunk() {
    let bench = Bench::new();
    let mut data = weights(6 << 20);
    let write = |data: &[u8]| bench.seal(|file| file.write_all_at(data, 0).unwrap());
    let first = write(&data);
    assert_eq!(write(&data), Sealed { new_bytes: 0, ..first });
    data[3_500_000] ^= 1;
    let edited = write(&data);
    assert!(edited.content != first.content && edited.new_bytes < 1_100_000);
}

#[test]
fn sealing_stops_when_told_and_refuses_a_file_that_changes() {
    let bench = Bench::new();
    fs::write(bench.hot(), weights(5 << 20)).unwrap();
    let file = File::open(bench.hot()).unwrap();
    let asked = std::cell::Cell::new(0);
    let mut batch = bench.store.writer().unwrap();
    let twice = || asked.replace(asked.get() + 1) < 2;
    assert_eq!(seal_file(&file, &bench.hot(), &[], &mut batch, &twice).unwrap(), None);
    assert_eq!(asked.get(), 3);
    let writer = fs::OpenOptions::new().append(true).open(bench.hot()).unwrap();
    let grows = || writer.set_len((5 << 20) + 1).is_ok();
    let refused = seal_file(&file, &bench.hot(), &[], &mut batch, &grows).unwrap_err();
    assert!(matches!(refused, Error::Refused(_)));
    let shrinks = || writer.set_len(2 << 20).is_ok();
    assert!(seal_file(&file, &bench.hot(), &[], &mut batch, &shrinks).is_err());
}

#[test]
fn a_sequential_reader_finds_its_chunks_decoded_and_a_random_one_causes_nothing() {
    let bench = Bench::new();
    let data = weights(8 << 20);
    let sealed = bench.seal(|file| file.write_all_at(&data, 0).unwrap());
    let cached = |file: &SealedFile| file.manifest().ids().filter(|id| bench.store.is_cached(id)).count();
    let file = bench.file(sealed.content);
    let mut page = [0; 4096];
    for at in [7 << 20, 3 << 20, 5 << 20] {
        file.read_at(at, &mut page).unwrap();
    }
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert_eq!(cached(&file), 3);
    // What the kernel reads around one page fault is no sequential reader either.
    let mut request = vec![0; 128 << 10];
    for n in 0..16 {
        file.read_at(n * request.len() as u64, &mut request).unwrap();
    }
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert_eq!(cached(&file), 5);
    for n in 16..18 {
        file.read_at(n * request.len() as u64, &mut request).unwrap();
    }
    let begun = std::time::Instant::now();
    while cached(&file) < 7 && begun.elapsed().as_secs() < 10 {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(cached(&file) >= 7, "{} chunks", cached(&file));
}

#[test]
fn a_damaged_chunk_is_an_error_for_readers_of_it_only() {
    let bench = Bench::new();
    let sealed = bench.seal(|file| file.write_all_at(&weights(4 << 20), 0).unwrap());
    let file = bench.file(sealed.content);
    let path = bench.dir.path().join("p/00000001.pack");
    let pack = fs::OpenOptions::new().write(true).open(&path).unwrap();
    pack.write_all_at(&[0xEE; 64], 1_500_000).unwrap();
    let mut page = [0; 4096];
    let bad = (0..4).filter(|n| file.read_at(n << 20, &mut page).is_err()).count();
    assert_eq!(bad, 1);
    let out = bench.dir.path().join("out");
    let error = hydrate(&bench.store, file.manifest(), &File::create(&out).unwrap(), &out, 2).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }));
}

/// `cargo test --lib -- --ignored --nocapture speed_of_sealing`
#[test]
#[ignore = "a measurement"]
fn speed_of_sealing_and_reading() {
    let bench = Bench::new();
    let data = weights(256 << 20);
    // CPU time of the whole process: what else the machine does counts little.
    let cpu = || {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
    };
    let rate = |what: &str, begun: f64| {
        println!("{what}: {:.2} GB for a second of one core", data.len() as f64 / 1e9 / (cpu() - begun));
    };
    fs::write(bench.hot(), &data).unwrap();
    let file = File::open(bench.hot()).unwrap();
    for what in ["seal new", "seal known"] {
        let begun = cpu();
        let mut batch = bench.store.writer().unwrap();
        seal_file(&file, &bench.hot(), &[], &mut batch, &|| true).unwrap().unwrap();
        rate(what, begun);
        batch.finish().unwrap();
        rate("  and durable", begun);
    }
    let mut batch = bench.store.writer().unwrap();
    let sealed = seal_file(&file, &bench.hot(), &[], &mut batch, &|| true).unwrap().unwrap();
    let file = bench.file(sealed.content);
    let begun = cpu();
    let (mut at, mut request) = (0, vec![0; 1 << 20]);
    while let len @ 1.. = file.read_at(at, &mut request).unwrap() {
        at += len as u64;
    }
    rate("stream", begun);
    for threads in [1, 2] {
        let path = bench.dir.path().join("out");
        let begun = cpu();
        hydrate(&bench.store, file.manifest(), &File::create(&path).unwrap(), &path, threads).unwrap();
        rate(&format!("hydrate with {threads} threads"), begun);
    }
}
