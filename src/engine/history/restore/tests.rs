//! Versions brought back through the engine.

use std::time::Duration;

use super::super::super::world::ME;
use super::super::tests::{World, npy, open};
use super::*;
use crate::base::monitor::Silent;
use crate::catalog::keys::ROOT;
use crate::namespace::xattr::Must;

const LONG: Duration = Duration::from_secs(3600);

impl World {
    fn restored(&self, dir: Ino, number: u32, how: &How) -> Restored {
        let (run, _) = self.engine.run_at(dir).unwrap();
        self.engine.restore(run, number, how, &Silent).unwrap()
    }

    fn live(&self, dir: Ino, name: &str) -> Option<Vec<u8>> {
        let ino = self.engine.names().entry(dir, name.as_bytes()).unwrap()?.ino;
        let fh = self.engine.open(ino, libc::O_RDONLY, ME).unwrap().fh;
        let mut bytes = vec![0; self.engine.getattr(ino).unwrap().size as usize];
        assert_eq!(self.engine.read(fh, 0, &mut bytes).unwrap(), bytes.len());
        self.engine.release(fh).unwrap();
        Some(bytes)
    }
}

#[test]
fn a_file_comes_back_by_reference_with_its_attributes_and_can_be_written_again() {
    let dir = tempfile::tempdir().unwrap();
    let world = open(dir.path(), LONG);
    let run = world.mkdir(ROOT, "run");
    let model = world.save(run, "model.npy", &npy(1));
    world.engine.names().setxattr(model, b"user.step", b"7", Must::Any).unwrap();
    world.versions(run);
    world.save(run, "model.npy", &npy(2));
    world.save(run, "more.npy", &npy(3));
    world.versions(run);
    let stored = world.engine.packs.stats().stored_bytes;
    let done = world.restored(run, 1, &How::default());
    assert_eq!((done.before, done.changes.len()), (Some(3), 2));
    assert_eq!((world.live(run, "model.npy"), world.live(run, "more.npy")), (Some(npy(1)), None));
    let inode = world.engine.names().lookup(run, b"model.npy").unwrap();
    assert!(inode.content().unwrap().hot().is_none() && inode.content().unwrap().sealed().is_some());
    assert_eq!(world.engine.names().getxattr(inode.ino, b"user.step").unwrap(), b"7");
    assert!(world.engine.packs.stats().stored_bytes - stored < 2000, "the tree of the state before");
    world.save(run, "model.npy", &npy(4));
    assert_eq!(world.restored(run, 2, &How::default()).before, Some(4));
    assert_eq!((world.live(run, "model.npy"), world.live(run, "more.npy")), (Some(npy(2)), Some(npy(3))));
    let kept = world.engine.versions(world.engine.run_at(run).unwrap().0).unwrap();
    assert_eq!(world.read(&kept[3], &["model.npy"]).unwrap(), npy(4));
    drop(world);
}

#[test]
fn bytes_of_all_names_are_counted_as_if_they_had_been_saved() {
    let dir = tempfile::tempdir().unwrap();
    let world = open(dir.path(), LONG);
    let run = world.mkdir(ROOT, "run");
    world.save(run, "a.npy", &npy(1));
    world.versions(run);
    let before = world.engine.names().sealed_bytes();
    world.engine.unlink(run, b"a.npy").unwrap();
    world.restored(run, 1, &How::default());
    let (id, _) = world.engine.run_at(run).unwrap();
    world.engine.restore_beside(id, 1, &How::default(), (ROOT, b"beside"), &Silent).unwrap();
    assert_eq!(world.engine.names().sealed_bytes(), before + npy(1).len() as u64);
    let beside = world.engine.names().lookup(ROOT, b"beside").unwrap().ino;
    world.engine.unlink(beside, b"a.npy").unwrap();
    world.engine.unlink(run, b"a.npy").unwrap();
    assert_eq!(world.engine.names().sealed_bytes(), 0);
    drop(world);
}

#[test]
fn what_a_kill_left_beside_is_removed_and_a_forgotten_run_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let world = open(dir.path(), LONG);
    let run = world.mkdir(ROOT, "run");
    world.save(run, "a.npy", &npy(1));
    world.versions(run);
    let (id, _) = world.engine.run_at(run).unwrap();
    let left = world.mkdir(ROOT, ".ckptfs-restore.tmp");
    world.save(world.mkdir(left, "deep"), "half", b"x");
    world.engine.clone_run(id, 1, (ROOT, b"new"), &Silent).unwrap().unwrap();
    assert!(world.engine.names().entry(ROOT, TEMPORARY).unwrap().is_none());
    let again = world.engine.clone_run(id, 1, (ROOT, b"new"), &Silent);
    assert!(matches!(again, Err(Error::Errno(libc::EEXIST))));
    world.save(run, "a.npy", &npy(2));
    world.engine.forget_run(id).unwrap();
    let refused = world.engine.restore(id, 1, &How::default(), &Silent);
    assert!(matches!(refused, Err(Error::Errno(libc::EOPNOTSUPP))));
    assert_eq!(world.live(run, "a.npy"), Some(npy(2)));
    drop(world);
}
