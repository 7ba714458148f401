//! Space comes back, and nothing else goes: through the engine, as a user would notice.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::Engine;
use super::super::workers::Workers;
use super::super::world::{LEN, ME, World, npy, open, options};
use super::How;
use crate::base::Error;
use crate::base::monitor::Silent;
use crate::catalog::keys::ROOT;
use crate::gc::{self, Effort};
use crate::version::record::Version;

#[test]
fn a_file_has_the_bytes_that_the_tests_think() {
    assert_ne!(npy(1, 100), npy(2, 100));
    assert_eq!(npy(1, 100).len(), 228);
}

#[test]
fn expired_versions_give_their_space_back_to_within_five_percent() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let world = open(dir.path());
    world.engine.set_policy("max_to_keep", "5").unwrap();
    for stamp in 1..=200 {
        world.checkpoint(ROOT, stamp, LEN);
    }
    let before = world.stored();
    let dry = world.engine.reclaim_as(How { dry_run: true, ..How::NOW }, &Silent).unwrap();
    assert_eq!((dry.versions, world.stored()), (195, before), "a dry run changes nothing");
    let done = world.engine.reclaim(&Silent).unwrap();
    assert_eq!((done.versions, done.damaged), (195, 0), "{done:?}");
    assert_eq!(before - world.stored(), done.bytes_freed - done.bytes_written);
    assert!(dry.bytes_freed.abs_diff(done.bytes_freed) < before / 50, "{dry:?} {done:?}");
    let never = open(other.path());
    for stamp in 196..=200 {
        never.checkpoint(ROOT, stamp, LEN);
    }
    let (now, least) = (world.stored(), never.stored());
    assert!(now <= least + least / 20, "{now} bytes are left, {least} would do");
    for (version, stamp) in world.versions(ROOT).iter().zip(196..) {
        assert_eq!(world.read(version, "model.npy"), npy(stamp, LEN));
    }
    assert!(world.engine.reclaim.last().history_bytes >= 4 * LEN as u64);
    assert_eq!(world.engine.reclaim(&Silent).unwrap().versions, 0);
    drop((world.workers, never.workers));
}

#[test]
fn a_version_removed_by_hand_comes_back_within_its_time_and_a_pinned_one_stays() {
    let dir = tempfile::tempdir().unwrap();
    let world = open(dir.path());
    world.engine.set_policy("max_to_keep", "1").unwrap();
    let (run, first) = world.checkpoint(ROOT, 1, LEN);
    let pin = |version: &mut Version| {
        version.pinned = true;
        Ok(())
    };
    world.engine.change_version(run, first, pin).unwrap();
    for stamp in 2..=6 {
        world.checkpoint(ROOT, stamp, LEN);
    }
    world.engine.reclaim(&Silent).unwrap();
    let versions = world.versions(ROOT);
    assert_eq!(versions.iter().map(|one| one.number).collect::<Vec<_>>(), [1, 6]);
    assert_eq!(world.read(&versions[0], "model.npy"), npy(1, LEN));
    let unpin = |version: &mut Version| {
        version.pinned = false;
        Ok(())
    };
    world.engine.change_version(run, first, unpin).unwrap();
    world.engine.expire_version(run, first, true, "by hand").unwrap();
    assert_eq!(world.engine.reclaim(&Silent).unwrap().versions, 0);
    let back = |version: &mut Version| {
        (version.expired, version.pinned) = (None, true);
        Ok(())
    };
    let version = world.engine.change_version(run, first, back).unwrap();
    assert_eq!(world.read(&version, "model.npy"), npy(1, LEN));
    world.engine.change_version(run, first, unpin).unwrap();
    world.engine.expire_version(run, first, true, "by hand").unwrap();
    world.engine.set_policy("undelete_ttl", "0s").unwrap();
    world.engine.hold_version(run, first);
    assert_eq!(world.engine.reclaim(&Silent).unwrap().versions, 0, "somebody reads it");
    world.engine.let_go_version(run, first);
    let before = world.stored();
    assert_eq!(world.engine.reclaim(&Silent).unwrap().versions, 1);
    assert!(before - world.stored() >= LEN as u64);
    drop(world.workers);
}

