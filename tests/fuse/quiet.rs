//! Quiet is proved by a lease: what can still be written is not sealed, and nothing written is lost.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

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

#[test]
fn stores_and_writes_see_each_other_and_a_mapping_stays_on_its_file_over_a_rename() {
    both(|mount| {
        for sealed in [false, true] {
            let (path, moved) = (mount.path("f"), mount.path("moved"));
            let mut bytes = noise(1 << 20, 8);
            fs::write(&path, &bytes).unwrap();
            if sealed {
                mount.all_sealed();
            }
            let file = open_rw(&path);
            let map = Map::new(&file, bytes.len(), true);
            file.write_all_at(b"by write", 70_000).unwrap();
            assert_eq!(map.get(70_000, 8), b"by write", "sealed: {sealed}");
            map.put(300_000, b"by store");
            bytes[70_000..70_008].copy_from_slice(b"by write");
            bytes[300_000..300_008].copy_from_slice(b"by store");
            assert_seen(&file, &bytes);
            let other_process = Command::new("cat").arg(&path).output().unwrap();
            same(&other_process.stdout, &bytes);
            drop(file);
            fs::rename(&path, &moved).unwrap();
            fs::write(&path, b"another file").unwrap();
            map.put(900_000, b"after");
            bytes[900_000..900_005].copy_from_slice(b"after");
            assert_bytes(&moved, &bytes);
            assert_bytes(&path, b"another file");
            drop(map);
            fs::remove_file(&path).unwrap();
            mount.all_sealed();
            assert_bytes(&moved, &bytes);
        }
    });
}

#[test]
fn a_file_is_sealed_only_after_it_was_quiet_for_the_settle_time() {
    let mount = Mount::with(&["settle=1s", "hot_cache=0"]);
    let path = mount.path("f");
    fs::write(&path, noise(200_000, 9)).unwrap();
    std::thread::sleep(Duration::from_millis(600));
    let begun = Instant::now();
    open_rw(&path).write_all_at(b"once more", 0).unwrap();
    let mut quiet = begun.elapsed();
    while mount.number("/sealing/sealed_files") == 0 {
        quiet = begun.elapsed();
        assert!(quiet < Duration::from_secs(20), "it is never sealed");
        std::thread::sleep(Duration::from_millis(10));
    }
    // `quiet` is from before the question that found it sealed; the rest is what one question takes.
    assert!(quiet > Duration::from_millis(800), "sealed after {quiet:?}");
}

#[test]
fn sealing_runs_at_idle_priority() {
    let mount = Mount::new("on");
    let sealers = || -> Vec<(i32, i64)> {
        let tasks = fs::read_dir(format!("/proc/{}/task", mount.pid())).unwrap().flatten();
        // Threads come and go.
        let named = |path: &Path| fs::read_to_string(path.join("comm")).unwrap_or_default();
        let ids = tasks.filter(|task| named(&task.path()).starts_with("seal-"));
        ids.map(|task| {
            let id: i32 = task.file_name().to_str().unwrap().parse().unwrap();
            // SAFETY: both calls take plain integers.
            let (cpu, io) =
                unsafe { (libc::sched_getscheduler(id), libc::syscall(libc::SYS_ioprio_get, 1, id)) };
            // The class of I/O priority is in the upper bits; 3 is idle.
            (cpu, io >> 13)
        })
        .collect()
    };
    let idle = |found: Vec<(i32, i64)>| {
        !found.is_empty() && found.iter().all(|priority| *priority == (libc::SCHED_IDLE, 3))
    };
    eventually("all threads that seal are idle", || idle(sealers()));
    fs::write(mount.path("f"), noise(300_000, 11)).unwrap();
    mount.all_sealed();
    assert!(idle(sealers()), "{:?}", sealers());
}

#[test]
fn what_cannot_be_sealed_stays_hot_fails_no_save_and_status_says_why() {
    let mount = Mount::new("on");
    let bytes = noise(300_000, 10);
    mount.hide_packs();
    for name in ["one", "two"] {
        let mut file = File::create(mount.path(name)).unwrap();
        file.write_all(&bytes).unwrap();
        file.sync_all().unwrap();
        drop(file);
        assert_bytes(&mount.path(name), &bytes);
    }
    eventually("status says why", || mount.status()["last_errors"].to_string().contains("packs"));
    assert_eq!((mount.number("/sealing/sealed_files"), mount.number("/hot_files")), (0, 2));
    mount.show_packs();
    mount.remount();
    mount.all_sealed();
    assert_bytes(&mount.path("one"), &bytes);
    mount.no_faults();
}
