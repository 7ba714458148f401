//! Versions made of changes alone. In these builds each is compared with one that is walked whole
//! ([`Walk::compare_with_whole`]): the tests make changes, and see that little was looked at.

use std::path::Path;
use std::time::Duration;

use super::super::world::ME;
use super::tests::{World, npy, open_idle};
use super::trigger::Wanted;
use super::walk::Walk;
use crate::catalog::keys::{Ino, ROOT};
use crate::namespace::rename::{Over, Place};
use crate::namespace::setattr::SetAttr;
use crate::namespace::xattr::Must;

const NEVER: Duration = Duration::from_secs(3600);

impl World {
    fn version(&self, run: Ino) {
        self.engine.begin_version(run, Wanted { always: true, ..Wanted::by("snapshot") }).unwrap().unwrap();
        while self.engine.build_next().unwrap().is_some() {}
    }

    /// How many files the next version of `run` looks at; `None` when it looks at all.
    fn looks_at(&self, run: Ino) -> Option<usize> {
        let engine = &self.engine;
        engine.begin_version(run, Wanted { always: true, ..Wanted::by("snapshot") }).unwrap().unwrap();
        let moment = engine.names().snapshots().remove(0);
        let id = engine.run_at(run).unwrap().0;
        let (known, based) = engine.known_of(id).unwrap();
        let mut walk = Walk::new(engine, engine.names().view(moment.id), &known).unwrap();
        let looked = walk.tree_of_changes(run).unwrap().map(|_| walk.walked.came.len());
        drop((walk, based));
        engine.history.known.lock().insert(id, known);
        while engine.build_next().unwrap().is_some() {}
        looked
    }
}

fn run_of(dir: &Path, files: u16) -> (World, Ino) {
    let world = open_idle(dir, NEVER);
    let run = world.mkdir(ROOT, "run");
    for n in 0..files {
        let below = if n % 100 == 0 { world.mkdir(run, &format!("d{n}")) } else { run };
        world.save(below, &format!("f{n}"), &n.to_le_bytes());
    }
    world.save(run, "a.npy", &npy(1));
    world.version(run);
    (world, run)
}

#[test]
fn one_changed_file_is_the_one_that_is_looked_at() {
    let dir = tempfile::tempdir().unwrap();
    let (world, run) = run_of(dir.path(), 700);
    assert_eq!(world.looks_at(run), Some(0), "nothing has changed");
    world.save(run, "a.npy", &npy(2));
    assert_eq!(world.looks_at(run), Some(1));
    let below = world.engine.names().entry(run, b"d300").unwrap().unwrap().ino;
    world.save(below, "b.npy", &npy(3));
    world.engine.names().unlink(run, b"f7", |_| false).unwrap();
    assert_eq!(world.looks_at(run), Some(1));
    assert_eq!(world.looks_at(run), Some(0));
}

#[test]
fn a_file_that_is_open_for_writing_is_looked_at_until_it_is_at_rest() {
    let dir = tempfile::tempdir().unwrap();
    let (world, run) = run_of(dir.path(), 10);
    let engine = &world.engine;
    let ino = engine.names().entry(run, b"f7").unwrap().unwrap().ino;
    let fh = engine.open(ino, libc::O_RDWR, ME).unwrap().fh;
    for byte in b"abc" {
        engine.write(fh, 0, &[*byte], false).unwrap();
        assert_eq!(world.looks_at(run), Some(1), "no record tells of its bytes");
    }
    engine.release(fh).unwrap();
    assert_eq!(world.looks_at(run), Some(1));
    assert_eq!(world.looks_at(run), Some(0));
    let newest = world.versions(run).pop().unwrap();
    assert_eq!(world.read(&newest, &["f7"]).unwrap(), b"c\0");
}

#[test]
fn what_cannot_be_told_is_walked_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (world, run) = run_of(dir.path(), 10);
    let names = world.engine.names();
    let ino = names.entry(run, b"f7").unwrap().unwrap().ino;
    let below = names.entry(run, b"d0").unwrap().unwrap().ino;
    names.link(ino, below, b"again").unwrap();
    assert_eq!(world.looks_at(run), None, "where its other name is, is on no record");
    assert_eq!(world.looks_at(run), Some(0));
    world.save(run, "f7", b"by one of two names");
    assert_eq!(world.looks_at(run), None);
    names.unlink(run, b"f7", |_| false).unwrap();
    assert_eq!(world.looks_at(run), None);
    // By hand: the newest version is another one than the walk has left.
    world.version(run);
    world.engine.history.known.lock().clear();
    assert_eq!(world.looks_at(run), None);
    assert_eq!(world.looks_at(run), Some(0));
    drop(world);
    let world = open_idle(dir.path(), NEVER);
    assert_eq!(world.looks_at(run), None, "after a mount");
    assert_eq!(world.looks_at(run), Some(0));
}