#[test]
fn a_deleted_run_goes_when_its_time_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let world = open(dir.path());
    let run = world.engine.names().mkdir(ROOT, b"run", 0o755, ME).unwrap().ino;
    let (id, _) = world.checkpoint(run, 1, LEN);
    world.engine.unlink(run, b"model.npy").unwrap();
    world.engine.rmdir(ROOT, b"run").unwrap();
    assert_eq!(world.engine.reclaim(&Silent).unwrap().runs, 0);
    assert_eq!(world.engine.versions(id).unwrap().len(), 1);
    world.engine.set_policy("deleted_run_ttl", "0s").unwrap();
    let done = world.engine.reclaim(&Silent).unwrap();
    assert_eq!((done.versions, done.runs), (1, 1));
    assert_eq!((world.stored(), world.engine.run(id)), (0, None));
    drop(world.workers);
}

/// Reclaims until the pace has been asked `asks` times; whether it came to an end.
fn reclaim_for(engine: &Engine, asks: usize) -> bool {
    let asked = AtomicUsize::new(0);
    let pace = |_| match asked.fetch_add(1, Ordering::Relaxed) < asks {
        true => Ok(()),
        false => Err(Error::Errno(libc::EINTR)),
    };
    let run = || -> crate::base::Result<()> {
        engine.forget_expired()?;
        pace(0)?;
        let collection = engine.packs.collect()?;
        let packs = engine.packs.packs();
        let mut marked = engine.mark(&Default::default(), &pace)?;
        engine.sync_names()?;
        let survey = gc::survey(&engine.packs, &packs, &mut marked, &Default::default(), &pace)?;
        let plan = gc::plan(&survey.packs, Effort::THOROUGH);
        gc::sweep(&engine.packs, &collection, &plan, &mut marked.live, &|| 1 << 20, &pace, &Silent)?;
        Ok(())
    };
    match run() {
        Ok(()) => true,
        Err(Error::Errno(libc::EINTR)) => false,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn killed_at_any_step_nothing_is_lost_and_the_next_one_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let old = {
        let world = open(dir.path());
        world.engine.set_policy("max_to_keep", "2").unwrap();
        for stamp in 1..=12 {
            // Each pack holds something that stays and something that goes.
            world.save(ROOT, &format!("stays{stamp}.npy"), &npy(1000 + stamp, 100_000));
            world.checkpoint(ROOT, stamp, LEN);
        }
        drop(world.workers);
        world.engine.packs.packs()
    };
    // Copies that were durable before their packs went: a kill in between leaves both.
    let packs = dir.path().join("packs");
    let names: Vec<_> = old.iter().map(|(number, _)| crate::pack::writer::pack_name(*number)).collect();
    let saved = tempfile::tempdir().unwrap();
    for name in &names {
        fs::copy(packs.join(name), saved.path().join(name)).unwrap();
    }
    let check = |engine: &Arc<Engine>| {
        let world = World { workers: Workers::none(engine), engine: engine.clone() };
        for (version, stamp) in world.versions(ROOT).iter().zip(11..) {
            assert_eq!(world.read(version, "model.npy"), npy(stamp, LEN));
        }
        for stamp in 1..=12 {
            let bytes = world.read_live(ROOT, &format!("stays{stamp}.npy"));
            assert_eq!(bytes, npy(1000 + stamp, 100_000), "{stamp}");
        }
    };
    let mut asks = 0;
    let left = loop {
        let engine = Engine::start(dir.path(), options(1), ME, &Silent).unwrap();
        let ended = reclaim_for(&engine, asks);
        check(&engine);
        if ended {
            break engine.packs.stats().stored_bytes;
        }
        asks += 5;
    };
    assert!(asks > 20, "it was stopped at many places");
    for name in &names {
        fs::copy(saved.path().join(name), packs.join(name)).unwrap();
    }
    let engine = Engine::start(dir.path(), options(1), ME, &Silent).unwrap();
    // Without a check before it: that ends the background of its engine, and so all reclaiming.
    engine.reclaim(&Silent).unwrap();
    check(&engine);
    let now = engine.packs.stats().stored_bytes;
    assert!(now <= left + left / 20, "{now} bytes after {left}");
}
