//! Names held against each other: entries, inodes, attributes, hot files, counters.
//!
//! Every record of the key space is read once, in the order of the keys, and what each says of another is counted. Memory:
//! about 40 bytes for each inode. What is changed meanwhile may look wrong: whoever checks a store that is mounted asks
//! again and keeps what is told each time. Beside each finding is the change that makes the record say what is.

use std::collections::{HashMap, HashSet};

use super::finding::{Area, Findings};
use crate::base::Result;
use crate::catalog::keys::{self, HotId, HotState, Ino};
use crate::catalog::records::{Body, Content, Dentry, Inode};
use crate::journal::Op;
use crate::namespace::Namespace;

/// Records read in one scan.
const PAGE: usize = 4096;
const REPAIR: &str = "the record is set right";
const REPAIR_NAME: &str = "the name is removed: what it led to is gone";
const REPAIR_LOST: &str = "it gets a name in lost+found";

/// What entries and attributes say of an inode.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    names: u32,
    subdirs: u32,
    entries: u64,
    xattrs: u32,
    /// Type bits, shifted to fit; 0 = no entry leads to it.
    kind: u8,
}

/// What was found, and what mends it.
#[derive(Debug, Default)]
pub struct Names {
    /// What is wrong.
    pub findings: Findings,
    /// Changes that mend it.
    pub fixes: Vec<Op>,
    /// Inodes that no name leads to.
    pub unnamed: Vec<Inode>,
    /// Inodes on record.
    pub inodes: u64,
    /// Hot files that records name, each with its inode and whether it is the only copy.
    pub hot: HashMap<HotId, (Ino, bool)>,
}

/// Looks at all records of `ns`.
pub fn look(ns: &Namespace, go_on: &dyn Fn(u64) -> Result<()>) -> Result<Names> {
    let mut look = Look { ns, go_on, told: HashMap::new(), sealed: 0, highest: 0, found: Names::default() };
    look.entries()?;
    look.attributes()?;
    look.inodes()?;
    look.hot_files()?;
    look.orphans()?;
    look.counters()?;
    Ok(look.found)
}

struct Look<'a> {
    ns: &'a Namespace,
    go_on: &'a dyn Fn(u64) -> Result<()>,
    told: HashMap<Ino, Told>,
    sealed: u64,
    highest: Ino,
    found: Names,
}

/// Is given a key and its value.
type Each<'e> = dyn FnMut(&mut Look<'_>, &[u8], &[u8]) + 'e;

