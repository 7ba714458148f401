//! What a moment must show, and what it must not cost, whatever happens between it and its version.

use std::path::Path;
use std::time::Duration;

use super::super::Engine;
use super::build::Made;
use super::tests::{World, npy, open, open_after_boot, open_idle};
use super::trigger::Wanted;
use crate::catalog::keys::{Ino, ROOT};
use crate::namespace::Caller;
use crate::namespace::rename::{Over, Place};
use crate::version::record::Version;

const ME: Caller = Caller { uid: 0, gid: 0 };
const LONG: Duration = Duration::from_secs(3600);

fn idle() -> (tempfile::TempDir, World) {
    let dir = tempfile::tempdir().unwrap();
    let world = open_idle(dir.path(), LONG);
    (dir, world)
}

fn moment(engine: &Engine, dir: Ino) {
    engine.begin_version(dir, Wanted { always: true, ..Wanted::by("quiet") }).unwrap().unwrap();
}

/// Makes the version of the oldest moment.
fn build(engine: &Engine) -> Version {
    let snapshot = engine.names().snapshots().remove(0);
    match engine.build(&snapshot).unwrap() {
        Made::Version(_, version) => *version,
        Made::Nothing => panic!("a version is always made of this one"),
    }
}

fn update(engine: &Engine, ino: Ino, bytes: &[u8]) {
    let fh = engine.open(ino, libc::O_RDWR, ME).unwrap().fh;
    engine.write(fh, 130, bytes, false).unwrap();
    engine.release(fh).unwrap();
}

/// Hot files that lie in the folder.
fn hot_files(engine: &Engine) -> usize {
    engine.grave.delete_doomed(&engine.hot).unwrap();
    engine.hot.list().unwrap().len()
}

#[test]
fn a_file_keeps_its_bytes_for_a_moment_although_its_directory_has_left_the_run() {
    let (_dir, world) = idle();
    let engine = &world.engine;
    let run = world.mkdir(ROOT, "run");
    let step = world.mkdir(run, "step");
    let ino = world.save(step, "a.npy", &npy(1));
    moment(engine, run);
    let (from, to) = (Place { parent: run, name: b"step" }, Place { parent: ROOT, name: b"away" });
    engine.rename(from, to, Over::Replace).unwrap();
    update(engine, ino, b"changed");
    let version = build(engine);
    assert_eq!(world.read(&version, &["step", "a.npy"]).unwrap(), npy(1));
}

#[test]
fn a_file_that_one_moment_has_sealed_keeps_its_bytes_for_the_next_one() {
    let (_dir, world) = idle();
    let engine = &world.engine;
    let names = ["update.npy", "read.npy", "cut.npy", "shorten.npy"];
    let inos: Vec<Ino> = names.iter().map(|name| world.save(ROOT, name, &npy(1))).collect();
    let readers: Vec<u64> =
        inos[1..].iter().map(|ino| engine.open(*ino, libc::O_RDONLY, ME).unwrap().fh).collect();
    moment(engine, ROOT);
    moment(engine, ROOT);
    build(engine);
    update(engine, inos[0], b"changed");
    update(engine, inos[1], b"changed");
    world.save(ROOT, "cut.npy", b"short");
    engine.truncate(inos[3], 3, ME).unwrap();
    readers.into_iter().for_each(|fh| engine.release(fh).unwrap());
    // What "quiet" begins by itself for the overwrites comes later in the queue.
    let version = build(engine);
    for name in names {
        assert_eq!(world.read(&version, &[name]).unwrap(), npy(1), "{name}");
    }
}

#[test]
fn nothing_is_recorded_as_sealed_by_a_moment_that_makes_no_version() {
    let (_dir, world) = idle();
    let engine = &world.engine;
    let text: Vec<u8> = (0..20_000_u32).flat_map(|n| format!("{n} ").into_bytes()).collect();
    let inos = ["a.txt", "b.txt"].map(|name| world.save(ROOT, name, &text));
    engine.begin_version(ROOT, Wanted::by("deepspeed")).unwrap();
    let snapshot = engine.names().snapshots().remove(0);
    assert!(matches!(engine.build(&snapshot).unwrap(), Made::Nothing));
    engine.shrink_cache_to(0);
    for ino in inos {
        let fh = engine.open(ino, libc::O_RDONLY, ME).unwrap().fh;
        let mut bytes = vec![0; text.len()];
        assert_eq!(engine.read(fh, 0, &mut bytes).unwrap(), text.len());
        assert!(bytes == text);
        engine.release(fh).unwrap();
    }
}

