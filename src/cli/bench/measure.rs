//! The rows, in the order in which they are measured.
//!
//! First a quiet time, in which no mount seals: what a save costs while it is written. Then sealing, and saves beside it.
//! Then the daemon is started anew for each read, so that nothing but the disk can answer. Before each save, off the clock:
//! what the last one wrote is deleted, all that waits to be written is written, the bytes are changed, and memory is used
//! as much as the save will.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::super::failure::Outcome;
use super::data::Weights;
use super::mounted::Mounted;
use super::stop::Stop;
use super::turns::{DAEMON, Figures, NATIVE, PASSTHROUGH, take_turns};
use super::what::{self, What};
use super::work;
use crate::base::monitor::Monitor;
use crate::base::{IoContext, durable};
use crate::control::status::PassthroughStatus;

/// Nothing is sealed, and no version is made.
const QUIET: &str = "settle=1h";
/// A closed file is sealed at once, and then read from packs.
const SEALING: &str = "settle=0s,hot_cache=0";

/// One side of a comparison.
struct Side {
    name: &'static str,
    folder: PathBuf,
    mounted: Option<Mounted>,
}

/// Values of rows, of one turn.
type Values = Vec<(&'static What, f64)>;

/// What is needed for measuring.
pub(super) struct Bench<'a> {
    pub(super) folder: &'a Path,
    pub(super) data: Weights,
    pub(super) rounds: usize,
    pub(super) stop: &'a Stop,
    pub(super) progress: &'a dyn Monitor,
    pub(super) figures: Figures,
}

