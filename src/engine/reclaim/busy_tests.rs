//! Saves, reads, removals and versions while space is reclaimed in a loop: every byte is there at the end.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::super::world::{ME, World, npy, open_with, options};
use crate::base::monitor::Silent;
use crate::catalog::keys::{Ino, ROOT};
use crate::engine::reclaim::How;

const LEN: usize = 150_000;
const FOR: Duration = Duration::from_secs(6);

/// Saves and removes files of one run, with contents that come back after they were gone; what is there at the end.
fn train(world: &World, run: Ino, seed: u32, kept: &Mutex<HashMap<u32, u32>>) -> HashMap<String, u32> {
    let (mut there, mut n, began) = (HashMap::new(), seed, Instant::now());
    while began.elapsed() < FOR {
        n = n.wrapping_mul(1_103_515_245).wrapping_add(12345);
        let (name, stamp) = (format!("f{}.npy", n >> 8 & 3), n >> 16 & 15);
        if n >> 24 & 7 == 0 && there.remove(&name).is_some() {
            world.engine.unlink(run, name.as_bytes()).unwrap();
        } else {
            world.save(run, &name, &npy(stamp, LEN));
            there.insert(name, stamp);
        }
        if n >> 27 & 3 == 0 {
            world.save(run, "model.npy", &npy(stamp + 100, LEN));
            there.insert("model.npy".to_owned(), stamp + 100);
            let (_, version) = world.engine.snapshot_now(run, "snapshot", None).unwrap();
            kept.lock().insert(version.number, stamp + 100);
        }
    }
    there
}

#[test]
fn nothing_is_lost_while_everything_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let world = open_with(dir.path(), crate::engine::Options { settle: Duration::ZERO, ..options(1) });
    world.engine.set_policy("max_to_keep", "3").unwrap();
    let runs =
        ["a", "b"].map(|name| world.engine.names().mkdir(ROOT, name.as_bytes(), 0o755, ME).unwrap().ino);
    let kept = [(); 2].map(|()| Mutex::default());
    let (stop, world_ref) = (AtomicBool::new(false), &world);
    let (mut there, mut rounds, mut freed) = (Vec::new(), 0, 0);
    std::thread::scope(|scope| {
        let trainers: Vec<_> = runs
            .iter()
            .zip(&kept)
            .zip(1..)
            .map(|((run, kept), seed)| scope.spawn(move || train(world_ref, *run, seed, kept)))
            .collect();
        let gc = scope.spawn(|| {
            let (mut rounds, mut freed) = (0, 0);
            while !stop.load(Ordering::Relaxed) {
                freed += world_ref.engine.reclaim_as(How::NOW, &Silent).unwrap().bytes_freed;
                rounds += 1;
            }
            (rounds, freed)
        });
        let reader = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                for (run, kept) in runs.iter().zip(&kept) {
                    check_newest(world_ref, *run, &kept.lock().clone());
                }
            }
        });
        let ended: Vec<_> = trainers.into_iter().map(|trainer| trainer.join()).collect();
        // Before anything may fail: the others run until then.
        stop.store(true, Ordering::Relaxed);
        there.extend(ended.into_iter().map(|ended| ended.unwrap()));
        (rounds, freed) = gc.join().unwrap();
        reader.join().unwrap();
    });
    assert!(rounds > 5 && freed > 0, "{rounds} rounds, {freed} bytes");
    world.engine.seal_all(&Silent).unwrap();
    world.engine.reclaim(&Silent).unwrap();
    for ((run, there), kept) in runs.iter().zip(&there).zip(&kept) {
        for (name, stamp) in there {
            assert_eq!(world.read_live(*run, name), npy(*stamp, LEN), "{name}");
        }
        for version in world.versions(*run) {
            if let Some(stamp) = kept.lock().get(&version.number) {
                assert_eq!(world.read(&version, "model.npy"), npy(*stamp, LEN), "{}", version.number);
            }
        }
    }
    let faults = world.engine.report_status().unwrap().faults;
    assert!(faults.is_empty(), "{faults:?}");
    drop(world.workers);
}

/// Reads the newest version, which no policy removes, while it is held.
fn check_newest(world: &World, run: Ino, kept: &HashMap<u32, u32>) {
    let Some((id, _)) = world.engine.run_at(run) else { return };
    let Some(version) = world.engine.versions(id).unwrap().pop() else { return };
    world.engine.hold_version(id, version.number);
    if world.engine.version(id, version.number).unwrap().is_some()
        && let Some(stamp) = kept.get(&version.number)
    {
        assert_eq!(world.read(&version, "model.npy"), npy(*stamp, LEN));
    }
    world.engine.let_go_version(id, version.number);
}
