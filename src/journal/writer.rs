//! Appending to the journal and making it durable.
//!
//! Invariants: only the current segment holds records that are not durable; seqs have no gaps; a failed
//! fdatasync ends all writing (no retry: the kernel may have dropped the pages, a second success proves
//! nothing). Appends do not wait for a running fdatasync, except when a segment is full.
//!
//! Lock order: `active`, then `syncing`, then `tail`.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use super::record::{self, BootId};
use super::scan::Scan;
use super::segment::{self, SEGMENT_HEADER_LEN};
use super::spare::Spares;
use crate::base::fault::{self, Point};
use crate::base::lock::lock;
use crate::base::{Error, IoContext, Result, durable};

/// The journal, open for appending.
pub struct Journal {
    dir: PathBuf,
    segment_bytes: u64,
    spares: Spares,
    active: Mutex<Active>,
    /// Held during an fdatasync: those who wait for it find their records durable when they get it.
    syncing: Mutex<()>,
    tail: Mutex<Tail>,
    durable: AtomicU64,
    poison: OnceLock<String>,
    syncs: AtomicU64,
    appended_bytes: AtomicU64,
}

struct Active {
    file: Arc<File>,
    path: PathBuf,
    offset: u64,
    next_seq: u64,
}

/// What an fdatasync begun now makes durable.
struct Tail {
    file: Arc<File>,
    path: PathBuf,
    seq: u64,
}

impl Journal {
    /// Cuts what follows the last valid record that `found` names, makes all before it durable, and begins a
    /// new segment of `segment_bytes` (4 KiB to 256 MiB) with `next_seq`.
    pub fn open(dir: &Path, found: &Scan, next_seq: u64, boot: BootId, segment_bytes: u64) -> Result<Self> {
        if let Some((path, len)) = &found.tail {
            let file = OpenOptions::new().write(true).open(path).context("open", path)?;
            durable::truncate(&file, *len, path)?;
            fault::reached(Point::JournalTailCut);
        }
        let segment_bytes = segment_bytes.clamp(4096, 256 << 20);
        let spares = Spares::start(dir, segment_bytes, boot)?;
        let (file, path) = place(dir, &spares, next_seq)?;
        let tail = Tail { file: Arc::clone(&file), path: path.clone(), seq: next_seq - 1 };
        Ok(Journal {
            dir: dir.to_owned(),
            segment_bytes,
            spares,
            active: Mutex::new(Active { file, path, offset: SEGMENT_HEADER_LEN as u64, next_seq }),
            syncing: Mutex::new(()),
            tail: Mutex::new(tail),
            durable: AtomicU64::new(next_seq - 1),
            poison: OnceLock::new(),
            syncs: AtomicU64::new(0),
            appended_bytes: AtomicU64::new(0),
        })
    }

    /// Appends a record that [`Body::encode`](super::Body::encode) made; its seq. It is in the kernel's hands
    /// when this returns, not yet durable.
    ///
    /// A full disk is an error that a later append may not have; any other failure to write poisons.
    pub fn append(&self, mut encoded: Vec<u8>) -> Result<u64> {
        let mut active = lock(&self.active);
        self.writable()?;
        let len = encoded.len() as u64;
        if active.offset + len > self.segment_bytes && active.offset > SEGMENT_HEADER_LEN as u64 {
            self.roll(&mut active)?;
        }
        let seq = active.next_seq;
        record::seal(&mut encoded, seq, self.durable_seq());
        if let Err(error) =
            active.file.write_all_at(&encoded, active.offset).context("append to", &active.path)
        {
            // The half-written record is not valid, and the next append overwrites it.
            return Err(if is_full(&error) { error } else { self.poison(error) });
        }
        active.offset += len;
        active.next_seq += 1;
        lock(&self.tail).seq = seq;
        self.appended_bytes.fetch_add(len, Ordering::Relaxed);
        fault::reached(Point::JournalAppended);
        Ok(seq)
    }

    /// Makes all records durable that were appended before the call; the last seq that is durable.
    ///
    /// Callers at the same time share one fdatasync. A failure poisons the journal.
    pub fn sync(&self) -> Result<u64> {
        let wanted = self.last_seq();
        let _syncing = lock(&self.syncing);
        if self.durable_seq() < wanted {
            let (file, path, seq) = {
                let tail = lock(&self.tail);
                (Arc::clone(&tail.file), tail.path.clone(), tail.seq)
            };
            self.sync_segment(&file, &path, seq)?;
        }
        Ok(self.durable_seq())
    }

