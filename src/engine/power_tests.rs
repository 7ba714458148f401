//! Power cuts as the engine sees them: another boot, and hot files that never reached the disk.
//!
//! What was answered but not synced may be lost, whole; what was durable stays; no byte is made up.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::shutdown::End;
use super::workers::Workers;
use super::{Engine, Options};
use crate::base::monitor::Silent;
use crate::catalog::keys::{HotState, Ino, ROOT};
use crate::catalog::records::Content;
use crate::namespace::Caller;
use crate::namespace::rename::{Over, Place};

const ME: Caller = Caller { uid: 0, gid: 0 };
const KEEP_ALL: u64 = 1 << 40;

/// A store in a folder, on a machine that can be booted again.
struct Machine {
    dir: tempfile::TempDir,
    boot: u8,
    hot_cache_bytes: u64,
}

impl Machine {
    fn new(hot_cache_bytes: u64) -> Machine {
        let dir = tempfile::tempdir().unwrap();
        for folder in ["journal", "packs", "index", "hot"] {
            fs::create_dir(dir.path().join(folder)).unwrap();
        }
        Machine { dir, boot: 1, hot_cache_bytes }
    }

    fn start(&self) -> Arc<Engine> {
        let meta = crate::meta::Options { boot: Some([self.boot; 16]), ..Default::default() };
        let options = Options {
            settle: Duration::ZERO,
            hot_cache_bytes: self.hot_cache_bytes,
            cache_bytes: 8 << 20,
            threads: 1,
            hydrate_threads: 1,
            scrub_rate: 0,
            history: super::history::HistoryOptions::default(),
            hot: None,
            meta,
        };
        Engine::start(self.dir.path(), options, ME, &Silent).unwrap()
    }

    /// The power goes; these files were only in the page cache.
    fn cut(&mut self, engine: Arc<Engine>, lost: &[&Path]) -> Arc<Engine> {
        drop(engine);
        lost.iter().for_each(|path| fs::remove_file(path).unwrap());
        self.boot += 1;
        self.start()
    }
}

fn save(engine: &Engine, name: &str, bytes: &[u8], sync: bool) -> Ino {
    let (attr, opened) = engine.create(ROOT, name.as_bytes(), 0o644, libc::O_WRONLY, ME).unwrap();
    engine.write(opened.fh, 0, bytes, false).unwrap();
    if sync {
        engine.fsync(opened.fh, false).unwrap();
    }
    engine.release(opened.fh).unwrap();
    attr.inode.ino
}

fn load(engine: &Engine, name: &str) -> Option<Vec<u8>> {
    let inode = engine.ns.lookup(ROOT, name.as_bytes()).ok()?;
    let size = engine.getattr(inode.ino).unwrap().size;
    let opened = engine.open(inode.ino, libc::O_RDONLY, ME).unwrap();
    let mut bytes = vec![0; usize::try_from(size).unwrap() + 1];
    let read = engine.read(opened.fh, 0, &mut bytes).unwrap();
    bytes.truncate(read);
    engine.release(opened.fh).unwrap();
    Some(bytes)
}

fn rename(engine: &Engine, from: &str, to: &str) {
    let place = |name: &'static str| Place { parent: ROOT, name: name.as_bytes() };
    let leak = |name: &str| -> &'static str { Box::leak(name.to_owned().into_boxed_str()) };
    engine.ns.rename(place(leak(from)), place(leak(to)), Over::Replace).unwrap();
}

fn seal(engine: &Arc<Engine>) {
    let workers = Workers::start(engine).unwrap();
    engine.seal_all(&Silent).unwrap();
    workers.stop();
}

fn floats(seed: u32) -> Vec<u8> {
    (0..1u32 << 18).flat_map(|i| i.wrapping_mul(2_654_435_761).wrapping_add(seed).to_le_bytes()).collect()
}

fn hot_path(engine: &Engine, ino: Ino) -> std::path::PathBuf {
    let inode = engine.ns.inode(ino).unwrap();
    engine.hot.path(inode.content().unwrap().hot().unwrap())
}

#[test]
fn a_sealed_file_is_whole_though_its_hot_copy_never_reached_the_disk() {
    let mut machine = Machine::new(KEEP_ALL);
    let engine = machine.start();
    let ino = save(&engine, "model.pt", &floats(1), false);
    seal(&engine);
    assert!(matches!(engine.ns.inode(ino).unwrap().content(), Some(Content::Both(..))));
    engine.sync_names().unwrap();
    let copy = hot_path(&engine, ino);
    let engine = machine.cut(engine, &[&copy]);
    assert_eq!(load(&engine, "model.pt").unwrap(), floats(1));
}

