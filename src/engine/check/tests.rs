//! What a check finds, and what a repair makes of it, by kind of damage. Each damages a closed store and opens it again.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::layout::{Layout, Store};
use super::super::world::{self, LEN, World, npy, open_with, options};
use super::{Checked, closed};
use crate::base::monitor::Silent;
use crate::catalog::keys::{Ino, ROOT};
use crate::check::Area;
use crate::pack::writer::pack_name;

/// A closed store of one run with three versions, each of its own bytes, and a file beside it; hot copies stay.
fn store() -> (tempfile::TempDir, Vec<Vec<u8>>) {
    let dir = tempfile::tempdir().unwrap();
    drop(Store::open(dir.path(), Path::new("/m")).unwrap());
    let world = open(dir.path());
    let run = world.engine.names().mkdir(ROOT, b"exp", 0o755, world::ME).unwrap().ino;
    let saved: Vec<_> = (1..=3).map(|stamp| npy(stamp, LEN)).collect();
    for stamp in 1..=3 {
        world.checkpoint(run, stamp, LEN);
    }
    world.save(run, "notes.txt", b"kept");
    close(world);
    (dir, saved)
}

fn open(dir: &Path) -> World {
    open_with(dir, crate::engine::Options { hot_cache_bytes: 1 << 30, ..options(1) })
}

fn close(world: World) {
    world.engine.close_store(&world.workers).unwrap();
}

/// As `ckptfs check` does it: nothing works in the background, which would mend what is to be found.
fn check(dir: &Path, read_data: bool) -> Checked {
    let options = crate::engine::Options { hot_cache_bytes: 1 << 30, ..options(1) };
    let engine = crate::engine::Engine::start(dir, options, world::ME, &Silent).unwrap();
    let world = World { workers: crate::engine::workers::Workers::none(&engine), engine };
    let checked = world.engine.check(read_data, &Silent).unwrap();
    close(world);
    checked
}

/// As `ckptfs check --repair` does it.
fn repair(dir: &Path) -> Checked {
    let layout = Layout::new(dir);
    let found = closed::examine(&layout).unwrap();
    let (mut done, lost) = match found.is_whole() {
        true => (Vec::new(), false),
        false => found.repair(&layout, &layout.hot(), &Silent).unwrap(),
    };
    let world = open(dir);
    let mut checked = world.engine.repair(lost, &Silent).unwrap();
    done.append(&mut checked.repaired);
    checked.repaired = done;
    close(world);
    checked
}

fn run_of(world: &World) -> Ino {
    world.engine.names().entry(ROOT, b"exp").unwrap().unwrap().ino
}

/// Versions by number that give the bytes that were saved.
fn good(dir: &Path, saved: &[Vec<u8>]) -> Vec<u32> {
    let world = open(dir);
    let versions = world.versions(run_of(&world));
    let is_good = |version: &&crate::version::record::Version| {
        version.valid && world.read(version, "model.npy") == saved[version.number as usize - 1]
    };
    let good = versions.iter().filter(is_good).map(|version| version.number).collect();
    close(world);
    good
}

