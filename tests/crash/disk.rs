//! A disk that keeps live and durable bytes apart, below one folder.
//!
//! The folder holds the live bytes. What each sync has made durable is noted here: the bytes of a file by its inode, the
//! entries of a directory by its inode. An image of the folder is what is left after a kill (all that is live) or after a
//! power cut (what is durable, and of the rest nothing or any part, torn at 512 bytes), as docs/format.md has it.
//! A directory that was renamed, or a file, is its inode: in an image it has its old name or its new one.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use ckptfs::base::fault::Sync;

/// What torn writes keep or lose as one.
const SECTOR: usize = 512;
/// What no image has: the lock of a process that is gone, and a reserve that may be missing.
const LEFT_OUT: [&str; 3] = ["lock", "ballast", "control.sock"];

/// An inode, for ever: numbers are used again, but not with the same time of birth.
pub(crate) type Key = (u64, SystemTime);

/// What a name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    key: Key,
    is_dir: bool,
}

type Entries = BTreeMap<OsString, Entry>;

/// What is left of unsynced bytes and names in an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loss {
    /// Everything is there: the daemon was killed.
    Killed,
    /// Nothing is left: the power was cut.
    Cut,
    /// Some of it is left, by this seed.
    Torn(u64),
}

/// What is durable of a folder.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    root: PathBuf,
    files: HashMap<Key, Arc<Vec<u8>>>,
    dirs: HashMap<Key, Entries>,
}

impl Disk {
    /// A disk on which all of the folder `root` is durable.
    pub(crate) fn new(root: &Path) -> Disk {
        let mut disk = Disk { root: root.to_owned(), files: HashMap::new(), dirs: HashMap::new() };
        disk.keep_all(root);
        disk
    }

    /// A sync has succeeded on `file`, which is or was at `path`.
    pub(crate) fn synced(&mut self, sync: Sync, file: &File, path: &Path) {
        if !path.starts_with(&self.root) {
            return;
        }
        let catalog = self.root.join("catalog");
        match sync {
            // The catalog writes and syncs its files by itself, before our own sync of one of them.
            Sync::Data | Sync::All if path.starts_with(&catalog) => self.keep_all(&catalog),
            Sync::Data | Sync::All => {
                let bytes = fs::read(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
                self.files.insert(key(&file.metadata().unwrap()), Arc::new(bytes));
            }
            Sync::Dir => drop(self.dirs.insert(key(&file.metadata().unwrap()), entries(path))),
            Sync::Filesystem => self.keep_all(&self.root.clone()),
        }
    }

    /// All of the folder `dir` is durable, but for its own name.
    fn keep_all(&mut self, dir: &Path) {
        let Ok(meta) = fs::metadata(dir) else { return };
        let found = entries(dir);
        for (name, entry) in &found {
            let path = dir.join(name);
            if entry.is_dir {
                self.keep_all(&path);
            } else if let Ok(bytes) = fs::read(&path) {
                self.files.insert(entry.key, Arc::new(bytes));
            }
        }
        self.dirs.insert(key(&meta), found);
    }

    /// Makes the image of this moment in the empty folder `to`; the disk of the image, on which just as much is durable.
    pub(crate) fn image(&self, to: &Path, loss: Loss) -> Disk {
        let mut live = HashMap::new();
        walk(&self.root, &mut |path, entry| drop(live.insert(entry.key, path.to_owned())));
        let random = match loss {
            Loss::Torn(seed) => Some(Random::new(seed)),
            Loss::Killed | Loss::Cut => None,
        };
        let mut made = Maker { disk: self, live, loss, random, new: HashMap::new() };
        made.folder(key(&fs::metadata(&self.root).unwrap()), Some(&self.root.clone()), to);
        let new = made.new;
        match loss {
            Loss::Killed => self.moved(to, &new),
            // What a power cut has left is all on the disk.
            Loss::Cut | Loss::Torn(_) => Disk::new(to),
        }
    }

    /// The same durable state for a copy whose inodes are `new`.
    fn moved(&self, root: &Path, new: &HashMap<Key, Key>) -> Disk {
        let known = |key: &Key| new.get(key).copied().unwrap_or(*key);
        let entry = |entry: &Entry| Entry { key: known(&entry.key), ..*entry };
        let names = |entries: &Entries| entries.iter().map(|(name, at)| (name.clone(), entry(at))).collect();
        Disk {
            root: root.to_owned(),
            files: self.files.iter().map(|(key, bytes)| (known(key), bytes.clone())).collect(),
            dirs: self.dirs.iter().map(|(key, entries)| (known(key), names(entries))).collect(),
        }
    }
}

/// Makes one image.
struct Maker<'a> {
    disk: &'a Disk,
    live: HashMap<Key, PathBuf>,
    loss: Loss,
    random: Option<Random>,
    /// The inodes of the image, by those that they are copies of.
    new: HashMap<Key, Key>,
}

