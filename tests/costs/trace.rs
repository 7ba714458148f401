//! What a daemon does between two moments: its system calls on the store and on the FUSE device, under strace.
//!
//! Only calls that work on something in the store, or are an ioctl of the device, count: these follow from the work. How
//! often a thread waits, or looks at /proc, follows from the machine. Threads that work by the clock do not count; a sync
//! by the clock also takes work from others, and is told, so that the scenario runs again.
//!
//! Order of an end: a request that does nothing is answered, so all before it were received; then all threads that
//! count wait; then strace lets go.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use ckptfs::control::Status;
use ckptfs::control::client::Client;

use crate::common::*;
use crate::table::Counts;

const CURE: &str = "strace is missing; install it with: apt-get install strace";
/// Threads that work by the clock, or when nothing else is to be done.
const BY_CLOCK: &[&str] = &["sync", "pressure", "checkpoint", "sled", "scrub", "reencode", "reclaim"];
/// Longest wait for strace, or for the daemon to come to rest.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// A daemon under strace.
pub(crate) struct Trace<'a> {
    mount: &'a Mount,
    strace: Child,
    log: PathBuf,
    requests: BTreeMap<String, u64>,
}

/// What it did.
pub(crate) struct Seen {
    pub(crate) counts: Counts,
    /// Names were synced because some seconds had passed.
    pub(crate) clock_struck: bool,
}

impl<'a> Trace<'a> {
    /// Begins to look.
    pub(crate) fn new(mount: &'a Mount) -> Trace<'a> {
        let Status { pid, requests, .. } = status(mount);
        let folder = mount.store().parent().unwrap().to_owned();
        let (log, said) = (folder.join("strace.log"), folder.join("strace.said"));
        let mut command = Command::new("strace");
        // Threads by name, descriptors by path, no contents.
        command.args(["-f", "-Y", "-y", "-s", "0", "-o"]).arg(&log);
        command.args(["-p", &pid.to_string()]).stderr(fs::File::create(&said).unwrap());
        let strace = command.stdin(Stdio::null()).spawn().expect(CURE);
        let mut trace = Trace { mount, strace, log, requests };
        trace.await_or_die(&said, "strace attaches", |_| {
            fs::read_to_string(&said).unwrap_or_default().contains("attached")
        });
        trace.rest();
        trace
    }

    /// Waits until the daemon is at rest, and tells what it did.
    pub(crate) fn end(mut self) -> Seen {
        let mut value = [0; 4096];
        // Answered from memory.
        let asked = rustix::fs::getxattr(self.mount.root(), "user.ckptfs.store", &mut value);
        assert!(asked.unwrap() > 0);
        self.rest();
        let pid = i32::try_from(self.strace.id()).unwrap();
        // SAFETY: plain integers; the process is this test's child and was not waited for.
        assert_eq!(unsafe { libc::kill(pid, libc::SIGINT) }, 0);
        self.strace.wait().unwrap();
        let mut seen = read(&fs::read_to_string(&self.log).unwrap(), &self.mount.store());
        let own = HashMap::from([("getxattr", 1)]);
        for (kind, count) in status(self.mount).requests {
            let before = self.requests.get(&kind).copied().unwrap_or(0);
            let count = count - before - own.get(kind.as_str()).copied().unwrap_or(0);
            // The kernel forgets what it pleases, when it pleases.
            if count > 0 && kind != "forget" {
                seen.counts.insert(format!("request {kind}"), count);
            }
        }
        seen
    }

    /// Waits until every thread that counts waits, for a while.
    fn rest(&mut self) {
        let log = self.log.clone();
        let mut calm = 0;
        self.await_or_die(&log, "the daemon comes to rest", |text| {
            calm = if is_at_rest(text) { calm + 1 } else { 0 };
            calm >= 4
        });
    }

    /// Looks at `file` until `holds`.
    fn await_or_die(&mut self, file: &Path, what: &str, mut holds: impl FnMut(&str) -> bool) {
        let begun = Instant::now();
        loop {
            let text = fs::read_to_string(file).unwrap_or_default();
            if holds(&text) {
                return;
            }
            let ended = self.strace.try_wait().unwrap();
            assert!(ended.is_none(), "strace cannot look at the daemon, which needs root: {text}");
            assert!(begun.elapsed() < WAIT_MAX, "never: {what}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Trace<'_> {
    fn drop(&mut self) {
        // After a failed test; else it has ended.
        drop(self.strace.kill());
        drop(self.strace.wait());
    }
}

/// What the daemon says of itself. Not by the command, which looks at the mount too.
pub(crate) fn status(mount: &Mount) -> Status {
    Client::connect(&mount.store()).unwrap().unwrap().status().unwrap()
}

/// A line of strace: the thread's number and name, and what it did.
fn line(text: &str) -> Option<(&str, &str, &str)> {
    let (thread, did) = text.split_once("> ")?;
    let (number, name) = thread.split_once('<')?;
    Some((number, name, did.trim_start()))
}

fn is_by_clock(name: &str) -> bool {
    BY_CLOCK.iter().any(|clock| name.starts_with(clock))
}

/// Whether the last thing that each thread did was to begin to wait.
fn is_at_rest(text: &str) -> bool {
    let mut last = HashMap::new();
    for (number, name, did) in text.lines().filter_map(line) {
        last.insert(number, is_by_clock(name) || did.ends_with("<unfinished ...>") || did.starts_with("+++"));
    }
    last.values().all(|waits| *waits)
}

/// Counts the calls of a log.
fn read(text: &str, store: &Path) -> Seen {
    let store = format!("{}/", store.to_str().unwrap());
    let mut seen = Seen { counts: Counts::new(), clock_struck: false };
    let mut under_way = HashMap::new();
    for (number, name, did) in text.lines().filter_map(line) {
        let begun =
            did.strip_prefix("<... ").map_or_else(|| begun(did, &store), |_| under_way.remove(number));
        let Some((place, call)) = begun else { continue };
        if did.ends_with("<unfinished ...>") {
            under_way.insert(number, (place, call));
        } else if is_by_clock(name) {
            seen.clock_struck |= name == "sync";
        } else {
            *seen.counts.entry(format!("{place} {call}")).or_default() += 1;
            if let (Some(bytes), Some(way)) = (result(did), way(call)) {
                *seen.counts.entry(format!("{place} bytes {way}")).or_default() += bytes;
            }
        }
    }
    seen
}

/// Where a call works and its name, if it counts.
fn begun<'a>(did: &'a str, store: &str) -> Option<(&'a str, &'a str)> {
    let (call, arguments) = did.split_once('(')?;
    if call == "ioctl" && arguments.contains("</dev/fuse>") {
        return Some(("device", call));
    }
    // In a debug build the standard library looks at each descriptor before it closes it.
    if arguments.contains("F_GETFD") {
        return None;
    }
    let (_, path) = arguments.split_once(store)?;
    let place = path.split(['/', '"', '>']).next()?;
    // What the database has in its cache is its own affair.
    (place != "catalog").then_some((place, call))
}

/// What a call returned, if that is a number.
fn result(did: &str) -> Option<u64> {
    did.rsplit_once(" = ")?.1.split_whitespace().next()?.parse().ok()
}

fn way(call: &str) -> Option<&'static str> {
    match call {
        "read" | "pread64" | "readv" | "preadv" => Some("read"),
        "write" | "pwrite64" | "writev" | "pwritev" => Some("written"),
        "copy_file_range" => Some("copied"),
        _ => None,
    }
}
