//! The virtual directories through the engine: what is found, what is refused, and what the kernel's counts do.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::super::super::workers::Workers;
use super::super::super::{Engine, Options};
use super::super::HistoryOptions;
use super::*;
use crate::base::monitor::Silent;
use crate::catalog::keys::ROOT;
use crate::namespace::Caller;

const ME: Caller = Caller { uid: 0, gid: 0 };
const OTHER: Caller = Caller { uid: 1000, gid: 1000 };

struct World {
    browser: Browser,
    engine: Arc<Engine>,
    _workers: Workers,
}

fn open_with(dir: &Path, history: HistoryOptions) -> World {
    let options = Options {
        settle: Duration::from_secs(3600),
        hot_cache_bytes: 0,
        cache_bytes: 16 << 20,
        threads: 1,
        hydrate_threads: 1,
        scrub_rate: 0,
        hot: None,
        meta: crate::meta::Options::default(),
        history: HistoryOptions { settle: Duration::from_secs(3600), ..history },
    };
    let engine = Engine::start(dir, options, ME, &Silent).unwrap();
    World { browser: Browser::new(engine.clone()), _workers: Workers::start(&engine).unwrap(), engine }
}

fn open(dir: &Path) -> World {
    open_with(dir, HistoryOptions::default())
}

impl World {
    fn mkdir(&self, parent: Ino, name: &str) -> Ino {
        self.engine.names().mkdir(parent, name.as_bytes(), 0o755, ME).unwrap().ino
    }

    fn save(&self, dir: Ino, name: &str, bytes: &[u8]) {
        let made = self.engine.create(dir, name.as_bytes(), 0o644, libc::O_WRONLY, ME);
        let fh = match made {
            Ok((_, opened)) => opened.fh,
            Err(_) => {
                let ino = self.engine.names().lookup(dir, name.as_bytes()).unwrap().ino;
                self.engine.open(ino, libc::O_WRONLY | libc::O_TRUNC, ME).unwrap().fh
            }
        };
        self.engine.write(fh, 0, bytes, false).unwrap();
        self.engine.release(fh).unwrap();
    }

    fn home(&self, dir: Ino) -> Ino {
        self.browser.snapdir(dir).unwrap().attr.inode.ino
    }

    /// Walks from the virtual directory of `dir`.
    fn find(&self, dir: Ino, path: &str) -> Result<Ino> {
        let mut at = self.browser.snapdir(dir)?.attr.inode.ino;
        for name in path.split('/') {
            let found = self.browser.lookup(at, name.as_bytes())?;
            at = found.ok_or(Error::Errno(libc::ENOENT))?.attr.inode.ino;
        }
        Ok(at)
    }

    fn link(&self, dir: Ino, path: &str) -> Option<String> {
        let ino = self.find(dir, path).ok()?;
        Some(String::from_utf8(self.browser.readlink(ino).unwrap()).unwrap())
    }

    fn list(&self, ino: Ino) -> Vec<String> {
        let fh = self.browser.opendir(ino).unwrap();
        let mut names = Vec::new();
        let listed = self.browser.list(ino, fh, 2, &mut |entry| {
            names.push(String::from_utf8_lossy(&entry.name).into_owned());
            Ok(false)
        });
        listed.unwrap();
        self.browser.closedir(fh);
        names
    }

    fn read(&self, ino: Ino) -> Vec<u8> {
        let (fh, file) = self.browser.open(ino, libc::O_RDONLY).unwrap();
        let OpenFile::Sealed(sealed) = file else { panic!("a content") };
        let mut bytes = vec![0; sealed.size() as usize];
        sealed.read_at(0, &mut bytes).unwrap();
        self.browser.close(fh).unwrap();
        bytes
    }

    fn errno<T>(&self, done: Result<T>) -> i32 {
        done.err().map_or(0, |error| error.errno())
    }

    fn change(&self, run: RunId, number: u32, change: impl FnOnce(&mut crate::version::record::Version)) {
        let changed = self.engine.change_version(run, number, |version| {
            change(version);
            Ok(())
        });
        changed.unwrap();
    }
}

