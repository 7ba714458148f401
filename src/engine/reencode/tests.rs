//! Older versions take less, and every byte of every version is what it was: through the engine, as a user would notice.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::super::Engine;
use super::super::workers::Workers;
use super::super::world::{ME, World, floats, open, options};
use crate::base::Error;
use crate::base::id::ChunkId;
use crate::base::monitor::Silent;
use crate::catalog::keys::ROOT;
use crate::content::tree::Body;
use crate::seal::stored;
use crate::version::record::Version;
use crate::version::trees::Trees;

/// Numbers in a file: two chunks and a bit.
const COUNT: usize = 600_000;

/// A store with versions 1 to `saves` of `model.npy`, and nothing that works in the background.
fn series(dir: &std::path::Path, saves: u32) -> World {
    let world = open(dir);
    for stamp in 1..=saves {
        save(&world, stamp);
    }
    world.workers.stop();
    drop(world);
    quiet(dir)
}

fn quiet(dir: &std::path::Path) -> World {
    let engine = Engine::start(dir, options(1), ME, &Silent).unwrap();
    World { workers: Workers::none(&engine), engine }
}

fn save(world: &World, stamp: u32) {
    world.save(ROOT, "model.npy", &floats(stamp, COUNT));
    world.engine.finish_versions("quiet", std::time::Duration::from_secs(60)).unwrap();
}

fn go_on() -> Result<(), Error> {
    Ok(())
}

/// The chunks of `model.npy` in a version, and the base of each that has one.
fn chunks(world: &World, version: &Version) -> Vec<(ChunkId, Option<ChunkId>)> {
    let trees = Trees::new(&world.engine.packs);
    let top = trees.top(&version.tree).unwrap();
    let entry = trees.walk(top, &[b"model.npy".to_vec()]).unwrap().unwrap();
    let Body::File { content, .. } = entry.body else { panic!("a file") };
    let manifest = stored::load(&world.engine.packs, &content).unwrap();
    manifest.ids().map(|id| (id, world.engine.packs.head(&id).unwrap().encoding.base)).collect()
}

/// How many chunks of each version are deltas; that their bases are self-contained is held, too.
fn deltas(world: &World) -> Vec<usize> {
    let versions = world.versions(ROOT);
    let all: Vec<_> = versions.iter().map(|version| chunks(world, version)).collect();
    for base in all.iter().flatten().filter_map(|(_, base)| *base) {
        assert_eq!(world.engine.packs.head(&base).unwrap().encoding.base, None, "a chain");
    }
    all.iter().map(|chunks| chunks.iter().filter(|(_, base)| base.is_some()).count()).collect()
}

/// Every version has the bytes of its save.
fn all_right(world: &World) {
    for version in world.versions(ROOT) {
        let bytes = world.read(&version, "model.npy");
        assert!(bytes == floats(version.number, COUNT), "version {}", version.number);
    }
}

#[test]
fn older_versions_take_less_and_the_first_and_the_newest_stay_self_contained() {
    let dir = tempfile::tempdir().unwrap();
    let world = series(dir.path(), 4);
    let whole = world.stored();
    let done = world.engine.reencode(&go_on).unwrap();
    assert!(done.chunks >= 4 && done.to_bytes * 10 < done.from_bytes * 9, "{done:?}");
    let found = deltas(&world);
    assert_eq!((found[0], found[3]), (0, 0));
    assert!(found[1] >= 2 && found[2] >= 2, "{found:?}");
    all_right(&world);
    world.engine.reclaim(&Silent).unwrap();
    assert!(world.stored() < whole - (done.from_bytes - done.to_bytes) * 9 / 10);
    all_right(&world);
    assert_eq!(world.engine.reencode(&go_on).unwrap().chunks, 0, "nothing is left to do");
    drop(world);
    let again = quiet(dir.path());
    all_right(&again);
    assert_eq!(again.engine.reencode(&go_on).unwrap().chunks, 0, "nor after a new mount");
}

#[test]
fn what_relied_on_an_expired_version_relies_on_a_later_one_and_the_base_gives_its_space_back() {
    let dir = tempfile::tempdir().unwrap();
    let world = series(dir.path(), 4);
    world.engine.reencode(&go_on).unwrap();
    world.engine.reclaim(&Silent).unwrap();
    let before = world.stored();
    world.engine.set_policy("undelete_ttl", "0s").unwrap();
    let (run, _) = world.engine.run_at(ROOT).unwrap();
    let bases: Vec<ChunkId> = chunks(&world, &world.versions(ROOT)[0]).iter().map(|(id, _)| *id).collect();
    world.engine.expire_version(run, 1, true, "by hand").unwrap();
    assert_eq!(world.engine.reclaim(&Silent).unwrap().versions, 1);
    all_right(&world);
    assert!(world.stored() > before / 10 * 9, "the base is held by what relies on it");
    world.engine.reencode(&go_on).unwrap();
    all_right(&world);
    assert!(deltas(&world)[0] >= 2, "it relies on a later one");
    world.engine.reclaim(&Silent).unwrap();
    all_right(&world);
    assert!(bases.iter().any(|id| !world.engine.packs.contains(id).unwrap()));
    assert!(world.stored() < before, "{} bytes after, {before} before", world.stored());
}

