//! The checker: opens an image with a fresh engine, in a process of its own, and compares all that it shows with what the
//! oracle allows. It knows nothing of the store but what a user can see.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ckptfs::base::fault;
use ckptfs::base::monitor::Silent;
use ckptfs::engine::Engine;
use ckptfs::engine::history::browse::{Browser, OpenFile};
use ckptfs::engine::shutdown::End;
use ckptfs::namespace::readdir::After;
use serde::{Deserialize, Serialize};

use crate::content;
use crate::oracle::{Kind, Node, Oracle, Tree};
use crate::stage::{ME, ROOT, Running, open};

/// What is asked of a process that checks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Question {
    /// The image.
    pub(crate) store: PathBuf,
    pub(crate) oracle: Oracle,
    /// Everything that was answered has to be there; else what is durable.
    pub(crate) exact: bool,
    /// The boot that the image is opened in.
    pub(crate) boot: u8,
}

/// A name as it is found.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    kind: FoundKind,
    xattrs: BTreeMap<String, String>,
}

#[derive(Clone, PartialEq, Eq)]
enum FoundKind {
    Dir,
    Link(String),
    File(Vec<u8>),
}

impl std::fmt::Debug for FoundKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            FoundKind::Dir => f.write_str("a directory"),
            FoundKind::Link(to) => write!(f, "a link to {to}"),
            FoundKind::File(bytes) => {
                write!(f, "a file of {} bytes that begins {:?}", bytes.len(), &bytes[..bytes.len().min(16)])
            }
        }
    }
}

/// Answers the question in the file at `path`, by a panic if something is wrong.
pub(crate) fn answer(path: &Path) {
    let question: Question = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    fault::arm().unwrap();
    let Question { store, oracle, exact, boot } = &question;
    let running = open(store, *boot).unwrap();
    let found = tree(&running.engine);
    if *exact {
        same_names(&found, oracle);
    } else {
        allowed_names(&found, oracle);
    }
    running.engine.step_building().unwrap();
    versions(&running.engine, oracle, *exact);
    let found = used_again(&running, found);
    versions(&running.engine, oracle, *exact);
    running.engine.shut_down(&running.workers, End::Unused).unwrap();
    drop(running);
    let again = open(store, *boot).unwrap();
    assert_same(&tree(&again.engine), &found, "after one more open");
    versions(&again.engine, oracle, *exact);
}

/// What a store shows is all that was answered, versions included.
pub(crate) fn exactly(engine: &Arc<Engine>, oracle: &Oracle) {
    same_names(&tree(engine), oracle);
    versions(engine, oracle, true);
}

/// The store is written, sealed and collected as if nothing had happened; what it shows then.
fn used_again(running: &Running, mut found: BTreeMap<String, Found>) -> BTreeMap<String, Found> {
    let engine = &running.engine;
    let bytes = content::npy(200, 90_000);
    let (_, opened) = engine.create(ROOT, b"after.npy", 0o644, libc::O_WRONLY, ME).unwrap();
    engine.write(opened.fh, 0, &bytes, false).unwrap();
    engine.fsync(opened.fh, false).unwrap();
    engine.release(opened.fh).unwrap();
    engine.step_settling("quiet").unwrap();
    engine.step_building().unwrap();
    engine.step_sealing();
    engine.step_encoding().unwrap();
    engine.reclaim(&Silent).unwrap();
    engine.step_deleting().unwrap();
    found.insert("after.npy".to_owned(), Found { kind: FoundKind::File(bytes), xattrs: BTreeMap::new() });
    assert_same(&tree(engine), &found, "after it was written, sealed and collected");
    let report = engine.report_status().unwrap();
    assert!(
        report.poisoned.is_none() && report.faults.is_empty(),
        "{:?} {:?}",
        report.poisoned,
        report.faults
    );
    found
}

#[track_caller]
fn assert_same(now: &BTreeMap<String, Found>, before: &BTreeMap<String, Found>, when: &str) {
    let paths: BTreeSet<&String> = now.keys().chain(before.keys()).collect();
    for path in paths {
        let (now, before) = (now.get(path), before.get(path));
        assert!(now == before, "{path} was {before:?} and is {now:?} {when}");
    }
}

/// All names of a store, and what they lead to.
fn tree(engine: &Engine) -> BTreeMap<String, Found> {
    let mut found = BTreeMap::new();
    below(engine, ROOT, "", &mut found);
    found
}

