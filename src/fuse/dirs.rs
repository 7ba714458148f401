//! Open directories: where each listing stands.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::base::{Error, Result};
use crate::catalog::keys::Ino;
use crate::engine::Engine;
use crate::namespace::readdir::{After, Entry};

/// Cookies of the two entries that are not on record.
const DOT: u64 = 1;
const DOT_DOT: u64 = 2;
/// Cookie of the virtual directory, where it is listed: after all others.
const SNAPDIR: u64 = i64::MAX as u64;
/// Entries read from the catalog at a time.
const READ_ENTRIES: usize = 256;

/// Position and name of the last entry that a listing handed out.
type Last = (u64, Vec<u8>);

#[derive(Debug, Default)]
pub(super) struct OpenDirs {
    next: AtomicU64,
    last: Mutex<HashMap<u64, Option<Last>>>,
}

impl OpenDirs {
    pub(super) fn open(&self) -> u64 {
        let fh = self.next.fetch_add(1, Ordering::Relaxed);
        self.last.lock().insert(fh, None);
        fh
    }

    pub(super) fn close(&self, fh: u64) {
        self.last.lock().remove(&fh);
    }

    /// Hands the entries of `dir` after `offset` to `add` until that says that it is full. `snapdir` is name and number of
    /// the virtual directory, where it is listed.
    pub(super) fn list(
        &self,
        engine: &Engine,
        (dir, snapdir): (Ino, Option<(Vec<u8>, Ino)>),
        fh: u64,
        offset: u64,
        add: &mut dyn FnMut(&Entry) -> Result<bool>,
    ) -> Result<()> {
        let last = self.last.lock().get(&fh).cloned().ok_or(Error::Errno(libc::EBADF))?;
        let mut offset = offset;
        for (cookie, name) in [(DOT, &b"."[..]), (DOT_DOT, b"..")] {
            if offset < cookie {
                let inode = engine.names().lookup(dir, name)?;
                let entry = Entry { name: name.to_vec(), ino: inode.ino, kind: libc::S_IFDIR, cookie };
                if add(&entry)? {
                    return Ok(());
                }
                offset = cookie;
            }
        }
        let mut resume = last.filter(|(cookie, _)| *cookie == offset).map(|(_, name)| name);
        loop {
            let after = resume.as_deref().map_or(After::Cookie(offset), After::Name);
            let entries = engine.names().readdir(dir, after, READ_ENTRIES)?;
            let Some(end) = entries.last() else { break };
            let mut handed_out = None;
            for entry in &entries {
                if add(entry)? {
                    self.remember(fh, handed_out);
                    return Ok(());
                }
                handed_out = Some(entry);
            }
            resume = Some(end.name.clone());
            self.remember(fh, Some(end));
        }
        match snapdir {
            Some((name, ino)) if offset < SNAPDIR => {
                add(&Entry { name, ino, kind: libc::S_IFDIR, cookie: SNAPDIR }).map(drop)
            }
            _ => Ok(()),
        }
    }

    fn remember(&self, fh: u64, entry: Option<&Entry>) {
        if let (Some(entry), Some(last)) = (entry, self.last.lock().get_mut(&fh)) {
            *last = Some((entry.cookie, entry.name.clone()));
        }
    }
}
