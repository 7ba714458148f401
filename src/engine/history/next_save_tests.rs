//! Saves that follow each other faster than the settle time: where one ends and the next begins.

use std::time::Duration;

use super::super::world::ME;
use super::tests::{npy, open};
use crate::catalog::keys::ROOT;
use crate::namespace::rename::{Over, Place};
use crate::version::record::Version;

/// The kernel tells of a close(2) after it has returned, and another thread may read of the next save first.
#[test]
fn a_close_that_is_told_late_leaves_each_save_its_version() {
    const THREAD: u32 = 42;
    let dir = tempfile::tempdir().unwrap();
    let world = open(dir.path(), Duration::from_secs(3600));
    let (engine, run) = (&world.engine, world.mkdir(ROOT, "run"));
    for epoch in 1..=3 {
        let name = format!("model_epoch{epoch}.npy");
        let unclosed = engine.unclosed_saves(run, name.as_bytes(), THREAD);
        assert_eq!(unclosed.len(), usize::from(epoch > 1));
        engine.await_close(&unclosed, THREAD);
        let (attr, opened) = engine.create(run, name.as_bytes(), 0o644, libc::O_WRONLY, ME).unwrap();
        engine.opened_by(attr.inode.ino, THREAD);
        engine.write(opened.fh, 0, &npy(epoch), false).unwrap();
        let engine = engine.clone();
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(20));
            engine.release(opened.fh).unwrap();
        });
    }
    engine.await_close(&engine.unclosed_saves(run, b"model_epoch4.npy", THREAD), THREAD);
    let versions = world.versions(run);
    let found = versions.iter().map(|version| (version.epoch, version.files)).collect::<Vec<_>>();
    assert_eq!(found, [(Some(1), 1), (Some(2), 2), (Some(3), 3)]);
}

#[test]
fn a_directory_that_gets_its_name_by_rename_is_another_save_than_the_one_before() {
    let dir = tempfile::tempdir().unwrap();
    let world = open(dir.path(), Duration::from_secs(3600));
    let run = world.mkdir(ROOT, "run");
    for step in 1..=3 {
        let made = world.mkdir(run, "save.tmp");
        world.save(made, "a.npy", &npy(step));
        world.save(made, "b.npy", &npy(step + 100));
        let (from, name) = (Place { parent: run, name: b"save.tmp" }, format!("checkpoint-{step}"));
        world.engine.rename(from, Place { parent: run, name: name.as_bytes() }, Over::Replace).unwrap();
    }
    let versions = world.versions(run);
    assert_eq!(versions.iter().map(|version| version.step).collect::<Vec<_>>(), [Some(1), Some(2), Some(3)]);
    assert!(versions.iter().all(Version::is_good), "{versions:?}");
}

/// The moment of a run that came to rest may fall between the close of a temporary file and its rename.
#[test]
fn the_next_save_under_a_temporary_name_does_not_spoil_the_checkpoint_that_it_is_to_replace() {
    let dir = tempfile::tempdir().unwrap();
    let world = open(dir.path(), Duration::from_secs(3600));
    let (whole, cut) = (world.mkdir(ROOT, "whole"), world.mkdir(ROOT, "cut"));
    world.save(whole, "model.npy", &npy(1));
    world.save(whole, "model.npy.tmp", &npy(2));
    world.save(cut, "model.npy", &npy(1));
    world.save(cut, "optimizer.npy.tmp", &npy(2));
    assert!(world.versions(whole)[0].is_good());
    assert_eq!(world.versions(cut)[0].why, ["optimizer.npy.tmp: left under a temporary name"]);
    let (from, to) =
        (Place { parent: whole, name: b"model.npy.tmp" }, Place { parent: whole, name: b"model.npy" });
    world.engine.rename(from, to, Over::Replace).unwrap();
    let versions = world.versions(whole);
    assert_eq!(versions.len(), 2);
    assert_eq!(world.read(&versions[1], &["model.npy"]).unwrap(), npy(2));
}

