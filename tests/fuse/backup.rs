//! The backup of a store as docs/operations.md has it: unmounted, copied, and the copy mounted.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::common::*;

/// Copies the closed store of `mount`; the names of what was taken.
fn copy(mount: &Mount, to: &Path) -> BTreeSet<PathBuf> {
    let from = mount.store().join("");
    let mut rsync = Command::new("rsync");
    let done = rsync.args(["-a", "--delete", "--out-format=%n"]).args([&from, to]).output().unwrap();
    assert!(done.status.success(), "{}", said(&done));
    String::from_utf8(done.stdout).unwrap().lines().map(PathBuf::from).collect()
}

fn packs(store: &Path) -> BTreeSet<PathBuf> {
    let packs = fs::read_dir(store.join("packs")).unwrap();
    packs.map(|pack| Path::new("packs").join(pack.unwrap().file_name())).collect()
}

#[test]
fn a_copy_of_an_unmounted_store_has_all_its_history_and_the_next_copy_takes_no_pack_again() {
    let mount = Mount::with(&["settle=1h", "hot_cache=0"]);
    let there = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let copied = there.path().join("store");
    let saves = [1, 2].map(|seed| noise(3 << 20, seed));
    let mut taken = Vec::new();
    for (bytes, tag) in saves.iter().zip(["one", "two"]) {
        fs::write(mount.path("model.bin"), bytes).unwrap();
        fs::create_dir(mount.path(".snapshots").join(tag)).unwrap();
        eventually("it unmounts", || mount.unmount().status.success());
        let before = if copied.exists() { packs(&copied) } else { BTreeSet::new() };
        taken = copy(&mount, &copied).into_iter().filter(|name| before.contains(name)).collect();
        assert!(packs(&copied).len() > before.len());
        mount.mount();
    }
    assert_eq!(taken, Vec::<PathBuf>::new(), "packs that the first copy has");
    let clean = ckptfs(&["check", "--read-data", text(&copied)]);
    assert!(clean.status.success(), "{}", said(&clean));
    // Beside the store that it is a copy of, which is mounted.
    let other = Mount::at(there, &["settle=1h", "hot_cache=0"], &ckptfs);
    for (bytes, tag) in saves.iter().zip(["one", "two"]) {
        assert_bytes(&other.path(".snapshots").join(tag).join("model.bin"), bytes);
    }
    assert_bytes(&other.path("model.bin"), &saves[1]);
    fs::write(other.path("model.bin"), &saves[0]).unwrap();
    assert_bytes(&mount.path("model.bin"), &saves[1]);
    mount.no_faults();
    other.no_faults();
}
