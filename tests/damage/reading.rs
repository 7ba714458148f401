//! Reads every file and every version, piece by piece, and holds each byte against what was written.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ckptfs::base::{Error, Result};
use ckptfs::engine::Engine;
use ckptfs::engine::history::browse::{Browser, OpenFile};
use ckptfs::namespace::readdir::After;
use serde::{Deserialize, Serialize};

use crate::child::{Reader, strangers};
use crate::store::{ME, ROOT};
use crate::truth::{Item, bytes_path};

/// Bytes of one read.
const PIECE: usize = 64 << 10;
/// How long one read may take, an error too; a machine that does other things has as much again.
const READ_MAX: Duration = Duration::from_secs(2);

/// What reading everything gave.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reads {
    /// Items of which every byte is right.
    pub(crate) exact: u64,
    /// Items of which something was an error, and the first error.
    pub(crate) failed: Vec<(String, String)>,
    /// Items of which some read gave other bytes.
    pub(crate) wrong: Vec<(String, String)>,
    /// Items of which a read took too long.
    pub(crate) slow: Vec<String>,
    /// Names that should not be there.
    pub(crate) strangers: Vec<String>,
}

impl Reader {
    /// Reads all items, and lists all directories.
    pub(crate) fn read_all(&self, engine: &Arc<Engine>) -> Reads {
        let mut reads = Reads::default();
        let browser = Browser::new(engine.clone());
        let items = self.truth.items.iter().filter(|item| self.killed || !item.late);
        for item in items.clone() {
            let wanted = fs::read(bytes_path(&self.dir, &item.id)).unwrap();
            let began = Instant::now();
            let seen = match &item.version {
                None => live(engine, &item.id, &wanted),
                Some((run, number)) => version(engine, &browser, run, *number, item, &wanted),
            };
            if began.elapsed() > READ_MAX {
                reads.slow.push(item.id.clone());
            }
            match seen {
                Ok(Seen { wrong: Some(wrong), .. }) => reads.wrong.push((item.id.clone(), wrong)),
                Ok(Seen { failed: Some(failed), .. }) => reads.failed.push((item.id.clone(), failed)),
                Ok(_) => reads.exact += 1,
                Err(error) => reads.failed.push((item.id.clone(), error.to_string())),
            }
        }
        let known: BTreeSet<String> =
            items.filter(|item| item.version.is_none()).map(|item| item.id.clone()).collect();
        match names(engine) {
            Ok(seen) => reads.strangers = strangers(&known, seen),
            Err(error) => reads.failed.push(("the list of names".to_owned(), error.to_string())),
        }
        reads
    }
}

/// What the reads of one file gave: the first piece that was wrong, the first that failed.
#[derive(Default)]
struct Seen {
    wrong: Option<String>,
    failed: Option<String>,
}

/// Reads `size` bytes piece by piece: a piece that cannot be read hides no other.
fn pieces(size: u64, wanted: &[u8], read: &dyn Fn(u64, &mut [u8]) -> Result<usize>) -> Seen {
    let mut seen = Seen::default();
    if size != wanted.len() as u64 {
        seen.wrong = Some(format!("{size} bytes where {} were written", wanted.len()));
    }
    for (n, right) in wanted.chunks(PIECE).enumerate() {
        let mut piece = vec![0; right.len()];
        match read((n * PIECE) as u64, &mut piece) {
            Ok(len) if len == right.len() && piece == right => {}
            Ok(_) => drop(seen.wrong.get_or_insert(format!("piece {n}"))),
            Err(error) => drop(seen.failed.get_or_insert(error.to_string())),
        }
    }
    seen
}

fn live(engine: &Engine, path: &str, wanted: &[u8]) -> Result<Seen> {
    let ino = find(engine, path)?;
    let size = engine.getattr(ino)?.size;
    let fh = engine.open(ino, libc::O_RDONLY, ME)?.fh;
    let seen = pieces(size, wanted, &|at, piece| engine.read(fh, at, piece));
    engine.release(fh)?;
    Ok(seen)
}

fn find(engine: &Engine, path: &str) -> Result<u64> {
    path.split('/').try_fold(ROOT, |dir, name| Ok(engine.names().lookup(dir, name.as_bytes())?.ino))
}

/// Opens a file of a version as a reader of `.snapshots` does.
fn open_version(
    engine: &Engine,
    browser: &Browser,
    run: &str,
    number: u32,
    name: &str,
) -> Result<(u64, OpenFile)> {
    let mut at = browser.snapdir(find(engine, run)?)?.attr.inode.ino;
    for name in [format!("{number:06}").as_str(), name] {
        let found = browser.lookup(at, name.as_bytes())?;
        at = found.ok_or(Error::Errno(libc::ENOENT))?.attr.inode.ino;
    }
    browser.open(at, libc::O_RDONLY)
}

fn version(
    engine: &Engine,
    browser: &Browser,
    run: &str,
    number: u32,
    item: &Item,
    wanted: &[u8],
) -> Result<Seen> {
    let name = item.id.split_once('/').unwrap().1;
    let (fh, file) = open_version(engine, browser, run, number, name)?;
    let OpenFile::Sealed(file) = file else { panic!("a file") };
    let seen = pieces(file.size(), wanted, &|at, piece| file.read_at(at, piece));
    browser.close(fh)?;
    Ok(seen)
}

/// All bytes of a live file.
pub(crate) fn read_live(engine: &Engine, path: &str) -> Result<Vec<u8>> {
    let ino = find(engine, path)?;
    let mut bytes = vec![0; engine.getattr(ino)?.size as usize];
    let fh = engine.open(ino, libc::O_RDONLY, ME)?.fh;
    engine.read(fh, 0, &mut bytes)?;
    engine.release(fh)?;
    Ok(bytes)
}

/// All bytes of a file of a version.
pub(crate) fn read_version(engine: &Arc<Engine>, run: &str, number: u32, name: &str) -> Result<Vec<u8>> {
    let browser = Browser::new(engine.clone());
    let (fh, OpenFile::Sealed(file)) = open_version(engine, &browser, run, number, name)? else {
        panic!("a file")
    };
    let mut bytes = vec![0; file.size() as usize];
    file.read_at(0, &mut bytes)?;
    browser.close(fh)?;
    Ok(bytes)
}

/// Every live file.
fn names(engine: &Engine) -> Result<Vec<String>> {
    let mut files = Vec::new();
    for dir in engine.names().readdir(ROOT, After::Cookie(0), 1000)? {
        let name = String::from_utf8_lossy(&dir.name).into_owned();
        for file in engine.names().readdir(dir.ino, After::Cookie(0), 1000)? {
            files.push(format!("{name}/{}", String::from_utf8_lossy(&file.name)));
        }
    }
    Ok(files)
}