impl Bench<'_> {
    /// Measures everything. Returns whether there was passthrough, and why or why not.
    pub(super) fn run(&mut self) -> Outcome<PassthroughStatus> {
        let native = self.folder.join(NATIVE);
        fs::create_dir(&native).context("make folder", &native)?;
        let mut sides = vec![Side { name: NATIVE, folder: native, mounted: None }];
        let mounted = Mounted::start(&self.folder.join("first"), QUIET)?;
        let passthrough = mounted.status()?.passthrough;
        sides.push(Side::of(if passthrough.on { PASSTHROUGH } else { DAEMON }, mounted));
        if passthrough.on {
            let options = format!("{QUIET},passthrough=off");
            sides.push(Side::of(DAEMON, Mounted::start(&self.folder.join("second"), &options)?));
        }
        self.quiet(&mut sides)?;
        for side in sides.split_off(2) {
            self.end(side)?;
        }
        self.sealing(&mut sides)?;
        self.cold(&mut sides)?;
        for side in sides {
            self.end(side)?;
        }
        Ok(passthrough)
    }

    /// What is written, and what is read again at once.
    fn quiet(&mut self, sides: &mut [Side]) -> Outcome {
        self.row("saving", sides, |bench, side| bench.save(side, &what::SAVE, false))?;
        self.row("saving with fsync", sides, |bench, side| bench.save(side, &what::SAVE_FSYNC, true))?;
        self.row("saving four files at once", sides, |bench, side| {
            bench.prepare(side)?;
            let took = work::save_in_parts(&side.folder, bench.data.bytes(), bench.stop)?;
            bench.empty(side)?;
            Ok(vec![(&what::SAVERS, bench.rate(took))])
        })?;
        for side in &*sides {
            self.prepare(side)?;
            work::save(&side.file(), self.data.bytes(), false, self.stop)?;
        }
        self.write_back()?;
        self.row("reading what was saved", sides, |bench, side| {
            let len = bench.data.bytes().len();
            work::read(&side.file(), len, bench.stop)?;
            let took = work::read(&side.file(), len, bench.stop)?;
            Ok(vec![(&what::READ_HOT, bench.rate(took.whole))])
        })?;
        self.row("making small files", sides, |bench, side| {
            bench.prepare(side)?;
            let took = work::small_files(&side.folder, bench.stop)?;
            Ok(vec![(&what::SMALL, work::SMALL_FILES as f64 / took.as_secs_f64())])
        })
    }

    /// Sealing, and saves beside it.
    fn sealing(&mut self, sides: &mut [Side]) -> Outcome {
        for side in &mut *sides {
            self.empty(side)?;
            side.mounted.iter_mut().try_for_each(|mounted| mounted.restart(SEALING))?;
        }
        self.row("sealing, and saving beside it", sides, |bench, side| {
            bench.prepare(side)?;
            let mut values = match &side.mounted {
                Some(mounted) => bench.seal(side, mounted)?,
                None => Values::new(),
            };
            values.push((&what::SAVE_SEALING, bench.save_beside(side)?));
            bench.settle(side)?;
            bench.empty(side)?;
            if let Some(mounted) = &side.mounted {
                mounted.reclaim()?;
            }
            Ok(values)
        })
    }

    /// Reads of what is in no cache of this machine.
    fn cold(&mut self, sides: &mut [Side]) -> Outcome {
        for side in &*sides {
            self.prepare(side)?;
            work::save(&side.file(), self.data.bytes(), true, self.stop)?;
            self.settle(side)?;
        }
        self.row("reading from the disk", sides, |bench, side| {
            match &mut side.mounted {
                Some(mounted) => {
                    mounted.restart(SEALING)?;
                    work::drop_cached(&mounted.packs())?;
                }
                None => work::drop_cached(&side.file())?,
            }
            work::touch_pages(bench.folder, bench.data.bytes(), bench.stop)?;
            let took = work::read(&side.file(), bench.data.bytes().len(), bench.stop)?;
            Ok(vec![
                (&what::READ_COLD, bench.rate(took.whole)),
                (&what::FIRST_BYTE, took.first.as_secs_f64()),
            ])
        })
    }

    /// All turns of one or several rows that are measured together.
    fn row(
        &mut self,
        title: &str,
        sides: &mut [Side],
        mut measure: impl FnMut(&mut Self, &mut Side) -> Outcome<Values>,
    ) -> Outcome {
        let (number, mut done) = (sides.len(), 0);
        self.progress.begin(&format!("{title} (turns)"), (number * (self.rounds + 1)) as u64);
        take_turns(number, self.rounds, |place, counts| {
            self.stop.check()?;
            let Some(side) = sides.get_mut(place) else { return Ok(()) };
            for (what, value) in measure(self, side)? {
                if counts {
                    self.figures.add(what, side.name, value);
                }
            }
            done += 1;
            self.progress.advance(done);
            Ok(())
        })
    }

    /// Deletes what the side holds. A mount does that a moment after the unlink, which would be in another side's turn.
    fn empty(&self, side: &Side) -> Outcome {
        work::clear(&side.folder)?;
        let Some(mounted) = &side.mounted else { return Ok(()) };
        self.stop.wait_for("the deletion of a file", || Ok(mounted.status()?.hot_files == 0))
    }

    /// Deletes what the side holds, writes back what waits for it anywhere on the disk, changes the bytes, and has memory
    /// for them.
    fn prepare(&mut self, side: &Side) -> Outcome {
        self.empty(side)?;
        self.write_back()?;
        self.data.change();
        work::touch_pages(self.folder, self.data.bytes(), self.stop)
    }

    fn write_back(&self) -> Outcome {
        let disk = File::open(self.folder).context("open", self.folder)?;
        Ok(durable::sync_filesystem(&disk, self.folder)?)
    }

    /// A save to a side that holds nothing.
    fn save(&mut self, side: &Side, what: &'static What, sync: bool) -> Outcome<Values> {
        self.prepare(side)?;
        let took = work::save(&side.file(), self.data.bytes(), sync, self.stop)?;
        self.empty(side)?;
        Ok(vec![(what, self.rate(took))])
    }

    /// A save, and the time from its close until it is sealed.
    fn seal(&mut self, side: &Side, mounted: &Mounted) -> Outcome<Values> {
        let before = mounted.status()?;
        work::save(&side.folder.join("sealed"), self.data.bytes(), false, self.stop)?;
        let closed = Instant::now();
        let is_sealed = || Ok(mounted.status()?.sealing.sealed_files > before.sealing.sealed_files);
        self.stop.wait_for("sealing", is_sealed)?;
        let took = closed.elapsed();
        let stored = mounted.status()?.stored_bytes.saturating_sub(before.stored_bytes);
        self.data.change();
        Ok(vec![
            (&what::SEAL, took.as_secs_f64()),
            (&what::SEAL_RATE, self.rate(took)),
            (&what::STORED, stored as f64 / self.data.bytes().len() as f64),
        ])
    }

    /// A save that begins while the one before it is being sealed; its rate. In the native folder it is a save alone.
    fn save_beside(&mut self, side: &Side) -> Outcome<f64> {
        if let Some(mounted) = &side.mounted {
            let before = mounted.status()?.sealing;
            work::save(&side.folder.join("before"), self.data.bytes(), false, self.stop)?;
            self.data.change();
            self.stop.wait_for("the begin of sealing", || {
                let now = mounted.status()?.sealing;
                Ok(now.in_progress > 0 || now.sealed_files > before.sealed_files)
            })?;
        }
        Ok(self.rate(work::save(&side.file(), self.data.bytes(), false, self.stop)?))
    }

    /// Waits until all is sealed and nothing is hot.
    fn settle(&self, side: &Side) -> Outcome {
        let Some(mounted) = &side.mounted else { return Ok(()) };
        self.stop.wait_for("sealing", || {
            let status = mounted.status()?;
            let sealing = &status.sealing;
            Ok(sealing.queued_files + sealing.in_progress + status.hot_files == 0)
        })
    }

    /// Notes what the daemon of a side took, and ends it.
    fn end(&mut self, side: Side) -> Outcome {
        let Some(mut mounted) = side.mounted else { return Ok(()) };
        self.figures.add(&what::MEMORY, side.name, mounted.peak_bytes()? as f64);
        mounted.end()?;
        // Its space is for what comes.
        fs::remove_dir_all(&mounted.store).context("delete", &mounted.store)?;
        Ok(())
    }

    fn rate(&self, took: Duration) -> f64 {
        self.data.bytes().len() as f64 / took.as_secs_f64()
    }
}

impl Side {
    fn of(name: &'static str, mounted: Mounted) -> Self {
        Side { name, folder: mounted.mountpoint.clone(), mounted: Some(mounted) }
    }

    /// The file that is measured.
    fn file(&self) -> PathBuf {
        self.folder.join("save")
    }
}
