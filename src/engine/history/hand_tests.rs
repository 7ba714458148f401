//! Tags, pins, taking back, purging and runs by hand, through the engine.

use std::time::Duration;

use super::super::tests::{World, npy, open, open_idle};
use super::*;
use crate::catalog::keys::ROOT;

const NEVER: Duration = Duration::from_secs(3600);

/// A run with versions 1 to `count`.
fn with_versions(dir: &std::path::Path, count: u8) -> (World, RunId) {
    let world = open(dir, NEVER);
    for stamp in 1..=count {
        world.save(ROOT, "a.npy", &npy(stamp));
        world.engine.snapshot_now(ROOT, "snapshot", None).unwrap();
    }
    let (run, _) = world.engine.run_at(ROOT).unwrap();
    (world, run)
}

fn said<T: std::fmt::Debug>(done: Result<T>) -> String {
    done.unwrap_err().to_string()
}

#[test]
fn tags_that_would_mean_something_else_are_refused() {
    for tag in [
        "",
        "a/b",
        "42",
        "latest",
        "newest",
        "best",
        "at",
        "by-time",
        ".files",
        ".",
        "a\nb",
        &"x".repeat(256),
    ] {
        assert!(check_tag(tag).is_err(), "{tag:?}");
    }
    for tag in ["release-1", "v2", "42b", "größer", "by-hand", &"x".repeat(255)] {
        assert_eq!(check_tag(tag), Ok(()), "{tag:?}");
    }
}

#[test]
fn a_tag_has_one_version_and_holds_it_until_it_is_taken_off() {
    let dir = tempfile::tempdir().unwrap();
    let (world, run) = with_versions(dir.path(), 3);
    let engine = &world.engine;
    assert_eq!(engine.tag_version(run, 1, "good").unwrap().tags, ["good"]);
    engine.tag_version(run, 1, "good").unwrap();
    assert!(said(engine.tag_version(run, 2, "good")).contains("version 000001 has the tag 'good'"));
    assert!(said(engine.remove_version(run, 1)).contains("ckptfs untag good"));
    engine.pin_version(run, 1, true).unwrap();
    engine.untag_version(run, "good").unwrap();
    assert!(said(engine.untag_version(run, "good")).contains("no version has the tag"));
    assert!(said(engine.remove_version(run, 1)).contains("ckptfs unpin 1"));
    engine.pin_version(run, 1, false).unwrap();
    engine.hold_version(run, 1);
    assert!(said(engine.remove_version(run, 1)).contains("being read"));
    engine.let_go_version(run, 1);
    engine.remove_version(run, 1).unwrap();
    assert!(matches!(engine.remove_version(run, 1), Err(Error::Errno(libc::ENOENT))));
    assert!(said(engine.tag_version(run, 1, "late")).contains("ckptfs undelete 1"));
}

#[test]
fn what_was_removed_by_hand_comes_back_for_a_while_and_nothing_else_does() {
    let dir = tempfile::tempdir().unwrap();
    let (world, run) = with_versions(dir.path(), 3);
    let engine = &world.engine;
    assert!(said(engine.undelete_version(run, 1)).contains("is not removed"));
    engine.remove_version(run, 1).unwrap();
    assert_eq!(engine.versions(run).unwrap().len(), 2);
    engine.undelete_version(run, 1).unwrap();
    assert_eq!(engine.versions(run).unwrap().len(), 3);
    engine.expire_version(run, 2, false, "by a rule").unwrap();
    assert!(said(engine.undelete_version(run, 2)).contains("by a rule"));
    engine.remove_version(run, 1).unwrap();
    engine.set_policy("undelete_ttl", "off").unwrap();
    assert!(said(engine.undelete_version(run, 1)).contains("undelete_ttl"));
}

