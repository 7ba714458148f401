//! Checkpoint files that were written and are in no version yet, by run.
//!
//! A burst lasts from the first such file of a run until a version is made of it. Memory: one small entry a file.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::catalog::keys::Ino;

/// A file that is in no version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fresh {
    /// The directory that is its run.
    pub(super) run: Ino,
    /// When it was closed or renamed last.
    pub(super) at: Instant,
    /// Its place in the order of closing.
    pub(super) order: u64,
    /// The process that opened it for writing, if that is known.
    pub(super) pid: u32,
}

/// All files that are in no version yet.
#[derive(Debug, Default)]
pub(super) struct Bursts {
    files: HashMap<Ino, Fresh>,
    /// When something happened last in each run.
    last: HashMap<Ino, Instant>,
    order: u64,
    /// Settle everything now.
    pub(super) hurry: bool,
}

impl Bursts {
    /// File `ino` of `run` is complete since `at`.
    pub(super) fn note(&mut self, ino: Ino, run: Ino, at: Instant, pid: u32) {
        self.order += 1;
        let pid = if pid == 0 { self.files.get(&ino).map_or(0, |fresh| fresh.pid) } else { pid };
        self.files.insert(ino, Fresh { run, at, order: self.order, pid });
        let last = self.last.entry(run).or_insert(at);
        *last = (*last).max(at);
    }

    /// File `ino` is in a version, or gone.
    pub(super) fn forget(&mut self, ino: Ino) {
        if let Some(fresh) = self.files.remove(&ino) {
            self.drop_run(fresh.run);
        }
    }

    /// Forgets `run` where no file of it is left.
    pub(super) fn drop_run(&mut self, run: Ino) {
        if !self.files.values().any(|fresh| fresh.run == run) {
            self.last.remove(&run);
        }
    }

    /// Forgets those of `taken` that nothing happened to since they were listed.
    pub(super) fn forget_unchanged(&mut self, taken: &[(Ino, Fresh)]) {
        for (ino, fresh) in taken {
            if self.files.get(ino) == Some(fresh) {
                self.files.remove(ino);
            }
        }
        let files = &self.files;
        self.last.retain(|run, _| files.values().any(|fresh| fresh.run == *run));
    }

    pub(super) fn get(&self, ino: Ino) -> Option<Fresh> {
        self.files.get(&ino).copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Whether another file of the same run was completed after `fresh`.
    pub(super) fn has_newer(&self, fresh: &Fresh) -> bool {
        self.files.values().any(|other| other.run == fresh.run && other.order > fresh.order)
    }

    pub(super) fn files(&self) -> Vec<(Ino, Fresh)> {
        self.files.iter().map(|(ino, fresh)| (*ino, *fresh)).collect()
    }

    /// Runs in which nothing has happened for `settle`.
    pub(super) fn due(&self, now: Instant, settle: Duration) -> Vec<Ino> {
        let due = |at: &Instant| self.hurry || now.saturating_duration_since(*at) >= settle;
        self.last.iter().filter(|(_, at)| due(at)).map(|(run, _)| *run).collect()
    }

    /// When the next run will be due.
    pub(super) fn next_due(&self, settle: Duration) -> Option<Instant> {
        self.last.values().min().map(|at| *at + settle)
    }

    /// Something that belongs to `run` is still being written: it is looked at again after the settle time.
    pub(super) fn postpone(&mut self, run: Ino, now: Instant) {
        if let Some(last) = self.last.get_mut(&run) {
            *last = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE: Duration = Duration::from_secs(2);

    #[test]
    fn a_run_is_due_when_its_last_file_is_old_enough() {
        let (mut bursts, start) = (Bursts::default(), Instant::now());
        bursts.note(10, 1, start, 7);
        bursts.note(11, 1, start + Duration::from_secs(1), 0);
        bursts.note(20, 2, start, 0);
        assert_eq!(bursts.due(start + SETTLE, SETTLE), [2]);
        assert_eq!(bursts.next_due(SETTLE), Some(start + SETTLE));
        bursts.forget(20);
        assert_eq!(bursts.due(start + SETTLE * 2, SETTLE), [1]);
        bursts.postpone(1, start + SETTLE * 2);
        assert!(bursts.due(start + SETTLE * 5 / 2, SETTLE).is_empty());
        bursts.hurry = true;
        assert_eq!(bursts.due(start, SETTLE), [1]);
    }

    #[test]
    fn what_happened_again_since_it_was_listed_stays() {
        let (mut bursts, start) = (Bursts::default(), Instant::now());
        bursts.note(10, 1, start, 7);
        bursts.note(11, 1, start, 7);
        let listed = bursts.files();
        assert!(bursts.has_newer(&bursts.get(10).unwrap()) && !bursts.has_newer(&bursts.get(11).unwrap()));
        bursts.note(10, 1, start + SETTLE, 0);
        bursts.forget_unchanged(&listed);
        assert_eq!(bursts.get(10).map(|fresh| fresh.pid), Some(7), "the writer is remembered");
        assert_eq!(bursts.get(11), None);
        assert_eq!(bursts.due(start + SETTLE * 2, SETTLE), [1]);
    }
}
