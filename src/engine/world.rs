//! One engine for the tests: a store in a temporary folder, saves into it, and its versions read back.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::history::HistoryOptions;
use super::workers::Workers;
use super::{Engine, Options};
use crate::base::monitor::Silent;
use crate::catalog::keys::{Ino, RunId};
use crate::content::hash::chunk_id;
use crate::content::tree::Body;
use crate::namespace::Caller;
use crate::seal::read::SealedFile;
use crate::version::record::Version;
use crate::version::trees::Trees;

pub(in crate::engine) const ME: Caller = Caller { uid: 0, gid: 0 };
pub(in crate::engine) const LONG: Duration = Duration::from_secs(60);

pub(in crate::engine) struct World {
    pub(in crate::engine) engine: Arc<Engine>,
    pub(in crate::engine) workers: Workers,
}

pub(in crate::engine) fn options(min_free: u64) -> Options {
    let settle = Duration::from_secs(3600);
    Options {
        settle,
        hot_cache_bytes: 0,
        cache_bytes: 16 << 20,
        threads: 1,
        hydrate_threads: 1,
        scrub_rate: 0,
        hot: None,
        meta: crate::meta::Options::default(),
        history: HistoryOptions { settle, min_free, ..HistoryOptions::default() },
    }
}

pub(in crate::engine) fn open(dir: &Path) -> World {
    open_with(dir, options(1))
}

pub(in crate::engine) fn open_with(dir: &Path, options: Options) -> World {
    let engine = Engine::start(dir, options, ME, &Silent).unwrap();
    World { workers: Workers::start(&engine).unwrap(), engine }
}

/// Writes all of a file, old or new.
pub(in crate::engine) fn save(engine: &Engine, dir: Ino, name: &str, bytes: &[u8]) -> Ino {
    let flags = libc::O_WRONLY | libc::O_TRUNC;
    let (ino, fh) = match engine.names().entry(dir, name.as_bytes()).unwrap() {
        Some(entry) => (entry.ino, engine.open(entry.ino, flags, ME).unwrap().fh),
        None => {
            let (attr, opened) = engine.create(dir, name.as_bytes(), 0o644, flags, ME).unwrap();
            (attr.inode.ino, opened.fh)
        }
    };
    engine.write(fh, 0, bytes, false).unwrap();
    engine.release(fh).unwrap();
    ino
}

impl World {
    pub(in crate::engine) fn save(&self, dir: Ino, name: &str, bytes: &[u8]) -> Ino {
        save(&self.engine, dir, name, bytes)
    }

    /// Saves `model.npy` of this stamp, and makes the version.
    pub(in crate::engine) fn checkpoint(&self, run: Ino, stamp: u32, len: usize) -> (RunId, u32) {
        self.save(run, "model.npy", &npy(stamp, len));
        self.engine.finish_versions("quiet", LONG).unwrap();
        let (id, found) = self.engine.run_at(run).unwrap();
        (id, found.next - 1)
    }

    pub(in crate::engine) fn versions(&self, dir: Ino) -> Vec<Version> {
        self.engine.versions(self.engine.run_at(dir).unwrap().0).unwrap()
    }

    pub(in crate::engine) fn read(&self, version: &Version, name: &str) -> Vec<u8> {
        let trees = Trees::new(&self.engine.packs);
        let top = trees.top(&version.tree).unwrap();
        let entry = trees.walk(top, &[name.as_bytes().to_vec()]).unwrap().unwrap();
        let Body::File { content, size, .. } = entry.body else { panic!("a file") };
        let file = SealedFile::open(self.engine.packs.clone(), self.engine.readers.clone(), content).unwrap();
        let mut bytes = vec![0; size as usize];
        assert_eq!(file.read_at(0, &mut bytes).unwrap(), bytes.len());
        bytes
    }

    pub(in crate::engine) fn read_live(&self, dir: Ino, name: &str) -> Vec<u8> {
        let ino = self.engine.names().entry(dir, name.as_bytes()).unwrap().unwrap().ino;
        let fh = self.engine.open(ino, libc::O_RDONLY, ME).unwrap().fh;
        let size = self.engine.getattr(ino).unwrap().size as usize;
        let mut bytes = vec![0; size];
        assert_eq!(self.engine.read(fh, 0, &mut bytes).unwrap(), size);
        self.engine.release(fh).unwrap();
        bytes
    }

    pub(in crate::engine) fn stored(&self) -> u64 {
        self.engine.packs.stats().stored_bytes
    }
}

/// A valid numpy file of about `len` bytes that nothing compresses, told apart by `stamp`.
pub(in crate::engine) fn npy(stamp: u32, len: usize) -> Vec<u8> {
    let mut header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({len},), }}").into_bytes();
    header.resize(117, b' ');
    header.push(b'\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header);
    let start = bytes.len();
    let mut block = 0_u32;
    while bytes.len() < start + len {
        bytes.extend(chunk_id(&[stamp.to_le_bytes(), block.to_le_bytes()].concat()).0);
        block += 1;
    }
    bytes.truncate(start + len);
    bytes
}

pub(in crate::engine) const LEN: usize = 200_000;

/// A valid numpy file of `count` numbers (f32) that training has moved by `stamp` steps: most of their bits stay.
pub(in crate::engine) fn floats(stamp: u32, count: usize) -> Vec<u8> {
    let mut header =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({count},), }}").into_bytes();
    header.resize(117, b' ');
    header.push(b'\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header);
    let noise = |n: usize| {
        let mixed = (n as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        (((mixed ^ (mixed >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 40) as f32 / (1 << 23) as f32) - 1.0
    };
    for n in 0..count {
        let moved = noise(n + count * (stamp as usize + 1)) * 1e-4 + stamp as f32 * 1e-5;
        bytes.extend((noise(n) * 0.05 + moved).to_le_bytes());
    }
    bytes
}
