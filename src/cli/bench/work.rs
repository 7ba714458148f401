//! What is timed, on any folder: each is what a training script would do, and nothing else. Opening and closing count.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::Advice;

use super::super::failure::{Failure, Outcome};
use super::stop::Stop;
use crate::base::{IoContext, durable};

/// The bytes of one write or read.
const PIECE: usize = 1 << 20;
/// Savers at once.
const SAVERS: usize = 4;
/// Small files of one turn, and their bytes.
pub(super) const SMALL_FILES: usize = 1000;
const SMALL_BYTES: usize = 4096;

/// Takes the memory that a save of `bytes` will, and frees it: as pages of a file, that come back as pages of the next one.
/// A virtual machine gives free memory to its host after seconds, and the next use of a page takes ten times as long, which
/// would be counted for the side that happens to come first. The file is deleted before the disk has it.
pub(super) fn touch_pages(folder: &Path, bytes: &[u8], stop: &Stop) -> Outcome {
    let path = folder.join("touched");
    save(&path, bytes, false, stop)?;
    fs::remove_file(&path).context("delete", &path)?;
    Ok(())
}

/// Makes a file of `bytes`; the time from before its open to after its close.
pub(super) fn save(path: &Path, bytes: &[u8], sync: bool, stop: &Stop) -> Outcome<Duration> {
    let begun = Instant::now();
    let mut file = File::create(path).context("create", path)?;
    for piece in bytes.chunks(PIECE) {
        stop.check()?;
        file.write_all(piece).context("write", path)?;
    }
    if sync {
        durable::sync_all(&file, path)?;
    }
    drop(file);
    Ok(begun.elapsed())
}

/// Makes four files at once, together of `bytes`; the time until the last is closed.
pub(super) fn save_in_parts(folder: &Path, bytes: &[u8], stop: &Stop) -> Outcome<Duration> {
    let begun = Instant::now();
    let part = bytes.len().div_ceil(SAVERS).max(1);
    std::thread::scope(|scope| {
        let savers: Vec<_> = bytes
            .chunks(part)
            .enumerate()
            .map(|(number, part)| {
                let path = folder.join(format!("save-{number}"));
                scope.spawn(move || save(&path, part, false, stop).map(drop))
            })
            .collect();
        savers.into_iter().try_for_each(|saver| {
            saver.join().unwrap_or_else(|_| Err(Failure::Failed("a thread that saved has died".into())))
        })
    })?;
    Ok(begun.elapsed())
}

/// The times of a read from before the open: to the first byte, and to the end.
pub(super) struct Reading {
    pub(super) first: Duration,
    pub(super) whole: Duration,
}

/// Reads a file of `len` bytes through once. The first read is of one byte, the others of 1 MiB.
pub(super) fn read(path: &Path, len: usize, stop: &Stop) -> Outcome<Reading> {
    let mut buffer = vec![0; PIECE];
    let begun = Instant::now();
    let mut file = File::open(path).context("open", path)?;
    let mut first = [0];
    file.read_exact(&mut first).context("read", path)?;
    let (first, mut total) = (begun.elapsed(), 1);
    while let done @ 1.. = file.read(&mut buffer).context("read", path)? {
        total += done;
        stop.check()?;
    }
    let whole = begun.elapsed();
    match total == len {
        true => Ok(Reading { first, whole }),
        false => Err(Failure::Failed(format!("{} has {total} bytes instead of {len}", path.display()))),
    }
}

/// [`SMALL_FILES`] times: create, write 4 KiB, close, unlink.
pub(super) fn small_files(folder: &Path, stop: &Stop) -> Outcome<Duration> {
    let (path, bytes) = (folder.join("small"), [0xa5; SMALL_BYTES]);
    let begun = Instant::now();
    for _ in 0..SMALL_FILES {
        stop.check()?;
        let mut file = File::create_new(&path).context("create", &path)?;
        file.write_all(&bytes).context("write", &path)?;
        drop(file);
        fs::remove_file(&path).context("delete", &path)?;
    }
    Ok(begun.elapsed())
}

/// Takes a file, or the files in a folder and below it, out of the page cache. Only what is on the disk already goes.
pub(super) fn drop_cached(path: &Path) -> Outcome {
    if path.is_dir() {
        for entry in fs::read_dir(path).context("list", path)? {
            drop_cached(&entry.context("list", path)?.path())?;
        }
        return Ok(());
    }
    let file = File::open(path).context("open", path)?;
    rustix::fs::fadvise(&file, 0, None, Advice::DontNeed).context("drop the cached pages of", path)?;
    Ok(())
}

/// Deletes every file in `folder`.
pub(super) fn clear(folder: &Path) -> Outcome {
    for entry in fs::read_dir(folder).context("list", folder)? {
        let path = entry.context("list", folder)?.path();
        fs::remove_file(&path).context("delete", &path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_there_whole_and_is_read_to_its_end() {
        let (dir, stop) = (tempfile::tempdir().unwrap(), Stop::default());
        let bytes: Vec<u8> = (0..PIECE * 5 / 2).map(|at| (at % 251) as u8).collect();
        let path = dir.path().join("save");
        save(&path, &bytes, true, &stop).unwrap();
        assert_eq!(fs::read(&path).unwrap(), bytes);
        let took = read(&path, bytes.len(), &stop).unwrap();
        assert!(took.first <= took.whole);
        assert!(read(&path, bytes.len() + 1, &stop).is_err());
        fs::remove_file(&path).unwrap();
        save_in_parts(dir.path(), &bytes, &stop).unwrap();
        let parts = (0..SAVERS).map(|number| fs::read(dir.path().join(format!("save-{number}"))).unwrap());
        assert_eq!(parts.collect::<Vec<_>>().concat(), bytes);
        drop_cached(dir.path()).unwrap();
        clear(dir.path()).unwrap();
        small_files(dir.path(), &stop).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
