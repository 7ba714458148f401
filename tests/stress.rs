//! Many hands on few names, while everything is sealed and evicted at once: no wrong byte, no EIO, no fault.
//!
//! Every 4 KiB block says which writing it belongs to and where it is, and its bytes follow from that: a block of
//! another place and a torn one are found by any reader. A writing may replace another at any moment, so blocks of
//! different writings of one name may meet in one file; a block itself is always whole.

// A test stops where it fails, in its helpers too.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr
)]

mod common;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use common::{Map, Mount};

const BLOCK: usize = 4096;
const BLOCKS: u64 = 100;
const NAMES: u64 = 5;
const THREADS: u64 = 6;
const TIME: Duration = Duration::from_secs(20);

/// A block of `writing` at block `at`: header, then bytes made from it.
fn block(writing: u64, at: u64) -> Vec<u8> {
    let mut out = common::noise(BLOCK, writing << 20 | at);
    out[..8].copy_from_slice(&writing.to_le_bytes());
    out[8..16].copy_from_slice(&at.to_le_bytes());
    out
}

/// Whether these are the bytes of some writing for block `at`, or of a hole.
fn is_whole(bytes: &[u8], at: u64) -> bool {
    let writing = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    bytes.iter().all(|byte| *byte == 0) || bytes == block(writing, at)
}

/// What may happen to a name that others remove and replace.
fn gone(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EEXIST))
}

struct Hand<'a> {
    dir: &'a Path,
    random: u64,
    writings: &'a AtomicU64,
}

impl Hand<'_> {
    fn pick(&mut self, limit: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 20) % limit
    }

    fn name(&mut self) -> PathBuf {
        self.dir.join(format!("model-{}.pt", self.pick(NAMES)))
    }

    /// One thing that programs do.
    fn act(&mut self) -> io::Result<()> {
        let path = self.name();
        let writing = self.writings.fetch_add(1, Ordering::Relaxed) + 1;
        match self.pick(10) {
            0 | 1 => self.save(&File::create(&path)?, writing),
            2 => {
                let tmp = self.dir.join(format!("tmp-{writing}"));
                self.save(&File::create(&tmp)?, writing)?;
                fs::rename(&tmp, &path)
            }
            3 => {
                let file = File::options().read(true).write(true).open(&path)?;
                let at = self.pick(BLOCKS);
                file.write_all_at(&block(writing, at), at * BLOCK as u64)
            }
            4 => {
                let file = File::options().write(true).open(&path)?;
                file.set_len(self.pick(BLOCKS) * BLOCK as u64)
            }
            5 => fs::remove_file(&path),
            6 => fs::hard_link(&path, self.name()),
            7 => self.map(&path),
            8 => {
                let file = File::open(&path)?;
                file.sync_all()?;
                fs::metadata(&path)?;
                fs::read_dir(self.dir)?.try_for_each(|entry| entry.map(drop))
            }
            _ => self.read(&path),
        }
    }

    fn save(&mut self, file: &File, writing: u64) -> io::Result<()> {
        let blocks = 10 + self.pick(BLOCKS - 10);
        let per_write = 1 + self.pick(30);
        for from in (0..blocks).step_by(per_write as usize) {
            let until = (from + per_write).min(blocks);
            let bytes: Vec<u8> = (from..until).flat_map(|at| block(writing, at)).collect();
            file.write_all_at(&bytes, from * BLOCK as u64)?;
        }
        Ok(())
    }

    fn read(&mut self, path: &Path) -> io::Result<()> {
        let file = File::open(path)?;
        let mut buffer = vec![0; BLOCK * 16];
        let mut at = 0;
        loop {
            let len = file.read_at(&mut buffer, at * BLOCK as u64)?;
            for whole in buffer[..len].chunks_exact_mut(BLOCK) {
                // A read beside a write may see a part of it, on any file system: but not for long.
                let begun = Instant::now();
                while !is_whole(whole, at) {
                    let head = &whole[..16];
                    assert!(
                        begun.elapsed() < Duration::from_secs(2),
                        "{path:?}, block {at}: wrong bytes, {head:?}"
                    );
                    if file.read_at(whole, at * BLOCK as u64)? < BLOCK {
                        return Ok(());
                    }
                }
                at += 1;
            }
            // Somebody may truncate between two reads, or within one.
            if len < BLOCK {
                return Ok(());
            }
        }
    }

    /// Stores through a mapping of a file of its own name: others would truncate it below the stores.
    fn map(&mut self, onto: &Path) -> io::Result<()> {
        let writing = self.writings.fetch_add(1, Ordering::Relaxed) + 1;
        let path = self.dir.join(format!("map-{writing}"));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path)?;
        file.set_len(BLOCKS * BLOCK as u64)?;
        let map = Map::new(&file, BLOCKS as usize * BLOCK, true);
        drop(file);
        for at in 0..BLOCKS {
            map.put(at as usize * BLOCK, &block(writing, at));
        }
        assert!(is_whole(&map.get(0, BLOCK), 0));
        drop(map);
        let seen = fs::read(&path)?;
        for (at, whole) in (0..).zip(seen.chunks(BLOCK)) {
            common::same(whole, &block(writing, at));
        }
        fs::rename(&path, onto)
    }
}

fn stress(passthrough: &str) {
    let mount = Mount::new(passthrough);
    let (begun, writings) = (Instant::now(), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for n in 0..THREADS {
            let (root, writings) = (mount.root(), &writings);
            scope.spawn(move || {
                let mut hand = Hand { dir: &root, random: 0x9e37_79b9 + n * 77_777, writings };
                while begun.elapsed() < TIME {
                    match hand.act() {
                        Err(error) if !gone(&error) => panic!("hand {n}: {error}"),
                        _ => {}
                    }
                }
            });
        }
    });
    let sealed = mount.number("/sealing/sealed_files");
    eprintln!("passthrough={passthrough}: {} writings, {sealed} seals", writings.load(Ordering::Relaxed));
    assert!(sealed > 0);
    mount.settle();
    mount.no_faults();
    let mut hand = Hand { dir: &mount.root(), random: 1, writings: &writings };
    let all = || fs::read_dir(mount.root()).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    all().iter().for_each(|path| hand.read(path).unwrap());
    mount.kill();
    mount.mount();
    all().iter().for_each(|path| hand.read(path).unwrap());
    mount.no_faults();
}

#[test]
fn many_hands_on_few_names_with_passthrough() {
    stress("on");
}

#[test]
fn many_hands_on_few_names_through_the_daemon() {
    stress("off");
}
