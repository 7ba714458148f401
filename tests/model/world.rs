//! The engine beside the model, and the ways to end and begin it.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ckptfs::base::monitor::Silent;
use ckptfs::engine::open::{How, Opened};
use ckptfs::engine::shutdown::End;
use ckptfs::engine::workers::Workers;
use ckptfs::engine::{Engine, Options};
use ckptfs::namespace::Caller;
use tempfile::TempDir;

use crate::tree::Tree;

pub(crate) const ROOT: Caller = Caller { uid: 0, gid: 0 };

/// An open file.
pub(crate) struct Open {
    pub(crate) ino: u64,
    /// Number of the engine's handle; none when the daemon it belonged to is gone.
    pub(crate) fh: Option<u64>,
    pub(crate) writable: bool,
    /// What the kernel would read and write by itself.
    pub(crate) direct: Option<File>,
}

pub(crate) struct World {
    dir: TempDir,
    seed: u64,
    random: u64,
    running: Option<(Arc<Engine>, Workers)>,
    passthrough: bool,
    pub(crate) tree: Tree,
    pub(crate) open: Vec<Open>,
    log: Vec<String>,
}

impl World {
    pub(crate) fn new(seed: u64) -> World {
        let mut world = World {
            dir: tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap(),
            seed,
            random: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def1,
            running: None,
            passthrough: seed.is_multiple_of(2),
            tree: Tree::new(),
            open: Vec::new(),
            log: Vec::new(),
        };
        world.start();
        world
    }

    /// A number below `limit`.
    pub(crate) fn pick(&mut self, limit: usize) -> usize {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit
    }

    /// One of some, if there are any.
    pub(crate) fn one_of<T: Copy>(&mut self, all: &[T]) -> Option<T> {
        if all.is_empty() { None } else { Some(all[self.pick(all.len())]) }
    }

    pub(crate) fn note(&mut self, what: String) {
        self.log.push(what);
    }

    pub(crate) fn engine(&self) -> Arc<Engine> {
        self.running.as_ref().unwrap().0.clone()
    }

    fn start(&mut self) {
        let store = self.dir.path();
        for folder in ["journal", "catalog", "packs", "index", "hot"] {
            std::fs::create_dir_all(store.join(folder)).unwrap();
        }
        let options = Options {
            settle: Duration::ZERO,
            hot_cache_bytes: if self.seed.is_multiple_of(3) { 300_000 } else { 0 },
            cache_bytes: 8 << 20,
            threads: 1,
            hydrate_threads: 2,
            scrub_rate: 0,
            meta: ckptfs::meta::Options::default(),
            history: ckptfs::engine::history::HistoryOptions::default(),
            hot: None,
        };
        let engine = Engine::start(store, options, ROOT, &Silent).unwrap();
        engine.set_passthrough(self.passthrough);
        let workers = Workers::start(&engine).unwrap();
        self.running = Some((engine, workers));
    }

    /// What the kernel makes of an answered open.
    pub(crate) fn opened(&mut self, ino: u64, opened: Opened, writable: bool) {
        let direct = match &opened.how {
            How::Passthrough(hot) => {
                let path = format!("/proc/self/fd/{}", hot.file.as_raw_fd());
                Some(File::options().read(true).write(writable).open(path).unwrap())
            }
            How::Mapped(_) | How::Daemon { .. } => None,
        };
        self.open.push(Open { ino, fh: Some(opened.fh), writable, direct });
    }

    /// Ends the engine, in order or as a kill does, and starts it again. Writers with passthrough handles live on (what a reader then sees may be old).
    pub(crate) fn remount(&mut self, orderly: bool) {
        let (engine, workers) = self.running.take().unwrap();
        if orderly {
            engine.shut_down(&workers, End::Unused).unwrap();
        }
        drop(workers);
        assert_eq!(Arc::strong_count(&engine), 1, "somebody still holds the engine");
        drop(engine);
        let named = self.tree.named(|_| true);
        self.open.retain_mut(|open| {
            open.fh = None;
            open.direct.is_some() && open.writable && named.contains(&open.ino)
        });
        self.tree.nodes.retain(|_, node| node.nlink > 0);
        self.start();
    }

    /// Gives sealing time to finish what it can.
    pub(crate) fn settle(&self) {
        let engine = self.engine();
        let survivors = self.open.iter().any(|open| open.fh.is_none());
        let limit = Duration::from_millis(if survivors { 60 } else { 20_000 });
        let begun = Instant::now();
        loop {
            let report = engine.report_status().unwrap();
            if report.queued_files + report.in_progress == 0 {
                break;
            }
            if begun.elapsed() > limit {
                assert!(survivors, "sealing never ends: {report:?}");
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let from = self.log.len().saturating_sub(140);
            eprintln!(
                "CKPTFS_SEED={}, after {} steps:\n{}",
                self.seed,
                self.log.len(),
                self.log[from..].join("\n")
            );
        }
    }
}
