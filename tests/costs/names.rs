//! Many names and small files.

use std::fs;

use super::scenario::{Scenario, make_cold};
use crate::common::*;

pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "stat of 100 names",
        before: |mount| {
            small_files(mount, 100);
            make_cold(mount);
        },
        act: |mount| stat(mount, 100),
    },
    Scenario {
        name: "stat of 100 names again",
        before: |mount| {
            small_files(mount, 100);
            stat(mount, 100);
        },
        act: |mount| stat(mount, 100),
    },
    Scenario {
        name: "listing of 1,000 names",
        before: |mount| (0..1000).for_each(|n| fs::create_dir(mount.path(&format!("{n}"))).unwrap()),
        act: |mount| assert_eq!(fs::read_dir(mount.root()).unwrap().count(), 1000),
    },
    Scenario {
        name: "100 small files come and go",
        before: |_| (),
        act: |mount| {
            small_files(mount, 100);
            (0..100).for_each(|n| fs::remove_file(mount.path(&format!("{n}"))).unwrap());
        },
    },
];

fn small_files(mount: &Mount, count: u64) {
    (0..count).for_each(|n| fs::write(mount.path(&format!("{n}")), noise(1024, n)).unwrap());
}

fn stat(mount: &Mount, count: u64) {
    (0..count).for_each(|n| assert_eq!(fs::metadata(mount.path(&format!("{n}"))).unwrap().len(), 1024));
}
