//! What things cost, in syncs and bytes: no timing.

use std::fs::{self, File};
use std::io::{Read, Write};

use crate::common::*;

#[test]
fn equal_content_costs_no_chunk_bytes_a_second_time() {
    let mount = Mount::new("on");
    let bytes = noise(8 << 20, 1);
    fs::write(mount.path("one"), &bytes).unwrap();
    mount.all_sealed();
    let (stored, chunks) = (mount.number("/stored_bytes"), mount.number("/chunks"));
    assert!(stored >= 8 << 20);
    fs::write(mount.path("two"), &bytes).unwrap();
    mount.all_sealed();
    assert_eq!((mount.number("/stored_bytes"), mount.number("/chunks")), (stored, chunks));
    // Opened for update and closed unchanged: the same content again.
    drop(open_rw(&mount.path("one")));
    mount.all_sealed();
    assert_eq!(mount.number("/stored_bytes"), stored);
    // A hot file that was dropped is deleted once the record that says so is durable, seconds later.
    let held = || -> u64 {
        let files = ["hot", "packs"].iter().flat_map(|folder| walk(&mount.store().join(folder)));
        files.map(|path| fs::metadata(path).map_or(0, |found| found.len())).sum()
    };
    eventually("the disk holds one copy", || held() < stored + (1 << 20));
}

#[test]
fn gc_gives_the_space_of_deleted_files_and_versions_back_at_once() {
    let mount = Mount::with(&["settle=1h", "hot_cache=0", "max_to_keep=1"]);
    let (run, root) = (mount.path("run"), mount.root());
    fs::create_dir(&run).unwrap();
    for seed in 1..=3 {
        fs::write(run.join("model.npy"), npy(seed, 4 << 20)).unwrap();
        assert!(ckptfs(&["snapshot", text(&run)]).status.success());
    }
    // Below 1 MiB a file of no known kind is no checkpoint content: no version holds it.
    (0..8).for_each(|n| fs::write(mount.path(&format!("data-{n}")), noise(900_000, 9 + n)).unwrap());
    fs::write(mount.path("kept"), noise(900_000, 8)).unwrap();
    mount.remount();
    (0..8).for_each(|n| fs::remove_file(mount.path(&format!("data-{n}"))).unwrap());
    assert!(mount.number("/stored_bytes") > 11 << 20);
    let done = ckptfs(&["gc", text(&root)]);
    assert!(done.status.success(), "{}", said(&done));
    let stored = mount.number("/stored_bytes");
    assert!(stored < 7 << 20, "{stored} bytes where 5 MiB are in use");
    assert_bytes(&run.join(".snapshots/latest/model.npy"), &npy(3, 4 << 20));
    assert_bytes(&mount.path("kept"), &noise(900_000, 8));
    mount.no_faults();
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => files.extend(walk(&entry.path())),
            false => files.push(entry.path()),
        }
    }
    files
}

#[test]
fn memory_does_not_grow_with_a_file() {
    let mount = Mount::with(&["settle=0s", "hot_cache=0"]);
    let path = mount.path("big");
    let block = noise(1 << 20, 3);
    let mut file = File::create(&path).unwrap();
    for n in 0..600_u64 {
        // Every eighth block is new, the others repeat: sealing sees each byte, the disk takes few.
        let mut block = block.clone();
        if n % 8 == 0 {
            block[..8].copy_from_slice(&n.to_le_bytes());
        }
        file.write_all(&block).unwrap();
    }
    drop(file);
    mount.all_sealed();
    let mut file = File::open(&path).unwrap();
    let mut buffer = vec![0; 1 << 20];
    for n in 0..600_u64 {
        file.read_exact(&mut buffer).unwrap();
        same(&buffer[8..], &block[8..]);
        if n % 8 == 0 {
            same(&buffer[..8], &n.to_le_bytes());
        }
    }
    drop(file);
    // Hydrating too.
    drop(open_rw(&path));
    let status = fs::read_to_string(format!("/proc/{}/status", mount.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kib < 300 << 10, "the daemon took {kib} KiB at its peak");
    mount.no_faults();
}
