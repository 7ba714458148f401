//! The process around a daemon: limits, signals, log, control socket.
//!
//! Order: log, limits and signals before anything is opened; the socket and the signal thread once the mount is usable,
//! then `ready`. After the daemon returns, answers that are under way are finished, and the process ends.

use std::io::IsTerminal;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing_subscriber::EnvFilter;

use super::Daemon;
use super::mount::Plan;
use super::service::Manager;
use crate::base::monitor::Monitor;
use crate::base::{IoContext, Result};
use crate::control::server::Server;
use crate::control::{Handler, Leave};

/// From a signal to the end of the process, however far it has come: a preempted node waits for 10 s.
const END_WITHIN: Duration = Duration::from_millis(9500);
/// What the end of the process itself may take, so that a service manager does not kill it at its last step.
const END_MARGIN: Duration = Duration::from_secs(3);
/// For answers that are under way when the mount has gone.
const DRAIN: Duration = Duration::from_secs(1);

/// Runs `daemon` in this process; calls `ready` once the mount is usable, returns when it is gone. `manager` hears of both.
pub(super) fn serve(
    plan: &Plan,
    daemon: &dyn Daemon,
    progress: &dyn Monitor,
    manager: Arc<Manager>,
    ready: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let (store, mountpoint) = (plan.layout.root(), plan.mountpoint.as_path());
    start_log();
    raise_open_files();
    ignore_sigio();
    let mut server = None;
    let usable = Box::new(|handler: Arc<dyn Handler>| {
        server = Some(Server::start(store, handler.clone())?);
        end_on_signals(handler, manager.clone()).context("watch signals for", store)?;
        let what = format!("{} is mounted at {}", store.display(), mountpoint.display());
        tracing::info!("{what}");
        manager.ready(&what);
        ready()
    });
    let served = daemon.serve(&plan.options, store, mountpoint, usable, progress);
    if let Some(server) = &server {
        server.end(DRAIN);
    }
    served?;
    tracing::info!("{} is unmounted, everything is durable", mountpoint.display());
    Ok(())
}

fn start_log() {
    let filter = EnvFilter::try_from_env("CKPTFS_LOG").unwrap_or_else(|_| EnvFilter::new("info,sled=warn"));
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        // Else a log that cannot be written, on a full disk, ends the thread that has something to say.
        .log_internal_errors(false)
        .try_init();
    if started.is_err() {
        tracing::debug!("this process has a log already");
    }
}

/// Every hot file that is open costs a descriptor: take all that the limit allows.
fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        tracing::warn!("cannot raise the limit of open files above {:?}: {error}", limit.current);
    }
}

/// A broken lease sends SIGIO, whose default is death. (Rust ignores SIGPIPE at start.)
fn ignore_sigio() {
    // SAFETY: SIG_IGN installs no handler code; no other thread relies on SIGIO.
    let before = unsafe { libc::signal(libc::SIGIO, libc::SIG_IGN) };
    if before == libc::SIG_ERR {
        tracing::warn!("cannot ignore SIGIO: {}", std::io::Error::last_os_error());
    }
}

/// On the first signal the mount is taken away, busy or not; the process ends in time even if that does not.
fn end_on_signals(handler: Arc<dyn Handler>, manager: Arc<Manager>) -> std::io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    let wait = move || {
        let Some(signal) = signals.forever().next() else { return };
        tracing::info!("signal {signal}: making everything durable");
        manager.stopping("making everything durable", END_WITHIN + END_MARGIN);
        let deadline = thread::Builder::new().name("deadline".into()).spawn(|| {
            thread::sleep(END_WITHIN);
            tracing::error!(
                "not ended in time; what is journalled is kept, and the next mount recovers the rest"
            );
            std::process::exit(1);
        });
        if let Err(error) = deadline.map(drop) {
            tracing::warn!("no thread for the deadline: {error}");
        }
        if let Err(error) = handler.request_unmount(Leave::Now) {
            tracing::error!("cannot unmount: {error}");
        }
    };
    thread::Builder::new().name("signals".into()).spawn(wait).map(drop)
}