#[test]
fn a_number_that_was_never_handed_out_or_was_given_back_is_stale() {
    let dir = tempfile::tempdir().unwrap();
    let world = open(dir.path());
    world.save(ROOT, "a", b"1");
    let v = world.browser.mkdir(world.home(ROOT), b"v", ME).unwrap().attr.inode.ino;
    let a = world.browser.lookup(v, b"a").unwrap().unwrap().attr.inode.ino;
    assert_eq!(world.read(a), b"1");
    world.browser.forget(a, 1);
    let stale = [
        world.errno(world.browser.getattr(a)),
        world.errno(world.browser.open(a, libc::O_RDONLY)),
        world.errno(world.browser.lookup(1 << 63, b"a")),
        world.errno(world.browser.opendir(a)),
        world.errno(world.browser.rmdir(a, b"v", ME)),
    ];
    assert_eq!(stale, [libc::ESTALE; 5]);
    world.browser.forget(v, 1);
    world.browser.forget(world.home(ROOT), 2);
    assert_eq!(world.browser.table.len(), 0, "nothing is left of what the kernel forgot");
}

#[test]
fn links_follow_what_is_recorded_of_versions() {
    let dir = tempfile::tempdir().unwrap();
    let world = open(dir.path());
    let run = world.mkdir(ROOT, "run");
    for (n, tag) in [(1, "a"), (2, "b"), (3, "c")] {
        world.save(run, "f", &[n]);
        world.browser.mkdir(world.home(run), tag.as_bytes(), ME).unwrap();
    }
    let (id, _) = world.engine.run_at(run).unwrap();
    for (number, loss) in [(1, 0.5), (2, 0.1), (3, 0.3)] {
        world.change(id, number, |version| {
            version.step = Some(u64::from(number / 2));
            version.metrics.insert("val_loss".into(), loss);
            version.time = (i64::from(number / 3), number);
        });
    }
    assert_eq!(world.link(run, "best"), None, "there is nothing to go by");
    world.engine.set_policy("monitor", "val_loss").unwrap();
    assert_eq!(world.link(run, "best").as_deref(), Some("000002"));
    assert_eq!(world.link(run, "latest").as_deref(), Some("000003"));
    let latest = world.find(run, "latest").unwrap();
    world.change(id, 3, |version| version.valid = false);
    assert_eq!(world.link(run, "latest").as_deref(), Some("000002"), "the newest to resume from");
    assert_ne!(world.find(run, "latest").unwrap(), latest, "another target is another link");
    assert_eq!(world.link(run, "newest").as_deref(), Some("000003"));
    assert_eq!(world.link(run, "by-step/0").as_deref(), Some("../000001"));
    assert_eq!(world.link(run, "by-step/1").as_deref(), Some("../000002"), "a good one goes before a newer");
    assert_eq!(world.link(run, "by-step/2"), None);
    let times = world.list(world.find(run, "by-time").unwrap());
    let wanted = ["1970-01-01T00-00-00.000000001Z", "1970-01-01T00-00-00Z", "1970-01-01T00-00-01Z"];
    assert_eq!(times, wanted, "two of one second are told apart");
    for (time, target) in wanted.iter().zip(["000001", "000002", "000003"]) {
        assert_eq!(world.link(run, &format!("by-time/{time}")), Some(format!("../{target}")));
        assert_eq!(world.link(run, &format!("at/{time}")), Some(format!("../{target}")));
    }
    assert_eq!(world.link(run, "at/1970-01-01").as_deref(), Some("../000003"));
    assert_eq!(world.link(run, "at/1969-12-31"), None);
}

#[test]
fn a_version_that_the_policy_ends_is_kept_for_those_who_read_it_and_for_no_others() {
    let dir = tempfile::tempdir().unwrap();
    let world = open(dir.path());
    world.save(ROOT, "f", b"old");
    world.browser.mkdir(world.home(ROOT), b"v", ME).unwrap();
    world.browser.rmdir(world.home(ROOT), b"v", ME).unwrap();
    let (id, _) = world.engine.run_at(ROOT).unwrap();
    let file = world.find(ROOT, "000001/f").unwrap();
    let folder = world.find(ROOT, "000001").unwrap();
    world.engine.set_policy("max_to_keep", "1").unwrap();
    let (fh, _) = world.browser.open(file, libc::O_RDONLY).unwrap();
    let listing = world.browser.opendir(folder).unwrap();
    world.save(ROOT, "f", b"new");
    world.browser.mkdir(world.home(ROOT), b"w", ME).unwrap();
    let kept = |world: &World| {
        world.engine.retain(id).unwrap();
        world.engine.version(id, 1).unwrap().is_some()
    };
    assert!(kept(&world), "it is being read");
    world.browser.close(fh).unwrap();
    assert!(kept(&world), "it is being listed");
    world.browser.closedir(listing);
    assert!(!kept(&world));
    assert_eq!(world.errno(world.browser.open(file, libc::O_RDONLY)), libc::ENOENT);
    assert_eq!(world.errno(world.browser.opendir(folder)), libc::ENOENT);
    assert_eq!(world.errno(world.find(ROOT, "000001")), libc::ENOENT);
    assert_eq!(world.engine.history.in_use.lock().len(), 0, "a refused open holds nothing");
}

