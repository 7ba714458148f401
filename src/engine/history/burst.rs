//! Checkpoint files that were written and are in no version yet, by run.
//!
//! A burst lasts from the first such file of a run until a version is made of it. Memory: one small entry a file.

use std::collections::{HashMap, HashSet};
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
    /// Which save its name says that it belongs to.
    pub(super) save: Save,
}

/// Step and epoch, as far as names tell them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Save {
    pub(super) step: Option<u64>,
    pub(super) epoch: Option<u64>,
}

impl Save {
    /// Whether both are told, and are not the same save.
    pub(super) fn differs(&self, other: &Save) -> bool {
        match (self.step, other.step) {
            (Some(one), Some(other)) => one != other,
            _ => matches!((self.epoch, other.epoch), (Some(one), Some(other)) if one != other),
        }
    }
}

/// All files that are in no version yet.
#[derive(Debug, Default)]
pub(super) struct Bursts {
    files: HashMap<Ino, Fresh>,
    /// When something happened last in each run.
    last: HashMap<Ino, Instant>,
    /// Files that a version took because others were about to be destroyed, with their run and writer: one of them may be
    /// the next save, which is still to get its name.
    early: HashMap<Ino, (Ino, u32)>,
    /// Those of them that got their name since.
    named: HashSet<Ino>,
    order: u64,
    /// Settle everything now.
    pub(super) hurry: bool,
}

impl Bursts {
    /// File `ino` of `run` is complete since `at`.
    pub(super) fn note(&mut self, ino: Ino, run: Ino, at: Instant, pid: u32, save: Save) {
        self.order += 1;
        let pid = if pid == 0 { self.files.get(&ino).map_or(0, |fresh| fresh.pid) } else { pid };
        let before = self.files.insert(ino, Fresh { run, at, order: self.order, pid, save });
        if let Some(before) = before.filter(|before| before.run != run) {
            self.drop_run(before.run);
        }
        let last = self.last.entry(run).or_insert(at);
        *last = (*last).max(at);
    }

    /// File `ino` is in a version, or gone.
    pub(super) fn forget(&mut self, ino: Ino) {
        self.early.remove(&ino);
        self.named.remove(&ino);
        if let Some(fresh) = self.files.remove(&ino) {
            self.drop_run(fresh.run);
        }
    }

    /// A version of `run` took the files `taken`, `early` when it was begun because something was about to be destroyed.
    pub(super) fn took(&mut self, run: Ino, taken: &[(Ino, Fresh)], early: bool) {
        self.early.retain(|_, (of, _)| *of != run);
        self.forget_unchanged(taken);
        if early {
            self.early.extend(taken.iter().map(|(ino, fresh)| (*ino, (run, fresh.pid))));
        }
    }

    /// File `ino` has got another name: its writer, if a version took it before.
    pub(super) fn got_its_name(&mut self, ino: Ino) -> Option<u32> {
        let (_, pid) = self.early.remove(&ino)?;
        self.named.insert(ino);
        Some(pid)
    }

    /// Whether file `ino` was taken by a version before it got its name.
    pub(super) fn was_taken_early(&self, ino: Ino) -> bool {
        self.named.contains(&ino)
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

    /// Whether files of another save than `save` wait in `run`.
    pub(super) fn has_other_save(&self, run: Ino, save: &Save) -> bool {
        self.files.values().any(|fresh| fresh.run == run && fresh.save.differs(save))
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
        bursts.note(10, 1, start, 7, Save::default());
        bursts.note(11, 1, start + Duration::from_secs(1), 0, Save::default());
        bursts.note(20, 2, start, 0, Save::default());
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
    fn a_run_whose_last_file_was_moved_to_another_is_not_looked_at_again() {
        let (mut bursts, start) = (Bursts::default(), Instant::now());
        bursts.note(10, 1, start, 7, Save::default());
        bursts.note(10, 2, start, 7, Save::default());
        assert_eq!(bursts.due(start + SETTLE, SETTLE), [2]);
    }

    #[test]
    fn another_step_is_another_save_and_a_name_without_one_is_of_any() {
        let save = |step, epoch| Save { step, epoch };
        let mut bursts = Bursts::default();
        bursts.note(10, 1, Instant::now(), 0, save(Some(5), Some(1)));
        assert!(bursts.has_other_save(1, &save(Some(6), Some(1))));
        assert!(bursts.has_other_save(1, &save(None, Some(2))));
        assert!(!bursts.has_other_save(1, &save(Some(5), Some(2))));
        assert!(
            !bursts.has_other_save(1, &Save::default()) && !bursts.has_other_save(2, &save(Some(6), None))
        );
    }

    #[test]
    fn what_happened_again_since_it_was_listed_stays() {
        let (mut bursts, start) = (Bursts::default(), Instant::now());
        bursts.note(10, 1, start, 7, Save::default());
        bursts.note(11, 1, start, 7, Save::default());
        let listed = bursts.files();
        assert!(bursts.has_newer(&bursts.get(10).unwrap()) && !bursts.has_newer(&bursts.get(11).unwrap()));
        bursts.note(10, 1, start + SETTLE, 0, Save::default());
        bursts.forget_unchanged(&listed);
        assert_eq!(bursts.get(10).map(|fresh| fresh.pid), Some(7), "the writer is remembered");
        assert_eq!(bursts.get(11), None);
        assert_eq!(bursts.due(start + SETTLE * 2, SETTLE), [1]);
    }
}
