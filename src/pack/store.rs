//! The store of blobs: put once, read, list, delete. What is above knows neither files nor offsets.
//!
//! A read gives bytes whose hash is the id that was asked for, or an error that names the pack. A blob that several
//! packs hold is read from the next when one is damaged.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{DefaultHashBuilder, OptionsBuilder, Weighter};

use super::batch::PackBatch;
use super::buffers::{Buffer, Buffers};
use super::chunk_index::ChunkIndex;
use super::deltas::Headers;
use super::direct::{DirectPack, HugePages};
use super::format::{BlobHeader, PackEntry};
use super::index::Location;
use super::reader::OpenPack;
use super::scan;
use super::uses::Uses;
use super::writer::{PackWriter, pack_name, pack_number};
use crate::base::id::ChunkId;
use crate::base::lock::lock;
use crate::base::monitor::Monitor;
use crate::base::{Error, IoContext, Result, durable};

/// A chain of bases that is longer is damage: a base is self-contained when something is made to rely on it.
const MAX_DEPTH: u32 = 4;
/// Packs that are held open for reading.
const OPEN_PACKS: usize = 128;
/// The cache is divided into shards of at least this many bytes, so that chunks of 1 MiB fit well.
const SHARD_BYTES: u64 = 32 << 20;

/// One part in this many of the cache's bytes is for buffers outside it: being filled, being read, or free.
const BUFFER_SHARE: u64 = 8;

/// Memory of a cached chunk, its place in the cache included.
#[derive(Clone)]
struct Bytes;

impl Weighter<ChunkId, Arc<Buffer>> for Bytes {
    fn weight(&self, _id: &ChunkId, bytes: &Arc<Buffer>) -> u64 {
        bytes.capacity() as u64 + 128
    }
}

/// What the store and its batches share.
pub(super) struct Shared {
    pub(super) packs_dir: PathBuf,
    pub(super) index: ChunkIndex,
    pub(super) uses: Arc<Uses>,
    next_pack: AtomicU32,
    /// Blobs ([`ChunkId::short`]) of which a copy was found damaged: nobody is to rely on them any more.
    doubtful: Mutex<HashSet<u64>>,
}

impl Shared {
    /// Whether a batch may rely on blob `id`: it is there, self-contained, and was not found damaged.
    pub(super) fn is_reliable(&self, id: &ChunkId) -> Result<bool> {
        Ok(self.index.is_reliable(id)? && !lock(&self.doubtful).contains(&id.short()))
    }

    /// Blob `id` is damaged somewhere: who saves it again writes it again.
    pub(super) fn doubt(&self, id: &ChunkId) {
        lock(&self.doubtful).insert(id.short());
    }

    /// Blobs that were written anew are as good as any.
    pub(super) fn trust<'a>(&self, ids: impl Iterator<Item = &'a ChunkId>) {
        let mut doubtful = lock(&self.doubtful);
        if !doubtful.is_empty() {
            for id in ids {
                doubtful.remove(&id.short());
            }
        }
    }

    /// Begins a pack under a number that no other has.
    pub(super) fn new_pack(&self) -> Result<PackWriter> {
        let number = self.next_pack.fetch_add(1, Ordering::Relaxed);
        if number == u32::MAX {
            return Err(Error::Refused("pack numbers are used up".to_owned()));
        }
        PackWriter::create(&self.packs_dir, number)
    }
}

/// Counts for `status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PackStats {
    /// Packs.
    pub packs: u64,
    /// Their bytes.
    pub stored_bytes: u64,
    /// Entries of the chunk index: chunks, counted again where several packs hold one.
    pub chunks: u64,
}

/// A pack that is held open for reading, through the page cache and past it.
struct PackFile {
    file: File,
    direct: Option<DirectPack>,
}

/// Every blob of a store.
pub struct PackStore {
    shared: Arc<Shared>,
    cache: Cache<ChunkId, Arc<Buffer>, Bytes>,
    cache_bytes: u64,
    buffers: Arc<Buffers>,
    pages: Arc<HugePages>,
    files: Cache<u32, Arc<PackFile>>,
    headers: Headers,
}

