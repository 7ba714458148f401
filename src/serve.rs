//! The daemon: a locked store, its engine, and the mount, from the first open to the last sync.
//!
//! Order: lock, engine, mount, background work, `ready`; requests are answered until the mount is gone;
//! then the engine is shut down, and the lock is freed last.

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use crate::base::config::{self, MountOptions};
use crate::base::monitor::{Monitor, Silent};
use crate::base::{Error, IoContext, Result};
use crate::cli::{Daemon, Ready};
use crate::control::status::{
    LastError, PassthroughStatus, PressureStatus, Sealing, Status, path_text, rfc3339,
};
use crate::control::{Handler, Leave};
use crate::engine::history::HistoryOptions;
use crate::engine::layout::Store;
use crate::engine::reclaim::pressure::Pressure;
use crate::engine::reclaim::{How, Reclaimed};
use crate::engine::shutdown::End;
use crate::engine::status::Report;
use crate::engine::workers::Workers;
use crate::engine::{Engine, Options};
use crate::fuse::session::Unmounter;
use crate::fuse::{MountSpec, Mounted, Passthrough};
use crate::namespace::Caller;

/// How long those who use the mount may stay after a signal.
const LEAVE_WITHIN: Duration = Duration::from_millis(500);

/// The filesystem behind `ckptfs mount`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filesystem;

impl Daemon for Filesystem {
    fn serve(&self, options: &MountOptions, store: &Path, mountpoint: &Path, ready: Ready<'_>) -> Result<()> {
        let store = Store::open(store, mountpoint)?;
        let root = store.layout.root().to_owned();
        let owner =
            Caller { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() };
        let engine = Engine::start(&root, engine_options(options, &root, mountpoint)?, owner, &Silent)?;
        let mounted = Mounted::new(engine.clone(), &mount_spec(options, &root, mountpoint))?;
        let workers = Workers::start(&engine)?;
        let unmounter = mounted.unmounter();
        let (ended, events) = mpsc::channel();
        let handler = Arc::new(Running {
            engine: engine.clone(),
            unmounter: unmounter.clone(),
            mountpoint: mountpoint.to_owned(),
            holder: store.lock.holder().clone(),
            no_passthrough: mounted.no_passthrough.clone(),
            events: ended.clone(),
        });
        let serve = move || {
            let served = mounted.serve();
            // Nobody listens any more when the process ends with the mount still busy.
            drop(ended.send(Event::Served(served)));
        };
        std::thread::Builder::new()
            .name("mount".to_owned())
            .spawn(serve)
            .context("start a thread for", &root)?;
        if let Err(error) = ready(handler) {
            unmounter.detach()?;
            return Err(error);
        }
        let end = wait_for_end(&events)?;
        engine.shut_down(&workers, end)
    }

    fn reclaim(
        &self,
        options: &MountOptions,
        store: &Path,
        dry_run: bool,
        progress: &dyn Monitor,
    ) -> Result<Reclaimed> {
        let store = Store::open(store, Path::new("ckptfs gc"))?;
        let root = store.layout.root();
        let owner =
            Caller { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() };
        let engine = Engine::start(root, engine_options(options, root, root)?, owner, progress)?;
        let done = engine.reclaim_as(How { dry_run, ..How::NOW }, progress);
        engine.close_unmounted().and(done)
    }
}

/// What ends a daemon's wait.
enum Event {
    /// The mount is gone.
    Served(Result<()>),
    /// A signal has detached the mount.
    Leave,
}