#[test]
fn opening_a_sealed_file_for_update_does_not_risk_its_bytes() {
    let mut machine = Machine::new(0);
    let engine = machine.start();
    let ino = save(&engine, "model.pt", &floats(1), false);
    seal(&engine);
    engine.sync_names().unwrap();
    let opened = engine.open(ino, libc::O_RDWR, ME).unwrap();
    engine.release(opened.fh).unwrap();
    engine.sync_names().unwrap();
    // Whatever is durable now is all that is left: the hydrated file is, so nothing can be taken away.
    let engine = machine.cut(engine, &[]);
    assert_eq!(load(&engine, "model.pt").unwrap(), floats(1));
    assert!(!engine.hot.is_new(engine.ns.inode(ino).unwrap().content().unwrap().hot().unwrap()));
}

#[test]
fn opening_a_durable_file_for_update_does_not_risk_its_bytes_while_a_version_is_made_of_it() {
    let mut machine = Machine::new(0);
    let engine = machine.start();
    let ino = save(&engine, "model.pt", &floats(1), true);
    engine.ns.begin_snapshot(ROOT, Vec::new()).unwrap();
    let opened = engine.open(ino, libc::O_RDWR, ME).unwrap();
    engine.release(opened.fh).unwrap();
    engine.sync_names().unwrap();
    let hot = engine.ns.inode(ino).unwrap().content().unwrap().hot().unwrap();
    let never_synced = engine.hot.is_new(hot).then(|| engine.hot.path(hot));
    let lost: Vec<&Path> = never_synced.iter().map(|path| path.as_path()).collect();
    let engine = machine.cut(engine, &lost);
    assert_eq!(load(&engine, "model.pt").unwrap(), floats(1));
}

#[test]
fn a_kill_while_a_power_cut_is_recovered_does_not_hide_the_cut() {
    let mut machine = Machine::new(KEEP_ALL);
    let engine = machine.start();
    let sealed = save(&engine, "model.pt", &floats(1), false);
    seal(&engine);
    let lost = save(&engine, "log", b"never synced", false);
    engine.ns.meta().sync().unwrap();
    let (copy, lost) = (hot_path(&engine, sealed), hot_path(&engine, lost));
    drop(engine);
    // The cut tears the hot copy of what is sealed, and the next daemon is killed before it has looked at hot files.
    fs::write(&copy, b"torn").unwrap();
    fs::remove_file(lost).unwrap();
    machine.boot += 1;
    let (journal, catalog) = (machine.dir.path().join("journal"), machine.dir.path().join("catalog"));
    let options = crate::meta::Options { boot: Some([machine.boot; 16]), ..Default::default() };
    drop(crate::meta::Meta::open(&journal, &catalog, options, &Silent).unwrap());
    let engine = machine.start();
    assert_eq!(load(&engine, "model.pt").unwrap(), floats(1));
    assert_eq!(load(&engine, "log").unwrap(), b"");
    assert!(engine.report_status().unwrap().faults.is_empty());
    // It is over: a kill from here on is a kill.
    drop(engine);
    assert!(!journal.join("power_cut").exists());
    assert_eq!(load(&machine.start(), "model.pt").unwrap(), floats(1));
}

#[test]
fn a_replaced_name_holds_the_old_bytes_when_the_new_ones_are_lost() {
    let mut machine = Machine::new(0);
    let engine = machine.start();
    save(&engine, "ckpt", b"old", true);
    let new = save(&engine, "ckpt.tmp", b"new", false);
    rename(&engine, "ckpt.tmp", "ckpt");
    // The journal reached the disk by itself, the bytes of the new file did not.
    engine.ns.meta().sync().unwrap();
    let lost = hot_path(&engine, new);
    let engine = machine.cut(engine, &[&lost]);
    assert_eq!(load(&engine, "ckpt").unwrap(), b"old");
}

#[test]
fn a_replaced_name_holds_the_new_bytes_once_names_were_synced() {
    let mut machine = Machine::new(0);
    let engine = machine.start();
    save(&engine, "ckpt", b"old", true);
    save(&engine, "ckpt.tmp", b"new", false);
    rename(&engine, "ckpt.tmp", "ckpt");
    engine.sync_names().unwrap();
    let engine = machine.cut(engine, &[]);
    assert_eq!(load(&engine, "ckpt").unwrap(), b"new");
    assert_eq!(load(&engine, "ckpt.tmp"), None);
}

