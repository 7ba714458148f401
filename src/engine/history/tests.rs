//! Versions through the engine: when one is made, what it holds, and what later changes do to it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::super::workers::Workers;
use super::super::world::{self, ME};
use super::super::{Engine, Options};
use super::HistoryOptions;
use crate::base::monitor::Silent;
use crate::catalog::keys::{Ino, ROOT};
use crate::content::tree::Body;
use crate::namespace::rename::{Over, Place};
use crate::namespace::xattr::Must;
use crate::seal::read::SealedFile;
use crate::version::record::Version;
use crate::version::trees::Trees;

const LONG: Duration = Duration::from_secs(20);

pub(super) struct World {
    pub(super) engine: Arc<Engine>,
    workers: Workers,
}

pub(super) fn open(dir: &Path, settle: Duration) -> World {
    let engine = engine(dir, settle);
    World { workers: Workers::start(&engine).unwrap(), engine }
}

/// Without background threads: nothing is sealed, no version is made.
pub(super) fn open_idle(dir: &Path, settle: Duration) -> World {
    let engine = engine(dir, settle);
    World { workers: Workers::none(&engine), engine }
}

/// The same on a machine that has been booted `boot` times.
pub(super) fn open_after_boot(dir: &Path, boot: u8) -> World {
    let meta = crate::meta::Options { boot: Some([boot; 16]), ..Default::default() };
    let engine = engine_with(dir, Duration::from_secs(3600), meta);
    World { workers: Workers::none(&engine), engine }
}

fn engine(dir: &Path, settle: Duration) -> Arc<Engine> {
    engine_with(dir, settle, crate::meta::Options::default())
}

fn engine_with(dir: &Path, settle: Duration, meta: crate::meta::Options) -> Arc<Engine> {
    let history = HistoryOptions { settle, ..HistoryOptions::default() };
    let options = Options { settle, meta, history, ..world::options(1) };
    Engine::start(dir, options, ME, &Silent).unwrap()
}

impl World {
    pub(super) fn save(&self, dir: Ino, name: &str, bytes: &[u8]) -> Ino {
        world::save(&self.engine, dir, name, bytes)
    }

    /// Makes all versions that are due or could be, and lists those of the run at `dir`.
    pub(super) fn versions(&self, dir: Ino) -> Vec<Version> {
        self.engine.finish_versions("quiet", LONG).unwrap();
        match self.engine.run_at(dir) {
            Some((run, _)) => self.engine.versions(run).unwrap(),
            None => Vec::new(),
        }
    }

    pub(super) fn read(&self, version: &Version, path: &[&str]) -> Option<Vec<u8>> {
        let trees = Trees::new(&self.engine.packs);
        let path: Vec<Vec<u8>> = path.iter().map(|name| name.as_bytes().to_vec()).collect();
        let entry = trees.walk(trees.top(&version.tree).unwrap(), &path).unwrap()?;
        let Body::File { content, size, .. } = entry.body else { panic!("a file") };
        let file = SealedFile::open(self.engine.packs.clone(), self.engine.readers.clone(), content).unwrap();
        let mut bytes = vec![0; size as usize];
        assert_eq!(file.read_at(0, &mut bytes).unwrap(), bytes.len());
        Some(bytes)
    }

    pub(super) fn mkdir(&self, parent: Ino, name: &str) -> Ino {
        self.engine.names().mkdir(parent, name.as_bytes(), 0o755, ME).unwrap().ino
    }
}

/// A small valid numpy file, told apart by `stamp`.
pub(super) fn npy(stamp: u8) -> Vec<u8> {
    let mut header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (64,), }".to_vec();
    header.resize(117, b' ');
    header.push(b'\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header);
    bytes.extend([stamp; 64]);
    bytes
}

