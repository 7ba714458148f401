//! One scenario: a store of its own, what is there before, and the act that is counted.

use std::fs::{self, File};
use std::path::PathBuf;

use ckptfs::base::monitor::Silent;
use ckptfs::control::client::Client;

use crate::common::*;
use crate::table::{self, Counts};
use crate::trace::{Trace, status};

/// How often a scenario is tried: a clock may strike in the middle of it, or a thread be late on a loaded machine.
const TRIES: usize = 4;

/// Something that users do, and what must be there for it.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) before: fn(&Mount),
    pub(crate) act: fn(&Mount),
}

/// Counts each of `all` and holds the counts against the table.
#[track_caller]
pub(crate) fn run<'a>(all: impl Iterator<Item = &'a Scenario>, passthrough: &str) {
    let mut differences = Vec::new();
    for scenario in all {
        let section = format!("{}, passthrough {passthrough}", scenario.name);
        if table::is_renewed() {
            table::renew(&section, &scenario.steady(passthrough));
            continue;
        }
        let tries = (0..TRIES).map(|_| table::differences(&section, &scenario.undisturbed(passthrough)));
        let mut last = Vec::new();
        for told in tries {
            last = told;
            if last.is_empty() {
                break;
            }
        }
        differences.append(&mut last);
    }
    table::none(&differences);
}

impl Scenario {
    /// What it costs, the second time it is seen.
    fn steady(&self, passthrough: &str) -> Counts {
        let mut seen = Vec::<Counts>::new();
        loop {
            let counts = self.undisturbed(passthrough);
            if seen.iter().any(|before| is_like(before, &counts)) {
                return counts;
            }
            seen.push(counts);
            assert!(seen.len() <= TRIES, "{}: the counts are never the same: {seen:#?}", self.name);
        }
    }

    /// What it costs when no clock strikes.
    fn undisturbed(&self, passthrough: &str) -> Counts {
        for _ in 0..TRIES {
            let passthrough = format!("passthrough={passthrough}");
            let mount = Mount::with(&["settle=1h", "hot_cache=0", &passthrough]);
            warm_up(&mount);
            (self.before)(&mount);
            closed(&mount);
            let trace = Trace::new(&mount);
            (self.act)(&mount);
            let seen = trace.end();
            mount.no_faults();
            if !seen.clock_struck {
                return seen.counts;
            }
        }
        panic!("{}: takes longer than names stay unsynced, {TRIES} times", self.name);
    }
}

/// Whether two times cost the same but for the lengths of records.
fn is_like(one: &Counts, other: &Counts) -> bool {
    let exact = |counts: &Counts| -> Counts {
        counts.iter().filter(|(name, _)| !name.contains(" bytes ")).map(|(n, c)| (n.clone(), *c)).collect()
    };
    exact(one) == exact(other)
}

/// What is done once in a mount is no cost of what comes first.
pub(crate) fn warm_up(mount: &Mount) {
    fs::write(mount.path("warm"), "warm").unwrap();
    fs::remove_file(mount.path("warm")).unwrap();
    clean(mount);
}

/// Makes names durable, and waits until the hot files that this lets go are gone from the disk.
pub(crate) fn clean(mount: &Mount) {
    File::open(mount.root()).unwrap().sync_all().unwrap();
    eventually("deleted files are gone", || hot_on_disk(mount).len() as u64 == status(mount).hot_files);
}

/// Files in the folders of hot files.
fn hot_on_disk(mount: &Mount) -> Vec<PathBuf> {
    let folders = fs::read_dir(mount.store().join("hot")).unwrap();
    let files = folders.flat_map(|folder| fs::read_dir(folder.unwrap().path()).unwrap());
    files.map(|file| file.unwrap().path()).collect()
}

/// Waits until the daemon knows of every close(2), which the kernel tells it later, and the disk below has allocated all
/// blocks: their number is in a version, and a debug build, which looks twice, takes exception to another one.
pub(crate) fn closed(mount: &Mount) {
    eventually("all is closed", || {
        let requests = status(mount).requests;
        let of = |kind: &str| requests.get(kind).copied().unwrap_or(0);
        of("open") + of("create") == of("release")
    });
    // One that was sealed meanwhile is gone.
    hot_on_disk(mount).iter().flat_map(File::open).for_each(|file| file.sync_all().unwrap());
}

/// Seals all files, and waits until that was done.
pub(crate) fn seal_all(mount: &Mount) {
    Client::connect(&mount.store()).unwrap().unwrap().sync(&Silent).unwrap();
}

/// Mounts again: nothing is in the memory of the daemon or, of its files, in the kernel's.
pub(crate) fn make_cold(mount: &Mount) {
    mount.remount();
    warm_up(mount);
}

/// A command on the mount.
#[track_caller]
pub(crate) fn command(words: &[&str]) {
    let done = ckptfs(words);
    assert!(done.status.success(), "{words:?}: {}", said(&done));
}
