//! A store, what is done to it, and the oracle that is told of it: one operation at a time, without background threads.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use ckptfs::base::monitor::Silent;
use ckptfs::engine::history::HistoryOptions;
use ckptfs::engine::layout::Store;
use ckptfs::engine::shutdown::End;
use ckptfs::engine::workers::Workers;
use ckptfs::engine::{Engine, Options};
use ckptfs::namespace::Caller;

use crate::oracle::{Kept, Oracle, Tree};
use crate::watch::Watch;

pub(crate) const ME: Caller = Caller { uid: 0, gid: 0 };
/// The root's inode number.
pub(crate) const ROOT: u64 = 1;
/// Committed keys that wait before a checkpoint.
const OVERLAY_ENTRIES: usize = 24;

/// Small bounds, so that a short workload reaches everything.
pub(crate) fn options(boot: u8) -> Options {
    let meta = ckptfs::meta::Options {
        segment_bytes: 16 << 10,
        overlay_entries: OVERLAY_ENTRIES,
        overlay_bytes: 1 << 20,
        checkpoint_after: Duration::from_secs(3600),
        export_after_bytes: 4_000,
        boot: Some([boot; 16]),
    };
    let settle = Duration::from_secs(3600);
    Options {
        settle: Duration::ZERO,
        hot_cache_bytes: 100_000,
        cache_bytes: 8 << 20,
        threads: 1,
        hydrate_threads: 1,
        scrub_rate: 0,
        hot: None,
        meta,
        history: HistoryOptions { settle, min_free: 1, ..HistoryOptions::default() },
    }
}

/// An engine without background threads, on a store that is locked.
pub(crate) struct Running {
    pub(crate) engine: Arc<Engine>,
    pub(crate) workers: Workers,
    pub(crate) lock: Store,
}

/// Opens (or makes) the store in folder `root`.
pub(crate) fn open(root: &Path, boot: u8) -> ckptfs::base::Result<Running> {
    let lock = Store::open(root, Path::new("/nowhere"))?;
    let engine = Engine::start(root, options(boot), ME, &Silent)?;
    Ok(Running { workers: Workers::none(&engine), engine, lock })
}

/// Where it all happens.
pub(crate) struct Stage {
    root: PathBuf,
    boot: u8,
    running: Option<Running>,
    pub(crate) watch: Arc<Watch>,
    oracle: Arc<Mutex<Oracle>>,
}

impl Stage {
    /// Opens the store in `root`.
    pub(crate) fn new(root: &Path, boot: u8, watch: Arc<Watch>, oracle: Arc<Mutex<Oracle>>) -> Stage {
        let mut stage = Stage { root: root.to_owned(), boot, running: None, watch, oracle };
        stage.start();
        stage
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.running.as_ref().unwrap().engine
    }

    pub(crate) fn oracle(&self) -> MutexGuard<'_, Oracle> {
        self.oracle.lock().unwrap()
    }

    /// Opens the store.
    pub(crate) fn start(&mut self) {
        self.watch.turn.take();
        self.running = Some(open(&self.root, self.boot).unwrap());
        self.watch.turn.give();
        self.let_others_work();
    }

    /// Ends the engine, in order or as a kill does.
    pub(crate) fn stop(&mut self, orderly: bool) {
        if orderly {
            // There is no thread that would make the last versions.
            self.settle();
            self.build();
        }
        let running = self.running.take().unwrap();
        if orderly {
            self.watch.turn.take();
            running.engine.shut_down(&running.workers, End::Unused).unwrap();
            self.oracle().names_are_durable();
            let all: Vec<usize> = (0..self.oracle().files.len()).collect();
            all.into_iter().for_each(|id| self.oracle().bytes_are_durable(id));
        }
        let Running { engine, workers, lock } = running;
        drop(workers);
        // The thread that has flushed hot files may not have ended yet.
        crate::common::eventually("nobody else holds the engine", || Arc::strong_count(&engine) == 1);
        drop((engine, lock));
    }

    /// One operation that changes names as `change` does (and bytes, if it tells the oracle so).
    pub(crate) fn act<T>(&mut self, change: impl FnOnce(&mut Oracle), run: impl FnOnce(&Engine) -> T) -> T {
        let before = self.moments();
        let held = {
            let mut oracle = self.oracle();
            let held = oracle.files_below(oracle.tree(), "");
            change(&mut oracle);
            held
        };
        self.watch.turn.take();
        let done = run(self.engine());
        self.oracle().answer();
        self.watch.turn.give();
        self.note_moments(&before, &held);
        self.let_others_work();
        done
    }

    /// One operation that changes no name and no byte.
    pub(crate) fn still<T>(&mut self, run: impl FnOnce(&Engine) -> T) -> T {
        self.act(|_| {}, run)
    }

    fn moments(&self) -> Vec<u64> {
        self.engine().names().snapshots().iter().map(|moment| moment.id).collect()
    }

    /// Notes the versions that the last operation has begun: with what there was before it, `held`, if it destroyed that.
    fn note_moments(&mut self, before: &[u64], held: &BTreeMap<String, usize>) {
        for moment in self.engine().names().snapshots().iter().filter(|moment| !before.contains(&moment.id)) {
            let about: ckptfs::version::record::Pending =
                ckptfs::version::record::decode(&moment.about).unwrap();
            let run = String::from_utf8(self.engine().dir_path(moment.dir).unwrap()).unwrap();
            let mut oracle = self.oracle();
            let now = oracle.files_below(oracle.tree(), "");
            let of = if matches!(about.trigger.as_str(), "overwrite" | "delete") { held } else { &now };
            let prefix = if run.is_empty() { String::new() } else { format!("{run}/") };
            let inside =
                |(path, content): (&String, &usize)| Some((path.strip_prefix(&prefix)?.to_owned(), *content));
            let files = of.iter().filter_map(inside).collect();
            oracle.versions.push(Kept { run, number: None, files, may_go: false });
        }
    }

    /// Gives the turn away until the catalog has been brought up to date as far as it is due.
    fn let_others_work(&self) {
        let begun = Instant::now();
        let meta = self.engine().names().meta();
        let due = || {
            let status = meta.status().unwrap();
            status.overlay_entries > OVERLAY_ENTRIES && status.poisoned.is_none()
        };
        while due() {
            assert!(begun.elapsed() < Duration::from_secs(60), "the checkpoint never ends");
            std::thread::sleep(Duration::from_micros(200));
        }
    }

    /// The inode of a directory.
    pub(crate) fn dir(&self, path: &str) -> u64 {
        let names = self.engine().names();
        let parts = path.split('/').filter(|part| !part.is_empty());
        parts.fold(ROOT, |dir, part| names.lookup(dir, part.as_bytes()).unwrap().ino)
    }

    /// The directory that holds `path`, and the name in it.
    pub(crate) fn place<'a>(&self, path: &'a str) -> (u64, &'a [u8]) {
        match path.rsplit_once('/') {
            Some((dir, name)) => (self.dir(dir), name.as_bytes()),
            None => (ROOT, path.as_bytes()),
        }
    }
}

/// A change of names alone.
pub(crate) fn names(change: impl FnOnce(&mut Tree)) -> impl FnOnce(&mut Oracle) {
    |oracle| oracle.begin(change)
}
