//! Turns a hot file that nobody can write any more into chunks.
//!
//! Order: plan the cuts, read once from the front in a bounded window, cut, hash, ask, encode and put what is new, then
//! put the manifest. Holes of the disk are passed over unread, but the cuts do not depend on them. Durable is nothing of it before the batch is finished: only then may a record name the content, and only
//! after that record the hot file go.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use rustix::fs::{Advice, SeekFrom};
use rustix::io::Errno;

use super::stored;
use crate::base::id::ChunkId;
use crate::base::{Error, IoContext, Result};
use crate::codec::encode::constant;
use crate::content::cut::{MAX_CHUNK, Plan, data_of};
use crate::content::hash::chunk_id;
use crate::content::manifest::{Level, Manifest};
use crate::pack::{Kind, PackBatch, Put};

/// The window of file bytes in memory; [`MAX_CHUNK`] and more.
const WINDOW: usize = 4 << 20;
const _: () = assert!(WINDOW >= MAX_CHUNK);
/// Pieces of the file that the choice of the cutting looks at, and the bytes of each.
const SAMPLES: u64 = 16;
const SAMPLE: usize = 4 << 10;

/// A content that has been put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Its id, that of its manifest.
    pub content: ChunkId,
    /// Its bytes.
    pub size: u64,
    /// Bytes that it added to the packs, manifest included.
    pub new_bytes: u64,
}

/// Puts the content of `file`, which nobody writes, into `batch`. `path` is for messages. Moves the file's position.
///
/// `borders` are its tensors in order of offset, as far as they are known: they say where to cut, and wrong ones cost
/// nothing but space.
/// `go_on` is asked at every chunk; when it says no, the answer is `None`, and what the batch has got so far may stay in
/// it: the next try finds it. [`Error::Refused`] when the file changed meanwhile: nothing of it may be used.
pub fn seal_file(
    file: &File,
    path: &Path,
    borders: &[Range<u64>],
    batch: &mut PackBatch,
    go_on: &dyn Fn() -> bool,
) -> Result<Option<Sealed>> {
    let before = file.metadata().context("stat", path)?;
    let size = before.len();
    let plan = match Plan::of_borders(borders, size) {
        Some(plan) => plan,
        None => by_sample(file, path, size)?,
    };
    advise(file, path, size);
    let manifest = Manifest::new(Level::Content);
    let sealer = Sealer { file, path, size, batch, go_on, plan, manifest, new_bytes: 0 };
    let Some((manifest, new_bytes)) = sealer.run()? else { return Ok(None) };
    let (content, stored) = stored::save(&manifest, batch)?;
    let after = file.metadata().context("stat", path)?;
    let stamp = |meta: &std::fs::Metadata| (meta.len(), meta.mtime(), meta.mtime_nsec());
    if stamp(&before) != stamp(&after) || manifest.size() != size {
        return Err(Error::Refused(format!("{} changed while it was sealed", path.display())));
    }
    Ok(Some(Sealed { content, size, new_bytes: new_bytes + stored }))
}

/// Looks at pieces spread over the file.
fn by_sample(file: &File, path: &Path, size: u64) -> Result<Plan> {
    let mut sample = Vec::new();
    if size > SAMPLES * SAMPLE as u64 {
        sample.resize(SAMPLES as usize * SAMPLE, 0);
        for (n, piece) in (0..).zip(sample.chunks_mut(SAMPLE)) {
            let at = size / SAMPLES * n / SAMPLE as u64 * SAMPLE as u64;
            file.read_exact_at(piece, at).context("read", path)?;
        }
    }
    Ok(Plan::of_sample(&sample, size))
}

/// The state of sealing one file.
struct Sealer<'a> {
    file: &'a File,
    path: &'a Path,
    size: u64,
    batch: &'a mut PackBatch,
    go_on: &'a dyn Fn() -> bool,
    plan: Plan,
    manifest: Manifest,
    new_bytes: u64,
}