fn below(engine: &Engine, dir: u64, path: &str, found: &mut BTreeMap<String, Found>) {
    let names = engine.names();
    let listed = names.readdir(dir, After::Cookie(0), 10_000).unwrap();
    let entries = names.inode(dir).unwrap();
    assert!(entries.is_dir(), "{path} is no directory");
    for entry in listed {
        let name = String::from_utf8(entry.name.clone()).unwrap();
        let path = if path.is_empty() { name } else { format!("{path}/{name}") };
        let ino = names.lookup(dir, &entry.name).unwrap().ino;
        assert_eq!(ino, entry.ino, "{path}");
        let kind = match entry.kind {
            libc::S_IFDIR => {
                below(engine, ino, &path, found);
                FoundKind::Dir
            }
            libc::S_IFLNK => FoundKind::Link(String::from_utf8(names.readlink(ino).unwrap()).unwrap()),
            _ => FoundKind::File(read(engine, ino, &path)),
        };
        let list = names.listxattr(ino).unwrap();
        let xattrs = list.split(|byte| *byte == 0).filter(|name| !name.is_empty()).map(|name| {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            (text(name), text(&names.getxattr(ino, name).unwrap()))
        });
        let xattrs = xattrs.collect();
        found.insert(path, Found { kind, xattrs });
    }
}

fn read(engine: &Engine, ino: u64, path: &str) -> Vec<u8> {
    let size = usize::try_from(engine.getattr(ino).unwrap().size).unwrap();
    let fh = engine.open(ino, libc::O_RDONLY, ME).unwrap().fh;
    let mut bytes = vec![0; size + 1];
    let len = engine.read(fh, 0, &mut bytes).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert_eq!(len, size, "{path}");
    bytes.truncate(len);
    engine.release(fh).unwrap();
    bytes
}

/// Everything that was answered is there, and of what was not all or nothing.
fn same_names(found: &BTreeMap<String, Found>, oracle: &Oracle) {
    let last = oracle.states.len() - 1;
    let before = if oracle.answered { last } else { last.saturating_sub(1) };
    let why = [last, before].map(|at| differs(found, &oracle.states[at], oracle));
    assert!(
        why.iter().any(Option::is_none),
        "{}; nor as before the operation: {}",
        why[0].as_deref().unwrap_or_default(),
        why[1].as_deref().unwrap_or_default()
    );
}

/// In what names differ from those of `tree`.
fn differs(found: &BTreeMap<String, Found>, tree: &Tree, oracle: &Oracle) -> Option<String> {
    let paths: BTreeSet<&String> = found.keys().chain(tree.keys()).collect();
    paths.into_iter().find_map(|path| match (found.get(path), tree.get(path)) {
        (Some(found), Some(node)) if is(found, node, oracle, true) => None,
        (found, node) => Some(format!("{path} should be {node:?} and is {found:?}")),
    })
}

/// Each name is as it was at some time since the last sync, and so are the bytes.
fn allowed_names(found: &BTreeMap<String, Found>, oracle: &Oracle) {
    let wanted = oracle.states.iter().flat_map(|tree| tree.keys());
    let paths: BTreeSet<&String> = found.keys().chain(wanted).collect();
    // What had replaced a file, and whose own name was used again: it may have been synced, so it is kept beside that.
    let is_rescued =
        |path: &&String| path.rsplit_once(".power-cut-").is_some_and(|(_, n)| n.parse::<u32>().is_ok());
    for path in paths.into_iter().filter(|path| !is_rescued(path)) {
        let nodes: Vec<Option<&Node>> = oracle.states.iter().map(|tree| tree.get(path)).collect();
        let fits = match found.get(path) {
            Some(found) => nodes.iter().flatten().any(|node| is(found, node, oracle, false)),
            None => nodes.contains(&None),
        };
        assert!(fits, "{path} is {:?}; since the last sync it was {:?}", found.get(path), dedup(nodes));
    }
}

fn dedup(mut nodes: Vec<Option<&Node>>) -> Vec<Option<&Node>> {
    nodes.dedup();
    nodes
}

/// Whether what was found is `node`.
fn is(found: &Found, node: &Node, oracle: &Oracle, exact: bool) -> bool {
    let same = match (&found.kind, &node.kind) {
        (FoundKind::Dir, Kind::Dir) => true,
        (FoundKind::Link(found), Kind::Link(wanted)) => found == wanted,
        (FoundKind::File(bytes), Kind::File { id, .. }) if exact => {
            let written = &oracle.files[*id];
            let last = written.contents.len() - 1;
            let back = usize::from(oracle.writing == Some(*id));
            (last - back..=last).any(|at| *bytes == oracle.bytes(written.contents[at]))
        }
        (FoundKind::File(bytes), Kind::File { id, floor }) => {
            let written = &oracle.files[*id];
            let from = written.synced.map_or(*floor, |synced| synced.max(*floor));
            let proved = *floor > 0 || written.synced.is_some();
            let contents: Vec<Vec<u8>> =
                written.contents[from..].iter().map(|content| oracle.bytes(*content)).collect();
            is_made_of(bytes, &contents, proved)
        }
        _ => false,
    };
    same && found.xattrs == node.xattrs
}