#[test]
fn a_purge_ends_what_nobody_holds_and_with_all_what_is_tagged_too() {
    let dir = tempfile::tempdir().unwrap();
    let (world, run) = with_versions(dir.path(), 4);
    let engine = &world.engine;
    engine.tag_version(run, 1, "good").unwrap();
    engine.pin_version(run, 2, true).unwrap();
    engine.remove_version(run, 3).unwrap();
    let purged = engine.purge_run(run, false).unwrap();
    assert_eq!(purged.gone, [3, 4]);
    assert_eq!(purged.kept, [(1, "tagged 'good'".to_owned()), (2, "pinned".to_owned())]);
    assert!(said(engine.undelete_version(run, 3)).contains("purged"));
    engine.hold_version(run, 2);
    assert_eq!(engine.purge_run(run, true).unwrap().kept, [(2, "being read".to_owned())]);
    engine.let_go_version(run, 2);
    engine.purge_run(run, true).unwrap();
    assert!(engine.versions(run).unwrap().is_empty());
}

#[test]
fn a_forgotten_run_makes_no_versions_until_it_is_added_again_and_settings_survive() {
    let dir = tempfile::tempdir().unwrap();
    let (world, run) = with_versions(dir.path(), 1);
    let engine = &world.engine;
    engine.change_run(run, |run| run.settings.set("max_to_keep", "2").unwrap()).unwrap();
    engine.forget_run(run).unwrap();
    world.save(ROOT, "a.npy", &npy(9));
    assert_eq!(world.versions(ROOT).len(), 1);
    assert!(engine.snapshot_now(ROOT, "snapshot", None).is_err());
    engine.add_run(ROOT).unwrap();
    for stamp in 10..14 {
        world.save(ROOT, "a.npy", &npy(stamp));
        engine.snapshot_now(ROOT, "snapshot", None).unwrap();
    }
    let mut left = 0;
    for _ in 0..100 {
        left = engine.versions(run).unwrap().len();
        if left == 2 {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(left, 2, "the run's own max_to_keep");
}

#[test]
fn a_directory_inside_a_run_means_that_run_and_one_checkpoint_means_what_holds_it() {
    let dir = tempfile::tempdir().unwrap();
    let world = open(dir.path(), NEVER);
    let exp = world.mkdir(ROOT, "exp");
    let step = world.mkdir(exp, "checkpoint-500");
    assert_eq!(world.engine.run_dir_meant(step).unwrap(), exp);
    let logs = world.mkdir(exp, "logs");
    assert_eq!(world.engine.run_dir_meant(logs).unwrap(), logs);
    world.engine.add_run(exp).unwrap();
    assert_eq!(world.engine.run_dir_meant(logs).unwrap(), exp);
}

#[test]
fn who_waits_for_a_version_is_told_when_none_can_be_made_any_more() {
    let dir = tempfile::tempdir().unwrap();
    let world = open_idle(dir.path(), NEVER);
    world.save(ROOT, "a.npy", &npy(1));
    let engine = world.engine.clone();
    let waiting = std::thread::spawn(move || engine.snapshot_now(ROOT, "snapshot", None).map(drop));
    while world.engine.names().snapshots().is_empty() {
        std::thread::sleep(Duration::from_millis(5));
    }
    world.engine.poison(&Error::Refused("the versions thread died".into()));
    assert!(matches!(waiting.join().unwrap(), Err(Error::Poisoned(_))));
}

#[test]
fn who_waits_for_a_version_is_told_when_making_it_fails_and_it_is_made_later() {
    let dir = tempfile::tempdir().unwrap();
    let world = open(dir.path(), NEVER);
    world.save(ROOT, "a.npy", &npy(1));
    let packs = dir.path().join("packs");
    let aside = dir.path().join("aside");
    std::fs::rename(&packs, &aside).unwrap();
    std::fs::write(&packs, b"").unwrap();
    let told = world.engine.snapshot_now(ROOT, "snapshot", Some("mine".into())).map(drop).unwrap_err();
    assert_eq!(told.errno(), libc::EIO);
    std::fs::remove_file(&packs).unwrap();
    std::fs::rename(&aside, &packs).unwrap();
    let next = world.engine.snapshot_now(ROOT, "snapshot", None).unwrap().1;
    let versions = world.versions(ROOT);
    assert_eq!(versions[0].tags, ["mine"]);
    assert_eq!((versions.len(), versions[1].number), (2, next.number));
}