/// timm writes `tmp.pth.tar`, takes the name of the save before away, and links: a name that goes ends a save though its bytes
/// stay, and all names of a file tell of it.
#[test]
fn saves_that_share_names_by_hard_links_are_a_version_each_with_the_step_of_any_name() {
    let dir = tempfile::tempdir().unwrap();
    let world = open(dir.path(), Duration::from_secs(3600));
    let (engine, run) = (&world.engine, world.mkdir(ROOT, "run"));
    for step in 1..=3 {
        let ino = world.save(run, "tmp.npy", &npy(step));
        for (name, publish) in [("last.npy", true), ("best.npy", false)] {
            if engine.names().entry(run, name.as_bytes()).unwrap().is_some() {
                engine.unlink(run, name.as_bytes()).unwrap();
            }
            if publish {
                let from = Place { parent: run, name: b"tmp.npy" };
                engine.rename(from, Place { parent: run, name: name.as_bytes() }, Over::Replace).unwrap();
                engine.names().link(ino, run, format!("checkpoint-{step}.npy").as_bytes()).unwrap();
            } else {
                engine.names().link(ino, run, name.as_bytes()).unwrap();
            }
        }
    }
    let versions = world.versions(run);
    assert_eq!(versions.iter().map(|version| version.step).collect::<Vec<_>>(), [Some(1), Some(2), Some(3)]);
    for (version, step) in versions.iter().zip(1..) {
        assert!(version.is_good(), "{version:?}");
        assert_eq!(world.read(version, &["last.npy"]), Some(npy(step)));
        assert_eq!(world.read(version, &["best.npy"]), Some(npy(step)));
    }
}

/// The next save may lie there under a name that is not known to be temporary when what it replaces is about to go.
#[test]
fn what_a_version_took_before_it_got_its_name_is_a_save_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let world = open(dir.path(), Duration::from_secs(3600));
    for (name, unlinks) in [("replaced", false), ("removed", true)] {
        let (engine, run) = (&world.engine, world.mkdir(ROOT, name));
        for step in 1..=4 {
            world.save(run, "model_new.npy", &npy(step));
            if unlinks && step > 1 {
                engine.unlink(run, b"model.npy").unwrap();
            }
            let from = Place { parent: run, name: b"model_new.npy" };
            engine.rename(from, Place { parent: run, name: b"model.npy" }, Over::Replace).unwrap();
        }
        let versions = world.versions(run);
        let held: Vec<_> =
            versions.iter().map(|version| world.read(version, &["model.npy"]).unwrap()).collect();
        assert_eq!(held, (1..=4).map(npy).collect::<Vec<_>>(), "{name}");
        assert!(versions.iter().all(Version::is_good));
        assert_eq!(world.versions(run).len(), 4, "nothing is new");
    }
}

/// Who loads the folder of the highest step must not find an empty one in the version of the step before.
#[test]
fn the_folder_of_the_next_step_is_not_in_the_version_before() {
    let dir = tempfile::tempdir().unwrap();
    let world = open(dir.path(), Duration::from_secs(3600));
    let run = world.mkdir(ROOT, "run");
    for step in 1..=3 {
        let made = world.engine.mkdir(run, format!("checkpoint-{step}").as_bytes(), 0o755, ME).unwrap().ino;
        let unet = world.engine.mkdir(made, b"unet", 0o755, ME).unwrap().ino;
        world.save(unet, "a.npy", &npy(step));
    }
    let versions = world.versions(run);
    assert_eq!(versions.iter().map(|version| version.step).collect::<Vec<_>>(), [Some(1), Some(2), Some(3)]);
    let trees = crate::version::trees::Trees::new(&world.engine.packs);
    for (version, next) in versions.iter().zip(2..) {
        let next = [format!("checkpoint-{next}").into_bytes()];
        assert!(trees.walk(trees.top(&version.tree).unwrap(), &next).unwrap().is_none(), "{version:?}");
    }
}

#[test]
fn a_pipeline_of_folders_is_one_run_once_its_list_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let world = open(dir.path(), Duration::from_secs(3600));
    let run = world.mkdir(ROOT, "pipeline");
    let parts = ["unet", "vae"].map(|name| world.mkdir(run, name));
    for step in 1..=3 {
        for part in parts {
            world.save(part, "model.npy", &npy(step));
        }
        world.save(run, "model_index.json", b"{}");
    }
    let versions = world.versions(run);
    let held = |version, part| world.read(version, &[part, "model.npy"]);
    for (version, step) in versions.iter().zip(1..) {
        assert_eq!((held(version, "unet"), held(version, "vae")), (Some(npy(step)), Some(npy(step))));
    }
    assert_eq!((versions.len(), world.engine.run_at(parts[0]).is_none()), (3, true));
}
