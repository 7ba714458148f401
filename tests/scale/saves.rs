//! Chunks, manifests and trees, in packs.
//!
//! Each save is one batch, as the filesystem itself makes them, so it costs a pack. Versions of a run come one after the
//! other: the tree of each names the last three checkpoints and one directory that all versions share.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use ckptfs::base::Result;
use ckptfs::base::clock::Time;
use ckptfs::base::id::ChunkId;
use ckptfs::codec::{Codec, Encoder, Encoding};
use ckptfs::content::hash::chunk_id;
use ckptfs::content::manifest::{Level, Manifest};
use ckptfs::content::tree::{Body, Entry, Node, Soundness, encode_dir};
use ckptfs::formats::Format;
use ckptfs::pack::{Kind, PackBatch, PackStore};
use ckptfs::seal::stored;
use ckptfs::version::record::Version;

use crate::Size;

/// Checkpoints of a run that its directory has: a version's tree and the live one.
pub(crate) const KEPT: u64 = 3;
/// Files in the directory that all versions of a run share.
const SHARED: u64 = 100;
/// Chunks of a file that is in no version.
const FILE_CHUNKS: u64 = 2;
/// Contents in one batch, of those files.
const FILES_AT_ONCE: usize = 50_000;
/// Of so many saves one is whole, where there are deltas.
const KEYFRAME_EVERY: u64 = ckptfs::engine::reencode::KEYFRAME_EVERY as u64;
/// Seconds between two saves of a run.
const EVERY: i64 = 600;

/// A content that is in packs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored {
    /// Its manifest.
    pub(crate) id: ChunkId,
    /// Its bytes.
    pub(crate) size: u64,
}

/// What all saves have put.
pub(crate) struct Saves {
    /// Ids of the chunks.
    chunks: Vec<ChunkId>,
    /// The content of each version that no other has.
    pub(crate) contents: Vec<Stored>,
    /// The record of each.
    pub(crate) versions: Vec<Version>,
}

/// The bytes of chunk `n`, as a byte and how often it is there.
fn chunk(size: &Size, n: u64) -> (u8, usize) {
    (1 + (n % 255) as u8, (size.chunk_bytes + n / 255) as usize)
}

/// The run of a version, and its number among those of that run, from 0.
pub(crate) fn place(size: &Size, version: u64) -> (u64, u64) {
    (version % size.runs, version / size.runs)
}

/// Puts all versions: their chunks in as many threads as there are cores, then their trees in order.
pub(crate) fn make(packs: &PackStore, size: &Size) -> Result<Saves> {
    let next = AtomicU64::new(0);
    let done: Mutex<Vec<(u64, Stored, Vec<ChunkId>)>> = Mutex::default();
    let work = || -> Result<()> {
        loop {
            let version = next.fetch_add(1, Ordering::Relaxed);
            if version >= size.versions {
                return Ok(());
            }
            let (content, ids) = save(packs, size, version)?;
            done.lock().unwrap().push((version, content, ids));
        }
    };
    std::thread::scope(|scope| {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().unwrap())
    })?;
    let mut done = done.into_inner().unwrap();
    done.sort_unstable_by_key(|(version, ..)| *version);
    let contents: Vec<Stored> = done.iter().map(|(_, content, _)| *content).collect();
    let chunks = done.into_iter().flat_map(|(.., ids)| ids).collect();
    let versions = trees(packs, size, &contents)?;
    Ok(Saves { chunks, contents, versions })
}

fn save(packs: &PackStore, size: &Size, version: u64) -> Result<(Stored, Vec<ChunkId>)> {
    let mut batch = packs.writer()?;
    let (mut manifest, mut ids, mut raw) = (Manifest::new(Level::Content), Vec::new(), Vec::new());
    for n in size.chunks_of(version) {
        let len = if size.deltas > 0 {
            number_chunk(size, version, n, &mut raw, &mut batch)?
        } else {
            let (byte, len) = chunk(size, n);
            raw.clear();
            raw.resize(len, byte);
            let plain = Encoding::plain(Codec::Constant);
            batch.put_encoded(Kind::Chunk, chunk_id(&raw), plain, len, &[byte])?;
            len
        };
        let id = chunk_id(&raw);
        manifest.push_data(len as u32, id);
        ids.push(id);
    }
    let (id, _) = stored::save(&manifest, &mut batch)?;
    batch.finish()?;
    Ok((Stored { id, size: manifest.size() }, ids))
}

/// Puts a chunk of one 32-bit number, many times: of five saves the first has it by itself, and each of the others, where
/// it is greater by one more, as what differs from that. Fills `raw`; the bytes.
fn number_chunk(
    size: &Size,
    version: u64,
    n: u64,
    raw: &mut Vec<u8>,
    batch: &mut PackBatch,
) -> Result<usize> {
    let (run, at) = place(size, version);
    let step = at % KEYFRAME_EVERY;
    let key = (at - step) * size.runs + run;
    let first = size.chunks_of(key).start + (n - size.chunks_of(version).start);
    let of = |step: u64| (0x3f00_0000 + (first * KEYFRAME_EVERY + step) as u32).to_le_bytes();
    let count = size.chunk_bytes as usize / 4;
    *raw = of(step).repeat(count);
    let id = chunk_id(raw);
    if step == 0 {
        batch.put(Kind::Chunk, id, raw)?;
    } else {
        let base = of(0).repeat(count);
        let like = Encoding { width: 4, ..Encoding::plain(Codec::Rot) };
        let mut stored = Vec::new();
        let delta = Encoder::new().encode_delta(&like, raw, &base, &mut stored).unwrap();
        let delta = Encoding { base: Some(chunk_id(&base)), ..delta };
        batch.put_encoded(Kind::Chunk, id, delta, raw.len(), &stored)?;
    }
    Ok(raw.len())
}