impl PackStore {
    /// Opens the store whose packs are in `packs` and whose chunk index is in `index`; both folders are made if missing.
    ///
    /// Deletes leftover temporaries. `cache_bytes` bounds the memory of decoded chunks that are kept and of buffers for
    /// more. `monitor` hears when packs have to be read because the index lacks them.
    pub fn open(packs: &Path, index: &Path, cache_bytes: u64, monitor: &dyn Monitor) -> Result<Self> {
        for dir in [packs, index] {
            if !dir.is_dir() {
                fs::create_dir_all(dir).context("create", dir)?;
                durable::sync_dir(dir.parent().unwrap_or(dir))?;
            }
        }
        let index = ChunkIndex::open(packs, index, list_packs(packs)?, monitor)?;
        let next_pack = AtomicU32::new(index.first_free_pack());
        let shards = (cache_bytes / SHARD_BYTES).clamp(1, 16) as usize;
        let options = OptionsBuilder::new()
            .shards(shards)
            .estimated_items_capacity((cache_bytes >> 18) as usize + 1)
            .weight_capacity(cache_bytes - cache_bytes / BUFFER_SHARE)
            .build()
            .map_err(|error| Error::Refused(format!("a chunk cache of {cache_bytes} bytes: {error}")))?;
        let cache =
            Cache::with_options(options, Bytes, DefaultHashBuilder::default(), DefaultLifecycle::default());
        let shared = Arc::new(Shared {
            packs_dir: packs.to_owned(),
            index,
            uses: Arc::default(),
            next_pack,
            doubtful: Mutex::default(),
        });
        let buffers = Buffers::new(usize::try_from(cache_bytes).unwrap_or(usize::MAX));
        Ok(PackStore {
            shared,
            cache,
            cache_bytes,
            buffers,
            pages: Arc::default(),
            files: Cache::new(OPEN_PACKS),
            headers: Headers::default(),
        })
    }

    /// Whether the store has the blob `id`.
    pub fn contains(&self, id: &ChunkId) -> Result<bool> {
        Ok(!self.shared.index.find(id)?.is_empty())
    }

    /// The raw bytes of blob `id`, through the cache; threads that want one blob decode it once.
    ///
    /// [`Error::Damaged`] when no pack has it or its bytes are wrong.
    pub fn read(&self, id: &ChunkId) -> Result<Arc<Buffer>> {
        self.cache.get_or_insert_with(id, || self.read_uncached(id).map(Arc::new))
    }

    /// The raw bytes of blob `id`, past the cache: for whole files, which would push everything else out of it.
    pub fn read_uncached(&self, id: &ChunkId) -> Result<Buffer> {
        self.read_at_depth(id, 0)
    }

    fn read_at_depth(&self, id: &ChunkId, depth: u32) -> Result<Buffer> {
        self.fetch(id, |pack, at| pack.read(id, at, &self.buffers, &|base| self.read_base(base, depth + 1)))
    }

    /// The raw bytes of blob `id` from one place, whatever other copies there are.
    pub(super) fn read_in(&self, pack: OpenPack<'_>, id: &ChunkId, at: &Location) -> Result<Buffer> {
        pack.read(id, at, &self.buffers, &|base| self.read_base(base, 1))
    }

    /// Past the cache, too: a base is needed once for each blob that differs from it, and these are kept themselves.
    fn read_base(&self, id: &ChunkId, depth: u32) -> Result<Arc<Buffer>> {
        if let Some(cached) = self.cache.get(id) {
            return Ok(cached);
        }
        if depth > MAX_DEPTH {
            return Err(Error::damaged(
                self.path(),
                format!("store: blob {id} is the base of too long a chain"),
            ));
        }
        self.read_at_depth(id, depth).map(Arc::new)
    }

    /// Whether the raw bytes of blob `id` are in the cache.
    pub fn is_cached(&self, id: &ChunkId) -> bool {
        self.cache.contains_key(id)
    }

    /// The folder of the packs, for messages.
    pub fn path(&self) -> &Path {
        &self.shared.packs_dir
    }

    /// The bound of the cache, in bytes.
    pub fn cache_bytes(&self) -> u64 {
        self.cache_bytes
    }

    /// The header of blob `id`, whose stored bytes are not looked at.
    pub fn head(&self, id: &ChunkId) -> Result<BlobHeader> {
        self.fetch(id, |pack, at| pack.head(at))
    }

    /// The header of blob `id`, whose stored bytes verify: how it is stored.
    pub fn header(&self, id: &ChunkId) -> Result<BlobHeader> {
        self.fetch(id, |pack, at| pack.check(at, &self.buffers))
    }

    /// Bytes that blob `id` takes of a pack, its header included; `None` when no pack has it. Reads the index only.
    pub fn stored_len(&self, id: &ChunkId) -> Result<Option<u32>> {
        Ok(self.shared.index.find(id)?.first().map(|at| at.len))
    }

    /// Begins a batch of blobs.
    pub fn writer(&self) -> Result<PackBatch> {
        Ok(PackBatch::new(Arc::clone(&self.shared)))
    }