fn edit(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// The pack that holds these bytes as they are, and where.
fn pack_with(dir: &Path, bytes: &[u8]) -> (PathBuf, usize) {
    let find = |path: PathBuf| {
        let pack = fs::read(&path).unwrap();
        let at = pack.windows(64).position(|window| window == &bytes[..64])?;
        Some((path, at))
    };
    let packs = fs::read_dir(dir.join("packs")).unwrap();
    packs.filter_map(|entry| find(entry.unwrap().path())).next().unwrap()
}

#[test]
fn a_sound_store_has_no_findings_and_all_of_it_is_looked_at() {
    let (dir, saved) = store();
    assert!(closed::examine(&Layout::new(dir.path())).unwrap().is_whole());
    for read_data in [false, true] {
        let checked = check(dir.path(), read_data);
        assert!(checked.findings.is_empty(), "{:?}", checked.findings);
        assert_eq!((checked.versions, checked.lost_bytes), (3, 0));
        assert!(checked.packs > 0 && checked.blobs > 6 && checked.inodes == 4 && checked.contents >= 3);
    }
    let repaired = repair(dir.path());
    assert!(repaired.findings.is_empty() && repaired.repaired.is_empty());
    assert_eq!(good(dir.path(), &saved), [1, 2, 3]);
}

#[test]
fn a_flipped_bit_in_a_chunk_costs_the_version_that_has_it_and_is_named() {
    let (dir, saved) = store();
    let (pack, at) = pack_with(dir.path(), &saved[0][100_000..]);
    edit(&pack, |bytes| bytes[at] ^= 1);
    assert!(check(dir.path(), false).findings.is_empty(), "lists are sound");
    let checked = check(dir.path(), true);
    let texts: Vec<_> = checked.findings.list.iter().map(|finding| finding.what.as_str()).collect();
    assert!(texts.iter().any(|text| text.contains("stored bytes do not verify")), "{texts:?}");
    assert!(texts.iter().any(|text| text.contains("run exp version 000001: model.npy")), "{texts:?}");
    assert!(checked.lost_bytes > 0 && checked.lost_bytes <= LEN as u64 + 128);
    let repaired = repair(dir.path());
    assert!(repaired.findings.list.iter().all(|finding| finding.area == Area::Version), "{repaired:?}");
    assert_eq!(repaired.findings.len(), 1, "what is lost stays named");
    assert_eq!(good(dir.path(), &saved), [2, 3]);
    let world = open(dir.path());
    let damaged = &world.versions(run_of(&world))[0];
    assert!(!damaged.valid && damaged.why[0].contains("model.npy is damaged"), "{:?}", damaged.why);
    // Nothing holds up a reclaim, and what is saved again is whole again.
    assert_eq!(world.engine.reclaim(&Silent).unwrap().damaged, 0);
    close(world);
}

#[test]
fn damaged_chunks_of_a_file_that_has_a_hot_copy_are_written_again_from_it() {
    let (dir, saved) = store();
    let (pack, at) = pack_with(dir.path(), &saved[2][100_000..]);
    edit(&pack, |bytes| bytes[at] ^= 1);
    assert!(check(dir.path(), true).findings.len() >= 2);
    let repaired = repair(dir.path());
    assert!(repaired.findings.is_empty(), "{repaired:?}");
    assert!(repaired.repaired.iter().any(|line| line.contains("from its hot copy")), "{repaired:?}");
    assert_eq!(good(dir.path(), &saved), [1, 2, 3]);
}

#[test]
fn a_hot_copy_that_differs_is_dropped_and_the_file_is_right_again() {
    let (dir, saved) = store();
    let hot = fs::read_dir(dir.path().join("hot"))
        .unwrap()
        .flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap());
    let copy = hot.map(|file| file.unwrap().path()).find(|path| fs::read(path).unwrap() == saved[2]).unwrap();
    edit(&copy, |bytes| bytes[150_000] ^= 1);
    let checked = check(dir.path(), true);
    assert_eq!(checked.findings.list[0].area, Area::Hot);
    assert!(checked.findings.list[0].what.starts_with("exp/model.npy"), "{checked:?}");
    assert!(repair(dir.path()).findings.is_empty());
    assert!(!copy.exists());
    let world = open(dir.path());
    assert_eq!(world.read_live(run_of(&world), "model.npy"), saved[2]);
    close(world);
}

#[test]
fn a_damaged_list_or_header_of_a_pack_costs_nothing() {
    for place in [5, usize::MAX] {
        let (dir, saved) = store();
        for pack in fs::read_dir(dir.path().join("packs")).unwrap() {
            edit(&pack.unwrap().path(), |bytes| {
                let at = place.min(bytes.len() - 40);
                bytes[at] ^= 1;
            });
        }
        assert!(!check(dir.path(), false).findings.is_empty());
        let repaired = repair(dir.path());
        assert!(repaired.findings.is_empty(), "{repaired:?}");
        assert_eq!(good(dir.path(), &saved), [1, 2, 3]);
    }
}

#[test]
fn a_lost_pack_costs_what_it_held_and_the_rest_can_be_reclaimed() {
    let (dir, saved) = store();
    let (pack, _) = pack_with(dir.path(), &saved[0][100_000..]);
    fs::remove_file(pack).unwrap();
    let checked = check(dir.path(), false);
    assert!(
        checked.findings.list.iter().any(|finding| finding.what.contains("version 000001")),
        "{checked:?}"
    );
    let repaired = repair(dir.path());
    assert!(!repaired.findings.is_empty(), "{repaired:?}");
    assert_eq!(good(dir.path(), &saved), [2, 3]);
    let world = open(dir.path());
    assert_eq!(world.engine.reclaim(&Silent).unwrap().damaged, 0);
    close(world);
}

