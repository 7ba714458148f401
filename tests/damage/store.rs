//! The store that is damaged: built once, with everything that a store can hold, closed in order and also killed.
//!
//! Order: what is sealed without a hot copy; older versions as deltas; what is sealed and has one; hot files, and a copy of
//! the whole store as it was then, for stale copies; changes of names until there are two exports and several segments; a
//! moment of which no version was made. All settles are long and sealing is asked for, so each build holds the same.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ckptfs::base::monitor::Silent;
use ckptfs::engine::history::HistoryOptions;
use ckptfs::engine::layout::Store;
use ckptfs::engine::workers::Workers;
use ckptfs::engine::{Engine, Options};
use ckptfs::namespace::Caller;
use tempfile::TempDir;

use crate::bytes::{floats, noise, npy};
use crate::places::files;
use crate::truth::{Item, Truth};

pub(crate) const ME: Caller = Caller { uid: 0, gid: 0 };
pub(crate) const ROOT: u64 = 1;
pub(crate) const LONG: Duration = Duration::from_secs(60);

/// The built store, in its forms.
pub(crate) struct Template {
    dir: TempDir,
    /// What every form holds.
    pub(crate) truth: Truth,
}

impl Template {
    /// Closed in order.
    pub(crate) fn clean(&self) -> PathBuf {
        self.dir.path().join("clean")
    }

    /// As a killed daemon leaves it: more was done since, and the catalog is behind.
    pub(crate) fn killed(&self) -> PathBuf {
        self.dir.path().join("killed")
    }

    /// As it was some time before.
    pub(crate) fn older(&self) -> PathBuf {
        self.dir.path().join("older")
    }

    /// Where the bytes are that every file and version must give.
    pub(crate) fn truth_dir(&self) -> PathBuf {
        self.dir.path().join("truth")
    }

    pub(crate) fn build() -> Template {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mut builder = Builder {
            store: dir.path().join("clean"),
            files: BTreeMap::new(),
            hot_of_late: BTreeMap::new(),
            saves: Vec::new(),
        };
        drop(Store::open(&builder.store, Path::new("/m")).unwrap());
        builder.sealed_without_copies();
        builder.deltas();
        builder.sealed_with_copies();
        builder.hot_files();
        let template = Template { dir, truth: Truth::default() };
        copy_store(&builder.store, &template.older());
        builder.changes_of_names();
        builder.pending_moment();
        crate::index::write(&builder.store);
        let mut truth = builder.truth(false);
        copy_store(&builder.store, &template.killed());
        builder.store = template.killed();
        builder.late_files();
        truth.items.extend(builder.truth(true).items.into_iter().filter(|item| item.late));
        // On a copy: the last segment stays the one with the moment.
        copy_store(&template.clean(), &template.dir.path().join("looked-at"));
        truth.note_blobs(&template.dir.path().join("looked-at"));
        truth.save(&template.truth_dir(), &builder.bytes_of());
        Template { truth, ..template }
    }
}

/// Options with which nothing happens by itself.
pub(crate) fn options(hot_cache_bytes: u64) -> Options {
    let settle = Duration::from_secs(3600);
    Options {
        settle,
        hot_cache_bytes,
        cache_bytes: 16 << 20,
        threads: 1,
        hydrate_threads: 1,
        hot: None,
        scrub_rate: 0,
        meta: ckptfs::meta::Options { segment_bytes: 64 << 10, ..ckptfs::meta::Options::default() },
        history: HistoryOptions { settle, min_free: 1, ..HistoryOptions::default() },
    }
}

/// All of a store but its ballast.
pub(crate) fn copy_store(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => copy_store(&entry.path(), &target),
            kind if kind.is_file() && entry.file_name() != "ballast" => {
                fs::copy(entry.path(), target).unwrap();
            }
            _ => {}
        }
    }
}

