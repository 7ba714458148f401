//! Sealing and history: what the daemon does with content after the save.
//!
//! A build with debug assertions walks a version made of changes once more, whole, to compare (`engine/history/rewalk.rs`);
//! that is in these counts.

use std::fs;

use super::saves::save;
use super::scenario::{Scenario, clean, closed, command, seal_all};
use crate::common::*;

pub(crate) const ALL: &[Scenario] = &[
    Scenario { name: "sealing of 64 MiB", before: |mount| drop(save(&mount.path("a"), 1)), act: seal_all },
    Scenario {
        name: "sealing of 64 MiB that are stored already",
        before: |mount| {
            drop(save(&mount.path("a"), 1));
            closed(mount);
            seal_all(mount);
            drop(save(&mount.path("b"), 1));
        },
        act: seal_all,
    },
    Scenario { name: "version with 16 new MiB", before: two_saves, act: snapshot },
    Scenario {
        name: "restore of a version",
        before: |mount| {
            two_saves(mount);
            versioned(mount);
        },
        act: |mount| command(&["restore", "1", mount.path("run").to_str().unwrap()]),
    },
    Scenario {
        name: "collection of 100 files of which half are gone",
        before: |mount| {
            (0..100).for_each(|n| fs::write(mount.path(&format!("{n}")), noise(256 << 10, n)).unwrap());
            closed(mount);
            seal_all(mount);
            (0..50).for_each(|n| fs::remove_file(mount.path(&format!("{}", 2 * n))).unwrap());
            clean(mount);
        },
        act: |mount| command(&["gc", mount.store().to_str().unwrap()]),
    },
    Scenario {
        name: "removal of 100 checkpoints that a version has",
        before: |mount| {
            fs::create_dir(mount.path("run")).unwrap();
            (0..100).for_each(|step| checkpoint(mount, step, 1 << 10));
            versioned(mount);
        },
        act: |mount| {
            let at = |step| mount.path(&format!("run/checkpoint-{step}"));
            (0..100).for_each(|step| fs::remove_dir_all(at(step)).unwrap());
        },
    },
];

/// A run with one version, and a checkpoint since.
fn two_saves(mount: &Mount) {
    fs::create_dir(mount.path("run")).unwrap();
    checkpoint(mount, 1, 16 << 20);
    versioned(mount);
    checkpoint(mount, 2, 16 << 20);
    clean(mount);
}

fn checkpoint(mount: &Mount, step: u64, len: usize) {
    let folder = mount.path(&format!("run/checkpoint-{step}"));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("model.npy"), array(step, len)).unwrap();
}

/// Makes a version, and waits until nothing is left to be done for it.
fn versioned(mount: &Mount) {
    closed(mount);
    snapshot(mount);
    clean(mount);
}

fn snapshot(mount: &Mount) {
    command(&["snapshot", mount.path("run").to_str().unwrap()]);
}

/// A NumPy array of `len` bytes that differ by `seed`.
fn array(seed: u64, len: usize) -> Vec<u8> {
    let mut header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({len},), }}").into_bytes();
    header.resize(117, b' ');
    header.push(b'\n');
    [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], &header, &noise(len, seed)].concat()
}
