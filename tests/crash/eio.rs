//! Syncs that fail: writing stops and status says why, reading goes on, nothing is tried again, and after a new start
//! nothing that was acknowledged is lost.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use ckptfs::base::fault::Sync;

use crate::content::npy;
use crate::disk::Disk;
use crate::oracle::Oracle;
use crate::stage::{ME, ROOT, Stage, names};
use crate::watch::Watch;
use crate::work::{alone, folder};
use crate::{check, common::noise};

/// Makes every sync of `kind` in the store's folder `part` fail from the time that `provoke` runs, which must meet it.
fn fails(kind: Sync, part: &'static str, provoke: impl FnOnce(&mut Stage)) {
    let (_alone, dir) = (alone(), folder());
    let store = dir.path().join("store");
    std::fs::create_dir(&store).unwrap();
    let oracle = Arc::new(Mutex::new(Oracle::new(&dir.path().join("contents"))));
    let watch = Watch::begin(Disk::new(&store), Box::new(|_, _| {}));
    let mut stage = Stage::new(&store, 1, watch.clone(), oracle.clone());
    stage.mkdir("run");
    stage.save("run/model.npy", &npy(1, 70_000), true);
    stage.settle();
    stage.build();
    stage.save("kept", b"acknowledged", true);
    stage.save("big", &noise(100_000, 1), true);
    stage.save("written", b"answered, never synced", false);

    let met = Arc::new(AtomicUsize::new(0));
    let count = met.clone();
    let folder = store.join(part);
    watch.fail(Box::new(move |sync, path: &Path| {
        let hit = sync == kind && path.starts_with(&folder);
        count.fetch_add(usize::from(hit), Ordering::Relaxed);
        hit
    }));
    provoke(&mut stage);
    let engine = stage.engine().clone();
    assert_eq!(met.load(Ordering::Relaxed), 1, "one sync has failed");
    let why = engine.report_status().unwrap().poisoned.expect("status says why");
    assert!(why.contains("sync") && why.contains(part), "{why}");
    let refused = engine.create(ROOT, b"later", 0o644, libc::O_WRONLY, ME).unwrap_err();
    assert_eq!(refused.errno(), libc::EROFS, "{refused}");
    let meta = engine.names().meta();
    let synced = engine.sync_names();
    assert!(synced.is_err() || meta.durable_seq() == meta.last_seq(), "a sync says what is not so");
    check::exactly(&engine, &oracle.lock().unwrap());
    assert_eq!(met.load(Ordering::Relaxed), 1, "it was tried again");

    drop(engine);
    stage.stop(false);
    watch.end();
    stage.start();
    check::exactly(stage.engine(), &oracle.lock().unwrap());
    stage.save("after", b"the disk is well", true);
}

/// A new file, and its fsync, which fails.
fn save_and_sync(stage: &mut Stage) {
    stage.save("new", b"new", false);
    let ino = stage.engine().names().lookup(ROOT, b"new").unwrap().ino;
    let fh = stage.engine().open(ino, libc::O_WRONLY, ME).unwrap().fh;
    assert_eq!(stage.engine().fsync(fh, false).unwrap_err().errno(), libc::EIO);
    stage.engine().release(fh).unwrap();
}

#[test]
fn a_failed_sync_of_the_journal_stops_writing() {
    fails(Sync::Data, "journal", save_and_sync);
}

#[test]
fn a_failed_sync_of_a_hot_file_stops_writing() {
    fails(Sync::All, "hot", save_and_sync);
}

#[test]
fn a_failed_sync_of_a_directory_of_hot_files_stops_writing() {
    fails(Sync::Dir, "hot", save_and_sync);
}

#[test]
fn a_failed_sync_of_a_pack_stops_writing() {
    fails(Sync::All, "packs", |stage| stage.engine().step_sealing());
}

#[test]
fn a_failed_sync_of_the_folder_of_packs_stops_writing() {
    fails(Sync::Dir, "packs", |stage| stage.engine().step_sealing());
}

#[test]
fn a_failed_sync_of_an_export_stops_writing() {
    fails(Sync::All, "journal/export.tmp", |stage| {
        let ino = stage.engine().names().lookup(ROOT, b"kept").unwrap().ino;
        let refused = (0..2000).find(|number| {
            let name = format!("name-{number}");
            let made = stage.still(|engine| engine.names().link(ino, ROOT, name.as_bytes()).is_ok());
            let gone = made && stage.still(|engine| engine.unlink(ROOT, name.as_bytes()).is_ok());
            if made && !gone {
                // Writing was stopped between the two: the first was answered.
                stage.act(names(|tree| drop(tree.insert(name, tree["kept"].clone()))), |_| ());
            }
            !gone
        });
        assert!(refused.is_some(), "no export was written");
    });
}