/// Writes all of a file in place, old or new.
pub(crate) fn save(engine: &Engine, dir: u64, name: &str, bytes: &[u8]) {
    let fh = match engine.names().entry(dir, name.as_bytes()).unwrap() {
        Some(entry) => engine.open(entry.ino, libc::O_WRONLY | libc::O_TRUNC, ME).unwrap().fh,
        None => engine.create(dir, name.as_bytes(), 0o644, libc::O_WRONLY, ME).unwrap().1.fh,
    };
    engine.write(fh, 0, bytes, false).unwrap();
    engine.release(fh).unwrap();
}

struct Builder {
    store: PathBuf,
    /// Live files by path, and whether only the killed store has them.
    files: BTreeMap<String, (Vec<u8>, bool)>,
    hot_of_late: BTreeMap<String, String>,
    /// Versions: run, number, file, bytes.
    saves: Vec<(String, u32, String, Vec<u8>)>,
}

struct Open {
    engine: Arc<Engine>,
    workers: Workers,
}

impl Builder {
    fn open(&self, with_workers: bool, options: Options) -> Open {
        let engine = Engine::start(&self.store, options, ME, &Silent).unwrap();
        let workers = if with_workers { Workers::start(&engine).unwrap() } else { Workers::none(&engine) };
        Open { workers, engine }
    }

    fn close(open: Open) {
        open.engine.close_store(&open.workers).unwrap();
    }

    fn dir(open: &Open, name: &str) -> u64 {
        match open.engine.names().entry(ROOT, name.as_bytes()).unwrap() {
            Some(entry) => entry.ino,
            None => open.engine.names().mkdir(ROOT, name.as_bytes(), 0o755, ME).unwrap().ino,
        }
    }

    fn put(&mut self, open: &Open, path: &str, bytes: &[u8]) {
        let (dir, name) = path.split_once('/').unwrap();
        save(&open.engine, Self::dir(open, dir), name, bytes);
        self.files.insert(path.to_owned(), (bytes.to_vec(), false));
    }

    /// Saves a checkpoint; the version of it has the other files of the run, too.
    fn checkpoint(&mut self, open: &Open, run: &str, number: u32, bytes: &[u8], limit: Duration) {
        self.put(open, &format!("{run}/model.npy"), bytes);
        open.engine.finish_versions("quiet", limit).unwrap();
        for (path, (bytes, _)) in &self.files {
            if let Some((dir, name)) = path.split_once('/').filter(|(dir, _)| *dir == run) {
                self.saves.push((dir.to_owned(), number, name.to_owned(), bytes.clone()));
            }
        }
    }

    fn sealed_without_copies(&mut self) {
        let open = self.open(true, options(0));
        self.put(&open, "exp/notes.txt", b"a note that stays");
        for number in 1..=3 {
            self.checkpoint(&open, "exp", number, &npy(u64::from(number)), LONG);
        }
        for step in 1..=4 {
            self.checkpoint(&open, "series", step, &floats(step), LONG);
        }
        self.put(&open, "plain/sealed.bin", &noise(300_000, 50));
        open.engine.seal_all(&Silent).unwrap();
        Self::close(open);
    }

    fn deltas(&mut self) {
        let open = self.open(false, options(0));
        let done = open.engine.reencode(&|| Ok(())).unwrap();
        assert!(done.chunks > 0, "there are deltas");
        open.engine.reclaim(&Silent).unwrap();
        Self::close(open);
    }

    fn sealed_with_copies(&mut self) {
        let open = self.open(true, options(1 << 30));
        self.put(&open, "copies/one.bin", &noise(150_000, 60));
        self.put(&open, "copies/two.bin", &noise(150_000, 61));
        for n in 0..20 {
            self.put(&open, &format!("small/s{n:02}"), format!("small file {n}").as_bytes());
        }
        self.checkpoint(&open, "pend", 1, &npy(101), LONG);
        open.engine.seal_all(&Silent).unwrap();
        Self::close(open);
    }

