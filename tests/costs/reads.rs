//! Reads of hot and of sealed files.

use std::fs::File;
use std::io::{IsTerminal, Read, Seek};

use super::saves::save;
use super::scenario::{Scenario, clean, closed, make_cold, seal_all};
use crate::common::*;

pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "read of a hot file as Python reads",
        before: |mount| drop(save(&mount.path("a"), 1)),
        act: |mount| as_python(&mount.path("a")),
    },
    Scenario {
        name: "read of a hot file through a mapping",
        before: |mount| drop(save(&mount.path("a"), 1)),
        act: |mount| through_a_mapping(&mount.path("a")),
    },
    Scenario {
        name: "first read of a sealed file",
        before: sealed,
        act: |mount| in_pieces(&mount.path("a")),
    },
    Scenario {
        name: "first read of a sealed file through a mapping",
        before: sealed,
        act: |mount| through_a_mapping(&mount.path("a")),
    },
    Scenario {
        name: "second read of a sealed file",
        before: |mount| {
            sealed(mount);
            in_pieces(&mount.path("a"));
        },
        act: |mount| in_pieces(&mount.path("a")),
    },
];

fn sealed(mount: &Mount) {
    drop(save(&mount.path("a"), 1));
    closed(mount);
    seal_all(mount);
    clean(mount);
    make_cold(mount);
}

/// The calls of `open(path, "rb").read()`.
fn as_python(path: &std::path::Path) {
    let mut file = File::open(path).unwrap();
    let len = usize::try_from(file.metadata().unwrap().len()).unwrap();
    assert!(!file.is_terminal());
    assert_eq!(file.stream_position().unwrap(), 0);
    let mut bytes = vec![0; len + 1];
    assert_eq!(file.read(&mut bytes).unwrap(), len);
    assert_eq!(file.read(&mut bytes[len..]).unwrap(), 0);
}

fn in_pieces(path: &std::path::Path) {
    let mut file = File::open(path).unwrap();
    let mut piece = vec![0; 1 << 20];
    while file.read(&mut piece).unwrap() > 0 {}
}

fn through_a_mapping(path: &std::path::Path) {
    let file = File::open(path).unwrap();
    let len = usize::try_from(file.metadata().unwrap().len()).unwrap();
    let map = Map::new(&file, len, false);
    (0..len).step_by(4096).for_each(|at| drop(map.get(at, 1)));
}
