//! The recorded workload: a training run and what the background does beside it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use ckptfs::base::fault::Point;
use ckptfs::base::monitor::Silent;
use ckptfs::content::hash::chunk_id;
use ckptfs::pack::{Kind, PackStore};
use tempfile::TempDir;

use crate::common::noise;
use crate::content::{floats, npy};
use crate::disk::Disk;
use crate::jury::{Base, Bench, Choice, Jury};
use crate::oracle::Oracle;
use crate::stage::{Stage, open};
use crate::watch::{Event, Watch};

/// One observer a process: tests that watch take turns.
static ALONE: Mutex<()> = Mutex::new(());

pub(crate) fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// A folder in memory where there is one: syncs cost nothing there.
pub(crate) fn folder() -> TempDir {
    let memory = PathBuf::from("/dev/shm");
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    tempfile::tempdir_in(&memory).or_else(|_| tempfile::tempdir_in(target)).unwrap()
}

/// Saves, versions, sealing, re-encoding and collection, with two restarts.
fn train(stage: &mut Stage) {
    stage.still(|engine| engine.set_policy("max_to_keep", "0")).unwrap();
    stage.mkdir("run");
    stage.save("run/config.json", b"{\"lr\": 1}", true);
    stage.symlink("latest", "run");
    // No hot file goes whose end is not durable: a cut brings its name back.
    stage.save("early", b"durable", true);
    stage.unlink("early");
    stage.still(|engine| engine.step_deleting()).unwrap();
    stage.save("run/next", b"durable", true);
    stage.unlink("run/next");
    stage.still(|engine| engine.step_deleting()).unwrap();
    a_series(stage);
    replacements(stage);
    in_place(stage);
    brought_back(stage);
    // Sealed without a version, and with its hot copy dropped.
    stage.save("data.bin", &noise(150_000, 1), false);
    stage.save("more.bin", &noise(90_000, 2), true);
    stage.seal();
    stage.update("data.bin", 70_000, b"changed", true);
    small_files(stage);
    stage.stop(true);
    stage.start();
    stage.expire("run", 1);
    stage.expire("run", 2);
    let freed = stage.reclaim();
    assert!(freed.packs_deleted + freed.packs_rewritten > 0, "{freed:?}");
    stage.mkdir("tmp");
    stage.save("tmp/a.npy", &npy(9, 70_000), true);
    stage.rename("tmp", "step-1");
    stage.unlink("step-1/a.npy");
    stage.rmdir("step-1");
    stage.settle();
    stage.build();
    stage.seal();
    stage.stop(false);
    stage.start();
    stage.save("run/model.npy", &floats(9, 60_000), false);
    stage.settle();
    stage.build();
    stage.encode();
    stage.reclaim();
    stage.stop(true);
}

/// Saves of one series, a version of each, the older ones as deltas.
fn a_series(stage: &mut Stage) {
    for step in 0..4 {
        stage.save("run/model.npy", &floats(step, 60_000), step % 2 == 0);
        stage.save("run/metrics.json", format!("{{\"step\": {step}}}").as_bytes(), false);
        stage.settle();
        stage.build();
    }
    stage.sync_names();
    assert!(stage.encode() > 0, "nothing was stored as a delta");
}

/// Written to a temporary name and renamed, with and without fsync.
fn replacements(stage: &mut Stage) {
    stage.mkdir("other");
    stage.replace("other/best.npy", &npy(1, 70_000), true);
    stage.replace("other/best.npy", &npy(2, 70_000), false);
    stage.replace("other/best.npy", &npy(3, 80_000), false);
    stage.sync_names();
    stage.replace("other/best.npy", &npy(4, 80_000), true);
    stage.settle();
    stage.build();
    stage.save("state.json", b"old", true);
    stage.replace("state.json", b"new", false);
    // The journal goes on to its next segment, and is durable up to there, while there is no barrier.
    for number in 0..60 {
        stage.set_xattr("run/config.json", &format!("{number:0>400}"));
    }
    stage.rename("state.json", "moved.json");
    stage.sync_names();
}

/// In place, of hot and of sealed files, while a moment waits for its version.
fn in_place(stage: &mut Stage) {
    stage.link("other/best.npy", "other/linked.npy");
    stage.seal();
    stage.snapshot("run");
    stage.update("run/model.npy", 1000, &[7; 5000], true);
    stage.update("run/config.json", 2, b"LR", false);
    stage.build();
    stage.snapshot("other");
    stage.update("other/best.npy", 40_000, &[9; 3000], false);
    stage.unlink("other/linked.npy");
    stage.build();
    stage.seal();
    stage.truncate("other/best.npy", 50_000);
    stage.truncate("run/config.json", 4);
}

/// Files of a version in place of a sealed one and of one that was removed, and a version of that.
fn brought_back(stage: &mut Stage) {
    stage.bring_back("run", 3, "model.npy");
    stage.unlink("run/metrics.json");
    stage.bring_back("run", 4, "metrics.json");
    stage.sync_names();
    stage.update("run/model.npy", 500, b"trained on", true);
    stage.settle();
    stage.build();
    stage.bring_back("run", 4, "model.npy");
}

