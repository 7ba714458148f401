//! Checkpoints taken in through the engine.

use std::fs;

use rustix::fs::CWD;

use super::super::super::world;
use super::super::tests::{npy, open};
use super::*;
use crate::base::monitor::Silent;
use crate::catalog::keys::ROOT;

/// All of `folder` as one part, the last.
fn part(folder: &Path, members: &[&str]) -> Part {
    let meta = fs::metadata(folder).unwrap();
    Part {
        folder: folder.to_owned(),
        identity: (meta.dev(), meta.ino()),
        members: members
            .iter()
            .map(|path| path.split('/').map(|name| name.as_bytes().to_vec()).collect())
            .collect(),
        last: Some((Time { secs: 1_000_000, nanos: 0 }, "/old/step_1".into())),
        is_new: false,
    }
}

fn source() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("step_1/deep")).unwrap();
    fs::write(dir.path().join("step_1/model.npy"), npy(1)).unwrap();
    fs::hard_link(dir.path().join("step_1/model.npy"), dir.path().join("step_1/deep/again.npy")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", dir.path().join("step_1/link")).unwrap();
    rustix::fs::mknodat(CWD, dir.path().join("step_1/pipe"), rustix::fs::FileType::Fifo, Mode::RUSR, 0)
        .unwrap();
    dir
}

#[test]
fn a_part_comes_in_by_reference_once_and_what_differs_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (world, from) = (open(dir.path(), std::time::Duration::from_secs(3600)), source());
    let run = world.mkdir(ROOT, "run");
    world.engine.import_run(run).unwrap();
    let whole = part(from.path(), &["step_1"]);
    let taken = world.engine.import(run, &whole, &Silent).unwrap();
    assert_eq!((taken.files, &taken.skipped[..]), (2, &["step_1/pipe".to_owned()][..]));
    let version = taken.version.unwrap();
    assert_eq!((version.trigger.as_str(), version.time.0, version.step), ("import", 1_000_000, Some(1)));
    assert_eq!(version.origin, Some(Origin::Import { source: "/old/step_1".into() }));
    assert!(version.is_good() && version.new_bytes > 192, "{version:?}");
    assert_eq!(world.read(&version, &["step_1", "model.npy"]).unwrap(), npy(1));
    let names = world.engine.names();
    let step = names.lookup(run, b"step_1").unwrap().ino;
    let (model, deep) = (names.lookup(step, b"model.npy").unwrap(), names.lookup(step, b"deep").unwrap().ino);
    assert_eq!((names.lookup(deep, b"again.npy").unwrap().ino, model.nlink), (model.ino, 2));
    assert_eq!(names.readlink(names.lookup(step, b"link").unwrap().ino).unwrap(), b"/etc/passwd");

    let again = world.engine.import(run, &whole, &Silent).unwrap();
    assert_eq!((again.files, again.version), (0, None));
    // Killed after the names, before the version: it is made now.
    fs::write(from.path().join("step_1/more.npy"), npy(2)).unwrap();
    let unfinished = Part { last: None, ..whole.clone() };
    assert_eq!(world.engine.import(run, &unfinished, &Silent).unwrap().files, 1);
    assert_eq!(world.engine.import(run, &whole, &Silent).unwrap().version.unwrap().number, 2);
    fs::write(from.path().join("step_1/more.npy"), [npy(3), npy(3)].concat()).unwrap();
    let said = world.engine.import(run, &whole, &Silent).unwrap_err().to_string();
    assert!(said.contains("step_1/more.npy") && said.contains("differs"), "{said}");
    let elsewhere = Part { identity: (1, 2), ..whole };
    let said = world.engine.import(run, &elsewhere, &Silent).unwrap_err().to_string();
    assert!(said.contains("another folder"), "{said}");
    drop(world);
}

#[test]
fn a_disk_that_is_nearly_full_stops_an_import_before_anything_has_a_name() {
    let dir = tempfile::tempdir().unwrap();
    let (world, from) = (world::open_with(dir.path(), world::options(1 << 60)), source());
    world.engine.import_run(ROOT).unwrap();
    let said = world.engine.import(ROOT, &part(from.path(), &["step_1"]), &Silent).unwrap_err().to_string();
    assert!(said.contains("nearly full"), "{said}");
    assert!(world.engine.names().entry(ROOT, b"step_1").unwrap().is_none());
    drop(world.workers);
}

#[test]
fn a_link_on_the_way_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let (world, from) = (open(dir.path(), std::time::Duration::from_secs(3600)), source());
    let other = source();
    std::os::unix::fs::symlink(other.path(), from.path().join("way")).unwrap();
    world.engine.import_run(ROOT).unwrap();
    assert!(world.engine.import(ROOT, &part(from.path(), &["way/step_1/model.npy"]), &Silent).is_err());
    assert!(world.engine.names().entry(ROOT, b"way").unwrap().is_none());
    drop(world);
}

#[test]
fn a_file_that_is_being_written_is_not_taken_in() {
    use std::io::Write;
    use std::sync::atomic::{AtomicBool, Ordering};
    let dir = tempfile::tempdir().unwrap();
    let (world, from) = (open(dir.path(), std::time::Duration::from_secs(3600)), source());
    let path = from.path().join("step_1/model.npy");
    fs::write(&path, vec![7; 4 << 20]).unwrap();
    let whole = part(from.path(), &["step_1/model.npy"]);
    let done = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
            while !done.load(Ordering::Relaxed) {
                file.write_all(b"more").unwrap();
            }
        });
        // Now and then nothing is written for as long as it takes.
        let refused = (0..200).find_map(|n| {
            let run = world.mkdir(ROOT, &format!("run{n}"));
            world.engine.import_run(run).unwrap();
            let refused = world.engine.import(run, &whole, &Silent).err().map(|error| error.to_string());
            refused.inspect(|_| assert!(world.engine.names().entry(run, b"step_1").unwrap().is_none()))
        });
        done.store(true, Ordering::Relaxed);
        let refused = refused.unwrap();
        assert!(refused.contains("model.npy changed while"), "{refused}");
    });
}
