//! The daemon: a locked store, its engine, and the mount, from the first open to the last sync.
//!
//! Order: lock, engine, mount, background work, `ready`; requests are answered until the mount is gone;
//! then the engine is shut down, and the lock is freed last.

mod running;

use std::path::Path;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use crate::base::fault;
use crate::base::monitor::Monitor;
use crate::base::{Error, IoContext, Result};
use crate::check::{Area, Findings};
use crate::cli::{Daemon, Ready};
use crate::command::{self, Answer, Command, Export, Exported};
use crate::control::status::path_text;
use crate::engine::check::{Checked, closed};
use crate::engine::history::export::Sink;
use crate::engine::history::{HistoryOptions, Snapdir, SnapshotAdmin};
use crate::engine::hot_place;
use crate::engine::layout::{Layout, Store};
use crate::engine::lock::{Holder, StoreLock};
use crate::engine::reclaim::{How, Reclaimed};
use crate::engine::shutdown::End;
use crate::engine::workers::Workers;
use crate::engine::{Engine, Options};
use crate::fuse::{MountSpec, Mounted, Passthrough};
use crate::namespace::Caller;
use crate::options::{self, MountOptions};
use running::Running;

/// How long those who use the mount may stay after a signal.
const LEAVE_WITHIN: Duration = Duration::from_millis(500);

/// The filesystem behind `ckptfs mount`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filesystem;

