//! Promises of the engine that need no mount: what an fsync costs, and that sealing everything ends.

// A test stops where it fails, in its helpers too.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ckptfs::base::monitor::Silent;
use ckptfs::engine::shutdown::End;
use ckptfs::engine::workers::Workers;
use ckptfs::engine::{Engine, Options};
use ckptfs::namespace::Caller;

const ROOT: Caller = Caller { uid: 0, gid: 0 };

fn start(store: &Path) -> Arc<Engine> {
    for folder in ["journal", "catalog", "packs", "index", "hot"] {
        fs::create_dir_all(store.join(folder)).unwrap();
    }
    let options = Options {
        settle: Duration::from_secs(3600),
        hot_cache_bytes: 0,
        cache_bytes: 1 << 20,
        threads: 1,
        hydrate_threads: 1,
        scrub_rate: 0,
        meta: ckptfs::meta::Options::default(),
        history: ckptfs::engine::history::HistoryOptions::default(),
        hot: None,
    };
    Engine::start(store, options, ROOT, &Silent).unwrap()
}

#[test]
fn an_fsync_costs_one_journal_sync_and_operations_without_it_none() {
    let dir = tempfile::tempdir().unwrap();
    let engine = start(dir.path());
    let syncs = || engine.names().meta().status().unwrap().journal_syncs;
    let before = syncs();
    let (_, opened) = engine.create(1, b"f", 0o644, libc::O_RDWR, ROOT).unwrap();
    engine.write(opened.fh, 0, b"bytes", false).unwrap();
    engine.names().link(engine.names().lookup(1, b"f").unwrap().ino, 1, b"g").unwrap();
    assert_eq!(syncs(), before);
    engine.fsync(opened.fh, true).unwrap();
    assert_eq!(syncs(), before + 1);
}

#[test]
fn sealing_everything_ends_although_somebody_holds_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let engine = start(dir.path());
    let workers = Workers::start(&engine).unwrap();
    for name in [&b"held"[..], b"free"] {
        let (_, opened) = engine.create(1, name, 0o644, libc::O_RDWR, ROOT).unwrap();
        engine.write(opened.fh, 0, &[7; 200_000], false).unwrap();
        engine.release(opened.fh).unwrap();
    }
    let held = File::options().write(true).open(dir.path().join("hot/01/0000000000000001")).unwrap();
    let begun = Instant::now();
    engine.seal_all(&Silent).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_eq!(engine.report_status().unwrap().sealed_files, 1);
    drop(held);
    engine.seal_all(&Silent).unwrap();
    assert_eq!(engine.report_status().unwrap().sealed_files, 2);
    engine.shut_down(&workers, End::Unused).unwrap();
}

#[test]
fn to_begin_a_version_is_few_records_however_many_files_the_run_has() {
    let dir = tempfile::tempdir().unwrap();
    let engine = start(dir.path());
    // Checkpoint content by its format, so small that it costs nothing.
    let array = [&b"\x93NUMPY\x01\x00\x76\x00"[..], &header(), &[7; 64]].concat();
    let begun = [1, 300].map(|files| {
        let run = engine.names().mkdir(1, format!("run-{files}").as_bytes(), 0o755, ROOT).unwrap().ino;
        let save = |name: String| {
            let (attr, opened) = engine.create(run, name.as_bytes(), 0o644, libc::O_RDWR, ROOT).unwrap();
            engine.write(opened.fh, 0, &array, false).unwrap();
            engine.release(opened.fh).unwrap();
            attr.inode.ino
        };
        let inos: Vec<u64> = (0..files).map(|n| save(format!("{n}.npy"))).collect();
        let (records, moments) = (engine.names().meta().last_seq(), engine.names().snapshots().len());
        let opened = engine.open(inos[0], libc::O_WRONLY | libc::O_TRUNC, ROOT).unwrap();
        assert_eq!(engine.names().snapshots().len(), moments + 1, "a version is begun");
        engine.release(opened.fh).unwrap();
        engine.names().meta().last_seq() - records
    });
    // The moment, the file's new bytes, and at times a number that is set aside.
    assert!(begun.iter().all(|records| (2..=3).contains(records)), "{begun:?} records");
}

/// The header of an array of 64 bytes, as long as NumPy makes it.
fn header() -> Vec<u8> {
    let mut header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (64,), }".to_vec();
    header.resize(117, b' ');
    header.push(b'\n');
    header
}
