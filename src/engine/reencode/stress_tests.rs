//! Random steps of saving, expiring, encoding anew and reclaiming: whatever the order, every version and every file that is
//! there has the bytes that it had when it was first seen, and no base relies on another.
//!
//! `CKPTFS_STRESS_SEEDS=100..200` tries others than the usual few.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::super::reclaim::How;
use super::super::shutdown::End;
use super::super::world::{World, floats, open};
use crate::base::Error;
use crate::base::id::ChunkId;
use crate::base::monitor::Silent;
use crate::catalog::keys::{ROOT, RunId};
use crate::content::hash::chunk_id;
use crate::content::manifest::Extent;
use crate::content::tree::Body;
use crate::gc::Effort;
use crate::seal::stored;
use crate::version::record::Version;
use crate::version::trees::Trees;

/// Numbers in a file: one chunk and a header.
const COUNT: usize = 20_000;
/// Steps of one seed.
const STEPS: usize = 40;
/// Names of files.
const NAMES: [&str; 7] =
    ["model.npy", "ckpt-1.npy", "ckpt-2.npy", "ckpt-3.npy", "ckpt-4.npy", "best.npy", "raw"];

/// xorshift64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end
    }
}

/// What was seen of the store.
struct Seen {
    world: Option<World>,
    dice: Dice,
    newest_stamp: u32,
    /// Files that are there, and the hashes of their bytes.
    files: BTreeMap<&'static str, ChunkId>,
    /// The files of versions, when each was first seen.
    versions: HashMap<u32, BTreeMap<&'static str, ChunkId>>,
    /// Hashes of all that was ever saved.
    saved: HashMap<ChunkId, u32>,
    deltas: usize,
}

impl Seen {
    fn world(&self) -> &World {
        self.world.as_ref().unwrap()
    }

    fn save(&mut self, name: &'static str, stamp: u32) {
        let mut bytes = floats(stamp, COUNT);
        if name == "raw" {
            bytes.drain(..128);
        }
        self.world().save(ROOT, name, &bytes);
        self.saved.insert(chunk_id(&bytes), stamp);
        self.files.insert(name, chunk_id(&bytes));
    }

    fn new_stamp(&mut self) -> u32 {
        self.newest_stamp += 1;
        self.newest_stamp
    }

    fn run(&self) -> Option<RunId> {
        self.world().engine.run_at(ROOT).map(|(run, _)| run)
    }

    fn on_record(&self) -> Vec<Version> {
        self.run().map_or_else(Vec::new, |run| self.world().engine.all_versions(run).unwrap())
    }

    fn make_version(&mut self) {
        self.world().engine.finish_versions("quiet", Duration::from_secs(60)).unwrap();
    }