#[test]
fn stopped_at_any_step_every_version_is_whole_and_the_next_pass_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let world = series(dir.path(), 4);
    let asked = AtomicUsize::new(0);
    for limit in (1..).step_by(7) {
        asked.store(0, Ordering::Relaxed);
        let go_on = || match asked.fetch_add(1, Ordering::Relaxed) {
            count if count >= limit => Err(Error::Errno(libc::EINTR)),
            _ => Ok(()),
        };
        let done = world.engine.reencode(&go_on);
        all_right(&world);
        if done.is_ok() {
            break;
        }
        assert!(matches!(done, Err(Error::Errno(libc::EINTR))));
        world.engine.reclaim(&Silent).unwrap();
    }
    let found = deltas(&world);
    assert!(found[1] >= 2 && found[2] >= 2, "{found:?}");
}

#[test]
fn versions_are_read_and_space_reclaimed_while_they_are_encoded_anew() {
    let dir = tempfile::tempdir().unwrap();
    let world = series(dir.path(), 5);
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut rounds = 0;
            while !ended.load(Ordering::Relaxed) || rounds == 0 {
                all_right(&world);
                rounds += 1;
            }
        });
        let reclaimer = scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                world.engine.reclaim(&Silent).unwrap();
            }
        });
        world.engine.reencode(&go_on).unwrap();
        world.engine.reclaim(&Silent).unwrap();
        ended.store(true, Ordering::Relaxed);
        reader.join().unwrap();
        reclaimer.join().unwrap();
    });
    assert!(deltas(&world)[1..4].iter().all(|count| *count >= 2));
}

#[test]
fn a_chunk_that_the_newest_has_too_stays_self_contained_and_one_that_comes_back_becomes_so() {
    let dir = tempfile::tempdir().unwrap();
    let world = series(dir.path(), 3);
    world.engine.reencode(&go_on).unwrap();
    let before: HashMap<_, _> = chunks(&world, &world.versions(ROOT)[1]).into_iter().collect();
    assert!(before.values().flatten().count() >= 2);
    world.workers.stop();
    drop(world);
    let world = open(dir.path());
    // Training goes back to the second save.
    save(&world, 2);
    world.workers.stop();
    world.engine.reencode(&go_on).unwrap();
    let newest = chunks(&world, world.versions(ROOT).last().unwrap());
    assert!(newest.iter().all(|(_, base)| base.is_none()), "{newest:?}");
    for (version, stamp) in world.versions(ROOT).iter().zip([1, 2, 3, 2]) {
        assert!(world.read(version, "model.npy") == floats(stamp, COUNT), "version {}", version.number);
    }
}

#[test]
fn a_pass_over_a_store_without_versions_or_with_a_poisoned_one_does_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let world = quiet(dir.path());
    assert_eq!(world.engine.reencode(&go_on).unwrap().chunks, 0);
    world.engine.poison(&Error::Refused("a test".to_owned()));
    assert!(world.engine.reencode(&go_on).is_err());
}

#[test]
fn what_only_a_file_of_no_known_kind_needs_keeps_its_base_self_contained() {
    let dir = tempfile::tempdir().unwrap();
    let (world, count) = (open(dir.path()), 100_000);
    // Its chunk is that of save 7, but it is in no series.
    world.save(ROOT, "weights", &floats(7, count)[128..]);
    for stamp in 1..=8 {
        world.save(ROOT, "model.npy", &floats(stamp, count));
        world.engine.finish_versions("quiet", std::time::Duration::from_secs(60)).unwrap();
    }
    world.workers.stop();
    drop(world);
    let world = quiet(dir.path());
    world.engine.reencode(&go_on).unwrap();
    assert!(deltas(&world)[6] >= 1, "{:?}", deltas(&world));
    let seventh = chunks(&world, &world.versions(ROOT)[6]);
    world.engine.set_policy("undelete_ttl", "0s").unwrap();
    let (run, _) = world.engine.run_at(ROOT).unwrap();
    for number in [2, 3, 4, 5, 7] {
        world.engine.expire_version(run, number, true, "by hand").unwrap();
    }
    for _ in 0..3 {
        world.engine.reclaim(&Silent).unwrap();
        world.engine.reencode(&go_on).unwrap();
    }
    let relied: Vec<ChunkId> =
        seventh.iter().filter_map(|(id, _)| world.engine.packs.head(id).ok()?.encoding.base).collect();
    assert!(!relied.is_empty());
    for base in relied {
        assert_eq!(world.engine.packs.head(&base).unwrap().encoding.base, None, "a chain");
    }
    assert!(world.read_live(ROOT, "weights") == floats(7, count)[128..]);
    for version in world.versions(ROOT) {
        assert!(world.read(&version, "model.npy") == floats(version.number, count), "{}", version.number);
    }
}

#[test]
fn versions_that_expire_and_go_during_a_pass_are_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let world = series(dir.path(), 10);
    world.engine.set_policy("undelete_ttl", "0s").unwrap();
    let (run, _) = world.engine.run_at(ROOT).unwrap();
    let asked = AtomicUsize::new(0);
    let go_on = || {
        let (asked, versions) = (asked.fetch_add(1, Ordering::Relaxed), world.versions(ROOT));
        // Not before the first content is worked on.
        if world.engine.reencode.done().chunks > 0 && asked.is_multiple_of(7) && versions.len() > 4 {
            for version in &versions[..2] {
                world.engine.expire_version(run, version.number, true, "by hand")?;
            }
            world.engine.reclaim(&Silent)?;
        }
        Ok(())
    };
    world.engine.reencode(&go_on).unwrap();
    assert_eq!(world.versions(ROOT).len(), 4);
    all_right(&world);
    let faults = world.engine.report_status().unwrap().faults;
    assert!(faults.is_empty(), "{faults:?}");
}
