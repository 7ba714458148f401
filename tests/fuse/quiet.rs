//! Quiet is proved by a lease: what can still be written is not sealed, and nothing written is lost.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use crate::common::*;

fn not_sealed(mount: &Mount) {
    std::thread::sleep(Duration::from_millis(400));
    assert_eq!(mount.number("/sealing/sealed_files"), 0, "a file that can be written was sealed");
}

#[test]
fn a_mapped_file_is_not_sealed_before_munmap_and_its_last_stores_are() {
    both(|mount| {
        let path = mount.path("memmap.npy");
        let mut bytes = noise(1 << 20, 1);
        fs::write(&path, &bytes).unwrap();
        let map = Map::new(&open_rw(&path), bytes.len(), true);
        // It may have been sealed before it was mapped.
        let before = mount.number("/sealing/sealed_files");
        map.put(5000, b"first");
        std::thread::sleep(Duration::from_millis(400));
        map.put(900_000, b"last");
        assert_eq!(mount.number("/sealing/sealed_files"), before, "a file that can be written was sealed");
        drop(map);
        bytes[5000..5005].copy_from_slice(b"first");
        bytes[900_000..900_004].copy_from_slice(b"last");
        mount.all_sealed();
        assert!(mount.number("/sealing/sealed_files") > before);
        assert_bytes(&path, &bytes);
    });
}

#[test]
fn a_mapping_outlives_close_and_unlink() {
    both(|mount| {
        let path = mount.path("f");
        fs::write(&path, noise(1 << 20, 2)).unwrap();
        let map = Map::new(&open_rw(&path), 1 << 20, true);
        fs::remove_file(&path).unwrap();
        fs::write(mount.path("other"), noise(1 << 20, 3)).unwrap();
        map.put(77_777, b"still here");
        assert_eq!(map.get(77_777, 10), b"still here");
        same(&map.get(0, 1000), &noise(1000, 2));
    });
}

#[test]
fn a_read_only_mapping_of_sealed_content_faults_in_right_pages() {
    both(|mount| {
        let path = mount.path("f");
        let bytes = noise(5 << 20, 4);
        fs::write(&path, &bytes).unwrap();
        mount.all_sealed();
        let map = Map::new(&File::open(&path).unwrap(), bytes.len(), false);
        for page in (0..bytes.len() / 4096).rev().step_by(7) {
            same(&map.get(page * 4096, 4096), &bytes[page * 4096..][..4096]);
        }
        fs::remove_file(&path).unwrap();
        same(&map.get(4096, 4096), &bytes[4096..8192]);
    });
}

#[test]
fn truncating_a_mapped_and_closed_file_keeps_the_mapping_on_the_file() {
    both(|mount| {
        for by_open in [true, false] {
            let path = mount.path("f");
            fs::write(&path, noise(1 << 20, 5)).unwrap();
            let map = Map::new(&open_rw(&path), 1 << 20, true);
            map.put(0, b"x");
            std::thread::sleep(Duration::from_millis(100));
            if by_open {
                drop(File::create(&path).unwrap());
            } else {
                truncate(&path, 0);
            }
            let bytes = noise(200_000, 6);
            let mut file = File::options().write(true).open(&path).unwrap();
            file.write_all(&bytes).unwrap();
            drop(file);
            map.put(100, b"stored through the old mapping");
            let mut wanted = bytes.clone();
            wanted[100..130].copy_from_slice(b"stored through the old mapping");
            assert_bytes(&path, &wanted);
            drop(map);
            mount.all_sealed();
            assert_bytes(&path, &wanted);
        }
    });
}

#[test]
fn a_file_that_is_only_read_is_sealed_while_it_is_open() {
    both(|mount| {
        let path = mount.path("f");
        let bytes = noise(1 << 20, 7);
        let mut file = File::create(&path).unwrap();
        file.write_all(&bytes).unwrap();
        not_sealed(mount);
        let reader = File::open(&path).unwrap();
        drop(file);
        mount.settle();
        assert_eq!(mount.number("/sealing/sealed_files"), 1);
        assert_seen(&reader, &bytes);
        // What changes below a reader is sealed too, when nothing but readers are left.
        open_rw(&path).set_len(500_000).unwrap();
        rustix::fs::utimensat(
            rustix::fs::CWD,
            &path,
            &rustix::fs::Timestamps {
                last_access: rustix::fs::Timespec { tv_sec: 5, tv_nsec: 0 },
                last_modification: rustix::fs::Timespec { tv_sec: 6, tv_nsec: 0 },
            },
            rustix::fs::AtFlags::empty(),
        )
        .unwrap();
        eventually("it is sealed again", || mount.number("/sealing/sealed_files") == 2);
        assert_seen(&reader, &bytes[..500_000]);
        truncate(&path, 400_000);
        eventually("a truncated one too", || mount.number("/sealing/sealed_files") == 3);
        assert_seen(&reader, &bytes[..400_000]);
        drop(reader);
        mount.all_sealed();
        assert_eq!(reader_len(mount), 400_000);
        let reader = File::open(&path).unwrap();
        truncate(&path, 300_000);
        eventually("truncated below a reader of sealed chunks", || {
            mount.number("/sealing/sealed_files") == 4
        });
        assert_seen(&reader, &bytes[..300_000]);
    });
}

fn reader_len(mount: &Mount) -> u64 {
    let file = File::open(mount.path("f")).unwrap();
    let mut page = [0; 16];
    assert_eq!(file.read_at(&mut page, 400_000 - 16).unwrap(), 16);
    file.metadata().unwrap().len()
}
