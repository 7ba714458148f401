//! The recorded workload: a training run and what the background does beside it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use ckptfs::base::fault::Point;
use tempfile::TempDir;

use crate::content::{floats, npy};
use crate::disk::Disk;
use crate::jury::{Choice, Jury, camera};
use crate::oracle::Oracle;
use crate::stage::Stage;
use crate::watch::Watch;

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
fn train(stage: &mut Stage, boot: &Mutex<u8>) {
    let _ = boot;
    stage.still(|engine| engine.set_policy("max_to_keep", "0")).unwrap();
    stage.mkdir("run");
    stage.save("run/config.json", b"{\"lr\": 1}", true);
    stage.symlink("latest", "run");
    // Saves of one series: sealed by the versions that hold them.
    for step in 0..4 {
        stage.save("run/model.npy", &floats(step, 60_000), step % 2 == 0);
        stage.save("run/metrics.json", format!("{{\"step\": {step}}}").as_bytes(), false);
        stage.settle();
        stage.build();
    }
    stage.sync_names();
    assert!(stage.encode() > 0, "nothing was stored as a delta");
    // Written to a temporary name and renamed, with and without fsync.
    stage.mkdir("other");
    stage.replace("other/best.npy", &npy(1, 70_000), true);
    stage.replace("other/best.npy", &npy(2, 70_000), false);
    stage.replace("other/best.npy", &npy(3, 80_000), false);
    stage.sync_names();
    stage.replace("other/best.npy", &npy(4, 80_000), true);
    stage.settle();
    stage.build();
    stage.link("other/best.npy", "other/linked.npy");
    stage.set_xattr("run/config.json", "a note");
    // In place, of hot and of sealed files, while a moment waits for its version.
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
    // What the versions do not hold.
    for number in 0..12 {
        stage.save(&format!("run/log-{number}"), format!("line {number}").as_bytes(), number % 3 == 0);
    }
    for number in 0..6 {
        stage.unlink(&format!("run/log-{number}"));
    }
    stage.sync_names();
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

/// Runs the workload and has images checked as `choice` says.
fn run(choice: Choice, seed: u64) {
    let (_alone, dir) = (alone(), folder());
    let store = dir.path().join("store");
    std::fs::create_dir(&store).unwrap();
    let oracle = Arc::new(Mutex::new(Oracle::new(&dir.path().join("contents"))));
    let jury = Arc::new(Mutex::new(Jury::new(&dir.path().join("trials"))));
    let boot = Arc::new(Mutex::new(1));
    let camera = camera(jury.clone(), oracle.clone(), choice, boot.clone(), seed);
    let watch = Watch::begin(Disk::new(&store), camera);
    let mut stage = Stage::new(&store, 1, watch.clone(), oracle);
    train(&mut stage, &boot);
    let (points, syncs) = watch.end();
    let (images, found) = jury.lock().unwrap().end();
    eprintln!("{images} images of {} points and {syncs} syncs", points.values().sum::<usize>());
    let missed: Vec<&str> =
        Point::ALL.iter().filter(|point| !points.contains_key(point)).map(|point| point.name()).collect();
    eprintln!("not reached: {missed:?}");
    assert!(found.is_empty(), "{} violations:\n{}", found.len(), found.join("\n"));
}

#[test]
fn nothing_is_lost_at_points_and_syncs() {
    run(Choice { first: 1, every: 40 }, 1);
}