/// What no version holds.
fn small_files(stage: &mut Stage) {
    for number in 0..12 {
        stage.save(&format!("run/log-{number}"), format!("line {number}").as_bytes(), number % 3 == 0);
    }
    for number in 0..6 {
        stage.unlink(&format!("run/log-{number}"));
    }
    stage.sync_names();
}

/// Batches of so many small blobs that the index in memory becomes files, and these are merged.
fn many_blobs(store: &Path) {
    let packs = PackStore::open(&store.join("packs"), &store.join("index"), 1 << 20, &Silent).unwrap();
    for batch in 0..4u32 {
        let mut writer = packs.writer().unwrap();
        for number in 0..33_000u32 {
            let raw = [batch.to_le_bytes(), number.to_le_bytes()].concat();
            writer.put(Kind::Chunk, chunk_id(&raw), &raw).unwrap();
        }
        writer.finish().unwrap();
    }
}

/// Whether images of this moment are opened under watch: those of which recovery has the most to do.
fn is_worth_opening(event: Event) -> bool {
    match event {
        Event::Point(Point::JournalPlaced, nth) => nth % 2 == 0,
        Event::Point(Point::VersionProtected | Point::VersionRecorded | Point::SyncBarrier, nth) => nth == 2,
        Event::Point(Point::ReclaimCopied | Point::CatalogClosed | Point::CheckpointApplied, nth) => nth == 1,
        Event::Point(..) | Event::Sync(_) => false,
    }
}

/// The same, for a short run.
fn is_worth_opening_most(event: Event) -> bool {
    match event {
        Event::Point(Point::JournalPlaced, nth) => nth == 4,
        Event::Point(Point::SyncBarrier | Point::VersionProtected, nth) => nth == 2,
        Event::Point(Point::CheckpointApplied, nth) => nth == 1,
        Event::Point(..) | Event::Sync(_) => false,
    }
}

/// Runs the workload, then opens what crashes of it have left, and has images checked as the choices say.
fn run(choice: Choice, while_opening: Choice, is_worth_opening: fn(Event) -> bool, seed: u64) {
    let (_alone, dir) = (alone(), folder());
    let store = dir.path().join("store");
    std::fs::create_dir(&store).unwrap();
    let bench = Bench {
        jury: Arc::new(Mutex::new(Jury::new(&dir.path().join("trials")))),
        oracle: Arc::new(Mutex::new(Oracle::new(&dir.path().join("contents")))),
        bases: Arc::default(),
        choice,
        exact: true,
        boot: 1,
        seed,
        what: String::new(),
    };
    let watch = Watch::begin(Disk::new(&store), bench.clone().camera(is_worth_opening));
    let mut stage = Stage::new(&store, 1, watch.clone(), bench.oracle.clone());
    train(&mut stage);
    drop(stage);
    many_blobs(&store);
    let (mut points, syncs) = watch.end();
    let count = bench.jury.lock().unwrap().count();
    eprintln!("{count} images of {} points and {syncs} syncs", points.values().sum::<usize>());
    let bases = std::mem::take(&mut *bench.bases.lock().unwrap());
    for base in bases {
        let Base { what, store, disk, oracle, exact, boot } = base;
        let oracle = Arc::new(Mutex::new(oracle));
        let bench = Bench { choice: while_opening, oracle, exact, boot, what, ..bench.clone() };
        let watch = Watch::begin(disk, bench.camera(|_| false));
        watch.turn.take();
        let running = open(&store, boot).unwrap();
        running.engine.step_building().unwrap();
        watch.turn.give();
        drop(running);
        for (point, times) in watch.end().0 {
            *points.entry(point).or_default() += times;
        }
        std::fs::remove_dir_all(store.parent().unwrap()).unwrap();
    }
    let (images, found) = bench.jury.lock().unwrap().end();
    eprintln!("{images} images in all");
    assert!(found.is_empty(), "{} violations:\n{}", found.len(), found.join("\n"));
    let missed: Vec<&str> =
        Point::ALL.iter().filter(|point| !points.contains_key(point)).map(|point| point.name()).collect();
    assert!(missed.is_empty(), "points that the workload does not reach: {missed:?}");
}

/// The points of opening a store after a crash.
const OPENING: &[&str] = &["recover.", "rebuild.", "journal.opened", "journal.tail", "file.", "checkpoint."];

#[test]
fn nothing_is_lost_at_points_and_syncs() {
    let choice = Choice { first: 1, every: 60, only: &[""] };
    run(choice, Choice { every: usize::MAX, only: OPENING, ..choice }, is_worth_opening_most, 1);
}

/// `CKPTFS_SEED=n cargo test --test crash -- --ignored every_point` repeats a run; it takes half an hour.
#[test]
#[ignore = "takes half an hour"]
fn nothing_is_lost_at_every_point_and_every_sync() {
    let seed = std::env::var("CKPTFS_SEED").map_or(2, |seed| seed.parse().unwrap());
    let all = Choice { first: usize::MAX, every: 1, only: &[""] };
    run(all, Choice { first: 1, every: 1, ..all }, is_worth_opening, seed);
}