impl Sealer<'_> {
    /// The manifest and the bytes written; `None` when stopped.
    fn run(mut self) -> Result<Option<(Manifest, u64)>> {
        let mut window = Window { file: self.file, path: self.path, at: 0, bytes: Vec::new(), filled: 0 };
        // The run of data that `at` is in, or that comes next.
        let (mut at, mut data) = (0, 0..0);
        while at < self.size {
            if at >= data.end {
                data = next_data(self.file, self.path, at, self.size)?.unwrap_or(self.size..self.size);
            }
            let zeros = self.plan.zeros(at, data.start);
            if zeros > 0 {
                self.manifest.push_hole(zeros);
                at += zeros;
                continue;
            }
            if !(self.go_on)() {
                return Ok(None);
            }
            let bytes = window.show(at, self.plan.window(at), data.end)?;
            let piece = bytes.get(..self.plan.cut(at, bytes)).filter(|piece| !piece.is_empty());
            let piece = piece.ok_or(Error::Errno(libc::EIO))?;
            self.piece(piece)?;
            at += piece.len() as u64;
        }
        Ok((self.go_on)().then_some((self.manifest, self.new_bytes)))
    }

    /// Puts one piece between two cuts. Zeros become holes, whatever the disk below says of them.
    fn piece(&mut self, piece: &[u8]) -> Result<()> {
        let data = if constant(piece) == Some(0) { 0..0 } else { data_of(piece) };
        let (front, rest) = piece.split_at_checked(data.start).unwrap_or((&[], piece));
        let (raw, back) = rest.split_at_checked(data.len()).unwrap_or((rest, &[]));
        self.manifest.push_hole(front.len() as u64);
        if !raw.is_empty() {
            let id = chunk_id(raw);
            if let Put::New { stored } = self.batch.put(Kind::Chunk, id, raw)? {
                self.new_bytes += u64::from(stored);
            }
            self.manifest.push_data(u32::try_from(raw.len()).unwrap_or(u32::MAX), id);
        }
        self.manifest.push_hole(back.len() as u64);
        Ok(())
    }
}

/// The bytes of the file that are in memory, which go from its front to its end.
struct Window<'a> {
    file: &'a File,
    path: &'a Path,
    /// The offset of the first of them.
    at: u64,
    bytes: Vec<u8>,
    /// How many of `bytes` are of the file.
    filled: usize,
}

impl Window<'_> {
    /// The bytes from `at` on, `len` of them or more. Where they have to be read, more are read ahead, up to `end`.
    fn show(&mut self, at: u64, len: usize, end: u64) -> Result<&[u8]> {
        let used = usize::try_from(at.saturating_sub(self.at)).unwrap_or(usize::MAX).min(self.filled);
        if self.filled - used >= len {
            return Ok(self.bytes.get(used..self.filled).unwrap_or_default());
        }
        let kept = self.filled - used;
        self.bytes.copy_within(used..self.filled, 0);
        let ahead = usize::try_from(end.saturating_sub(at)).unwrap_or(WINDOW);
        let wanted = WINDOW.min(ahead).max(len);
        if self.bytes.len() < wanted {
            self.bytes.resize(wanted, 0);
        }
        (self.at, self.filled) = (at, 0);
        let room = self.bytes.get_mut(kept..wanted).unwrap_or_default();
        self.file.read_exact_at(room, at + kept as u64).context("read", self.path)?;
        self.filled = wanted;
        Ok(self.bytes.get(..wanted).unwrap_or_default())
    }
}

/// The next run of data from `at` on, below `size`. Where the disk cannot tell, everything is data.
fn next_data(file: &File, path: &Path, at: u64, size: u64) -> Result<Option<Range<u64>>> {
    if at >= size {
        return Ok(None);
    }
    let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(Some(at..size)),
        Err(error) => return Err(error).context("seek for data in", path),
    };
    let end = rustix::fs::seek(file, SeekFrom::Hole(start)).context("seek for a hole in", path)?;
    Ok((start < size && start < end).then_some(start..end.min(size)))
}

/// Tells the kernel that the file is read once, from front to end: its pages stay as old as they were. They are not dropped:
/// that would write those of a save to the disk that are not there yet, of a file that is about to go or to be replaced.
fn advise(file: &File, path: &Path, size: u64) {
    let Some(len) = std::num::NonZeroU64::new(size) else { return };
    for advice in [Advice::Sequential, Advice::NoReuse] {
        if let Err(error) = rustix::fs::fadvise(file, 0, Some(len), advice) {
            tracing::debug!("fadvise on {}: {error}", path.display());
        }
    }
}