#[test]
fn packs_alone_bring_all_versions_back_and_hot_files_get_names() {
    let (dir, saved) = store();
    for folder in ["journal", "catalog", "index"] {
        fs::remove_dir_all(dir.path().join(folder)).unwrap();
    }
    fs::remove_file(dir.path().join("format")).unwrap();
    assert!(!closed::examine(&Layout::new(dir.path())).unwrap().is_whole());
    let repaired = repair(dir.path());
    assert!(repaired.findings.is_empty(), "{repaired:?}");
    assert!(
        repaired.repaired.iter().any(|line| line.starts_with("3 versions are on record again")),
        "{repaired:?}"
    );
    assert_eq!(good(dir.path(), &saved), [1, 2, 3]);
    let world = open(dir.path());
    let lost = world.engine.names().entry(ROOT, b"lost+found").unwrap().unwrap().ino;
    let names = world.engine.names().readdir(lost, crate::namespace::readdir::After::Cookie(0), 100).unwrap();
    let bytes: Vec<_> =
        names.iter().map(|entry| world.read_live(lost, std::str::from_utf8(&entry.name).unwrap())).collect();
    assert!(bytes.contains(&saved[2]) && bytes.contains(&b"kept".to_vec()));
    // Numbers go on: nothing that is made now takes the place of what was there.
    world.checkpoint(run_of(&world), 9, LEN);
    assert_eq!(world.versions(run_of(&world)).last().unwrap().number, 4);
    close(world);
    assert!(check(dir.path(), true).findings.is_empty());
}

#[test]
fn a_journal_that_lost_records_is_made_anew_from_what_the_catalog_holds() {
    let (dir, saved) = store();
    let segment = fs::read_dir(dir.path().join("journal")).unwrap().map(|entry| entry.unwrap().path());
    let segment =
        segment.filter(|path| path.extension().is_some_and(|ending| ending == "log")).min().unwrap();
    edit(&segment, |bytes| bytes[48 + 200] ^= 1);
    let found = closed::examine(&Layout::new(dir.path())).unwrap();
    assert_eq!(found.findings.list[0].area, Area::Journal);
    assert!(!found.broken[0].is_lost, "the catalog has it: {found:?}");
    // It opens all the same, and at once has a second copy of what only the catalog had.
    assert_eq!(good(dir.path(), &saved), [1, 2, 3]);
    fs::remove_dir_all(dir.path().join("catalog")).unwrap();
    assert_eq!(good(dir.path(), &saved), [1, 2, 3]);
    let repaired = repair(dir.path());
    assert!(repaired.findings.is_empty(), "{repaired:?}");
    assert!(closed::examine(&Layout::new(dir.path())).unwrap().is_whole());
    assert_eq!(good(dir.path(), &saved), [1, 2, 3]);
}

#[test]
fn a_catalog_that_says_something_else_is_found_and_made_again() {
    let (dir, saved) = store();
    {
        use crate::catalog::Store as _;
        let store = crate::catalog::SledStore::open(&dir.path().join("catalog")).unwrap();
        let key = crate::catalog::keys::dentry(ROOT, b"exp");
        store.apply(&[(&key, None)], None).unwrap();
        store.flush().unwrap();
    }
    let found = closed::examine(&Layout::new(dir.path())).unwrap();
    assert_eq!(found.findings.list.len(), 1, "{found:?}");
    assert_eq!(found.findings.list[0].area, Area::Catalog);
    assert_eq!(good(dir.path(), &saved), [1, 2, 3]);
    assert!(closed::examine(&Layout::new(dir.path())).unwrap().is_whole());
}

#[test]
fn a_pack_under_the_name_of_another_is_told_and_gives_no_wrong_bytes() {
    let (dir, saved) = store();
    let world = open(dir.path());
    let packs = world.engine.packs.packs();
    close(world);
    let path = |at: usize| dir.path().join("packs").join(pack_name(packs[at].0));
    let (one, other) = (path(0), path(packs.len() - 1));
    assert_ne!(one, other);
    let bytes = fs::read(&one).unwrap();
    fs::copy(&other, &one).unwrap();
    fs::write(&other, bytes).unwrap();
    assert!(!check(dir.path(), true).findings.is_empty());
    let repaired = repair(dir.path());
    assert!(repaired.findings.is_empty(), "every blob is still there: {repaired:?}");
    assert_eq!(good(dir.path(), &saved), [1, 2, 3]);
}