impl Look<'_> {
    fn each(&mut self, prefix: &[u8], each: &mut Each<'_>) -> Result<()> {
        let mut after: Option<Vec<u8>> = None;
        loop {
            (self.go_on)(0)?;
            let page = self.ns.meta().scan(prefix, after.as_deref(), PAGE)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            after = Some(last.clone());
            page.iter().for_each(|(key, value)| each(self, key, value));
        }
    }

    fn wrong(&mut self, what: String, repair: &str, fix: Option<Op>) {
        self.found.findings.add(Area::Names, what, Some(repair));
        self.found.fixes.extend(fix);
    }

    fn entries(&mut self) -> Result<()> {
        self.each(b"d", &mut |look, key, value| {
            let dir = keys::covered_number(key);
            let parsed = keys::parse_dentry(key);
            let (Some(dir), Some((cookie, name)), Some(entry)) = (dir, parsed, Dentry::decode(value)) else {
                look.wrong(
                    format!("an entry is of no known form: {}", text(key)),
                    REPAIR_NAME,
                    Some((key.to_vec(), None)),
                );
                return;
            };
            if cookie != keys::cookie(name) || name.is_empty() || name.len() > 255 || name.contains(&b'/') {
                look.wrong(
                    format!("an entry of directory {dir} has an impossible name"),
                    REPAIR_NAME,
                    Some((key.to_vec(), None)),
                );
                return;
            }
            let told = look.told.entry(entry.ino).or_default();
            told.names += 1;
            told.kind = (entry.kind >> 12) as u8;
            let above = look.told.entry(dir).or_default();
            above.entries += 1;
            above.subdirs += u32::from(entry.kind == libc::S_IFDIR);
        })
    }

    fn attributes(&mut self) -> Result<()> {
        self.each(b"x", &mut |look, key, _| {
            if let Some(ino) = keys::covered_number(key) {
                look.told.entry(ino).or_default().xattrs += 1;
            }
        })
    }

    fn inodes(&mut self) -> Result<()> {
        self.each(b"i", &mut |look, key, value| {
            look.found.inodes += 1;
            let of = keys::covered_number(key).unwrap_or(0);
            let Some(inode) = Inode::decode(value).filter(|inode| inode.ino == of) else {
                look.wrong(
                    format!("inode {of}: its record is of no known form"),
                    REPAIR,
                    Some((key.to_vec(), None)),
                );
                return;
            };
            look.highest = look.highest.max(of);
            look.inode(inode);
        })?;
        self.without_inode()
    }

    fn inode(&mut self, inode: Inode) {
        let ino = inode.ino;
        let told = self.told.remove(&ino).unwrap_or_default();
        let mut right = inode.clone();
        right.xattrs = told.xattrs;
        if let Body::Dir { entries, .. } = &mut right.body {
            *entries = told.entries;
            right.nlink = 2 + told.subdirs;
        } else if told.names > 0 {
            right.nlink = told.names;
        }
        if told.names > 0 && u32::from(told.kind) != inode.kind() >> 12 {
            self.wrong(format!("inode {ino}: its names say that it is of another type"), REPAIR, None);
        }
        if right != inode {
            let what =
                format!("inode {ino}{}: its counts of names, entries or attributes are wrong", named(&inode));
            self.wrong(what, REPAIR, Some((keys::inode(ino), Some(right.encode()))));
        }
        if told.names == 0 && ino != keys::ROOT && inode.nlink > 0 {
            self.found.unnamed.push(right);
        }
        match inode.content() {
            Some(Content::Hot(hot)) => drop(self.found.hot.insert(*hot, (ino, true))),
            Some(Content::Both(hot, _)) => drop(self.found.hot.insert(*hot, (ino, false))),
            Some(Content::Sealed(_)) | None => {}
        }
        self.sealed += inode.content().and_then(Content::sealed).map_or(0, |sealed| sealed.size);
    }

    /// What is left was told of inodes that are not there.
    fn without_inode(&mut self) -> Result<()> {
        let left = std::mem::take(&mut self.told);
        if left.is_empty() {
            return Ok(());
        }
        self.each(b"d", &mut |look, key, value| {
            let Some(entry) = Dentry::decode(value) else { return };
            let gone = |ino: &Ino| left.contains_key(ino);
            let dir = keys::covered_number(key).unwrap_or(0);
            if gone(&entry.ino) || gone(&dir) {
                let name = keys::parse_dentry(key).map_or(String::new(), |(_, name)| text(name));
                let what = format!(
                    "entry {name} of directory {dir}: inode {} or the directory is not there",
                    entry.ino
                );
                look.wrong(what, REPAIR_NAME, Some((key.to_vec(), None)));
            }
        })?;
        self.each(b"x", &mut |look, key, _| {
            if keys::covered_number(key).is_some_and(|ino| left.contains_key(&ino)) {
                look.wrong(
                    "an attribute of an inode that is not there".into(),
                    REPAIR,
                    Some((key.to_vec(), None)),
                );
            }
        })
    }

    fn hot_files(&mut self) -> Result<()> {
        let mut known: HashSet<HotId> = HashSet::new();
        for state in [HotState::Unsealed, HotState::Small, HotState::Cache] {
            for (hot, ino) in self.ns.hot_files(state)? {
                let only = state != HotState::Cache;
                if self.found.hot.get(&hot) == Some(&(ino, only)) {
                    known.insert(hot);
                } else {
                    let what =
                        format!("hot file {hot:016x} is recorded for inode {ino}, which does not have it");
                    self.wrong(what, REPAIR, Some((keys::hot(state, hot), None)));
                }
            }
        }
        let missing: Vec<_> = self
            .found
            .hot
            .iter()
            .filter(|(hot, _)| !known.contains(hot))
            .map(|(hot, of)| (*hot, *of))
            .collect();
        for (hot, (ino, only)) in missing {
            let state = if only { HotState::Unsealed } else { HotState::Cache };
            let fix = (keys::hot(state, hot), Some(ino.to_le_bytes().to_vec()));
            self.wrong(format!("inode {ino}: its hot file {hot:016x} is not on record"), REPAIR, Some(fix));
        }
        Ok(())
    }

    fn orphans(&mut self) -> Result<()> {
        let orphans: HashSet<Ino> = self.ns.orphans()?.into_iter().collect();
        let unnamed = std::mem::take(&mut self.found.unnamed);
        for inode in unnamed.into_iter().filter(|inode| !orphans.contains(&inode.ino)) {
            self.wrong(
                format!("inode {}{}: no name leads to it", inode.ino, named(&inode)),
                REPAIR_LOST,
                None,
            );
            self.found.unnamed.push(inode);
        }
        Ok(())
    }

    fn counters(&mut self) -> Result<()> {
        if self.ns.sealed_bytes() != self.sealed {
            let what =
                format!("sealed files are {} bytes, {} are on record", self.sealed, self.ns.sealed_bytes());
            let fix = (keys::SEALED_BYTES.to_vec(), Some(self.sealed.to_le_bytes().to_vec()));
            self.wrong(what, REPAIR, Some(fix));
        }
        let highest_hot = self.found.hot.keys().max().copied().unwrap_or(0);
        for (key, highest, what) in
            [(keys::INO_LIMIT, self.highest, "inodes"), (keys::HOT_LIMIT, highest_hot, "hot files")]
        {
            let limit = self.ns.number(key)?.unwrap_or(0);
            if limit <= highest && highest > keys::ROOT {
                let fix = (key.to_vec(), Some((highest + 1).to_le_bytes().to_vec()));
                self.wrong(
                    format!("the counter of {what} is at {limit}, {highest} is in use"),
                    REPAIR,
                    Some(fix),
                );
            }
        }
        Ok(())
    }
}

/// ` (name)` where the inode knows one.
fn named(inode: &Inode) -> String {
    inode.home.as_ref().map_or(String::new(), |home| format!(" ({})", text(&home.name)))
}

fn text(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}