impl Daemon for Filesystem {
    fn serve(
        &self,
        options: &MountOptions,
        store: &Path,
        mountpoint: &Path,
        ready: Ready<'_>,
        progress: &dyn Monitor,
    ) -> Result<()> {
        fault::arm()?;
        let store = Store::open(store, mountpoint)?;
        let root = store.layout.root().to_owned();
        let owner = caller();
        let mut options = options.clone();
        options.hot = Some(hot_place::settle(&store.layout, options.hot.as_deref())?);
        let options = &options;
        let engine = Engine::start(&root, engine_options(options, &root, mountpoint)?, owner, progress)?;
        let mounted = Mounted::new(engine.clone(), &mount_spec(options, &root, mountpoint))?;
        let workers = Workers::start(&engine)?;
        let unmounter = mounted.unmounter();
        let (ended, events) = mpsc::channel();
        let handler = Arc::new(Running {
            engine: engine.clone(),
            unmounter: unmounter.clone(),
            requests: mounted.requests.clone(),
            mountpoint: mountpoint.to_owned(),
            holder: store.lock.holder().clone(),
            no_passthrough: mounted.no_passthrough.clone(),
            events: ended.clone(),
            read_only: options.ro,
        });
        let (ask_us, answerable) = mpsc::channel();
        let serve = move || {
            // Whoever sees that the mount answers may ask the daemon something at once.
            if answerable.recv().is_err() {
                return;
            }
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
        // The thread is there: it waits for this.
        ask_us.send(()).unwrap_or_default();
        let end = wait_for_end(&events)?;
        engine.shut_down(&workers, end)
    }

    fn execute(
        &self,
        options: &MountOptions,
        store: &Path,
        command: Command,
        progress: &dyn Monitor,
    ) -> Result<Answer> {
        if let Command::Check { read_data, repair } = command {
            return check(options, store, read_data, repair, progress)
                .map(|checked| Answer::Checked(Box::new(checked)));
        }
        let needs_workers = command.needs_workers();
        let work = |engine: &Arc<Engine>| command::execute(engine, command, progress);
        unmounted(options, store, needs_workers, progress, work)
    }

    fn export(
        &self,
        options: &MountOptions,
        store: &Path,
        export: &Export,
        sink: &mut dyn Sink,
        progress: &dyn Monitor,
    ) -> Result<Exported> {
        unmounted(options, store, false, progress, |engine| command::export(engine, export, sink))
    }

    fn reclaim(
        &self,
        options: &MountOptions,
        store: &Path,
        dry_run: bool,
        progress: &dyn Monitor,
    ) -> Result<Reclaimed> {
        let how = How { dry_run, ..How::NOW };
        unmounted(options, store, false, progress, |engine| engine.reclaim_as(how, progress))
    }
}

/// Works in a store that is not mounted: locked and opened before, closed in order after, whatever came of the work.
fn unmounted<T>(
    options: &MountOptions,
    store: &Path,
    needs_workers: bool,
    progress: &dyn Monitor,
    work: impl FnOnce(&Arc<Engine>) -> Result<T>,
) -> Result<T> {
    // No mountpoint: that is how others see that a command holds the store.
    let store = Store::open(store, Path::new(""))?;
    let root = store.layout.root().to_owned();
    let mut options = options.clone();
    options.hot = hot_place::recall(&store.layout)?.or(options.hot);
    let engine = Engine::start(&root, engine_options(&options, &root, Path::new(""))?, caller(), progress)?;
    let workers = if needs_workers { Workers::start(&engine)? } else { Workers::none(&engine) };
    let done = work(&engine);
    let closed = engine.close_store(&workers);
    done.and_then(|done| closed.map(|()| done))
}

/// Checks a store that is not mounted, and mends it if `repair`.
fn check(
    options: &MountOptions,
    store: &Path,
    read_data: bool,
    repair: bool,
    progress: &dyn Monitor,
) -> Result<Checked> {
    let layout = Layout::new(store);
    // Another format is not ours to judge, to lock or to mend.
    if let Err(error @ Error::Refused(_)) = layout.read_format() {
        return Err(error);
    }
    let (mut before, mut done, mut names_are_lost) = (Findings::default(), Vec::new(), false);
    {
        // Freed before the store is opened, which takes it again.
        let _lock = StoreLock::acquire(&layout.lock(), Holder::this_process(Path::new("")))?;
        let closed = closed::examine(&layout)?;
        if repair && !closed.is_whole() {
            let hot = hot_place::recall(&layout)?.or(options.hot.clone());
            let hot = hot.unwrap_or_else(|| layout.hot());
            (done, names_are_lost) = closed.repair(&layout, &hot, progress)?;
        } else {
            before = closed.findings;
        }
    }
    let checked = unmounted(options, store, false, progress, |engine| match repair {
        true => engine.repair(names_are_lost, progress),
        false => engine.check(read_data, progress),
    });
    match checked {
        Ok(mut checked) => {
            before.extend(std::mem::take(&mut checked.findings));
            checked.findings = before;
            done.append(&mut checked.repaired);
            checked.repaired = done;
            Ok(checked)
        }
        // What keeps it from being opened is among the findings.
        Err(error @ Error::Damaged { .. }) if !before.is_empty() => {
            before.add(Area::Folder, format!("the store does not open: {error}"), None);
            Ok(Checked { findings: before, ..Checked::default() })
        }
        Err(error) => Err(error),
    }
}

fn caller() -> Caller {
    Caller { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() }
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
        scrub_rate: options.scrub_rate,
        hot: Some(options.hot_folder(store)),
        meta: crate::meta::Options::default(),
        history: history_options(options, mountpoint),
    })
}

fn history_options(options: &MountOptions, mountpoint: &Path) -> HistoryOptions {
    HistoryOptions {
        settle: options.settle,
        runs: options.runs.clone(),
        policy: options.policy.clone(),
        provenance: options.provenance != options::Provenance::Off,
        provenance_args: options.provenance == options::Provenance::Args,
        mountpoint: mountpoint.to_owned(),
        snapdir: match options.snapdir {
            options::Snapdir::Hidden => Snapdir::Hidden,
            options::Snapdir::Visible => Snapdir::Visible,
            options::Snapdir::Disabled => Snapdir::Disabled,
        },
        snapdir_name: options.snapdir_name.clone(),
        snapshot_admin: match options.snapshot_admin {
            options::SnapshotAdmin::Owner => SnapshotAdmin::Owner,
            options::SnapshotAdmin::Root => SnapshotAdmin::Root,
        },
        min_free: options.min_free.unwrap_or(0),
    }
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
            options::Passthrough::Auto => Passthrough::Auto,
            options::Passthrough::On => Passthrough::On,
            options::Passthrough::Off => Passthrough::Off,
        },
    }
}