#[test]
fn twenty_overwrites_in_place_are_twenty_versions_each_with_its_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let world = open(dir.path(), Duration::from_secs(3600));
    let run = world.mkdir(ROOT, "run");
    for stamp in 1..=20 {
        world.save(run, "model.npy", &npy(stamp));
        world.save(run, "metrics.json", format!("{{\"loss\": {stamp}}}").as_bytes());
    }
    world.engine.set_policy("max_to_keep", "0").unwrap();
    let versions = world.versions(run);
    assert_eq!(versions.iter().map(|v| v.number).collect::<Vec<_>>(), (1..=20).collect::<Vec<_>>());
    for (version, stamp) in versions.iter().zip(1..) {
        assert!(version.is_good(), "{version:?}");
        assert_eq!(world.read(version, &["model.npy"]).unwrap(), npy(stamp));
    }
    assert_eq!(versions.last().unwrap().trigger, "quiet");
    assert_eq!(versions[0].trigger, "overwrite");
    drop(world.workers);
}

#[test]
fn nothing_new_makes_no_version_and_text_makes_none_either() {
    let dir = tempfile::tempdir().unwrap();
    let world = open(dir.path(), Duration::from_secs(3600));
    for n in 0..50 {
        world.save(ROOT, "metrics.json", format!("{{\"n\": {n}}}").as_bytes());
    }
    assert!(world.versions(ROOT).is_empty());
    world.save(ROOT, "a.npy", &npy(1));
    assert_eq!(world.versions(ROOT).len(), 1);
    world.save(ROOT, "a.npy", &npy(1));
    world.save(ROOT, "metrics.json", b"{}");
    assert_eq!(world.versions(ROOT).len(), 1, "the same bytes again");
    drop(world.workers);
}

#[test]
fn a_version_keeps_its_bytes_when_the_file_is_updated_truncated_removed_or_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let world = open_idle(dir.path(), Duration::from_secs(3600));
    let engine = &world.engine;
    let names = ["update.npy", "truncate.npy", "remove.npy", "replace.npy", "held.npy"];
    let inos: Vec<Ino> = names.iter().map(|name| world.save(ROOT, name, &npy(1))).collect();
    let reader = engine.open(inos[4], libc::O_RDONLY, ME).unwrap().fh;
    // The moment is recorded; nothing is sealed yet when the files change.
    engine.begin_version(ROOT, super::trigger::Wanted::by("quiet")).unwrap();
    for ino in [inos[0], inos[4]] {
        let fh = engine.open(ino, libc::O_RDWR, ME).unwrap().fh;
        engine.write(fh, 130, b"changed", false).unwrap();
        engine.release(fh).unwrap();
    }
    engine.truncate(inos[1], 3, ME).unwrap();
    engine.unlink(ROOT, b"remove.npy").unwrap();
    world.save(ROOT, "new.tmp", &npy(2));
    engine
        .rename(
            Place { parent: ROOT, name: b"new.tmp" },
            Place { parent: ROOT, name: b"replace.npy" },
            Over::Replace,
        )
        .unwrap();
    engine.release(reader).unwrap();
    let snapshot = engine.names().snapshots().remove(0);
    engine.build(&snapshot).unwrap();
    let (run, _) = engine.run_at(ROOT).unwrap();
    let version = engine.versions(run).unwrap().remove(0);
    assert!(version.is_good(), "{version:?}");
    for name in names {
        assert_eq!(world.read(&version, &[name]).unwrap(), npy(1), "{name}");
    }
    assert!(engine.names().scan_all(b"s").unwrap().is_empty());
}

#[test]
fn a_moment_that_was_recorded_before_a_kill_becomes_a_version_after_it() {
    let dir = tempfile::tempdir().unwrap();
    {
        let world = open_idle(dir.path(), Duration::from_secs(3600));
        world.save(ROOT, "a.npy", &npy(1));
        // Overwriting it records the moment first; then the daemon is gone.
        world.save(ROOT, "a.npy", &npy(2));
    }
    let world = open(dir.path(), Duration::from_secs(3600));
    let versions = world.versions(ROOT);
    assert_eq!(versions.len(), 2, "{versions:?}");
    assert_eq!(world.read(&versions[0], &["a.npy"]).unwrap(), npy(1));
    assert_eq!(world.read(&versions[1], &["a.npy"]).unwrap(), npy(2));
    drop(world.workers);
}