    /// The last seq that was appended.
    pub fn last_seq(&self) -> u64 {
        lock(&self.tail).seq
    }

    /// The last seq that is durable.
    pub fn durable_seq(&self) -> u64 {
        self.durable.load(Ordering::Acquire)
    }

    /// How many fdatasyncs the journal has made since it was opened.
    pub fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    /// Bytes that were appended since it was opened.
    pub fn appended_bytes(&self) -> u64 {
        self.appended_bytes.load(Ordering::Relaxed)
    }

    /// Bytes of all segment files, preallocated space included.
    pub fn disk_bytes(&self) -> Result<u64> {
        segment::list(&self.dir, "log")?.iter().try_fold(0, |sum, segment| {
            match fs::metadata(&segment.path) {
                // An export has made it needless meanwhile.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(sum),
                found => Ok(sum + found.context("stat", &segment.path)?.len()),
            }
        })
    }

    /// The failure that ended all writing.
    pub fn poisoned(&self) -> Option<&str> {
        self.poison.get().map(String::as_str)
    }

    /// Ends all writing because of `error`, which is handed back.
    pub fn poison(&self, error: Error) -> Error {
        if self.poison.set(error.to_string()).is_ok() {
            tracing::error!("the journal takes no more changes: {error}");
        }
        error
    }

    /// [`Error::Poisoned`] once all writing has ended.
    pub fn writable(&self) -> Result<()> {
        self.poisoned().map_or(Ok(()), |why| Err(Error::Poisoned(why.to_owned())))
    }

    /// Deletes, oldest first, the segments that hold no record after `upto`; the current one stays.
    pub fn delete_upto(&self, upto: u64) -> Result<()> {
        let segments = segment::list(&self.dir, "log")?;
        for (segment, next) in segments.iter().zip(segments.iter().skip(1)) {
            if next.first_seq > upto.saturating_add(1) {
                break;
            }
            fs::remove_file(&segment.path).context("delete", &segment.path)?;
            fault::reached(Point::JournalDeleted);
        }
        Ok(())
    }

    /// Goes on to the next segment once all of the current one is durable.
    fn roll(&self, active: &mut Active) -> Result<()> {
        let _syncing = lock(&self.syncing);
        self.writable()?;
        active.file.set_len(active.offset).context("truncate", &active.path)?;
        fault::reached(Point::JournalFull);
        self.sync_segment(&active.file, &active.path, active.next_seq - 1)?;
        // A failed fsync of the folder would leave records in a segment without a durable name.
        let (file, path) = place(&self.dir, &self.spares, active.next_seq).map_err(|error| {
            if is_full(&error) || is_crowded(&error) { error } else { self.poison(error) }
        })?;
        fault::reached(Point::JournalPlaced);
        *lock(&self.tail) = Tail { file: Arc::clone(&file), path: path.clone(), seq: active.next_seq - 1 };
        (active.file, active.path, active.offset) = (file, path, SEGMENT_HEADER_LEN as u64);
        Ok(())
    }

    /// With `syncing` held: an error of fdatasync is told to one caller only, so there must be only one.
    fn sync_segment(&self, file: &File, path: &Path, seq: u64) -> Result<()> {
        self.writable()?;
        self.syncs.fetch_add(1, Ordering::Relaxed);
        durable::sync_data(file, path).map_err(|error| self.poison(error))?;
        self.durable.store(seq, Ordering::Release);
        fault::reached(Point::JournalSynced);
        Ok(())
    }

    /// While this is held no fdatasync begins.
    #[cfg(test)]
    pub(super) fn hold_syncs(&self) -> std::sync::MutexGuard<'_, ()> {
        lock(&self.syncing)
    }

    /// Makes the next fdatasync fail, as a dying disk would.
    #[cfg(test)]
    pub(crate) fn break_disk(&self) {
        let mut tail = lock(&self.tail);
        tail.file = Arc::new(File::open("/dev/null").unwrap());
    }
}

/// Puts a prepared segment in its place, durably.
fn place(dir: &Path, spares: &Spares, first_seq: u64) -> Result<(Arc<File>, PathBuf)> {
    let spare = spares.take()?;
    let path = segment::path_of(dir, first_seq);
    durable::rename(&spare.path, &path)?;
    Ok((Arc::new(spare.file), path))
}

/// Too many open files: nothing was written, and the next try may find some closed.
fn is_crowded(error: &Error) -> bool {
    matches!(error.errno(), libc::EMFILE | libc::ENFILE)
}

fn is_full(error: &Error) -> bool {
    matches!(error.errno(), libc::ENOSPC | libc::EDQUOT)
}