    fn step(&mut self, dir: &Path) -> String {
        let (kind, name) = (self.dice.below(14), NAMES[self.dice.below(NAMES.len())]);
        match kind {
            0..=3 => {
                let stamp = self.new_stamp();
                self.save(if kind < 2 { "model.npy" } else { name }, stamp);
                self.make_version();
            }
            4 => {
                let stamp = 1 + self.dice.below(self.newest_stamp as usize) as u32;
                self.save(name, stamp);
                self.make_version();
            }
            5 => {
                let stamp = 1 + self.dice.below(self.newest_stamp as usize) as u32;
                self.save(name, stamp);
            }
            6 if self.files.remove(name).is_some() => {
                self.world().engine.unlink(ROOT, name.as_bytes()).unwrap();
            }
            7 | 8 => {
                let versions = self.on_record();
                if let (Some(run), true) = (self.run(), versions.len() > 2) {
                    let number = versions[self.dice.below(versions.len())].number;
                    // It may have expired already.
                    drop(self.world().engine.expire_version(run, number, true, "by hand"));
                }
            }
            9 => drop(self.world().engine.reencode(&|| Ok(())).unwrap()),
            10 => {
                let (asked, limit) = (AtomicUsize::new(0), self.dice.below(60));
                let go_on = || match asked.fetch_add(1, Ordering::Relaxed) {
                    count if count >= limit => Err(Error::Errno(libc::EINTR)),
                    _ => Ok(()),
                };
                match self.world().engine.reencode(&go_on) {
                    Ok(_) | Err(Error::Errno(libc::EINTR)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
            11 | 12 => {
                let how = How { effort: Effort::GENTLE, ..How::NOW };
                self.world().engine.reclaim_as(if kind == 11 { how } else { How::NOW }, &Silent).unwrap();
            }
            13 => {
                let world = self.world.take().unwrap();
                if self.dice.below(2) == 0 {
                    world.engine.shut_down(&world.workers, End::Unused).unwrap();
                } else {
                    world.workers.stop();
                }
                drop(world);
                self.world = Some(open(dir));
                self.world().engine.set_policy("undelete_ttl", "0s").unwrap();
            }
            _ => {}
        }
        format!("{kind} {name}")
    }

    /// The hash of the bytes of a content, past the cache.
    fn bytes_of(&mut self, content: &ChunkId) -> Result<ChunkId, Error> {
        let packs = self.world().engine.packs.clone();
        let (mut bytes, mut deltas) = (Vec::new(), 0);
        for extent in stored::load(&packs, content)?.extents() {
            match extent {
                Extent::Hole { len } => bytes.resize(bytes.len() + *len as usize, 0),
                Extent::Data { id, .. } => {
                    bytes.extend_from_slice(&packs.read_uncached(id)?);
                    if let Some(base) = packs.head(id)?.encoding.base {
                        deltas += 1;
                        assert_eq!(packs.head(&base)?.encoding.base, None, "a chain");
                    }
                }
            }
        }
        self.deltas += deltas;
        Ok(chunk_id(&bytes))
    }

    fn files_of(&mut self, version: &Version) -> Result<BTreeMap<&'static str, ChunkId>, Error> {
        let packs = self.world().engine.packs.clone();
        let trees = Trees::new(&packs);
        let mut files = BTreeMap::new();
        for name in NAMES {
            let found = trees.walk(trees.top(&version.tree)?, &[name.as_bytes().to_vec()])?;
            if let Some(Body::File { content, .. }) = found.map(|entry| entry.body) {
                files.insert(name, self.bytes_of(&content)?);
            }
        }
        Ok(files)
    }

    fn check(&mut self, what: &str) {
        for version in self.on_record() {
            let files = self.files_of(&version);
            let files = files.unwrap_or_else(|error| panic!("{what}: version {}: {error}", version.number));
            for (name, hash) in &files {
                assert!(
                    self.saved.contains_key(hash),
                    "{what}: {name} in version {} is wrong",
                    version.number
                );
            }
            let first = self.versions.entry(version.number).or_insert_with(|| files.clone());
            assert_eq!(*first, files, "{what}: version {}", version.number);
        }
        for (name, hash) in &self.files {
            let bytes = self.world().read_live(ROOT, name);
            assert_eq!(chunk_id(&bytes), *hash, "{what}: {name}");
        }
        assert!(self.world().engine.check_writable().is_ok(), "{what}");
    }
}

/// How many deltas were met.
fn run(seed: u64) -> usize {
    let dir = tempfile::tempdir().unwrap();
    let dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut seen = Seen {
        world: Some(open(dir.path())),
        dice,
        newest_stamp: 0,
        files: BTreeMap::new(),
        versions: HashMap::new(),
        saved: HashMap::new(),
        deltas: 0,
    };
    seen.world().engine.set_policy("undelete_ttl", "0s").unwrap();
    for _ in 0..4 {
        let stamp = seen.new_stamp();
        seen.save("model.npy", stamp);
        seen.make_version();
    }
    let mut steps = Vec::new();
    for at in 0..STEPS {
        steps.push(seen.step(dir.path()));
        seen.check(&format!("seed {seed}, step {at} of {steps:?}"));
    }
    seen.deltas
}

#[test]
fn whatever_the_order_of_steps_every_byte_is_what_it_was() {
    let range = std::env::var("CKPTFS_STRESS_SEEDS").unwrap_or_else(|_| "1..5".to_owned());
    let (from, to) = range.split_once("..").unwrap();
    let deltas: usize = (from.parse().unwrap()..to.parse().unwrap()).map(run).sum();
    assert!(deltas > 0, "nothing was encoded anew");
}