#[test]
fn runs_below_a_directory_are_found_by_path_nested_deleted_and_with_one_path_too() {
    let dir = tempfile::tempdir().unwrap();
    let world = open(dir.path());
    let outer = world.mkdir(ROOT, "outer");
    let middle = world.mkdir(outer, "middle");
    let inner = world.mkdir(middle, "inner");
    for (dir, bytes) in [(inner, b"i"), (outer, b"o")] {
        world.save(dir, "f", bytes);
        world.browser.mkdir(world.home(dir), bytes, ME).unwrap();
    }
    let read = |dir, path: &str| world.find(dir, path).map(|ino| world.read(ino)).ok();
    assert_eq!(read(ROOT, ".runs/outer/o/f").unwrap(), b"o");
    assert_eq!(read(ROOT, ".runs/outer/middle/inner/i/f").unwrap(), b"i");
    assert_eq!(read(ROOT, ".runs/outer/.runs/middle/inner/i/f").unwrap(), b"i");
    assert_eq!(read(middle, ".runs/inner/000001/f").unwrap(), b"i");
    assert_eq!(read(middle, "000001/inner/f").unwrap(), b"i", "and as a part of the run above");
    assert!(world.list(world.find(ROOT, ".runs/outer").unwrap()).contains(&"middle".to_owned()));
    assert_eq!(world.list(world.find(outer, ".runs").unwrap()), ["middle"]);
    let numbers = [".runs/outer/middle/inner/i", ".runs/outer/.runs/middle/inner/i"];
    let [one, other] = numbers.map(|path| world.find(ROOT, path).unwrap());
    assert_ne!(one, other, "a directory is in one place");

    // The inner one goes, and the outer one takes its path.
    let (id, _) = world.engine.run_at(inner).unwrap();
    world.engine.unlink(inner, b"f").unwrap();
    world.engine.rmdir(middle, b"inner").unwrap();
    assert_eq!(read(ROOT, ".runs/outer/middle/inner/i/f").unwrap(), b"i");
    let again = world.mkdir(middle, "inner");
    assert_eq!(read(again, "000001/f").unwrap(), b"i", "a directory made again shows what was at its path");
    let rename = |from, name: &[u8], to, new: &[u8]| {
        use crate::namespace::rename::{Over, Place};
        let (from, to) = (Place { parent: from, name }, Place { parent: to, name: new });
        world.engine.rename(from, to, Over::Replace).unwrap();
    };
    world.engine.rmdir(middle, b"inner").unwrap();
    let other = world.mkdir(middle, "other");
    world.save(other, "f", b"x");
    world.engine.add_run(other).unwrap();
    world.browser.mkdir(world.home(other), b"x", ME).unwrap();
    rename(middle, b"other", middle, b"inner");
    assert_eq!(read(ROOT, ".runs/outer/middle/inner/x/f").unwrap(), b"x");
    assert_eq!(read(ROOT, &format!(".runs/outer/middle/inner~{id}/i/f")).unwrap(), b"i");
    assert_eq!(world.list(world.find(middle, ".runs").unwrap()), ["inner".to_owned(), format!("inner~{id}")]);
}