#[test]
fn a_pointer_that_came_after_a_version_was_begun_is_in_one_of_its_own() {
    let (_dir, world) = idle();
    let engine = &world.engine;
    let point = |to: &str| {
        world.save(ROOT, "checkpoint.tmp1", format!("model_checkpoint_path: \"{to}\"\n").as_bytes());
        let place = |name| Place { parent: ROOT, name };
        engine.rename(place(b"checkpoint.tmp1"), place(b"checkpoint"), Over::Replace).unwrap();
        while engine.build_next().unwrap().is_some() {}
    };
    point("ckpt-0");
    assert!(engine.run_at(ROOT).is_none(), "nothing is saved yet");
    world.save(ROOT, "ckpt-1.npy", &npy(1));
    point("ckpt-1");
    world.save(ROOT, "ckpt-2.npy", &npy(2));
    moment(engine, ROOT);
    while engine.build_next().unwrap().is_some() {}
    point("ckpt-2");
    // As TensorFlow does after each sweep.
    point("ckpt-2\"\nall_model_checkpoint_paths: \"ckpt-2");
    let versions = world.versions(ROOT);
    let read = |version: &Version| String::from_utf8(world.read(version, &["checkpoint"]).unwrap()).unwrap();
    let pointers: Vec<_> = versions.iter().map(|version| (version.trigger.clone(), read(version))).collect();
    let expected = [("tf", "ckpt-1"), ("quiet", "ckpt-1"), ("tf", "ckpt-2")]
        .map(|(trigger, to)| (trigger.to_owned(), format!("model_checkpoint_path: \"{to}\"\n")));
    assert_eq!(pointers, expected);
    assert_eq!(versions[2].step, versions[1].step);
}

#[test]
fn a_file_is_copied_once_for_a_moment_however_often_it_is_opened() {
    let (_dir, world) = idle();
    let engine = &world.engine;
    let inos = ["read.npy", "closed.npy"].map(|name| world.save(ROOT, name, &npy(1)));
    let reader = engine.open(inos[0], libc::O_RDONLY, ME).unwrap().fh;
    moment(engine, ROOT);
    for _ in 0..4 {
        inos.iter().for_each(|ino| update(engine, *ino, b"changed"));
    }
    engine.release(reader).unwrap();
    assert_eq!(hot_files(engine), 4, "two files, and what the moment needs of each");
    let version = build(engine);
    assert_eq!(world.read(&version, &["read.npy"]).unwrap(), npy(1));
    assert_eq!(world.read(&version, &["closed.npy"]).unwrap(), npy(1));
    engine.sync_names().unwrap();
    assert_eq!(hot_files(engine), 2);
}

#[test]
fn a_whole_file_whose_close_is_not_told_yet_is_kept_when_it_is_opened_to_be_overwritten() {
    let (_dir, world) = idle();
    let engine = &world.engine;
    let (attr, first) = engine.create(ROOT, b"a.npy", 0o644, libc::O_WRONLY, ME).unwrap();
    engine.write(first.fh, 0, &npy(1), false).unwrap();
    let second = engine.open(attr.inode.ino, libc::O_WRONLY | libc::O_TRUNC, ME).unwrap();
    engine.release(first.fh).unwrap();
    engine.write(second.fh, 0, &npy(2), false).unwrap();
    engine.release(second.fh).unwrap();
    let snapshot = engine.names().snapshots().remove(0);
    let Made::Version(_, version) = engine.build(&snapshot).unwrap() else { panic!("a version") };
    assert_eq!(world.read(&version, &["a.npy"]).unwrap(), npy(1));
    assert!(version.is_good(), "{version:?}");
}

#[test]
fn an_empty_file_is_empty_in_the_version_although_it_is_filled_after_the_moment() {
    let (_dir, world) = idle();
    let engine = &world.engine;
    let ino = engine.make_file(ROOT, b"a.npy", 0o644, ME).unwrap().ino;
    moment(engine, ROOT);
    let fh = engine.open(ino, libc::O_WRONLY, ME).unwrap().fh;
    engine.write(fh, 0, &npy(1), false).unwrap();
    engine.release(fh).unwrap();
    let version = build(engine);
    assert_eq!(world.read(&version, &["a.npy"]).unwrap(), b"");
}

#[test]
fn a_version_on_record_is_made_although_names_cannot_be_synced_after_it() {
    let (_dir, world) = idle();
    let engine = &world.engine;
    world.save(ROOT, "a.npy", &npy(1));
    world.save(ROOT, "log", b"old");
    let new = world.save(ROOT, "log.tmp", b"new");
    let (from, to) = (Place { parent: ROOT, name: b"log.tmp" }, Place { parent: ROOT, name: b"log" });
    engine.rename(from, to, Over::Replace).unwrap();
    // Lost by the disk: the bytes of a rename that was never made durable cannot be.
    let hot = engine.names().inode(new).unwrap().content().unwrap().hot().unwrap();
    engine.hot.delete(hot).unwrap();
    moment(engine, ROOT);
    assert!(engine.sync_names().is_err());
    let version = build(engine);
    assert_eq!(world.read(&version, &["a.npy"]).unwrap(), npy(1));
    assert!(engine.names().snapshots().is_empty());
}

