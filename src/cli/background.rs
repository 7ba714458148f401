//! A daemon in the background, without a fork in a threaded process: the program starts itself again, detached.
//!
//! The child's stdout is a pipe to the parent and carries exactly one line, `ready` or `failed: why`; the parent ends
//! with that. The child's stderr is STORE/ckptfs.log. Nothing of the caller's terminal or pipes stays open in the child,
//! so `$(ckptfs mount ...)` returns.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};

use super::failure::{Failure, Outcome};
use super::mount::Plan;
use super::{Daemon, daemon};
use crate::base::{IoContext, Result, private};
use crate::engine::layout::Layout;

/// The log is emptied at a mount that finds more than this in it.
const LOG_BYTES_MAX: u64 = 16 << 20;
/// The longest line that a child says.
const LINE_BYTES_MAX: u64 = 64 << 10;
const READY: &str = "ready";
const FAILED: &str = "failed: ";

/// Starts the daemon for `args` (of this program) and returns once its mount is usable.
pub(super) fn launch(plan: &Plan, args: &[OsString]) -> Outcome {
    let log = open_log(&plan.layout)?;
    let program = std::env::current_exe().context("find", "/proc/self/exe".as_ref())?;
    let mut child = Command::new(&program)
        .args(["mount", "--detached"])
        .args(args.iter().skip(2))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .context("start", &program)?;
    let mut line = String::new();
    if let Some(pipe) = child.stdout.take() {
        BufReader::new(pipe).take(LINE_BYTES_MAX).read_line(&mut line).context("hear from", &program)?;
    }
    let line = line.trim_end();
    if line == READY {
        return Ok(());
    }
    let ended = child.wait().context("wait for", &program)?;
    Err(Failure::Failed(match line.strip_prefix(FAILED) {
        Some(why) => why.to_owned(),
        None => {
            format!("the daemon ended before it was ready ({ended}); see {}", plan.layout.log().display())
        }
    }))
}

/// The child's side: leaves the caller's session, serves, and tells the parent how it began.
pub(super) fn serve(plan: impl FnOnce() -> Outcome<Plan>, daemon: &dyn Daemon) -> Outcome {
    let mut told = false;
    let served = detach_and_serve(plan, daemon, &mut told);
    if let (false, Err(failure)) = (told, &served) {
        say(&format!("{FAILED}{}", failure.to_string().replace('\n', " ")));
    }
    served
}

fn detach_and_serve(plan: impl FnOnce() -> Outcome<Plan>, daemon: &dyn Daemon, told: &mut bool) -> Outcome {
    rustix::process::setsid().context("leave the session of", "/proc/self".as_ref())?;
    let plan = plan()?;
    // The folder it was started in must stay free to be unmounted or removed.
    std::env::set_current_dir("/").context("enter", "/".as_ref())?;
    let ready = || {
        *told = true;
        say(READY);
        Ok(())
    };
    Ok(daemon::serve(&plan, daemon, ready)?)
}

/// A parent that was killed meanwhile does not hear it; the mount is as good without it.
fn say(line: &str) {
    let mut out = std::io::stdout();
    if let Err(error) = writeln!(out, "{line}").and_then(|()| out.flush()) {
        tracing::warn!("cannot tell the starting command: {error}");
    }
}

fn open_log(layout: &Layout) -> Result<File> {
    let path = layout.log();
    let log = private::open_or_create(&path, File::options().append(true))?;
    if log.metadata().context("look at", &path)?.len() > LOG_BYTES_MAX {
        log.set_len(0).context("empty", &path)?;
    }
    Ok(log)
}