#[test]
fn only_who_may_changes_anything() {
    let dir = tempfile::tempdir().unwrap();
    let owner = |world: &World| {
        let set = crate::namespace::setattr::SetAttr {
            mode: None,
            uid: Some(OTHER.uid),
            gid: None,
            atime: None,
            mtime: None,
            kill_privileges: false,
        };
        let run = world.mkdir(ROOT, "run");
        world.engine.setattr(run, &set).unwrap();
        run
    };
    {
        let world = open(dir.path());
        let run = owner(&world);
        assert_eq!(world.errno(world.browser.mkdir(world.home(ROOT), b"x", OTHER)), libc::EPERM);
        world.browser.mkdir(world.home(run), b"x", OTHER).unwrap();
        world.browser.rename((world.home(run), b"000001"), (world.home(run), b"y"), OTHER).unwrap();
        world.browser.rmdir(world.home(run), b"x", OTHER).unwrap();
        let nobody = Caller { uid: 65534, gid: 65534 };
        assert_eq!(world.errno(world.browser.rmdir(world.home(run), b"y", nobody)), libc::EPERM);
    }
    let dir = tempfile::tempdir().unwrap();
    let history = HistoryOptions { snapshot_admin: SnapshotAdmin::Root, ..HistoryOptions::default() };
    let world = open_with(dir.path(), history);
    let run = owner(&world);
    assert_eq!(world.errno(world.browser.mkdir(world.home(run), b"x", OTHER)), libc::EPERM);
    world.browser.mkdir(world.home(run), b"x", ME).unwrap();
    assert_eq!(world.errno(world.browser.rmdir(world.home(run), b"x", OTHER)), libc::EPERM);
    let from = (world.home(run), &b"000001"[..]);
    assert_eq!(world.errno(world.browser.rename(from, (from.0, b"y"), OTHER)), libc::EPERM);
}

#[test]
fn the_directory_is_hidden_listed_or_not_there_by_any_name() {
    let open = |snapdir, name: &str| {
        let dir = tempfile::tempdir().unwrap();
        let history = HistoryOptions { snapdir, snapdir_name: name.to_owned(), ..HistoryOptions::default() };
        (open_with(dir.path(), history), dir)
    };
    let (hidden, _dir) = open(Snapdir::Hidden, ".snapshots");
    assert!(hidden.browser.is_snapdir(b".snapshots") && !hidden.browser.is_snapdir(b".snapshot"));
    assert_eq!(hidden.browser.listed_in(ROOT), None);
    let (visible, _dir) = open(Snapdir::Visible, ".versions");
    assert!(visible.browser.is_snapdir(b".versions") && !visible.browser.is_snapdir(b".snapshots"));
    let listed = visible.browser.listed_in(ROOT).unwrap();
    assert_eq!(listed, (b".versions".to_vec(), visible.home(ROOT)));
    let (disabled, _dir) = open(Snapdir::Disabled, ".snapshots");
    assert!(!disabled.browser.is_snapdir(b".snapshots"));
    assert_eq!(disabled.browser.listed_in(ROOT), None);
}

#[test]
fn nothing_hangs_below_a_file_or_a_directory_that_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let world = open(dir.path());
    let run = world.mkdir(ROOT, "run");
    world.save(ROOT, "f", b"1");
    let file = world.engine.names().lookup(ROOT, b"f").unwrap().ino;
    assert_eq!(world.errno(world.browser.snapdir(file)), libc::ENOTDIR);
    let home = world.home(run);
    assert_eq!(world.list(home), [".files", ".info", ".runs", "by-step", "by-tag", "by-time"]);
    for view in [".files", ".info", ".runs", "by-step", "by-tag", "by-time", "at"] {
        assert!(
            world.list(world.find(run, view).unwrap()).is_empty(),
            "{view} of a directory without history"
        );
    }
    world.engine.rmdir(ROOT, b"run").unwrap();
    assert_eq!(world.errno(world.browser.snapdir(run)), libc::ENOENT);
    assert_eq!(world.errno(world.browser.getattr(home)), libc::ENOENT);
    assert_eq!(world.errno(world.browser.lookup(home, b"latest")), libc::ENOENT);
}

#[test]
fn a_damaged_version_is_an_error_and_hides_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let world = open(dir.path());
    let run = world.mkdir(ROOT, "run");
    let sub = world.mkdir(run, "sub");
    for (n, tag) in [(1, "a"), (2, "b")] {
        world.save(sub, "f", &[n]);
        world.browser.mkdir(world.home(run), tag.as_bytes(), ME).unwrap();
    }
    let (id, _) = world.engine.run_at(run).unwrap();
    world.change(id, 1, |version| version.tree = crate::base::id::ChunkId([9; 32]));
    for dir in [run, sub] {
        assert_eq!(world.errno(world.find(dir, "000001")), libc::EIO);
        let listed = world.list(world.home(dir));
        assert!(
            listed.contains(&"000002".to_owned()) && !listed.contains(&"000001".to_owned()),
            "{listed:?}"
        );
    }
    assert_eq!(world.read(world.find(sub, "latest").and_then(|_| world.find(sub, "000002/f")).unwrap()), [2]);
    assert_eq!(world.list(world.find(sub, ".files").unwrap()), ["f"]);
    assert!(!world.engine.report_status().unwrap().faults.is_empty(), "and it was said");
}