impl Maker<'_> {
    fn folder(&mut self, own: Key, live: Option<&Path>, to: &Path) {
        self.new.insert(own, key(&fs::metadata(to).unwrap()));
        let durable = self.disk.dirs.get(&own).cloned().unwrap_or_default();
        let now = live.map_or_else(|| durable.clone(), entries);
        let chosen = match (self.loss, &mut self.random) {
            (Loss::Killed, _) => now,
            (_, Some(random)) => some_names(&durable, &now, random),
            (_, None) => durable,
        };
        for (name, entry) in chosen {
            let (path, live) = (to.join(&name), self.live.get(&entry.key).cloned());
            if entry.is_dir {
                fs::create_dir(&path).unwrap();
                self.folder(entry.key, live.as_deref(), &path);
            } else {
                self.file(entry.key, live.as_deref(), &path);
            }
        }
    }

    fn file(&mut self, own: Key, live: Option<&Path>, to: &Path) {
        let durable = self.disk.files.get(&own).cloned().unwrap_or_default();
        // A file whose last name is gone is only what was durable of it.
        let now = live.and_then(|path| fs::read(path).ok());
        let bytes = match (self.loss, &mut self.random, now) {
            (Loss::Killed, _, Some(now)) => now,
            (Loss::Torn(_), Some(random), Some(now)) => torn(&durable, &now, random),
            _ => durable.to_vec(),
        };
        fs::write(to, bytes).unwrap();
        if let (Loss::Killed, Some(live)) = (self.loss, live) {
            let meta = fs::metadata(live).unwrap();
            let times = fs::FileTimes::new().set_modified(meta.modified().unwrap());
            File::options().write(true).open(to).unwrap().set_times(times).unwrap();
        }
        self.new.insert(own, key(&fs::metadata(to).unwrap()));
    }
}

fn key(meta: &Metadata) -> Key {
    (meta.ino(), meta.created().expect("the filesystem below the test keeps times of birth"))
}

/// The entries of a directory; none when it is gone.
fn entries(dir: &Path) -> Entries {
    let mut found = Entries::new();
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let entry = entry.unwrap();
        let left_out = LEFT_OUT.iter().any(|name| entry.file_name() == *name);
        // Another thread may delete it meanwhile: then it is as if it had been so before.
        if let (false, Ok(meta)) = (left_out, entry.metadata()) {
            found.insert(entry.file_name(), Entry { key: key(&meta), is_dir: meta.is_dir() });
        }
    }
    found
}

fn walk(dir: &Path, each: &mut dyn FnMut(&Path, Entry)) {
    for (name, entry) in entries(dir) {
        let path = dir.join(name);
        each(&path, entry);
        if entry.is_dir {
            walk(&path, each);
        }
    }
}

/// Of each change of names since the last sync either all or nothing. A rename is one change, and so is everything that
/// has to do with the same names or the same inodes.
fn some_names(durable: &Entries, now: &Entries, random: &mut Random) -> Entries {
    let mut chosen = Entries::new();
    let mut left: BTreeSet<&OsString> = durable.keys().chain(now.keys()).collect();
    while let Some(first) = left.pop_first() {
        let mut group = BTreeSet::from([first]);
        loop {
            let inodes: Vec<Key> = group
                .iter()
                .flat_map(|name| [durable.get(*name), now.get(*name)])
                .flatten()
                .map(|entry| entry.key)
                .collect();
            let same = |name: &&&OsString| {
                let at = [durable.get(**name), now.get(**name)];
                at.into_iter().flatten().any(|entry| inodes.contains(&entry.key))
            };
            let more: Vec<&OsString> = left.iter().filter(same).copied().collect();
            if more.is_empty() {
                break;
            }
            left.retain(|name| !more.contains(name));
            group.extend(more);
        }
        let side = if random.coin() { durable } else { now };
        chosen.extend(group.iter().filter_map(|name| Some(((*name).clone(), *side.get(*name)?))));
    }
    chosen
}

/// Some sectors of what was written since the last sync; where neither has a byte it is zero.
fn torn(durable: &[u8], now: &[u8], random: &mut Random) -> Vec<u8> {
    if durable == now {
        return now.to_vec();
    }
    let len = if random.coin() { durable.len() } else { now.len() };
    let mut bytes = vec![0; len];
    for (number, sector) in bytes.chunks_mut(SECTOR).enumerate() {
        let from = if random.coin() { durable } else { now };
        let from = from.get(number * SECTOR..).unwrap_or_default();
        let len = sector.len().min(from.len());
        sector[..len].copy_from_slice(&from[..len]);
    }
    bytes
}

/// Numbers that depend on a seed alone.
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random((seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x2545_f491_4f6c_dd1d) | 1)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % limit
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 0
    }
}