/// Waits until the mount is gone, or, after a signal, until those who use it have had a moment to leave.
fn wait_for_end(events: &mpsc::Receiver<Event>) -> Result<End> {
    let died = || Err(Error::Refused("the mount's thread died; see the log".to_owned()));
    match events.recv() {
        Ok(Event::Served(served)) => served.map(|()| End::Unused),
        Ok(Event::Leave) => match events.recv_timeout(LEAVE_WITHIN) {
            Ok(Event::Served(served)) => served.map(|()| End::Unused),
            Ok(Event::Leave) | Err(mpsc::RecvTimeoutError::Timeout) => {
                tracing::warn!("the mount is still in use and ends all the same");
                Ok(End::InUse)
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => died(),
        },
        Err(mpsc::RecvError) => died(),
    }
}

fn engine_options(options: &MountOptions, store: &Path, mountpoint: &Path) -> Result<Options> {
    let space = rustix::fs::statvfs(store).context("statfs", store)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(Options {
        settle: options.settle,
        hot_cache_bytes: options.hot_cache_bytes(space.f_bavail.saturating_mul(space.f_frsize)),
        cache_bytes: options.cache_bytes,
        threads: options.threads,
        hydrate_threads: cores.min(8),
        hot: Some(options.hot_folder(store)),
        meta: crate::meta::Options::default(),
        history: HistoryOptions {
            settle: options.settle,
            provenance: true,
            mountpoint: mountpoint.to_owned(),
            ..HistoryOptions::default()
        },
    })
}

fn mount_spec(options: &MountOptions, store: &Path, mountpoint: &Path) -> MountSpec {
    MountSpec {
        mountpoint: mountpoint.to_owned(),
        name: options.fsname.clone().unwrap_or_else(|| path_text(store)),
        allow_other: options.allow_other,
        read_only: options.ro,
        suid: options.suid,
        dev: options.dev,
        noexec: options.noexec,
        passthrough: match options.passthrough {
            config::Passthrough::Auto => Passthrough::Auto,
            config::Passthrough::On => Passthrough::On,
            config::Passthrough::Off => Passthrough::Off,
        },
    }
}

fn pressure_status(pressure: &Pressure) -> PressureStatus {
    PressureStatus {
        active: pressure.active,
        since: pressure.since.map(rfc3339),
        min_free: pressure.min_free,
        versions: pressure.versions,
        freed_bytes: pressure.freed_bytes,
        what_it_did: pressure.what_it_did.clone(),
        gave_up_because: pressure.gave_up_because.clone(),
    }
}

/// A running daemon, as the control socket sees it.
struct Running {
    engine: Arc<Engine>,
    unmounter: Unmounter,
    mountpoint: std::path::PathBuf,
    holder: crate::engine::lock::Holder,
    no_passthrough: Option<String>,
    events: mpsc::Sender<Event>,
}

impl Handler for Running {
    fn status(&self) -> Status {
        let (report, failure) = match self.engine.report_status() {
            Ok(report) => (report, None),
            Err(error) => (Report::default(), Some(error.to_string())),
        };
        let free = self.engine.space().map_or(0, |space| space.f_bavail.saturating_mul(space.f_frsize));
        let stored = report.packs.stored_bytes;
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: self.holder.pid,
            host: self.holder.host.clone(),
            store: path_text(self.engine.store()),
            mountpoint: path_text(&self.mountpoint),
            since: self.holder.since.clone(),
            health: match (&report.poisoned, failure) {
                (Some(why), _) => format!("read-only: {why}"),
                (None, Some(why)) => format!("not readable: {why}"),
                (None, None) => "ok".to_owned(),
            },
            passthrough: PassthroughStatus {
                on: self.no_passthrough.is_none(),
                why: self
                    .no_passthrough
                    .clone()
                    .unwrap_or_else(|| "the kernel works on hot files by itself".to_owned()),
            },
            sealing: Sealing {
                queued_files: report.queued_files as u64,
                queued_bytes: report.queued_bytes,
                in_progress: report.in_progress as u64,
                sealed_files: report.sealed_files,
                sealed_bytes: report.sealed_bytes,
                lag_seconds: report.lag.as_secs(),
            },
            hot_files: report.hot_files,
            hot_bytes: report.hot_bytes,
            logical_bytes: report.logical_bytes,
            stored_bytes: stored,
            ratio: (stored > 0).then(|| report.sealed_live_bytes as f64 / stored as f64),
            chunks: report.packs.chunks,
            history_bytes: report.history_bytes,
            pressure: pressure_status(&report.pressure),
            free_bytes: free,
            last_errors: report
                .faults
                .iter()
                .map(|fault| LastError { time: rfc3339(fault.at), what: fault.what.clone() })
                .collect(),
        }
    }

    fn seal_all(&self, progress: &dyn Monitor) -> Result<()> {
        self.engine.seal_all(progress)
    }

    fn reclaim(&self, dry_run: bool, progress: &dyn Monitor) -> Result<Reclaimed> {
        self.engine.reclaim_as(How { dry_run, ..How::NOW }, progress)
    }

    fn request_unmount(&self, how: Leave) -> Result<()> {
        match how {
            Leave::IfIdle => self.unmounter.unmount(),
            Leave::Now => {
                self.unmounter.detach()?;
                drop(self.events.send(Event::Leave));
                Ok(())
            }
        }
    }
}