    /// The packs, numbers and bytes, in order of number.
    pub fn packs(&self) -> Vec<(u32, u32)> {
        self.shared.index.packs()
    }

    /// The blobs of a pack in order of id, from its footer or, where that is damaged, from the blobs.
    pub fn entries(&self, pack: u32) -> Result<Vec<PackEntry>> {
        scan::entries(&self.pack_path(pack))
    }

    /// Deletes a pack. What is needed of it must be durable in others; the index forgets it first.
    pub fn remove(&self, pack: u32) -> Result<()> {
        self.remove_all(&[pack])
    }

    /// Counts for `status`.
    pub fn stats(&self) -> PackStats {
        let packs = self.packs();
        PackStats {
            packs: packs.len() as u64,
            stored_bytes: packs.iter().map(|(_, len)| u64::from(*len)).sum(),
            chunks: self.shared.index.entries(),
        }
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(super) fn buffers(&self) -> &Arc<Buffers> {
        &self.buffers
    }

    pub(super) fn headers(&self) -> &Headers {
        &self.headers
    }

    /// A pack is about to go: its file is closed if it is held open for reading, and what was known of it is forgotten.
    pub(super) fn close_pack(&self, pack: u32) {
        self.files.remove(&pack);
        self.headers.forget(pack);
    }

    pub(super) fn pack_path(&self, pack: u32) -> PathBuf {
        self.shared.packs_dir.join(pack_name(pack))
    }

    /// Has `read` read blob `id` from the first of its places where that succeeds.
    fn fetch<T>(&self, id: &ChunkId, read: impl Fn(OpenPack<'_>, &Location) -> Result<T>) -> Result<T> {
        let mut result = self.fetch_once(id, &read);
        if matches!(&result, Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound) {
            // The pack was repacked and deleted after the index was asked: ask again.
            result = self.fetch_once(id, &read);
        }
        result
    }

    fn fetch_once<T>(&self, id: &ChunkId, read: &dyn Fn(OpenPack<'_>, &Location) -> Result<T>) -> Result<T> {
        let mut failure = Error::damaged(&self.shared.packs_dir, format!("store: blob {id} is in no pack"));
        let tried = self.shared.index.find(id)?;
        for at in &tried {
            match self.fetch_told(id, at, read) {
                Ok(value) => return Ok(value),
                Err(error) => failure = error,
            }
        }
        // Older copies, of which a collection has not disposed yet.
        for at in self.shared.index.find_all(id)?.iter().filter(|at| !tried.contains(at)) {
            if let Ok(value) = self.fetch_told(id, at, read) {
                return Ok(value);
            }
        }
        Err(failure)
    }

    /// A failure is logged: another copy may still be sound.
    fn fetch_told<T>(
        &self,
        id: &ChunkId,
        at: &Location,
        read: &dyn Fn(OpenPack<'_>, &Location) -> Result<T>,
    ) -> Result<T> {
        let fetched = self.fetch_at(at, read);
        fetched.inspect_err(|error| {
            if matches!(error, Error::Damaged { .. }) {
                self.shared.doubt(id);
            }
            tracing::error!("{error} (blob {id}, pack {:08x}, offset {})", at.pack, at.offset);
        })
    }

    pub(super) fn fetch_at<T>(
        &self,
        at: &Location,
        read: impl Fn(OpenPack<'_>, &Location) -> Result<T>,
    ) -> Result<T> {
        let path = self.pack_path(at.pack);
        let opened = self.files.get_or_insert_with(&at.pack, || {
            let file = File::open(&path).context("open", &path)?;
            Ok::<_, Error>(Arc::new(PackFile { file, direct: DirectPack::open(&path, &self.pages) }))
        })?;
        read(OpenPack { file: &opened.file, direct: opened.direct.as_ref(), path: &path }, at)
    }
}

/// The packs in `dir` and their bytes; temporaries are deleted.
fn list_packs(dir: &Path) -> Result<BTreeMap<u32, u32>> {
    let mut packs = BTreeMap::new();
    for entry in fs::read_dir(dir).context("read", dir)? {
        let path = entry.context("read", dir)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.ends_with(".pack.tmp") {
            fs::remove_file(&path).context("remove", &path)?;
        } else if let Some(number) = pack_number(name) {
            let len = fs::metadata(&path).context("stat", &path)?.len();
            packs.insert(number, u32::try_from(len).map_err(|_| Error::damaged(&path, "pack above 4 GiB"))?);
        }
    }
    Ok(packs)
}

#[cfg(test)]
#[path = "store_tests.rs"]
mod tests;