#[test]
fn replacements_that_were_renamed_on_are_taken_back_to_the_first() {
    let mut machine = Machine::new(0);
    let engine = machine.start();
    save(&engine, "ckpt", b"old", true);
    let mut lost = Vec::new();
    for n in 0..3 {
        let new = save(&engine, "ckpt.tmp", format!("new {n}").as_bytes(), false);
        rename(&engine, "ckpt.tmp", "ckpt");
        lost.push(hot_path(&engine, new));
    }
    rename(&engine, "ckpt", "best");
    engine.ns.meta().sync().unwrap();
    let lost: Vec<&Path> = lost.iter().map(|path| path.as_path()).collect();
    let engine = machine.cut(engine, &lost);
    assert_eq!(load(&engine, "ckpt").unwrap(), b"old");
    assert_eq!(load(&engine, "best"), None);
}

#[test]
fn a_small_file_that_grew_is_sealed_after_a_clean_end_too() {
    let machine = Machine::new(KEEP_ALL);
    let engine = machine.start();
    let ino = save(&engine, "log", b"small", false);
    seal(&engine);
    let opened = engine.open(ino, libc::O_WRONLY, ME).unwrap();
    engine.write(opened.fh, 0, &floats(1), false).unwrap();
    engine.release(opened.fh).unwrap();
    let idle = Workers::none(&engine);
    engine.shut_down(&idle, End::Unused).unwrap();
    drop((idle, engine));
    let engine = machine.start();
    seal(&engine);
    assert!(matches!(engine.ns.inode(ino).unwrap().content(), Some(Content::Both(..))));
}

#[test]
fn what_replaced_something_leaves_neither_ghosts_nor_orphans_nor_hot_files() {
    let machine = Machine::new(0);
    let engine = machine.start();
    save(&engine, "a", b"x", false);
    engine.ns.symlink(ROOT, b"latest", b"1", ME).unwrap();
    for _ in 0..10 {
        let old = engine.ns.lookup(ROOT, b"a").unwrap().ino;
        save(&engine, "b", b"y", false);
        rename(&engine, "b", "a");
        engine.forget(old);
        engine.ns.symlink(ROOT, b"tmp", b"2", ME).unwrap();
        rename(&engine, "tmp", "latest");
        engine.sync_names().unwrap();
    }
    assert!(engine.ns.orphans().unwrap().is_empty());
    assert_eq!(engine.ns.ghosts(), 0);
    save(&engine, "b", b"y", false);
    rename(&engine, "b", "a");
    let workers = Workers::start(&engine).unwrap();
    engine.shut_down(&workers, End::Unused).unwrap();
    drop((workers, engine));
    let engine = machine.start();
    let named: usize = HotState::ALL.iter().map(|state| engine.ns.hot_files(*state).unwrap().len()).sum();
    assert_eq!(engine.hot.list().unwrap().len(), named);
}

/// What a power cut leaves of a replacement whose record reached the disk and whose barrier did not.
fn cut_after(machine: &mut Machine, engine: Arc<Engine>, lost: &[Ino]) -> Arc<Engine> {
    engine.ns.meta().sync().unwrap();
    let lost: Vec<_> = lost.iter().map(|ino| hot_path(&engine, *ino)).collect();
    machine.cut(engine, &lost.iter().map(|path| path.as_path()).collect::<Vec<_>>())
}

#[test]
fn a_synced_file_outlives_a_replacement_that_is_taken_back_when_its_old_name_is_used_again() {
    let mut machine = Machine::new(0);
    let engine = machine.start();
    save(&engine, "ckpt", b"old", true);
    save(&engine, "ckpt.tmp", b"new", true);
    rename(&engine, "ckpt.tmp", "ckpt");
    save(&engine, "ckpt.tmp", b"next", false);
    let engine = cut_after(&mut machine, engine, &[]);
    assert_eq!(load(&engine, "ckpt").unwrap(), b"old");
    assert_eq!(load(&engine, "ckpt.tmp").unwrap(), b"next");
    assert_eq!(load(&engine, "ckpt.tmp.power-cut-1").unwrap(), b"new");
}

#[test]
fn a_synced_file_outlives_a_replacement_that_is_taken_back_when_its_directory_is_gone() {
    let mut machine = Machine::new(0);
    let engine = machine.start();
    save(&engine, "best", b"old", true);
    let dir = engine.ns.mkdir(ROOT, b"run", 0o755, ME).unwrap().ino;
    save(&engine, "last", b"new", true);
    let (last, inside) = (Place { parent: ROOT, name: b"last" }, Place { parent: dir, name: b"last" });
    engine.rename(last, inside, Over::Replace).unwrap();
    engine.rename(inside, Place { parent: ROOT, name: b"best" }, Over::Replace).unwrap();
    engine.ns.rmdir(ROOT, b"run").unwrap();
    let engine = cut_after(&mut machine, engine, &[]);
    assert_eq!(load(&engine, "best").unwrap(), b"old");
    assert_eq!(load(&engine, "last.power-cut-1").unwrap(), b"new");
}

