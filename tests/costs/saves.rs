//! Saves, by the ways that writers of checkpoints save.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use super::scenario::{Scenario, clean, closed, seal_all};
use crate::common::*;

const MIB: usize = 1 << 20;

pub(crate) const ALL: &[Scenario] = &[
    Scenario { name: "save of 64 MiB", before: |_| (), act: |mount| drop(save(&mount.path("a"), 1)) },
    Scenario {
        name: "save of 64 MiB and fsync",
        before: |_| (),
        act: |mount| save(&mount.path("a"), 1).sync_all().unwrap(),
    },
    Scenario {
        name: "save of 64 MiB over a hot file",
        before: |mount| drop(save(&mount.path("a"), 1)),
        act: |mount| drop(save(&mount.path("a"), 2)),
    },
    Scenario {
        name: "save of 64 MiB over a sealed file",
        before: |mount| {
            drop(save(&mount.path("a"), 1));
            closed(mount);
            seal_all(mount);
            clean(mount);
        },
        act: |mount| drop(save(&mount.path("a"), 2)),
    },
    Scenario {
        name: "save of 64 MiB to a temporary file, fsync and rename",
        before: |mount| drop(save(&mount.path("a"), 1)),
        act: |mount| {
            save(&mount.path("a.tmp"), 2).sync_all().unwrap();
            fs::rename(mount.path("a.tmp"), mount.path("a")).unwrap();
        },
    },
];

/// Creates or replaces a file of 64 MiB with writes of 1 MiB.
pub(crate) fn save(path: &Path, seed: u64) -> File {
    let mut file = File::create(path).unwrap();
    let mut block = noise(MIB, seed);
    for number in 0..64_u64 {
        block[..8].copy_from_slice(&number.to_le_bytes());
        file.write_all(&block).unwrap();
    }
    file
}
