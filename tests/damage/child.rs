//! The process that uses a damaged store: two copies of it, one used as a mount does, one checked and repaired first.
//!
//! It judges nothing but bytes; what it saw goes to a file. A step that takes too long ends the process, with its name.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ckptfs::base::monitor::Silent;
use ckptfs::base::{Error, Result};
use ckptfs::cli::Daemon;
use ckptfs::command::{Answer, Command};
use ckptfs::engine::Engine;
use ckptfs::engine::check::Checked;
use ckptfs::engine::layout::Store;
use ckptfs::engine::workers::Workers;
use ckptfs::options::MountOptions;
use ckptfs::serve::Filesystem;
use serde::{Deserialize, Serialize};

use crate::reading::Reads;
use crate::store::{self, LONG, ME, ROOT};
use crate::truth::Truth;

/// How long one step may take.
const STEP_MAX: Duration = Duration::from_secs(25);

/// What the process is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    /// Used as a mount does.
    pub(crate) used: PathBuf,
    /// Checked, repaired, and then used.
    pub(crate) repaired: PathBuf,
    /// Bytes of all items.
    pub(crate) truth: PathBuf,
    /// Whether the killed store was damaged.
    pub(crate) killed: bool,
    /// Where the outcome goes.
    pub(crate) outcome: PathBuf,
}

/// What became of a use: an error, or nothing to tell.
pub(crate) type Told = std::result::Result<(), String>;

/// What was seen.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) used: Used,
    /// Closed store, every byte.
    pub(crate) check: Look,
    pub(crate) repair: Look,
    pub(crate) check_again: Look,
    pub(crate) after_repair: Used,
    /// Panics that nobody meant, in any thread.
    pub(crate) panics: Vec<String>,
}

/// A store that was used.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Used {
    /// Why it does not open.
    pub(crate) refused: Option<String>,
    pub(crate) read: Reads,
    /// Findings of the open store: of lists alone, of every byte.
    pub(crate) lists: Look,
    pub(crate) bytes: Look,
    /// A checkpoint that is written, becomes a version, is sealed and read back.
    pub(crate) write: Option<Told>,
    pub(crate) gc: Option<Told>,
    pub(crate) read_after_gc: Reads,
    pub(crate) close: Option<Told>,
    pub(crate) reopen: Option<Told>,
    pub(crate) read_again: Reads,
}

/// Findings of a check, or why there is none.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Look {
    pub(crate) failed: Option<String>,
    pub(crate) findings: Vec<String>,
    pub(crate) done: Vec<String>,
}

impl Look {
    fn of(checked: Result<Checked>) -> Look {
        match checked {
            Err(error) => Look { failed: Some(error.to_string()), ..Look::default() },
            Ok(checked) => Look {
                failed: None,
                findings: checked.findings.list.iter().map(|finding| finding.what.clone()).collect(),
                done: checked.repaired,
            },
        }
    }

    pub(crate) fn found(&self) -> bool {
        self.failed.is_some() || !self.findings.is_empty()
    }
}

static STEP: Mutex<(&str, Option<Instant>)> = Mutex::new(("", None));
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Runs a job in this process.
pub(crate) fn run(job: &Path) {
    let job: Job = serde_json::from_slice(&fs::read(job).unwrap()).unwrap();
    limit_memory();
    note_panics();
    std::thread::spawn(watch);
    let truth = Truth::load(&job.truth);
    let mut outcome = Outcome::default();
    let reader = Reader { truth, dir: job.truth.clone(), killed: job.killed };
    outcome.used = reader.use_store(&job.used);
    outcome.check = step("check --read-data", || Look::of(check(&job.repaired, false)));
    outcome.repair = step("check --repair", || Look::of(check(&job.repaired, true)));
    outcome.check_again = step("check after a repair", || Look::of(check(&job.repaired, false)));
    outcome.after_repair = reader.use_store(&job.repaired);
    outcome.panics = PANICS.lock().unwrap().clone();
    fs::write(&job.outcome, serde_json::to_vec(&outcome).unwrap()).unwrap();
}

/// A damaged length is not to be taken for memory.
fn limit_memory() {
    let limit = libc::rlimit { rlim_cur: 4 << 30, rlim_max: 4 << 30 };
    // SAFETY: a plain struct that lives through the call.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &limit) }, 0);
}

/// Those of sled are caught by the catalog, which is meant.
fn note_panics() {
    std::panic::set_hook(Box::new(|info| {
        let at = info.location().map(ToString::to_string).unwrap_or_default();
        if !at.contains("sled-0.34") {
            let thread = std::thread::current().name().unwrap_or("?").to_owned();
            eprintln!("{info}\n{}", std::backtrace::Backtrace::force_capture());
            PANICS.lock().unwrap().push(format!("{thread}: {info}"));
        }
    }));
}