#[test]
fn a_replaced_file_is_there_for_taking_back_though_its_other_name_was_removed() {
    let mut machine = Machine::new(0);
    let engine = machine.start();
    let old = save(&engine, "ckpt", b"old", true);
    engine.ns.link(old, ROOT, b"bak").unwrap();
    let new = save(&engine, "ckpt.tmp", b"new", false);
    rename(&engine, "ckpt.tmp", "ckpt");
    engine.unlink(ROOT, b"bak").unwrap();
    let engine = cut_after(&mut machine, engine, &[new]);
    assert_eq!(load(&engine, "ckpt").unwrap(), b"old");
    assert!(engine.ns.orphans().unwrap().is_empty());
}

#[test]
fn a_replaced_file_with_another_name_leaves_nothing_behind_once_that_is_removed() {
    let machine = Machine::new(0);
    let engine = machine.start();
    let old = save(&engine, "ckpt", b"old", true);
    engine.ns.link(old, ROOT, b"bak").unwrap();
    save(&engine, "ckpt.tmp", b"new", false);
    rename(&engine, "ckpt.tmp", "ckpt");
    engine.unlink(ROOT, b"bak").unwrap();
    engine.sync_names().unwrap();
    assert!(engine.ns.orphans().unwrap().is_empty());
    assert!(engine.ns.find(old).unwrap().is_none());
}

#[test]
fn what_replaced_something_is_taken_back_with_a_name_that_it_got_since() {
    let mut machine = Machine::new(0);
    let engine = machine.start();
    save(&engine, "ckpt", b"old", true);
    let new = save(&engine, "ckpt.tmp", b"new", false);
    rename(&engine, "ckpt.tmp", "ckpt");
    engine.ns.link(new, ROOT, b"keep").unwrap();
    engine.unlink(ROOT, b"ckpt").unwrap();
    let engine = cut_after(&mut machine, engine, &[new]);
    assert_eq!(load(&engine, "ckpt").unwrap(), b"old");
    assert_eq!(load(&engine, "keep"), None);
    assert_eq!(engine.ns.lookup(ROOT, b"ckpt.tmp").unwrap().nlink, 1);
}

#[test]
fn what_replaced_something_is_durable_before_it_changes_places_with_another() {
    for (over, kind) in [(Over::Exchange, "file"), (Over::Replace, "link")] {
        let mut machine = Machine::new(0);
        let engine = machine.start();
        save(&engine, "a", b"old a", true);
        match kind {
            "file" => drop(save(&engine, "b", b"b", true)),
            _ => drop(engine.ns.symlink(ROOT, b"b", b"a", ME).unwrap()),
        }
        let new = save(&engine, "tmp", b"new", false);
        rename(&engine, "tmp", "a");
        assert!(engine.hot.is_new(engine.ns.inode(new).unwrap().content().unwrap().hot().unwrap()));
        let place = |name| Place { parent: ROOT, name };
        engine.rename(place(b"a"), place(b"b"), over).unwrap();
        // What could be lost of it is not to be lost any more.
        let hot = engine.ns.inode(new).unwrap().content().unwrap().hot().unwrap();
        assert!(!engine.hot.is_new(hot), "{kind}");
        let engine = cut_after(&mut machine, engine, &[]);
        assert_eq!(load(&engine, "b").unwrap(), b"new", "{kind}");
    }
}

#[test]
fn the_mark_of_a_small_file_whose_bytes_a_power_cut_took_is_no_damage() {
    let mut machine = Machine::new(0);
    let engine = machine.start();
    let ino = save(&engine, "log", b"first\n", true);
    // What is on the disk is the first line; what came to rest, and was marked, had one more.
    let hot = engine.ns.inode(ino).unwrap().content().unwrap().hot().unwrap();
    let ctime = engine.hot.attr(hot).unwrap().ctime;
    let hash = crate::content::hash::chunk_id(b"first\nsecond\n");
    engine.ns.settle_small(ino, hot, &crate::catalog::records::HotMark { ctime, hash }).unwrap();
    engine.sync_names().unwrap();
    // At any other time it is.
    drop(engine);
    let engine = machine.start();
    assert_eq!(engine.open(ino, libc::O_RDONLY, ME).unwrap_err().errno(), libc::EIO);
    let engine = machine.cut(engine, &[]);
    assert_eq!(load(&engine, "log").unwrap(), b"first\n");
    // Nor is it after the next kill.
    drop(engine);
    assert_eq!(load(&machine.start(), "log").unwrap(), b"first\n");
}
