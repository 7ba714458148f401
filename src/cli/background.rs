//! A daemon in the background, without a fork in a threaded process: the program starts itself again, detached.
//!
//! The child's stdout is a pipe to the parent and carries lines of progress, if opening the store takes long, and then
//! `ready` or `failed: why`; the parent ends with that. The child's stderr is STORE/ckptfs.log. Nothing of the caller's terminal or pipes stays open in the child,
//! so `$(ckptfs mount ...)` returns.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::failure::{Failure, Outcome};
use super::mount::Plan;
use super::progress::Progress;
use super::{Daemon, daemon};
use crate::base::lock::lock;
use crate::base::monitor::Monitor;
use crate::base::{IoContext, Result, private};
use crate::engine::layout::Layout;

/// The log is emptied at a mount that finds more than this in it.
const LOG_BYTES_MAX: u64 = 16 << 20;
/// The longest line that a child says.
const LINE_BYTES_MAX: u64 = 64 << 10;
const READY: &str = "ready";
const FAILED: &str = "failed: ";
const PROGRESS: &str = "progress: ";
/// Progress is said at most this often.
const SAY_EVERY: Duration = Duration::from_millis(200);

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
        line = last_line(BufReader::new(pipe)).context("hear from", &program)?;
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

/// The first line that is not of progress, which is shown meanwhile.
fn last_line(mut pipe: impl BufRead) -> std::io::Result<String> {
    let progress = Progress::patient();
    loop {
        let mut line = String::new();
        pipe.by_ref().take(LINE_BYTES_MAX).read_line(&mut line)?;
        let Some(step) = line.strip_prefix(PROGRESS) else {
            progress.finish();
            return Ok(line);
        };
        match serde_json::from_str(step) {
            Ok(Step::Begin(what, total)) => progress.begin(&what, total),
            Ok(Step::Advance(done)) => progress.advance(done),
            Err(error) => tracing::debug!("odd progress: {error}"),
        }
    }
}

/// One line of progress.
#[derive(Serialize, Deserialize)]
enum Step {
    /// A phase begins: what is done, and how many units there are.
    Begin(String, u64),
    /// So many units are done.
    Advance(u64),
}

/// Says to the parent how far it is, not too often.
struct Told {
    said: Mutex<Instant>,
}

impl Told {
    fn say(step: &Step) {
        match serde_json::to_string(step) {
            Ok(text) => say(&format!("{PROGRESS}{text}")),
            Err(error) => tracing::debug!("progress: {error}"),
        }
    }
}

impl Monitor for Told {
    fn begin(&self, what: &str, total: u64) {
        Told::say(&Step::Begin(what.to_owned(), total));
    }

    fn advance(&self, done: u64) {
        let mut said = lock(&self.said);
        if said.elapsed() >= SAY_EVERY {
            *said = Instant::now();
            Told::say(&Step::Advance(done));
        }
    }
}

/// The child's side: serves, leaves the caller's session, and tells the parent how it began.
///
/// It leaves late. The kernel lets only the process group of an automounter (systemd's own, for `x-systemd.automount`) at a
/// place that mounts on first use, while that first use waits; and what is interrupted before it is usable ends.
pub(super) fn serve(plan: impl FnOnce() -> Outcome<Plan>, daemon: &dyn Daemon) -> Outcome {
    let mut told = false;
    let served = detach_and_serve(plan, daemon, &mut told);
    if let (false, Err(failure)) = (told, &served) {
        say(&format!("{FAILED}{}", failure.to_string().replace('\n', " ")));
    }
    served
}

fn detach_and_serve(plan: impl FnOnce() -> Outcome<Plan>, daemon: &dyn Daemon, told: &mut bool) -> Outcome {
    let plan = plan()?;
    // The folder it was started in must stay free to be unmounted or removed.
    std::env::set_current_dir("/").context("enter", "/".as_ref())?;
    let ready = || {
        rustix::process::setsid().context("leave the session of", "/proc/self".as_ref())?;
        *told = true;
        say(READY);
        Ok(())
    };
    let progress = Told { said: Mutex::new(Instant::now()) };
    Ok(daemon::serve(&plan, daemon, &progress, Arc::default(), ready)?)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_passed_over_and_the_verdict_is_what_is_left() {
        let step = |step| format!("{PROGRESS}{}\n", serde_json::to_string(&step).unwrap());
        let said = [step(Step::Begin("rebuilding".into(), 7)), step(Step::Advance(3)), "failed: no\n".into()]
            .concat();
        assert_eq!(last_line(said.as_bytes()).unwrap(), "failed: no\n");
        assert_eq!(last_line(&b"progress: odd\nready\n"[..]).unwrap(), "ready\n");
        assert_eq!(last_line(&b""[..]).unwrap(), "");
    }
}
