//! Turns a hot file that nobody can write any more into chunks.
//!
//! Order: read once from the front in a bounded window, cut, hash, ask, encode and put what is new, then put the
//! manifest. Durable is nothing of it before the batch is finished: only then may a record name the content, and only
//! after that record the hot file go.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use rustix::fs::{Advice, SeekFrom};
use rustix::io::Errno;

use super::stored;
use crate::base::id::ChunkId;
use crate::base::{Error, IoContext, Result};
use crate::codec::encode::constant;
use crate::content::cut::{self, Cutting};
use crate::content::hash::chunk_id;
use crate::content::manifest::{Level, Manifest};
use crate::pack::{Kind, PackBatch, Put};

/// The window of file bytes in memory.
const WINDOW: usize = 4 << 20;
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
/// `go_on` is asked at every chunk; when it says no, the answer is `None`, and what the batch has got so far may stay in
/// it: the next try finds it. [`Error::Refused`] when the file changed meanwhile: nothing of it may be used.
pub fn seal_file(
    file: &File,
    path: &Path,
    batch: &mut PackBatch,
    go_on: &dyn Fn() -> bool,
) -> Result<Option<Sealed>> {
    let before = file.metadata().context("stat", path)?;
    let size = before.len();
    let cutting = choose(file, path, size)?;
    advise(file, path, 0, size, Advice::Sequential);
    let sealer = Sealer {
        file,
        path,
        batch,
        go_on,
        cutting,
        manifest: Manifest::new(Level::Content),
        new_bytes: 0,
        window: Vec::new(),
    };
    let Some((manifest, new_bytes)) = sealer.run(size)? else { return Ok(None) };
    let (content, stored) = stored::save(&manifest, batch)?;
    let after = file.metadata().context("stat", path)?;
    let stamp = |meta: &std::fs::Metadata| (meta.len(), meta.mtime(), meta.mtime_nsec());
    if stamp(&before) != stamp(&after) || manifest.size() != size {
        return Err(Error::Refused(format!("{} changed while it was sealed", path.display())));
    }
    Ok(Some(Sealed { content, size, new_bytes: new_bytes + stored }))
}

/// Looks at pieces spread over the file.
fn choose(file: &File, path: &Path, size: u64) -> Result<Cutting> {
    let mut sample = Vec::new();
    if size > SAMPLES * SAMPLE as u64 {
        sample.resize(SAMPLES as usize * SAMPLE, 0);
        for (n, piece) in (0..).zip(sample.chunks_mut(SAMPLE)) {
            let at = size / SAMPLES * n / SAMPLE as u64 * SAMPLE as u64;
            file.read_exact_at(piece, at).context("read", path)?;
        }
    }
    Ok(cut::plan(&sample, size))
}

/// The state of sealing one file.
struct Sealer<'a> {
    file: &'a File,
    path: &'a Path,
    batch: &'a mut PackBatch,
    go_on: &'a dyn Fn() -> bool,
    cutting: Cutting,
    manifest: Manifest,
    new_bytes: u64,
    window: Vec<u8>,
}

impl Sealer<'_> {
    /// The manifest and the bytes written; `None` when stopped.
    fn run(mut self, size: u64) -> Result<Option<(Manifest, u64)>> {
        let mut at = 0;
        while let Some((start, end)) = next_data(self.file, self.path, at, size)? {
            self.manifest.push_hole(start - at);
            if !self.data(start, end)? {
                return Ok(None);
            }
            advise(self.file, self.path, start, end - start, Advice::DontNeed);
            at = end;
        }
        self.manifest.push_hole(size - at);
        Ok((self.go_on)().then_some((self.manifest, self.new_bytes)))
    }

    /// Cuts the bytes from `start` to `end` and puts the chunks; false when stopped.
    fn data(&mut self, start: u64, end: u64) -> Result<bool> {
        let mut window = std::mem::take(&mut self.window);
        // `window[used..filled]` are the bytes from offset `at` on; what is before is done with.
        let (mut at, mut used, mut filled) = (start, 0, 0);
        while at < end {
            let rest = window.get(used..filled).unwrap_or_default();
            match cut::cut(self.cutting, at, rest, at + rest.len() as u64 == end) {
                Some(len) => {
                    if !(self.go_on)() {
                        return Ok(false);
                    }
                    self.chunk(rest.get(..len).unwrap_or_default())?;
                    (at, used) = (at + len as u64, used + len);
                }
                None => {
                    advise(self.file, self.path, at - used as u64, used as u64, Advice::DontNeed);
                    let kept = filled - used;
                    window.copy_within(used..filled, 0);
                    let wanted = WINDOW.min(usize::try_from(end - at).unwrap_or(WINDOW));
                    if window.len() < wanted {
                        window.resize(wanted, 0);
                    }
                    let room = window.get_mut(kept..wanted).unwrap_or_default();
                    self.file.read_exact_at(room, at + kept as u64).context("read", self.path)?;
                    (used, filled) = (0, wanted);
                }
            }
        }
        self.window = window;
        Ok(true)
    }

    /// Puts one chunk. Zeros become a hole, whatever the disk below says of them.
    fn chunk(&mut self, raw: &[u8]) -> Result<()> {
        if constant(raw) == Some(0) {
            self.manifest.push_hole(raw.len() as u64);
            return Ok(());
        }
        let id = chunk_id(raw);
        if let Put::New { stored } = self.batch.put(Kind::Chunk, id, raw)? {
            self.new_bytes += u64::from(stored);
        }
        self.manifest.push_data(u32::try_from(raw.len()).unwrap_or(u32::MAX), id);
        Ok(())
    }
}

/// The next run of data from `at` on, below `size`. Where the disk cannot tell, everything is data.
fn next_data(file: &File, path: &Path, at: u64, size: u64) -> Result<Option<(u64, u64)>> {
    if at >= size {
        return Ok(None);
    }
    let start = match rustix::fs::seek(file, SeekFrom::Data(at)) {
        Ok(start) => start,
        Err(Errno::NXIO) => return Ok(None),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(Some((at, size))),
        Err(error) => return Err(error).context("seek for data in", path),
    };
    let end = rustix::fs::seek(file, SeekFrom::Hole(start)).context("seek for a hole in", path)?;
    Ok((start < size && start < end).then_some((start, end.min(size))))
}

/// Tells the kernel how the page cache is used; it is free not to listen.
fn advise(file: &File, path: &Path, offset: u64, len: u64, advice: Advice) {
    let Some(len) = std::num::NonZeroU64::new(len) else { return };
    if let Err(error) = rustix::fs::fadvise(file, offset, Some(len), advice) {
        tracing::debug!("fadvise on {}: {error}", path.display());
    }
}
