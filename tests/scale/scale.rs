//! Makes a store of any size in little time and space, for scripts/scale.sh.
//!
//!     scale STORE [--files N] [--versions N] [--chunks N] [--runs N] [--chunk-bytes N] [--deltas 1]
//!
//! What it writes is a store as any other: chunks that their ids are the hashes of, packs, manifests, trees, records. It
//! is small because a chunk is one byte, many times, and of a length that no other chunk of that byte has: so chunk `n`
//! is `chunk_bytes + n / 255` times the byte `1 + n % 255`, which whoever reads files back can say without asking. With `--deltas 1` it is
//! a number many times, and of five saves four are deltas.
//!
//! Order: each version is one save, so one batch, which has the next of the chunks; then the files beside the runs, whose
//! contents share the chunks of versions; packs are durable before names.

// It makes test data: it stops where it fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod names;
mod saves;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use ckptfs::base::monitor::Silent;
use ckptfs::base::{Error, Result};
use ckptfs::engine::layout::Store;
use ckptfs::meta::Meta;
use ckptfs::namespace::{Caller, Namespace};
use ckptfs::pack::PackStore;

/// How large a store is to be.
#[derive(Clone, Copy, Debug)]
struct Size {
    /// Files in directories beside the runs.
    files: u64,
    /// Versions of all runs.
    versions: u64,
    /// Chunks of all versions.
    chunks: u64,
    /// Runs.
    runs: u64,
    /// Bytes of the shortest chunk.
    chunk_bytes: u64,
    /// Whether older saves are stored as deltas: 1, else 0.
    deltas: u64,
}

impl Size {
    /// The chunks that a version has and no other.
    fn chunks_of(&self, version: u64) -> std::ops::Range<u64> {
        let first = |version: u64| self.chunks * version / self.versions;
        first(version)..first(version + 1)
    }
}

fn arguments() -> Result<(PathBuf, Size)> {
    let mut size =
        Size { files: 1000, versions: 10, chunks: 10_000, runs: 1, chunk_bytes: 100 << 10, deltas: 0 };
    let mut store = None;
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let field = match word.as_str() {
            "--files" => &mut size.files,
            "--versions" => &mut size.versions,
            "--chunks" => &mut size.chunks,
            "--runs" => &mut size.runs,
            "--chunk-bytes" => &mut size.chunk_bytes,
            "--deltas" => &mut size.deltas,
            _ => {
                store = Some(PathBuf::from(word));
                continue;
            }
        };
        let value = words.next().and_then(|value| value.parse().ok());
        *field = value.ok_or_else(|| Error::Refused(format!("{word} needs a number")))?;
    }
    let store = store.ok_or_else(|| Error::Refused("the use is: scale STORE [--files N] ...".into()))?;
    if size.runs == 0 || size.versions < size.runs || size.chunks < size.versions {
        return Err(Error::Refused("a run needs a version, and a version a chunk".into()));
    }
    Ok((store, size))
}

fn make(root: &Path, size: &Size) -> Result<()> {
    let store = Store::open(root, Path::new(""))?;
    let packs = PackStore::open(&store.layout.packs(), &store.layout.index(), 64 << 20, &Silent)?;
    let journal = (store.layout.journal(), store.layout.catalog());
    let opened = Meta::open(&journal.0, &journal.1, ckptfs::meta::Options::default(), &Silent)?;
    let meta = Arc::new(opened.meta);
    let names = Namespace::open(meta.clone(), Caller { uid: 0, gid: 0 })?;
    let saves = saves::make(&packs, size)?;
    let files = saves::files(&packs, size, &saves)?;
    names::make(&names, size, &saves, &files)?;
    meta.close()
}

#[expect(clippy::print_stderr, reason = "a program for scripts: its words are for whoever runs them")]
fn main() -> ExitCode {
    match arguments().and_then(|(store, size)| make(&store, &size)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
