//! A file that is opened for writing after a walk has read its record and before its bytes are taken.
//!
//! The walk goes on with what it read earlier, which is what another thread in between makes of it.

use std::time::Duration;

use super::super::Engine;
use super::super::world::ME;
use super::known::Known;
use super::resolve::Resolved;
use super::tests::{World, npy, open_idle};
use super::trigger::Wanted;
use super::walk::Walk;
use crate::base::Error;
use crate::catalog::keys::{Ino, ROOT};
use crate::seal::read::SealedFile;

const NAME: &[u8] = b"a.npy";

/// A store with one file, and a moment of it that no version is made of yet.
fn at_a_moment() -> (tempfile::TempDir, World, Ino) {
    let dir = tempfile::tempdir().unwrap();
    let world = open_idle(dir.path(), Duration::from_secs(3600));
    let ino = world.save(ROOT, "a.npy", &npy(1));
    begin(&world.engine);
    (dir, world, ino)
}

fn begin(engine: &Engine) {
    engine.begin_version(ROOT, Wanted { always: true, ..Wanted::by("quiet") }).unwrap().unwrap();
}

fn walk<'a>(engine: &'a Engine, known: &'a Known) -> Walk<'a> {
    let moment = engine.names().snapshots().remove(0);
    Walk::new(engine, engine.names().view(moment.id), known).unwrap()
}

/// Opens, writes in place and closes.
fn update(engine: &Engine, ino: Ino) {
    let fh = engine.open(ino, libc::O_RDWR, ME).unwrap().fh;
    engine.write(fh, 130, b"later bytes", false).unwrap();
    engine.release(fh).unwrap();
}

/// What the version would hold.
fn bytes_of(engine: &Engine, walk: Walk<'_>, file: &Resolved) -> Vec<u8> {
    walk.batch.finish().unwrap();
    let sealed = SealedFile::open(engine.packs.clone(), engine.readers.clone(), file.sealed.id).unwrap();
    let mut bytes = vec![0; usize::try_from(file.sealed.size).unwrap()];
    assert_eq!(sealed.read_at(0, &mut bytes).unwrap(), bytes.len());
    bytes
}

#[test]
fn an_update_before_a_quiet_file_is_sealed_leaves_the_version_the_bytes_of_the_moment() {
    let (_dir, world, ino) = at_a_moment();
    let (engine, known) = (&world.engine, Known::default());
    let mut walk = walk(engine, &known);
    let mut seen = walk.view.inode(ino).unwrap().unwrap();
    update(engine, ino);
    let file = walk.resolve(&mut seen, ROOT, NAME).unwrap();
    assert_eq!(bytes_of(engine, walk, &file), npy(1));
    assert!(!file.being_written);
}

#[test]
fn an_update_while_a_file_that_is_being_written_is_copied_leaves_the_version_the_bytes_of_the_moment() {
    let (_dir, world, ino) = at_a_moment();
    let (engine, known) = (&world.engine, Known::default());
    let mut walk = walk(engine, &known);
    let mut seen = walk.view.inode(ino).unwrap().unwrap();
    let hot = seen.content().unwrap().hot().unwrap();
    // Seen as being written, and about to be copied.
    update(engine, ino);
    let copied = walk.seal_copy(&seen, hot, ROOT, NAME);
    assert!(
        matches!(copied, Err(Error::Errno(libc::ESTALE))),
        "the copy has the later bytes: {:?}",
        copied.map(drop)
    );
    let file = walk.resolve(&mut seen, ROOT, NAME).unwrap();
    assert_eq!(bytes_of(engine, walk, &file), npy(1));
}
