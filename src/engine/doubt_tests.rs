//! Hot files that changed on the disk between two mounts.

use std::fs;
use std::path::{Path, PathBuf};

use super::Options;
use super::doubt::AT_ONCE_MAX;
use super::world::{LEN, ME, World, npy, open_with, options};
use crate::base::monitor::Silent;
use crate::catalog::keys::{HotState, Ino, ROOT};
use crate::catalog::records::Content;
use std::time::Duration;

/// Everything that is at rest is sealed, or settled as small, at once; copies stay.
fn open(dir: &Path) -> World {
    open_with(dir, Options { settle: Duration::ZERO, hot_cache_bytes: 1 << 40, ..options(1) })
}

fn close(world: World) {
    world.engine.close_store(&world.workers).unwrap();
}

fn hot_path(world: &World, ino: Ino) -> PathBuf {
    let hot = world.engine.names().inode(ino).unwrap().content().and_then(Content::hot).unwrap();
    world.engine.hot.path(hot)
}

fn at_rest(world: &World) {
    world.engine.seal_all(&Silent).unwrap();
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

/// A closed store with a small file and a sealed one that has a copy; where their hot files are.
fn store(dir: &Path) -> (PathBuf, PathBuf) {
    let world = open(dir);
    let small = world.save(ROOT, "small.txt", b"epoch 1, loss 0.5\n");
    let run = world.engine.names().mkdir(ROOT, b"exp", 0o755, ME).unwrap().ino;
    let model = world.save(run, "model.npy", &npy(1, LEN));
    at_rest(&world);
    assert_eq!(world.engine.names().hot_files(HotState::Cache).unwrap().len(), 1);
    let paths = (hot_path(&world, small), hot_path(&world, model));
    close(world);
    paths
}

#[test]
fn a_copy_that_differs_is_not_read_and_not_built_upon() {
    for write in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let (_, copy) = store(dir.path());
        flip(&copy, 1000);
        let world = open(dir.path());
        let run = world.engine.names().entry(ROOT, b"exp").unwrap().unwrap().ino;
        let mut expected = npy(1, LEN);
        if write {
            let ino = world.engine.names().entry(run, b"model.npy").unwrap().unwrap().ino;
            let fh = world.engine.open(ino, libc::O_RDWR, ME).unwrap().fh;
            world.engine.write(fh, 500, b"changed", false).unwrap();
            world.engine.release(fh).unwrap();
            expected[500..507].copy_from_slice(b"changed");
        }
        assert!(world.read_live(run, "model.npy") == expected);
        let told = world.engine.report_status().unwrap().faults;
        assert!(told.iter().any(|fault| fault.what.contains("differs from what was sealed")), "{told:?}");
        close(world);
    }
}

#[test]
fn a_long_copy_is_compared_in_the_background_and_read_from_chunks_until_then() {
    let dir = tempfile::tempdir().unwrap();
    let long = npy(7, AT_ONCE_MAX as usize + 1);
    let world = open(dir.path());
    let ino = world.save(ROOT, "long.npy", &long);
    at_rest(&world);
    let copy = hot_path(&world, ino);
    close(world);
    for is_damaged in [false, true] {
        if is_damaged {
            flip(&copy, 20 << 20);
        }
        let world = open(dir.path());
        assert!(world.read_live(ROOT, "long.npy") == long);
        let began = std::time::Instant::now();
        let settled = || match is_damaged {
            true => !copy.exists() || world.engine.names().hot_files(HotState::Cache).unwrap().is_empty(),
            false => world.engine.is_trusted(ino),
        };
        while !settled() {
            assert!(began.elapsed() < Duration::from_secs(60), "nobody compares it");
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(world.read_live(ROOT, "long.npy") == long);
        close(world);
    }
}

#[test]
fn a_small_file_that_changed_on_the_disk_is_an_error_and_one_that_was_written_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (small, _) = store(dir.path());
    // Sound, then appended to and not at rest again: the mark goes with the mount.
    let world = open(dir.path());
    assert_eq!(world.read_live(ROOT, "small.txt"), b"epoch 1, loss 0.5\n");
    close(world);
    let world = open_with(dir.path(), Options { hot_cache_bytes: 1 << 40, ..options(1) });
    let ino = world.save(ROOT, "small.txt", b"epoch 2, loss 0.4\n");
    assert_eq!(world.read_live(ROOT, "small.txt"), b"epoch 2, loss 0.4\n");
    let small = if small.exists() { small } else { hot_path(&world, ino) };
    close(world);
    let world = open(dir.path());
    assert_eq!(world.read_live(ROOT, "small.txt"), b"epoch 2, loss 0.4\n");
    at_rest(&world);
    let small = if hot_path(&world, ino) == small { small } else { hot_path(&world, ino) };
    close(world);
    flip(&small, 3);
    let world = open(dir.path());
    let error = world.engine.open(ino, libc::O_RDONLY, ME).unwrap_err();
    assert_eq!(error.errno(), libc::EIO, "{error}");
    assert_eq!(world.engine.open(ino, libc::O_RDWR, ME).unwrap_err().errno(), libc::EIO);
    let checked = world.engine.check(true, &Silent).unwrap();
    assert_eq!(checked.findings.len(), 1, "{checked:?}");
    assert!(checked.findings.list[0].what.starts_with("small.txt: "), "{checked:?}");
    // Whoever replaces it has a good one again.
    world.save(ROOT, "small.txt", b"new");
    assert_eq!(world.read_live(ROOT, "small.txt"), b"new");
    close(world);
}

#[test]
fn after_a_kill_a_file_that_a_client_may_have_written_on_is_what_the_disk_says() {
    let dir = tempfile::tempdir().unwrap();
    let world = open(dir.path());
    let ino = world.save(ROOT, "small.txt", b"before");
    at_rest(&world);
    let small = hot_path(&world, ino);
    drop(world);
    fs::write(&small, b"behind").unwrap();
    let world = open(dir.path());
    assert_eq!(world.read_live(ROOT, "small.txt"), b"behind");
    close(world);
    // The mark of what it was before went with that mount.
    let world = open(dir.path());
    assert_eq!(world.read_live(ROOT, "small.txt"), b"behind");
    close(world);
}

#[test]
fn packs_are_looked_at_once_and_what_is_found_is_told_after_the_next_mount_too() {
    let dir = tempfile::tempdir().unwrap();
    store(dir.path());
    let pack = fs::read_dir(dir.path().join("packs")).unwrap().next().unwrap().unwrap().path();
    flip(&pack, 5000);
    let world = open_with(dir.path(), Options { scrub_rate: 1 << 30, ..options(1) });
    let began = std::time::Instant::now();
    while world.engine.report_status().unwrap().scrubbed.finished.is_none() {
        assert!(began.elapsed() < Duration::from_secs(60), "nobody looks");
        std::thread::sleep(Duration::from_millis(10));
    }
    let status = world.engine.report_status().unwrap();
    assert_eq!((status.scrubbed.last_damaged, status.scrubbed.began), (1, None), "{status:?}");
    assert!(status.scrubbed.bytes >= LEN as u64);
    assert!(status.faults.iter().any(|fault| fault.what.contains("look for damage")));
    close(world);
    let world = open(dir.path());
    assert_eq!(world.engine.report_status().unwrap().scrubbed.last_damaged, 1);
    close(world);
}
