//! Fills a plain file from sealed content, or only reads that, on several threads.
//!
//! The file is made as long as the content first; holes are what nobody writes. It is complete only when this has
//! returned, and durable only when the caller has synced it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::read::check_len;
use crate::base::{Error, IoContext, Result};
use crate::content::manifest::{Extent, Located, Manifest};
use crate::pack::PackStore;

/// Writes the content of `manifest` into the new, empty file `out` with `threads` threads. `path` is for messages.
///
/// Past the cache; memory is one chunk a thread. After an error the file is to be deleted.
pub fn hydrate(
    store: &PackStore,
    manifest: &Manifest,
    out: &File,
    path: &Path,
    threads: usize,
) -> Result<()> {
    out.set_len(manifest.size()).context("truncate", path)?;
    each_extent(manifest, threads, &|extent| fill(store, extent, out, path))
}

/// Reads and checks every chunk of `manifest` with `threads` threads; `advance` hears how many bytes of the content are
/// done each time.
pub fn verify(
    store: &PackStore,
    manifest: &Manifest,
    threads: usize,
    advance: &(dyn Fn(u64) + Sync),
) -> Result<()> {
    each_extent(manifest, threads, &|located| {
        if let Extent::Data { len, id } = located.extent {
            check_len(store, &id, store.read_uncached(&id)?.len(), len)?;
        }
        advance(located.end() - located.start);
        Ok(())
    })
}

/// Works on every extent with `threads` threads; the first failure ends it.
fn each_extent(
    manifest: &Manifest,
    threads: usize,
    work: &(dyn Fn(&Located) -> Result<()> + Sync),
) -> Result<()> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let work = || -> Result<()> {
        while !failed.load(Ordering::Relaxed) {
            let Some(extent) = manifest.extent(next.fetch_add(1, Ordering::Relaxed)) else { break };
            work(&extent).inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
        }
        Ok(())
    };
    let helpers = threads.clamp(1, manifest.extents().len().max(1)) - 1;
    thread::scope(|scope| {
        let others: Vec<_> = (0..helpers).map(|_| scope.spawn(work)).collect();
        let mine = work();
        let died = |_| Err(Error::Refused("a thread that reads chunks died".to_owned()));
        others.into_iter().map(|other| other.join().unwrap_or_else(died)).fold(mine, Result::and)
    })
}

/// Writes one extent.
fn fill(store: &PackStore, located: &Located, out: &File, path: &Path) -> Result<()> {
    let Extent::Data { len, id } = located.extent else { return Ok(()) };
    let raw = store.read_uncached(&id)?;
    check_len(store, &id, raw.len(), len)?;
    out.write_all_at(&raw, located.start).context("write", path)
}
