//! What is damaged stays where it is, is told, and keeps nothing else from being reclaimed.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::world::{LEN, World, npy, open};
use crate::base::monitor::Silent;
use crate::catalog::keys::ROOT;
use crate::pack::Kind;
use crate::pack::writer::pack_name;

fn path(dir: &Path, pack: u32) -> PathBuf {
    dir.join("packs").join(pack_name(pack))
}

/// The newest pack with a manifest, and an offset inside that manifest's stored bytes.
fn newest_manifest(world: &World) -> (u32, usize) {
    let packs = world.engine.packs.packs();
    let find = |pack: u32| {
        let entries = world.engine.packs.footer(pack).unwrap().unwrap();
        let manifest = entries.into_iter().find(|entry| entry.kind == Kind::Manifest)?;
        Some((pack, (manifest.offset + manifest.len - 1) as usize))
    };
    packs.iter().rev().find_map(|(pack, _)| find(*pack)).unwrap()
}

#[test]
fn damage_keeps_its_own_pack_only_and_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let world = open(dir.path());
    world.engine.set_policy("max_to_keep", "1").unwrap();
    world.checkpoint(ROOT, 1, LEN);
    // One pack with two files, of which one will be dead and one will be damaged.
    world.save(ROOT, "a.npy", &npy(100, 1 << 20));
    world.save(ROOT, "b.npy", &npy(101, 1 << 20));
    world.checkpoint(ROOT, 2, LEN);
    let pack = world.engine.packs.packs().last().unwrap().0;
    world.engine.unlink(ROOT, b"a.npy").unwrap();
    for stamp in 3..=6 {
        world.checkpoint(ROOT, stamp, LEN);
    }
    let b = npy(101, 1 << 20);
    let path = path(dir.path(), pack);
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(64).position(|window| window == &b[400_000..400_064]).expect("stored as it is");
    bytes[at] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let done = world.engine.reclaim(&Silent).unwrap();
    assert_eq!(done.damaged, 1, "{done:?}");
    assert!(world.engine.packs.packs().iter().any(|(number, _)| *number == pack));
    let told = world.engine.report_status().unwrap().faults;
    assert!(told.iter().any(|fault| fault.what.contains("reclaim") && fault.what.contains("verify")));
    assert!(world.stored() < bytes.len() as u64 + 2 * LEN as u64, "all others were reclaimed");
    assert_eq!(world.read(&world.versions(ROOT)[0], "model.npy"), npy(6, LEN));
    assert_eq!(world.engine.reclaim(&Silent).unwrap().damaged, 1);
    drop(world.workers);
}

#[test]
fn a_manifest_that_cannot_be_read_keeps_its_pack_and_the_rest_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let world = open(dir.path());
    world.engine.set_policy("max_to_keep", "1").unwrap();
    for stamp in 1..=4 {
        world.checkpoint(ROOT, stamp, LEN);
    }
    // Of another shape: its header is another chunk too, so all that it has lies in its own pack.
    world.checkpoint(ROOT, 5, LEN + 1);
    let (pack, at) = newest_manifest(&world);
    let mut bytes = fs::read(path(dir.path(), pack)).unwrap();
    bytes[at] ^= 1;
    fs::write(path(dir.path(), pack), &bytes).unwrap();
    let done = world.engine.reclaim(&Silent).unwrap();
    assert_eq!((done.versions, done.damaged), (4, 1), "{done:?}");
    assert_eq!(world.engine.packs.packs(), [(pack, bytes.len() as u32)]);
    bytes[at] ^= 1;
    fs::write(path(dir.path(), pack), &bytes).unwrap();
    assert_eq!(
        world.read(&world.versions(ROOT)[0], "model.npy"),
        npy(5, LEN + 1),
        "its chunks are still there"
    );
    drop(world.workers);
}

#[test]
fn nothing_goes_while_a_pack_that_lists_chunks_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let world = open(dir.path());
    world.engine.set_policy("max_to_keep", "1").unwrap();
    for stamp in 1..=5 {
        world.checkpoint(ROOT, stamp, LEN);
    }
    let (pack, _) = newest_manifest(&world);
    let bytes = fs::read(path(dir.path(), pack)).unwrap();
    fs::remove_file(path(dir.path(), pack)).unwrap();
    drop(world);
    let world = open(dir.path());
    let packs = world.engine.packs.packs();
    let error = world.engine.reclaim(&Silent).unwrap_err().to_string();
    assert!(error.contains("in no pack"), "{error}");
    assert_eq!(world.engine.packs.packs(), packs);
    drop(world);
    // It was only away: everything is as before.
    fs::write(path(dir.path(), pack), bytes).unwrap();
    let world = open(dir.path());
    assert!(world.engine.reclaim(&Silent).unwrap().bytes_freed > 0);
    assert_eq!(world.read(&world.versions(ROOT)[0], "model.npy"), npy(5, LEN));
    drop(world.workers);
}
