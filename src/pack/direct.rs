//! Long blobs are read past the page cache, from the disk into huge pages.
//!
//! What a blob decodes to is kept by the cache of chunks and by the kernel, as pages of the file that was asked for: its stored
//! bytes are of no use after that. A direct read spares the copy of them and the page cache's pages; huge pages make one
//! request to the disk of what would be hundreds of segments (measured: docs/decisions/0009-direct-reads.md).
//!
//! Invariant: whatever a direct read cannot do, one through the page cache can, and that tells what is wrong. So nothing
//! here is an error, and what the page cache holds already is left to it.

use std::fs::File;
use std::ops::{Deref, Range};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use memmap2::{Advice, MmapMut};

use crate::base::lock::lock;

/// Shorter blobs go through the page cache, in bytes: there the kernel reads ahead for the next one, and a copy costs less.
const LEAST: usize = 128 << 10;
/// Place, length and address of a direct read are multiples of this: the largest block of common disks, in bytes.
const BLOCK: u64 = 4096;
/// Bytes of a buffer: a huge page of x86-64 and of AArch64. Holds every blob of a chunk.
const HUGE: usize = 2 << 20;
/// Buffers that are kept for the next reads.
const FREE_MOST: usize = 8;
/// cachestat(2), which libc does not name yet; one number on all architectures, Linux 6.5.
const SYS_CACHESTAT: libc::c_long = 451;

/// The buffers of direct reads: as many as there are reads at a time, and [`FREE_MOST`] free ones at most.
#[derive(Debug, Default)]
pub struct HugePages {
    free: Mutex<Vec<HugePage>>,
}

impl HugePages {
    /// `None` where the kernel gives no memory.
    fn take(&self) -> Option<HugePage> {
        lock(&self.free).pop().or_else(HugePage::new)
    }

    /// How many wait for the next read.
    #[cfg(test)]
    pub fn free(&self) -> usize {
        lock(&self.free).len()
    }

    fn give(&self, page: HugePage) {
        let mut free = lock(&self.free);
        if free.len() < FREE_MOST {
            free.push(page);
        }
    }
}

/// Memory of [`HUGE`] bytes that begins at a multiple of as many.
#[derive(Debug)]
struct HugePage {
    map: MmapMut,
    start: usize,
}

impl HugePage {
    fn new() -> Option<Self> {
        // Twice as long, for the place; what is not touched takes no memory.
        let map = MmapMut::map_anon(2 * HUGE).ok()?;
        let start = map.as_ptr().align_offset(HUGE);
        if let Err(error) = map.advise(Advice::HugePage) {
            tracing::debug!("huge pages: {error}");
        }
        Some(HugePage { map, start })
    }

    fn bytes(&mut self, len: usize) -> Option<&mut [u8]> {
        self.map.get_mut(self.start..self.start + HUGE)?.get_mut(..len)
    }
}

/// Bytes that a direct read gave, in memory that goes back for the next one when this is dropped.
#[derive(Debug)]
pub struct DirectBytes {
    page: Option<HugePage>,
    range: Range<usize>,
    pages: Arc<HugePages>,
}

impl Deref for DirectBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let page = self.page.as_ref();
        page.and_then(|page| page.map.get(page.start..)?.get(self.range.clone())).unwrap_or_default()
    }
}

impl Drop for DirectBytes {
    fn drop(&mut self) {
        if let Some(page) = self.page.take() {
            self.pages.give(page);
        }
    }
}

/// A pack that is open for direct reads.
pub struct DirectPack {
    file: File,
    pages: Arc<HugePages>,
    /// Its disk wants larger blocks than ours, or none at all.
    refused: AtomicBool,
}

impl DirectPack {
    /// Opens the pack at `path`; `None` where its filesystem has no direct reads.
    pub fn open(path: &Path, pages: &Arc<HugePages>) -> Option<Self> {
        let file = File::options().read(true).custom_flags(libc::O_DIRECT).open(path).ok()?;
        Some(DirectPack { file, pages: Arc::clone(pages), refused: AtomicBool::new(false) })
    }