fn watch() {
    loop {
        std::thread::sleep(Duration::from_millis(200));
        let (name, since) = *STEP.lock().unwrap();
        if since.is_some_and(|since| since.elapsed() > STEP_MAX) {
            eprintln!("hangs: {name}");
            std::process::abort();
        }
    }
}

fn step<T>(name: &'static str, work: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    *STEP.lock().unwrap() = (name, Some(began));
    let done = work();
    eprintln!("{name}: {} ms", began.elapsed().as_millis());
    *STEP.lock().unwrap() = (name, None);
    done
}

/// As the command does it: a mount refuses an unreadable `config.toml` before anything is opened, a check finds it.
fn options(store: &Path, is_check: bool) -> Result<MountOptions> {
    let mut options =
        MountOptions { hot_cache: Some(1 << 30), min_free: Some(1), threads: 1, ..MountOptions::default() };
    options.settle = Duration::from_secs(3600);
    let config = store.join("config.toml");
    let applied = if is_check { options.apply_salvaged(&config) } else { options.apply_file(&config) };
    applied.map_err(|invalid| Error::Refused(invalid.to_string()))?;
    Ok(options)
}

fn check(store: &Path, repair: bool) -> Result<Checked> {
    let command = Command::Check { read_data: true, repair };
    match Filesystem.execute(&options(store, true)?, store, command, &Silent)? {
        Answer::Checked(checked) => Ok(*checked),
        _ => panic!("another answer"),
    }
}

fn told<T>(result: Result<T>) -> Option<Told> {
    Some(result.map(drop).map_err(|error| error.to_string()))
}

/// A store that is open as a mount has it.
pub(crate) struct Mounted {
    pub(crate) engine: Arc<Engine>,
    workers: Workers,
    _store: Store,
}

impl Mounted {
    fn open(store: &Path) -> Result<Mounted> {
        options(store, false)?;
        let locked = Store::open(store, Path::new("/m"))?;
        let engine = Engine::start(store, store::options(1 << 30), ME, &Silent)?;
        let workers = Workers::start(&engine)?;
        // Moments that wait become versions.
        engine.finish_versions("quiet", LONG)?;
        Ok(Mounted { engine, workers, _store: locked })
    }
}

pub(crate) struct Reader {
    pub(crate) truth: Truth,
    pub(crate) dir: PathBuf,
    pub(crate) killed: bool,
}

impl Reader {
    fn use_store(&self, store: &Path) -> Used {
        let mut used = Used::default();
        let mounted = match step("open", || Mounted::open(store)) {
            Ok(mounted) => mounted,
            Err(error) => return Used { refused: Some(error.to_string()), ..used },
        };
        let engine = &mounted.engine;
        used.read = step("read everything", || self.read_all(engine));
        used.lists = step("check", || Look::of(engine.check(false, &Silent)));
        used.bytes = step("check of every byte", || Look::of(engine.check(true, &Silent)));
        used.write = step("write, version, seal", || told(write_and_seal(engine)));
        used.gc = step("gc", || told(engine.reclaim(&Silent)));
        used.read_after_gc = step("read after gc", || self.read_all(engine));
        used.close = step("close", || told(engine.close_store(&mounted.workers)));
        drop(mounted);
        match step("open again", || Mounted::open(store)) {
            Ok(mounted) => {
                used.reopen = Some(Ok(()));
                used.read_again = step("read again", || self.read_all(&mounted.engine));
                step("close again", || drop(mounted.engine.close_store(&mounted.workers)));
            }
            Err(error) => used.reopen = Some(Err(error.to_string())),
        }
        used
    }
}

/// A new save goes all its way, and gives what was written.
fn write_and_seal(engine: &Arc<Engine>) -> Result<()> {
    let bytes = crate::bytes::npy(900);
    let dir = match engine.names().entry(ROOT, b"new")? {
        Some(entry) => entry.ino,
        None => engine.names().mkdir(ROOT, b"new", 0o755, ME)?.ino,
    };
    let (_, opened) = engine.create(dir, b"model.npy", 0o644, libc::O_RDWR, ME)?;
    engine.write(opened.fh, 0, &bytes, false)?;
    engine.release(opened.fh)?;
    engine.finish_versions("quiet", LONG)?;
    engine.seal_all(&Silent)?;
    let seen = crate::reading::read_live(engine, "new/model.npy")?;
    let version = crate::reading::read_version(engine, "new", 1, "model.npy")?;
    if seen != bytes || version != bytes {
        return Err(Error::Refused("what was written is not what is read".to_owned()));
    }
    Ok(())
}

/// Names that are not in `known`, but for those that a repair or this test makes.
pub(crate) fn strangers(known: &BTreeSet<String>, seen: impl IntoIterator<Item = String>) -> Vec<String> {
    let is_ours = |name: &String| name.starts_with("lost+found") || name.starts_with("new");
    seen.into_iter().filter(|name| !known.contains(name) && !is_ours(name)).collect()
}
