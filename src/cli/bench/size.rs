//! How large the saves are: as large as fits into about a minute, the free disk and the free memory.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use std::io::Write;

use super::super::failure::{Failure, Outcome};
use super::super::rows::size as show;
use super::data::Weights;
use super::stop::Stop;
use crate::base::{IoContext, durable, machine};

/// The bounds of a size that is chosen, and the least that can be asked for.
const LEAST: u64 = 32 << 20;
const MOST: u64 = 1 << 30;
pub(super) const ASKED_LEAST: u64 = 4 << 20;
/// Chosen sizes are multiples of this.
const STEP: u64 = 8 << 20;
/// The disk holds at most so many saves at a time, native, hot and packed ones, and what two empty stores take.
const SAVES_ON_DISK: u64 = 9;
const STORES_BYTES: u64 = 256 << 20;
/// Memory holds the bytes to save, and the pages of one file on each of three sides, with something to spare.
const SAVES_IN_MEMORY: u64 = 5;

/// What all the turns of all rows shall take; the rest of a minute is for mounting and small files.
const SECONDS: f64 = 45.0;
/// What one round does, in saves: what passes through the disk, and through a core (at so many bytes a second: sealing
/// and cold reads mostly).
const DISK_SAVES: f64 = 9.0;
const CORE_SAVES: f64 = 12.0;
const CORE_RATE: f64 = 0.8e9;

/// How the disk is tried: pieces that are written and made durable, until enough time or bytes have gone.
const TRY_PIECE: usize = 16 << 20;
const TRY_TIME: Duration = Duration::from_secs(1);
const TRY_BYTES: usize = 512 << 20;

/// What is free.
#[derive(Clone, Copy, Debug)]
pub(super) struct Free {
    pub(super) disk: u64,
    pub(super) memory: u64,
}

impl Free {
    /// On this machine and the disk of `path`.
    pub(super) fn here(path: &Path) -> Self {
        Free { disk: machine::free_bytes(path), memory: machine::free_memory() }
    }

    /// Refuses saves of `size`, or of the least size, for which there is no room.
    pub(super) fn refuse_less_than(&self, asked: Option<u64>, path: &Path) -> Outcome {
        let size = asked.unwrap_or(LEAST);
        let cure = if asked.is_some() { "give a smaller --size, or free some" } else { "free some" };
        let disk = size.saturating_mul(SAVES_ON_DISK).saturating_add(STORES_BYTES);
        if disk > self.disk {
            return Err(Failure::Failed(format!(
                "saves of {} need {} of free disk, and {} has {}; {cure}, or name a folder on another disk",
                show(size),
                show(disk),
                path.display(),
                show(self.disk)
            )));
        }
        let memory = size.saturating_mul(SAVES_IN_MEMORY);
        if memory > self.memory {
            return Err(Failure::Failed(format!(
                "saves of {} need {} of free memory, and there is {}; {cure}",
                show(size),
                show(memory),
                show(self.memory)
            )));
        }
        Ok(())
    }

    /// The size for a disk that takes `rate` bytes a second, so that so many rounds take about a minute.
    pub(super) fn choose(&self, rate: f64, rounds: usize) -> u64 {
        let seconds_a_byte = DISK_SAVES / rate.max(1.0) + CORE_SAVES / CORE_RATE;
        // The warm-up is one more round. `as` keeps to the range.
        let in_time = (SECONDS / (rounds as f64 + 1.0) / seconds_a_byte) as u64;
        let on_disk = self.disk.saturating_sub(STORES_BYTES) / SAVES_ON_DISK / 2;
        let in_memory = self.memory / SAVES_IN_MEMORY / 2;
        (in_time.min(on_disk).min(in_memory) / STEP * STEP).clamp(LEAST, MOST)
    }
}

/// Bytes a second that the disk of `folder` takes for good, of a file of its own.
pub(super) fn try_disk(folder: &Path, stop: &Stop) -> Outcome<f64> {
    let path = folder.join("try");
    let mut data = Weights::new(TRY_PIECE);
    let mut file = File::create(&path).context("create", &path)?;
    let (begun, mut written) = (Instant::now(), 0);
    while written < TRY_BYTES && (begun.elapsed() < TRY_TIME || written == 0) {
        stop.check()?;
        file.write_all(data.bytes()).context("write", &path)?;
        durable::sync_all(&file, &path)?;
        written += TRY_PIECE;
        data.change();
    }
    let rate = written as f64 / begun.elapsed().as_secs_f64();
    drop(file);
    std::fs::remove_file(&path).context("delete", &path)?;
    Ok(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;
    const LARGE: Free = Free { disk: 1000 * GIB, memory: 100 * GIB };

    #[test]
    fn a_slow_disk_a_full_one_little_memory_and_many_rounds_make_saves_smaller() {
        let fast = LARGE.choose(3e9, 3);
        assert!(fast > 256 << 20 && fast <= MOST && fast.is_multiple_of(STEP), "{fast}");
        assert!(LARGE.choose(0.2e9, 3) < fast / 2 && LARGE.choose(3e9, 20) < fast / 2);
        assert!(Free { disk: 2 * GIB, ..LARGE }.choose(3e9, 3) <= GIB / SAVES_ON_DISK);
        assert!(Free { memory: GIB, ..LARGE }.choose(3e9, 3) <= GIB / SAVES_IN_MEMORY / 2);
        assert_eq!((LARGE.choose(0.0, 3), LARGE.choose(1e12, 1)), (LEAST, MOST));
    }

    #[test]
    fn what_is_chosen_has_room() {
        for disk in [1, 3, 10, 1000] {
            let free = Free { disk: disk * GIB, memory: 2 * GIB };
            free.refuse_less_than(Some(free.choose(3e9, 3)), Path::new("/x")).unwrap();
        }
    }

    #[test]
    fn what_is_missing_is_said_with_its_cure() {
        let said = |free: Free, size| free.refuse_less_than(size, Path::new("/x")).unwrap_err().to_string();
        let full = said(Free { disk: GIB, ..LARGE }, Some(GIB));
        assert!(
            full.contains("9.2 GiB") && full.contains("/x has 1.0 GiB") && full.contains("--size"),
            "{full}"
        );
        let full = said(Free { disk: 0, ..LARGE }, None);
        assert!(full.contains("32.0 MiB") && !full.contains("--size"), "{full}");
        assert!(said(Free { memory: GIB, ..LARGE }, Some(GIB)).contains("5.0 GiB of free memory"));
    }
}