#[test]
fn a_marker_makes_the_version_at_once_of_the_right_run() {
    let dir = tempfile::tempdir().unwrap();
    let world = open(dir.path(), Duration::from_secs(3600));
    let run = world.mkdir(ROOT, "out");
    for step in [3, 4] {
        let tmp = world.mkdir(run, &format!("{step}.orbax-checkpoint-tmp"));
        world.save(tmp, "weights.npy", &npy(step));
        world
            .engine
            .rename(
                Place { parent: run, name: format!("{step}.orbax-checkpoint-tmp").as_bytes() },
                Place { parent: run, name: step.to_string().as_bytes() },
                Over::Replace,
            )
            .unwrap();
    }
    let versions = world.versions(run);
    assert_eq!(versions.iter().map(|v| v.trigger.as_str()).collect::<Vec<_>>(), ["orbax", "orbax"]);
    assert!(versions.iter().all(Version::is_good), "{versions:?}");
    assert_eq!(world.read(&versions[1], &["4", "weights.npy"]).unwrap(), npy(4));
    drop(world.workers);
}

#[test]
fn a_worker_of_tensorflow_that_is_a_step_ahead_or_behind_ends_no_save_of_its_chief() {
    let dir = tempfile::tempdir().unwrap();
    let world = open(dir.path(), Duration::from_secs(3600));
    let run = world.mkdir(ROOT, "run");
    let worker = world.mkdir(run, "workertemp_1");
    world.save(run, "ckpt-2.npy", &npy(2));
    world.save(worker, "ckpt-3.npy", &npy(3));
    world.save(run, "ckpt-2-optimizer.npy", &npy(4));
    let versions = world.versions(run);
    assert_eq!(versions.iter().map(|version| version.trigger.as_str()).collect::<Vec<_>>(), ["quiet"]);
    world.save(run, "ckpt-3.npy", &npy(5));
    assert_eq!(world.versions(run).len(), 2, "a save of the chief still ends the one before");
    drop(world.workers);
}

#[test]
fn a_version_by_hand_of_nothing_new_tells_the_step_of_what_it_holds() {
    let dir = tempfile::tempdir().unwrap();
    let world = open(dir.path(), Duration::from_secs(3600));
    world.save(ROOT, "step_7.npy", &npy(1));
    assert_eq!(world.versions(ROOT)[0].step, Some(7));
    let (_, version) = world.engine.snapshot_now(ROOT, "snapshot", None).unwrap();
    assert_eq!((version.number, version.step), (2, Some(7)));
    drop(world.workers);
}

#[test]
fn a_version_tells_the_step_of_what_it_holds_not_that_of_the_file_that_replaces_it() {
    let dir = tempfile::tempdir().unwrap();
    let world = open(dir.path(), Duration::from_secs(3600));
    for step in 1..=3 {
        let ino = world.save(ROOT, "model.npy.tmp", &npy(step));
        let said = step.to_string();
        world.engine.names().setxattr(ino, b"user.ckptfs.step", said.as_bytes(), Must::Any).unwrap();
        let (from, to) = (b"model.npy.tmp".as_slice(), b"model.npy".as_slice());
        let place = |name| Place { parent: ROOT, name };
        world.engine.rename(place(from), place(to), Over::Replace).unwrap();
    }
    let steps: Vec<_> = world.versions(ROOT).iter().map(|version| version.step).collect();
    assert_eq!(steps, [Some(1), Some(2), Some(3)]);
    drop(world.workers);
}