    /// The `len` bytes at `offset`; `None` when they are to be read through the page cache.
    pub fn read(&self, offset: u64, len: usize) -> Option<DirectBytes> {
        let from = offset / BLOCK * BLOCK;
        let skip = usize::try_from(offset - from).ok()?;
        let whole = (skip + len).next_multiple_of(BLOCK as usize);
        if len < LEAST || whole > HUGE || self.refused.load(Ordering::Relaxed) || self.is_cached(from, whole)
        {
            return None;
        }
        let mut page = self.pages.take()?;
        match self.file.read_at(page.bytes(whole)?, from) {
            Ok(read) if read >= skip + len => {
                let pages = Arc::clone(&self.pages);
                return Some(DirectBytes { page: Some(page), range: skip..skip + len, pages });
            }
            Ok(_) => {}
            Err(error) => {
                tracing::debug!("a direct read: {error}");
                let is_refusal = error.kind() == std::io::ErrorKind::InvalidInput;
                self.refused.fetch_or(is_refusal, Ordering::Relaxed);
            }
        }
        self.pages.give(page);
        None
    }

    /// Whether the page cache holds all of `len` bytes from `offset` on. A kernel that cannot tell is taken to hold none.
    fn is_cached(&self, offset: u64, len: usize) -> bool {
        // struct cachestat_range, and struct cachestat, whose first number is that of pages in the cache.
        let (range, mut found) = ([offset, len as u64], [0_u64; 5]);
        // SAFETY: the kernel reads the range and writes the five numbers, and keeps neither; the file is open.
        let done = unsafe {
            libc::syscall(SYS_CACHESTAT, self.file.as_raw_fd(), range.as_ptr(), found.as_mut_ptr(), 0)
        };
        let cached = found.first().copied().unwrap_or_default();
        done == 0 && cached * rustix::param::page_size() as u64 >= len as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of a mebibyte and a bit on the disk, nothing of it in the page cache.
    fn cold(dir: &Path) -> (std::path::PathBuf, Vec<u8>) {
        let bytes: Vec<u8> = (0..(1 << 20) + 777_u32).flat_map(|n| [(n % 251) as u8]).collect();
        let path = dir.join("pack");
        std::fs::write(&path, &bytes).unwrap();
        forget(&path);
        (path, bytes)
    }

    fn forget(path: &Path) {
        let file = File::open(path).unwrap();
        rustix::fs::fsync(&file).unwrap();
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    }

    #[test]
    fn any_place_of_a_file_is_read_and_what_is_short_cached_or_past_the_end_is_left_to_the_page_cache() {
        // Beside the program, because /tmp may be memory, of which nothing is ever outside the page cache.
        let dir = tempfile::tempdir_in(std::env::current_exe().unwrap().parent().unwrap()).unwrap();
        let (path, bytes) = cold(dir.path());
        let pages = Arc::default();
        let pack = DirectPack::open(&path, &pages).expect("the repository's disk has direct reads");
        for (from, len) in [(0, LEAST), (4096, LEAST), (20, 300_001), (4095, LEAST + 1), (777, 1 << 20)] {
            let found = pack.read(from, len).unwrap();
            assert!(found[..] == bytes[from as usize..][..len], "{len} bytes at {from}");
            assert_eq!(found.as_ptr() as usize % HUGE, from as usize % BLOCK as usize);
        }
        assert!(pack.read(0, LEAST - 1).is_none(), "short");
        assert!(pack.read(0, HUGE + 1).is_none(), "longer than a buffer");
        assert!(pack.read(778, bytes.len() - 777).is_none(), "past the end");
        assert_eq!(pages.free(), 1, "one buffer did it all");
        std::fs::read(&path).unwrap();
        // The pages of a file on overlayfs are another file's: there nothing tells that they are cached.
        let is_overlay = rustix::fs::statfs(&path).unwrap().f_type == 0x794c_7630;
        assert_eq!(pack.read(0, LEAST).is_none(), !is_overlay, "in the page cache");
        forget(&path);
        assert!(pack.read(0, LEAST).is_some());
        pack.refused.store(true, Ordering::Relaxed);
        assert!(pack.read(0, LEAST).is_none(), "a disk that refuses is not asked again");
    }

    #[test]
    fn buffers_beyond_those_that_are_kept_are_given_back() {
        let pages = HugePages::default();
        let taken: Vec<HugePage> = (0..FREE_MOST + 3).map(|_| pages.take().unwrap()).collect();
        taken.into_iter().for_each(|page| pages.give(page));
        assert_eq!(pages.free(), FREE_MOST);
    }
}