/// Puts the contents of the files that are beside the runs: each has chunks that versions have, in an order of its own.
pub(crate) fn files(packs: &PackStore, size: &Size, saves: &Saves) -> Result<Vec<Stored>> {
    let all: Vec<u64> = (0..size.files).collect();
    let mut contents = Vec::with_capacity(all.len());
    for some in all.chunks(FILES_AT_ONCE) {
        let mut batch = packs.writer()?;
        for file in some {
            let mut manifest = Manifest::new(Level::Content);
            for part in 0..FILE_CHUNKS {
                let n = file_chunk(size, *file, part);
                let len = if size.deltas > 0 { size.chunk_bytes as usize / 4 * 4 } else { chunk(size, n).1 };
                manifest.push_data(len as u32, saves.chunks[n as usize]);
            }
            let (id, _) = stored::save(&manifest, &mut batch)?;
            contents.push(Stored { id, size: manifest.size() });
        }
        batch.finish()?;
    }
    Ok(contents)
}

/// The chunk that is a part of a file beside the runs.
fn file_chunk(size: &Size, file: u64, part: u64) -> u64 {
    (file + part * (1 + file / size.chunks)) % size.chunks
}

fn trees(packs: &PackStore, size: &Size, contents: &[Stored]) -> Result<Vec<Version>> {
    let now = Time::now().secs;
    let mut shared: Vec<Entry> = Vec::new();
    let mut versions = Vec::new();
    let mut batch = packs.writer()?;
    for version in 0..size.versions {
        let (run, at) = place(size, version);
        if at == 0 {
            let content = contents[run as usize];
            let entries = (0..SHARED).map(|n| file(&format!("part-{n:03}.bin"), content, now));
            shared.push(dir("data", entries.collect(), &mut batch)?);
        }
        let time = now - EVERY * (size.versions / size.runs - at) as i64;
        let first = at.saturating_sub(KEPT - 1);
        let mut entries = vec![shared[run as usize].clone()];
        for step in first..=at {
            let content = contents[(step * size.runs + run) as usize];
            let mut model = file("model.bin", content, time);
            if let (1.., Body::File { format, .. }) = (size.deltas, &mut model.body) {
                // What is no checkpoint is never looked at for deltas.
                *format = Format::Npy as u8;
            }
            entries.push(dir(&format!("checkpoint-{step}"), vec![model], &mut batch)?);
        }
        let top = dir("", entries, &mut batch)?;
        let new = contents[version as usize].size;
        versions.push(record(run, at, (time, 0), top, new, &mut batch)?);
        if batch.bytes_written() > ckptfs::pack::writer::TARGET_BYTES / 2 {
            std::mem::replace(&mut batch, packs.writer()?).finish()?;
        }
    }
    batch.finish()?;
    Ok(versions)
}

fn entry(name: &str, mode: u32, secs: i64, body: Body) -> Entry {
    let mtime = Time { secs, nanos: 0 };
    Entry { name: name.into(), ino: 0, mode, uid: 0, gid: 0, nlink: 1, mtime, xattrs: Vec::new(), body }
}

fn file(name: &str, content: Stored, secs: i64) -> Entry {
    let Stored { id, size } = content;
    let body = Body::File {
        content: id,
        size,
        blocks: size.div_ceil(512),
        format: 0,
        soundness: Soundness::Unknown,
    };
    entry(name, libc::S_IFREG | 0o644, secs, body)
}

fn dir(name: &str, entries: Vec<Entry>, batch: &mut PackBatch) -> Result<Entry> {
    let told = |entry: &Entry| match entry.body {
        Body::Dir { files, bytes, .. } => (files, bytes),
        _ => (1, entry.size()),
    };
    let (files, bytes) = entries.iter().map(told).fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    let tree = encode_dir(entries, &mut |id, bytes| batch.put(Kind::Tree, id, bytes).map(drop))?;
    Ok(entry(name, libc::S_IFDIR | 0o755, 0, Body::Dir { tree, files, bytes }))
}

fn record(
    run: u64,
    at: u64,
    time: (i64, u32),
    top: Entry,
    new_bytes: u64,
    batch: &mut PackBatch,
) -> Result<Version> {
    let Body::Dir { files, bytes, .. } = top.body else { panic!("the top is a directory") };
    let node = Node::Leaf(vec![top]).encode();
    let tree = chunk_id(&node);
    batch.put(Kind::Tree, tree, &node)?;
    let mut version = Version {
        number: at as u32 + 1,
        time,
        trigger: "quiet".to_owned(),
        path: crate::names::run_path(run),
        complete: true,
        valid: true,
        why: Vec::new(),
        step: Some(at),
        epoch: None,
        metrics: [("loss".to_owned(), 1.0 / (at + 1) as f64)].into(),
        files,
        logical_bytes: bytes,
        new_bytes,
        tree,
        about: None,
        tags: Vec::new(),
        pinned: false,
        kept_for_ever: false,
        provenance: None,
        origin: None,
        expired: None,
    };
    let about = Node::About(serde_json::to_vec(&version).unwrap()).encode();
    let id = chunk_id(&about);
    batch.put(Kind::Tree, id, &about)?;
    version.about = Some(id);
    Ok(version)
}