#[test]
fn what_was_said_of_a_save_is_not_said_of_the_next_one_into_the_same_file() {
    let dir = tempfile::tempdir().unwrap();
    let world = open(dir.path(), Duration::from_secs(3600));
    let say = |ino, name: &str, value: &str| {
        let name = format!("user.ckptfs.{name}");
        world.engine.names().setxattr(ino, name.as_bytes(), value.as_bytes(), Must::Any).unwrap();
    };
    let mut told = Vec::new();
    for (stamp, loss) in [(1, Some("0.5")), (2, None), (3, Some("0.25"))] {
        let ino = world.save(ROOT, "model.npy", &npy(stamp));
        if let Some(loss) = loss {
            say(ino, "metric.loss", loss);
            say(ino, "epoch", "7");
        }
        let versions = world.versions(ROOT);
        let newest = versions.last().unwrap();
        told.push((newest.metrics.get("loss").copied(), newest.epoch));
    }
    assert_eq!(told, [(Some(0.5), Some(7)), (None, Some(7)), (Some(0.25), Some(7))]);
    drop(world.workers);
}

#[test]
fn a_close_that_is_told_after_the_next_open_loses_no_save() {
    let dir = tempfile::tempdir().unwrap();
    let world = open_idle(dir.path(), Duration::from_secs(3600));
    let engine = &world.engine;
    let ino = world.save(ROOT, "model.npy", &npy(1));
    let late = engine.open(ino, libc::O_WRONLY | libc::O_TRUNC, ME).unwrap().fh;
    engine.write(late, 0, &npy(2), false).unwrap();
    let next = engine.open(ino, libc::O_WRONLY | libc::O_TRUNC, ME).unwrap().fh;
    engine.release(late).unwrap();
    engine.write(next, 0, &npy(3), false).unwrap();
    engine.release(next).unwrap();
    for snapshot in engine.names().snapshots() {
        engine.build(&snapshot).unwrap();
    }
    let (run, _) = engine.run_at(ROOT).unwrap();
    let held: Vec<_> =
        engine.versions(run).unwrap().iter().map(|v| world.read(v, &["model.npy"]).unwrap()).collect();
    assert_eq!(held, [npy(1), npy(2)], "the third is in none yet");
}

#[test]
fn a_file_that_a_version_took_under_its_temporary_name_is_still_to_get_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let world = open_idle(dir.path(), Duration::from_secs(3600));
    let engine = &world.engine;
    for stamp in 1..=4 {
        world.save(ROOT, "model.npy.tmp", &npy(stamp));
        let (from, to) = (b"model.npy.tmp".as_slice(), b"model.npy".as_slice());
        let place = |name| Place { parent: ROOT, name };
        engine.rename(place(from), place(to), Over::Replace).unwrap();
        // The version of the file that was replaced is made between two saves, and seals the new one with it.
        for snapshot in engine.names().snapshots() {
            engine.build(&snapshot).unwrap();
        }
    }
    let (run, _) = engine.run_at(ROOT).unwrap();
    let held: Vec<_> =
        engine.versions(run).unwrap().iter().map(|v| world.read(v, &["model.npy"]).unwrap()).collect();
    assert_eq!(held, [npy(1), npy(2), npy(3)]);
}

#[test]
fn a_file_that_gets_its_name_long_after_it_was_written_is_a_version_then() {
    let dir = tempfile::tempdir().unwrap();
    let world = open(dir.path(), Duration::from_secs(3600));
    world.save(ROOT, "model.npy.tmp", &npy(1));
    assert!(!world.versions(ROOT).remove(0).is_good(), "it looks like what a killed save has left");
    let (from, to) = (b"model.npy.tmp".as_slice(), b"model.npy".as_slice());
    let place = |name| Place { parent: ROOT, name };
    world.engine.rename(place(from), place(to), Over::Replace).unwrap();
    let versions = world.versions(ROOT);
    assert_eq!(versions.iter().map(Version::is_good).collect::<Vec<_>>(), [false, true]);
    assert_eq!(world.read(&versions[1], &["model.npy"]).unwrap(), npy(1));
    drop(world.workers);
}