    fn hot_files(&mut self) {
        let open = self.open(true, options(1 << 30));
        self.put(&open, "hot/large.bin", &noise(300_000, 70));
        self.put(&open, "hot/other.bin", &noise(300_000, 71));
        self.put(&open, "hot/small.txt", b"small, as it was");
        Self::close(open);
    }

    /// Until there are two exports, and segments since.
    fn changes_of_names(&mut self) {
        let mut options = options(1 << 30);
        options.meta.segment_bytes = 8192;
        options.meta.export_after_bytes = 8192;
        options.meta.checkpoint_after = Duration::from_millis(20);
        let open = self.open(true, options);
        let began = Instant::now();
        let (mut round, exports, logs) = (
            0,
            |store: &Path| files(store, "journal", ".export").len(),
            |store: &Path| files(store, "journal", ".log").len(),
        );
        // The journal begins in the middle of what the older export holds: that there were two can be told from one.
        let number = |store: &Path, ending: &str| {
            let name = files(store, "journal", ending).into_iter().next()?;
            u64::from_str_radix(Path::new(&name).file_stem()?.to_str()?, 16).ok()
        };
        let is_cut = |store: &Path| {
            let first = number(store, ".log").unwrap();
            first > 1 && number(store, ".export").is_some_and(|older| first <= older)
        };
        while exports(&self.store) < 2 || logs(&self.store) < 3 || round < 3 || !is_cut(&self.store) {
            assert!(began.elapsed() < LONG, "no two exports");
            let dir = Self::dir(&open, "changes");
            for n in 0..40 {
                save(&open.engine, dir, &format!("gone{n}"), b"to be removed");
                open.engine.unlink(dir, format!("gone{n}").as_bytes()).unwrap();
            }
            self.put(&open, &format!("changes/kept{round}"), format!("kept {round}").as_bytes());
            std::thread::sleep(Duration::from_millis(40));
            round += 1;
        }
        self.put(&open, "hot/large.bin", &noise(300_000, 72));
        self.put(&open, "hot/small.txt", b"small, as it is now");
        self.checkpoint(&open, "exp", 4, &npy(4), LONG);
        Self::close(open);
    }

    fn pending_moment(&mut self) {
        let open = self.open(false, options(1 << 30));
        self.checkpoint(&open, "pend", 2, &npy(102), Duration::ZERO);
        Self::close(open);
    }

    /// What a killed daemon had done since the store was opened.
    fn late_files(&mut self) {
        let mut options = options(1 << 30);
        options.meta.checkpoint_after = LONG;
        let open = self.open(false, options);
        for n in 0..8 {
            let path = format!("late/l{n}");
            self.put(&open, &path, format!("late file {n}").as_bytes());
            self.hot_of_late.insert(path.clone(), crate::truth::hot_file(&open.engine, &path).unwrap());
            self.files.entry(path).and_modify(|(_, late)| *late = true);
        }
        // No end in order: this is what is there after a kill.
        drop(open);
    }

    fn bytes_of(&self) -> BTreeMap<String, Vec<u8>> {
        let live = self.files.iter().map(|(path, (bytes, _))| (path.clone(), bytes.clone()));
        let versions = self
            .saves
            .iter()
            .map(|(run, number, name, bytes)| (version_id(run, *number, name), bytes.clone()));
        live.chain(versions).collect()
    }

    fn truth(&self, late: bool) -> Truth {
        let live = self.files.iter().filter(|(_, (_, is_late))| *is_late == late);
        let live = live.map(|(path, _)| {
            let hot = self.hot_of_late.get(path).cloned();
            Item { id: path.clone(), late, only_hot: hot.is_some(), hot, ..Item::default() }
        });
        let versions = self.saves.iter().filter(|_| !late).map(|(run, number, name, _)| Item {
            id: version_id(run, *number, name),
            version: Some((run.clone(), *number)),
            ..Item::default()
        });
        Truth { items: live.chain(versions).collect(), ..Truth::default() }
    }
}

/// How a file of a version is called here.
fn version_id(run: &str, number: u32, name: &str) -> String {
    format!("{run}@{number}/{name}")
}