/// Whether `bytes` are one of `contents`, or made of sectors of them and of zeros where a sector may never have been
/// written. `proved`: the first of them is durable.
fn is_made_of(bytes: &[u8], contents: &[Vec<u8>], proved: bool) -> bool {
    if contents.iter().any(|content| content == bytes) {
        return true;
    }
    if proved && contents.len() == 1 {
        return false;
    }
    let durable = if proved { contents[0].len() } else { 0 };
    let longest = contents.iter().map(Vec::len).max().unwrap_or(0);
    let sectors = bytes.chunks(512).enumerate();
    bytes.len() <= longest
        && sectors.into_iter().all(|(number, sector)| {
            let at = number * 512;
            // Of a content that ends in the sector, the rest reads as zeros.
            let of = |content: &Vec<u8>| {
                let part = content.get(at..content.len().min(at + sector.len())).unwrap_or_default();
                sector[..part.len()] == *part && sector[part.len()..].iter().all(|byte| *byte == 0)
            };
            contents.iter().any(of) || (at + sector.len() > durable && sector.iter().all(|byte| *byte == 0))
        })
}

/// Every version that is known is there, with its bytes, and every other one can be read.
fn versions(engine: &Arc<Engine>, oracle: &Oracle, exact: bool) {
    let mut numbered = oracle.clone();
    numbered.versions.iter_mut().for_each(|kept| kept.number = kept.number.or(Some(0)));
    numbered.number_versions();
    let browser = Browser::new(engine.clone());
    for (kept, before) in numbered.versions.iter().zip(&oracle.versions) {
        let number = kept.number.unwrap();
        let is_durable = before.number.is_some();
        let dir = kept.run.split('/').filter(|part| !part.is_empty()).try_fold(ROOT, |dir, part| {
            engine.names().entry(dir, part.as_bytes()).unwrap().map(|entry| entry.ino)
        });
        let run = dir.and_then(|dir| engine.run_at(dir));
        let there = run.and_then(|(id, _)| engine.version(id, number).unwrap());
        let Some(version) = there else {
            let may_miss = kept.may_go || dir.is_none() || !(is_durable || exact);
            assert!(may_miss, "version {number} of {:?} is missing", kept.run);
            continue;
        };
        // One that is made after a cut of a moment from before it is marked: its bytes were never durable.
        if is_durable || exact {
            let doubted = version.why.iter().any(|why| why.contains("went down"));
            assert!(!doubted, "version {number} of {:?}: {:?}", kept.run, version.why);
            assert_eq!(version.files, kept.files.len() as u64, "files of version {number} of {:?}", kept.run);
        }
        for (path, content) in &kept.files {
            match seen_in(&browser, dir.unwrap(), number, path) {
                Some(bytes) if is_durable || exact => {
                    let wanted = numbered.bytes(*content);
                    assert!(bytes == wanted, "{path} of version {number} of {:?} has other bytes", kept.run);
                }
                Some(_) => {}
                None => {
                    assert!(!(is_durable || exact), "{path} is not in version {number} of {:?}", kept.run)
                }
            }
        }
    }
}

/// The bytes of a file in a version, as `.snapshots` shows them.
fn seen_in(browser: &Browser, dir: u64, number: u32, path: &str) -> Option<Vec<u8>> {
    let home = browser.snapdir(dir).unwrap().attr.inode.ino;
    let names = [format!("{number:06}")].into_iter().chain(path.split('/').map(str::to_owned));
    let mut at = home;
    for name in names {
        at = browser.lookup(at, name.as_bytes()).unwrap()?.attr.inode.ino;
    }
    let (fh, file) = browser.open(at, libc::O_RDONLY).unwrap();
    let OpenFile::Sealed(sealed) = file else { panic!("{path} is a text") };
    let mut bytes = vec![0; usize::try_from(sealed.size()).unwrap()];
    let len = sealed.read_at(0, &mut bytes).unwrap_or_else(|error| panic!("{path}: {error}"));
    assert_eq!(len, bytes.len());
    browser.close(fh).unwrap();
    Some(bytes)
}