#[test]
fn a_run_that_is_made_again_takes_nothing_over_from_the_directory_that_was_there() {
    let dir = tempfile::tempdir().unwrap();
    let (world, run) = run_of(dir.path(), 5);
    let names = world.engine.names();
    names
        .rename(Place { parent: ROOT, name: b"run" }, Place { parent: ROOT, name: b"old" }, Over::Refuse)
        .unwrap();
    let again = world.mkdir(ROOT, "run");
    world.save(again, "b.npy", &npy(4));
    world.version(again);
    world.save(run, "a.npy", &npy(5));
    world.version(run);
    for (run, name, bytes) in [(again, "b.npy", npy(4)), (run, "a.npy", npy(5))] {
        let newest = world.versions(run).pop().unwrap();
        assert_eq!(world.read(&newest, &[name]).unwrap(), bytes);
    }
}

#[test]
fn the_version_that_one_takes_over_from_is_not_forgotten_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let (world, run) = run_of(dir.path(), 10);
    let engine = &world.engine;
    let id = engine.run_at(run).unwrap().0;
    let (known, based) = engine.known_of(id).unwrap();
    assert!(known.moment.is_some());
    engine.expire_version(id, 1, true, "by hand").unwrap();
    assert!(!engine.forget_version(id, 1).unwrap());
    drop(based);
    assert!(engine.forget_version(id, 1).unwrap());
}

/// A small generator: what is done, and to which name.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// Does something at random below `run`; what is not possible is not done.
fn something(world: &World, run: Ino, dice: &mut Dice) {
    let (names, dirs) = (world.engine.names(), ["x", "y", ".tmp-z", "checkpoint-1"]);
    let home = |dice: &mut Dice| match dice.roll(5) {
        4 => Some(run),
        at => names.entry(run, dirs[at as usize].as_bytes()).unwrap().map(|entry| entry.ino),
    };
    let files = ["a.npy", "b.npy", "c.npy.tmp", "log.txt", "model.pt"];
    let (name, other) = (files[dice.roll(5) as usize], files[dice.roll(5) as usize].as_bytes());
    let Some(at) = home(dice) else {
        return drop(names.mkdir(run, dirs[dice.roll(4) as usize].as_bytes(), 0o755, ME));
    };
    let Some(to) = home(dice) else { return };
    let found = names.entry(at, name.as_bytes()).unwrap();
    let place = |dir, name| Place { parent: dir, name };
    match (dice.roll(9), found) {
        (0..=3, _) => drop(world.save(at, name, &npy(dice.roll(200) as u8))),
        (4, Some(_)) => drop(names.rename(place(at, name.as_bytes()), place(to, other), Over::Replace)),
        (5, Some(entry)) => drop(names.link(entry.ino, to, other)),
        (6, Some(_)) => drop(names.unlink(at, name.as_bytes(), |_| false)),
        (7, Some(entry)) if dice.roll(2) == 0 => {
            drop(names.setxattr(entry.ino, b"user.ckptfs.step", &[b'1' + dice.roll(9) as u8], Must::Any));
        }
        (7, Some(entry)) => {
            drop(names.setattr(entry.ino, &SetAttr { mode: Some(0o600), ..SetAttr::default() }))
        }
        (8, _) => {
            let (from, into) = (dirs[dice.roll(4) as usize], dirs[dice.roll(4) as usize]);
            drop(names.rename(place(run, from.as_bytes()), place(to, into.as_bytes()), Over::Replace));
        }
        _ => {}
    }
}

#[test]
fn whatever_is_done_a_version_of_changes_is_the_whole_one() {
    for seed in 0..12 {
        let dir = tempfile::tempdir().unwrap();
        let (world, run) = run_of(dir.path(), 3);
        let mut dice = Dice(seed);
        let mut partly = 0;
        for _ in 0..40 {
            (0..=dice.roll(5)).for_each(|_| something(&world, run, &mut dice));
            partly += usize::from(world.looks_at(run).is_some());
        }
        assert!(partly > 0, "seed {seed}: all were walked whole");
    }
}

#[test]
fn a_moment_from_before_the_last_version_may_see_other_blocks_and_no_other_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let (world, run) = run_of(dir.path(), 10);
    let engine = &world.engine;
    let ino = world.save(run, "a.npy", &npy(2));
    let two =
        || engine.begin_version(run, Wanted { always: true, ..Wanted::by("snapshot") }).unwrap().unwrap();
    two();
    two();
    engine.build_next().unwrap().unwrap();
    let hot = engine.names().find(ino).unwrap().and_then(|inode| inode.content()?.hot()).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(engine.hot.path(hot)).unwrap();
    let then = file.metadata().unwrap().modified().unwrap();
    // As a disk does that puts off where bytes go; the moment sees the file through its name alone.
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::KEEP_SIZE, 0, 1 << 20).unwrap();
    file.set_modified(then).unwrap();
    drop(file);
    engine.build_next().unwrap().unwrap();
}
