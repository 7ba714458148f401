//! Fills a plain file from sealed content, on several threads.
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
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let work = || -> Result<()> {
        while !failed.load(Ordering::Relaxed) {
            let Some(extent) = manifest.extent(next.fetch_add(1, Ordering::Relaxed)) else { break };
            fill(store, &extent, out, path).inspect_err(|_| failed.store(true, Ordering::Relaxed))?;
        }
        Ok(())
    };
    let helpers = threads.clamp(1, manifest.extents().len().max(1)) - 1;
    thread::scope(|scope| {
        let others: Vec<_> = (0..helpers).map(|_| scope.spawn(work)).collect();
        let mine = work();
        let died = |_| Err(Error::Refused("a thread that fills a file died".to_owned()));
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