#[test]
fn a_damaged_version_does_not_keep_the_next_one_from_being_made() {
    let dir = tempfile::tempdir().unwrap();
    let world = open(dir.path(), LONG);
    world.save(ROOT, "a.npy", &npy(1));
    assert_eq!(world.versions(ROOT).len(), 1);
    drop(world);
    lose_packs(dir.path());
    let world = open_idle(dir.path(), LONG);
    world.save(ROOT, "b.npy", &npy(2));
    moment(&world.engine, ROOT);
    let version = build(&world.engine);
    assert_eq!(version.number, 2);
    assert_eq!(world.read(&version, &["b.npy"]).unwrap(), npy(2));
}

fn lose_packs(store: &Path) {
    for entry in std::fs::read_dir(store.join("packs")).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
}

#[test]
fn a_file_that_got_its_name_by_a_link_makes_a_version() {
    let (_dir, world) = idle();
    let engine = &world.engine;
    let ino = world.save(ROOT, "a.npy.tmp", &npy(1));
    engine.names().link(ino, ROOT, b"a.npy").unwrap();
    engine.unlink(ROOT, b"a.npy.tmp").unwrap();
    engine.finish_versions("quiet", Duration::ZERO).unwrap();
    let version = build(engine);
    assert_eq!(world.read(&version, &["a.npy"]).unwrap(), npy(1));
}

#[test]
fn a_power_cut_drops_a_hot_copy_and_the_moment_sees_what_was_sealed_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let world = open_after_boot(dir.path(), 1);
    world.save(ROOT, "a.npy", &npy(1));
    moment(&world.engine, ROOT);
    moment(&world.engine, ROOT);
    build(&world.engine);
    world.engine.sync_names().unwrap();
    drop(world);
    let world = open_after_boot(dir.path(), 2);
    let version = build(&world.engine);
    assert_eq!(world.read(&version, &["a.npy"]).unwrap(), npy(1));
}

/// What has come to rest makes a version.
fn settle(world: &World) -> Version {
    world.engine.finish_versions("quiet", Duration::ZERO).unwrap();
    build(&world.engine)
}

#[test]
fn what_was_hot_when_the_machine_went_down_makes_no_good_version_until_it_is_saved_again() {
    let dir = tempfile::tempdir().unwrap();
    let world = open_after_boot(dir.path(), 1);
    world.save(ROOT, "a.npy", &npy(1));
    world.save(ROOT, "b.json", b"");
    world.engine.sync_names().unwrap();
    drop(world);
    let world = open_after_boot(dir.path(), 2);
    let found = settle(&world);
    let doubted = |name: &str| found.why.iter().any(|why| why.starts_with(name) && why.contains("went down"));
    assert!(!found.complete && doubted("a.npy: ") && doubted("b.json: "), "{:?}", found.why);
    world.save(ROOT, "a.npy", &npy(2));
    assert!(settle(&world).is_good());
}

#[test]
fn what_was_hot_when_the_daemon_was_killed_makes_a_good_version() {
    let dir = tempfile::tempdir().unwrap();
    let world = open_after_boot(dir.path(), 1);
    world.save(ROOT, "a.npy", &npy(1));
    drop(world);
    let world = open_after_boot(dir.path(), 1);
    assert!(settle(&world).is_good());
}

#[test]
fn a_save_that_was_cut_off_before_its_first_byte_makes_a_version_incomplete() {
    let (_dir, world) = idle();
    let engine = &world.engine;
    world.save(ROOT, "placeholder.pt", b"");
    let ino = world.save(ROOT, "a.npy", &npy(1));
    let made = || {
        moment(engine, ROOT);
        build(engine).why
    };
    assert_eq!(made(), ["placeholder.pt: empty"]);
    assert!(made().is_empty(), "what was empty before and is no checkpoint spoils nothing");
    engine.truncate(ino, 0, ME).unwrap();
    for _ in 0..2 {
        assert_eq!(made(), ["a.npy: empty"]);
    }
    world.save(ROOT, "a.npy", &npy(2));
    assert!(made().is_empty());
    // The next save, under the name that the one before had, too.
    let next = world.save(ROOT, "a.npy.tmp", &npy(3));
    made();
    engine.truncate(next, 0, ME).unwrap();
    assert!(
        world
            .engine
            .begin_version(ROOT, Wanted { always: true, ..Wanted::by("overwrite") })
            .unwrap()
            .is_some()
    );
    assert!(build(engine).why.is_empty(), "a save that goes on spoils none before it");
}
